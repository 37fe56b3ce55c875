"""The whole way on one small network: digits, from the model file to the simulated Verilog."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from termac.arch import load_config
from termac.device import Result
from termac.device.compare import check_cycles, compare
from termac.examples import MODELS, datasets
from termac.flow.pack import pack
from termac.frontend import load_model
from termac.generate import generate
from termac.graph import golden
from termac.image import Image, save_image
from termac.report.tiles import draw_utilization, draw_weights

__all__ = ["CALIBRATION_SAMPLES", "PRESET", "DemoResult", "run_demo"]

PRESET = "demo"
CALIBRATION_SAMPLES = 256

Stage = Callable[[str], AbstractContextManager[Callable[[int, int, str], None]]]
"""Announces a stage; the context yields ``advance(done, total, text)``."""


@dataclass(frozen=True, eq=False)
class DemoResult:
    """What the demo found and where it put it.

    Parameters
    ----------
    image : the compiled network
    result : of the simulated Verilog
    labels, predictions : int64 [N], of the simulated images
    float_accuracy, integer_accuracy : share of the whole test split, 0..1
    test_images : size of the test split
    compared : values compared between Verilog and golden model, all layers
    files : by kind
    """

    image: Image
    result: Result
    labels: NDArray[np.int64]
    predictions: NDArray[np.int64]
    float_accuracy: float
    integer_accuracy: float
    test_images: int
    compared: int
    files: dict[str, Path]


def run_demo(
    folder: Path, simulated_device: Callable[..., Any], stage: Stage, *, images: int = 16
) -> DemoResult:
    """Quantize, pack, generate Verilog, simulate, compare every layer, draw.

    Parameters
    ----------
    folder : where everything is written
    simulated_device : :class:`termac_sim.device.SimulatedDevice`
    stage : shows what is going on
    images : test images that run through the Verilog

    Raises
    ------
    MismatchError
        If a value of any layer differs from the golden model, or a cycle count from its prediction.
    InputError
        If scikit-learn, which brings the digits, is not installed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    data = datasets.digits()
    train, test = data.train, data.test
    config = load_config(PRESET)
    files = {
        "verilog": folder / "verilog",
        "image": folder / "image",
        "weights": folder / "weights.png",
        "lanes": folder / "lanes.png",
        "utilization": folder / "utilization.png",
    }

    with stage("Quantizing and packing the digits network"):
        float_graph = load_model(MODELS / "digits.onnx")
        packed = pack(float_graph, config, train.images[:CALIBRATION_SAMPLES])
        graph, image = packed.graph, packed.image
        save_image(image, files["image"])
        draw_weights(image, files["weights"])
        draw_weights(image, files["lanes"], colour="lane")
        draw_utilization(image, files["utilization"])

    with stage(f"Running {len(test)} test images in the float and the integer model"):
        samples = test.images
        scores = float_graph.predict(samples)
        x = golden.quantize_input(graph, samples)
        y = golden.run(graph, x, outputs_only=True)[graph.output]
        integer_scores = golden.dequantize_output(graph, y)

    with stage(f"Generating Verilog for the {PRESET} configuration"):
        generate(config, files["verilog"])

    with stage("Building the simulator"):
        device = simulated_device(image)
    with stage(f"Running {images} test images through the Verilog") as advance:
        result = device.run(x[:images], tensors=True, progress=advance)

    with stage("Comparing every layer with the golden model"):
        wanted = golden.run(graph, x[:images])
        compared = compare(image, result, wanted)
        check_cycles(image, result)

    return DemoResult(
        image=image,
        result=result,
        labels=test.labels[:images],
        predictions=golden.dequantize_output(graph, result.outputs).argmax(axis=1),
        float_accuracy=_accuracy(scores, test.labels),
        integer_accuracy=_accuracy(integer_scores, test.labels),
        test_images=len(test),
        compared=compared,
        files=files,
    )


def _accuracy(scores: NDArray[np.floating], labels: NDArray[np.int64]) -> float:
    return float((scores.argmax(axis=1) == labels).mean())
