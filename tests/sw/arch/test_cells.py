from dataclasses import replace

import numpy as np
import pytest
from termac.arch import load_config
from termac.arch.cells import CELLS, DATA_TERMS, TERMS
from termac.compile import contents
from termac.report.tables import config_table
from termac_hw.cells import cell_names

TINY = load_config("tiny")
NAMES = sorted(CELLS)


@pytest.mark.parametrize("name", NAMES)
def test_every_table_knows_every_cell(name):
    assert CELLS[name].name == name
    assert set(contents._CONTENTS) == set(cell_names()) == set(NAMES)
    assert replace(TINY, cell=name).kind is CELLS[name]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("lanes", [1, 2, 16])
def test_weight_words_fit_the_image(name, lanes):
    layout = CELLS[name].weight_layout(lanes.bit_length() - 1)
    assert layout.width <= 16, "images hold weight words as uint16"
    assert layout["lane"].width == lanes.bit_length() - 1
    config = replace(TINY, cell=name)
    assert config.lanes == 4
    assert config.weight_width == CELLS[name].weight_layout(2).width


def values(name, words):
    """What cells of 8 lanes multiply with, by Python arithmetic on the bits of their words."""
    found = []
    for word in words:
        if name in ("bit_plane", "bit_serial"):  # value 8, lane 3
            found.append((word & 255) - (word & 128) * 2)
            continue
        rest = word >> 3  # lane
        sign = -1 if rest & 1 else 1
        width = {"term": 1, "term_pair": 3}[name]
        power, used = rest >> 1 & (1 << width) - 1, rest >> 1 + width
        found.append(sign * 2**power if used else 0)
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_word_has_its_value(name):
    kind = CELLS[name]
    layout = kind.weight_layout(3)
    words = np.arange(1 << layout.width, dtype=np.uint16)
    found = kind.value(layout.unpack(words[:, None]))
    assert found.tolist() == values(name, words.tolist())
    lowest = -128 if name.startswith("bit") else -kind.largest
    assert (found.min(), found.max()) == (lowest, kind.largest)


@pytest.mark.parametrize(
    ("name", "bits", "shift"),
    [("bit_plane", 8, 0), ("bit_plane", 3, 5), ("bit_serial", 3, 0), ("term", 3, 0),
     ("term_pair", 1, 0)],
)  # fmt: skip
def test_only_bit_planes_are_stored_left_aligned(name, bits, shift):
    assert CELLS[name].align(bits) == shift


@pytest.mark.parametrize(
    ("name", "beats", "terms", "data_terms"),
    [("bit_plane", 8, 0, 0), ("bit_serial", 8, 0, 0), ("term", TERMS, TERMS, 0),
     ("term_pair", TERMS * DATA_TERMS, TERMS, DATA_TERMS)],
)  # fmt: skip
def test_limits(name, beats, terms, data_terms):
    kind = CELLS[name]
    assert (kind.maximum_beats, kind.terms, kind.data_terms) == (beats, terms, data_terms)
    assert kind.combines == (terms == 0)
    assert [kind.planes(count) for count in (1, 5)] == ([1, 5] if terms else [1, 1])


@pytest.mark.parametrize(
    ("name", "sum_width", "result_width", "result_delay"),
    # 24 columns: sums of up to 24 products, 5 bits more than one; see hw/README.md for the growth.
    [("bit_plane", 13, 21, 0), ("bit_serial", 4, 21, 13), ("term", 15, 26, 0),
     ("term_pair", 22, 28, 0)],
)  # fmt: skip
def test_widths_of_sums(name, sum_width, result_width, result_delay):
    config = replace(TINY, cell=name, rows=24, columns=24)
    assert config.sum_width == sum_width
    assert config.result_width == result_width
    assert config.result_delay == result_delay


BEATS = {"bit_plane": 2**7, "bit_serial": 2**7 * 2**7, "term": 2 * 2**7, "term_pair": 2**8 * 2**7}
"""Largest magnitude that a cell adds in one beat: weight; weight times activation; doubled
activation; term of an activation less its zero point times term of a weight."""
VECTORS = {
    "bit_plane": 2**7 * 2**7,
    "bit_serial": 2**7 * 2**7,
    "term": TERMS * 2 * 2**7 * 2**7,  # beats of the largest power
    "term_pair": TERMS * DATA_TERMS * 2**8 * 2**7,
}
"""Largest magnitude that a cell adds in all beats of a vector."""


@pytest.mark.parametrize("name", NAMES)
def test_sums_have_room_for_the_largest_of_every_column(name):
    config = replace(TINY, cell=name)
    row_width = config.result_width - config.kind.growth
    assert config.sum_width == (4 if name == "bit_serial" else row_width)
    assert config.columns * BEATS[name] <= 1 << row_width - 1
    assert config.columns * VECTORS[name] <= 1 << config.result_width - 1


@pytest.mark.parametrize(("name", "text"), [("bit_plane", " tiles, "), ("term", " term planes, ")])
def test_a_configuration_says_how_many_tiles_it_keeps(name, text):
    table = config_table(replace(TINY, cell=name))
    assert any(text in str(cell) for cell in table.columns[1]._cells)
