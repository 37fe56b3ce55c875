"""The two buses as interfaces, 32 bits wide, seen from the master: a slave flips them."""

from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

__all__ = ["Axi4", "AxiLite"]


class AxiLite(wiring.Signature):
    """AXI4-Lite without AxPROT.

    Parameters
    ----------
    address_width : :class:`int`
        Bits of a byte address.

    Members
    -------
    awaddr, awvalid, awready : Out(address_width), Out(1), In(1)
        Write address.
    wdata, wstrb, wvalid, wready : Out(32), Out(4), Out(1), In(1)
        Write data, with a strobe per byte.
    bresp, bvalid, bready : In(2), In(1), Out(1)
        Write response.
    araddr, arvalid, arready : Out(address_width), Out(1), In(1)
        Read address.
    rdata, rresp, rvalid, rready : In(32), In(2), In(1), Out(1)
        Read data and response.
    """

    def __init__(self, *, address_width):
        super().__init__(
            {
                **_channel("aw", Out, addr=address_width),
                **_channel("w", Out, data=32, strb=4),
                **_channel("b", In, resp=2),
                **_channel("ar", Out, addr=address_width),
                **_channel("r", In, data=32, resp=2),
            }
        )


class Axi4(wiring.Signature):
    """AXI4 without LOCK, CACHE, PROT, QOS, REGION and USER.

    Parameters
    ----------
    address_width : :class:`int`
        Bits of a byte address.
    id_width : :class:`int`
        Bits of a transaction ID.

    Members
    -------
    awid, awaddr, awlen, awsize, awburst, awvalid, awready : Out, the last In
        Write burst: ID, first byte address, beats - 1 (8 bits), log2 of a beat in bytes (3 bits)
        and type (2 bits, see :class:`termac_hw.axi.burst.BurstType`).
    wdata, wstrb, wlast, wvalid, wready : Out, the last In
        Beat of a write, with a strobe per byte.
    bid, bresp, bvalid, bready : In, the last Out
        Write response.
    arid, araddr, arlen, arsize, arburst, arvalid, arready : Out, the last In
        Read burst, as a write burst.
    rid, rdata, rresp, rlast, rvalid, rready : In, the last Out
        Beat of a read, with its response.
    """

    def __init__(self, *, address_width, id_width):
        burst = {"id": id_width, "addr": address_width, "len": 8, "size": 3, "burst": 2}
        super().__init__(
            {
                **_channel("aw", Out, **burst),
                **_channel("w", Out, data=32, strb=4, last=1),
                **_channel("b", In, id=id_width, resp=2),
                **_channel("ar", Out, **burst),
                **_channel("r", In, id=id_width, data=32, resp=2, last=1),
            }
        )


def _channel(prefix, flow, **payload):
    """Members of one channel: its payload (name to width) and VALID in ``flow``, READY against."""
    ready = In if flow is Out else Out
    members = {prefix + name: flow(width) for name, width in payload.items()}
    return members | {f"{prefix}valid": flow(1), f"{prefix}ready": ready(1)}
