"""The register file behind an AXI4-Lite slave."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In
from termac.arch.registers import REGISTER_ADDRESS_WIDTH, REGISTERS, Access

from termac_hw.axi.burst import Response
from termac_hw.axi.registers import register_ports, register_texts
from termac_hw.axi.signature import AxiLite

__all__ = ["AxiLiteRegisters"]


class AxiLiteRegisters(wiring.Component):
    """Registers of :data:`termac.arch.registers.REGISTERS` as an AXI4-Lite slave, 32 bits wide.

    Address and data of a write may come in any order. One write and one read are in progress at a
    time; a write takes two cycles, a read three, and each holds its response until it is taken.
    Byte strobes are honoured. An access outside the register map and a write to a read-only
    register answer SLVERR and change nothing. No output depends combinationally on an input.

    Parameters
    ----------
    config : :class:`termac.arch.Config`

    Members
    -------
    s_axil : In(AxiLite)
        AXI4-Lite slave.
    start, clear : Out(1)
        Pulses of one cycle, in the first cycle of the write response: every field of a register
        with :attr:`termac.arch.registers.Access.PULSE`.
    program, watchdog, log_index : Out
        As last written: every register that the host may write.
    busy, done, error, layer, cycles and so on : In
        As read: every field that changes at run time, see
        :func:`termac_hw.axi.registers.register_ports`.
    """

    module_name = "termac_axi_lite"
    port_texts = register_texts()

    def __init__(self, config):
        self.config = config
        super().__init__(
            {
                "s_axil": In(AxiLite(address_width=REGISTER_ADDRESS_WIDTH)),
                **register_ports(config),
            }
        )

    def elaborate(self, platform):
        m = Module()
        self._write(m)
        self._read(m)
        return m

    def _source(self, register, field):
        """Where a field of a register lives: its port, or a constant."""
        if register.is_constant:
            value = register.unpack(register.reset_value(self.config))[field.name]
            return Const(value, field.width)
        value = Value.cast(getattr(self, register.port(field)))
        return value if len(value) == field.width else value.any()

    def _write(self, m):
        """Both halves of a write wait for each other; then it happens and is answered."""
        has_address = Signal()
        has_data = Signal()
        address = Signal(REGISTER_ADDRESS_WIDTH - 2)
        word = Signal(32)
        strobe = Signal(4)
        m.d.comb += [
            self.s_axil.awready.eq(~has_address),
            self.s_axil.wready.eq(~has_data),
        ]
        for register in REGISTERS.values():
            if register.access is Access.PULSE:
                for field in register.fields.fields:
                    m.d.sync += self._source(register, field).eq(0)
        with m.If(self.s_axil.awvalid & self.s_axil.awready):
            m.d.sync += [has_address.eq(1), address.eq(self.s_axil.awaddr[2:])]
        with m.If(self.s_axil.wvalid & self.s_axil.wready):
            m.d.sync += [
                has_data.eq(1),
                word.eq(self.s_axil.wdata),
                strobe.eq(self.s_axil.wstrb),
            ]
        with m.If(self.s_axil.bready):
            m.d.sync += self.s_axil.bvalid.eq(0)
        with m.If(has_address & has_data & ~self.s_axil.bvalid):
            m.d.sync += [
                has_address.eq(0),
                has_data.eq(0),
                self.s_axil.bvalid.eq(1),
                self.s_axil.bresp.eq(Response.SLVERR),
            ]
            mask = Cat(strobe[byte].replicate(8) for byte in range(4))
            with m.Switch(address):
                for register in REGISTERS.values():
                    if register.access is Access.READ_ONLY:
                        continue
                    with m.Case(register.offset // 4):
                        m.d.sync += self.s_axil.bresp.eq(Response.OKAY)
                        for field in register.fields.fields:
                            target = self._source(register, field)
                            offset = register.fields.offset(field.name)
                            bits = slice(offset, offset + field.width)
                            if register.access is Access.PULSE:
                                m.d.sync += target.eq(word[bits] & mask[bits])
                            else:
                                kept = target & ~mask[bits]
                                m.d.sync += target.eq((word[bits] & mask[bits]) | kept)

    def _read(self, m):
        """One cycle finds the register, the next fetches its value: it may be far away."""
        asked = Signal()
        chosen = Signal(len(REGISTERS))  # one-hot, none outside the register map
        m.d.comb += self.s_axil.arready.eq(~asked & ~self.s_axil.rvalid)
        with m.If(self.s_axil.rready):
            m.d.sync += self.s_axil.rvalid.eq(0)
        with m.If(self.s_axil.arvalid & self.s_axil.arready):
            m.d.sync += asked.eq(1)
            for index, register in enumerate(REGISTERS.values()):
                m.d.sync += chosen[index].eq(self.s_axil.araddr[2:] == register.offset // 4)
        value = Const(0, 32)
        for index, register in enumerate(REGISTERS.values()):
            if register.access is not Access.PULSE:
                fields = Cat(self._source(register, field) for field in register.fields.fields)
                value = value | Mux(chosen[index], fields, 0)
        with m.If(asked):
            m.d.sync += [
                asked.eq(0),
                self.s_axil.rvalid.eq(1),
                self.s_axil.rresp.eq(Mux(chosen.any(), Response.OKAY, Response.SLVERR)),
                self.s_axil.rdata.eq(value),
            ]
