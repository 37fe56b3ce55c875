"""Formats of stored tensors, and image folders: round trip, determinism, damage."""

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from termac.compile import channel_groups, compile_graph
from termac.errors import ImageError, InputError
from termac.graph import Tensor
from termac.image import load_image, save_image
from termac.image.storage import plain_storage

from tests.sw.compile.test_compiler import run
from tests.sw.random_graphs import CONFIGS, random_graph, random_input

CONFIG = CONFIGS[0]


@pytest.fixture(scope="module")
def image():
    return compile_graph(random_graph(3), CONFIG)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(st.integers(1, 7), st.integers(1, 7), st.integers(1, 40)),
    factor=st.tuples(st.sampled_from([1, 2, 3]), st.sampled_from([1, 2, 4])),
    bits=st.integers(1, 8),
    config=st.sampled_from(CONFIGS),
    seed=st.integers(0, 1000),
)
def test_store_and_load_are_inverse(shape, factor, bits, config, seed):
    rng = np.random.default_rng(seed)
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    tensor = Tensor("x", shape, 1.0, int(rng.integers(low, high + 1)), bits)
    order = rng.permutation(shape[2])
    storage = plain_storage(tensor, config, factor=factor, order=order).at(5)
    values = rng.integers(low, high + 1, shape).astype(np.int8)
    words = storage.store(values)
    assert words.shape == (storage.words, config.word_bytes)
    memory = np.concatenate([np.zeros((5, config.word_bytes), np.uint8), words])
    np.testing.assert_array_equal(storage.load(memory), values)
    if config.cell == "bit_plane":
        assert (words & ((1 << (8 - bits)) - 1) == 0).all()  # left-aligned
    else:
        assert storage.align == 0
    unused = np.ones(storage.blocks * config.word_bytes, bool)
    unused[storage.positions.ravel()] = False
    pixels = words.reshape(-1, unused.size).view(np.int8)
    assert (pixels[:, unused] == storage.zero_byte).all()


def test_thin_tensors_are_spread_over_the_banks():
    square = next(c for c in CONFIGS if c.name == "32x32x8s8")
    assert np.bincount(channel_groups(16, square)).tolist() == [4, 4, 4, 4]
    assert np.bincount(channel_groups(64, square)).tolist() == [8] * 8
    tensor = Tensor("x", (4, 4, 8), 1.0, 0)
    banks = plain_storage(tensor, square, factor=(2, 2)).positions // square.lanes
    for channel in range(8):  # depthwise: a channel's pixels lie in different banks
        assert len(set(banks[..., channel].ravel())) == 4
    for pixel in banks.reshape(4, 8):  # neighbours: a pixel's channels too
        assert np.bincount(pixel).tolist() == [2, 2, 2, 2]


def test_input_is_checked(image):
    shape = image.input.tensor.shape
    with pytest.raises(InputError, match="shape must be"):
        image.store_input(np.zeros((*shape[:2], shape[2] + 1), np.int8))
    narrow = dataclasses.replace(image.input.tensor, bits=2, zero_point=0)
    storage = dataclasses.replace(image.input, tensor=narrow)
    with pytest.raises(InputError, match="values must be within"):
        dataclasses.replace(image, input=storage).store_input(np.full(shape, 3, np.int8))
    with pytest.raises(InputError, match="'nothing' is not stored"):
        image.storage("nothing")


def test_loaded_image_is_the_same_and_runs(image, tmp_path):
    save_image(image, tmp_path / "image")
    loaded = load_image(tmp_path / "image", CONFIG)
    for name in ("program", "taps", "value", "lane"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(image, name), err_msg=name)
    for name, values in image.parameters.items():
        np.testing.assert_array_equal(loaded.parameters[name], values, err_msg=name)
    assert loaded.cycles == image.cycles
    assert [x.name for x in loaded.layers] == [x.name for x in image.layers]
    for one, other in zip(loaded.layers, image.layers, strict=True):
        for field in dataclasses.fields(one):
            if field.name != "storage":
                assert getattr(one, field.name) == getattr(other, field.name), field.name
    run(image.graph, CONFIG, image=loaded)
    x = random_input(image.graph, 1)
    np.testing.assert_array_equal(loaded.store_input(x), image.store_input(x))


def test_folder_is_deterministic_and_complete(image, tmp_path):
    for name in ("one", "two"):
        save_image(compile_graph(random_graph(3), CONFIG), tmp_path / name)
    one, two = (
        {p.name: p.read_bytes() for p in (tmp_path / name).iterdir()} for name in ("one", "two")
    )
    assert one == two
    manifest = json.loads(one["manifest.json"])
    assert set(manifest["sha256"]) | {"manifest.json"} == {n for n in one if n[0] != "."}
    assert manifest["config_digest"] == CONFIG.digest
    assert len(manifest["memory_map"]) == 5
    weights = one["weights_1.mem"].decode().split()
    assert len(weights) == len(image.value) * CONFIG.columns
    packed = image.weights[:, CONFIG.segments : 2 * CONFIG.segments]
    for line, row in zip(weights, packed, strict=True):
        expected = sum(int(w) << (CONFIG.weight_width * i) for i, w in enumerate(row))
        assert int(line, 16) == expected
    summary = one["summary.txt"].decode()
    assert all(layer.name in summary for layer in image.layers)
    assert f"{image.cycles:,}" in summary
    rows = json.loads(one["summary.json"])
    assert [row["cycles"] for row in rows] == [layer.cycles for layer in image.layers]


@pytest.mark.parametrize("name", ["program.bin", "taps.mem", "weights_0.bin", "graph.npz"])
def test_damage_is_named(image, tmp_path, name):
    save_image(image, tmp_path / "image")
    path = tmp_path / "image" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(ImageError, match=f"checksum of {name} is wrong") as caught:
        load_image(tmp_path / "image")
    assert "\n" not in str(caught.value)
    path.unlink()
    with pytest.raises(ImageError, match=f"file {name} is missing"):
        load_image(tmp_path / "image")


def test_other_config_and_format_are_refused(image, tmp_path):
    folder = tmp_path / "image"
    with pytest.raises(ImageError, match="no image here"):
        load_image(folder)
    save_image(image, folder)
    with pytest.raises(ImageError, match=f"image is for config '{CONFIG.name}'"):
        load_image(folder, CONFIGS[1])
    manifest = json.loads((folder / "manifest.json").read_text())
    for change, match in (
        ({"format": 99}, "image format is 99, this version reads 4"),
        ({"config": {**manifest["config"], "rows": 12}}, "disagree|damaged"),
        ({"layers": None}, "damaged"),
        ({"sha256": {"../secret": "0"}}, "is no file of an image"),
        ({"sha256": {}}, "'program.bin' is missing"),
    ):
        (folder / "manifest.json").write_text(json.dumps({**manifest, **change}))
        with pytest.raises(ImageError, match=match):
            load_image(folder)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(ImageError, match="not JSON"):
        load_image(folder)
