"""Mutations of drains, cells, row ends and memories."""

from __future__ import annotations

from _mutations.mutation import Mutation

__all__ = ["DATAPATH"]


def _sums() -> list[Mutation]:
    def one(
        block: str, what: str, old: str, new: str, equivalent: str = "", file: str = ""
    ) -> Mutation:
        return Mutation(block, what, f"drain/{file or block}.py", old, new, equivalent)

    return [
        one("accumulator", "first passes add, others overwrite",
            "Mux(first, bias_read.data, sum_read.data)",
            "Mux(first, sum_read.data, bias_read.data)"),
        one("accumulator", "results are subtracted", "base + taken_2", "base - taken_2"),
        one("accumulator", "one bias for all rows", "vector.parameters + take_beat",
            "vector.parameters"),
        one("accumulator", "sums of the next vector overwritten", "index.eq(vector.index)",
            "index.eq(vector.index + 1)"),
        one("accumulator", "the record is taken a cycle late", "with m.If(tokens[0]):",
            "with m.If(tokens[1]):"),
        one("accumulator", "31 bits of a sum",
            "self.sum.eq(base + taken_2)", "self.sum.eq((base + taken_2)[:31].as_signed())"),
        one("requantizer", "first rounding with the wrong sign",
            "Mux(negative_1, Const(-1, 2), Const(1, 2))",
            "Mux(negative_1, Const(1, 2), Const(-1, 2))", file="requantize"),
        one("requantizer", "no second rounding", "Cat(increment, self.zero).as_signed()",
            "Cat(Const(0, 1), self.zero).as_signed()", file="requantize"),
        one("requantizer", "the sign does not take part in rounding",
            "Cat(negative, g).as_signed()",
            "Cat(Const(0, 1), g).as_signed()", file="requantize"),
        one("requantizer", "no zero point", "Cat(increment, self.zero).as_signed()",
            "Cat(increment, Const(0, 8)).as_signed()", file="requantize"),
        one("requantizer", "bits lost by the coarse shift forgotten",
            "lost | (excess >> fine).any()", "(excess >> fine).any()", file="requantize"),
        one("requantizer", "bits lost by the fine shift forgotten",
            "lost | (excess >> fine).any()", "lost", file="requantize"),
        one("requantizer", "saturated to the wrong end", "Cat((~sign).replicate(8), sign)",
            "Cat(sign.replicate(8), ~sign)", file="requantize"),
        one("requantizer", "the upper clamp one too high", "Mux(moved > self.high, self.high,",
            "Mux(moved > self.high + 1, self.high,", file="requantize"),
        one("requantizer", "the lower clamp one too low", "Mux(moved < self.low, self.low, moved)",
            "Mux(moved < self.low - 1, self.low, moved)", file="requantize"),
        one("requantizer", "no upper clamp", "Mux(moved > self.high, self.high,",
            "Mux(0, self.high,", file="requantize"),
        one("requantizer", "no lower clamp", "Mux(moved < self.low, self.low, moved)",
            "moved", file="requantize"),
        one("requantizer", "the upper clamp at its limit", "moved > self.high",
            "moved >= self.high", "high itself is clamped to high", "requantize"),
        one("requantizer", "the lower clamp at its limit", "moved < self.low",
            "moved <= self.low", "low itself is clamped to low", "requantize"),
    ]  # fmt: skip


def _outputs() -> list[Mutation]:
    def one(block: str, what: str, old: str, new: str) -> Mutation:
        return Mutation(block, what, f"drain/{block}.py", old, new)

    return [
        one("residual", "operands are subtracted", "operands[0] + operands[1]",
            "operands[0] - operands[1]"),
        one("residual", "tables swapped", "write.address[8] == number",
            "write.address[8] != number"),
        one("residual", "slices taken by incomplete sums", "last_beat & self.complete",
            "last_beat"),
        one("residual", "reading goes on where the last layer ended",
            "with m.If(self.clear): m.d.sync += read_slot.eq(0)",
            "with m.If(0):\n            m.d.sync += read_slot.eq(0)"),
        one("residual", "writing goes on where the last layer ended",
            "with m.If(self.clear): m.d.sync += write_slot.eq(0)",
            "with m.If(0):\n                m.d.sync += write_slot.eq(0)"),
        one("residual", "a slice taken a beat early", "beat == config.segments - 1",
            "beat == config.segments - 2"),
        one("pooling", "pooling begins at 0", "Mux(first, -128, read.data)",
            "Mux(first, 0, read.data)"),
        one("pooling", "pooling begins at -127", "Mux(first, -128, read.data)",
            "Mux(first, -127, read.data)"),
        one("pooling", "pooling never begins", "first.eq(vector.pool_first)", "first.eq(0)"),
        one("pooling", "the minimum", "self.value > stored", "self.value < stored"),
        one("pooling", "incomplete sums take part", "write.en.eq(active & complete)",
            "write.en.eq(active)"),
        one("assembler", "overrun not seen", "with m.If(waiting.any()):", "with m.If(0):"),
        one("assembler", "overrun seen in a write that is granted",
            "with m.If(waiting.any()):", "with m.If(self.write_valid.any()):"),
        one("assembler", "overrun survives the layer", "self.overrun.eq(0)",
            "self.overrun.eq(self.overrun)"),
        one("assembler", "a write request is raised a byte early", "beat == segments - 1",
            "beat == segments - 2"),
        one("assembler", "what is no output is written", "& self.enable &", "&"),
        one("assembler", "blocks that do not exist are written", "& destination.enable", ""),
        one("assembler", "a request is not held", "self.write_valid & ~self.write_ready",
            "self.write_valid & 0"),
        one("drain", "stored outputs not aligned", "pooling.pooled << layer.align",
            "pooling.pooled"),
        one("drain", "sums with and without residual swapped",
            "Mux(layer.residual, add_requantizer.y, bypass.output)",
            "Mux(layer.residual, bypass.output, add_requantizer.y)"),
        one("drain", "every complete sum is an output", "record.sum_last & record.pool_last",
            "record.sum_last"),
        one("drain", "the lower clamp of the convolution after the addition",
            "add_requantizer.low.eq(layer.add_low)", "add_requantizer.low.eq(layer.low)"),
        one("drain", "the upper clamp of the convolution after the addition",
            "add_requantizer.high.eq(layer.add_high)", "add_requantizer.high.eq(layer.high)"),
        one("drain", "the zero point of the convolution after the addition",
            "add_requantizer.zero.eq(layer.add_zero)", "add_requantizer.zero.eq(layer.out_zero)"),
        one("drain", "the shift of the channel after the addition",
            "add_requantizer.shift.eq(layer.add_shift)",
            "add_requantizer.shift.eq(accumulator.shift)"),
        one("handoff", "records are handed on a cycle late", "range(self.delay - 1)",
            "range(self.delay)"),
    ]  # fmt: skip


def _array() -> list[Mutation]:
    def one(block: str, what: str, file: str, old: str, new: str, equivalent: str = ""):
        return Mutation(block, what, file, old, new, equivalent)

    plane, serial, end = "cells/bit_plane.py", "cells/bit_serial.py", "cells/bit_serial_end.py"
    term, pair, encoder = "cells/term.py", "cells/term_pair.py", "cells/term_encoder.py"
    return [
        one("array", "doubles of the last vector", "array/row_ends.py",
            "Mux(self.first, self.doubles, rest)", "rest"),
        one("array", "doubles one beat early", "array/row_ends.py", "walking[\"double\"] = mask[0]",
            "walking[\"double\"] = mask[1]"),
        one("array", "control does not walk with shared rows", "array/row_ends.py",
            "if row and row % config.shared_rows == 0", "if row"),
        one("array", "groups shift with the first drain", "array/array.py",
            "group.shift.eq(self.shift[drain])", "group.shift.eq(self.shift[0])"),
        one("array", "lanes do not travel down", "array/array.py", "lanes = group.lanes_out",
            "lanes = self.lanes"),
        one("bit_plane", "the sign plane is added", plane, "Mux(self.first, ~self.sum, self.sum)",
            "self.sum"),
        one("bit_plane", "the sign plane is one too small", plane,
            "Cat(self.first, Mux(self.first, 0, acc))", "Cat(Const(0, 1), Mux(self.first, 0, acc))"
            .replace("Const(0, 1)", "self.first & 0")),
        one("bit_plane", "vectors add up", plane, "Mux(self.first, 0, acc)", "acc"),
        one("bit_plane", "lowest plane first", plane, "serial.rotate_left(1)",
            "serial.rotate_right(1)"),
        one("bit_plane", "weights swap with every word", plane, "swap.eq(self.load & self.token)",
            "swap.eq(self.load)"),
        one("bit_plane", "the value swaps a cycle early", "cells/base.py",
            "with m.If(lanes[-1]):", "with m.If(self.lanes_in[-1] | 0):"),
        one("bit_serial", "the sign beat is added", serial, "^ sign.replicate(8)", ""),
        one("bit_serial", "no carry in the serial sums", serial, "| (carry & either)", ""),
        one("bit_serial", "the sign of the product is not inverted", serial, "sign & ~top",
            "sign & top"),
        one("bit_serial", "a layer goes on with any MAC", serial,
            "m.d.sync += [index.eq(INTERLEAVED - 1), beats.eq(1)]", "m.d.sync += beats.eq(1)"),
        one("bit_serial", "the row end goes on with any stream", end,
            "with m.If(self.clear): m.d.sync += index[0].eq(0)",
            "with m.If(0):\n            m.d.sync += index[0].eq(0)"),
        one("bit_serial", "the offset is not taken off", end, "raw[same:] - (offset >> same)",
            "raw[same:]"),
        one("term", "unused terms count", term, "with m.If(~term.used):", "with m.If(0):"),
        one("term", "negative terms are one too small", term, "addend + shifted + negative",
            "addend + shifted"),
        one("term", "doubled terms are not", term, "Mux(double, Cat(negative, value),",
            "Mux(0, Cat(negative, value),"),
        one("term", "halves of the terms swapped", term, "Mux(self.token, TERMS_AHEAD, 0)",
            "Mux(self.token, 0, TERMS_AHEAD)"),
        one("term", "sums are never doubled", term, "Mux(self.double, acc << 1, acc)",
            "Mux(0, acc << 1, acc)"),
        one("term", "a vector cut short spoils the next layer", term,
            "with m.If(self.clear): m.d.sync += within.eq(0)",
            "with m.If(0):\n            m.d.sync += within.eq(0)"),
        one("term", "vectors add up", term, "with m.If(self.last | ~(within | self.first)):",
            "with m.If(~(within | self.first)):"),
        one("term_pair", "unused terms of weights count", pair, "~term.used |", ""),
        one("term_pair", "unused terms of data count", pair,
            "| (lane.exponent[0] & lane.exponent[3])", ""),
        one("term_pair", "data terms follow each other late", pair, "following == self.terms",
            "weight_term == self.terms"),
        one("term_pair", "one half of the terms only", pair,
            "weight_term | half.replicate(PLACE_WIDTH) & TERMS_AHEAD", "weight_term"),
        one("term_pair", "negative products are one too small", pair,
            "Cat(negative, power ^ negative.replicate(16), negative)",
            "Cat(negative & 0, power ^ negative.replicate(16), negative)"),
        one("encoder", "HESE and NAF swapped", encoder,
            "Mux(self.hese, (here & ~below) | ends, tripled ^ signs)",
            "Mux(self.hese, tripled ^ signs, (here & ~below) | ends)"),
        one("encoder", "the zero point is added", encoder, "difference.eq(self.value - self.zero)",
            "difference.eq(self.value + self.zero)"),
        one("encoder", "runs have no end in HESE", encoder, "(here & ~below) | ends",
            "(here & ~below)"),
        one("encoder", "magnitudes of negative values", encoder,
            "Mux(sign, opposite, difference)", "difference"),
    ]  # fmt: skip


def _memory() -> list[Mutation]:
    def one(block: str, what: str, file: str, old: str, new: str, equivalent: str = ""):
        return Mutation(block, what, file, old, new, equivalent)

    bank, weights = "memory/bank.py", "memory/weights.py"
    return [
        one("bank", "paddings swapped", bank, "Mux(current.residual, self.residual_pad, self.pad)",
            "Mux(current.residual, self.pad, self.residual_pad)"),
        one("bank", "no padding", bank,
            "Mux(current.pad, Cat(pad for _ in range(lanes)), stored)", "stored"),
        one("bank", "every word for every segment", bank, "load.load & (load.segment == segment)",
            "load.load"),
        one("bank", "taps are residual words as well", bank,
            "self.residual_push.eq(current.residual)",
            "self.residual_push.eq(current.residual | current.load)"),
        one("bank", "two writes granted at once", bank, "self.write_valid[index] & ~taken",
            "self.write_valid[index]"),
        one("bank", "a write goes to the first unit", bank, "enable.eq(1 << (index % units))",
            "enable.eq(1)"),
        one("bank", "a write is repeated", bank, "m.d.sync += enable.eq(0)", "pass"),
        one("bank", "the next bank a cycle early", bank, "self.request_out.eq(stages[-1])",
            "self.request_out.eq(stages[-2])"),
        one("weights", "weights a cycle late", weights, "self.shift.eq(valid[-1])",
            "self.shift.eq(valid[-2])"),
        one("weights", "the next group a cycle late", weights,
            "range(config.segments // config.shared_rows)",
            "range(config.segments // config.shared_rows + 1)"),
        one("weights", "terms stored a cycle early", weights, "range(self.LATENCY + 1)",
            "range(self.LATENCY)"),
        one("weights", "terms stored without a word", weights,
            "Cat(self.request.store & self.request.valid, self.request.place)",
            "Cat(self.request.store, self.request.place)"),
        one("weights", "the host writes always", weights, "write.en.eq(", "write.en.eq(1 | "),
    ]  # fmt: skip


DATAPATH = (
    *_sums(),
    *_outputs(),
    *_array(),
    *_memory(),
)
