"""The buses: what a master drives, a slave takes, and nothing is missing."""

import pytest
from amaranth.lib.wiring import In, Out
from termac_hw.axi.signature import Axi4, AxiLite

CHANNELS = {
    "aw": ("addr", "id", "len", "size", "burst"), "w": ("data", "strb", "last"),
    "b": ("resp", "id"), "ar": ("addr", "id", "len", "size", "burst"),
    "r": ("data", "resp", "id", "last"),
}  # fmt: skip
AXI4_ONLY = {"id", "len", "size", "burst", "last"}
WIDTHS = {"addr": 20, "data": 32, "strb": 4, "resp": 2, "id": 5, "len": 8, "size": 3, "burst": 2}


@pytest.mark.parametrize("lite", [False, True])
def test_directions_and_widths_are_those_of_the_specification(lite):
    bus = AxiLite(address_width=20) if lite else Axi4(address_width=20, id_width=5)
    wanted = {}
    for channel, payload in CHANNELS.items():
        sent_by_master = channel in ("aw", "w", "ar")
        for name in ("valid", *payload):
            if not (lite and name in AXI4_ONLY):
                flow = Out if sent_by_master else In
                wanted[channel + name] = (flow, WIDTHS.get(name, 1))
        wanted[f"{channel}ready"] = (In if sent_by_master else Out, 1)
    members = {name: (member.flow, member.shape) for name, member in bus.members.items()}
    assert members == wanted
    other = {In: Out, Out: In}
    slave = {name: (member.flow, member.shape) for name, member in bus.flip().members.items()}
    assert slave == {name: (other[flow], width) for name, (flow, width) in wanted.items()}
