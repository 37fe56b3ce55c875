"""An image as a folder: a manifest, one file per memory, the graph, a summary.

``manifest.json`` names format, configuration, tensors, memory map, layers and the SHA-256 of every
other file, and seals itself with a checksum of its own content. Each memory is there twice:
``.bin`` (32-bit little-endian words, as the host writes them) and ``.mem`` (one hexadecimal entry
a line, for ``$readmemh``). Writing the same image twice gives the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from termac.arch import PARAMETER, Config
from termac.arch.estimate import decode_timings
from termac.arch.memory_map import MemoryMap, entry_weights, weight_entries
from termac.arch.timing import layer_cycles
from termac.errors import ConfigError, ImageError
from termac.files import atomic_folder
from termac.graph import Graph, Tensor
from termac.graph.file import load_graph, save_graph
from termac.image.image import Image, LayerInfo
from termac.image.seal import GraphArrays, read_files, read_manifest, seal
from termac.image.storage import Storage
from termac.image.summary import summary_rows, summary_text
from termac.image.verify import check_image, decode_program

__all__ = ["FORMAT", "load_image", "save_image"]

FORMAT = 4
"""Version of the folder; other versions are refused."""

_COUNTS = (
    *("first_descriptor", "descriptors", "macs", "passes", "weights", "nonzero"),
    *("columns", "dense_cycles"),
)
_RATIOS = ("density", "utilization")


def save_image(image: Image, folder: str | Path) -> None:
    """Write an image; the folder appears only when it is complete.

    Raises
    ------
    TermacError
        If the folder cannot be written, or holds what Termac did not write.
    """
    files = _memory_files(image)
    document, arrays = save_graph(image.graph)
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    files["graph.npz"] = buffer.getvalue()
    files["graph.json"] = _json(document)
    files["summary.json"] = _json(summary_rows(image))
    files["summary.txt"] = summary_text(image).encode()
    manifest = {
        "format": FORMAT,
        "network": image.graph.name,
        "config": asdict(image.config),
        "config_digest": image.config.digest,
        "cycles": image.cycles,
        "input": _storage_record(image.input),
        "output": image.output.tensor.name,
        "layers": [
            {
                "name": layer.name,
                "nodes": list(layer.nodes),
                "storage": _storage_record(layer.storage),
                "cycles": layer.cycles,
                **{key: int(getattr(layer, key)) for key in _COUNTS},
                **{key: float(getattr(layer, key)) for key in _RATIOS},
            }
            for layer in image.layers
        ],
        "memory_map": [
            {
                "name": region.name,
                "base": region.base,
                "words": region.words,
                "groups": region.groups,
                "width": region.width,
            }
            for region in MemoryMap(image.config).regions
        ],
        "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())},
    }
    manifest["seal"] = seal(manifest)
    with atomic_folder(folder) as place:
        for name, data in files.items():
            (place / name).write_bytes(data)
        (place / "manifest.json").write_bytes(_json(manifest))


def load_image(folder: str | Path, config: Config | None = None) -> Image:
    """Read an image folder and verify it.

    Parameters
    ----------
    folder : written by :func:`save_image`
    config : the configuration that must be the image's; None for any

    Raises
    ------
    ImageError
        If a file is missing or damaged, or the image is of another format or configuration.
    """
    folder = Path(folder)
    manifest = read_manifest(folder, FORMAT)
    try:
        own = Config(**manifest["config"])
        if own.digest != manifest["config_digest"]:
            raise ImageError(f"{folder}/manifest.json is damaged: config and its hash disagree")
        if config is not None and config.digest != own.digest:
            raise ImageError(
                f"{folder}: image is for config {own.name!r} ({own.digest[:8]}), not for "
                f"{config.name!r} ({config.digest[:8]}); compile it again for that config"
            )
        files = read_files(folder, dict(manifest["sha256"]), own)
        image = _image(own, _graph(folder, files), manifest, files)
        check_image(image)
        if manifest["seal"] != seal(manifest):  # last: what is wrong says more than that it is
            raise ValueError("its checksum is wrong; compile the image again")
    except (
        *(LookupError, TypeError, ValueError, AttributeError, OverflowError),
        *(RecursionError, ConfigError),
    ) as error:
        reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else str(error)
        raise ImageError(f"{folder}/manifest.json is damaged: {reason}") from None
    return image


def _graph(folder: Path, files: dict[str, bytes]) -> Graph:
    try:
        arrays = GraphArrays(files["graph.npz"])
    except ValueError as error:
        raise ImageError(f"{folder}/graph.npz is damaged: {error}") from None
    try:
        graph = load_graph(json.loads(files["graph.json"]), arrays)
        arrays.check_all_read()
    except (ImageError, ValueError, RecursionError) as error:
        raise ImageError(f"{folder}: {error}") from None
    return graph


def _json(value: Any) -> bytes:
    return (json.dumps(value, indent=1) + "\n").encode()


# --- Memories ----------------------------------------------------------------------------------


def _memory_files(image: Image) -> dict[str, bytes]:
    config = image.config
    weights = weight_entries(config, image.weights)
    parameters = PARAMETER.pack(image.parameters)
    memories = {
        "program": (image.program[:, None], 32),
        "taps": (image.taps[:, None], 32),
    }
    for drain in range(config.drains):
        weight_bits = config.segments * config.weight_width
        memories[f"weights_{drain}"] = (weights[:, drain], weight_bits)
        memories[f"parameters_{drain}"] = (parameters[:, drain], PARAMETER.width)
    files = {}
    for name, (parts, width) in memories.items():
        data = np.ascontiguousarray(parts, dtype="<u4")
        files[f"{name}.bin"] = data.tobytes()
        digits = -(-width // 4)
        lines = (f"{int.from_bytes(entry.tobytes(), 'little'):0{digits}x}\n" for entry in data)
        files[f"{name}.mem"] = "".join(lines).encode()
    return files


def _entries(data: bytes, width: int) -> NDArray[np.uint32]:
    """Entries of ``width`` bits, [n, parts]."""
    return np.frombuffer(data, "<u4").reshape(-1, -(-width // 32))


def _image(
    config: Config, graph: Graph, manifest: dict[str, Any], files: dict[str, bytes]
) -> Image:
    drains = range(config.drains)
    bits = config.segments * config.weight_width
    weights = np.stack([_entries(files[f"weights_{g}.bin"], bits) for g in drains], axis=1)
    words = entry_weights(config, weights).reshape(-1, config.columns, config.rows)
    cells = words[:, ::-1].transpose(0, 2, 1).astype(np.uint16)
    records = [_entries(files[f"parameters_{g}.bin"], PARAMETER.width) for g in drains]
    parameters = PARAMETER.unpack(np.stack(records, axis=1))
    program = _entries(files["program.bin"], 32)[:, 0]
    decode_program(program)
    # Cycles follow from the program; what an older generator predicted is of no interest.
    cycles = [layer_cycles(config, timing) for timing in decode_timings(program)]
    layers = [
        LayerInfo(
            name=record["name"],
            nodes=tuple(record["nodes"]),
            storage=_storage(record["storage"], graph.tensors, config),
            cycles=sum(cycles[record["first_descriptor"] :][: record["descriptors"]]),
            **{key: _typed(record, key, int) for key in _COUNTS},
            **{key: _typed(record, key, float) for key in _RATIOS},
        )
        for record in manifest["layers"]
    ]
    outputs = [layer.storage for layer in layers if layer.name == manifest["output"]]
    if len(outputs) != 1:
        raise ValueError(f"output {manifest['output']!r} is not one of the layers")
    return Image(
        config=config,
        graph=graph,
        program=program,
        taps=_entries(files["taps.bin"], 32)[:, 0],
        cells=cells,
        parameters=parameters,
        layers=layers,
        input=_storage(manifest["input"], graph.tensors, config),
        output=outputs[0],
    )


# --- Formats of tensors ------------------------------------------------------------------------


def _storage_record(storage: Storage) -> dict[str, Any]:
    tensor = storage.tensor
    return {
        "tensor": tensor.name,
        "shape": list(tensor.shape),
        "scale": float(tensor.scale),
        "zero_point": int(tensor.zero_point),
        "bits": int(tensor.bits),
        "base": storage.base,
        "factor": list(storage.factor),
        "blocks": storage.blocks,
        "positions": storage.positions.ravel().tolist(),
    }


def _storage(record: dict[str, Any], tensors: dict[str, Tensor], config: Config) -> Storage:
    tensor = tensors[record["tensor"]]
    told = (tuple(record["shape"]), record["scale"], record["zero_point"], record["bits"])
    if told != (tensor.shape, tensor.scale, tensor.zero_point, tensor.bits):
        raise ValueError(f"tensor {tensor.name!r} is not that of the graph")
    fy, fx = record["factor"]
    if not all(type(value) is int for value in (fy, fx, *record["positions"])):
        raise ValueError(f"tensor {tensor.name!r}: factor or positions are no integers")
    return Storage(
        tensor=tensor,
        factor=(fy, fx),
        blocks=_typed(record, "blocks", int),
        positions=np.array(record["positions"], np.int64).reshape(fy, fx, tensor.shape[2]),
        word_bytes=config.word_bytes,
        base=_typed(record, "base", int),
        kind=config.kind,
    )


def _typed(record: dict[str, Any], key: str, kind: type) -> Any:
    if type(record[key]) is not kind:
        raise ValueError(f"{key} is not of type {kind.__name__}: {record[key]!r}")
    return record[key]
