"""Every named error at its exact bound on the complete accelerator, and right outputs before it.

One layer of a compiled network is moved to the very ends of the memories, on every cell. The last
place that is legal gives the right outputs in the predicted cycles; one word further is a named
error of its layer. Programs follow one another in one simulation, a good one behind every bad one.
"""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from termac.arch import DESCRIPTOR, DESCRIPTOR_WORDS, HEADER, PASS, TABLE_ENTRIES, TAP, Opcode
from termac.arch.estimate import predict
from termac.arch.memory_map import MemoryMap
from termac.arch.registers import LOG_ENTRIES, ErrorCode
from termac.arch.timing import PROGRAM_OVERHEAD, tile_words
from termac.compile import compile_graph
from termac.graph import golden
from termac_sim import device

from tests.sim.random_layers import SHORT_CONFIGS
from tests.sw.interpreter import Interpreter
from tests.sw.random_graphs import Builder, random_input, split_into_terms

CONFIGS = tuple(config for config in SHORT_CONFIGS if config.columns < 24)
END = HEADER.pack_one(opcode=Opcode.END)
RECORDS, TABLE = 2000, 2400
"""Where pass records and operand tables lie, if a program does not say otherwise."""


@dataclass
class Program:
    """A program, how it must end and, if it is good, what it must write."""

    name: str
    code: ErrorCode
    layer: int
    cycles: int = 0
    writes: list = field(default_factory=list)
    registers: dict[str, int] = field(default_factory=dict)
    overrun: int | None = None
    output: tuple[int, int] = (0, 0)
    log: int = 0
    storage: Any = None
    expected: Any = None


class Layer:
    """A network of one layer, and programs that run it elsewhere.

    Parameters
    ----------
    config : machine
    residual : add the input to the output of the convolution
    """

    def __init__(self, config, *, residual):
        channels = min(config.word_bytes, 16)
        build = Builder(np.random.default_rng(7), (5, 4, channels))
        start, around = build.last, 1 if residual else 0
        kernel = 2 + around, 2 + around
        build.conv(channels, kernel=kernel, padding=(around,) * 4, density=0.3)
        if residual:
            build.add(build.last, start)
        graph = split_into_terms(build.graph(), config, 1)
        self.config, self.image = config, compile_graph(graph, config)
        assert [info.descriptors for info in self.image.layers] == [1]
        self.x = random_input(graph, 3)
        self.y = golden.run(graph, self.x[None])[graph.output][0]
        words = [int(word) for word in self.image.program]
        self.fields = {}
        for layout, word in zip(DESCRIPTOR, words[1:], strict=False):
            self.fields |= layout.unpack_one(word)
        at = self.fields["records"]
        self.records = words[at : at + self.fields["passes"]]
        self.tables = words[self.fields["table"] :][: 2 * TABLE_ENTRIES] if residual else []
        self.header = words[0]
        self.place = {"records": RECORDS, "table": TABLE}
        self.map = MemoryMap(config)

    def words(self, layers, start=0):
        """Words of the program memory: header, descriptors and END, records, tables."""
        given = [self.header]
        for fields in layers:
            given += [
                word.pack_one(**{f.name: fields[f.name] for f in word.fields if f.name in fields})
                for word in DESCRIPTOR
            ]
        placed = {start: [*given, END]}
        for fields in layers:
            placed[fields["records"]] = self.records
            placed[fields["table"]] = self.tables
        return placed

    def flat(self, layers):
        """The same from address 0, for the software."""
        placed = self.words(layers)
        memory = np.zeros(max(a + len(w) for a, w in placed.items()), np.uint32)
        for address, words in placed.items():
            memory[address : address + len(words)] = words
        return memory

    def at_home(self):
        """Everything in the place where programs find it if they say nothing else."""
        blocks = [block for part in self.image.blocks().values() for block in part]
        for at, words in ((RECORDS, self.records), (TABLE, self.tables)):
            if words:
                blocks += self.map.pack_program(np.array(words, np.uint32), at)
        return blocks

    def moved(self, fields, start, layers):
        """A program and what it does not leave at home, as far as there is room."""
        config, image, memory = self.config, self.image, self.map
        shift = {n: fields[n] - self.fields[n] for n in ("taps", "weights", "parameters")}
        blocks = []
        if at := shift["taps"]:
            blocks += memory.pack_taps(image.taps[: config.tap_depth - at], at)
        if at := shift["weights"]:
            blocks += memory.pack_weights(image.weights[: config.weight_depth - at], at)
        if at := shift["parameters"]:
            room = config.parameter_depth - at
            blocks += memory.pack_parameters(
                {name: values[:room] for name, values in image.parameters.items()}, at
            )
        for at, words in self.words(layers, start).items():
            room = config.program_depth - at
            if at not in (RECORDS, TABLE) and words and room > 0:
                blocks += memory.pack_program(np.array(words[:room], np.uint32), at)
        return blocks

    def run(self, name, changes, *, code=ErrorCode.NONE, start=0, before=0, **more):
        """A program of ``before`` good layers and one that is changed."""
        config, image = self.config, self.image
        home = self.fields | self.place
        fields = home | changes
        layers = [home] * before + [fields]
        depth, size = config.activation_depth, image.output.words
        output = min(fields["out_base"], depth - size)
        blocks = self.moved(fields, start, layers)
        blocks += self.map.pack_activations(
            np.full((size, config.word_bytes), 90, np.uint8), output
        )
        stored, base = image.store_input(self.x), image.input.base
        shifts = {fields[name] - home[name] for name in ("in_origin", "residual_origin")}
        for at in {base + shift for shift in (shifts | {0} if before else shifts)}:
            blocks += self.map.pack_activations(stored[max(0, -at) : depth - at], max(0, at))
        good = code is ErrorCode.NONE
        return Program(
            name, code, before + 1 if good else before,
            cycles=predict(config, self.flat(layers)) if good else 0,
            writes=blocks, registers={"PROGRAM": start, "WATCHDOG": 0}, storage=image.output,
            output=(output, size), expected=self.y if good else None, **more,
        )  # fmt: skip

    def pair(self, name, legal, step=1, code=ErrorCode.ADDRESS):
        """One word too far, then the last place."""
        yield self.run(f"{name} {legal + step}", {name: legal + step}, code=code, before=1)
        yield self.run(f"{name} {legal}", {name: legal})

    def reads(self):
        """First and last word that taps read, and that residuals do, by the loops of a layer."""
        d, config = self.fields, self.config
        taps = [TAP.unpack_one(int(word)) for word in self.image.taps]
        taps = [tap for tap in taps[: d["passes"] * config.segments] if tap["valid"]]
        read, added = set(), set()
        for vector in range(d["vectors"]):
            line, column = divmod(vector, d["out_width"])
            turn = d["out_width"] - 1
            y, x = d["origin_y"] + line * d["stride_y"], d["origin_x"] + column * d["stride_x"]
            at = d["in_origin"] + line * (d["in_wrap"] + turn * d["in_step"])
            read |= {
                at + column * d["in_step"] + tap["offset"]
                for tap in taps
                if 0 <= y + tap["dy"] < d["in_height"] and 0 <= x + tap["dx"] < d["in_width"]
            }
            at = d["residual_origin"] + line * (d["residual_wrap"] + turn * d["residual_step"])
            for block in range(d["residual_low"], min(d["residual_high"], d["out_blocks"])):
                added.add(at + column * d["residual_step"] + block)
        return min(read), max(read), min(added, default=0), max(added, default=0)

    def ends(self):
        """Both sides of the end of every memory."""
        config, image, fields = self.config, self.image, self.fields
        passes, tiles = fields["passes"], fields["row_tiles"]
        depth = config.activation_depth
        furthest = max(PASS.unpack_one(record)["weights"] for record in self.records)
        furthest += (tiles - 1) * fields["weights_tile"] + tile_words(config, fields["terms"])
        yield from self.pair("taps", config.tap_depth - passes * config.segments)
        yield from self.pair("records", config.program_depth - passes)
        yield from self.pair("parameters", config.parameter_depth - tiles * config.segments)
        yield from self.pair("weights", config.weight_depth - furthest)
        yield from self.pair("out_base", depth - image.output.words)
        assert fields["in_tile"] == 0
        first, last, first_added, last_added = self.reads()
        if self.tables:
            yield from self.pair("table", config.program_depth - len(self.tables))
            at = fields["residual_origin"]
            yield from self.pair("residual_origin", at + depth - 1 - last_added)
            yield from self.pair("residual_origin", at - first_added, -1)
            if fields["last_time"] == config.segments + config.words_per_tile:
                yield from self.pair("last_time", fields["last_time"], -1, ErrorCode.GEOMETRY)
        at = fields["in_origin"]  # padding lies in front of the memory and behind it
        yield from self.pair("in_origin", at + depth - 1 - last)
        yield from self.pair("in_origin", at - first, -1)
        for name in ("time", "last_time"):
            least = max(fields["beats"], config.segments)
            if fields[name] == least:
                yield from self.pair(name, least, -1, ErrorCode.GEOMETRY)
            yield self.run(f"{name} 127", {name: 127})

    def clamps(self):
        """Limits at their ends and around one value; the reference runs the same words."""
        for low, high in ((-128, 127), (-128, -128), (127, 127), (5, 5), (-4, 3)):
            for part in ("", "add_") if self.tables else ("",):
                changes = {f"{part}low": low, f"{part}high": high}
                program = self.run(f"{changes}", changes)
                words = self.flat([self.fields | self.place | changes])
                reference = Interpreter(dataclasses.replace(self.image, program=words))
                stored = self.image.store_input(self.x)
                base = self.image.input.base
                reference.activations[base : base + len(stored)] = stored
                assert list(reference.run()) == [0]
                program.expected = self.image.output.load(reference.activations)
                yield program

    def watched(self):
        """Stopped by the watchdog anywhere; then a good program."""
        whole = self.run("whole", {}).cycles
        late = self.run("a limit of one cycle less", {}, code=ErrorCode.WATCHDOG)
        late.layer, late.registers["WATCHDOG"] = 1, whole - 1
        yield late
        exact = self.run("a limit of all cycles", {})
        exact.registers["WATCHDOG"] = whole
        yield exact
        for limit in range(7, whole - 4, max(1, whole // 12)):
            stopped = self.run(f"stopped by {limit}", {}, code=ErrorCode.WATCHDOG)
            stopped.registers["WATCHDOG"] = limit
            yield stopped
            yield self.run(f"after {limit}", {})


def check(config, programs, tmp_path):
    """Run programs and compare how each ended."""
    limit = 4 * max(program.cycles for program in programs) + 20_000
    path = tmp_path / "results.json"
    device.run_bench(
        device.build_core(config), "tests.sim.bench_bounds",
        parameters={
            "config": dataclasses.asdict(config), "limit": limit, "result": str(path),
            "programs": [
                {
                    "writes": [(b.address, b.words.tolist()) for b in program.writes],
                    "registers": program.registers,
                    "overrun": program.overrun, "output": program.output, "log": program.log,
                }
                for program in programs
            ],
        },
    )  # fmt: skip
    results = json.loads(path.read_text())
    assert len(results) == len(programs)
    for program, found in zip(programs, results, strict=True):
        ended = ErrorCode(found["ERROR"]).name, found["LAYER"]
        assert ended == (program.code.name, program.layer), program.name
        good = program.code is ErrorCode.NONE
        status = {"busy": 0, "done": int(good), "error": int(not good)}
        assert found["status"] == status, program.name
        if good:
            assert found["CYCLES"] == program.cycles, program.name
        else:
            assert found["ERROR_LAYER"] == program.layer, program.name
        if program.expected is not None:
            loaded = program.storage.at(0).load(np.array(found["output"], np.uint8))
            np.testing.assert_array_equal(loaded, program.expected, program.name)
    return results


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_programs_at_the_ends_of_the_memories(config, tmp_path):
    """Right in the last place that is legal, an error of their layer one word further."""
    programs = []
    for residual in (False, True):
        layer = Layer(config, residual=residual)
        first = layer.run("at home", {})
        first.writes = layer.at_home() + first.writes
        programs += [first, *layer.ends()]
        last = config.program_depth - 2 - DESCRIPTOR_WORDS
        programs += [
            layer.run("END beyond", {}, code=ErrorCode.ADDRESS, start=last + 1),
            layer.run("END is the last word", {}, start=last),
        ]
        programs[-2].layer = 1  # the layer itself ran
        programs += layer.clamps() if config.cell in ("bit_plane", "term") else []
    for place in (0, 2):
        stopped = layer.run(f"overrun in layer {place}", {}, code=ErrorCode.OVERRUN, before=2)
        stopped.layer = stopped.overrun = place
        programs += [stopped, layer.run(f"after overrun {place}", {})]
    programs += layer.watched()
    check(config, programs, tmp_path)


def test_a_log_of_64_layers_and_one_more(tmp_path):
    config = CONFIGS[0]
    layer = Layer(config, residual=False)
    program = layer.run("65 layers", {}, before=LOG_ENTRIES, log=LOG_ENTRIES)
    program.writes = layer.at_home() + program.writes
    (found,) = check(config, [program], tmp_path)
    one = (program.cycles - PROGRAM_OVERHEAD) // (LOG_ENTRIES + 1)
    assert found["log"] == [PROGRAM_OVERHEAD + one * (n + 1) for n in range(LOG_ENTRIES)]
