"""Devices that run an image.

The golden model, the simulated accelerator (:mod:`termac_sim.device`) and boards share one
interface, so that whatever runs on one runs on all.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from termac.graph import golden
from termac.image import Image

__all__ = ["Device", "GoldenDevice", "Progress", "Result", "join_results"]

Progress = Callable[[int, int, str], None]
"""Called with done, total, text."""


@dataclass(frozen=True, eq=False)
class Result:
    """What a device computed for a batch.

    Parameters
    ----------
    outputs : int8 [N, height, width, channels], the network's output tensor
    tensors : by name, int8 [N, height, width, channels]; the output of every layer, if asked for
    cycles : int64 [N, layers], measured cycles of every layer; empty for the golden model
    total_cycles : int64 [N], from start until done; empty for the golden model
    counters : int64 [N] by name, see :data:`termac.arch.registers.COUNTERS`
    """

    outputs: NDArray[np.int8]
    tensors: dict[str, NDArray[np.int8]] = field(default_factory=dict)
    cycles: NDArray[np.int64] = field(default_factory=lambda: np.zeros((0, 0), np.int64))
    total_cycles: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    counters: dict[str, NDArray[np.int64]] = field(default_factory=dict)


def join_results(results: Sequence[Result]) -> Result:
    """Results of the parts of a batch, one after the other, as that of the whole batch.

    Parameters
    ----------
    results : at least one; all of one image and device
    """
    first = results[0]
    return Result(
        outputs=np.concatenate([result.outputs for result in results]),
        tensors={
            name: np.concatenate([result.tensors[name] for result in results])
            for name in first.tensors
        },
        cycles=np.concatenate([result.cycles for result in results]),
        total_cycles=np.concatenate([result.total_cycles for result in results]),
        counters={
            name: np.concatenate([result.counters[name] for result in results])
            for name in first.counters
        },
    )


class Device(ABC):
    """Something that runs the image it was made for."""

    def __init__(self, image: Image) -> None:
        self.image = image

    @abstractmethod
    def run(
        self, x: NDArray[np.int8], *, tensors: bool = False, progress: Progress | None = None
    ) -> Result:
        """Run a batch, image by image.

        Parameters
        ----------
        x : int8 [N, height, width, channels], see :func:`termac.graph.golden.quantize_input`
        tensors : also keep the output of every layer
        progress : called with done, total, text

        Raises
        ------
        InputError
            If the shape or a value does not fit the input tensor.
        DeviceError
            If the device stops with an error.
        """


class GoldenDevice(Device):
    """The golden model: evaluates the integer graph, knows nothing of the program."""

    def run(
        self, x: NDArray[np.int8], *, tensors: bool = False, progress: Progress | None = None
    ) -> Result:
        graph = self.image.graph
        values = golden.run(graph, x)
        if progress is not None:
            progress(len(x), len(x), "images")
        return Result(outputs=values[graph.output], tensors=values if tensors else {})
