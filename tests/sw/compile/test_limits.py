"""What no layout can make fit is refused from the float graph, before any calibration."""

import time

import numpy as np
import pytest
from termac.arch import load_config
from termac.compile.limits import MOST_PADDING, check_limits
from termac.errors import CapacityError
from termac.flow.pack import pack
from termac.frontend import load_onnx

from tests.sw.onnx_files import node, write_model

TINY = load_config("tiny")
CONV = {"w": np.ones((2, 3, 3, 3), np.float32)}


def model(path, nodes, shape=(None, 3, 8, 8)):
    return load_onnx(write_model(path / "m.onnx", nodes, CONV, shape))


def padded(path, pixels, pooled=True):
    window = pixels * 2 + 6
    pool = node("MaxPool", "h", "y", kernel_shape=[window, window])
    conv = node("Conv", "x w", "h" if pooled else "y", pads=[pixels] * 4)
    return model(path, [conv, pool] if pooled else [conv])


def test_padding_beyond_the_fields_is_refused_before_calibration(tmp_path):
    # an origin reaches 128 stored pixels before the image, a tap 64 more, of 8 pixels each
    assert MOST_PADDING == 8 * (128 + 64)
    graph = padded(tmp_path, 2000)
    started = time.monotonic()
    with pytest.raises(CapacityError, match=r"layer 'h' pads 2,000 pixels"):
        pack(graph, TINY, np.zeros((4, 3, 8, 8), np.float32))
    assert time.monotonic() - started < 2
    check_limits(padded(tmp_path, MOST_PADDING), TINY)
    with pytest.raises(CapacityError, match="pads 1,537 pixels"):
        check_limits(padded(tmp_path, MOST_PADDING + 1), TINY)


def test_a_stored_tensor_must_fit_the_activation_memory(tmp_path):
    room = TINY.activation_depth * TINY.word_bytes
    with pytest.raises(CapacityError, match=rf"tensor 'y' .* has {room:,}; raise activation_depth"):
        check_limits(padded(tmp_path, 500, pooled=False), TINY)
    check_limits(padded(tmp_path, 500), TINY)  # is pooled before it is stored
    with pytest.raises(CapacityError, match="tensor 'x' of 9,999x9,999 pixels and 3 channels"):
        check_limits(model(tmp_path, [node("Conv", "x w", "y")], (None, 3, 9999, 9999)), TINY)
