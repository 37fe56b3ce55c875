"""Every operator has what an operator needs, and one made up here works without any other edit."""

import dataclasses
import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from termac.arch import load_config
from termac.compile import compile_graph
from termac.compile.layers import JOINS, LAYERS, Layer, Linear
from termac.compress.quantize.operators import RULES, Rule, Scales
from termac.compress.quantize.quantize import quantize
from termac.errors import ImageError, ModelError
from termac.frontend.merge import Affine, Relu
from termac.frontend.onnx.importer import Importer
from termac.frontend.onnx.operators import OPERATIONS
from termac.graph import FloatConv, FloatGraph, FloatNode, Graph, Node, Tensor, golden, operators
from termac.graph.file import load_graph, save_graph
from termac.graph.node import table_entry
from termac.graph.operators.add import ADD_SHIFT
from termac.graph.requantize import quantize_multiplier, requantize

from tests.sw.interpreter import Interpreter
from tests.sw.onnx_files import node, write_model
from tests.sw.random_graphs import CONFIGS, Builder, random_input


def own(base):
    """Operators of the package itself, by name of the class."""
    return {n: k for n, k in base.kinds().items() if k.__module__.startswith("termac.")}


FLOAT, INTEGER = own(FloatNode), own(Node)


def test_an_operator_is_one_file_with_both_nodes():
    files = {kind.__module__ for kind in INTEGER.values()}
    assert len(files) == len(INTEGER) == len(FLOAT) == 5
    assert {name: kind.__module__ for name, kind in FLOAT.items()} == {
        f"Float{name}": kind.__module__ for name, kind in INTEGER.items()
    }
    assert all(file.startswith("termac.graph.operators.") for file in files)
    assert set(operators.__all__) == set(FLOAT) | set(INTEGER)


def test_every_operator_is_in_every_table():
    assert set(FLOAT.values()) <= set(RULES)
    assert set(INTEGER.values()) <= set(LAYERS)
    pairs = {kind for pair in JOINS for kind in pair}
    assert pairs <= set(LAYERS)


@pytest.mark.parametrize("kind", [*FLOAT.values(), *INTEGER.values()])
def test_fields_that_name_tensors_are_fields(kind):
    names = [field.name for field in dataclasses.fields(kind)]
    assert set(kind.READS) <= set(names)
    assert names[0] == "name"  # a file's records begin with it


def one_of_each():
    """A graph in which every integer operator occurs."""
    build = Builder(np.random.default_rng(0), (6, 6, 4))
    first = build.conv(4)
    second = build.conv(4, source=first, bits=5)
    build.add(first, second)
    build.max_pool((2, 2), (2, 2))
    build.average((2, 2), (1, 1))
    build.last = build.shortcut(build.last, (1, 1), 1, 2)
    build.conv(3, kernel=(2, 2), padding=(0, 0, 0, 0))
    return build.graph()


def test_every_operator_survives_the_file():
    graph = one_of_each()
    assert {type(node) for node in graph.nodes} == set(INTEGER.values())
    document, arrays = save_graph(graph)
    again = load_graph(json.loads(json.dumps(document)), arrays)
    for one, other in zip(graph.nodes, again.nodes, strict=True):
        assert type(one) is type(other)
        for field in dataclasses.fields(one):
            np.testing.assert_array_equal(getattr(one, field.name), getattr(other, field.name))
    x = np.random.default_rng(1).integers(-128, 128, (2, 6, 6, 4)).astype(np.int8)
    values = golden.run(graph, x)
    for name, found in golden.run(again, x).items():
        np.testing.assert_array_equal(found, values[name])


def test_shapes_are_those_of_the_values():
    graph = one_of_each()
    values = golden.run(graph, np.zeros((1, 6, 6, 4), np.int8))
    shapes = {name: tensor.shape for name, tensor in graph.tensors.items()}
    for entry in graph.nodes:
        assert entry.output_shape(shapes) == values[entry.name].shape[1:]


@pytest.mark.parametrize("change", ["shape", "stride", "kernel", "weights", "operand"])
def test_nodes_that_contradict_their_tensors_are_refused(change):
    graph = one_of_each()
    document, arrays = save_graph(graph)
    nodes = {record["kind"]: record for record in document["nodes"]}
    if change == "shape":
        document["tensors"][-1]["shape"] = [4, 4, 4]
        message = r"node 'conv6': shape is \(4, 4, 4\)"
    elif change == "stride":
        nodes["MaxPool"]["stride"] = [0, 1]
        message = "node 'max3': window"
    elif change == "kernel":
        nodes["AvgPool"]["kernel"] = [9, 9]
        message = "node 'mean4': a window of .* does not fit"
    elif change == "weights":
        arrays["0001.weights"] = np.zeros((4, 3, 3, 7), np.int16)
        message = "node 'conv1': weights take 7 channels, the input has 4"
    else:
        nodes["Add"]["second"] = "input"
        document["tensors"][0]["shape"] = [6, 6, 3]
        arrays["0000.weights"] = np.zeros((4, 3, 3, 3), np.int16)
        message = "node 'add2': operands differ in shape"
    with pytest.raises(ImageError, match=message):
        load_graph(document, arrays)


# --- An operator of the test's own -------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class FloatJoin(FloatNode):
    """Concatenation of two tensors along the channels."""

    READS = ("first", "second")

    first: str
    second: str

    def output_shape(self, shapes):
        return joined_shape(shapes[self.first], shapes[self.second])

    def evaluate(self, values):
        return np.concatenate([values[self.first], values[self.second]], axis=-1)


@dataclass(frozen=True, kw_only=True)
class Join(Node):
    """Concatenation in integers; each operand is requantized to the scale of the output."""

    READS = ("first", "second")

    first: str
    second: str
    multipliers: tuple[int, int]
    shifts: tuple[int, int]
    axis: str = "channels"

    def output_shape(self, shapes):
        return joined_shape(shapes[self.first], shapes[self.second])

    def evaluate(
        self, values: Mapping[str, NDArray[np.int8]], tensors: Mapping[str, Tensor]
    ) -> NDArray[np.int8]:
        out, parts = tensors[self.name], []
        for name, multiplier, shift in zip(self.inputs, self.multipliers, self.shifts, strict=True):
            centred = (values[name].astype(np.int64) - tensors[name].zero_point) << ADD_SHIFT
            parts.append(requantize(centred, multiplier, shift) + out.zero_point)
        return np.clip(np.concatenate(parts, axis=-1), *out.limits).astype(np.int8)


def joined_shape(first, second):
    if first[:2] != second[:2]:
        raise ValueError(f"images differ in size: {first} and {second}")
    return (*first[:2], first[2] + second[2])


def quantized(float_node: FloatJoin, scales: Scales) -> Join:
    out = scales.of(float_node.name)
    pairs = [
        quantize_multiplier(scales.of(name) / (out * (1 << ADD_SHIFT)))
        for name in float_node.inputs
    ]
    return Join(
        name=float_node.name,
        first=float_node.first,
        second=float_node.second,
        multipliers=(pairs[0][0], pairs[1][0]),
        shifts=(pairs[0][1], pairs[1][1]),
    )


def imported(op) -> None:
    first, second = op.value(0), op.value(1)
    name = op.importer.node_name(op)
    op.emit(FloatJoin(name=name, first=first.tensor, second=second.tensor))


@pytest.fixture
def model(tmp_path):
    """The float graph of a network with a concatenation, read from a file."""
    rng = np.random.default_rng(3)
    nodes = [
        node("Conv", "x w1", "a"),
        node("Conv", "x w2", "b"),
        node("Relu", "b", "r"),
        node("Concat", "a r", "cat", axis=1),
        node("Conv", "cat w3", "y"),
    ]
    sizes = {"w1": (4, 3, 3, 3), "w2": (2, 3, 3, 3), "w3": (5, 6, 1, 1)}
    weights = {name: rng.normal(size=size).astype(np.float32) for name, size in sizes.items()}
    path = write_model(tmp_path / "m.onnx", nodes, weights)
    return Importer(onnx.load(str(path)), path).run({**OPERATIONS, "Concat": imported})


@pytest.fixture
def rule(monkeypatch):
    monkeypatch.setitem(RULES, FloatJoin, Rule(quantized))


def test_a_new_operator_is_read_and_merged_around(model):
    assert [type(entry).__name__ for entry in model.nodes] == [
        "FloatConv", "FloatConv", "FloatJoin", "FloatConv"
    ]  # fmt: skip
    assert model.nodes[1].relu
    assert model.nodes[2].inputs == ("a", "b")  # the ReLU is part of the convolution
    assert model.shapes["cat"] == (6, 6, 6)


def test_a_new_operator_runs_in_integers_as_in_floating_point(model, rule):
    x = np.random.default_rng(4).normal(size=(50, *model.input_layout))
    graph = quantize(model, x)
    assert type(graph.nodes[2]) is Join
    values, stored = (
        model.evaluate(model.samples(x)),
        golden.run(graph, golden.quantize_input(graph, x)),
    )
    for name in ("a", "b", "cat", "y"):
        tensor = graph.tensors[name]
        real = tensor.scale * (stored[name].astype(float) - tensor.zero_point)
        error = np.square(real - values[name]).mean() / values[name].var()
        assert error < 1e-3


def test_a_new_operator_survives_the_file(model, rule):
    x = np.random.default_rng(5).normal(size=(20, *model.input_layout))
    graph = quantize(model, x)
    document, arrays = save_graph(graph)
    record = document["nodes"][2]
    assert (record["kind"], record["axis"]) == ("Join", "channels")
    del record["axis"]  # a field with a default: files from before it was there still load
    again = load_graph(json.loads(json.dumps(document)), arrays)
    assert again.nodes[2] == graph.nodes[2]
    record["multipliers"] = [1]
    with pytest.raises(ImageError, match=r"2 values expected, not \[1\]"):
        load_graph(document, arrays)


def test_what_does_not_know_an_operator_names_it(model, rule, monkeypatch):
    x = np.random.default_rng(6).normal(size=(20, *model.input_layout))
    graph = quantize(model, x)
    with pytest.raises(ModelError, match=r"node 'cat': operator Join has no entry.*LAYERS") as why:
        compile_graph(graph, load_config("tiny"))
    assert "\n" not in str(why.value)
    monkeypatch.delitem(RULES, FloatJoin)
    with pytest.raises(ModelError, match=r"node 'cat': operator FloatJoin has no entry.*RULES"):
        quantize(model, x)


@dataclass(frozen=True, kw_only=True)
class FloatReversed(FloatNode):
    """Channels in reverse order."""

    KEEPS_VALUES = True

    input: str

    def output_shape(self, shapes):
        return shapes[self.input]

    def evaluate(self, values):
        return values[self.input][..., ::-1]


@dataclass(frozen=True, kw_only=True)
class Reversed(Node):
    """Channels in reverse order, in integers."""

    input: str

    def output_shape(self, shapes):
        return shapes[self.input]

    def evaluate(self, values, tensors):
        return values[self.input][..., ::-1]


def layer(graph: Graph, entry: Reversed) -> Layer:
    """A 1x1 convolution with a reversed identity: 2 * 2**30 is exactly one."""
    source = graph.tensors[entry.input]
    channels = source.shape[2]
    weights = 2 * np.eye(channels, dtype=np.int16)[::-1].reshape(channels, 1, 1, channels)
    linear = Linear(
        weights=weights,
        bias=np.full(channels, -2 * source.zero_point),
        multiplier=np.full(channels, 1 << 30),
        shift=np.zeros(channels, np.int64),
        stride=(1, 1),
        padding=(0, 0),
        low=source.limits[0],
        high=source.limits[1],
        zero=source.zero_point,
        pad_value=source.zero_point,
    )
    return Layer(name=entry.name, nodes=(entry.name,), input=entry.input, linear=linear)


@pytest.mark.parametrize("config", CONFIGS[::5], ids=lambda config: config.name)
def test_a_new_operator_of_a_layer_runs_on_the_machine(config, monkeypatch):
    monkeypatch.setitem(
        RULES, FloatReversed, Rule(lambda entry, _: Reversed(name=entry.name, input=entry.input))
    )
    monkeypatch.setitem(LAYERS, Reversed, layer)
    rng = np.random.default_rng(7)
    conv = FloatConv(
        name="c",
        input="x",
        weights=rng.normal(size=(5, 3, 3, 3)).astype(np.float32),
        bias=rng.normal(size=5).astype(np.float32),
        stride=(1, 1),
        padding=(1, 1, 1, 1),
    )
    model = FloatGraph(
        name="reversed",
        shapes={"x": (4, 4, 3), "c": (4, 4, 5), "y": (4, 4, 5)},
        nodes=[conv, FloatReversed(name="y", input="c")],
        input="x",
        output="y",
        input_layout=(3, 4, 4),
        output_layout=(5, 4, 4),
    )
    graph = quantize(model, rng.normal(size=(20, 3, 4, 4)))
    assert graph.tensors["y"].scale == graph.tensors["c"].scale
    x = random_input(graph, 8)
    expected = golden.run(graph, x[None])
    np.testing.assert_array_equal(expected["y"], expected["c"][..., ::-1])
    image = compile_graph(graph, config)
    machine = Interpreter(image)
    words = image.store_input(x)
    machine.activations[image.input.base : image.input.base + len(words)] = words
    assert len(list(machine.run())) == 2
    np.testing.assert_array_equal(image.output.load(machine.activations), expected["y"][0])


def test_an_operator_that_computes_nothing_cannot_be_made():
    class Forgotten(FloatNode):
        def output_shape(self, shapes):
            return (1, 1, 1)

    assert inspect.isabstract(Forgotten)
    with pytest.raises(TypeError, match="evaluate"):
        Forgotten(name="y")
    assert "Forgotten" not in FloatNode.kinds()


def test_nodes_of_the_frontend_alone_are_no_operators():
    assert {Affine, Relu}.isdisjoint(FloatNode.kinds().values())
    relu = Relu(name="r", input="x", ceiling=None)
    with pytest.raises(ModelError, match="node 'r': operator Relu has no entry for a test"):
        table_entry(RULES, relu, "a test")


def test_graph_of_a_new_operator_is_a_graph(model, rule):
    graph = quantize(model, np.zeros((1, *model.input_layout)))
    assert isinstance(graph, Graph)
    assert graph.nodes[2].reading("p", "q").inputs == ("p", "q")
