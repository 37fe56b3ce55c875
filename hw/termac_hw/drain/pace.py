"""Keeping step in a drain lane: tokens, beats and selections, for blocks of S results."""

from amaranth.hdl import Mux, Signal

__all__ = ["beats", "delayed", "never_both", "pair_enables", "select"]


def delayed(m, signal, cycles, name):
    """All delays of a bit as a list: element k is the signal k cycles later, element 0 itself."""
    stages = [signal]
    for cycle in range(cycles):
        later = Signal(name=f"{name}_{cycle + 1}")
        m.d.sync += later.eq(stages[-1])
        stages.append(later)
    return stages


def beats(m, token, count, name):
    """Number the ``count`` cycles from a token on; tokens are at least ``count`` cycles apart.

    Parameters
    ----------
    token : 1
    count : int
        A power of two.

    Returns
    -------
    (beat, active) : the cycle's number, 0 with the token and while inactive; one of those cycles
    """
    beat = Signal(range(count), name=f"{name}_beat")
    active = Signal(name=f"{name}_active")
    m.d.comb += active.eq(token | beat.any())
    m.d.sync += beat.eq(beat + active)
    return beat, active


def never_both(read_beat, write_beat, writing):
    """Read enable that excludes reading what is being written, for a write three beats behind.

    Beats three apart, of the same vector or of vectors S >= 4 or more cycles apart, are never
    equal, so no needed read is suppressed. It only tells synthesis what it cannot see: without it
    yosys delays the write port by registers, to give the old word if both addresses were equal.
    """
    return ~(writing & (read_beat == write_beat))


def pair_enables(m, beat, active, name):
    """One-hot registers that say which pair of beats (0 and 1, 2 and 3, ...) the beat is in."""
    enables = Signal(1 << (len(beat) - 1), name=f"{name}_pair", init=1)
    following = Signal.like(beat, name=f"{name}_following")
    m.d.comb += following.eq(beat + active)
    for pair in range(len(enables)):
        m.d.sync += enables[pair].eq(following[1:] == pair)
    return enables


def select(m, values, odd, enables, name):
    """One of several values of equal width, with one four-input LUT per two values and bit.

    A chain: an enabled step picks one of its two values, by what it is handed; any other hands on
    what it got; the first one is handed ``odd``. The enables must come from registers, one each,
    or synthesis sees through them and builds a tree of multiplexers, nearly twice as large.

    Parameters
    ----------
    odd : 1
        Take the second value of the pair.
    enables : one-hot, one bit per pair
    """
    pairs = zip(values[0::2], values[1::2], strict=True)
    width = len(values[0])
    chosen = odd.replicate(width)
    for step, (enable, (first, second)) in enumerate(zip(enables, pairs, strict=True)):
        handed = Signal(width, name=f"{name}_{step}")
        yes, no = second.as_unsigned(), first.as_unsigned()
        m.d.comb += handed.eq(Mux(enable, (chosen & yes) | (~chosen & no), chosen))
        chosen = handed
    return chosen
