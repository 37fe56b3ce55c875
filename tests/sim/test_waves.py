"""Recorded signals: FST says what VCD says, and the compression that comes along is LZ4."""

import re
import subprocess
from pathlib import Path

import numpy as np
import pylibfst
import pytest
import termac_sim
from termac.errors import ConfigError
from termac_hw.emit import emit_verilog
from termac_sim.build import build
from termac_sim.runner import run_bench
from termac_sim.waves import FORMATS, wave_format

from tests.sim.counters import CounterArray

ROWS, COLUMNS = 2, 3
PUBLIC = [("counter_array", "steps")]


def test_the_suffix_decides_the_format():
    assert wave_format(Path("a/run.fst")) == "fst"
    assert wave_format(Path("RUN.VCD")) == "vcd"
    for name in ("run", "run.vcd.gz", "fst"):
        with pytest.raises(ConfigError, match=r"must end in \.fst, or in \.vcd"):
            wave_format(Path(name))


def test_unknown_formats_are_refused():
    with pytest.raises(ValueError, match="'fst' or 'vcd', not 'lxt'"):
        build("module a;\nendmodule\n", "a", waves="lxt")


def read_vcd(path):
    """Value changes [(time, bits)] by variable name, of a VCD file; equal values in a row once."""
    names, changes, scopes, now = {}, {}, [], 0
    for line in path.read_text().splitlines():
        words = line.split()
        if line.strip().startswith("$scope"):
            scopes.append(words[2])
        elif line.strip().startswith("$upscope"):
            scopes.pop()
        elif line.strip().startswith("$var"):
            names.setdefault(words[3], []).append(".".join([*scopes, words[4]]))
        elif line.startswith("#"):
            now = int(line[1:])
        elif re.match(r"[01]", line) or line.startswith("b"):
            value, code = (words[0][1:], words[1]) if line[0] == "b" else (line[0], line[1:])
            for name in names[code]:
                series = changes.setdefault(name, [])
                if not series or series[-1][1] != int(value, 2):
                    series.append((now, int(value, 2)))
    return changes


def read_fst(path):
    """What :func:`read_vcd` returns, of an FST file, with GTKWave's own reader."""
    fst = pylibfst.lib.fstReaderOpen(str(path).encode())
    assert fst != pylibfst.ffi.NULL
    _, signals = pylibfst.get_scopes_signals2(fst)
    names = {}
    for name, signal in signals.by_name.items():
        name = re.sub(r"(\w+)\.(?=\1\[)", "", name)  # the scope of an array, which VCD has not
        names.setdefault(signal.handle, []).append(name.split(" ")[0])
    changes = {}

    def change(_, time, handle, value):
        for name in names[handle]:
            series = changes.setdefault(name, [])
            bits = int(pylibfst.string(value), 2)
            if not series or series[-1][1] != bits:
                series.append((time, bits))

    pylibfst.lib.fstReaderSetFacProcessMaskAll(fst)
    pylibfst.fstReaderIterBlocks(fst, change)
    pylibfst.lib.fstReaderClose(fst)
    return changes


def test_fst_holds_what_vcd_holds(tmp_path):
    verilog = emit_verilog(CounterArray(ROWS, COLUMNS))
    for waves in FORMATS:
        run_bench(
            build(verilog, "counter_array", PUBLIC, waves=waves),
            "tests.sim.bench_counters",
            parameters={"rows": ROWS, "columns": COLUMNS},
            test_filter="counts",
            folder=tmp_path / waves,
            waves=True,
        )
    vcd = read_vcd(tmp_path / "vcd" / "dump.vcd")
    fst = read_fst(tmp_path / "fst" / "dump.fst")
    counts = [name for name in vcd if name.endswith(".count")]
    assert len(counts) == ROWS * COLUMNS
    assert len(vcd[counts[0]]) > 16
    assert fst == vcd


def decompress(block):
    """An LZ4 block as its specification has it."""
    out, at = bytearray(), 0

    def length(start):
        nonlocal at
        total = start
        while start == 15:
            at += 1
            total += block[at - 1]
            if block[at - 1] != 255:
                break
        return total

    while True:
        token = block[at]
        at += 1
        literals = length(token >> 4)
        out += block[at : at + literals]
        at += literals
        if at == len(block):
            return bytes(out), literals
        distance = int.from_bytes(block[at : at + 2], "little")
        at += 2
        assert 0 < distance <= len(out)
        for _ in range(length(token & 15) + 4):
            out.append(out[-distance])


HARNESS = """
#include <cstdio>
#include <vector>
#include "lz4.h"
int main() {
    int size;
    while (std::fread(&size, 4, 1, stdin) == 1) {
        std::vector<char> data(size + 1), block(LZ4_compressBound(size));
        if (std::fread(data.data(), 1, size, stdin) != static_cast<size_t>(size)) return 1;
        if (LZ4_compress_default(data.data(), block.data(), size, block.size() - 1)) return 2;
        size = LZ4_compress_default(data.data(), block.data(), size, block.size());
        std::fwrite(&size, 4, 1, stdout);
        std::fwrite(block.data(), 1, size, stdout);
    }
}
"""


def test_compressed_blocks_are_lz4(tmp_path):
    rng = np.random.default_rng(0)
    inputs = [bytes(size) for size in range(40)]
    inputs += [rng.integers(0, 256, size, np.uint8).tobytes() for size in (1, 14, 15, 270, 70_000)]
    inputs += [rng.integers(0, 3, size, np.uint8).tobytes() for size in (100, 3000, 200_000)]
    inputs += [bytes(range(250)) * 400, b"ab" * 50_000 + rng.bytes(400)]
    (tmp_path / "harness.cpp").write_text(HARNESS)
    program = tmp_path / "harness"
    headers = Path(termac_sim.__file__).parent / "fst"
    warnings = ["-Wall", "-Wextra", "-Werror", "-fsanitize=address,undefined"]
    command = ["c++", "-std=c++17", "-O1", *warnings, f"-I{headers}", "harness.cpp", "-o", program]
    subprocess.run(command, cwd=tmp_path, check=True)
    sent = b"".join(len(data).to_bytes(4, "little") + data for data in inputs)
    told = subprocess.run([program], input=sent, capture_output=True, check=True).stdout
    at, total = 0, 0
    for data in inputs:
        size = int.from_bytes(told[at : at + 4], "little")
        found, last = decompress(told[at + 4 : at + 4 + size])
        assert found == data
        assert last >= min(5, len(data))
        at, total = at + 4 + size, total + size
    assert at == len(told)
    assert total < 0.6 * sum(map(len, inputs))
