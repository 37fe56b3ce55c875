"""Placing components and emitting Verilog."""

import gc
import re
import subprocess
import warnings

import pytest
from amaranth.hdl import Cat, Const, Module, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.sim import Simulator
from termac_hw.emit import WAIVERS, emit_verilog, place, write_verilog
from termac_sim.launch import verilator_folder


class Adder(wiring.Component):
    """Registered sum; ``width`` is not part of the module name unless asked for."""

    def __init__(self, width=8, name="demo_adder"):
        self.width = width
        self.module_name = name
        super().__init__({"a": In(width), "b": In(width), "sum": Out(width)})

    def elaborate(self, platform):
        m = Module()
        m.d.sync += self.sum.eq(self.a + self.b)
        return m


class Tag(wiring.Component):
    """No reset, a structure as port, an output that shares its name with a keyword.

    It shows what comments are made of.

    Members
    -------
    record : In(StructLayout)
        Key, with a bit that says
        whether there is one. This sentence is not needed.
    table : :py:`unsigned(3)`
    """

    module_name = "demo_tag"

    def __init__(self):
        layout = data.StructLayout({"key": 3, "valid": 1})
        super().__init__({"record": In(layout), "table": Out(3)})

    def elaborate(self, platform):
        m = Module()
        key = Signal(3, reset_less=True)
        with m.If(self.record.valid):
            m.d.sync += key.eq(self.record.key)
        m.d.comb += self.table.eq(key)
        return m


class TagUser(wiring.Component):
    module_name = "demo_tag_user"

    def __init__(self):
        super().__init__({"x": In(4), "tag": Out(3)})

    def elaborate(self, platform):
        m = Module()
        tag = Tag()
        m.submodules.tagger = place(tag, platform)
        m.d.comb += [tag.record.eq(self.x), self.tag.eq(tag.table)]
        return m


class Top(wiring.Component):
    """Three adders, a tag, the memories."""

    module_name = "demo_top"

    def __init__(self, adders=None):
        self.adders = adders or [Adder() for _ in range(3)]
        super().__init__(
            {"x": In(8), "write": In(4), "sum": Out(8), "word": Out(32), "tag": Out(3)}
        )

    def elaborate(self, platform):
        m = Module()
        inner = Memories()
        m.submodules.memories = place(inner, platform)
        total = Const(0, 8)
        for index, adder in enumerate(self.adders):
            m.submodules[f"adder_{index}"] = place(adder, platform)
            m.d.comb += [adder.a.eq(self.x), adder.b.eq(total)]
            total = adder.sum
        user = TagUser()
        m.submodules.user = place(user, platform, "named")
        m.d.comb += [
            self.sum.eq(total),
            inner.x.eq(total),
            inner.write.eq(self.write),
            self.word.eq(inner.word),
            user.x.eq(self.x[:4]),
            self.tag.eq(user.tag),
        ]
        return m


class Memories(wiring.Component):
    """A byte-writable memory that starts empty and a table named like a keyword."""

    module_name = "demo_memories"

    def __init__(self):
        super().__init__({"x": In(8), "write": In(4), "word": Out(32)})

    def elaborate(self, platform):
        m = Module()
        m.submodules.words = words = Memory(shape=unsigned(32), depth=64, init=[])
        m.submodules.logic = squares = Memory(
            shape=unsigned(8), depth=16, init=[i * i % 256 for i in range(16)]
        )
        address = Signal(6)
        m.d.sync += address.eq(address + 1)
        write, read = words.write_port(granularity=8), words.read_port()
        look = squares.read_port()
        m.d.comb += [
            write.addr.eq(address),
            write.data.eq(Cat(self.x, look.data, self.x, self.x)),
            write.en.eq(self.write),
            read.addr.eq(address),
            look.addr.eq(address[:4]),
            self.word.eq(read.data),
        ]
        return m


@pytest.fixture
def verilog():
    return emit_verilog(Top())


def module(verilog, name):
    return re.search(rf"^module {name}\(.*?^endmodule", verilog, re.M | re.S)[0]


def test_every_module_once_children_first(verilog):
    names = re.findall(r"^module (\w+)", verilog, re.M)
    assert names == ["demo_memories", "demo_adder", "demo_tag", "demo_tag_user", "demo_top"]
    assert len(re.findall(r"^  demo_adder adder_\d \(", verilog, re.M)) == 3


def test_deterministic_and_free_of_paths(verilog):
    assert verilog == emit_verilog(Top())
    assert "/" not in re.sub(r"//.*", "", verilog)
    assert "\\" not in verilog


def test_ports_are_listed_one_a_line_as_declared(verilog):
    header = module(verilog, "demo_top").split(");")[0]
    assert (
        header
        == """module demo_top(
  input wire clk,  // clock
  input wire rst,  // reset, synchronous, active high

  input wire [7:0] x,
  input wire [3:0] write,
  output wire [7:0] sum,
  output wire [31:0] word,
  output wire [2:0] tag
"""
    )
    assert "rst" not in module(verilog, "demo_tag")
    assert ".table_(" in module(verilog, "demo_tag_user")


def test_docstrings_are_comments(verilog):
    text = verilog[: verilog.index("module demo_tag(")]
    assert text.endswith(
        "// No reset, a structure as port, an output that shares its name with a keyword\n"
    )
    ports = module(verilog, "demo_tag").split(");")[0]
    assert (
        "  input wire [3:0] record,  // Key, with a bit that says whether there is one\n" in ports
    )
    assert "  output reg [2:0] table_ = 3'h0  // unsigned(3)\n" in ports


def test_fields_are_read_by_name(verilog):
    text = module(verilog, "demo_tag")
    assert "wire record_valid = record[3];" in text
    assert "if (record_valid) table_ <= record_key;" in text


def test_enable_and_reset_are_in_the_flip_flops(verilog):
    assert "always @*" not in verilog
    assert "if (rst) sum <= 8'h00;" in module(verilog, "demo_adder")


def test_memories_stay_memories(verilog):
    text = module(verilog, "demo_memories")
    assert "(* no_rw_check *)\n  reg [31:0] words [63:0];" in text
    assert "reg [7:0] logic_ [15:0];" in text
    for lane in range(4):
        assert re.search(rf"if \(write\[{lane}\]\)\s+words\[address\]\[{8 * lane + 7}:", text)
    assert re.search(r"always @\(posedge clk\) begin\s+word <= words\[address\];", text)
    assert "logic_[15] = 8'he1;" in text
    assert "words[0] =" not in text


def test_lint(tmp_path):
    write_verilog(Top(), tmp_path / "demo.v")
    assert (tmp_path / "waivers.vlt").read_text() == WAIVERS.read_text()
    run = subprocess.run(
        [verilator_folder() / "verilator", "--lint-only", "-Wall", "--top-module", "demo_top",
         "waivers.vlt", "demo.v"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr


@pytest.mark.filterwarnings("ignore::amaranth.hdl.UnusedElaboratable")
def test_same_name_for_different_hardware_is_refused():
    adders = [Adder(8), Adder(7)]
    with pytest.raises(ValueError, match="share the module name 'demo_adder'"):
        emit_verilog(Top(adders))
    emit_verilog(Top([Adder(8), Adder(7, "demo_adder_7")]))


def test_bad_module_name():
    with pytest.raises(ValueError, match="must be a Verilog identifier, not 'demo adder'"):
        emit_verilog(Adder(8, "demo adder"))


def test_ports_of_an_interface_are_called_after_both():
    class Bus(wiring.Component):
        module_name = "bus"

        def __init__(self, **extra):
            super().__init__({"host": In(stream.Signature(4)), "copy": Out(4), **extra})

        def elaborate(self, platform):
            m = Module()
            m.d.comb += [self.copy.eq(self.host.payload), self.host.ready.eq(self.host.valid)]
            return m

    verilog = emit_verilog(Bus())
    assert "input wire [3:0] host_payload,  // what is offered" in verilog
    assert "output wire host_ready,  // the payload is taken" in verilog
    with pytest.raises(ValueError, match="Bus has two ports named 'host_ready'"):
        emit_verilog(Bus(host_ready=Out(1)))


def test_no_warning_about_components_emitted_before():
    gc.collect()  # what other tests left behind
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        emit_verilog(Top())
        gc.collect()
    assert [str(warning.message) for warning in caught] == []


def test_placed_component_is_a_submodule_in_the_simulator():
    top = Top()
    assert place(top, None) is top
    seen = []

    async def bench(ctx):
        ctx.set(top.x, 5)
        for _ in range(4):
            await ctx.tick()
        seen.append(ctx.get(top.sum))

    simulator = Simulator(top)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
    assert seen == [15]
