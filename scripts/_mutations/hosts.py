"""Mutations of the host ports and of the wiring of the core."""

from __future__ import annotations

from _mutations.mutation import Mutation

__all__ = ["HOSTS"]


def _hosts() -> list[Mutation]:
    def one(block: str, what: str, old: str, new: str, equivalent: str = "") -> Mutation:
        file = {"registers": "axi/lite.py", "window": "axi/memory.py"}[block]
        return Mutation(block, what, file, old, new, equivalent)

    return [
        one("registers", "byte strobes ignored", "strobe[byte].replicate(8)", "Const(255, 8)"),
        one("registers", "writes to nowhere succeed", "bresp.eq(Response.SLVERR)",
            "bresp.eq(Response.OKAY)"),
        one("registers", "reads from nowhere succeed", "Mux(chosen.any(), Response.OKAY,",
            "Mux(1, Response.OKAY,"),
        one("registers", "read-only registers can be written",
            "if register.access is Access.READ_ONLY: continue",
            "if register.access is Access.READ_ONLY:\n                        pass"),
        one("registers", "pulses of bytes that are not written",
            "target.eq(word[bits] & mask[bits])", "target.eq(word[bits])"),
        one("window", "writes while busy", "step.legal & ~self.busy", "step.legal"),
        one("window", "reads while busy", "~self.busy & step.legal", "step.legal"),
        one("window", "a failed beat forgotten", "Mux(failed | wrong, Response.SLVERR,",
            "Mux(wrong, Response.SLVERR,"),
        one("window", "words that do not exist are written",
            "_below(word, region.words) & _below(group, region.groups)",
            "_below(group, region.groups)"),
        one("window", "groups that do not exist are written",
            "_below(word, region.words) & _below(group, region.groups)",
            "_below(word, region.words)"),
        one("window", "a failure survives its burst", "m.d.sync += [ failed.eq(0),",
            "m.d.sync += ["),
        one("window", "the limit is a word", "return value < limit", "return value <= limit"),
        one("window", "entries out of order", "beat.strobe.all() & in_order", "beat.strobe.all()"),
        one("window", "entries of single bytes", "kept & beat.strobe.all() & in_order",
            "kept & in_order"),
    ]  # fmt: skip


def _core() -> list[Mutation]:
    def one(what: str, old: str, new: str) -> Mutation:
        return Mutation("core", what, "core.py", old, new)

    return [
        one("outputs that were not written go unnoticed", ".overrun for drain in blocks.drains)"
            ".any()", ".overrun for drain in blocks.drains[:0]).any()"),
        one("the second drain writes the first word", "destination.enable[word]",
            "destination.enable[0]"),
        one("errors of the loader go unnoticed", "engine.address_error | loader.address_error",
            "engine.address_error"),
        one("errors of the engine go unnoticed", "engine.address_error | loader.address_error",
            "loader.address_error"),
        one("the window is open during a run", "blocks.window.busy.eq(blocks.sequencer.busy)",
            "blocks.window.busy.eq(0)"),
        one("records of a stopped program remain",
            "ResetInserter(blocks.sequencer.layer_clear)(queue)", "queue"),
    ]  # fmt: skip


HOSTS = (
    *_hosts(),
    *_core(),
)
