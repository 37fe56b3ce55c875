"""The accelerator configuration: one frozen dataclass, read from TOML presets."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Callable
from dataclasses import MISSING, asdict, dataclass, fields
from importlib import resources
from pathlib import Path
from typing import NamedTuple

from termac.arch.cells import CELLS, Traits
from termac.arch.layout import Layout
from termac.errors import ConfigError, did_you_mean

__all__ = ["Config", "load_config", "preset_names"]

LARGEST_FILE = 1 << 16
"""Bytes of a configuration file."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """Everything that fixes the generated hardware.

    Parameters
    ----------
    name : str
        Name of the preset; not part of the hash.
    cell : str
        Cell of the array: ``"bit_plane"``, ``"bit_serial"``, ``"term"`` or ``"term_pair"``; see
        :mod:`termac.arch.cells`.
    rows : int
        Rows R of the array: output channels of a tile. A multiple of ``segments``.
    columns : int
        Combined columns C. A multiple of ``segments``.
    lanes : int
        Lanes alpha of a combined column: 1, 2, 4, 8 or 16.
    segments : int
        Segments S, 4 or 8: words read for one vector; the shortest vector time.
    shared_rows : int
        Neighbouring rows that share one lane register: 1, 2, 4 or 8, at most ``segments``.
    activation_depth : int
        Words of the activation memory; a word is ``word_bytes`` bytes.
    weight_depth : int
        Words of the weight memory. A tile takes ``columns`` words of R weights.
    parameter_depth : int
        Output channels whose parameters fit, per drain lane.
    accumulator_depth : int
        Vectors (output pixels) that are accumulated before weights change: one chunk.
    program_depth : int
        32-bit words of the program memory.
    tap_depth : int
        Words of the tap table. A pass takes ``segments`` words.

    Raises
    ------
    ConfigError
        If a value or a combination of values cannot be built; the message names the key.
    """

    name: str
    cell: str = "bit_plane"
    rows: int
    columns: int
    lanes: int
    segments: int = 8
    shared_rows: int = 1
    activation_depth: int
    weight_depth: int
    parameter_depth: int
    accumulator_depth: int = 128
    program_depth: int
    tap_depth: int

    def __post_init__(self) -> None:
        for rule in (*_NUMBERS, *_RULES):
            if not rule.holds(self):
                raise ConfigError(
                    f"config {self.name!r}: {rule.key} must be {rule.text.format(c=self)}, "
                    f"not {getattr(self, rule.key)!r}"
                )

    @property
    def kind(self) -> Traits:
        """What the cell is like."""
        return CELLS[self.cell]

    @property
    def word_bytes(self) -> int:
        """Bytes W of an activation memory word: lanes * columns / segments."""
        return self.lanes * self.columns // self.segments

    @property
    def banks(self) -> int:
        """Byte banks of the activation memory: bank b feeds columns b*S .. b*S+S-1."""
        return self.columns // self.segments

    @property
    def drains(self) -> int:
        """Drain lanes: drain g serves rows g*S .. g*S+S-1."""
        return self.rows // self.segments

    @property
    def unit(self) -> int:
        """Bytes of one write or residual unit: what one drain and one bank have in common."""
        return min(self.segments, self.lanes)

    @property
    def lane_width(self) -> int:
        """Bits of a lane select."""
        return self.lanes.bit_length() - 1

    @property
    def weight_layout(self) -> Layout:
        """What one cell gets from one weight word: a weight and its lane, or a term."""
        return self.kind.weight_layout(self.lane_width)

    @property
    def weight_width(self) -> int:
        """Bits of what one cell gets from one weight word."""
        return self.weight_layout.width

    @property
    def sum_width(self) -> int:
        """Bits of the partial sum of one beat along a row."""
        return self.kind.sum_width(self._row_width)

    @property
    def result_width(self) -> int:
        """Bits of the sum of one vector at the row end."""
        return self._row_width + self.kind.growth

    @property
    def _row_width(self) -> int:
        return self.kind.product_width + (self.columns - 1).bit_length()

    @property
    def result_delay(self) -> int:
        """Cycles from the last beat of a vector at a row end to its last sum bit."""
        return self.kind.result_delay(self.result_width)

    @property
    def words_per_tile(self) -> int:
        """Output words that one row tile fills: R/W, at least 1."""
        return max(1, self.rows // self.word_bytes)

    @property
    def tiles_per_word(self) -> int:
        """Row tiles that share one output word: W/R, at least 1."""
        return max(1, self.word_bytes // self.rows)

    @property
    def bank_writes(self) -> int:
        """Writes of :attr:`unit` bytes into one byte bank while one vector leaves the drains."""
        return self.words_per_tile * self.lanes // self.unit

    @property
    def cells(self) -> int:
        return self.rows * self.columns

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of every parameter but the name."""
        values = asdict(self)
        del values["name"]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    @property
    def hash32(self) -> int:
        """First 32 bits of the digest: the CONFIG_HASH register."""
        return int(self.digest[:8], 16)


class _Rule(NamedTuple):
    """What a key must be; ``text`` may quote the configuration as ``c``."""

    key: str
    text: str
    holds: Callable[[Config], bool]


def _positive(key: str) -> Callable[[Config], bool]:
    def holds(c: Config) -> bool:
        value = getattr(c, key)
        return isinstance(value, int) and not isinstance(value, bool) and value > 0

    return holds


def _at_most(key: str, limit: int) -> _Rule:
    return _Rule(key, f"at most {limit}", lambda c: getattr(c, key) <= limit)


_NUMBERS = [
    _Rule(field.name, "a positive integer", _positive(field.name))
    for field in fields(Config)
    if field.type == "int"
]

# In this order: later rules count on earlier ones.
_RULES = (
    _Rule("cell", "one of " + ", ".join(map(repr, CELLS)), lambda c: c.cell in list(CELLS)),
    _Rule("lanes", "1, 2, 4, 8 or 16", lambda c: c.lanes in (1, 2, 4, 8, 16)),
    _Rule("segments", "4 or 8", lambda c: c.segments in (4, 8)),
    _Rule(
        "shared_rows", "1, 2, 4 or 8, and at most segments={c.segments}",
        lambda c: c.shared_rows in (1, 2, 4, 8) and c.shared_rows <= c.segments,
    ),
    _Rule("rows", "a multiple of segments={c.segments}", lambda c: c.rows % c.segments == 0),
    _Rule("columns", "a multiple of segments={c.segments}", lambda c: c.columns % c.segments == 0),
    _at_most("rows", 256),
    _at_most("columns", 128),
    _Rule(
        "lanes",
        "such that lanes*columns/segments (now {c.word_bytes} bytes, a memory word) is a multiple "
        "of segments={c.segments}",
        lambda c: c.word_bytes % c.segments == 0,
    ),
    _Rule(
        "rows",
        "a multiple or a divisor of the {c.word_bytes} bytes of a memory word "
        "(lanes*columns/segments)",
        lambda c: c.word_bytes % c.rows == 0 or c.rows % c.word_bytes == 0,
    ),
    _Rule(
        "rows",
        "such that a byte bank is written at most segments={c.segments} times a vector (now "
        "{c.bank_writes}: {c.words_per_tile} words of {c.lanes} lanes, {c.unit} bytes a write)",
        lambda c: c.bank_writes <= c.segments,
    ),
    _at_most("activation_depth", 1 << 16),
    _at_most("weight_depth", 1 << 20),
    _at_most("parameter_depth", 1 << 16),
    _at_most("accumulator_depth", 1 << 10),
    _at_most("program_depth", 1 << 16),
    _at_most("tap_depth", 1 << 16),
    _Rule("weight_depth", "at least one tile (columns)", lambda c: c.weight_depth >= c.columns),
    _Rule("tap_depth", "at least one pass (segments)", lambda c: c.tap_depth >= c.segments),
    _Rule("activation_depth", "at least 2", lambda c: c.activation_depth >= 2),
    _Rule("accumulator_depth", "at least 2", lambda c: c.accumulator_depth >= 2),
    _Rule("parameter_depth", "at least segments", lambda c: c.parameter_depth >= c.segments),
    _Rule("program_depth", "at least 64", lambda c: c.program_depth >= 64),
)  # fmt: skip


def preset_names() -> list[str]:
    """Names of the presets that ship with the package."""
    folder = resources.files("termac.arch").joinpath("presets")
    return sorted(p.name.removesuffix(".toml") for p in folder.iterdir() if p.name[-5:] == ".toml")


def load_config(name: str | Path) -> Config:
    """Read a preset by name, or any TOML file by path.

    Raises
    ------
    ConfigError
        If there is no such preset or file, it is not TOML, or a key is unknown or missing.
    """
    text_name = str(name)
    if text_name in preset_names():
        source = resources.files("termac.arch").joinpath("presets", f"{text_name}.toml")
        text, where = source.read_text(), text_name
    else:
        path = Path(name)
        if not path.is_file():
            raise ConfigError(
                f"no preset and no file named {text_name!r}"
                f"{did_you_mean(text_name, preset_names())}; presets: {', '.join(preset_names())}"
            )
        try:
            if path.stat().st_size > LARGEST_FILE:
                raise ConfigError(f"{text_name}: larger than {LARGEST_FILE:,} bytes")
            text, where = path.read_text(encoding="utf-8"), path.stem
        except OSError as error:
            raise ConfigError(f"{text_name}: cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigError(f"{text_name}: not valid TOML: not UTF-8") from None
    try:
        values = tomllib.loads(text)
    except RecursionError:
        raise ConfigError(f"{text_name}: not valid TOML: nested too deeply") from None
    except ValueError as error:  # TOMLDecodeError, or an integer of thousands of digits
        raise ConfigError(f"{text_name}: not valid TOML: {error}") from None
    known = {field.name: field for field in fields(Config)}
    for key in values:
        if key not in known:
            raise ConfigError(
                f"{text_name}: unknown key {key!r}{did_you_mean(key, known)}; "
                f"known: {', '.join(known)}"
            )
    values.setdefault("name", where)
    missing = [
        field.name for field in known.values()
        if field.default is MISSING and field.name not in values
    ]  # fmt: skip
    if missing:
        raise ConfigError(f"{text_name}: missing key {missing[0]!r}")
    for key, value in values.items():
        wanted = str if known[key].type == "str" else int
        if not isinstance(value, wanted) or isinstance(value, bool):
            raise ConfigError(f"{text_name}: {key} must be of type {wanted.__name__}")
        if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
            raise ConfigError(f"{text_name}: {key} is beyond the integers of TOML (64 bits)")
    return Config(**values)
