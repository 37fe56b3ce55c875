"""A batch that ran in parts has the result of one that ran as a whole."""

import numpy as np
from termac.device import Result, join_results


def result(first, last):
    samples = np.arange(first, last)
    return Result(
        outputs=samples.astype(np.int8).reshape(-1, 1, 1, 1),
        tensors={"a": (samples + 10).astype(np.int8).reshape(-1, 1, 1, 1)},
        cycles=np.stack([samples + 100, samples + 200], axis=1),
        total_cycles=samples + 300,
        counters={"issue": samples + 400},
    )


def test_parts_follow_each_other_in_every_field():
    joined, whole = join_results([result(0, 1), result(1, 5)]), result(0, 5)
    assert joined.outputs.dtype == np.int8
    for found, expected in (
        (joined.outputs, whole.outputs),
        (joined.tensors["a"], whole.tensors["a"]),
        (joined.cycles, whole.cycles),
        (joined.total_cycles, whole.total_cycles),
        (joined.counters["issue"], whole.counters["issue"]),
    ):
        np.testing.assert_array_equal(found, expected)


def test_results_without_layers_and_cycles_can_be_joined():
    outputs = np.zeros((2, 1, 1, 3), np.int8)
    joined = join_results([Result(outputs=outputs), Result(outputs=outputs)])
    assert joined.outputs.shape == (4, 1, 1, 3)
    assert (joined.tensors, joined.counters, len(joined.total_cycles)) == ({}, {}, 0)
