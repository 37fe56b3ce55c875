"""Damaged and hostile ONNX files: refused in one line, before memory or time are spent."""

import itertools
import os
import time

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from termac.errors import ModelError
from termac.frontend import load_onnx
from termac.frontend.onnx.file import MOST_NODES
from termac.frontend.onnx.functions import inlined_size

from tests.sw.onnx_files import node, write_model

WEIGHTS = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
CONV = {"w": WEIGHTS}


def refused(path, seconds=5):
    started = time.monotonic()
    with pytest.raises(ModelError) as caught:
        load_onnx(path)
    assert time.monotonic() - started < seconds
    line = str(caught.value)
    assert line.startswith(f"{path}: ")
    assert "\n" not in line
    return line


def changed(path, change):
    model = onnx.load(str(path))
    change(model)
    onnx.save(model, str(path))
    return path


@pytest.fixture
def conv(tmp_path):
    return write_model(tmp_path / "m.onnx", [node("Conv", "x w", "y")], CONV)


# --- Text and types ------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [b"node-name", b"x-input", b"w-weights"])
def test_names_that_are_not_utf8(tmp_path, name):
    path = write_model(
        tmp_path / "m.onnx",
        [helper.make_node("Conv", ["x", "w-weights"], ["y"], name="node-name"),
         helper.make_node("Identity", ["x"], ["x-input"])],
        {"w-weights": WEIGHTS},
    )  # fmt: skip
    load_onnx(path)
    data = path.read_bytes()
    assert name in data
    path.write_bytes(data.replace(name, name[:1] + b"\xff" + name[2:]))
    assert "is not UTF-8" in refused(path)


@pytest.mark.parametrize("dtype", [bool, np.int8, np.int32, np.int64, np.uint8])
def test_weights_must_be_floating_point(tmp_path, dtype):
    matrix = np.ones((5, 4)).astype(dtype)
    path = write_model(tmp_path / "m.onnx", [node("MatMul", "x w", "y")], {"w": matrix}, (None, 5))
    line = refused(path)
    assert "node 'y' (MatMul): weight 'w' is of type" in line
    assert "must be floating point" in line


@pytest.mark.parametrize("empty", range(4))
def test_batch_normalization_of_other_sizes(tmp_path, empty):
    arrays = [np.ones(0 if i == empty else 3, np.float32) for i in range(4)]
    path = write_model(
        tmp_path / "m.onnx",
        [node("BatchNormalization", "x a b c d", "y")],
        dict(zip("abcd", arrays, strict=True)),
    )
    name = ("scale", "bias", "mean", "variance")[empty]
    assert f"(BatchNormalization): {name} has 0 values for 3 channels" in refused(path)


@pytest.mark.parametrize(
    ("nodes", "constants"),
    [
        ([node("ReduceMean", "x a", "y")], {"a": np.array([5, 9])}),
        ([node("Reshape", "x s", "y")], {"s": np.array([0, 0, 0, 0, 0, 7])}),
        ([node("Clip", "x a b", "y")], {"a": np.zeros(0, "f"), "b": np.ones(3, "f")}),
        ([node("Pad", "x p", "y")], {"p": np.array([1, 2, 3])}),
        ([node("Transpose", "x", "y", perm=[0, 1])], {}),
        ([node("Conv", "x w", "y", strides=[1])], CONV),
        ([node("Conv", "x w", "y", pads=[1, 1])], CONV),
        ([node("MaxPool", "x", "y", kernel_shape=[2, 2, 2])], {}),
        ([node("Gemm", "x w", "y")], {"w": np.ones((3, 4), "f")}),
        ([node("Squeeze", "x a", "y")], {"a": np.array([1 << 60])}),
        ([node("Flatten", "x", "y", axis=99)], {}),
    ],
)  # fmt: skip
def test_attributes_and_constants_that_do_not_fit_name_the_node(tmp_path, nodes, constants):
    path = write_model(tmp_path / "m.onnx", nodes, constants)
    line = refused(path)
    assert "node 'y'" in line or "not a valid ONNX model" in line


# --- Sizes ---------------------------------------------------------------------------------------


def nested_functions(path, depth, calls, leaf=()):
    """``calls ** depth`` Identity nodes in a few hundred bytes."""
    opset = helper.make_opsetid("", 17), helper.make_opsetid("own", 1)
    functions = []
    for level in range(depth):
        kind, domain = (f"f{level - 1}", "own") if level else ("Identity", "")
        names = ["a", *(f"t{i}" for i in range(calls - 1)), "b"]
        body = [
            helper.make_node(kind, [source], [target], domain=domain)
            for source, target in itertools.pairwise(names)
        ]
        functions.append(helper.make_function("own", f"f{level}", ["a"], ["b"], body, opset))
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 6, 6])]
    graph = helper.make_graph(
        [helper.make_node(f"f{depth - 1}", ["x"], ["h"], domain="own"), node("Conv", "h w", "y")],
        "test", inputs, outputs, [numpy_helper.from_array(WEIGHTS, "w")],
    )  # fmt: skip
    model = helper.make_model(graph, functions=functions, opset_imports=opset)
    model.ir_version = 8
    onnx.save(model, str(path))
    return path


def test_functions_within_functions_are_counted_before_they_are_inlined(tmp_path):
    small = nested_functions(tmp_path / "small.onnx", 3, 4)
    assert inlined_size(onnx.load(str(small)))[0] == 4**3 + 1
    assert len(load_onnx(small).nodes) == 1
    for depth, calls in ((24, 2), (8, 64), (60, 8)):
        path = nested_functions(tmp_path / "large.onnx", depth, calls)
        assert f"the model has {calls**depth + 1:,} nodes" in refused(path)
        assert f"more than {MOST_NODES:,} nodes" in refused(path)
    assert "nest too deeply" in refused(nested_functions(tmp_path / "deep.onnx", 150, 2))


def test_functions_that_call_themselves(tmp_path):
    def call_itself(model):
        model.functions[0].node[0].op_type = "f1"
        model.functions[0].node[0].domain = "own"

    path = changed(nested_functions(tmp_path / "m.onnx", 2, 2), call_itself)
    assert "calls itself" in refused(path)


def filled(name, shape, value=1.0):
    """Nodes of a ConstantOfShape, and its initializer."""
    fill = helper.make_tensor("value", TensorProto.FLOAT, [1], [value])
    made = helper.make_node("ConstantOfShape", [f"{name}.shape"], [name], name=name, value=fill)
    return made, {f"{name}.shape": np.array(shape, np.int64)}


FILLED, SHAPE = filled("c", [1 << 13, 1 << 12])  # 128 MiB: just allowed
BOMBS = {
    "filled": ([], {"c.shape": np.array([1 << 31], np.int64)}),
    "filled_beyond_64_bits": ([], {"c.shape": np.array([1 << 40, 1 << 40], np.int64)}),
    "expand": ([node("Expand", "c s", "e")], {"s": np.array([8, 1, 1])}),
    "tile": ([node("Tile", "c s", "e")], {"s": np.array([2, 2])}),
    "concat": ([node("Concat", "c c", "e", axis=0)], {}),
    "pad": ([node("Pad", "c p", "e")], {"p": np.array([0, 0, 1 << 20, 0])}),
    "range": ([node("Range", "a b d", "e")],
              {"a": np.int64(0), "b": np.int64(1 << 40), "d": np.int64(1)}),
    "resize": ([node("Resize", "c4 r s", "e")],
               {"c4": np.ones((1, 1, 2, 2), "f"), "r": np.zeros(0, "f"),
                "s": np.array([1, 1, 3e4, 3e4], "f")}),
    "one_hot": ([node("OneHot", "i n v", "e")],
                {"i": np.zeros(1000, np.int64), "n": np.int64(1 << 33), "v": np.zeros(2, "f")}),
    "outer": ([node("Mul", "p q", "e")],
              {"p": np.ones((1, 40000), "f"), "q": np.ones((40000, 1), "f")}),
    "window": ([node("HannWindow", "n", "e")], {"n": np.int64(1 << 36)}),
    "matmul": ([node("MatMul", "p q", "e")],
               {"p": np.ones((40000, 1), "f"), "q": np.ones((1, 40000), "f")}),
    "einsum": ([node("Einsum", "p p p p", "e", equation="a,b,c,d->abcd")],
               {"p": np.ones(300, "f")}),
    "einsum_of_much_work": ([node("Einsum", "p p p p", "e", equation="a,b,c,d->")],
                            {"p": np.ones(3000, "f")}),
    "conv": ([node("Conv", "i k", "e")],
             {"i": np.ones((1, 1, 400, 400), "f"), "k": np.ones((1, 1, 200, 200), "f")}),
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_computed_constant_too_large_is_never_computed(tmp_path, name):
    nodes, constants = BOMBS[name]
    output = "e" if nodes else "c"
    read = {part for made in nodes for part in made.input}
    needed = [FILLED] if not nodes or "c" in read else []
    if needed:
        constants = SHAPE | constants
    path = write_model(tmp_path / "m.onnx", [*needed, *nodes, node("Add", f"x {output}", "y")],
                       constants)  # fmt: skip
    line = refused(path)
    assert "cannot be computed from its constant inputs: " in line or "not a valid" in line


def test_small_computed_constants_still_work(tmp_path):
    made, shape = filled("c", [3, 1, 1], 0.5)
    nodes = [made, node("Add", "c one", "d"), node("Mul", "x d", "h"), node("Conv", "h w", "y")]
    path = write_model(tmp_path / "m.onnx", nodes, CONV | shape | {"one": np.float32(1)})
    (only,) = load_onnx(path).nodes
    np.testing.assert_allclose(only.weights, 1.5 * WEIGHTS.transpose(0, 2, 3, 1), rtol=1e-6)


# --- Files ---------------------------------------------------------------------------------------


def external(conv, **entries):
    def point(model):
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=str(value))

    return changed(conv, point)


@pytest.fixture
def data(conv):
    path = conv.parent / "m.data"
    path.write_bytes(bytes(8) + WEIGHTS.tobytes())
    return path


def test_external_data_at_an_offset(conv, data):
    external(conv, location="m.data", offset=8, length=WEIGHTS.nbytes)
    assert np.array_equal(load_onnx(conv).nodes[0].weights, WEIGHTS.transpose(0, 2, 3, 1))


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ({"location": "m.data", "offset": 12}, "takes 432 bytes, 'm.data' has 428"),
        ({"location": "m.data", "offset": 1 << 70}, "has 0 there"),
        ({"location": "m.data", "offset": -8}, "negative"),
        ({"location": "m.data", "offset": "8k"}, "damaged"),
        ({"location": "m.data", "length": 400}, "takes 432 bytes"),
        ({"location": "m.data", "length": 1 << 40}, "takes 432 bytes"),
        ({"location": ""}, "is not in the folder of the model"),
        ({}, "is not in the folder of the model"),
        ({"location": "../m.data"}, "is not in the folder of the model"),
        ({"location": "/dev/zero"}, "is not in the folder of the model"),
        ({"location": "zero"}, "is not in the folder of the model"),
        ({"location": "loop"}, "is not in the folder|symbolic links"),
        ({"location": "pipe"}, "not a plain file"),
        ({"location": "."}, "folder|directory|plain file"),
        ({"location": "m\0data"}, "null|cannot be read"),
    ],
)
def test_external_data_that_is_not_there(conv, data, entries, reason):
    (conv.parent / "zero").symlink_to("/dev/zero")
    (conv.parent / "loop").symlink_to("loop")
    os.mkfifo(conv.parent / "pipe")
    line = refused(external(conv, **entries))
    assert "cannot be read: " in line
    assert any(part in line for part in reason.split("|")), line


def test_devices_and_pipes_are_no_models(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "zero").symlink_to("/dev/zero")
    for name in ("pipe", "zero"):
        assert "not a file" in refused(tmp_path / name)


def test_a_large_file_that_is_no_model_is_not_read(tmp_path):
    path = tmp_path / "m.onnx"
    with open(path, "wb") as stream:
        stream.truncate(1 << 40)
    assert "not an ONNX file" in refused(path)
