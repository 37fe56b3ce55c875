import pytest
from rich.console import Console
from termac.arch import load_config
from termac.arch.memory_map import MemoryMap
from termac.compile import compile_graph
from termac.image.summary import memory_rows, summary_rows, summary_text
from termac.report.tables import memories_table

from tests.sw.random_graphs import random_graph


@pytest.fixture(scope="module")
def image():
    return compile_graph(random_graph(2), load_config("term"))


def test_memories_are_as_full_as_the_host_fills_them(image):
    """Words that blocks write, and the highest that a stored tensor takes."""
    regions = {region.name: region for region in MemoryMap(image.config).regions}
    rows = {row["memory"]: row for row in memory_rows(image)}
    assert list(rows) == ["activations", "weights", "parameters", "program", "taps"]
    assert set(rows) == set(regions)
    for name, blocks in image.blocks().items():
        region = regions[name]
        end = blocks[-1].address + 4 * len(blocks[-1].words)
        assert -(-(end - region.base) // region.word_stride) == rows[name]["used"]
        assert rows[name]["words"] == region.words
    ends = [layer.storage.base + layer.storage.words for layer in image.layers]
    assert rows["activations"]["used"] == max(*ends, image.input.base + image.input.words)


def test_text_and_table_show_the_same_memories(image):
    text = summary_text(image)
    console = Console(width=100)
    with console.capture() as captured:
        console.print(memories_table(image))
    table = captured.get()
    for row in memory_rows(image):
        name = row["memory"].removesuffix("s")
        assert f"{name} memory: {row['used']} of {row['words']} words\n" in text
        line = next(line for line in table.splitlines() if line.startswith(row["memory"]))
        assert line.split()[1:3] == [f"{row['used']:,}", f"{row['words']:,}"]


def test_text_has_a_line_per_layer_and_the_totals(image):
    lines = summary_text(image).splitlines()
    for row, line in zip(summary_rows(image), lines[1:], strict=False):
        cells = line.split()
        shape = "x".join(map(str, row["output"]))
        assert cells[:3] == [row["layer"], shape, "x".join(map(str, row["pixels_per_word"]))]
        assert cells[3] == f"{row['macs']:,}"
        assert cells[6:8] == [f"{row['passes']:,}", f"{row['cycles']:,}"]
        assert cells[-1] == f"{row['utilization']:.1%}"
    total = lines[1 + len(image.layers)].split()
    assert total[:3] == ["total", f"{image.macs:,}", f"{image.cycles:,}"]
