"""Per-layer figures of an image, for people and for scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from termac.image.image import Image

__all__ = ["summary_rows", "summary_text"]


def summary_rows(image: Image) -> list[dict[str, Any]]:
    """One record per layer; cycles are predicted."""
    rows = []
    for layer in image.layers:
        storage = layer.storage
        rows.append(
            {
                "layer": layer.name,
                "nodes": list(layer.nodes),
                "output": list(storage.tensor.shape),
                "bits": storage.tensor.bits,
                "pixels_per_word": list(storage.factor),
                "macs": layer.macs,
                "weights": layer.weights,
                "nonzero": layer.nonzero,
                "passes": layer.passes,
                "columns": layer.columns,
                "cycles": layer.cycles,
                "dense_cycles": layer.dense_cycles,
                "density": round(layer.density, 4),
                "utilization": round(layer.utilization, 4),
            }
        )
    return rows


def summary_text(image: Image) -> str:
    """A table with the totals and the use of every memory below it."""
    config = image.config
    titles = (
        *("layer", "output", "pixels", "MAC", "nonzero", "columns", "passes"),
        *("cycles", "dense", "used", "busy"),
    )
    table = [titles]
    for layer in image.layers:
        storage = layer.storage
        table.append(
            (
                layer.name,
                "x".join(map(str, storage.tensor.shape)),
                "x".join(map(str, storage.factor)),
                f"{layer.macs:,}",
                f"{layer.nonzero / max(1, layer.weights):.1%}",
                f"{layer.columns:,}",
                f"{layer.passes}",
                f"{layer.cycles:,}",
                f"{layer.dense_cycles:,}",
                f"{layer.density:.1%}",
                f"{layer.utilization:.1%}",
            )
        )
    dense = sum(layer.dense_cycles for layer in image.layers)
    dense += image.cycles - sum(layer.cycles for layer in image.layers)
    total = ("total", "", "", f"{image.macs:,}", "", "", "", f"{image.cycles:,}", f"{dense:,}")
    table.append((*total, "", ""))
    widths = [max(len(row[i]) for row in table) for i in range(len(titles))]
    lines = [
        "  ".join(
            cell.ljust(width) if i < 2 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
    stored = [image.input, *(layer.storage for layer in image.layers)]
    uses = (
        ("activation", max(s.base + s.words for s in stored), config.activation_depth),
        ("weight", len(image.cells) * config.columns, config.weight_depth),
        ("parameter", len(image.parameters["bias"]), config.parameter_depth),
        ("program", len(image.program), config.program_depth),
        ("tap", len(image.taps), config.tap_depth),
    )
    lines.append("")
    lines += [f"{name} memory: {used} of {depth} words" for name, used, depth in uses]
    return "\n".join(lines) + "\n"
