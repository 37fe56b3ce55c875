"""Column combining: hand-worked packings, lossless storage, limits, mass lost, errors."""

import importlib
import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from termac.compress.columns import combine
from termac.compress.columns.assignment import assign
from termac.compress.columns.matching import improved_groups, matched_groups
from termac.compress.columns.published import SECTION, published_groups
from termac.errors import ConfigError, InputError

METHODS = ("published", "magnitude")


def sparse(rows, columns, density, seed=0):
    random = np.random.default_rng(seed)
    return random.normal(size=(rows, columns)) * (random.random((rows, columns)) < density)


def columns(*texts):
    """One column a text: ``.`` is zero, digits are weights."""
    return np.array([[0 if c == "." else int(c) for c in text] for text in texts]).T


def as_lists(groups):
    return [group.tolist() for group in groups]


def conflicts(matrix, result):
    """Weights that each group loses."""
    support = matrix != 0
    counts = [support[:, group].sum(axis=1) for group in result.groups]
    return [int(np.maximum(0, count - result.passes).sum()) for count in counts]


# Published greedy


def test_published_takes_the_largest_union():
    # from column 0, columns 1 and 3 add two rows each, 2 adds one: the lower of the two
    matrix = columns("11....", "..11..", "..1...", "....11")
    result = combine(matrix, alpha=2, gamma=0, method="published")
    assert as_lists(result.groups) == [[0, 1], [2, 3]]
    result = combine(matrix, alpha=4, gamma=0, method="published")
    assert as_lists(result.groups) == [[0, 1, 3], [2]]


def test_published_ignores_magnitudes():
    # joining 1 loses the 9, joining 2 only the 1; but 1 covers more rows
    matrix = columns("9.....", "911...", "1.1...")
    result = combine(matrix, alpha=2, gamma=0.5, method="published")
    assert as_lists(result.groups) == [[0, 1], [2]]
    assert result.mask.T.tolist() == [
        [True, False, False, False, False, False],
        [False, True, True, False, False, False],
        [True, False, True, False, False, False],
    ]
    assert result.mass_lost == pytest.approx(9 / 22)
    assert result.energy_lost == pytest.approx(81 / 166)
    assert result.nonzeros_lost == pytest.approx(1 / 6)
    assert result.density == pytest.approx(5 / 12)


def test_published_counts_the_conflicts_of_the_whole_group():
    # floor(0.25 * 4) = 1 conflict; the second column brings it, the third would bring another
    matrix = columns("11..", ".11.", "..11")
    assert as_lists(combine(matrix, alpha=4, gamma=0.25, method="published").groups) == [
        [0, 2],  # no conflict and four rows, against three
        [1],
    ]
    matrix = columns("11..", ".11.", ".1.1")
    assert as_lists(combine(matrix, alpha=4, gamma=0.25, method="published").groups) == [
        [0, 1],
        [2],
    ]
    assert as_lists(combine(matrix, alpha=4, gamma=0.5, method="published").groups) == [[0, 1, 2]]


def test_published_passes_over_what_is_not_feasible():
    matrix = columns("11..", "111.", "...1")
    result = combine(matrix, alpha=4, gamma=0, method="published")
    assert as_lists(result.groups) == [[0, 2], [1]]


def test_published_drops_empty_columns_and_keeps_to_sections():
    matrix = np.zeros((2, SECTION + 2))
    matrix[0, [3, SECTION]] = 1
    matrix[1, [SECTION - 1, SECTION + 1]] = 1
    result = combine(matrix, alpha=8, gamma=0, method="published")
    assert as_lists(result.groups) == [[3, SECTION - 1], [SECTION, SECTION + 1]]


def test_published_with_two_passes():
    # two weights a row survive: only the third of the first row is a conflict
    matrix = columns("31..", "2.1.", "1..1")
    result = combine(matrix, alpha=4, gamma=0, passes=2, method="published")
    assert as_lists(result.groups) == [[0, 1], [2]]
    result = combine(matrix, alpha=4, gamma=0.25, passes=2, method="published")
    assert as_lists(result.groups) == [[0, 1, 2]]
    assert result.mass_lost == pytest.approx(1 / 9)
    assert not result.mask[0, 2]


@pytest.mark.parametrize(
    ("density", "groups", "packed", "lost"),
    [(0.10, 288, 0.640, 0.199), (0.16, 297, 0.822, 0.337)],
)
def test_published_figures(density, groups, packed, lost):
    """What the released code gives for this matrix."""
    result = combine(sparse(256, 2304, density), alpha=8, method="published")
    assert len(result.groups) == groups
    assert result.density == pytest.approx(packed, abs=5e-4)
    assert result.nonzeros_lost == pytest.approx(lost, abs=5e-4)


# Ours


def test_magnitudes_decide():
    # every pair conflicts in the first row: the large ones must not meet
    matrix = columns("9..", "81.", "2.1", "1.1")
    ours, published = (combine(matrix, alpha=2, gamma=1, method=m) for m in reversed(METHODS))
    assert as_lists(published.groups) == [[0, 1], [2, 3]]
    assert published.mass_lost == pytest.approx((8 + 1 + 1) / 23)
    assert as_lists(ours.groups) in ([[0, 2], [1, 3]], [[0, 3], [1, 2]])
    assert ours.mass_lost == pytest.approx(3 / 23)


@pytest.mark.parametrize("seed", range(5))
def test_near_the_best_pairing(seed):
    """Against every way to pair eight columns."""

    def pairings(left):
        if not left:
            yield []
        for other in left[1:]:
            for rest in pairings([c for c in left[1:] if c != other]):
                yield [(left[0], other), *rest]

    matrix = sparse(12, 8, 0.5, seed)
    result = combine(matrix, alpha=2, gamma=1)
    size = np.abs(matrix)
    best = max(
        sum(size[:, list(pair)].max(axis=1).sum() for pair in pairs)
        for pairs in pairings(list(range(8)))
    )
    assert (1 - result.mass_lost) * size.sum() > 0.97 * best


@pytest.mark.parametrize(("density", "reduction"), [(0.10, 0.45), (0.16, 0.25)])
def test_less_mass_is_lost_than_published(density, reduction):
    for seed in (0, 1):
        matrix = sparse(256, 2304, density, seed)
        published, ours = (combine(matrix, alpha=8, method=method) for method in METHODS)
        assert len(ours.groups) <= len(published.groups)
        assert ours.mass_lost < (1 - reduction) * published.mass_lost
        assert ours.nonzeros_lost < published.nonzeros_lost
        assert ours.energy_lost < published.energy_lost
        assert max(conflicts(matrix, ours)) <= 128


def test_two_passes_lose_far_less():
    matrix = sparse(64, 576, 0.16)
    published, ours = (combine(matrix, alpha=8, passes=2, method=method) for method in METHODS)
    assert len(ours.groups) <= len(published.groups)
    assert ours.mass_lost < 0.4 * published.mass_lost
    assert ours.mass_lost < 0.2 * combine(matrix, alpha=8).mass_lost


@pytest.mark.parametrize("gamma", [0, 0.02, 0.1, 0.3, 1.5, np.inf])
@pytest.mark.parametrize("density", [0.1, 0.3, 0.7])
def test_tight_gamma(gamma, density):
    matrix = sparse(32, 96, density)
    published, ours = (combine(matrix, alpha=8, gamma=gamma, method=m) for m in METHODS)
    assert len(ours.groups) <= len(published.groups)
    assert max(conflicts(matrix, ours)) <= gamma * 32
    assert ours.mass_lost <= published.mass_lost


def test_where_the_matching_is_worse_than_published():
    matrix = sparse(6, 4, 0.3, seed=144)
    published, ours = (combine(matrix, alpha=4, gamma=0.2, method=m) for m in METHODS)
    matched = matched_groups(
        np.abs(matrix), alpha=4, conflicts=1, passes=1, count=len(published.groups)
    )
    assert ours.mass_lost <= published.mass_lost
    assert as_lists(ours.groups) != as_lists(matched)


def test_weights_of_any_size_are_conflicts():
    random = np.random.default_rng(7)
    matrix = sparse(32, 64, 0.3) * 10.0 ** random.integers(-300, 300, (32, 64))
    ours = combine(matrix, alpha=8, gamma=0.2)
    assert ours.nonzeros_lost > 0.05
    assert max(conflicts(matrix, ours)) <= 6


def test_given_groups_are_improved_within_their_conflicts():
    size = np.abs(sparse(32, 96, 0.4))
    limits = {"alpha": 8, "conflicts": 6, "passes": 1}
    given = published_groups(size > 0, **limits)
    found = improved_groups(size, given, **limits)
    assert sorted(np.concatenate(found)) == list(range(96))
    assert len(found) <= len(given)

    def lost(groups):
        return sum(size[:, g].sum() - size[:, g].max(axis=1).sum() for g in groups)

    assert lost(found) < lost(given)
    assert all(((size[:, g] > 0).sum(axis=1) - 1).clip(0).sum() <= 6 for g in found)


def test_more_groups_than_one_assignment_takes(monkeypatch):
    module = importlib.import_module("termac.compress.columns.matching")
    matrix = sparse(64, 576, 0.1)
    whole = combine(matrix, alpha=8)
    monkeypatch.setattr(module, "BLOCK", 20)
    parts = combine(matrix, alpha=8)
    assert len(parts.groups) == len(whole.groups)
    assert (
        whole.mass_lost < parts.mass_lost < combine(matrix, alpha=8, method="published").mass_lost
    )


# Both


@st.composite
def cases(draw):
    shape = draw(st.tuples(st.integers(1, 12), st.integers(1, 40)))
    values = draw(st.sampled_from([
        st.integers(-3, 3),
        st.integers(-128, 127) | st.just(0),
        st.just(0.0) | st.floats(-4, 4, width=32),
        st.just(0.0) | st.floats(allow_nan=False, allow_infinity=False),
    ]))  # fmt: skip
    kind = np.int8 if isinstance(draw(values), int) else np.float64
    matrix = draw(arrays(kind, shape, elements=values, fill=st.just(kind(0))))
    alpha = draw(st.sampled_from([1, 2, 4, 8, 16]))
    passes = draw(st.integers(1, min(alpha, 3)))
    gamma = draw(st.sampled_from([0, 0.1, 0.5, 1, 3.0]))
    return matrix, {"alpha": alpha, "gamma": gamma, "passes": passes}


@settings(deadline=None, max_examples=150)
@given(cases(), st.sampled_from(METHODS))
def test_properties(case, method):
    matrix, arguments = case
    result = combine(matrix, **arguments, method=method)
    # groups: every column with a weight once, at most alpha together
    used = np.flatnonzero((matrix != 0).any(axis=0))
    assert sorted(itertools.chain(*as_lists(result.groups))) == used.tolist()
    assert all(0 < len(group) <= arguments["alpha"] for group in result.groups)
    # rows: at most so many weights, the largest, of equal ones the leftmost
    for group in result.groups:
        for row, kept in zip(matrix[:, group].astype(float), result.mask[:, group], strict=True):
            order = np.argsort(-np.abs(row), kind="stable")[: arguments["passes"]]
            assert set(np.flatnonzero(kept)) == {place for place in order if row[place]}
    assert all(count <= arguments["gamma"] * len(matrix) for count in conflicts(matrix, result))
    # losses: what the mask says
    size = np.abs(matrix.astype(float))
    size /= size.max() or 1
    for found, amount in (
        (result.mass_lost, size),
        (result.energy_lost, size**2),
        (result.nonzeros_lost, matrix != 0),
    ):
        expected = amount[~result.mask].sum() / (amount.sum() or 1)
        assert found == pytest.approx(expected, abs=1e-12)
    # storage
    pruned = result.prune(matrix)
    packed = result.pack(matrix)
    assert pruned.dtype == matrix.dtype
    assert packed.values.shape == (len(matrix), len(result.groups), arguments["passes"])
    assert packed.values.shape == packed.selects.shape
    assert (packed.selects >= 0).all()
    assert (packed.selects < arguments["alpha"]).all()
    np.testing.assert_array_equal(result.unpack(packed), pruned)
    slots = packed.values.size
    assert result.density == pytest.approx(np.count_nonzero(pruned) / slots if slots else 0)


@settings(deadline=None, max_examples=60)
@given(cases())
def test_ours_is_never_worse_than_published(case):
    matrix, arguments = case
    published, ours = (combine(matrix, **arguments, method=method) for method in METHODS)
    assert len(ours.groups) <= len(published.groups)
    assert ours.mass_lost <= published.mass_lost


def test_packed_weights_by_hand():
    matrix = columns("5.3", ".42", "1.9")
    result = combine(matrix, alpha=4, gamma=1, passes=2)
    assert as_lists(result.groups) == [[0, 1, 2]]
    packed = result.pack(matrix)
    assert packed.values.tolist() == [[[5, 1]], [[4, 0]], [[3, 9]]]
    assert packed.selects.tolist() == [[[0, 2]], [[1, 0]], [[0, 2]]]
    assert result.unpack(packed).tolist() == columns("5.3", ".4.", "1.9").tolist()


def test_pack_takes_another_matrix_of_that_shape():
    matrix = sparse(16, 40, 0.3)
    result = combine(matrix, alpha=8, gamma=2)
    quantized = np.rint(matrix * 40).astype(np.int8)  # some of the kept weights become zero
    packed = result.pack(quantized)
    assert packed.values.dtype == np.int8
    np.testing.assert_array_equal(result.unpack(packed), np.where(result.mask, quantized, 0))
    with pytest.raises(InputError, match="shape 40x16, but 16x40 was combined"):
        result.pack(matrix.T)


@pytest.mark.parametrize("method", METHODS)
def test_degenerate_matrices(method):
    empty = combine(np.zeros((3, 5)), alpha=4, method=method)
    assert empty.groups == []
    assert (empty.mass_lost, empty.energy_lost, empty.nonzeros_lost, empty.density) == (0, 0, 0, 0)
    assert not empty.unpack(empty.pack(np.zeros((3, 5)))).any()
    full = combine(np.ones((3, 8)), alpha=4, gamma=3, method=method)
    assert full.mass_lost == 0.75
    assert full.mask.sum() == 6
    assert as_lists(combine(np.ones((1, 1)), alpha=1, method=method).groups) == [[0]]


def test_alpha_one_keeps_everything():
    matrix = sparse(8, 20, 0.4)
    for method in METHODS:
        result = combine(matrix, alpha=1, method=method)
        np.testing.assert_array_equal(result.prune(matrix), matrix)


def test_same_input_same_groups():
    matrix = sparse(64, 300, 0.2)
    first, second = (combine(matrix, alpha=8) for _ in range(2))
    assert as_lists(first.groups) == as_lists(second.groups)
    # neither the unit nor the sign of the weights matters
    assert as_lists(combine(-1024 * matrix, alpha=8).groups) == as_lists(first.groups)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alpha": 6}, "alpha must be a power of two.*not 6"),
        ({"alpha": 0}, "alpha must be a power of two.*not 0"),
        ({"alpha": -4}, "alpha must be a power of two"),
        ({"alpha": 8.0}, r"alpha must be a power of two.*not 8\.0"),
        ({"alpha": True}, "alpha must be a power of two"),
        ({"gamma": -0.1}, r"gamma must be a number, 0 or more, not -0\.1"),
        ({"gamma": float("nan")}, "gamma must be a number, 0 or more, not nan"),
        ({"gamma": "half"}, "gamma must be a number"),
        ({"passes": 0}, r"passes must be an integer 1\.\.8 \(alpha\), not 0"),
        ({"passes": 9}, r"passes must be an integer 1\.\.8 \(alpha\), not 9"),
        ({"passes": 1.5}, "passes must be an integer"),
        ({"method": "best"}, "method must be 'magnitude' or 'published', not 'best'"),
    ],
)
def test_wrong_arguments(arguments, message):
    with pytest.raises(ConfigError, match=message) as caught:
        combine(np.ones((2, 2)), **{"alpha": 8} | arguments)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.ones((2, 3, 3, 4)), r"has 4 axes; reshape the weights to \[output channels"),
        (np.ones(3), "has 1 axes"),
        (np.ones((0, 4)), r"is empty \(0x4\)"),
        (np.array([[1, 2], [np.nan, 4]]), "holds nan in row 1, column 0"),
        (np.array([[1, -np.inf]]), "holds -inf in row 0, column 1"),
        (np.array([["a"]]), "of type <U1; make it float or integer"),
        (np.ones((2, 2), complex), "of type complex128"),
        (np.ones((2, 2), bool), "of type bool"),
    ],
)
def test_wrong_matrices(matrix, message):
    with pytest.raises(InputError, match=message) as caught:
        combine(matrix, alpha=8)
    assert "\n" not in str(caught.value)


# Assignment


@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (1, 5), (7, 7), (30, 30), (20, 33)])
def test_assignment_is_near_the_optimum(rows, columns):
    from scipy.optimize import linear_sum_assignment

    for seed in range(5):
        cost = np.random.default_rng(seed).integers(0, 10_000, (rows, columns)).astype(np.float32)
        found = assign(cost, 90)  # 3 % of the deviation
        assert len(set(found.tolist())) == rows
        best = cost[linear_sum_assignment(cost)].sum()
        assert best <= cost[np.arange(rows), found].sum() <= best + 90 * rows


def test_assignment_ends_when_all_want_the_same():
    cost = np.zeros((50, 50), np.float32)
    cost[:, 0] = -1e6
    cost[:, 1] = -9e5
    assert sorted(assign(cost, 1).tolist()) == list(range(50))
