"""What a device computed against the golden model and the predicted cycles."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from termac.device.device import Result
from termac.errors import MismatchError
from termac.image import Image

__all__ = ["check_cycles", "compare"]


def compare(image: Image, result: Result, expected: dict[str, NDArray[np.int8]]) -> int:
    """Compare every layer that a device kept with the golden model's tensors.

    Returns
    -------
    int
        Number of values compared.

    Raises
    ------
    MismatchError
        At the first layer that differs; names image, layer, row tile, channel, pixel and values.
    """
    compared = 0
    kept = result.tensors or {image.graph.output: result.outputs}
    for layer in image.layers:
        if layer.name not in kept:
            continue
        found, wanted = kept[layer.name], expected[layer.name]
        if found.shape != wanted.shape:
            raise MismatchError(
                f"layer {layer.name!r}: shape {found.shape} differs from {wanted.shape}"
            )
        compared += found.size
        wrong = found != wanted
        if not wrong.any():
            continue
        n, y, x, channel = (int(index) for index in np.argwhere(wrong)[0])
        fy, fx = layer.storage.factor
        place = int(layer.storage.positions[y % fy, x % fx, channel])
        raise MismatchError(
            f"image {n}, layer {layer.name!r}, row tile {place // image.config.rows}, "
            f"channel {channel}, pixel ({y}, {x}): device {int(found[n, y, x, channel])}, "
            f"golden {int(wanted[n, y, x, channel])}; {int(wrong.sum())} of {found.size} values "
            "of this layer differ"
        )
    return compared


def check_cycles(image: Image, result: Result) -> None:
    """Compare the cycles of every layer and sample with the prediction.

    Raises
    ------
    MismatchError
        Names the first layer that took another number of cycles.
    """
    for number, layer in enumerate(image.layers):
        for sample, cycles in enumerate(result.cycles[:, number].tolist()):
            if cycles != layer.cycles:
                raise MismatchError(
                    f"layer {layer.name!r} took {cycles} cycles for sample {sample}, "
                    f"{layer.cycles} were predicted"
                )
