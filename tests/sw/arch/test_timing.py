"""The prediction against loops that count pass by pass; distances against their definitions."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from termac.arch import DESCRIPTOR_WORDS, TABLE_ENTRIES, load_config, preset_names
from termac.arch.cells import CELLS, DATA_TERMS, TERMS, TERMS_AHEAD
from termac.arch.estimate import part_cycles, vector_times
from termac.arch.timing import (
    CELL_LATENCY,
    ISSUE_LATENCY,
    WEIGHT_LATENCY,
    LayerTiming,
    drain_cycles,
    feed_latency,
    layer_cycles,
    most_beats,
    offer_read,
    program_cycles,
    reload_cycles,
    residual_queue_depth,
    residual_spread,
    row_latency,
    swap_to_shift,
    tile_words,
)

CONFIGS = [load_config(name) for name in preset_names()]
by_name = pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)


def counted(config, layer):
    """Cycles of a layer: every pass of every chunk of every row tile, one after the other."""
    reload = reload_cycles(config, layer.terms)
    cycles = DESCRIPTOR_WORDS + 4  # fetch and check
    if layer.residual:
        cycles += 2 * TABLE_ENTRIES + 2
    cycles += 4 + offer_read(config, layer.terms)  # until the first pass may start
    chunks, left = [], layer.vectors
    while left:
        chunks.append(min(left, config.accumulator_depth))
        left -= chunks[-1]
    passes = [
        (vectors, last) for _ in range(layer.row_tiles) for vectors in chunks for last in layer.last
    ]
    for number, (vectors, last) in enumerate(passes):
        issue = vectors * (layer.last_time if last else layer.time)
        if number == len(passes) - 1:
            cycles += issue  # nothing is loaded any more
        elif layer.terms > TERMS_AHEAD:
            cycles += issue + reload
        else:
            cycles += max(issue, reload)
    return cycles + drain_cycles(config)


@st.composite
def layers(draw, config):
    time = draw(st.integers(config.segments, 64))
    return LayerTiming(
        row_tiles=draw(st.integers(1, 4)),
        vectors=draw(st.integers(1, 3 * config.accumulator_depth + 1)),
        last=draw(st.lists(st.booleans(), min_size=1, max_size=6)),
        terms=draw(st.integers(1, TERMS)) if config.cell.startswith("term") else 0,
        time=time,
        last_time=time + draw(st.integers(0, 9)),
        residual=draw(st.booleans()),
    )


@by_name
@given(data=st.data())
def test_layers_take_the_sum_of_their_passes(config, data):
    found = data.draw(st.lists(layers(config), min_size=1, max_size=3))
    wanted = [counted(config, layer) for layer in found]
    assert [layer_cycles(config, layer) for layer in found] == wanted
    assert program_cycles(config, found) == 3 + sum(wanted) + 3


@by_name
@given(passes=st.lists(st.integers(1, 4), min_size=1, max_size=4), residual=st.booleans())
def test_parts_complete_sums_once_per_pooling_position(config, passes, residual):
    beats = 8
    terms = 2 if config.cell.startswith("term") else 0
    time, last_time = vector_times(config, beats=beats, residual=residual)
    last = [index == count - 1 for count in passes for index in range(count)]
    layer = LayerTiming(3, 17, last, terms, time, last_time, residual)
    found = part_cycles(
        config, row_tiles=3, vectors=17, passes=passes, beats=beats, terms=terms, residual=residual
    )
    assert found == counted(config, layer)


@by_name
def test_vectors_take_their_beats_and_no_less_than_a_word_per_segment(config):
    segments = config.segments
    for beats in (1, segments - 1, segments, segments + 1, 64):
        assert vector_times(config, beats=beats, residual=False) == (max(beats, segments),) * 2
        time, last = vector_times(config, beats=beats, residual=True)
        assert time == max(beats, segments)
        assert last == max(beats, segments + config.words_per_tile)


@by_name
def test_weights_are_in_their_cells_when_the_first_beat_comes(config):
    """A word is read every cycle; the pass is offered at the read after which none comes late."""
    for terms in (1, 3, TERMS):
        words = tile_words(config, terms)
        offered = offer_read(config, terms)
        assert 1 <= offered <= words
        # Read n happens in cycle n; it is stored a cycle later if cells store terms.
        ready = words + WEIGHT_LATENCY + (1 if config.cell.startswith("term") else 0)
        first_beat = offered + ISSUE_LATENCY + feed_latency(config) + 1
        assert ready <= first_beat
        if offered > 1:
            assert ready == first_beat, "it could have been offered earlier"


@by_name
def test_the_next_tile_shifts_once_the_swap_has_passed_everywhere(config):
    group = config.segments // config.shared_rows
    token = ISSUE_LATENCY + feed_latency(config) + config.columns - 1 + group - 1
    assert swap_to_shift(config) + WEIGHT_LATENCY == token + 1
    for terms in (1, TERMS):
        assert reload_cycles(config, terms) == swap_to_shift(config) + 1 + offer_read(config, terms)


@by_name
def test_results_leave_a_row_after_every_column(config):
    latency = ISSUE_LATENCY + feed_latency(config) + CELL_LATENCY + (config.columns - 1)
    assert row_latency(config) == latency
    longer = replace(config, cell="term_pair")
    assert row_latency(longer) - row_latency(replace(config, cell="term")) == 2
    assert drain_cycles(config) > row_latency(config)


@pytest.mark.parametrize("name", sorted(CELLS))
def test_a_tile_has_a_word_per_column_and_term(name):
    config = replace(load_config("square"), cell=name)
    terms = name.startswith("term")
    assert [tile_words(config, n) for n in (1, 8)] == [32, 256 if terms else 32]
    wanted = {"term": TERMS, "term_pair": TERMS * DATA_TERMS}
    assert most_beats(config) == wanted.get(name, 8)


@by_name
def test_the_residual_queue_holds_all_words_under_way(config):
    depth = residual_queue_depth(config)
    assert depth >= 16
    assert depth & (depth - 1) == 0
    wait = (
        row_latency(config) + most_beats(config) + config.rows // config.shared_rows
        + config.segments + config.result_delay + 21
    )  # fmt: skip
    assert depth > wait // (config.segments + 1)


@by_name
def test_residuals_of_a_words_last_row_tile_come_from_later_banks(config):
    """The bank of every drain's byte, row tile by row tile; a bank comes S cycles after another."""
    per_word = config.tiles_per_word
    spread = 0
    for row in range(0, config.rows, config.unit):
        banks = [(tile * config.rows + row) // config.lanes for tile in range(per_word)]
        spread = max(spread, banks[-1] - banks[0])
    assert residual_spread(config) == spread * config.segments
