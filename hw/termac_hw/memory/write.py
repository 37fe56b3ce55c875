"""The write port of a memory, from the host's window or the sequencer to the memory."""

from amaranth.hdl import signed
from amaranth.lib import wiring
from amaranth.lib.wiring import Out
from amaranth.utils import ceil_log2
from termac.arch import PARAMETER, TABLE_ENTRIES

__all__ = ["TABLE_WRITE", "MemoryWrite", "connect_write", "parameter_write"]


class MemoryWrite(wiring.Signature):
    """Writes one word, or parts of it, in every cycle with an enable; seen from the writer.

    Parameters
    ----------
    words : :class:`int`
        Words of the memory.
    shape : shape-like
        Of a word.
    enables : :class:`int`
        Enables: one per memory that shares address and data, or one per part of a word.

    Members
    -------
    enable : Out(enables)
        What is written.
    address : Out(log2(words))
        Word.
    data : Out(shape)
        What to write.
    """

    def __init__(self, *, words, shape, enables=1):
        super().__init__(
            {"enable": Out(enables), "address": Out(ceil_log2(words)), "data": Out(shape)}
        )


TABLE_WRITE = MemoryWrite(words=2 * TABLE_ENTRIES, shape=signed(32))
"""Writes the operand tables of a residual: words 0..255 convolution, 256..511 residual."""


def parameter_write(config):
    """Writes the channel parameters of a drain lane, ``PARAMETER`` records, in its own memory."""
    return MemoryWrite(words=config.parameter_depth, shape=PARAMETER.width)


def connect_write(m, source, target, *, enable=slice(None), data=slice(None)):
    """Drive the write port of one memory from one that several memories share.

    Parameters
    ----------
    source : interface of the writer
    target : interface of the memory
    enable, data : bits of the writer's that belong to this memory
    """
    m.d.comb += [
        target.enable.eq(source.enable[enable]),
        target.address.eq(source.address),
        target.data.eq(source.data[data]),
    ]
