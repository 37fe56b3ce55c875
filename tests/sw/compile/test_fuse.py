"""Which nodes become one layer, and which stay apart."""

import numpy as np
import pytest
from termac.compile.fuse import fuse
from termac.errors import ModelError
from termac.graph import Node

from tests.sw.random_graphs import Builder

NONE = (0, 0, 0, 0)


def build(channels=4):
    return Builder(np.random.default_rng(0), (6, 6, channels))


def nodes(graph, one=True):
    return [layer.nodes for layer in fuse(graph, is_faster=lambda *layers: one)]


def test_sum_joins_the_latest_convolution_that_only_it_reads():
    graph = build()
    first = graph.conv(4)
    second = graph.conv(4, source="input")
    graph.add(first, second)
    layers = fuse(graph.graph(), is_faster=lambda *_: True)
    assert [layer.nodes for layer in layers] == [("conv0",), ("conv1", "add2")]
    assert layers[1].residual.tensor == "conv0"
    assert layers[1].residual.swapped


@pytest.mark.parametrize("kind", ["average", "shortcut"])
def test_sum_prefers_a_convolution_to_a_later_node_without_weights(kind):
    graph = build()
    conv = graph.conv(4)
    graph.last = "input"
    if kind == "average":
        other = graph.average((3, 3), (1, 1), (1, 1, 1, 1))
    else:
        other = graph.shortcut("input", (1, 1), 0, 0)
    graph.add(conv, other)
    assert nodes(graph.graph()) == [(other,), (conv, "add2")]


def test_sum_joins_a_node_without_weights_if_the_convolution_is_read_again():
    graph = build()
    conv = graph.conv(4)
    graph.last = "input"
    mean = graph.average((3, 3), (1, 1), (1, 1, 1, 1))
    total = graph.add(conv, mean)
    graph.add(conv, total)
    assert nodes(graph.graph()) == [(conv,), (mean, total), ("add3",)]


def test_sum_of_a_tensor_with_itself_is_an_identity_of_it():
    graph = build()
    conv = graph.conv(4)
    graph.add(conv, conv)
    layers = fuse(graph.graph(), is_faster=lambda *_: True)
    assert [layer.nodes for layer in layers] == [(conv,), ("add1",)]
    assert (layers[1].input, layers[1].residual.tensor) == (conv, conv)


def test_output_of_the_network_stays_a_layer():
    graph = build()
    conv = graph.conv(4)
    graph.add(conv, "input")
    network = graph.graph()
    assert nodes(network) == [(conv, "add1")]
    network.output = conv
    assert nodes(network) == [(conv,), ("add1",)]


@pytest.mark.parametrize("one", [True, False])
def test_maximum_joins_its_convolution_if_that_is_faster(one):
    graph = build()
    conv = graph.conv(4)
    graph.max_pool((2, 2), (2, 2))
    asked = []

    def is_faster(*layers):
        asked.append([layer.nodes for layer in layers])
        return one

    layers = fuse(graph.graph(), is_faster=is_faster)
    assert asked == [[(conv,), ("max1",), (conv, "max1")]]
    assert [x.nodes for x in layers] == ([(conv, "max1")] if one else [(conv,), ("max1",)])
    assert layers[-1].pool == layers[-1].pool_stride == (2, 2)


def test_maximum_with_padding_and_maximum_of_a_sum_stay_apart():
    graph = build()
    conv = graph.conv(4)
    graph.max_pool((2, 2), (2, 2), (1, 1, 1, 1))
    assert nodes(graph.graph()) == [(conv,), ("max1",)]
    graph = build()
    total = graph.add("input", "input")
    graph.max_pool((2, 2), (2, 2))
    assert nodes(graph.graph()) == [(total,), ("max1",)]


def test_unknown_operators_are_refused_by_name():
    class Unknown(Node):
        input = "input"

        def output_shape(self, shapes):
            return shapes[self.input]

        def evaluate(self, values, tensors):
            return values[self.input]

    graph = build()
    graph.conv(4)
    network = graph.graph()
    network.nodes.append(Unknown(name="what"))
    with pytest.raises(ModelError, match="node 'what': operator Unknown has no entry"):
        nodes(network)
