from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from termac.arch import PARAMETER, Config, load_config, preset_names, split
from termac.arch.memory_map import REGION_WIDTH, MemoryMap, entry_weights, weight_entries

ODD = Config(
    name="odd", rows=24, columns=24, lanes=8, segments=8, activation_depth=50, weight_depth=30,
    parameter_depth=9, program_depth=70, tap_depth=20,
)  # fmt: skip
LARGEST = Config(
    name="largest", rows=256, columns=128, lanes=16, segments=8, activation_depth=1 << 16,
    weight_depth=1 << 20, parameter_depth=1 << 16, program_depth=1 << 16, tap_depth=1 << 16,
)  # fmt: skip
CONFIGS = [*(load_config(name) for name in preset_names()), ODD, LARGEST]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_regions_are_aligned_and_apart(config):
    memory_map = MemoryMap(config)
    assert memory_map.address_width <= 32
    assert len(memory_map.regions) <= 1 << REGION_WIDTH
    for region in memory_map.regions:
        assert region.base % memory_map.region_size == 0
        assert region.base >> memory_map.address_width - REGION_WIDTH == region.number
        assert region.size & (region.size - 1) == 0
        last = region.address(region.words - 1, region.groups - 1, region.beats - 1)
        assert last + 4 <= region.base + region.size
        assert getattr(memory_map, region.name) is region
    for one, two in pairwise(memory_map.regions):
        assert one.base + one.size <= two.base


@pytest.mark.parametrize("config", [load_config("tiny"), ODD], ids=lambda config: config.name)
@given(data=st.data())
def test_decode_inverts_address(config, data):
    memory_map = MemoryMap(config)
    region = data.draw(st.sampled_from(memory_map.regions))
    place = tuple(
        data.draw(st.integers(0, count - 1))
        for count in (region.words, region.groups, region.beats)
    )
    address = region.address(*place)
    assert memory_map.decode(address) == (region, *place)
    assert memory_map.decode(address + 3) == (region, *place)


def test_holes_decode_to_nothing():
    memory_map = MemoryMap(ODD)
    found = sum(
        memory_map.decode(address) is not None
        for address in range(0, 1 << memory_map.address_width, 4)
    )
    assert found == sum(r.words * r.groups * r.beats for r in memory_map.regions)


def test_wrong_places_are_named():
    memory_map = MemoryMap(ODD)
    with pytest.raises(ValueError, match=r"weights: word is 30, must be within 0..29"):
        memory_map.weights.address(30)
    with pytest.raises(ValueError, match=r"weights: group is 3, must be within 0..2"):
        memory_map.weights.address(0, 3)
    with pytest.raises(ValueError, match=r"program: word is 70, must be within 0..69"):
        memory_map.pack_program(np.zeros(6, np.uint32), 65)
    with pytest.raises(ValueError, match=r"weights must have the shape \(n, 24\), not \(4, 8\)"):
        memory_map.pack_weights(np.zeros((4, 8), np.uint64))
    with pytest.raises(ValueError, match=r"activations must have the shape \(n, 24\)"):
        memory_map.pack_activations(np.zeros((4, 8), np.int8))
    with pytest.raises(ValueError, match=r"parameters: entries must have the shape \(n, 3, 3\)"):
        memory_map.pack_parameters(
            dict.fromkeys(("bias", "multiplier", "shift"), np.zeros((2, 1), np.int64))
        )


def stored(memory_map, blocks):
    """What the blocks put where: {(region name, word, group, beat): value}, without padding."""
    places = {}
    for block in blocks:
        for index, value in enumerate(block.words):
            place = memory_map.decode(block.address + 4 * index)
            if place is None:
                assert value == 0, "only padding may fall into a hole"
            else:
                places[place[0].name, *place[1:]] = int(value)
    return places


@pytest.mark.parametrize("config", [load_config("tiny"), ODD], ids=lambda config: config.name)
def test_weights(config):
    rng = np.random.default_rng(0)
    memory_map = MemoryMap(config)
    weights = rng.integers(0, 1 << config.weight_width, (7, config.rows), dtype=np.uint64)
    blocks = memory_map.pack_weights(weights, 2)
    assert len(blocks) == (7 if config is ODD else 1)
    places = stored(memory_map, blocks)
    beats = memory_map.weights.beats
    assert len(places) == 7 * config.drains * beats
    for word in range(7):
        for group in range(config.drains):
            parts = [places["weights", word + 2, group, beat] for beat in range(beats)]
            got = split(np.array(parts, np.uint32), config.weight_width, config.segments)
            rows = slice(group * config.segments, (group + 1) * config.segments)
            np.testing.assert_array_equal(got, weights[word, rows])


def test_words_and_taps_and_activations():
    rng = np.random.default_rng(1)
    memory_map = MemoryMap(ODD)
    words = rng.integers(0, 1 << 32, 9, dtype=np.uint32)
    for name, blocks in (
        ("program", memory_map.pack_program(words, 4)),
        ("taps", memory_map.pack_taps(words, 4)),
    ):
        assert len(blocks) == 1
        assert stored(memory_map, blocks) == {
            (name, 4 + i, 0, 0): int(word) for i, word in enumerate(words)
        }
    data = rng.integers(-128, 128, (5, ODD.word_bytes), dtype=np.int8)
    (block,) = memory_map.pack_activations(data, 45)
    assert block.address == memory_map.activations.address(45)
    np.testing.assert_array_equal(memory_map.unpack_activations(block.words), data)
    places = stored(memory_map, [block])
    assert places["activations", 46, 0, 1] == int.from_bytes(data[1, 4:8].tobytes(), "little")
    assert memory_map.pack_program(words[:0]) == []


@given(
    st.lists(
        st.tuples(*(st.integers(*field.limits) for field in PARAMETER.fields)), min_size=1
    )
)  # fmt: skip
def test_parameters(records):
    memory_map = MemoryMap(ODD)
    records = records[: ODD.parameter_depth]
    values = np.array(records, np.int64).T[..., None].repeat(ODD.drains, axis=2)
    names = [field.name for field in PARAMETER.fields]
    places = stored(memory_map, memory_map.pack_parameters(dict(zip(names, values, strict=True))))
    for word, record in enumerate(records):
        wanted = PARAMETER.pack_one(**dict(zip(names, record, strict=True)))
        for drain in range(ODD.drains):
            parts = [places["parameters", word, drain, part] for part in range(3)]
            assert sum(value << 32 * i for i, value in enumerate(parts)) == wanted


def test_parameter_limits():
    values = {"bias": [[0] * 3], "multiplier": [[0] * 3], "shift": [[0, 32, 0]]}
    with pytest.raises(ValueError, match=r"parameter.shift spans 0..32, must be within 0..31"):
        MemoryMap(ODD).pack_parameters(values)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
def test_weight_entries_hold_the_rows_of_a_drain_side_by_side(config):
    rng = np.random.default_rng(2)
    weights = rng.integers(0, 1 << config.weight_width, (3, config.rows), dtype=np.uint64)
    entries = weight_entries(config, weights)
    assert entries.shape == (3, config.drains, MemoryMap(config).weights.beats)
    for word in range(3):
        for drain in range(config.drains):
            value = int.from_bytes(entries[word, drain].tobytes(), "little")
            rows = weights[word, drain * config.segments :][: config.segments]
            assert value == sum(int(w) << config.weight_width * j for j, w in enumerate(rows))
    np.testing.assert_array_equal(entry_weights(config, entries), weights)


@pytest.mark.parametrize("config", [load_config("tiny"), ODD], ids=lambda config: config.name)
def test_entries_are_what_blocks_were_made_of(config):
    rng = np.random.default_rng(3)
    memory_map = MemoryMap(config)
    for region in memory_map.regions:
        shape = (5, region.groups, region.beats)
        entries = rng.integers(0, 1 << 32, shape, dtype=np.uint32)
        found, words = [], []
        for block in region.blocks(entries, 2):
            place, word = memory_map.entry(block.address)
            assert place is region
            words.append(word)
            found.append(region.entries(block.words))
        np.testing.assert_array_equal(np.concatenate(found), entries)
        assert words == ([2] if len(words) == 1 else [2, 3, 4, 5, 6])


def test_no_entry_begins_in_a_hole_or_inside_another():
    memory_map = MemoryMap(ODD)
    weights = memory_map.weights
    assert weights.beats == 3
    for address in (
        weights.address(1, 1), weights.address(1, 0, 1), weights.address(1) + 2,
        weights.address(1, 0, 2) + 4, weights.address(29) + weights.word_stride, -4,
    ):  # fmt: skip
        with pytest.raises(ValueError, match=rf"no entry begins at address {address:#x}"):
            memory_map.entry(address)
    with pytest.raises(ValueError, match=r"weights: an entry of all groups takes 12 words"):
        weights.entries(np.zeros(13, np.uint32))
