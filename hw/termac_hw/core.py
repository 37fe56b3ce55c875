"""The whole accelerator: host ports, sequencer, memories, array, drains."""

from amaranth.hdl import Cat, Module, ResetInserter, Signal
from amaranth.lib import wiring
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import Out, connect, flipped
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
from termac_hw.axi.memory import AxiMemory
from termac_hw.axi.registers import register_ports
from termac_hw.cells import cell_kind
from termac_hw.cells.kinds import ROW_SETTINGS, SETTINGS
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
        self.registers = AxiLiteRegisters(config)
        self.window = AxiMemory(config)
        super().__init__(
            {
                "s_axil": self.registers.signature.members["s_axil"],
                "s_axi": self.window.signature.members["s_axi"],
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
        config = self.config
        registers, window = self.registers, self.window

        sequencer, engine, loader = Sequencer(config), Engine(config), Loader(config)
        array, row_ends = Array(config), RowEnds(config)
        banks = [ActivationBank(config) for _ in range(config.banks)]
        weights = [WeightBank(config) for _ in range(config.drains)]
        drains = [Drain(config) for _ in range(config.drains)]
        hop = config.segments // config.shared_rows
        vectors = Handoff(
            engine.vector.shape(), count=config.drains, delay=hop, module_name="termac_vectors"
        )
        destinations = Handoff(
            engine.destination.shape(),
            count=config.drains,
            delay=hop,
            module_name="termac_destinations",
        )
        for name, child in (
            ("registers", registers), ("window", window), ("sequencer", sequencer),
            ("engine", engine), ("loader", loader), ("array", array), ("row_ends", row_ends),
            ("vectors", vectors), ("destinations", destinations),
            *((f"bank_{i}", bank) for i, bank in enumerate(banks)),
            *((f"weights_{i}", bank) for i, bank in enumerate(weights)),
            *((f"drain_{i}", drain) for i, drain in enumerate(drains)),
        ):  # fmt: skip
            m.submodules[name] = place(child, platform, name)

        self._connect_host(m, sequencer, engine, banks, weights, drains)
        layer = sequencer.descriptor
        m.d.comb += [
            engine.start.eq(sequencer.layer_start),
            engine.halt.eq(sequencer.halt),
            engine.descriptor.eq(layer),
            loader.start.eq(sequencer.layer_start),
            loader.halt.eq(sequencer.halt),
            loader.descriptor.eq(layer),
            sequencer.record_address.eq(loader.record_address),
            loader.record.eq(sequencer.record),
            sequencer.running.eq(engine.running),
            sequencer.finished.eq(engine.finished),
            sequencer.address_error.eq(engine.address_error | loader.address_error),
            sequencer.overrun.eq(Cat(drain.overrun for drain in drains).any()),
            engine.passes.payload.eq(loader.passes.payload),
            engine.passes.valid.eq(loader.passes.valid),
            loader.passes.ready.eq(engine.passes.ready),
        ]

        # Weights: the request walks down the groups with the activations.
        request = loader.request
        for bank in weights:
            m.d.comb += bank.request.eq(request)
            request = bank.request_out
        m.d.comb += [
            array.shift.eq(Cat(bank.shift for bank in weights)),
            array.weights.eq(Cat(bank.weights for bank in weights)),
        ]
        if config.kind.keeps_terms:
            m.d.comb += [
                array.store.eq(Cat(bank.store for bank in weights)),
                array.place.as_value().eq(Cat(bank.place for bank in weights)),
                loader.ended.eq(engine.ended),
            ]

        # Activations: the request walks along the banks with the partial sums.
        request = engine.request
        for bank in banks:
            m.d.comb += [
                bank.request.eq(request),
                bank.pad.eq(layer.pad),
                bank.residual_pad.eq(layer.residual_pad),
            ]
            request = bank.request_out
        kind = cell_kind(config.cell)
        settings = {"clear": sequencer.layer_clear}
        settings |= {name: layer[name] for name in SETTINGS | ROW_SETTINGS if name != "clear"}
        for bank in banks:
            m.d.comb += [getattr(bank, name).eq(settings[name]) for name in kind.settings]
        m.d.comb += [
            array.lanes.eq(Cat(bank.lanes for bank in banks)),
            row_ends.sums.eq(array.sums),
            *(getattr(row_ends, name).eq(settings[name]) for name in kind.row_settings),
        ]

        # Control meets row 0 when its sums do; records meet the drains when results do.
        arrival = row_latency(config)
        complete = arrival + config.result_delay
        first = _delayed(m, engine.first, arrival, "first")
        last = _delayed(m, engine.last, complete, "last")
        written = _delayed(m, last, DRAIN_LATENCY, "written")
        m.d.comb += [row_ends.first.eq(first), row_ends.last.eq(last)]
        for name, chain, record, pop, latency in (
            ("vector_queue", vectors, engine.vector, last, complete),
            ("destination_queue", destinations, engine.destination, written,
             complete + DRAIN_LATENCY),
        ):  # fmt: skip
            depth = (latency + most_beats(config)) // config.segments + 2
            queue = SyncFIFO(width=record.shape().size, depth=depth)
            m.submodules[name] = ResetInserter(sequencer.layer_clear)(queue)
            m.d.comb += [
                queue.w_data.eq(record),
                queue.w_en.eq(engine.push),
                queue.r_en.eq(pop),
                chain.start.eq(pop),
                chain.record.eq(queue.r_data),
            ]

        connect(m, sequencer.table_write, *(drain.table_write for drain in drains))
        for index, drain in enumerate(drains):
            word = index * config.segments // config.word_bytes
            destination = destinations.records[index]
            m.d.comb += [
                drain.start.eq(vectors.starts[index]),
                drain.vector.eq(vectors.records[index]),
                drain.results.eq(
                    Cat(
                        row_ends.results[index * config.segments + row]
                        for row in range(config.segments)
                    )
                ),
                drain.clear.eq(sequencer.layer_clear),
                drain.destination.address.eq(destination.address + word),
                drain.destination.phase.eq(destination.phase),
                drain.destination.enable.eq(destination.enable[word]),
            ]
            for field in drain.layer.shape().members:
                m.d.comb += drain.layer[field].eq(layer[field])
        self._connect_units(m, banks, drains)
        m.d.comb += [self.busy.eq(sequencer.busy), self.done.eq(sequencer.done)]
        return m

    def _connect_host(self, m, sequencer, engine, banks, weights, drains):
        """Registers to the sequencer; the memory window to every memory."""
        config, registers, window = self.config, self.registers, self.window
        connect(m, flipped(self.s_axil), registers.s_axil)
        connect(m, flipped(self.s_axi), window.s_axi)
        for name, member in register_ports(config).items():
            holder = next(block for block in (sequencer,) if name in block.signature.members)
            register, value = getattr(registers, name), getattr(holder, name)
            m.d.comb += value.eq(register) if member.flow is Out else register.eq(value)
        m.d.comb += [
            window.busy.eq(sequencer.busy),
        ]
        connect(m, window.program_write, sequencer.program_write)
        connect(m, window.tap_write, engine.tap_write)
        for index, bank in enumerate(weights):
            connect_write(m, window.weight_write, bank.host_write, enable=index)
        for index, drain in enumerate(drains):
            connect_write(m, window.parameter_write, drain.parameter_write, enable=index)
        reading = Signal()
        m.d.comb += reading.eq(~sequencer.busy)
        words = []
        for index, bank in enumerate(banks):
            part = slice(index * config.lanes, (index + 1) * config.lanes)
            byte_part = slice(8 * part.start, 8 * part.stop)
            m.d.comb += [
                bank.host_read.eq(reading),
                bank.host_read_address.eq(window.activation_read.address),
            ]
            connect_write(m, window.activation_write, bank.host_write, enable=part, data=byte_part)
            words.append(bank.host_data)
        m.d.comb += window.activation_data.eq(Cat(words))

    def _connect_units(self, m, banks, drains):
        """Residual slices from banks to drains, write requests from drains to banks.

        Unit i of drain g in phase f is at byte ``(f*R + g*S + i*unit) mod W`` of a word.
        """
        config = self.config
        unit = config.unit
        per_bank = config.lanes // unit
        for index, drain in enumerate(drains):
            word = index * config.segments // config.word_bytes
            for part in range(config.segments // unit):
                push, ready, slices = [], [], []
                for phase in range(config.tiles_per_word):
                    byte = (
                        phase * config.rows + index * config.segments + part * unit
                    ) % config.word_bytes
                    bank, sub = banks[byte // config.lanes], byte % config.lanes // unit
                    arrives = (
                        bank.residual_push
                        & (bank.residual_word == word)
                        & (bank.residual_phase == phase)
                    )
                    push.append(arrives)
                    slices.append(
                        bank.residual_data[8 * unit * sub : 8 * unit * (sub + 1)]
                        & arrives.replicate(8 * unit)
                    )
                    requester = word * per_bank + sub
                    mine = drain.write_phase == phase
                    m.d.comb += [
                        bank.write_valid[requester].eq(drain.write_valid[part] & mine),
                        bank.write_address[requester].eq(drain.write_address),
                        bank.write_data[requester].eq(
                            drain.write_data[8 * unit * part : 8 * unit * (part + 1)]
                        ),
                    ]
                    ready.append(bank.write_ready[requester] & mine)
                value = slices[0]
                for other in slices[1:]:
                    value = value | other
                m.d.comb += [
                    drain.residual_push[part].eq(Cat(push).any()),
                    drain.residual_data[part].eq(value),
                    drain.write_ready[part].eq(Cat(ready).any()),
                ]


def _delayed(m, signal, cycles, name):
    """The signal, ``cycles`` later."""
    stages = Signal(cycles, name=f"{name}_delay")
    m.d.sync += stages.eq(Cat(signal, stages[:-1]))
    return stages[-1]
