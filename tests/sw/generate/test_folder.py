import json
import re
import shutil
import subprocess
from dataclasses import replace

import pytest
from termac.arch import load_config
from termac.arch.memory_map import MemoryMap
from termac.arch.registers import REGISTERS, ErrorCode
from termac.errors import TermacError
from termac.files import MARKER
from termac.generate import generate
from termac.generate.c_header import c_header

CONFIG = load_config("tiny")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("generate") / "out"
    files = generate(CONFIG, path)
    assert {f.name for f in files} | {MARKER} == {f.name for f in path.iterdir()}
    assert all(f.parent == path for f in files)
    return path


def test_equal_bytes_without_paths(folder, tmp_path):
    generate(CONFIG, tmp_path / "again")
    for file in folder.iterdir():
        text = file.read_text()
        assert (tmp_path / "again" / file.name).read_text() == text
        assert str(tmp_path.parent) not in text
        assert "site-packages" not in text
        assert "/termac_hw/" not in text


def test_verilog_has_the_bus_ports(folder):
    verilog = (folder / "accelerator.v").read_text()
    top = re.search(r"^module termac\((.*?)\);", verilog, re.M | re.S)[1]
    ports = set(re.findall(r"\w+", top))
    assert {"clk", "rst", "busy", "done", "s_axil_awaddr", "s_axi_awid", "s_axi_rlast"} <= ports


def test_json_states_the_contract(folder):
    registers = {r["name"]: r for r in json.loads((folder / "registers.json").read_text())}
    assert list(registers) == list(REGISTERS)
    assert registers["CONFIG_HASH"]["reset"] == CONFIG.hash32
    assert registers["ERROR"]["values"]["WATCHDOG"] == ErrorCode.WATCHDOG
    assert registers["STATUS"]["fields"][1]["offset"] == 1
    memory_map = json.loads((folder / "memory_map.json").read_text())
    weights = memory_map["regions"][2]
    assert weights["name"] == "weights"
    assert weights["base"] == MemoryMap(CONFIG).weights.base
    config = json.loads((folder / "config.json").read_text())
    assert config.pop("digest") == CONFIG.digest
    assert replace(CONFIG, **config) == CONFIG


def test_tables_are_rectangular(folder):
    for name, rows in (("registers.md", len(REGISTERS)), ("memory_map.md", 5)):
        lines = [x for x in (folder / name).read_text().splitlines() if x.startswith("|")]
        assert len(lines) >= rows + 2
        assert len({line.count("|") for line in lines}) == 1


PROGRAM = """
#include "termac.h"
#include "termac.h"
#include <stdio.h>
int main(void) {
    printf("%x %x %x %x %d %x\\n", TERMAC_REG_CYCLES, TERMAC_REG_STATUS_DONE_MASK,
           TERMAC_CONFIG_HASH, TERMAC_MEM_WEIGHTS_ADDRESS(5u, 1u, 1u),
           (int)TERMAC_ERROR_ADDRESS, TERMAC_REG_WATCHDOG_RESET);
    return 0;
}
"""


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc")
def test_header_compiles_and_is_right(folder, tmp_path):
    for language in (["-x", "c"], ["-x", "c", "-std=c89"], ["-x", "c++"]):
        command = ["gcc", *language, "-Wall", "-Wextra", "-pedantic", "-Werror", "-fsyntax-only"]
        subprocess.run([*command, folder / "termac.h"], check=True)
    (tmp_path / "main.c").write_text(PROGRAM)
    command = ["gcc", "-Wall", "-Werror", "-I", folder, "-o", tmp_path / "main"]
    subprocess.run([*command, tmp_path / "main.c"], check=True)
    printed = subprocess.run([tmp_path / "main"], capture_output=True, text=True, check=True).stdout
    address = MemoryMap(CONFIG).weights.address(5, 1, 1)
    assert printed == f"40 2 {CONFIG.hash32:x} {address:x} 4 ffffffff\n"


def test_header_survives_any_name():
    text = c_header(replace(CONFIG, name="a */ int x; /*\nb"))
    assert text.count("/*") == text.count("*/")
    assert "a * / int x; / * b" in text


def test_foreign_folder_is_refused(tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(TermacError, match=r"mine\.txt"):
        generate(CONFIG, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]
