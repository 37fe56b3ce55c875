"""Devices that run an image, and the comparison of what they computed.

The golden model, the simulated accelerator (:mod:`termac_sim.device`) and boards share one
interface, so that whatever runs on one runs on all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from termac.errors import MismatchError
from termac.graph import golden
from termac.image import Image

__all__ = ["Device", "GoldenDevice", "Result", "check_cycles", "compare"]


@dataclass(frozen=True, eq=False)
class Result:
    """What a device computed for a batch.

    Parameters
    ----------
    outputs : int8 [N, height, width, channels], the network's output tensor
    tensors : by name, int8 [N, height, width, channels]; the output of every layer, if asked for
    cycles : int64 [N, layers], measured cycles of every layer; empty for the golden model
    total_cycles : int64 [N], from start until done; empty for the golden model
    counters : int64 [N] by name: issue, stall_weights, setup, drain
    """

    outputs: NDArray[np.int8]
    tensors: dict[str, NDArray[np.int8]] = field(default_factory=dict)
    cycles: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    total_cycles: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    counters: dict[str, NDArray[np.int64]] = field(default_factory=dict)


class Device(ABC):
    """Something that runs the image it was made for."""

    def __init__(self, image: Image) -> None:
        self.image = image

    @abstractmethod
    def run(self, x: NDArray[np.int8], *, tensors: bool = False) -> Result:
        """Run a batch, image by image.

        Parameters
        ----------
        x : int8 [N, height, width, channels], see :func:`termac.graph.golden.quantize_input`
        tensors : also keep the output of every layer

        Raises
        ------
        InputError
            If the shape or a value does not fit the input tensor.
        DeviceError
            If the device stops with an error.
        """


class GoldenDevice(Device):
    """The golden model: evaluates the integer graph, knows nothing of the program."""

    def run(self, x: NDArray[np.int8], *, tensors: bool = False) -> Result:
        graph = self.image.graph
        values = golden.run(graph, x)
        return Result(outputs=values[graph.output], tensors=values if tensors else {})


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
