"""Networks in terms: one pass holds every group, answers stay, more terms lose less."""

import dataclasses

import numpy as np
import pytest
from termac.arch import load_config
from termac.compress import quantize
from termac.compress.refit import Observations
from termac.compress.terms.allowance import MORE, Allowance, check_cell, needs_more
from termac.compress.terms.compensate import Rounding, lane_groups
from termac.compress.terms.network import fit_terms
from termac.compress.terms.published import limit_terms
from termac.compress.terms.pursuit import pursue
from termac.errors import ConfigError
from termac.examples import MODELS
from termac.examples.datasets import digits
from termac.frontend import load_onnx
from termac.graph import Conv, FloatConv, golden
from termac.graph.file import load_graph, save_graph
from termac.terms import count, limit
from termac.terms.slots import rounds

SAMPLES = digits().train.images[:96]
LANES = 8


@pytest.fixture(scope="module")
def model():
    return load_onnx(MODELS / "digits.onnx")


@pytest.fixture(scope="module")
def graph(model):
    return quantize(model, SAMPLES)


@pytest.fixture(scope="module")
def fit(model, graph):
    """Fits by allowance and kind, each made once."""
    known = {}

    def fitted(weights, data=0):
        if (weights, data) not in known:
            known[weights, data] = fit_terms(
                model, graph, SAMPLES, lanes=LANES, allowance=Allowance(weights, data),
                shared=data == 0,
            )  # fmt: skip
        return known[weights, data]

    return fitted


def convolutions(graph):
    return [node for node in graph.nodes if isinstance(node, Conv)]


def grouped(weights, lanes=LANES):
    """[n, lanes], short groups filled with zeros."""
    padded = np.pad(weights.astype(int), ((0, 0),) * 3 + ((0, -weights.shape[3] % lanes),))
    return padded.reshape(-1, lanes)


def outputs(graph):
    test = digits().test
    x = golden.quantize_input(graph, test.images)
    y = golden.run(graph, x, outputs_only=True)[graph.output]
    return golden.dequantize_output(graph, y), test.labels


def accuracy(graph):
    scores, labels = outputs(graph)
    return (scores.argmax(axis=1) == labels).mean()


def output_errors(network):
    return [layer.output_error for layer in network.layers]


# --- Shared powers: whole activations ------------------------------------------------------------


@pytest.mark.parametrize("beats", [2, 5, 8, 16])
def test_one_pass_holds_every_group(fit, beats):
    for node in convolutions(fit(beats).graph):
        terms = node.terms
        assert (terms.weights, terms.data) == (beats, 0)
        assert len(terms.exponents) == beats
        assert terms.exponents[-1] == 0
        assert set(-np.diff(terms.exponents)) <= {0, 1}
        assert node.weights.dtype == np.int16
        assert np.abs(node.weights).max() <= 255
        assert len(rounds(grouped(node.weights), terms.exponents)) <= 1


def test_scales_go_with_the_integers(model, graph, fit):
    """Weights, multiplier, shift and bias all mean the same real layer."""
    dense = {node.name: node for node in model.nodes if isinstance(node, FloatConv)}
    for node in convolutions(fit(16).graph):
        source, target = graph.tensors[node.input], graph.tensors[node.name]
        scale = source.scale * node.weight_scale / target.scale
        np.testing.assert_allclose(node.multiplier * 2.0 ** (-31 - node.shift), scale, rtol=1e-6)
        assert (scale < 1).all()
        real = node.weights * node.weight_scale[:, None, None, None]
        wanted = dense[node.name].weights
        assert np.linalg.norm(real - wanted) < 0.25 * np.linalg.norm(wanted)


def test_nothing_else_changes(graph, fit):
    network = fit(8)
    assert network.graph.tensors == graph.tensors
    for before, after in zip(graph.nodes, network.graph.nodes, strict=True):
        if isinstance(before, Conv):
            assert (after.low, after.high, after.padding) == (
                before.low,
                before.high,
                before.padding,
            )
        else:
            assert after is before
    assert all(node.terms is None for node in convolutions(graph))


def test_one_term_per_weight_is_enough(graph, fit):
    assert accuracy(fit(8).graph) >= accuracy(graph) - 0.01


def test_more_beats_lose_less(fit):
    mean = [np.mean(output_errors(fit(beats))) for beats in (1, 2, 5, 8, 16)]
    assert mean == sorted(mean, reverse=True)
    assert mean[-1] < 2e-3


def test_pairs_per_multiplication(fit, graph):
    network = fit(8)
    for layer, node in zip(network.layers, convolutions(graph), strict=True):
        channels = node.weights.shape[3]
        assert layer.pairs == pytest.approx(8 * -(-channels // LANES) / channels)
    assert fit(8, 2).pairs == pytest.approx(2 * network.pairs)
    shares = [layer.terms_after for layer in network.layers]
    assert all(0 < share < 1 for share in shares[1:])


def test_the_same_every_time(model, graph, fit):
    again = fit_terms(model, graph, SAMPLES, lanes=LANES, allowance=Allowance(5), shared=True)
    for one, other in zip(convolutions(fit(5).graph), convolutions(again.graph), strict=True):
        np.testing.assert_array_equal(one.weights, other.weights)
        np.testing.assert_array_equal(one.bias, other.bias)


def test_graphs_in_terms_are_stored(fit):
    for network in (fit(8), fit(8, 2)):
        document, arrays = save_graph(network.graph)
        again = load_graph(document, arrays)
        for one, other in zip(convolutions(network.graph), convolutions(again), strict=True):
            assert one.terms == other.terms
            np.testing.assert_array_equal(one.weights, other.weights)


# --- Terms of their own: activations are limited as well -----------------------------------------


@pytest.mark.parametrize(("weights", "data"), [(4, 2), (8, 2), (8, 4)])
def test_groups_keep_their_budget(fit, weights, data):
    for node in convolutions(fit(weights, data).graph):
        assert (node.terms.weights, node.terms.data) == (weights, data)
        assert node.terms.exponents == ()
        assert count(grouped(node.weights)).sum(axis=1).max() <= weights
        np.testing.assert_array_equal(
            limit(node.weights, group=LANES, budget=weights), node.weights
        )


def test_more_data_terms_lose_less(fit):
    mean = [np.mean(output_errors(fit(8, data))) for data in (1, 2, 4)]
    assert mean == sorted(mean, reverse=True)


def test_compensation_beats_dropping(model, graph, fit):
    wanted = outputs(graph)[0]
    dropped = limit_terms(graph, group=LANES, budget=4, data_terms=2, more=None)
    errors = [np.square(outputs(g)[0] - wanted).mean() for g in (dropped, fit(4, 2).graph)]
    assert errors[1] < 0.5 * errors[0]


def test_the_first_layer_may_keep_more(model, graph):
    network = fit_terms(
        model, graph, SAMPLES, lanes=LANES, allowance=Allowance(4, 2), shared=False, more=MORE
    )
    first, *others = network.layers
    assert (first.terms.weights, first.terms.data) == (4, 4)  # one channel: a weight has no more
    assert {(layer.terms.weights, layer.terms.data) for layer in others} == {(4, 2)}


# --- As few as a bound allows --------------------------------------------------------------------


@pytest.mark.parametrize("shared", [True, False])
def test_auto_keeps_to_its_bound(model, graph, shared):
    tight, loose = (
        fit_terms(
            model,
            graph,
            SAMPLES[:24],
            lanes=LANES,
            allowance="auto",
            shared=shared,
            max_loss=bound,
        )
        for bound in (0.01, 0.1)
    )
    assert loose.pairs < tight.pairs
    for network, bound in ((tight, 0.01), (loose, 0.1)):
        for layer in network.layers:
            assert layer.output_error <= bound or layer.terms.weights == 16
            assert (layer.terms.data == 0) == shared
    assert accuracy(tight.graph) >= accuracy(graph) - 0.015


def test_a_bound_of_nothing_takes_all_terms(model, graph):
    network = fit_terms(
        model, graph, SAMPLES[:8], lanes=LANES, allowance="auto", shared=True, max_loss=0.0
    )
    assert {layer.terms.weights for layer in network.layers} == {16}


def test_progress(model, graph):
    seen = []
    fit_terms(model, graph, SAMPLES[:16], lanes=LANES, allowance=Allowance(2), shared=True,
              progress=lambda *now: seen.append(now))  # fmt: skip
    names = [node.name for node in convolutions(graph)]
    assert seen == [(number, len(names), name) for number, name in enumerate(names)]


# --- Rounding of one layer -----------------------------------------------------------------------


def random_layer(channels=12, filters=6, seed=0):
    rng = np.random.default_rng(seed)
    weights = rng.normal(size=(filters, 3, 3, channels)).astype(np.float32)
    node = FloatConv(
        name="y", input="x", weights=weights, bias=rng.normal(size=filters).astype(np.float32),
        stride=(1, 1), padding=(1, 1, 1, 1),
    )  # fmt: skip
    mixed = rng.normal(size=(channels, channels)) + 0.5
    x = np.maximum(rng.normal(size=(20, 6, 6, channels)) @ mixed, 0).astype(np.float32)
    return node, x


def test_groups_of_lanes():
    groups = lane_groups((4, 2, 1, 11), 8)
    assert [group.tolist() for group in groups] == [
        list(range(8)), [8, 9, 10], list(range(11, 19)), [19, 20, 21],
    ]  # fmt: skip


@pytest.mark.parametrize("slots", [6, (2, 1, 1, 0, 0, 0)])
def test_losses_made_good_are_smaller(slots):
    node, x = random_layer()
    dense = node.weights.reshape(6, -1).astype(np.float64)
    seen = Observations.of(node, x, x)
    rounding = Rounding(seen, dense, lane_groups(node.weights.shape, 8))
    np.testing.assert_allclose(rounding.wanted, dense, atol=1e-6)  # nothing is missing yet
    units = np.full(6, 1.2 / (4 if slots != 6 else 32))
    alone = np.concatenate(
        [pursue(dense[:, group] / units[:, None], slots) for group in rounding.groups], axis=1
    )
    spread = rounding.round(units, slots)
    better = rounding.improve(spread, units, slots)
    losses = [rounding.losses(values, units) for values in (alone, spread, better)]
    assert losses[1].sum() < 0.6 * losses[0].sum()
    assert (losses[2] <= losses[1] * (1 + 1e-9)).all()
    for values in (alone, spread, better):
        weights = values * units[:, None]
        error = seen.error(weights, rounding.bias(weights))
        shifted = seen.error(weights, rounding.bias(weights) + 0.01)
        assert error < shifted


# --- The published scheme ------------------------------------------------------------------------


def test_limited_weights(graph):
    limited = limit_terms(graph, group=4, budget=5, data_terms=3, encoding="hese")
    first, *others = zip(convolutions(graph), convolutions(limited), strict=True)
    np.testing.assert_array_equal(first[0].weights, first[1].weights)
    assert (first[1].terms.weights, first[1].terms.data) == (4, 4)
    for before, after in others:
        expected = limit(before.weights, group=4, budget=5)
        np.testing.assert_array_equal(after.weights, expected)
        assert (after.terms.weights, after.terms.data, after.terms.encoding) == (5, 3, "hese")
        np.testing.assert_array_equal(after.bias, before.bias)
    again = limit_terms(limited, group=4, budget=5, data_terms=3, encoding="hese")
    for one, other in zip(convolutions(limited), convolutions(again), strict=True):
        np.testing.assert_array_equal(one.weights, other.weights)


def test_limits_are_monotone(graph):
    errors = []
    for budget in (1, 2, 4, 8, 16):
        limited = limit_terms(graph, group=LANES, budget=budget, more=None)
        assert all(node.terms.data == 0 for node in convolutions(limited))
        errors.append(
            sum(
                np.square(a.weights.astype(int) - b.weights).sum()
                for a, b in zip(convolutions(graph), convolutions(limited), strict=True)
            )
        )
    assert errors == sorted(errors, reverse=True)


def test_first_and_depthwise_layers_get_more():
    dense = np.ones((4, 3, 3, 4), np.int8)
    depthwise = dense * np.eye(4, dtype=np.int8)[:, None, None, :]
    assert needs_more(dense, is_first=True)
    assert not needs_more(dense, is_first=False)
    assert needs_more(depthwise, is_first=False)
    assert not needs_more(np.ones((1, 1, 1, 1)), is_first=False)
    assert not needs_more(np.ones((4, 3, 3, 8)), is_first=False)


# --- Bad input -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weights", "data", "shared", "message"),
    [
        (0, 0, True, r"weight terms of a group must be 1\.\.16, which cells store, not 0"),
        (17, 0, True, r"must be 1\.\.16"),
        (True, 0, True, r"must be an integer 1\.\.16, not True"),
        (8, 2, True, "'term' takes whole activations"),
        (8, 0, False, "'term_pair' takes 1..4 terms"),
        (8, 5, False, r"terms of an activation must be 1\.\.4"),
        (8, -1, False, r"terms of an activation must be 1\.\.4"),
    ],
)
def test_bad_allowances(model, graph, weights, data, shared, message):
    with pytest.raises(ConfigError, match=message):
        fit_terms(model, graph, SAMPLES, lanes=LANES, allowance=Allowance(weights, data),
                  shared=shared)  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_loss": 1.0}, "max_loss must be at least 0 and below 1"),
        ({"max_loss": float("nan")}, "max_loss must be"),
        ({"encoding": "booth"}, "no encoding 'booth'"),
        ({"encoding": "binary"}, "encodings: naf, hese"),
        ({"more": Allowance(99)}, r"must be 1\.\.16"),
    ],
)
def test_bad_options(model, graph, options, message):
    with pytest.raises(ConfigError, match=message):
        fit_terms(model, graph, SAMPLES, lanes=LANES, allowance=Allowance(8), shared=True,
                  **options)  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"budget": 0}, r"must be 1\.\.16"),
        ({"budget": 17}, r"must be 1\.\.16"),
        ({"budget": 8, "data_terms": 5}, r"terms of an activation must be 1\.\.4"),
        ({"budget": 8, "encoding": "x"}, "no encoding 'x'"),
        ({"budget": 8, "group": 0}, "group must be an integer from 1"),
    ],
)
def test_bad_limits(graph, options, message):
    with pytest.raises(ConfigError, match=message):
        limit_terms(graph, **{"group": 8, **options})


def test_cells_that_keep_no_terms():
    demo = load_config("demo")
    with pytest.raises(ConfigError, match="'bit_plane' cells, which keep no terms"):
        check_cell(demo)
    term = dataclasses.replace(demo, cell="term")
    check_cell(term, term.lanes)
    with pytest.raises(ConfigError, match="the group must be 8"):
        check_cell(term, 4)
