"""Handing a record from drain to drain in step with the results."""

from amaranth.hdl import Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Handoff"]


class Handoff(wiring.Component):
    """A chain of ``count`` stages; each hands its record on ``delay`` cycles after it started.

    A stage keeps its record until its next start. Starts are at least ``delay`` cycles apart, so
    one register per stage is enough: the next stage takes the record in the very cycle in which a
    new one may arrive.

    Parameters
    ----------
    layout : shape-like
        Of a record.
    count : :class:`int`
        Stages.
    delay : :class:`int`
        Cycles from stage to stage, at least 1.
    module_name : :class:`str`
        Name of the module in the Verilog.

    Members
    -------
    start : In(1)
        Start of stage 0.
    record : In(layout)
        Record of stage 0, valid with ``start``.
    starts : Out(count)
        Start of each stage: stage 0 in the cycle after ``start``, stage k ``k * delay`` later.
    records : Out(ArrayLayout(layout, count))
        Record of each stage, valid from its start until its next start.
    """

    def __init__(self, layout, *, count, delay, module_name):
        self.count = count
        self.delay = delay
        self.module_name = module_name
        super().__init__(
            {
                "start": In(1),
                "record": In(layout),
                "starts": Out(count),
                "records": Out(data.ArrayLayout(layout, count)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        start, record = self.start, self.record
        for stage in range(self.count):
            with m.If(start):
                m.d.sync += self.records[stage].eq(record)
            m.d.sync += self.starts[stage].eq(start)
            if stage + 1 < self.count:
                token = self.starts[stage]
                for step in range(self.delay - 1):
                    later = Signal(name=f"token_{stage}_{step}")
                    m.d.sync += later.eq(token)
                    token = later
                start, record = token, self.records[stage]
        return m
