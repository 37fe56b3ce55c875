import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from termac.arch import (
    DESCRIPTOR,
    DESCRIPTOR_FIELDS,
    DESCRIPTOR_WORDS,
    HEADER,
    PASS,
    Opcode,
    descriptors,
    load_config,
    pack_descriptor,
)
from termac.arch.estimate import decode_timings
from termac.compile import compile_graph

from tests.sw.interpreter import Interpreter
from tests.sw.random_graphs import random_graph

FIELDS = [field for field in DESCRIPTOR_FIELDS.fields if not field.name.startswith("reserved")]


@given(st.fixed_dictionaries({field.name: st.integers(*field.limits) for field in FIELDS}))
def test_words_of_a_descriptor_are_packed_one_by_one(values):
    words = pack_descriptor(values)
    assert words == [
        word.pack_one(**{f.name: values[f.name] for f in word.fields if f.name in values})
        for word in DESCRIPTOR
    ]


def test_fields_that_a_descriptor_cannot_hold_are_named():
    with pytest.raises(ValueError, match=r"descriptor.vectors is 1048576, must be within 0..1048"):
        pack_descriptor({"vectors": 1 << 20})
    with pytest.raises(KeyError, match="descriptor has no field 'pixels'"):
        pack_descriptor({"pixels": 1})


def program(*layers, end=Opcode.END):
    """HEADER, one descriptor per (values, pass records), the end; the records after it."""
    words, records = [HEADER.pack_one(opcode=Opcode.HEADER)], []
    start = 2 + DESCRIPTOR_WORDS * len(layers)
    for values, passes in layers:
        own = {"opcode": Opcode.LAYER, "records": start + len(records), "passes": len(passes)}
        words += pack_descriptor({**own, **values})
        records += [PASS.pack_one(**record) for record in passes]
    return [*words, HEADER.pack_one(opcode=end), *records]


def test_layers_come_with_their_passes_in_order():
    first = {"weights": 7, "sum_first": 1}, {"weights": 9, "sum_last": 1}
    words = program(({"vectors": 5, "pad": -3}, first), ({"vectors": 6}, first[1:]))
    one, two = descriptors(words)
    assert (one.values["vectors"], one.values["pad"], two.values["vectors"]) == (5, -3, 6)
    assert [record["weights"] for record in one.passes] == [7, 9]
    assert [(r["sum_first"], r["sum_last"]) for r in one.passes] == [(1, 0), (0, 1)]
    assert [record["weights"] for record in two.passes] == [9]
    assert list(descriptors(np.array(program(), np.uint32))) == []


@pytest.mark.parametrize("config", ["square", "term", "term-pair"])
def test_compiled_programs_decode_as_the_interpreter_reads_them(config):
    for seed in (0, 2):
        image = compile_graph(random_graph(seed), load_config(config))
        layers = list(descriptors(image.program))
        wanted = list(Interpreter(image).descriptors())
        assert len(layers) == len(wanted) == sum(info.descriptors for info in image.layers)
        for layer, values in zip(layers, wanted, strict=True):
            values.pop("reserved")
            assert {name: layer.values[name] for name in values} == values
            assert len(layer.passes) == values["passes"]
        assert [timing.vectors for timing in decode_timings(image.program)] == [
            values["vectors"] for values in wanted
        ]


WORDS = program(({}, [{"sum_last": 1}]))


@pytest.mark.parametrize("count", [0, 1, 2, DESCRIPTOR_WORDS, DESCRIPTOR_WORDS + 1])
def test_a_program_without_its_end_is_refused(count):
    with pytest.raises(ValueError, match=r"before (its END|all) word"):
        list(descriptors(WORDS[:count]))


def test_pass_records_beyond_the_program_are_refused():
    with pytest.raises(
        ValueError, match=r"program ends at word 21, before all words of the layer at word 1"
    ):
        list(descriptors(WORDS[:-1]))
    with pytest.raises(
        ValueError, match=r"program ends at word 22, before all words of the layer at word 1"
    ):
        list(descriptors(program(({"records": 65535}, [{}]))))


@pytest.mark.parametrize("opcode", [0, Opcode.HEADER, 15])
def test_records_that_are_no_layer_are_refused(opcode):
    with pytest.raises(ValueError, match=rf"word 20 has opcode {int(opcode)}: neither LAYER nor E"):
        list(descriptors(program(({}, [{}]), end=opcode)))
