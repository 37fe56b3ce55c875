"""The Verilog of whole accelerators as a reader meets it."""

import re

import pytest
from termac.arch import load_config
from termac_hw.core import Core
from termac_hw.emit import emit_verilog

NET = re.compile(r"^ *(input |output )?(?:wire|reg) (?:\[\d+:\d+\] )?(\w+)", re.M)

PORT = re.compile(r"^  (?:input|output) .*", re.M)


@pytest.fixture(scope="module", params=["tiny", "term-pair"])
def verilog(request):
    return emit_verilog(Core(load_config(request.param)))


def test_at_most_a_quarter_of_the_nets_is_anonymous(verilog):
    nets = [name for port, name in NET.findall(verilog) if not port]
    anonymous = [name for name in nets if re.fullmatch(r"_\d+_", name)]
    assert len(nets) > 900
    assert len(anonymous) <= len(nets) / 4


def test_no_net_is_named_after_the_machinery(verilog):
    names = {name for _, name in NET.findall(verilog)}
    assert not [name for name in names if re.search(r"^_?signa|\$|__", name)]


def test_no_line_is_longer_than_a_screen(verilog):
    assert max(map(len, verilog.splitlines())) <= 110


def test_modules_say_what_they_do(verilog):
    above = re.findall(r"^(.*)\nmodule (\w+)\(", verilog, re.M)
    assert len(above) >= 24
    assert [name for line, name in above if not line.startswith("// ")] == []


def test_every_port_has_a_line_and_a_comment(verilog):
    headers = re.findall(r"^module (\w+)\((.*?)^\);", verilog, re.M | re.S)
    assert len(headers) >= 24
    ports = [(name, line) for name, text in headers for line in PORT.findall(text)]
    assert len(ports) > 300
    assert [port for port in ports if "  // " not in port[1]] == []
