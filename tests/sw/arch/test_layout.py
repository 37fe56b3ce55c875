import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from termac.arch import (
    DESCRIPTOR,
    DESCRIPTOR_FIELDS,
    HEADER,
    PARAMETER,
    PASS,
    TAP,
    Field,
    Layout,
    concatenate,
    split,
)


@st.composite
def layouts(draw):
    """Up to 12 fields of any width that int64 can hold: up to some 700 bits."""
    count = draw(st.integers(1, 12))
    fields = []
    for index in range(count):
        signed = draw(st.booleans())
        width = draw(st.integers(1, 64) if signed else st.integers(0, 63))
        fields.append(Field(f"f{index}", width, signed=signed))
    return Layout("some", tuple(fields))


def records(layout):
    return st.fixed_dictionaries({f.name: st.integers(*f.limits) for f in layout.fields})


def by_hand(layout, record):
    """Bits as text, the highest field first: shares nothing with the arithmetic of the layout."""
    texts = [
        format(record[field.name] % (1 << field.width), f"0{field.width}b")
        for field in reversed(layout.fields)
        if field.width
    ]
    return int("".join(texts) or "0", 2)


@given(st.data())
def test_one_record_has_its_fields_side_by_side(data):
    layout = data.draw(layouts())
    record = data.draw(records(layout))
    word = layout.pack_one(**record)
    assert word == by_hand(layout, record)
    assert layout.unpack_one(word) == record


@given(st.data())
def test_arrays_of_records_pack_as_each_of_them_does(data):
    layout = data.draw(layouts())
    found = data.draw(st.lists(records(layout), min_size=1, max_size=5))
    words = layout.pack({f.name: [record[f.name] for record in found] for f in layout.fields})
    assert words.dtype == np.uint32
    assert words.shape == (len(found), layout.parts)
    for word, record in zip(words, found, strict=True):
        assert int.from_bytes(word.astype("<u4").tobytes(), "little") == by_hand(layout, record)
    values = layout.unpack(words)
    for name, column in values.items():
        assert column.dtype == np.int64
        assert column.tolist() == [record[name] for record in found]


@pytest.mark.parametrize("layout", [*DESCRIPTOR, HEADER, PASS, TAP], ids=lambda layout: layout.name)
def test_program_words_have_32_bits(layout):
    assert layout.width == 32


def test_shapes_broadcast():
    words = PARAMETER.pack(
        {"bias": np.arange(6).reshape(2, 3), "multiplier": 5, "shift": [[1], [2]]}
    )
    assert words.shape == (2, 3, 3)
    values = PARAMETER.unpack(words)
    assert values["bias"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert values["multiplier"].tolist() == [[5] * 3] * 2
    assert values["shift"].tolist() == [[1] * 3, [2] * 3]


def test_no_records_pack_into_no_words():
    words = TAP.pack({field.name: np.zeros((0, 4), np.int8) for field in TAP.fields})
    assert words.shape == (0, 4, 1)
    assert all(values.shape == (0, 4) for values in TAP.unpack(words).values())


@pytest.mark.parametrize("wrong", [-129, 128])
def test_values_beyond_their_field_are_named(wrong):
    layout = Layout("weight", (Field("value", 8, signed=True), Field("lane", 3)))
    with pytest.raises(ValueError, match=rf"weight.value is {wrong}, must be within -128..127"):
        layout.pack_one(value=wrong)
    low, high = sorted((wrong, 3))
    with pytest.raises(ValueError, match=rf"value spans {low}..{high}, must be within -128..127"):
        layout.pack({"value": [3, wrong], "lane": 0})
    with pytest.raises(KeyError, match="weight has no field 'values'"):
        layout.pack_one(values=1)
    with pytest.raises(KeyError, match="lane"):
        layout.pack({"value": [3]})


def test_arrays_have_fields_of_int64_and_whole_records():
    layout = Layout("wide", (Field("all", 64),))
    assert layout.unpack_one(layout.pack_one(all=(1 << 64) - 1)) == {"all": (1 << 64) - 1}
    with pytest.raises(ValueError, match=r"wide.all has 64 bits, beyond int64"):
        layout.pack({"all": [1]})
    with pytest.raises(ValueError, match=r"parameter takes 3 parts, not 2"):
        PARAMETER.unpack(np.zeros((5, 2), np.uint32))


def test_a_subset_keeps_fields_and_takes_its_own_order():
    part = PARAMETER.subset("scale", ("shift", "bias"))
    assert part.name == "scale"
    assert part.fields == (PARAMETER["shift"], PARAMETER["bias"])
    assert (part.offset("shift"), part.offset("bias")) == (0, 5)
    with pytest.raises(KeyError, match="parameter has no field 'scale'"):
        PARAMETER.subset("scale", ("scale",))


def test_descriptor_fields_are_those_of_its_words():
    assert DESCRIPTOR_FIELDS.parts == len(DESCRIPTOR)
    names = [field.name for field in DESCRIPTOR_FIELDS.fields]
    assert len(set(names)) == len(names)
    for index, word in enumerate(DESCRIPTOR):
        for field in word.fields:
            name = f"reserved_{index}" if field.name == "reserved" else field.name
            found = DESCRIPTOR_FIELDS[name]
            assert (found.width, found.signed) == (field.width, field.signed)
            assert DESCRIPTOR_FIELDS.offset(name) == 32 * index + word.offset(field.name)


@given(st.data(), st.integers(1, 64), st.integers(0, 9))
def test_entries_of_any_width_stand_side_by_side(data, width, count):
    values = data.draw(st.lists(st.integers(0, (1 << width) - 1), min_size=count, max_size=count))
    words = concatenate(np.array([values], np.uint64), width)
    assert words.shape == (1, -(-count * width // 32))
    whole = int.from_bytes(words.astype("<u4").tobytes(), "little")
    assert whole == sum(value << width * index for index, value in enumerate(values))
    assert split(words, width, count).tolist() == [values]
