"""Programs at the exact ends of what the accelerator accepts, for any cell.

Every bound has two cases: the last program that is legal, and the first one that is not. Sequencer,
loader and engine alone run them here. That results are right as well, :mod:`tests.sim.test_bounds`
shows on the complete accelerator.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from amaranth.sim import Simulator
from termac.arch import DESCRIPTOR, DESCRIPTOR_WORDS, HEADER, PASS, TABLE_ENTRIES, TAP, Opcode
from termac.arch.cells import DATA_TERMS, TERMS
from termac.arch.config import Config
from termac.arch.registers import ErrorCode
from termac.arch.timing import program_cycles, tile_words

from tests.hw.control.bench import Control, Layer
from tests.hw.memory.test_bank import make_config

__all__ = ["CELLS", "CONFIGS", "Case", "Outcome", "cases", "good", "run_cases"]

SIZES = {
    "activation_depth": 300, "weight_depth": 410, "parameter_depth": 21, "accumulator_depth": 5,
    "program_depth": 1600, "tap_depth": 23,
}  # fmt: skip
"""No power of two, so that no address is out of range by its width alone."""

CONFIGS = {
    "bit_plane": make_config(**SIZES),
    "bit_serial": make_config(cell="bit_serial", columns=12, lanes=8, rows=8, **SIZES),
    "term": make_config(cell="term", shared_rows=2, **SIZES),
    "term_pair": make_config(cell="term_pair", **SIZES),
    "two words a tile": make_config(rows=16, shared_rows=2, **SIZES),
    "eight segments": make_config(segments=8, lanes=8, **SIZES),
}
CELLS = ("bit_plane", "bit_serial", "term", "term_pair")

HASH_BITS = 28
END = HEADER.pack_one(opcode=Opcode.END)
RECORDS, TAPS = 700, 0
"""Where pass records and taps lie, if a case does not say otherwise."""

PASSES = {"sum_first": 1, "sum_last": 1, "pool_first": 1, "pool_last": 1}
ADDRESS, GEOMETRY, BUDGET = ErrorCode.ADDRESS, ErrorCode.GEOMETRY, ErrorCode.BUDGET


@dataclass
class Case:
    """A program and how it must end.

    Parameters
    ----------
    name : unique
    layers : as they follow each other
    code, layer : error and its layer; of a good program NONE and the number of layers
    start : address of the header
    header, end : first word of the program, and the one after the last layer
    watchdog : WATCHDOG register
    overrun : layer in which the drains report that they could not write
    """

    name: str
    layers: list[Layer]
    code: ErrorCode = ErrorCode.NONE
    layer: int = 0
    start: int = 0
    header: int | None = None
    end: int | None = END
    watchdog: int = 0
    overrun: int | None = None

    def program(self, config: Config) -> dict[int, int]:
        """Words of the program memory by address; what lies beyond the memory is left out."""
        words = [header_word(config) if self.header is None else self.header]
        for layer in self.layers:
            fields = layer.fields
            words += [
                word.pack_one(**{f.name: fields[f.name] for f in word.fields if f.name in fields})
                for word in DESCRIPTOR
            ]
        words += [] if self.end is None else [self.end]
        placed = dict(enumerate(words, self.start))
        for layer in self.layers:
            records = [PASS.pack_one(**record) for record in layer.passes]
            placed |= dict(enumerate(records, layer.fields["records"]))
        return {a: word for a, word in placed.items() if a < config.program_depth}

    def taps(self, config: Config) -> dict[int, int]:
        """Words of the tap memory by address."""
        placed: dict[int, int] = {}
        for layer in self.layers:
            taps = [TAP.pack_one(**tap) for tap in layer.taps]
            placed |= dict(enumerate(taps, layer.fields["taps"]))
        return {a: word for a, word in placed.items() if a < config.tap_depth}

    def cycles(self, config: Config) -> int:
        """Predicted cycles of a good program."""
        return program_cycles(config, [layer.timing for layer in self.layers])


@dataclass
class Outcome:
    """What the status says after a run."""

    code: ErrorCode
    error_layer: int
    layer: int
    done: int
    cycles: int
    log: list[int]


def header_word(config: Config, *, opcode: int = Opcode.HEADER, flip: int = 0) -> int:
    """The header of a configuration, perhaps with another opcode or flipped bits of the hash."""
    known = config.hash32 & ((1 << HASH_BITS) - 1)
    return HEADER.pack_one(opcode=opcode, config=known ^ flip)


def good(config: Config, *, each_pass=None, tap=None, **changes: int) -> Layer:
    """A layer of one vector and one row tile that every machine runs, but for some fields.

    Parameters
    ----------
    each_pass : changes of each pass record; by default ``passes`` of them, or one
    tap : changes of every tap; they read the vector's origin
    """
    kind = config.kind
    terms = changes.get("terms", 2) if kind.keeps_terms else 0
    data_terms = changes.get("data_terms", 1) if kind.splits_data else 0
    beats = 8 if kind.serial_sums else 3
    if kind.keeps_terms:
        beats = terms * max(1, data_terms)
    beats = changes.get("beats", beats)
    residual = changes.get("residual", 0)
    shortest = config.segments + (config.words_per_tile if residual else 0)
    passes = len(each_pass) if each_pass else changes.get("passes", 1)
    fields = {
        "opcode": Opcode.LAYER, "beats": beats, "time": max(beats, config.segments),
        "last_time": max(beats, shortest), "residual": residual, "row_tiles": 1, "passes": passes,
        "vectors": 1, "out_width": 1, "in_height": 1, "in_width": 1, "stride_y": 1, "stride_x": 1,
        "in_origin": 20, "in_step": 1, "in_wrap": 1,
        "taps": TAPS + (8 if tap else 0), "records": RECORDS + (4 if each_pass else 0),
        "terms": terms, "data_terms": data_terms, "out_blocks": 1, "out_base": 100,
        "residual_origin": 200, "residual_step": 1, "residual_high": config.words_per_tile,
        "table": RECORDS + 10,
    } | changes  # fmt: skip
    whole = [PASSES | change for change in each_pass or [{}] * passes]
    return Layer(fields, whole, [{"valid": 1} | (tap or {})] * (passes * config.segments))


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
    for terms in (3, TERMS) if config.kind.keeps_terms else (0,):
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
    each = {"terms": 1} if config.kind.keeps_terms else each
    if not config.kind.serial_sums or shortest > 8:
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
    if not config.kind.serial_sums:
        beats = {1, TERMS if config.kind.keeps_terms else 8}
    for count in sorted(beats):
        each = {"terms" if config.kind.keeps_terms else "beats": count}
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
    if kind.serial_sums:
        for beats in (0, 7, 9):
            yield from _field(config, BUDGET, {"beats": 8}, {"beats": beats}, **long)
    if not kind.keeps_terms:
        return
    for data_terms in (1, DATA_TERMS) if kind.splits_data else (1,):
        each = long | ({"data_terms": data_terms} if kind.splits_data else {})
        for terms, beyond in ((1, 0), (TERMS, TERMS + 1)):
            yield from _field(config, BUDGET, {"terms": terms}, {"terms": beyond}, **each)
            for beats in (terms * data_terms - 1, terms * data_terms + 1):
                if beats <= 127:
                    yield from _field(
                        config, BUDGET, {"terms": terms}, {"beats": beats}, **each
                    )  # fmt: skip
    if kind.splits_data:
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


def run_cases(config: Config, programs: list[Case], *, log: int = 0) -> dict[str, Outcome]:
    """Run programs one after the other on one machine; ``log``: entries to read after each."""
    control = Control(config)
    sequencer = control.sequencer
    outcomes: dict[str, Outcome] = {}

    async def store(ctx, block, prefix, known, words):
        port = getattr(block, f"{prefix}_write")
        ctx.set(port.enable, 1)
        for place, word in words.items():
            if known.get(place) != word:
                ctx.set(port.address, place)
                ctx.set(port.data, word)
                await ctx.tick()
        ctx.set(port.enable, 0)
        known |= words

    async def process(ctx):
        program: dict[int, int] = {}
        taps: dict[int, int] = {}
        for case in programs:
            await store(ctx, sequencer, "program", program, case.program(config))
            await store(ctx, control.engine, "tap", taps, case.taps(config))
            ctx.set(sequencer.program, case.start)
            ctx.set(sequencer.watchdog, case.watchdog)
            ctx.set(sequencer.start, 1)
            await ctx.tick()
            ctx.set(sequencer.start, 0)
            for _ in range(16_000):
                if not ctx.get(sequencer.busy):
                    break
                if case.overrun is None:
                    await ctx.tick().repeat(16)
                else:
                    ctx.set(sequencer.overrun, ctx.get(sequencer.layer) == case.overrun)
                    await ctx.tick()
            else:
                raise AssertionError(f"{case.name}: the machine never came back")
            ctx.set(sequencer.overrun, 0)
            entries = []
            for index in range(log):
                ctx.set(sequencer.log_index, index)
                await ctx.tick().repeat(3)
                entries.append(ctx.get(sequencer.log_cycles))
            outcomes[case.name] = Outcome(
                ErrorCode(ctx.get(sequencer.error)), ctx.get(sequencer.error_layer),
                ctx.get(sequencer.layer), ctx.get(sequencer.done), ctx.get(sequencer.cycles),
                entries,
            )  # fmt: skip

    simulator = Simulator(control)
    simulator.add_clock(1e-6)
    simulator.add_testbench(process)
    simulator.run()
    return outcomes
