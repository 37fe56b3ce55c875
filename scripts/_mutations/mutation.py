"""What a mutation is, and which tests must notice it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click

__all__ = ["Mutation", "mutate", "sources", "stages"]

HARDWARE = "hw/termac_hw"

_CONTROL = ("tests/hw/control/test_bounds.py", "tests/hw/control/test_control.py")
_DRAIN = ("tests/hw/drain/test_drain.py",)
_ARRAY = (
    "tests/hw/array/test_row_ends.py", "tests/hw/array/test_row.py",
    "tests/hw/array/test_array.py",
)  # fmt: skip
_ON_BIT_PLANE = "tests/sim/test_layers.py -k test_random_layers and 8x8a4s4 and not term"

TESTS: dict[str, tuple[str, ...]] = {
    "checker": ("tests/hw/control/test_checker.py", _CONTROL[0]),
    "sequencer": ("tests/hw/control/test_sequencer.py", *_CONTROL),
    "counters": (
        "tests/hw/control/test_counters.py",
        "tests/hw/control/test_sequencer.py",
        *_CONTROL,
    ),
    "loader": _CONTROL,
    "engine": (
        "tests/hw/control/test_pixel_walk.py",
        "tests/hw/control/test_engine.py",
        _CONTROL[1],
        _CONTROL[0],
    ),
    "accumulator": _DRAIN,
    "requantizer": ("tests/hw/drain/test_requantize.py", *_DRAIN),
    "residual": _DRAIN,
    "pooling": _DRAIN,
    "assembler": _DRAIN,
    "drain": _DRAIN,
    "handoff": ("tests/hw/drain/test_handoff.py",),
    "array": _ARRAY,
    "bit_plane": ("tests/hw/cells/test_bit_plane.py",),
    "bit_serial": ("tests/hw/cells/test_bit_serial.py", "tests/hw/array/test_bit_serial_array.py"),
    "term": ("tests/hw/cells/test_term.py",),
    "term_pair": ("tests/hw/cells/test_term_pair.py",),
    "encoder": ("tests/hw/cells/test_term_encoder.py",),
    "bank": ("tests/hw/memory/test_bank.py",),
    "weights": ("tests/hw/memory/test_weights.py",),
    "registers": ("tests/hw/axi/test_lite.py",),
    "window": ("tests/hw/axi/test_memory.py",),
    "core": ("tests/sim/test_bounds.py", _ON_BIT_PLANE),
}
"""Short tests of every block, the fastest first."""


@dataclass(frozen=True)
class Mutation:
    """One change of the hardware.

    Parameters
    ----------
    block : of :data:`TESTS`
    what : what is broken
    where : folder or file below ``hw/termac_hw``
    old, new : text to replace, which occurs once there, and its replacement
    equivalent : why no test can notice; empty if one must
    tests : instead of those of the block
    """

    block: str
    what: str
    where: str
    old: str
    new: str
    equivalent: str = ""
    tests: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.block}: {self.what}"


def stages(mutation: Mutation) -> tuple[str, ...]:
    """Arguments of pytest, one string a stage."""
    return mutation.tests or TESTS[mutation.block]


def sources(root: Path, where: str) -> Iterator[Path]:
    """Python files below a folder, in order, or the one that is named."""
    path = root / where
    yield from [path] if path.is_file() else sorted(path.rglob("*.py"))


def mutate(root: Path, mutation: Mutation) -> tuple[Path, str]:
    """The file that a mutation is about, and its new text. White space may differ.

    Raises
    ------
    click.ClickException
        If the text is not found in the mutation's folder exactly once.
    """
    pattern = re.compile(r"\s+".join(map(re.escape, mutation.old.split())))
    found = []
    for path in sources(root, f"{HARDWARE}/{mutation.where}"):
        text = path.read_text()
        found += [(path, text, match) for match in pattern.finditer(text)]
    if len(found) != 1:
        raise click.ClickException(
            f"{mutation.name}: its text is found {len(found)} times below "
            f"{HARDWARE}/{mutation.where}, not once: {mutation.old!r}"
        )
    path, text, match = found[0]
    return path, text[: match.start()] + mutation.new + text[match.end() :]
