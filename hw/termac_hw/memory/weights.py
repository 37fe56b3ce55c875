"""Weight memory of one drain group: S rows wide, read in bursts of C words."""

from amaranth.hdl import Cat, Module, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2
from termac.arch.cells import PLACE_WIDTH

from termac_hw.memory.write import MemoryWrite

__all__ = ["WeightBank", "WeightRequest"]


class WeightRequest(data.StructLayout):
    """Read of one weight word.

    Members
    -------
    address, valid
    store : with the last word of a term, if cells keep terms: store it
    place : where, among the terms of a cell
    """

    def __init__(self, config):
        members = {"address": ceil_log2(config.weight_depth), "valid": 1}
        if config.kind.keeps_terms:
            members |= {"store": 1, "place": PLACE_WIDTH}
        super().__init__(members)


class WeightBank(wiring.Component):
    """Weights of rows g*S .. g*S+S-1; a read request walks from bank to bank.

    The activations of group g arrive S/shared_rows cycles after those of group g-1, so the request
    is delayed by as much and the weights themselves never are. Two registers follow the memory, one
    to lie beside it and one beside the cells: block RAM is slow, and both are spread wide.

    Members
    -------
    request : In(WeightRequest)
        From the loader or the bank before.
    request_out : Out(WeightRequest)
        To the next bank, S/shared_rows cycles later.
    shift : Out(1)
        Shift enable of the array, ``LATENCY`` cycles after ``request``.
    weights : Out(S * weight_width)
        Weights of the rows, with ``shift``.
    store : Out(1)
        Store what is shifted, one cycle after the last of the C shifts of a term. Only if cells
        keep terms.
    place : Out(PLACE_WIDTH)
        Where to store it. Only if cells keep terms.
    host_write : In(MemoryWrite)
        From the host.
    """

    module_name = "termac_weight_bank"
    LATENCY = 3

    def __init__(self, config):
        self.config = config
        self.request_layout = WeightRequest(config)
        width = config.segments * config.weight_width
        keeps_terms = config.kind.keeps_terms
        super().__init__(
            {
                "request": In(self.request_layout),
                "request_out": Out(self.request_layout),
                "shift": Out(1),
                "weights": Out(width),
                **({"store": Out(1), "place": Out(PLACE_WIDTH)} if keeps_terms else {}),
                "host_write": In(MemoryWrite(words=config.weight_depth, shape=width)),
            }
        )

    def elaborate(self, platform):
        m = Module()
        config = self.config
        m.submodules.words = words = Memory(
            shape=unsigned(config.segments * config.weight_width),
            depth=config.weight_depth,
            init=[],
        )
        read = words.read_port(domain="sync")
        write = words.write_port()
        stored = Signal(self.weights.shape(), reset_less=True)
        sent = Signal.like(stored, reset_less=True)
        stage = self.request
        for cycle in range(config.segments // config.shared_rows):
            delayed = Signal(self.request_layout, name=f"request_{cycle + 1}")
            m.d.sync += delayed.eq(stage)
            stage = delayed
        m.d.comb += [
            self.request_out.eq(stage),
            read.addr.eq(self.request.address),
            read.en.eq(1),
            write.addr.eq(self.host_write.address),
            write.data.eq(self.host_write.data),
            write.en.eq(self.host_write.enable),
        ]
        valid = Signal(self.LATENCY)  # of what the memory shows, of what is stored and sent
        m.d.sync += [
            valid.eq(Cat(self.request.valid, valid[:-1])),
            stored.eq(read.data),
            sent.eq(stored),
        ]
        m.d.comb += [self.weights.eq(sent), self.shift.eq(valid[-1])]
        if config.kind.keeps_terms:
            order = Cat(self.request.store & self.request.valid, self.request.place)
            for stage in range(self.LATENCY + 1):
                later = Signal(order.shape(), name=f"store_{stage}")
                m.d.sync += later.eq(order)
                order = later
            m.d.comb += [self.store.eq(order[0]), self.place.eq(order[1:])]
        return m
