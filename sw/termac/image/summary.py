"""What an image says of its layers and memories, for people and for scripts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from termac.image.image import Image, LayerInfo

__all__ = ["layer_cells", "memory_rows", "summary_rows", "summary_text"]


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


def memory_rows(image: Image) -> list[dict[str, Any]]:
    """One record per memory: its name as in :class:`termac.arch.memory_map.MemoryMap`, the words
    that the image uses, and those that there are."""
    config = image.config
    stored = [image.input, *(layer.storage for layer in image.layers)]
    uses = (
        ("activations", max(s.base + s.words for s in stored), config.activation_depth),
        ("weights", len(image.cells) * config.columns, config.weight_depth),
        ("parameters", len(image.parameters["bias"]), config.parameter_depth),
        ("program", len(image.program), config.program_depth),
        ("taps", len(image.taps), config.tap_depth),
    )
    return [{"memory": name, "used": used, "words": words} for name, used, words in uses]


def layer_cells(layer: LayerInfo) -> dict[str, str]:
    """Cells of a table of layers, by the title of their column."""
    storage = layer.storage
    return {
        "layer": layer.name,
        "output": "x".join(map(str, storage.tensor.shape)),
        "pixels": "x".join(map(str, storage.factor)),
        "MAC": f"{layer.macs:,}",
        "nonzero": f"{layer.nonzero / max(1, layer.weights):.1%}",
        "columns": f"{layer.columns:,}",
        "passes": f"{layer.passes:,}",
        "cycles": f"{layer.cycles:,}",
        "dense": f"{layer.dense_cycles:,}",
        "used": f"{layer.density:.1%}",
        "busy": f"{layer.utilization:.1%}",
    }


def summary_text(image: Image) -> str:
    """A table with the totals and the use of every memory below it."""
    cells = [layer_cells(layer) for layer in image.layers]
    titles = tuple(cells[0])
    table = [titles, *(tuple(row.values()) for row in cells)]
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
    lines.append("")
    for row in memory_rows(image):
        name = row["memory"].removesuffix("s")
        lines.append(f"{name} memory: {row['used']} of {row['words']} words")
    return "\n".join(lines) + "\n"
