"""Options that the training scripts share, and where their files lie."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

__all__ = [
    "DATA",
    "ROOT",
    "checkpoint_option",
    "data_option",
    "epochs_option",
    "output_option",
    "run_files",
    "weights_option",
]

ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT.parent / "shared" / "data"
"""Public data and checkpoints, beside the project."""
_FILE = click.Path(dir_okay=False, path_type=Path)

Decorator = Callable[[Any], Any]


def data_option(folder: str, content: str) -> Decorator:
    """``--data``: a folder of :data:`DATA` by default."""
    return click.option(
        "--data",
        type=click.Path(file_okay=False, path_type=Path),
        default=DATA / folder,
        help=f"Folder of {content} [../shared/data/{folder} beside the project].",
    )


def weights_option(file: str) -> Decorator:
    """``--weights``: the dense checkpoint, a file of :data:`DATA` by default."""
    return click.option(
        "--weights",
        type=_FILE,
        default=DATA / file,
        help=f"Dense checkpoint [../shared/data/{file} beside the project].",
    )


def output_option(default: Path | None = None) -> Decorator:
    """``--output``: the ONNX file; without a default, :func:`run_files` names it."""
    shown = "build/NAME.onnx" if default is None else "the package's own model"
    return click.option(
        "--output", type=_FILE, default=default, help=f"ONNX file to write [{shown}]."
    )


def checkpoint_option(default: Path | None = None) -> Decorator:
    """``--checkpoint``: without a default, :func:`run_files` names it."""
    return click.option(
        "--checkpoint",
        type=_FILE,
        default=default,
        help="Saved after each epoch; a run continues from it "
        f"[build/{'NAME.pt' if default is None else default.name}].",
    )


def epochs_option(default: int, least: int = 1) -> Decorator:
    """``--epochs``."""
    return click.option("--epochs", type=click.IntRange(least), default=default, show_default=True)


def run_files(name: str, output: Path | None, checkpoint: Path | None) -> tuple[Path, Path]:
    """ONNX file and checkpoint of a run, in ``build`` unless they were named."""
    build = ROOT / "build"
    return output or build / f"{name}.onnx", checkpoint or build / f"{name}.pt"
