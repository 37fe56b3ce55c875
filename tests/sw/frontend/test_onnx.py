"""Operators of ONNX files against the ONNX reference evaluator; errors by message."""

import numpy as np
import onnx
import pytest
from termac.errors import InputError, ModelError
from termac.frontend import (
    FloatAdd,
    FloatAvgPool,
    FloatConv,
    FloatMaxPool,
    FloatShortcut,
    load_onnx,
)

from tests.sw.onnx_files import node, reference, write_model

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.normal(size=shape).astype(np.float32)


def agree(path, layout=(3, 8, 8)):
    """Load, compare with the reference evaluator (samples one by one), return the graph."""
    graph = load_onnx(path)
    assert graph.input_layout == layout
    x = normal(3, *layout)
    expected = np.concatenate([reference(path, sample[None]) for sample in x])
    assert graph.output_layout == expected.shape[1:]
    np.testing.assert_allclose(graph.predict(x), expected, rtol=1e-4, atol=1e-4)
    values = graph.evaluate(graph.samples(x))
    assert {name: v.shape[1:] for name, v in values.items()} == graph.shapes
    return graph


W3 = normal(4, 3, 3, 3)
CONV = {"w": W3, "b": normal(4)}


@pytest.mark.parametrize(
    "attributes",
    [
        {},
        {"pads": [1, 1, 1, 1]},
        {"pads": [0, 1, 2, 0], "strides": [2, 3]},
        {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
        {"auto_pad": "SAME_LOWER", "strides": [2, 2]},
        {"auto_pad": "VALID", "kernel_shape": [3, 3], "dilations": [1, 1]},
    ],
)
def test_conv(tmp_path, attributes):
    graph = agree(
        write_model(tmp_path / "m.onnx", [node("Conv", "x w b", "y", **attributes)], CONV)
    )
    (conv,) = graph.nodes
    assert isinstance(conv, FloatConv)
    assert conv.weights.shape == (4, 3, 3, 3)
    assert conv.weights.dtype == conv.bias.dtype == np.float32
    assert not conv.relu


def test_conv_without_bias_uneven_kernel(tmp_path):
    nodes = [node("Conv", "x w", "y", pads=[0, 2, 0, 2])]
    agree(write_model(tmp_path / "m.onnx", nodes, {"w": normal(2, 3, 1, 5)}))


@pytest.mark.parametrize("kind", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize(
    "attributes",
    [
        {"kernel_shape": [2, 2], "strides": [2, 2]},
        {"kernel_shape": [3, 2], "strides": [1, 3], "pads": [1, 0, 2, 1], "count_include_pad": 1},
        {"kernel_shape": [8, 8]},
    ],
)
def test_pools(tmp_path, kind, attributes):
    attributes = dict(attributes)
    if kind == "MaxPool":
        attributes.pop("count_include_pad", None)
    graph = agree(write_model(tmp_path / "m.onnx", [node(kind, "x", "y", **attributes)]))
    assert isinstance(graph.nodes[0], FloatMaxPool if kind == "MaxPool" else FloatAvgPool)


def test_max_pool_ceil_mode(tmp_path):
    nodes = [node("MaxPool", "x", "y", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)]
    graph = agree(write_model(tmp_path / "m.onnx", nodes))
    assert graph.shapes["y"] == (4, 4, 3)
    assert graph.nodes[0].padding == (0, 0, 1, 1)


@pytest.mark.parametrize("kind", ["GlobalAveragePool", "GlobalMaxPool"])
def test_global_pools(tmp_path, kind):
    graph = agree(write_model(tmp_path / "m.onnx", [node(kind, "x", "y")]))
    assert graph.output_layout == (3, 1, 1)


@pytest.mark.parametrize("keepdims", [0, 1])
def test_reduce_mean(tmp_path, keepdims):
    nodes = [node("ReduceMean", "x", "y", axes=[-1, -2], keepdims=keepdims)]
    agree(write_model(tmp_path / "m.onnx", nodes, opset=17))
    nodes = [node("ReduceMean", "x axes", "y", keepdims=keepdims)]
    axes = {"axes": np.array([2, 3])}
    agree(write_model(tmp_path / "m.onnx", nodes, axes, opset=18))


def test_relu_and_clip_are_fused(tmp_path):
    nodes = [
        node("Conv", "x w b", "c"),
        node("MaxPool", "c", "p", kernel_shape=[2, 2]),
        node("Relu", "p", "r"),
        node("Clip", "r lo hi", "y"),
    ]
    limits = {"lo": np.float32(0), "hi": np.float32(1.5)}
    graph = agree(write_model(tmp_path / "m.onnx", nodes, CONV | limits))
    conv, pool = graph.nodes
    assert conv.relu
    assert conv.ceiling == 1.5
    assert isinstance(pool, FloatMaxPool)
    assert graph.output == pool.name


def test_relu_of_a_shared_tensor_stays_alone(tmp_path):
    nodes = [
        node("Conv", "x w b", "c"),
        node("Relu", "c", "r"),
        node("Add", "c r", "y"),
    ]
    graph = agree(write_model(tmp_path / "m.onnx", nodes, CONV))
    conv, relu, add = graph.nodes
    assert not conv.relu
    assert isinstance(relu, FloatAvgPool)
    assert relu.relu
    assert relu.kernel == (1, 1)
    assert isinstance(add, FloatAdd)
    assert not add.relu


def test_residual_addition_with_relu(tmp_path):
    nodes = [
        node("Conv", "x w b", "c", pads=[1, 1, 1, 1]),
        node("Conv", "x w2", "d", pads=[1, 1, 1, 1]),
        node("Add", "c d", "a"),
        node("Relu", "a", "y"),
    ]
    graph = agree(write_model(tmp_path / "m.onnx", nodes, CONV | {"w2": normal(4, 3, 3, 3)}))
    assert [type(n).__name__ for n in graph.nodes] == ["FloatConv", "FloatConv", "FloatAdd"]
    assert graph.nodes[2].relu


BN = {
    "g": normal(4),
    "be": normal(4),
    "me": normal(4),
    "va": np.abs(normal(4)) + 0.1,
}


def test_batch_normalization_is_folded(tmp_path):
    nodes = [
        node("Conv", "x w b", "c", pads=[1, 1, 1, 1]),
        node("BatchNormalization", "c g be me va", "n", epsilon=1e-3),
        node("Relu", "n", "y"),
    ]
    graph = agree(write_model(tmp_path / "m.onnx", nodes, CONV | BN))
    assert len(graph.nodes) == 1
    assert graph.nodes[0].relu


@pytest.mark.parametrize("padding", [0, 1])
def test_batch_normalization_before_conv(tmp_path, padding):
    # with padding the zeros around the image must stay zeros: not foldable into the convolution
    nodes = [
        node("BatchNormalization", "x g be me va", "n"),
        node("Conv", "n w b", "y", pads=[padding] * 4),
    ]
    bn = {key: value[:3] for key, value in BN.items()}
    graph = agree(write_model(tmp_path / "m.onnx", nodes, CONV | bn))
    assert len(graph.nodes) == 1 + padding
    assert len(graph.notes) == padding


def test_preactivation_block(tmp_path):
    nodes = [
        node("Conv", "x w b", "c", pads=[1, 1, 1, 1]),
        node("BatchNormalization", "c g be me va", "n"),
        node("Relu", "n", "r"),
        node("Conv", "r w2", "d", pads=[1, 1, 1, 1]),
        node("Add", "d c", "y"),
    ]
    graph = agree(write_model(tmp_path / "m.onnx", nodes, CONV | BN | {"w2": normal(4, 4, 3, 3)}))
    assert [type(n).__name__ for n in graph.nodes] == ["FloatConv"] * 3 + ["FloatAdd"]
    assert graph.nodes[1].relu
    assert "scaling 'n' could not be merged" in graph.notes[0]


@pytest.mark.parametrize(
    ("kind", "inputs", "shape"),
    [
        ("Add", "c k", (4, 1, 1)),
        ("Add", "k c", (1, 4, 1, 1)),
        ("Sub", "c k", (4, 1, 1)),
        ("Sub", "k c", (4, 1, 1)),
        ("Mul", "c k", (1,)),
        ("Mul", "k c", (4, 1, 1)),
        ("Div", "c k", (4, 1, 1)),
    ],
)
def test_constant_arithmetic_becomes_weights(tmp_path, kind, inputs, shape):
    nodes = [node("Conv", "x w b", "c"), node(kind, inputs, "y")]
    graph = agree(write_model(tmp_path / "m.onnx", nodes, CONV | {"k": normal(*shape) + 3}))
    assert len(graph.nodes) == 1


def test_normalization_inside_the_model(tmp_path):
    nodes = [
        node("Sub", "x m", "a"),
        node("Div", "a s", "b0"),
        node("Conv", "b0 w b", "y", pads=[1, 1, 1, 1]),
    ]
    constants = {"m": normal(1, 3, 1, 1), "s": np.abs(normal(1, 3, 1, 1)) + 0.5}
    graph = agree(write_model(tmp_path / "m.onnx", nodes, CONV | constants))
    assert [n.weights.shape[1:3] for n in graph.nodes] == [(1, 1), (3, 3)]


def test_option_a_shortcut(tmp_path):
    ends = np.array([np.iinfo(np.int64).max])
    nodes = [
        node("Slice", "x zero ends two_axis step", "s1"),
        node("Slice", "s1 zero ends three_axis step", "s2"),
        node("Pad", "s2 pads", "y"),
    ]
    constants = {
        "zero": np.array([0]),
        "ends": ends,
        "two_axis": np.array([2]),
        "three_axis": np.array([-1]),
        "step": np.array([2]),
        "pads": np.array([0, 1, 0, 0, 0, 2, 0, 0]),
    }
    graph = agree(write_model(tmp_path / "m.onnx", nodes, constants))
    (shortcut,) = graph.nodes
    assert isinstance(shortcut, FloatShortcut)
    assert (shortcut.stride, shortcut.before, shortcut.after) == ((2, 2), 1, 2)


def test_concatenation_with_zeros(tmp_path):
    nodes = [node("Concat", "x z", "y", axis=1)]
    graph = agree(write_model(tmp_path / "m.onnx", nodes, {"z": np.zeros((1, 2, 8, 8), "f4")}))
    assert (graph.nodes[0].before, graph.nodes[0].after) == (0, 2)


def test_spatial_pad_moves_into_conv(tmp_path):
    nodes = [node("Pad", "x p", "q"), node("Conv", "q w b", "y", pads=[1, 0, 0, 0])]
    constants = {"p": np.array([0, 0, 1, 2, 0, 0, 0, 1])}
    graph = agree(write_model(tmp_path / "m.onnx", nodes, CONV | constants))
    assert graph.nodes[0].padding == (2, 2, 0, 1)


@pytest.mark.parametrize("view", ["flatten", "reshape", "reshape_zero", "computed"])
def test_flatten_before_gemm(tmp_path, view):
    constants = CONV | {
        "fw": normal(5, 4 * 36),
        "fb": normal(5),
        "shape": np.array([-1, 4 * 36]),
        "zero_shape": np.array([0, -1]),
        "first": np.array(0),
        "axes": np.array([0]),
        "rest": np.array([-1]),
    }
    nodes = [node("Conv", "x w b", "c"), node("Relu", "c", "r")]
    nodes += {
        "flatten": [node("Flatten", "r", "f")],
        "reshape": [node("Reshape", "r shape", "f")],
        "reshape_zero": [node("Reshape", "r zero_shape", "f")],
        "computed": [
            node("Shape", "r", "s"),
            node("Gather", "s first", "n", axis=0),
            node("Unsqueeze", "n axes", "u"),
            node("Concat", "u rest", "t", axis=0),
            node("Reshape", "r t", "f"),
        ],
    }[view]
    nodes += [node("Gemm", "f fw fb", "y", transB=1, alpha=0.5, beta=2.0)]
    graph = agree(write_model(tmp_path / "m.onnx", nodes, constants))
    assert graph.nodes[-1].weights.shape == (5, 6, 6, 4)


def test_matmul_and_bias(tmp_path):
    nodes = [node("MatMul", "x w", "m"), node("Add", "m b", "a"), node("Relu", "a", "y")]
    constants = {"w": normal(7, 5), "b": normal(5)}
    graph = agree(write_model(tmp_path / "m.onnx", nodes, constants, shape=(1, 7)), (7,))
    assert graph.shapes == {"x": (1, 1, 7), graph.output: (1, 1, 5)}


def test_flattened_input_is_a_vector(tmp_path):
    nodes = [node("Flatten", "x", "f"), node("Gemm", "f w", "y", transB=1)]
    graph = agree(write_model(tmp_path / "m.onnx", nodes, {"w": normal(5, 192)}))
    assert graph.shapes["x"] == (1, 1, 192)


def test_reshaped_input_is_an_image(tmp_path):
    nodes = [node("Reshape", "x s", "i"), node("Conv", "i w b", "y")]
    constants = CONV | {"s": np.array([-1, 3, 8, 8])}
    agree(write_model(tmp_path / "m.onnx", nodes, constants, shape=(None, 192)), (192,))


def test_flattened_output_keeps_its_order(tmp_path):
    nodes = [node("Conv", "x w b", "c"), node("Flatten", "c", "y")]
    agree(write_model(tmp_path / "m.onnx", nodes, CONV))


@pytest.mark.parametrize(("kind", "name"), [("Softmax", "softmax"), ("LogSoftmax", "log_softmax")])
def test_softmax_is_left_to_the_host(tmp_path, kind, name):
    nodes = [node("MatMul", "x w", "m"), node(kind, "m", "y", axis=1)]
    graph = agree(write_model(tmp_path / "m.onnx", nodes, {"w": normal(7, 5)}, (None, 7)), (7,))
    assert graph.host_op == name
    assert len(graph.nodes) == 1


def test_nodes_that_do_nothing(tmp_path):
    nodes = [
        node("Identity", "x", "i"),
        node("Conv", "i w b", "c"),
        node("Dropout", "c", "d"),
        node("Cast", "d", "e", to=1),
        node("Sigmoid", "e", "unused"),
        node("Identity", "e", "y"),
    ]
    assert len(agree(write_model(tmp_path / "m.onnx", nodes, CONV)).nodes) == 1


def test_constant_subgraph_is_computed(tmp_path):
    nodes = [
        node("Mul", "w two", "w2"),
        node("Cast", "w2", "w3", to=1),
        node("Transpose", "w3", "w4", perm=[0, 1, 3, 2]),
        node("Conv", "x w4 b", "y"),
    ]
    graph = agree(write_model(tmp_path / "m.onnx", nodes, CONV | {"two": np.float32(2)}))
    np.testing.assert_allclose(graph.nodes[0].weights, 2 * W3.transpose(0, 3, 2, 1), rtol=1e-6)


def test_half_precision_weights(tmp_path):
    constants = {key: value.astype(np.float16) for key, value in CONV.items()}
    path = write_model(tmp_path / "m.onnx", [node("Conv", "x w b", "y")], constants, elem_type=10)
    assert load_onnx(path).nodes[0].weights.dtype == np.float32


def test_layers_are_named_after_modules(tmp_path):
    conv = node("Conv", "x layer1.0.conv1.weight", "c")
    scoped = onnx.helper.make_node(
        "Conv", ["c", "onnx::Conv_7"], ["y"], name="/layer1/layer1.0/conv2/Conv"
    )
    constants = {"layer1.0.conv1.weight": W3, "onnx::Conv_7": normal(2, 4, 1, 1)}
    graph = load_onnx(write_model(tmp_path / "m.onnx", [conv, scoped], constants))
    assert [n.name for n in graph.nodes] == ["layer1.0.conv1", "layer1.0.conv2"]


def test_external_data(tmp_path):
    path = write_model(tmp_path / "m.onnx", [node("Conv", "x w b", "y")], CONV)
    onnx.save(
        onnx.load(str(path)), str(path), save_as_external_data=True, size_threshold=0,
        location="m.data",
    )  # fmt: skip
    np.testing.assert_array_equal(load_onnx(path).nodes[0].weights, W3.transpose(0, 2, 3, 1))
    data = tmp_path / "m.data"
    data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(ModelError, match="cannot be read"):
        load_onnx(path)
    data.unlink()
    with pytest.raises(ModelError, match="cannot be read"):
        load_onnx(path)


def test_damaged_files(tmp_path):
    path = tmp_path / "m.onnx"
    with pytest.raises(ModelError, match="no such file"):
        load_onnx(path)
    with pytest.raises(ModelError, match="not a file"):
        load_onnx(tmp_path)
    whole = write_model(path, [node("Conv", "x w b", "y")], CONV).read_bytes()
    for content in (b"", b"hello", b"\x7fELF" + bytes(range(256)), b'{"a": 1}', whole[4:]):
        path.write_bytes(content)
        with pytest.raises(ModelError, match=r"not (an|a valid) ONNX") as caught:
            load_onnx(path)
        assert "\n" not in str(caught.value)
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(ModelError):
            load_onnx(path)


SCALE = {"k": normal(4, 1, 1)}
ERRORS = {
    "group": ([node("Conv", "x w1", "y", group=3)], {"w1": normal(3, 1, 3, 3)}, "group=3"),
    "dilation": ([node("Conv", "x w", "y", dilations=[2, 2])], CONV, "dilations"),
    "channels": ([node("Conv", "x w1", "y")], {"w1": normal(2, 5, 1, 1)}, "takes 5 channels"),
    "kernel": ([node("Conv", "x w1", "y")], {"w1": normal(2, 3, 9, 9)}, "does not fit"),
    "nan": ([node("Conv", "x w1", "y")], {"w1": W3 * np.nan}, "'w1' holds NaN or infinity"),
    "inf bias": (
        [node("Conv", "x w b1", "y")],
        CONV | {"b1": np.full(4, np.inf)},
        "'b1' holds NaN",
    ),
    "operator": ([node("Sigmoid", "x", "y")], {}, "operator Sigmoid is not supported"),
    "gemm image": ([node("MatMul", "x w1", "y")], {"w1": normal(8, 8)}, "flatten it first"),
    "two computed": ([node("MatMul", "x x", "y")], {}, "weight 'x' must be a constant"),
    "computed product": ([node("Mul", "x x", "y")], {}, "can only be added"),
    "broadcast": (
        [node("GlobalAveragePool", "x", "g"), node("Add", "x g", "y")],
        {},
        "operands differ in shape",
    ),
    "per pixel": ([node("Add", "x k1", "y")], {"k1": normal(8, 8)}, "one per channel"),
    "avg pad": (
        [node("AveragePool", "x", "y", kernel_shape=[3, 3], pads=[1, 1, 1, 1])],
        {},
        "count_include_pad=0",
    ),
    "pool dilation": (
        [node("MaxPool", "x", "y", kernel_shape=[2, 2], dilations=[2, 2])],
        {},
        "dilations",
    ),
    "mean axes": ([node("ReduceMean", "x", "y", axes=[1])], {}, "mean over height and width"),
    "clip": ([node("Clip", "x lo", "y")], {"lo": np.float32(-1)}, "min must be 0"),
    "crop": (
        [node("Slice", "x s e a", "y")],
        {"s": np.array([1]), "e": np.array([8]), "a": np.array([2])},
        "every n-th pixel",
    ),
    "pad": ([node("Pad", "x p", "y")], {"p": np.array([0, 0, 1, 1] * 2)}, "directly before Conv"),
    "pad relu": (
        [node("Pad", "x p", "q"), node("Relu", "q", "y")],
        {"p": np.array([0, 0, 1, 1] * 2)},
        "node 'q' .Pad.*not before Relu",
    ),
    "pad value": (
        [node("Pad", "x p v", "y")],
        {"p": np.array([0, 1, 0, 0] * 2), "v": np.float32(3)},
        "only zeros",
    ),
    "reshape": (
        [node("Reshape", "x s", "z"), node("Relu", "z", "y")],
        {"s": [1, 3, 64]},
        "only flat",
    ),
    "batch": ([node("Relu", "x", "r"), node("Reshape", "r s", "y")], {"s": [3, 64]}, "batch axis"),
    "transpose": ([node("Transpose", "x", "y", perm=[0, 2, 3, 1])], {}, "moves data"),
    "softmax": ([node("Softmax", "x", "y", axis=1)], {}, "over the features"),
    "after softmax": (
        [node("Flatten", "x", "f"), node("Softmax", "f", "s"), node("Relu", "s", "y")],
        {},
        "nothing may follow softmax",
    ),
    "training": (
        [node("Dropout", "x r t", "y")],
        {"r": np.float32(0.5), "t": np.array(True)},
        "training mode",
    ),
    "variance": (
        [node("BatchNormalization", "x g1 g1 g1 v1", "y")],
        {"g1": normal(3), "v1": np.full(3, -1, np.float32)},
        "variance is negative",
    ),
    "random": (
        [node("RandomNormal", "", "n", shape=[1]), node("Add", "x n", "y")],
        {},
        "random numbers",
    ),
    "concat": ([node("Concat", "x x", "y", axis=1)], {}, "constant zeros"),
}


@pytest.mark.parametrize("case", ERRORS)
def test_unsupported_nodes_are_named(tmp_path, case):
    nodes, constants, message = ERRORS[case]
    arrays = {k: np.array(v) if isinstance(v, list) else v for k, v in constants.items()}
    path = write_model(tmp_path / "m.onnx", nodes, arrays)
    with pytest.raises(ModelError, match=message) as caught:
        load_onnx(path)
    text = str(caught.value)
    assert text.startswith(f"{path}: node '")
    assert "\n" not in text


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((4, 3, 8, 8), "fixed batch of 4"),
        ((1, 3, None, 8), "axis 2 has no fixed size"),
        ((1, 3, 8), "it has 3"),
    ],
)
def test_unsupported_inputs(tmp_path, shape, message):
    path = write_model(tmp_path / "m.onnx", [node("Relu", "x", "y")], shape=shape)
    with pytest.raises(ModelError, match=message):
        load_onnx(path)


def test_integer_input_and_trivial_models(tmp_path):
    path = tmp_path / "m.onnx"
    write_model(path, [node("Relu", "x", "y")], elem_type=3)
    with pytest.raises(ModelError, match="must be floating point"):
        load_onnx(path)
    write_model(path, [node("Identity", "x", "y")])
    with pytest.raises(ModelError, match="computes nothing"):
        load_onnx(path)
    write_model(path, [node("Identity", "w", "y")], CONV)
    with pytest.raises(ModelError, match="does not depend on the input"):
        load_onnx(path)


def test_samples_are_checked(tmp_path):
    graph = load_onnx(write_model(tmp_path / "m.onnx", [node("Conv", "x w b", "y")], CONV))
    with pytest.raises(InputError, match="shape 1x8x8x3, the model takes Nx3x8x8"):
        graph.predict(np.zeros((1, 8, 8, 3)))
    with pytest.raises(InputError, match="NaN or infinity"):
        graph.predict(np.full((1, 3, 8, 8), np.inf))
    with pytest.raises(InputError, match="range of float32"):
        graph.predict(np.full((1, 3, 8, 8), 1e300))
