"""Mutations of what walks the program: bounds, layers of errors, counters, halt."""

from __future__ import annotations

from _mutations.mutation import Mutation

__all__ = ["CONTROL"]


def _checker() -> list[Mutation]:
    def one(what: str, old: str, new: str, where: str = "control") -> Mutation:
        return Mutation("checker", what, where, old, new)

    beats, time, last = "layer.beats", "layer.time", "layer.last_time"
    return [
        one("no beats are accepted", f"{beats} == 0,", ""),
        one("one beat too many", f"{beats} > most_beats(config),", f"{beats} > 9,"),
        one("one beat too few", f"{beats} > most_beats(config),", f"{beats} > 7,"),
        one("a time below S", f"{time} < shortest,", ""),
        one("a time of S refused", f"{time} < shortest,", f"{time} <= shortest,"),
        one("a time below the beats", f"{time} < {beats},", ""),
        one("a time of the beats refused", f"{time} < {beats},", f"{time} <= {beats},"),
        one("a last time below S", f"{last} < shortest,", ""),
        one("a last time below the beats", f"{last} < {beats},", ""),
        one("a last time of the beats refused", f"{last} < {beats},", f"{last} <= {beats},"),
        one("no time for residual words", f"({last} < shortest + config.words_per_tile),",
            f"({last} < shortest + config.words_per_tile - 1),"),
        one("too much time for residual words", f"({last} < shortest + config.words_per_tile),",
            f"({last} <= shortest + config.words_per_tile),"),
        *(one(f"no {name} are accepted", f"layer.{name} == 0,", "")
          for name in ("row_tiles", "passes", "vectors", "out_width", "out_blocks")),
        one("tables one word too far", "tables_end > config.program_depth",
            "tables_end > config.program_depth + 1"),
        one("the last place for tables refused", "tables_end > config.program_depth",
            "tables_end >= config.program_depth"),
        one("tables of layers without residual", "layer.residual & (tables_end",
            "(tables_end"),
        one("bit_serial: any beats", "layer.beats != 8", "layer.beats == 0",
            "cells/bit_serial.py"),
        one("term: no terms", "layer.terms == 0,", "", "cells/term.py"),
        one("term: 17 terms", "layer.terms > TERMS", "layer.terms > TERMS + 1",
            "cells/term.py"),
        one("term: 16 terms refused", "layer.terms > TERMS", "layer.terms >= TERMS",
            "cells/term.py"),
        one("term: any beats", "layer.beats != layer.terms", "layer.beats == 0",
            "cells/term.py"),
        one("term_pair: no terms of data", "layer.data_terms == 0,", "", "cells/term_pair.py"),
        one("term_pair: 5 terms of data", "layer.data_terms > DATA_TERMS",
            "layer.data_terms > DATA_TERMS + 1", "cells/term_pair.py"),
        one("term_pair: 4 terms of data refused", "layer.data_terms > DATA_TERMS",
            "layer.data_terms >= DATA_TERMS", "cells/term_pair.py"),
        one("term_pair: any beats", "layer.beats != layer.terms * layer.data_terms",
            "layer.beats == 0", "cells/term_pair.py"),
    ]  # fmt: skip


def _sequencer() -> list[Mutation]:
    def one(what: str, old: str, new: str, equivalent: str = "") -> Mutation:
        return Mutation("sequencer", what, "control", old, new, equivalent)

    return [
        one("a program one word beyond its memory", "walk.pointer > self.config.program_depth",
            "walk.pointer > self.config.program_depth + 1"),
        one("the last word of the memory refused", "walk.pointer > self.config.program_depth",
            "walk.pointer >= self.config.program_depth"),
        one("any opcode as header", "(header.opcode != Opcode.HEADER) |", ""),
        one("programs of other configurations", "| (header.config != config)", ""),
        one("the highest bit of the hash ignored", 'HEADER["config"].limits[1]',
            '(HEADER["config"].limits[1] >> 1)'),
        one("unknown opcodes as layers", "m.Elif(header.opcode != Opcode.LAYER)",
            "m.Elif(header.opcode == 0)"),
        one("a HEADER as END", "header.opcode == Opcode.END", "header.opcode[0]"),
        one("faults of the descriptor ignored", "walk.fault.eq(walk.descriptor_error)",
            "walk.fault.eq(ErrorCode.NONE)"),
        one("address errors while draining ignored",
            "(walk.in_layer | walk.in_drain) & self.address_error",
            "walk.in_layer & self.address_error"),
        one("address errors in layers ignored",
            "(walk.in_layer | walk.in_drain) & self.address_error", "0"),
        one("overruns ignored", "with m.If(self.overrun):", "with m.If(0):"),
        one("the layer of an error is one too high", "self.error_layer.eq(self.layer)",
            "self.error_layer.eq(self.layer + 1)"),
        one("the layer of an error is not kept", "self.error_layer.eq(self.layer),", ""),
        one("an error survives the next start",
            "self.done.eq(0), self.error.eq(ErrorCode.NONE), self.layer.eq(0),",
            "self.done.eq(0), self.layer.eq(0),"),
        one("done survives the next start",
            "self.done.eq(0), self.error.eq(ErrorCode.NONE), self.layer.eq(0),",
            "self.error.eq(ErrorCode.NONE), self.layer.eq(0),"),
        one("layers are not counted from 0 again",
            "self.error.eq(ErrorCode.NONE), self.layer.eq(0),",
            "self.error.eq(ErrorCode.NONE),"),
        one("the layer of an error survives the next start",
            "self.layer.eq(0), self.error_layer.eq(0),", "self.layer.eq(0),"),
        one("CONTROL.clear forgets nothing",
            "m.d.sync += [self.done.eq(0), self.error.eq(ErrorCode.NONE)]",
            "m.d.sync += self.done.eq(self.done)"),
        one("PROGRAM ignored", "walk.pointer.eq(self.program)", "walk.pointer.eq(0)"),
        one("the watchdog never bites", "(self.watchdog != 0) &", "0 &"),
        one("a watchdog of 0 stops programs", "(self.watchdog != 0) &", ""),
        one("the watchdog is one cycle late", "(self.cycles + 2 >= self.watchdog)",
            "(self.cycles + 1 >= self.watchdog)"),
        one("the watchdog is one cycle early", "(self.cycles + 2 >= self.watchdog)",
            "(self.cycles + 3 >= self.watchdog)"),
        one("the watchdog stops programs that end in time", "expired & ~walk.ends", "expired"),
        one("a watchdog of 1 allows more", "expired.eq(self.watchdog == 1)", "expired.eq(0)"),
        one("nothing is halted", "self.control.halt.eq(~walk.active)",
            "self.control.halt.eq(0)"),
        one("the pipeline is not emptied after an error",
            "walk.step.eq(drain_cycles(self.config)), ]", "walk.step.eq(1), ]"),
        one("the table is one word short", "walk.step == 2 * TABLE_ENTRIES + 1",
            "walk.step == 2 * TABLE_ENTRIES"),
        one("table words move by one", "self.table_write.address.eq(walk.step - 2)",
            "self.table_write.address.eq(walk.step - 1)"),
        one("drains keep a vector of the last layer", "self.layer_clear.eq(1)",
            "self.layer_clear.eq(0)"),
        one("layers drain one cycle less", "walk.step.eq(drain_cycles(self.config) - 1)",
            "walk.step.eq(drain_cycles(self.config) - 2)"),
    ]  # fmt: skip


def _counters() -> list[Mutation]:
    def one(what: str, old: str, new: str) -> Mutation:
        return Mutation("counters", what, "control", old, new)

    return [
        one("layer 64 is logged", "self.layer_ends & (self.layer < LOG_ENTRIES)",
            "self.layer_ends & (self.layer <= LOG_ENTRIES)"),
        one("layer 63 is not logged", "self.layer_ends & (self.layer < LOG_ENTRIES)",
            "self.layer_ends & (self.layer < LOG_ENTRIES - 1)"),
        one("the log is a cycle early", "write.data.eq(self.cycles + 1)",
            "write.data.eq(self.cycles)"),
        one("a start while busy clears", "counters.clear.eq(self.start & walk.idle)",
            "counters.clear.eq(self.start)"),
        one("issue and stalls swapped", '"issue": walk.in_layer & self.running,',
            '"issue": walk.in_layer & ~self.running,'),
        one("cycles while idle count", "with m.Elif(self.active):", "with m.Else():"),
    ]  # fmt: skip


def _loader() -> list[Mutation]:
    def one(what: str, old: str, new: str, equivalent: str = "") -> Mutation:
        return Mutation("loader", what, "control", old, new, equivalent)

    return [
        one("a record one word too far", "walk.record_address >= config.program_depth",
            "walk.record_address > config.program_depth"),
        one("the last record refused", "walk.record_address >= config.program_depth",
            "walk.record_address >= config.program_depth - 1"),
        one("taps one word too far", "> config.tap_depth", "> config.tap_depth + 1"),
        one("the last taps refused", "> config.tap_depth", ">= config.tap_depth"),
        one("parameters one word too far", "> config.parameter_depth",
            "> config.parameter_depth + 1"),
        one("the last parameters refused", "> config.parameter_depth",
            ">= config.parameter_depth"),
        one("weights one word too far", "walk.address >= config.weight_depth",
            "walk.address > config.weight_depth"),
        one("the last weights refused", "walk.address >= config.weight_depth",
            "walk.address >= config.weight_depth - 1"),
        one("an address error is never forgotten", "walk.hold.eq(0), self.address_error.eq(0),",
            "walk.hold.eq(0),"),
        one("halt ignored", "with m.If(self.control.halt): m.d.sync += walk.offered.eq(0)",
            "with m.If(0):\n                    m.d.sync += walk.offered.eq(0)"),
        one("a full chunk is not the last", "walk.remaining <= self.config.accumulator_depth",
            "walk.remaining < self.config.accumulator_depth"),
        one("weights of every row tile the same",
            "walk.base.eq(walk.base + layer.weights_tile)", "walk.base.eq(walk.base)"),
        one("parameters of every row tile the same",
            "walk.parameters.eq(walk.parameters + config.segments)",
            "walk.parameters.eq(walk.parameters)"),
        one("weights shift before the swap has left",
            "walk.offered.eq(0), walk.hold.eq(swap_to_shift(config))",
            "walk.offered.eq(0), walk.hold.eq(swap_to_shift(config) - 1)"),
        one("passes are offered a word late", "walk.offer.eq(offer_read(self.config, 1) - 1)",
            "walk.offer.eq(offer_read(self.config, 1))"),
        one("passes of many terms do not wait", "walk.free.eq(~walk.busy)", "walk.free.eq(1)"),
        one("passes of 9 terms use half of the places", "terms > TERMS_AHEAD",
            "terms > TERMS_AHEAD + 1"),
        one("passes of 8 terms use all places", "terms > TERMS_AHEAD", "terms >= TERMS_AHEAD"),
        one("chunks begin at the first vector", "walk.new_chunk.eq(1)", "walk.new_chunk.eq(0)"),
    ]  # fmt: skip


def _engine() -> list[Mutation]:
    def one(what: str, old: str, new: str, equivalent: str = "") -> Mutation:
        return Mutation("engine", what, "control", old, new, equivalent)

    return [
        one("outputs one word too far", "walk.output + word >= self.config.activation_depth",
            "walk.output + word > self.config.activation_depth"),
        one("the last output refused", "walk.output + word >= self.config.activation_depth",
            "walk.output + word >= self.config.activation_depth - 1"),
        one("writes out of the memory ignored", "beyond | reads.misses", "reads.misses"),
        one("reads out of the memory ignored", "beyond | reads.misses", "beyond"),
        one("reads before the memory ignored", "(address < 0) |", ""),
        one("reads one word too far", "address >= self.config.activation_depth",
            "address > self.config.activation_depth"),
        one("the last word cannot be read", "address >= self.config.activation_depth",
            "address >= self.config.activation_depth - 1"),
        one("padding must lie in the memory", "(read.tap | read.residual) & ~pad",
            "(read.tap | read.residual)"),
        one("residual words may lie anywhere", "(read.tap | read.residual) & ~pad",
            "read.tap & ~pad"),
        one("an error is never forgotten",
            "with m.If(self.control.start): m.d.sync += self.address_error.eq(0)",
            "with m.If(0):\n            m.d.sync += self.address_error.eq(0)"),
        one("one line too many", "y >= layer.in_height", "y > layer.in_height"),
        one("one column too many", "x >= layer.in_width", "x > layer.in_width"),
        one("lines above the image", "(y < 0) |", ""),
        one("columns left of the image", "(x < 0) |", ""),
        one("residual words are padded as taps are", "(outside & ~read.residual)", "outside"),
        one("the first residual block missing", "block < layer.residual_low",
            "block <= layer.residual_low"),
        one("a residual block too many", "block >= layer.residual_high",
            "block > layer.residual_high"),
        one("a residual word too many",
            "self.cycle < segments + config.words_per_tile",
            "self.cycle <= segments + config.words_per_tile"),
        one("an output block too many", "row_tile.block + word < layer.out_blocks",
            "row_tile.block + word <= layer.out_blocks"),
        one("outputs in the middle of pooling", "work.sum_last & work.pool_last",
            "work.sum_last"),
        one("outputs of incomplete sums", "work.sum_last & work.pool_last", "work.pool_last"),
        one("lines one pixel longer", 'here["column"] + 1 == layer.out_width',
            'here["column"] == layer.out_width'),
        one("vectors one cycle longer", "cycle + 2 == time", "cycle + 1 == time"),
        one("the time of other passes", "Mux(work.sum_last, layer.last_time, layer.time)",
            "Mux(work.sum_last, layer.time, layer.last_time)"),
        one("one beat too many", "cycle + 1 == layer.beats", "cycle == layer.beats"),
        one("one vector too few", "last_vector.eq(remaining == 2)",
            "last_vector.eq(remaining == 3)"),
        one("halt ignored", "self.running.eq(0), vector_ends.eq(0)", "vector_ends.eq(0)"),
        one("outputs of a pixel overlap", 'here["output"] + layer.out_blocks',
            'here["output"] + 1'),
        one("row tiles read the same words", 'tile["input"] + layer.in_tile', 'tile["input"]'),
        one("chunks go on one vector late", "Mux(self.running, following[name], register)",
            "Mux(self.running, register, following[name])"),
    ]  # fmt: skip


CONTROL = (
    *_checker(),
    *_sequencer(),
    *_counters(),
    *_loader(),
    *_engine(),
)
