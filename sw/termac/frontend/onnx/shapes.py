"""ONNX operators that move data: reshapes, slices, padding, concatenation with zeros."""

from __future__ import annotations

import math

import numpy as np

from termac.frontend.onnx.importer import Operation, Value
from termac.graph import FloatShortcut

__all__ = ["concat", "flatten", "pad", "reshape", "slice_", "squeeze", "transpose"]


def _view(op: Operation, dims: tuple[int, ...]) -> None:
    """Let the output be the input seen as ``dims`` (without the batch axis)."""
    value = op.value(0)
    importer = op.importer
    height, width, channels = importer.shapes[value.tensor]
    if dims in (value.dims, (channels, height, width), (channels * height * width,)):
        op.alias(Value(value.tensor, dims))
        return
    untouched = op.node.input[0] == importer.input_name and importer.input_readers == 1
    if untouched and len(dims) == 3:  # the host can just as well deliver the input in this shape
        importer.shapes[value.tensor] = (dims[1], dims[2], dims[0])
        op.alias(Value(value.tensor, dims))
        return
    op.fail(
        f"from N x {'x'.join(map(str, value.dims))} to N x {'x'.join(map(str, dims))} is not "
        "supported, only flattening to N x features"
    )


def reshape(op: Operation) -> None:
    """Reshape to a constant shape that keeps the batch axis."""
    value = op.value(0)
    old = (1, *value.dims)
    target = [int(size) for size in op.constant(1, "shape").reshape(-1)]
    if not op.attributes.get("allowzero", 0):
        target = [old[i] if size == 0 and i < len(old) else size for i, size in enumerate(target)]
    if target.count(-1) == 1:
        known = -math.prod(target)
        if known > 0 and math.prod(old) % known == 0:
            target[target.index(-1)] = math.prod(old) // known
    if min(target, default=0) < 1 or math.prod(target) != math.prod(old):
        op.fail(f"shape {target} does not hold {math.prod(old)} values")
    if target[0] != 1:
        op.fail(f"shape {target} joins the batch axis with others")
    _view(op, tuple(target[1:]))


def flatten(op: Operation) -> None:
    """Flatten to N x features."""
    value = op.value(0)
    axis = op.attributes.get("axis", 1)
    if axis + (len(value.dims) + 1 if axis < 0 else 0) != 1:
        op.fail(f"axis {axis} is not supported, only 1")
    _view(op, (math.prod(value.dims),))


def squeeze(op: Operation) -> None:
    """Squeeze and Unsqueeze of axes of size 1."""
    value = op.value(0)
    axes = op.attributes.get("axes")
    if axes is None and op.has(1):
        axes = op.constant(1, "axes").reshape(-1).tolist()
    dims = [1, *value.dims]
    if op.kind == "Squeeze":
        if axes is None:
            op.fail("axes must be given, or the batch axis would vanish")
        normal = {a + len(dims) if a < 0 else a for a in axes}
        if 0 in normal or any(a >= len(dims) or dims[a] != 1 for a in normal):
            op.fail(f"axes {axes} must be of size 1 and not the batch axis")
        dims = [size for axis, size in enumerate(dims) if axis not in normal]
    else:
        rank = len(dims) + len(axes or ())
        for axis in sorted(a + rank if a < 0 else a for a in axes or ()):
            dims.insert(axis, 1)
        if dims[0] != 1 or 0 in (axes or ()):
            op.fail("an axis before the batch axis is not supported")
    _view(op, tuple(dims[1:]))


def transpose(op: Operation) -> None:
    """Transpose that moves only axes of size 1."""
    value = op.value(0)
    rank = len(value.dims) + 1
    permutation = list(op.attributes.get("perm", range(rank)[::-1]))
    old = [1, *value.dims]
    moved = [axis for axis in permutation if old[axis] != 1]
    if permutation[0] != 0 or moved != sorted(moved):
        op.fail(f"perm {permutation} moves data; only N x channels x height x width is supported")
    _view(op, tuple(old[axis] for axis in permutation[1:]))


def slice_(op: Operation) -> None:
    """Every stride-th pixel of the whole image; the first half of an option-A shortcut."""
    value, (height, width, channels) = op.image(0)
    if op.importer.opset < 10:
        starts, ends = op.attributes.get("starts", []), op.attributes.get("ends", [])
        axes, steps = op.attributes.get("axes"), None
    else:
        starts = op.constant(1, "starts").reshape(-1).tolist()
        ends = op.constant(2, "ends").reshape(-1).tolist()
        axes = op.constant(3, "axes").reshape(-1).tolist() if op.has(3) else None
        steps = op.constant(4, "steps").reshape(-1).tolist() if op.has(4) else None
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    dims = [1, channels, height, width]
    stride = [1, 1, 1, 1]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        axis += 4 if axis < 0 else 0
        first, last, step = slice(start, end, step).indices(dims[axis])
        if first == 0 and last == dims[axis] and step == 1:
            continue
        if axis < 2 or first != 0 or step < 1 or -(-last // step) != -(-dims[axis] // step):
            op.fail(
                f"start {start}, end {end}, step {step} on axis {axis} is not supported, only "
                "every n-th pixel of the whole height or width"
            )
        stride[axis] = step
    _shortcut(op, value, (stride[2], stride[3]), 0, 0)


def _shortcut(
    op: Operation, value: Value, stride: tuple[int, int], before: int, after: int
) -> None:
    if stride == (1, 1) and before == after == 0:
        op.alias(value)
        return
    node = FloatShortcut(
        name=op.importer.node_name(op),
        input=value.tensor,
        stride=stride,
        before=before,
        after=after,
    )
    op.emit(node)


def pad(op: Operation) -> None:
    """Zero channels become a shortcut; zeros around the image are left to the next Conv."""
    value, _ = op.image(0, padded=True)
    mode = op.attributes.get("mode", "constant")
    if mode != "constant":
        op.fail(f"mode {mode!r} is not supported, only 'constant'")
    if op.importer.opset < 11:
        pads = list(op.attributes.get("pads", op.attributes.get("paddings", [])))
        fill = op.attributes.get("value", 0.0)
    else:
        pads = op.constant(1, "pads").reshape(-1).tolist()
        fill = float(op.weights(2, "value").reshape(-1)[0]) if op.has(2) else 0.0
        if op.has(3):
            axes = [a % 4 for a in op.constant(3, "axes").reshape(-1).tolist()]
            given, pads = pads, [0] * 8
            for i, axis in enumerate(axes):
                pads[axis], pads[axis + 4] = given[i], given[i + len(axes)]
    if len(pads) != 8 or min(pads) < 0:
        op.fail(f"pads {pads} must be eight numbers that are not negative")
    if not any(pads):
        op.alias(value)
        return
    if fill != 0:
        op.fail(f"padding with {fill} is not supported, only zeros")
    if pads[0] or pads[4]:
        op.fail("the batch axis cannot be padded")
    border = (pads[2], pads[3], pads[6], pads[7])
    if any(border):
        if pads[1] or pads[5]:
            op.fail("padding of channels and of pixels in one node is not supported")
        top, left, bottom, right = (a + b for a, b in zip(value.padding, border, strict=True))
        channels, height, width = value.dims
        dims = (channels, height + border[0] + border[2], width + border[1] + border[3])
        op.alias(Value(value.tensor, dims, (top, left, bottom, right), op))
        return
    _shortcut(op, op.value(0), (1, 1), pads[1], pads[5])


def concat(op: Operation) -> None:
    """Concatenation of one tensor with constant zeros along the channels."""
    computed = [i for i in range(len(op.node.input)) if not op.is_constant(i)]
    if len(computed) != 1:
        op.fail("only a concatenation with constant zeros is supported")
    value, (height, width, _) = op.image(computed[0])
    if op.attributes.get("axis", 0) not in (1, -3):
        op.fail(f"axis {op.attributes.get('axis')} is not supported, only the channels (1)")
    sizes = [0, 0]
    for index in range(len(op.node.input)):
        if index != computed[0]:
            zeros = op.weights(index, "operand")
            if zeros.ndim != 4 or zeros.shape[2:] != (height, width) or np.any(zeros):
                op.fail("only a concatenation with constant zeros of the same size is supported")
            sizes[int(index > computed[0])] += zeros.shape[1]
    _shortcut(op, value, (1, 1), sizes[0], sizes[1])
