"""Both sides of every bound of the named errors, for any cell, as programs."""

from __future__ import annotations

from collections.abc import Iterator

from termac.arch import DESCRIPTOR_WORDS, TABLE_ENTRIES, Opcode
from termac.arch.cells import DATA_TERMS, TERMS, TERMS_AHEAD
from termac.arch.config import Config
from termac.arch.registers import ErrorCode
from termac.arch.timing import END_OVERHEAD, tile_words

from tests.hw.control.bench import Layer
from tests.hw.control.bounds import CELLS, CONFIGS, HASH_BITS, Case, good, header_word

__all__ = ["cases", "watched"]

ADDRESS, GEOMETRY, BUDGET = ErrorCode.ADDRESS, ErrorCode.GEOMETRY, ErrorCode.BUDGET


def cases(config: Config) -> list[Case]:
    """Both cases of every bound, in an order in which a good program follows every wrong one."""
    programs = [
        *_loader_addresses(config), *_reads(config), *_writes(config), *_residuals(config),
        *_geometry(config), *_budget(config),
    ]  # fmt: skip
    if config in [CONFIGS[name] for name in CELLS]:
        programs += [*_headers(config), *_pointers(config)]
    if config == CONFIGS["bit_plane"]:
        programs += _error_layers(config)
    return programs


def _pair(config, name, code, legal: Layer, beyond: Layer) -> Iterator[Case]:
    """The wrong layer is the second of three; the legal one is alone and runs after it."""
    yield Case(f"{name}: wrong", [good(config), beyond, good(config)], code, 1)
    yield Case(f"{name}: legal", [legal], layer=1)


def _field(config, code, legal: dict, beyond: dict, **others) -> Iterator[Case]:
    """Two cases that differ in the fields of ``beyond``."""
    told = {k: v for k, v in (others | legal).items() if k != "each_pass"}
    name = " ".join(f"{k}={v}" for k, v in told.items())
    name += " | " + " ".join(f"{k}={v}" for k, v in beyond.items())
    first = others | legal
    yield from _pair(config, name, code, good(config, **first), good(config, **(first | beyond)))


def _headers(config: Config) -> Iterator[Case]:
    """CONFIG and OPCODE. ``bit_plane``: every opcode and every bit of the hash."""
    layers = [good(config)]
    every = config == CONFIGS["bit_plane"]
    opcodes = range(16) if every else (0, Opcode.END, Opcode.LAYER, Opcode.HEADER, 4)
    for opcode in opcodes:
        if opcode != Opcode.HEADER:
            word = header_word(config, opcode=opcode)
            yield Case(f"opcode {opcode} as header", layers, ErrorCode.CONFIG, header=word)
    yield Case("the header", layers, layer=1)
    for bit in range(HASH_BITS) if every else (0, HASH_BITS - 1):
        word = header_word(config, flip=1 << bit)
        yield Case(f"hash bit {bit}", layers, ErrorCode.CONFIG, header=word)
    yield Case("the hash", layers, layer=1)
    for opcode in opcodes:
        if opcode not in (Opcode.LAYER, Opcode.END):
            bad = good(config, opcode=opcode)
            yield Case(f"opcode {opcode}", [good(config), bad, good(config)], ErrorCode.OPCODE, 1)
    yield Case("both opcodes", [good(config)] * 2, layer=2)


def _pointers(config: Config) -> Iterator[Case]:
    """The program itself, at the end of its memory. Its first word may be read by mistake."""
    depth, one = config.program_depth, [good(config)]
    size = 1 + DESCRIPTOR_WORDS
    yield Case("END is the word beyond", one, ADDRESS, 1, start=depth - size)
    yield Case("END is the last word", one, layer=1, start=depth - size - 1)
    yield Case("a layer ends beyond", one, ADDRESS, 0, start=depth - size + 1)
    yield Case("END alone is the last word", [], start=depth - 2)
    yield Case("the header is the last word", [], ADDRESS, 0, start=depth - 1)
    yield Case("the header is beyond", [], ADDRESS, 0, start=depth)
    yield Case("the header is as far away as can be", [], ADDRESS, 0, start=(1 << 16) - 1)
    yield Case("a program somewhere", one, layer=1, start=50)


def _loader_addresses(config: Config) -> Iterator[Case]:
    """Records, taps, parameters and weights: of one pass and row tile, and of the last of two."""
    segments = config.segments
    for count in (1, 2):
        passes = {"passes": count}
        last = config.program_depth - count
        yield from _field(config, ADDRESS, {"records": last}, {"records": last + 1}, **passes)
        last = config.tap_depth - count * segments
        yield from _field(config, ADDRESS, {"taps": last}, {"taps": last + 1}, **passes)
        last = config.parameter_depth - count * segments
        yield from _field(
            config, ADDRESS, {"parameters": last}, {"parameters": last + 1}, row_tiles=count
        )
    for terms in (3, TERMS) if config.kind.terms else (0,):
        each = {"terms": terms} if terms else {}
        last = config.weight_depth - tile_words(config, terms)
        yield from _field(config, ADDRESS, {"weights": last}, {"weights": last + 1}, **each)
        for near in (last - 5, last - 4):
            record = [{}, {"weights": 5}]
            code = ErrorCode.NONE if near == last - 5 else ADDRESS
            layer = good(config, weights=near, each_pass=record, **each)
            at = 1 if code is ErrorCode.NONE else 0
            yield Case(f"{terms} terms, record 5 above weights {near}", [layer], code, at)
        yield from _field(
            config, ADDRESS, {"weights_tile": last - 7}, {"weights_tile": last - 6},
            weights=7, row_tiles=2, **each,
        )  # fmt: skip


def _reads(config: Config) -> Iterator[Case]:
    """Taps at both ends of the activation memory; those outside the image are no reads."""
    depth = config.activation_depth
    yield from _field(config, ADDRESS, {"in_origin": depth - 1}, {"in_origin": depth})
    yield from _field(config, ADDRESS, {"in_origin": 0}, {"in_origin": -1})
    yield from _field(
        config, ADDRESS, {"in_origin": depth - 3}, {"in_origin": depth - 2},
        vectors=3, out_width=3, in_width=3,
    )  # fmt: skip
    far = {"in_origin": depth, "in_height": 4, "in_width": 4}
    inside, outside = {"dy": 3, "dx": 3}, ({"dy": 4}, {"dx": 4}, {"dy": -1}, {"dx": -1})
    for tap in (*outside, {"valid": 0}):
        name = f"a word that is not there, tap {tap}"
        yield from _pair(
            config, name, ADDRESS, good(config, tap=tap, **far), good(config, tap=inside, **far)
        )
    corner = {"origin_y": -3, "origin_x": -3, "in_origin": -1, "in_height": 1, "in_width": 1}
    yield from _pair(
        config, "the first word that is there", ADDRESS,
        good(config, tap={"dy": 2, "dx": 3}, **corner),
        good(config, tap={"dy": 3, "dx": 3}, **corner),
    )  # fmt: skip
    yield from _field(
        config, ADDRESS, {"in_tile": depth - 1 - 20}, {"in_tile": depth - 20},
        row_tiles=config.tiles_per_word + 1,
    )  # fmt: skip


def _writes(config: Config) -> Iterator[Case]:
    """Outputs at the end of the activation memory; what is not written cannot lie outside."""
    depth, words = config.activation_depth, config.words_per_tile
    for blocks in range(1, words + 1):
        last = depth - blocks
        yield from _field(
            config, ADDRESS, {"out_base": last}, {"out_base": last + 1}, out_blocks=blocks
        )
    last = depth - 3 * words
    yield from _field(
        config, ADDRESS, {"out_base": last}, {"out_base": last + 1},
        vectors=3, out_width=3, in_width=3, out_blocks=words,
    )  # fmt: skip
    for flag in ("sum_last", "pool_last"):
        yield from _pair(
            config, f"an output that is not one without {flag}", ADDRESS,
            good(config, out_base=depth, each_pass=[{flag: 0}]), good(config, out_base=depth),
        )  # fmt: skip
    # The second row tile's words do not exist: nothing is written there.
    tiles = config.tiles_per_word + 1
    yield from _pair(
        config, "words beyond the output's blocks", ADDRESS,
        good(config, out_base=depth - words, row_tiles=tiles, out_blocks=words),
        good(config, out_base=depth - words, row_tiles=tiles, out_blocks=words + 1),
    )  # fmt: skip


def _residuals(config: Config) -> Iterator[Case]:
    """Operand tables, residual words and the time they take."""
    depth, words = config.activation_depth, config.words_per_tile
    with_residual = {"residual": 1}
    last = config.program_depth - 2 * TABLE_ENTRIES
    yield from _field(config, ADDRESS, {"table": last}, {"table": last + 1}, **with_residual)
    yield from _field(config, ADDRESS, {"residual": 0}, {"residual": 1}, table=config.program_depth)
    last = depth - words
    for legal, beyond in ((last, last + 1), (0, -1)):
        yield from _field(
            config, ADDRESS, {"residual_origin": legal}, {"residual_origin": beyond},
            **with_residual,
        )  # fmt: skip
    yield from _field(
        config, ADDRESS, {"residual_low": 1}, {"residual_low": 0},
        residual_origin=-1, residual_high=words, **with_residual,
    )  # fmt: skip
    yield from _field(
        config, ADDRESS, {"residual_high": words - 1}, {"residual_high": words},
        residual_origin=depth - words + 1, **with_residual,
    )  # fmt: skip
    shortest = config.segments + words
    each = {"beats": 1} if config.cell == "bit_plane" else {}
    each = {"terms": 1} if config.kind.terms else each
    if config.cell != "bit_serial" or shortest > 8:
        yield from _field(
            config, GEOMETRY, {"last_time": shortest}, {"last_time": shortest - 1},
            **with_residual, **each,
        )  # fmt: skip


def _geometry(config: Config) -> Iterator[Case]:
    """Counts of zero, and times below the beats or below S."""
    for name in ("row_tiles", "passes", "vectors", "out_width", "out_blocks"):
        given = {"each_pass": [{}]} if name == "passes" else {}
        yield from _field(config, GEOMETRY, {name: 1}, {name: 0}, **given)
    segments = config.segments
    beats = {8}
    if config.cell != "bit_serial":
        beats = {1, TERMS if config.kind.terms else 8}
    for count in sorted(beats):
        each = {"terms" if config.kind.terms else "beats": count}
        for name in ("time", "last_time"):
            least = max(count, segments)
            yield from _field(config, GEOMETRY, {name: least}, {name: least - 1}, **each)
    if config.cell == "bit_plane":
        yield from _field(config, GEOMETRY, {"beats": 1}, {"beats": 0}, time=127, last_time=127)
        yield from _field(config, GEOMETRY, {"beats": 8}, {"beats": 9}, time=127, last_time=127)


def _budget(config: Config) -> Iterator[Case]:
    """Terms, terms of data and the beats that go with them."""
    kind = config.kind
    long = {"time": 127, "last_time": 127}
    if config.cell == "bit_serial":
        for beats in (0, 7, 9):
            yield from _field(config, BUDGET, {"beats": 8}, {"beats": beats}, **long)
    if not kind.terms:
        return
    for terms in (TERMS_AHEAD, TERMS_AHEAD + 1):
        layer = good(config, terms=terms, passes=2, row_tiles=2)
        yield Case(f"{terms} terms in four passes", [layer], layer=1)
    for data_terms in (1, DATA_TERMS) if kind.data_terms else (1,):
        each = long | ({"data_terms": data_terms} if kind.data_terms else {})
        for terms, beyond in ((1, 0), (TERMS, TERMS + 1)):
            yield from _field(config, BUDGET, {"terms": terms}, {"terms": beyond}, **each)
            for beats in (terms * data_terms - 1, terms * data_terms + 1):
                if beats <= 127:
                    yield from _field(
                        config, BUDGET, {"terms": terms}, {"beats": beats}, **each
                    )  # fmt: skip
    if kind.data_terms:
        for terms in (1, 5):
            for data_terms, beyond in ((1, 0), (DATA_TERMS, DATA_TERMS + 1)):
                legal, wrong = {"data_terms": data_terms}, {"data_terms": beyond}
                yield from _field(config, BUDGET, legal, wrong, terms=terms, **long)


def _error_layers(config: Config) -> Iterator[Case]:
    """The layer of an error that is found at once and of one that is found while it runs."""
    errors = (
        (GEOMETRY, good(config, vectors=0)),
        (ADDRESS, good(config, out_base=config.activation_depth)),
        (ADDRESS, good(config, residual=1, table=config.program_depth - 511)),
    )
    for place in (0, 2, 5):
        for number, (code, bad) in enumerate(errors):
            layers = [good(config)] * place + [bad, good(config)]
            yield Case(f"error {number} in layer {place}", layers, code, place)
        yield Case(f"{place} layers", [good(config)] * place, layer=place)


def watched(config: Config) -> list[Case]:
    """Programs of n cycles: done with a limit of n, stopped by n - 1, in the last cycle allowed."""
    layers = [good(config), good(config, vectors=2, out_width=2, in_width=2)]
    whole = Case("", layers).cycles(config)
    first = Case("", layers[:1]).cycles(config) - END_OVERHEAD
    stopped = (1, 0), (2, 0), (first - 1, 0), (first + 1, 1), (whole - 1, 2)
    programs = []
    for limit, layer in stopped:
        programs.append(Case(f"{limit}", layers, ErrorCode.WATCHDOG, layer, watchdog=limit))
        programs.append(Case(f"{limit}: none", layers, layer=2))
    for limit in (whole, whole + 1, (1 << 32) - 1):
        programs.append(Case(f"{limit}", layers, layer=2, watchdog=limit))
    return programs
