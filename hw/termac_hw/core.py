"""The whole accelerator: host ports, sequencer, memories, array, drains."""

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import In, Out, connect, flipped
from termac.arch.memory_map import MemoryMap
from termac.arch.records import DRAIN_LAYER
from termac.arch.registers import REGISTER_ADDRESS_WIDTH
from termac.arch.timing import (
    DRAIN_LATENCY,
    FEED_LATENCY,
    ISSUE_LATENCY,
    WEIGHT_LATENCY,
    most_beats,
    row_latency,
)

from termac_hw.array import Array
from termac_hw.array.row_ends import RowEnds
from termac_hw.axi.lite import AxiLiteRegisters
from termac_hw.axi.memory import ID_WIDTH, AxiMemory
from termac_hw.axi.registers import register_ports
from termac_hw.axi.signature import Axi4, AxiLite
from termac_hw.cells import cell_kind
from termac_hw.control.descriptor import connect_fields
from termac_hw.control.engine import Engine
from termac_hw.control.loader import Loader
from termac_hw.control.sequencer import Sequencer
from termac_hw.drain import Drain
from termac_hw.drain.handoff import Handoff
from termac_hw.emit import place
from termac_hw.memory.bank import ActivationBank
from termac_hw.memory.weights import WeightBank
from termac_hw.memory.write import connect_write

__all__ = ["Core"]


class Core(wiring.Component):
    """A complete accelerator for one configuration.

    Parameters
    ----------
    config : :class:`termac.arch.Config`

    Members
    -------
    s_axil : In(AxiLite)
        Registers, see ``registers.md``.
    s_axi : In(Axi4)
        Window into the memories, see ``memory_map.md``.
    busy : Out(1)
        A program is running.
    done : Out(1)
        The last program ended without error.
    """

    module_name = "termac"

    def __init__(self, config):
        self.config = config
        window = Axi4(address_width=MemoryMap(config).address_width, id_width=ID_WIDTH)
        super().__init__(
            {
                "s_axil": In(AxiLite(address_width=REGISTER_ADDRESS_WIDTH)),
                "s_axi": In(window),
                "busy": Out(1),
                "done": Out(1),
            }
        )
        assert Engine.ISSUE_LATENCY == ISSUE_LATENCY
        assert ActivationBank.LATENCY == FEED_LATENCY
        assert WeightBank.LATENCY == WEIGHT_LATENCY
        assert Drain.LATENCY == DRAIN_LATENCY

    def elaborate(self, platform):
        m = Module()
        blocks = _Blocks(self.config)
        for name, child in blocks.children():
            m.submodules[name] = place(child, platform, name)
        self._connect_host(m, blocks)
        self._connect_memories(m, blocks)
        self._connect_control(m, blocks)
        self._connect_weights(m, blocks)
        self._connect_activations(m, blocks)
        self._connect_records(m, blocks)
        self._connect_drains(m, blocks)
        self._connect_units(m, blocks)
        return m

    def _connect_host(self, m, blocks):
        """Buses to their slaves; every register to the block that has or takes its value."""
        connect(m, flipped(self.s_axil), blocks.registers.s_axil)
        connect(m, flipped(self.s_axi), blocks.window.s_axi)
        holders = (blocks.sequencer, blocks.engine, blocks.loader)
        for name, member in register_ports(self.config).items():
            holder = next(block for block in holders if name in block.signature.members)
            register, value = getattr(blocks.registers, name), getattr(holder, name)
            m.d.comb += value.eq(register) if member.flow is Out else register.eq(value)
        m.d.comb += [
            blocks.window.busy.eq(blocks.sequencer.busy),
            self.busy.eq(blocks.sequencer.busy),
            self.done.eq(blocks.sequencer.done),
        ]

    def _connect_memories(self, m, blocks):
        """The window to every memory."""
        config, window = self.config, blocks.window
        connect(m, window.program_write, blocks.sequencer.program_write)
        connect(m, window.tap_write, blocks.engine.tap_write)
        for index, bank in enumerate(blocks.weights):
            connect_write(m, window.weight_write, bank.host_write, enable=index)
        for index, drain in enumerate(blocks.drains):
            connect_write(m, window.parameter_write, drain.parameter_write, enable=index)
        reading = Signal()
        m.d.comb += reading.eq(~blocks.sequencer.busy)
        for index, bank in enumerate(blocks.banks):
            part = slice(index * config.lanes, (index + 1) * config.lanes)
            bits = slice(8 * part.start, 8 * part.stop)
            connect_write(m, window.activation_write, bank.host_write, enable=part, data=bits)
            m.d.comb += [
                bank.host_read.eq(reading),
                bank.host_read_address.eq(window.activation_read.address),
            ]
        m.d.comb += window.activation_data.eq(Cat(bank.host_data for bank in blocks.banks))

    def _connect_control(self, m, blocks):
        """The sequencer to the loader, the loader to the engine, and what they report."""
        sequencer, loader, engine = blocks.sequencer, blocks.loader, blocks.engine
        connect(m, sequencer.control, loader.control, engine.control)
        connect(m, loader.passes, engine.passes)
        connect_fields(m, sequencer.descriptor, loader.layer)
        connect_fields(m, sequencer.descriptor, engine.layer)
        m.d.comb += [
            sequencer.record_address.eq(loader.record_address),
            loader.record.eq(sequencer.record),
            sequencer.running.eq(engine.running),
            sequencer.finished.eq(engine.finished),
            sequencer.address_error.eq(engine.address_error | loader.address_error),
            sequencer.overrun.eq(Cat(drain.overrun for drain in blocks.drains).any()),
        ]
        if self.config.kind.terms:
            m.d.comb += loader.ended.eq(engine.ended)

    def _connect_weights(self, m, blocks):
        """The request walks down the groups with the activations."""
        request, array = blocks.loader.request, blocks.array
        for bank in blocks.weights:
            m.d.comb += bank.request.eq(request)
            request = bank.request_out
        m.d.comb += [
            array.shift.eq(Cat(bank.shift for bank in blocks.weights)),
            array.weights.eq(Cat(bank.weights for bank in blocks.weights)),
        ]
        if self.config.kind.terms:
            m.d.comb += [
                array.store.eq(Cat(bank.store for bank in blocks.weights)),
                array.place.as_value().eq(Cat(bank.place for bank in blocks.weights)),
            ]

    def _connect_activations(self, m, blocks):
        """The request walks along the banks with the partial sums, which end at the row ends."""
        layer, kind = blocks.sequencer.descriptor, cell_kind(self.config.cell)

        def connect_settings(target, names):
            for name in names:
                value = blocks.sequencer.layer_clear if name == "clear" else getattr(layer, name)
                m.d.comb += getattr(target, name).eq(value)

        request = blocks.engine.request
        for bank in blocks.banks:
            m.d.comb += [
                bank.request.eq(request),
                bank.pad.eq(layer.pad),
                bank.residual_pad.eq(layer.residual_pad),
            ]
            connect_settings(bank, kind.settings)
            request = bank.request_out
        connect_settings(blocks.row_ends, kind.row_settings)
        m.d.comb += [
            blocks.array.lanes.eq(Cat(bank.lanes for bank in blocks.banks)),
            blocks.row_ends.sums.eq(blocks.array.sums),
        ]

    def _connect_records(self, m, blocks):
        """Control meets row 0 when its sums do; records meet the drains when results do."""
        config, engine = self.config, blocks.engine
        arrival = row_latency(config)
        complete = arrival + config.result_delay
        first = _delayed(m, engine.first, arrival, "first")
        last = _delayed(m, engine.last, complete, "last")
        written = _delayed(m, last, DRAIN_LATENCY, "written")
        m.d.comb += [blocks.row_ends.first.eq(first), blocks.row_ends.last.eq(last)]
        for name, chain, record, pop, latency in (
            ("vector_queue", blocks.vectors, engine.vector, last, complete),
            ("destination_queue", blocks.destinations, engine.destination, written,
             complete + DRAIN_LATENCY),
        ):  # fmt: skip
            depth = (latency + most_beats(config)) // config.segments + 2
            queue = SyncFIFO(width=record.shape().size, depth=depth)
            m.submodules[name] = ResetInserter(blocks.sequencer.layer_clear)(queue)
            m.d.comb += [
                queue.w_data.eq(record),
                queue.w_en.eq(engine.push),
                queue.r_en.eq(pop),
                chain.start.eq(pop),
                chain.record.eq(queue.r_data),
            ]

    def _connect_drains(self, m, blocks):
        """Records, results of S rows, and constants of the layer to each drain."""
        config, sequencer = self.config, blocks.sequencer
        connect(m, sequencer.table_write, *(drain.table_write for drain in blocks.drains))
        for index, drain in enumerate(blocks.drains):
            word = index * config.segments // config.word_bytes
            destination = blocks.destinations.records[index]
            rows = range(index * config.segments, (index + 1) * config.segments)
            m.d.comb += [
                drain.start.eq(blocks.vectors.starts[index]),
                drain.vector.eq(blocks.vectors.records[index]),
                drain.results.eq(Cat(blocks.row_ends.results[row] for row in rows)),
                drain.clear.eq(sequencer.layer_clear),
                drain.destination.address.eq(destination.address + word),
                drain.destination.phase.eq(destination.phase),
                drain.destination.enable.eq(destination.enable[word]),
            ]
            for field in drain.layer.shape().members:
                m.d.comb += drain.layer[field].eq(getattr(sequencer.descriptor, field))

    def _connect_units(self, m, blocks):
        """Residual slices from banks to drains, write requests from drains to banks.

        Unit i of drain g in phase f is at byte ``(f*R + g*S + i*unit) mod W`` of a word.
        """
        config = self.config
        for index, drain in enumerate(blocks.drains):
            for part in range(config.segments // config.unit):
                slices = []
                pushes = []
                grants = []
                for phase in range(config.tiles_per_word):
                    start = phase * config.rows + index * config.segments + part * config.unit
                    byte = start % config.word_bytes
                    bank, sub = blocks.banks[byte // config.lanes], byte % config.lanes
                    word = index * config.segments // config.word_bytes
                    data = slice(8 * sub, 8 * (sub + config.unit))
                    arrives = (
                        bank.residual_push
                        & (bank.residual_word == word)
                        & (bank.residual_phase == phase)
                    )
                    pushes.append(arrives)
                    slices.append(bank.residual_data[data] & arrives.replicate(8 * config.unit))
                    requester = (word * config.lanes + sub) // config.unit
                    grants.append(self._connect_write(m, drain, part, phase, bank, requester))
                m.d.comb += [
                    drain.residual_push[part].eq(Cat(pushes).any()),
                    drain.residual_data[part].eq(reduce(or_, slices)),
                    drain.write_ready[part].eq(Cat(grants).any()),
                ]

    def _connect_write(self, m, drain, part, phase, bank, requester):
        """Write requests of a unit in one phase, to one bank. Returns whether it is granted."""
        bits = 8 * self.config.unit
        here = drain.write_phase == phase
        m.d.comb += [
            bank.write_valid[requester].eq(drain.write_valid[part] & here),
            bank.write_address[requester].eq(drain.write_address),
            bank.write_data[requester].eq(drain.write_data[bits * part : bits * (part + 1)]),
        ]
        return bank.write_ready[requester] & here


class _Blocks:
    """Everything that the core places."""

    def __init__(self, config):
        self.registers, self.window = AxiLiteRegisters(config), AxiMemory(config)
        self.engine, self.loader = Engine(config), Loader(config)
        self.sequencer = Sequencer(config, _layer_fields(config))
        self.array, self.row_ends = Array(config), RowEnds(config)
        self.banks = [ActivationBank(config) for _ in range(config.banks)]
        self.weights = [WeightBank(config) for _ in range(config.drains)]
        self.drains = [Drain(config) for _ in range(config.drains)]
        chain = {"count": config.drains, "delay": config.segments // config.shared_rows}
        self.vectors = Handoff(self.engine.vector.shape(), **chain, module_name="termac_vectors")
        self.destinations = Handoff(
            self.engine.destination.shape(), **chain, module_name="termac_destinations"
        )

    def children(self):
        """Blocks and their names, memories and drains numbered."""
        for name, value in vars(self).items():
            if not isinstance(value, list):
                yield name, value
                continue
            for index, block in enumerate(value):
                yield f"{_ONE_OF[name]}_{index}", block


_ONE_OF = {"banks": "bank", "weights": "weights", "drains": "drain"}


def _layer_fields(config):
    """Fields of the layer descriptor that leave the sequencer."""
    kind = cell_kind(config.cell)
    settings = {*kind.settings, *kind.row_settings} - {"clear"}
    drain = (field.name for field in DRAIN_LAYER.fields)
    return {*Engine.FIELDS, *Loader.fields(config), *settings, *drain, "pad", "residual_pad"}


def _delayed(m, signal, cycles, name):
    """The signal, ``cycles`` later."""
    stages = Signal(cycles, name=f"{name}_delay")
    m.d.sync += stages.eq(Cat(signal, stages[:-1]))
    return stages[-1]
