"""Small programs for sequencer, loader and engine alone, and how each must end.

:mod:`tests.hw.control.bound_cases` lists those at the bounds of the named errors. Results of such
programs are looked at in :mod:`tests.sim.test_bounds`, on the complete accelerator.
"""

from __future__ import annotations

from dataclasses import dataclass

from amaranth.sim import Simulator
from termac.arch import DESCRIPTOR, HEADER, PASS, TAP, Opcode
from termac.arch.config import Config
from termac.arch.registers import ErrorCode
from termac.arch.timing import program_cycles

from tests.hw.control.bench import Control, Layer
from tests.hw.memory.test_bank import make_config

__all__ = ["CELLS", "CONFIGS", "HASH_BITS", "Case", "Outcome", "good", "header_word", "run_cases"]

SIZES = {
    "activation_depth": 300, "weight_depth": 410, "parameter_depth": 21, "accumulator_depth": 5,
    "program_depth": 1600, "tap_depth": 23,
}  # fmt: skip
"""No power of two, so that no address is out of range by its width alone."""

CONFIGS = {
    "bit_plane": make_config(**SIZES),
    "bit_serial": make_config(cell="bit_serial", columns=12, lanes=8, rows=8, **SIZES),
    "term": make_config(cell="term", shared_rows=2, **SIZES),
    "term_pair": make_config(cell="term_pair", **SIZES),
    "two words a tile": make_config(rows=16, shared_rows=2, **SIZES),
    "eight segments": make_config(segments=8, lanes=8, **SIZES),
}
CELLS = ("bit_plane", "bit_serial", "term", "term_pair")

HASH_BITS = 28
END = HEADER.pack_one(opcode=Opcode.END)
RECORDS, TAPS = 700, 0
"""Where pass records and taps lie, if a case does not say otherwise."""

PASSES = {"sum_first": 1, "sum_last": 1, "pool_first": 1, "pool_last": 1}


@dataclass
class Case:
    """A program and how it must end.

    Parameters
    ----------
    name : unique
    layers : as they follow each other
    code, layer : error and its layer; of a good program NONE and the number of layers
    start : address of the header
    header, end : first word of the program, and the one after the last layer
    watchdog : WATCHDOG register
    overrun : layer in which the drains report that they could not write
    """

    name: str
    layers: list[Layer]
    code: ErrorCode = ErrorCode.NONE
    layer: int = 0
    start: int = 0
    header: int | None = None
    end: int | None = END
    watchdog: int = 0
    overrun: int | None = None

    def program(self, config: Config) -> dict[int, int]:
        """Words of the program memory by address; what lies beyond the memory is left out."""
        words = [header_word(config) if self.header is None else self.header]
        for layer in self.layers:
            fields = layer.fields
            words += [
                word.pack_one(**{f.name: fields[f.name] for f in word.fields if f.name in fields})
                for word in DESCRIPTOR
            ]
        words += [] if self.end is None else [self.end]
        placed = dict(enumerate(words, self.start))
        for layer in self.layers:
            records = [PASS.pack_one(**record) for record in layer.passes]
            placed |= dict(enumerate(records, layer.fields["records"]))
        return {a: word for a, word in placed.items() if a < config.program_depth}

    def taps(self, config: Config) -> dict[int, int]:
        """Words of the tap memory by address."""
        placed: dict[int, int] = {}
        for layer in self.layers:
            taps = [TAP.pack_one(**tap) for tap in layer.taps]
            placed |= dict(enumerate(taps, layer.fields["taps"]))
        return {a: word for a, word in placed.items() if a < config.tap_depth}

    def cycles(self, config: Config) -> int:
        """Predicted cycles of a good program."""
        return program_cycles(config, [layer.timing for layer in self.layers])


@dataclass
class Outcome:
    """What the status says after a run."""

    code: ErrorCode
    error_layer: int
    layer: int
    done: int
    cycles: int
    log: list[int]


def header_word(config: Config, *, opcode: int = Opcode.HEADER, flip: int = 0) -> int:
    """The header of a configuration, perhaps with another opcode or flipped bits of the hash."""
    known = config.hash32 & ((1 << HASH_BITS) - 1)
    return HEADER.pack_one(opcode=opcode, config=known ^ flip)


def good(config: Config, *, each_pass=None, tap=None, **changes: int) -> Layer:
    """A layer of one vector and one row tile that every machine runs, but for some fields.

    Parameters
    ----------
    each_pass : changes of each pass record; by default ``passes`` of them, or one
    tap : changes of every tap; they read the vector's origin
    """
    kind = config.kind
    terms = changes.get("terms", 2) if kind.terms else 0
    data_terms = changes.get("data_terms", 1) if kind.data_terms else 0
    beats = 8 if config.cell == "bit_serial" else 3
    if kind.terms:
        beats = terms * max(1, data_terms)
    beats = changes.get("beats", beats)
    residual = changes.get("residual", 0)
    shortest = config.segments + (config.words_per_tile if residual else 0)
    passes = len(each_pass) if each_pass else changes.get("passes", 1)
    fields = {
        "opcode": Opcode.LAYER, "beats": beats, "time": max(beats, config.segments),
        "last_time": max(beats, shortest), "residual": residual, "row_tiles": 1, "passes": passes,
        "vectors": 1, "out_width": 1, "in_height": 1, "in_width": 1, "stride_y": 1, "stride_x": 1,
        "in_origin": 20, "in_step": 1, "in_wrap": 1,
        "taps": TAPS + (8 if tap else 0), "records": RECORDS + (4 if each_pass else 0),
        "terms": terms, "data_terms": data_terms, "out_blocks": 1, "out_base": 100,
        "residual_origin": 200, "residual_step": 1, "residual_high": config.words_per_tile,
        "table": RECORDS + 10,
    } | changes  # fmt: skip
    whole = [PASSES | change for change in each_pass or [{}] * passes]
    return Layer(fields, whole, [{"valid": 1} | (tap or {})] * (passes * config.segments))


def check(config: Config, case: Case, found: Outcome) -> None:
    """A program must have ended as its case says, a good one in the predicted cycles."""
    assert (found.code.name, found.layer) == (case.code.name, case.layer), case.name
    if case.code is ErrorCode.NONE:
        assert (found.done, found.cycles) == (1, case.cycles(config)), case.name
        assert found.error_layer == 0, case.name
    else:
        assert (found.done, found.error_layer) == (0, case.layer), case.name
    if case.code is ErrorCode.WATCHDOG:
        assert found.cycles == case.watchdog, case.name


def run_cases(config: Config, programs: list[Case], *, log: int = 0) -> dict[str, Outcome]:
    """Run programs one after the other on one machine, and check how each ends.

    Parameters
    ----------
    log : entries of the log to read after each
    """
    control = Control(config)
    sequencer = control.sequencer
    outcomes: dict[str, Outcome] = {}

    async def store(ctx, block, prefix, known, words):
        port = getattr(block, f"{prefix}_write")
        ctx.set(port.enable, 1)
        for place, word in words.items():
            if known.get(place) != word:
                ctx.set(port.address, place)
                ctx.set(port.data, word)
                await ctx.tick()
        ctx.set(port.enable, 0)
        known |= words

    async def process(ctx):
        program: dict[int, int] = {}
        taps: dict[int, int] = {}
        for case in programs:
            await store(ctx, sequencer, "program", program, case.program(config))
            await store(ctx, control.engine, "tap", taps, case.taps(config))
            ctx.set(sequencer.program, case.start)
            ctx.set(sequencer.watchdog, case.watchdog)
            ctx.set(sequencer.start, 1)
            await ctx.tick()
            ctx.set(sequencer.start, 0)
            for _ in range(16_000):
                if not ctx.get(sequencer.busy):
                    break
                if case.overrun is None:
                    await ctx.tick().repeat(16)
                else:
                    ctx.set(sequencer.overrun, ctx.get(sequencer.layer) == case.overrun)
                    await ctx.tick()
            else:
                raise AssertionError(f"{case.name}: the machine never came back")
            ctx.set(sequencer.overrun, 0)
            entries = []
            for index in range(log):
                ctx.set(sequencer.log_index, index)
                await ctx.tick().repeat(3)
                entries.append(ctx.get(sequencer.log_cycles))
            found = Outcome(
                ErrorCode(ctx.get(sequencer.error)), ctx.get(sequencer.error_layer),
                ctx.get(sequencer.layer), ctx.get(sequencer.done), ctx.get(sequencer.cycles),
                entries,
            )  # fmt: skip
            check(config, case, found)
            outcomes[case.name] = found

    simulator = Simulator(control)
    simulator.add_clock(1e-6)
    simulator.add_testbench(process)
    simulator.run()
    return outcomes
