"""Damaged and hostile image folders are refused; a flipped bit that is not changes nothing."""

import hashlib
import io
import json
import os
import random
import shutil
import struct
import zipfile

import numpy as np
import pytest
from termac.arch import DESCRIPTOR_WORDS, HEADER, Opcode
from termac.compile import compile_graph
from termac.errors import ImageError
from termac.graph.file import save_graph
from termac.image import load_image, save_image
from termac.image.seal import seal
from termac.image.verify import check_image

from tests.sw.random_graphs import CONFIGS, random_graph

CONFIG = CONFIGS[0]
SEED = 5  # of a graph of several layers


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seal") / "image"
    save_image(compile_graph(random_graph(SEED), CONFIG), folder)
    return folder


@pytest.fixture
def folder(source, tmp_path):
    return shutil.copytree(source, tmp_path / "image")


def manifest_of(folder):
    return json.loads((folder / "manifest.json").read_text())


def resealed(folder, change=lambda manifest: None):
    """Make all checksums again, so that only what they protect can be found wrong."""
    manifest = manifest_of(folder)
    for name in manifest["sha256"]:
        manifest["sha256"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    change(manifest)
    manifest["seal"] = seal(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


def refused(folder, reason):
    with pytest.raises(ImageError) as caught:
        load_image(folder)
    assert str(folder) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert reason in str(caught.value), caught.value


def facts(image):
    """Everything that an image means, to be compared."""
    document, arrays = save_graph(image.graph)
    arrays |= dict(image.parameters)
    arrays |= {"program": image.program, "taps": image.taps, "cells": image.cells}
    layers = [{**vars(layer), "storage": stored(layer.storage)} for layer in image.layers]
    shown = {key: (value.dtype, value.shape, value.tobytes()) for key, value in arrays.items()}
    return document, shown, image.config, layers, stored(image.input), stored(image.output)


def stored(storage):
    return {**vars(storage), "positions": storage.positions.tolist()}


# --- Single bits ---------------------------------------------------------------------------------


def flips(folder, source, name, spots):
    """Flip bits of one file; returns how many were accepted, each with the very same meaning."""
    path, accepted = folder / name, 0
    data, expected = (source / name).read_bytes(), facts(load_image(source))
    for spot in spots:
        changed = bytearray(data)
        changed[spot // 8] ^= 1 << spot % 8
        path.write_bytes(changed)
        try:
            image = load_image(folder)
        except ImageError:
            pass
        else:
            accepted += 1
            assert facts(image) == expected, (name, spot)
    path.write_bytes(data)
    return accepted


def test_a_flipped_bit_is_refused_or_means_nothing(folder, source):
    rng = random.Random(1)
    for path in sorted(source.iterdir()):
        bits = 8 * path.stat().st_size
        count = 250 if path.name == "manifest.json" else 5
        accepted = flips(folder, source, path.name, rng.sample(range(bits), min(bits, count)))
        if path.name not in ("manifest.json", ".termac"):
            assert accepted == 0


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_every_bit_of_the_manifest(folder, source):
    bits = 8 * (source / "manifest.json").stat().st_size
    accepted = flips(folder, source, "manifest.json", range(bits))
    assert accepted <= 8  # of its few thousand, and with the same meaning


# --- What checksums do not tell ------------------------------------------------------------------


def test_a_folder_of_before_is_named(folder):
    resealed(folder, lambda manifest: manifest.update(format=3))
    refused(folder, "image format is 3, this version reads 4; compile it again")
    resealed(folder, lambda manifest: manifest.update(format=4.0))
    refused(folder, "image format is 4.0")


@pytest.mark.parametrize("name", ["manifest.json", "taps.mem", "graph.npz", "program.bin"])
def test_devices_pipes_and_endless_links(folder, name):
    for make in (os.mkfifo, lambda path: os.symlink("/dev/zero", path),
                 lambda path: os.symlink(name, path), os.mkdir):  # fmt: skip
        (folder / name).unlink(missing_ok=True)
        make(folder / name)
        refused(folder, "cannot be read")
        if name != "manifest.json" and (folder / name).is_dir():
            return
        (folder / name).rmdir() if (folder / name).is_dir() else (folder / name).unlink()


def test_files_larger_than_their_memory_are_not_read(folder):
    with open(folder / "taps.mem", "ab") as stream:
        stream.truncate(1 << 40)
    refused(folder, "file taps.mem cannot be read: larger than")


def first(manifest):
    return manifest["layers"][0]


CHANGES = {
    "no_seal": (lambda m: m.pop("seal"), None),
    "position_twice": (lambda m: m["input"]["positions"].__setitem__(0, m["input"]["positions"][1]),
                       "positions are not different bytes"),
    "position_outside": (lambda m: m["input"]["positions"].__setitem__(0, 1 << 30),
                         "positions are not different bytes"),
    "position_negative": (lambda m: m["input"]["positions"].__setitem__(0, -1),
                          "positions are not different bytes"),
    "position_float": (lambda m: m["input"]["positions"].__setitem__(0, 0.5), "no integers"),
    "positions_missing": (lambda m: m["input"]["positions"].pop(), "damaged"),
    "positions_none": (lambda m: m["input"].update(positions=None), "damaged"),
    "blocks": (lambda m: m["input"].update(blocks=0), "impossible"),
    "blocks_many": (lambda m: m["input"].update(blocks=1 << 40), "words beyond"),
    "base": (lambda m: m["input"].update(base=1 << 40), "words beyond"),
    "base_negative": (lambda m: m["input"].update(base=-1), "impossible"),
    "factor": (lambda m: m["input"].update(factor=[0, 1]), "damaged"),
    "scale": (lambda m: m["input"].update(scale=2.5), "not that of the graph"),
    "passes_null": (lambda m: first(m).update(passes=None), "passes is not of type int"),
    "passes_bool": (lambda m: first(m).update(passes=True), "passes is not of type int"),
    "passes": (lambda m: first(m).update(passes=first(m)["passes"] + 1), "its program has"),
    "density": (lambda m: first(m).update(density=1.5), "density is not within 0..1"),
    "density_nan": (lambda m: first(m).update(density=float("nan")), "density is not within 0..1"),
    "macs": (lambda m: first(m).update(macs=-1), "macs is negative"),
    "descriptors": (lambda m: first(m).update(descriptors=5), "damaged"),
    "first_descriptor": (lambda m: first(m).update(first_descriptor=1), "does not begin where"),
    "nodes": (lambda m: first(m).update(nodes=[]), "every node of the graph once"),
    "name": (lambda m: first(m).update(name="other"), "damaged"),
    "no_layers": (lambda m: m.update(layers=[]), "damaged"),
    "layers_swapped": (lambda m: m["layers"].reverse(), "damaged"),
    "output": (lambda m: m.update(output="other"), "output 'other' is not one of the layers"),
    "input": (lambda m: m.update(input=first(m)["storage"]), "input or output is not that"),
    "config": (lambda m: m["config"].update(rows=7), "damaged"),
    "config_key": (lambda m: m["config"].update(more=7), "damaged"),
    "config_digits": (lambda m: m["config"].update(rows=10**4000), "damaged"),
    "checksums": (lambda m: m.update(sha256=[]), "damaged"),
    "checksum_null": (lambda m: m["sha256"].update({"taps.bin": None}), "checksum of taps.bin"),
    "file": (lambda m: m["sha256"].update({"../x": ""}), "'../x' is no file of an image"),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_a_manifest_that_does_not_fit_is_named(folder, name):
    change, reason = CHANGES[name]
    resealed(folder, change)
    if reason is None:
        manifest = manifest_of(folder)
        del manifest["seal"]
        (folder / "manifest.json").write_text(json.dumps(manifest))
    refused(folder, reason or "'seal' is missing")


@pytest.mark.parametrize("text", ["[" * 100_000, "{" * 9, "null", "[]", '"a"', "1" * 5000])
def test_a_manifest_that_is_none(folder, text):
    (folder / "manifest.json").write_text(text)
    with pytest.raises(ImageError, match=r"not JSON|image format is None"):
        load_image(folder)


def changed_program(folder, change):
    words = np.frombuffer((folder / "program.bin").read_bytes(), "<u4").copy()
    words = change(words)
    (folder / "program.bin").write_bytes(words.tobytes())
    resealed(folder)


def test_a_program_without_its_end(folder):
    manifest = manifest_of(folder)
    end = 1 + DESCRIPTOR_WORDS * sum(layer["descriptors"] for layer in manifest["layers"])
    changed_program(folder, lambda words: words[:end])
    refused(folder, "damaged: the program ends at word ")


def test_a_program_that_runs_away(folder):
    def run_away(words):
        end = next(i for i in range(1, len(words), DESCRIPTOR_WORDS) if words[i] == Opcode.END)
        words[end] = words[1]
        return words

    changed_program(folder, run_away)
    refused(folder, "damaged: ")


def test_a_program_for_another_configuration(folder):
    word = HEADER.pack_one(opcode=Opcode.HEADER, config=1)
    changed_program(folder, lambda words: np.concatenate([[word], words[1:]]).astype("<u4"))
    refused(folder, "does not begin with the header of the configuration")
    changed_program(folder, lambda words: words[:0])
    refused(folder, "damaged: the program ends at word 0")


def test_a_program_that_writes_another_tensor(folder):
    def count(words):
        words[3] += 1  # vectors
        return words

    changed_program(folder, count)
    refused(folder, "its program writes another tensor")


def test_more_cycles_than_the_watchdog_counts(monkeypatch):
    image = compile_graph(random_graph(SEED), CONFIG)
    check_image(image)
    monkeypatch.setattr("termac.image.verify.MOST_CYCLES", image.cycles - 1)
    with pytest.raises(ValueError, match=f"takes {image.cycles:,} cycles, more than the watchdog"):
        check_image(image)


def changed_arrays(folder, change, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(folder / "graph.npz") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in change(members).items():
            archive.writestr(name, data)
    (folder / "graph.npz").write_bytes(buffer.getvalue())
    resealed(folder)


def test_arrays_of_the_graph(folder, source):
    changed_arrays(folder, lambda members: members)
    assert facts(load_image(folder)) == facts(load_image(source))
    changed_arrays(folder, lambda members: {**members, "bomb.npy": bytes(100)})
    refused(folder, "array 'bomb' belongs to no node of the graph")
    shutil.copy(source / "graph.npz", folder)
    changed_arrays(folder, lambda members: members, zipfile.ZIP_DEFLATED)
    refused(folder, "is compressed")
    shutil.copy(source / "graph.npz", folder)
    changed_arrays(folder, lambda members: dict.fromkeys(members, b"\x93NUMPY"))
    refused(folder, "header cannot be read")
    (folder / "graph.npz").write_bytes(b"PK")
    resealed(folder)
    refused(folder, "graph.npz is damaged: not an archive")


def test_an_array_that_claims_to_be_huge(folder):
    text = b"{'descr': '<i2', 'fortran_order': False, 'shape': (6442450944, 1, 1, 1), }\n"
    huge = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text
    changed_arrays(folder, lambda members: dict.fromkeys(members, huge))
    refused(folder, "damaged or truncated .npy file")
