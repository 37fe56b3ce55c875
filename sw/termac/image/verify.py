"""Whether the parts of an image go together: tensors in the memory, layers in the program."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from termac.arch import DESCRIPTOR_FIELDS, DESCRIPTOR_WORDS, DecodedLayer, Opcode
from termac.arch.program import HEADER, descriptors
from termac.arch.registers import REGISTERS
from termac.image.image import Image, LayerInfo
from termac.image.storage import Storage

__all__ = ["MOST_CYCLES", "check_image", "decode_program"]

MOST_CYCLES = (1 << REGISTERS["WATCHDOG"].fields.width) - 1
"""Cycles that the watchdog can count."""

MOST_PASSES = 1 << 20
"""Pass records of all layers; many layers may share the same ones."""


def check_image(image: Image) -> None:
    """Check everything that follows from something else in the image.

    Raises
    ------
    ValueError
        Says what is wrong and where.
    """
    _check_memories(image)
    _check_layers(image)
    _check_storage(image.input, image)
    decoded = decode_program(image.program)
    wanted = sum(layer.descriptors for layer in image.layers)
    if len(decoded) != wanted:
        raise ValueError(f"program: {len(decoded)} descriptors, the layers have {wanted}")
    for layer in image.layers:
        _check_program(layer, decoded[layer.first_descriptor :][: layer.descriptors], image)
    if image.cycles > MOST_CYCLES:
        raise ValueError(_too_long(f"{image.cycles:,}"))


def decode_program(program: Iterable[int]) -> list[DecodedLayer]:
    """Layers of a program that comes from a file.

    Raises
    ------
    ValueError
        If the words are no program, or of more than :data:`MOST_PASSES` passes.
    """
    _check_duration([int(word) for word in program])
    decoded: list[DecodedLayer] = []
    passes = 0
    for descriptor in descriptors(program):
        decoded.append(descriptor)
        passes += len(descriptor.passes)
        if not descriptor.passes or passes > MOST_PASSES:
            raise ValueError(f"program: descriptor {len(decoded) - 1} has too few or many passes")
    return decoded


def _check_duration(words: Sequence[int]) -> None:
    """Refuse counts that no watchdog outlives, before their passes are looked for."""
    least = 0
    for address in range(1, len(words) - DESCRIPTOR_WORDS, DESCRIPTOR_WORDS):
        if HEADER.unpack_one(words[address])["opcode"] != Opcode.LAYER:
            break
        record = words[address : address + DESCRIPTOR_WORDS]
        values = DESCRIPTOR_FIELDS.unpack_one(sum(w << 32 * i for i, w in enumerate(record)))
        least += values["row_tiles"] * values["passes"] * values["vectors"] * values["time"]
    if least > MOST_CYCLES:
        raise ValueError(_too_long(f"at least {least:,}"))


def _too_long(cycles: str) -> str:
    return f"program: it takes {cycles} cycles, more than the watchdog can count ({MOST_CYCLES:,})"


def _check_memories(image: Image) -> None:
    config = image.config
    header = HEADER.unpack_one(int(image.program[0])) if len(image.program) else {}
    if header != {"opcode": Opcode.HEADER, "config": config.hash32 & HEADER["config"].limits[1]}:
        raise ValueError("program: it does not begin with the header of the configuration")
    for memory, words, depth in (
        ("program", len(image.program), config.program_depth),
        ("taps", len(image.taps), config.tap_depth),
        ("weights", len(image.cells) * config.columns, config.weight_depth),
        ("parameters", len(image.parameters["bias"]), config.parameter_depth),
    ):
        if words > depth:
            raise ValueError(f"{memory}: {words:,} words, the memory has {depth:,}")


def _check_layers(image: Image) -> None:
    graph, end = image.graph, 0
    if image.input.tensor.name != graph.input or image.output.tensor.name != graph.output:
        raise ValueError("input or output is not that of the graph")
    nodes = [node for layer in image.layers for node in layer.nodes]
    if sorted(nodes) != sorted(node.name for node in graph.nodes):
        raise ValueError("the layers do not compute every node of the graph once")
    for layer in image.layers:
        where = f"layer {layer.name!r}"
        if layer.storage.tensor.name != layer.name or layer.name not in layer.nodes:
            raise ValueError(f"{where} does not compute its output")
        if layer.first_descriptor != end or layer.descriptors < 1:
            raise ValueError(f"{where} does not begin where the one before ends")
        end += layer.descriptors
        for what in ("macs", "passes", "weights", "nonzero", "columns", "dense_cycles"):
            if getattr(layer, what) < 0:
                raise ValueError(f"{where}: {what} is negative")
        for what in ("density", "utilization"):
            if not (math.isfinite(getattr(layer, what)) and 0 <= getattr(layer, what) <= 1):
                raise ValueError(f"{where}: {what} is not within 0..1")
        _check_storage(layer.storage, image)


def _check_storage(storage: Storage, image: Image) -> None:
    """Every byte of a stored pixel belongs to one value at most, and all words exist."""
    where = f"tensor {storage.tensor.name!r}"
    depth = image.config.activation_depth
    if min(*storage.factor, storage.blocks) < 1 or storage.base < 0:
        raise ValueError(f"{where}: factor, blocks or base is impossible")
    if storage.base + storage.words > depth:
        raise ValueError(f"{where}: words beyond the {depth:,} of the activation memory")
    room = storage.blocks * storage.word_bytes
    places = storage.positions.ravel().tolist()
    if min(places) < 0 or max(places) >= room or len(set(places)) != len(places):
        raise ValueError(f"{where}: positions are not different bytes of its {room} a pixel")


def _check_program(layer: LayerInfo, decoded: list[DecodedLayer], image: Image) -> None:
    storage, where = layer.storage, f"layer {layer.name!r}"
    passes = 0
    for descriptor in decoded:
        values = descriptor.values
        passes += values["row_tiles"] * values["passes"]
        found = (
            *(values["vectors"], values["out_width"], values["out_blocks"], values["align"]),
            not 0 <= values["out_base"] - storage.base < storage.blocks,
        )
        pixels = storage.height * storage.width
        if found != (pixels, storage.width, storage.blocks, storage.align, False):
            raise ValueError(f"{where}: its program writes another tensor")
        if values["taps"] + len(descriptor.passes) * image.config.segments > len(image.taps):
            raise ValueError(f"{where}: its program reads taps beyond the last")
    if passes != layer.passes:
        raise ValueError(f"{where}: its program has {passes} passes, the manifest {layer.passes}")
