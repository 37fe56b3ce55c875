"""Assembling the bytes of a drain lane into write requests."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from termac.arch.records import destination_layout

from termac_hw.drain.pace import beats
from termac_hw.layouts import struct

__all__ = ["Assembler"]


class Assembler(wiring.Component):
    """Collects the S bytes of a vector and requests their write, one request per unit.

    The request is held apart from the bytes that are being collected, so it may wait for S cycles.

    Parameters
    ----------
    config : :class:`termac.arch.Config`

    Members
    -------
    clear : In(1)
        Forget ``overrun``.
    start : In(1)
        Byte 0 is valid. Byte j is j cycles later.
    enable : In(1)
        The vector is an output. Read in its last cycle only.
    destination : In(destination_layout)
        Where the bytes go. Read in the last cycle only.
    byte : In(8)
        Byte of the vector.
    write_valid : Out(units)
        A request of each unit, raised after the last byte and held until it meets its ready.
    write_ready : In(units)
        The request of a unit is granted.
    write_address : Out
        Word of the requests.
    write_phase : Out
        Part of the word.
    write_data : Out(8 * S)
        Bytes of all units, byte 0 lowest.
    overrun : Out(1)
        A vector was completed while a request of the one before was still waiting. Sticky.
    """

    module_name = "termac_assembler"

    def __init__(self, config):
        self.config = config
        destination = struct(destination_layout(config))
        units = config.segments // config.unit
        super().__init__(
            {
                "clear": In(1),
                "start": In(1),
                "enable": In(1),
                "destination": In(destination),
                "byte": In(8),
                "write_valid": Out(units),
                "write_ready": In(units),
                "write_address": Out(destination["address"].shape),
                "write_phase": Out(destination["phase"].shape),
                "write_data": Out(8 * config.segments),
                "overrun": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        segments, destination = self.config.segments, self.destination
        beat, _ = beats(m, self.start, segments, "byte")

        # The last S-1 bytes, oldest lowest: a plain shift register needs no enables.
        recent = Signal(8 * (segments - 1), reset_less=True)
        m.d.sync += recent.eq(Cat(recent, self.byte)[8:])

        waiting = self.write_valid & ~self.write_ready
        m.d.sync += self.write_valid.eq(waiting)
        with m.If(self.clear):
            m.d.sync += self.overrun.eq(0)
        with m.If((beat == segments - 1) & self.enable & destination.enable):
            m.d.sync += [
                self.write_valid.eq(~0),
                self.write_data.eq(Cat(recent, self.byte)),
                self.write_address.eq(destination.address),
                self.write_phase.eq(destination.phase),
            ]
            with m.If(waiting.any()):
                m.d.sync += self.overrun.eq(1)
        return m
