"""Tables for people, made of what the library returns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.table import Table

from termac.arch import Config
from termac.image import Image
from termac.image.summary import memory_rows

__all__ = [
    "combining_table",
    "config_table",
    "configs_table",
    "facts_table",
    "layers_table",
    "memories_table",
    "predictions_table",
    "terms_table",
]

BINARY_PAIRS = 49
"""Term pairs of a multiplication of 8-bit values as sign and seven binary digits."""


def _table(title: str, columns: Iterable[tuple[str, bool]]) -> Table:
    """Table with (header, whether numbers) columns."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=SIMPLE_HEAD,
        show_edge=False,
        collapse_padding=True,
        pad_edge=False,
    )
    for header, number in columns:
        # Names may fold on a narrow terminal; a folded number cannot be read.
        table.add_column(
            header, justify="right" if number else "left", overflow="fold", no_wrap=number
        )
    return table


def facts_table(title: str, facts: Sequence[tuple[str, str]]) -> Table:
    """Name and value per row."""
    table = Table(title=title, title_justify="left", title_style="bold", box=None,
                  show_header=False, padding=(0, 2, 0, 1))  # fmt: skip
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(name, value)
    return table


def configs_table(configs: Sequence[Config]) -> Table:
    """One row per configuration."""
    table = _table(
        "Configurations",
        [("name", False), ("cell", False), ("rows x columns", True), ("lanes", True),
         ("segments", True), ("cells", True), ("weights or terms", True), ("activations", True),
         ("hash", False)],
    )  # fmt: skip
    for config in configs:
        table.add_row(
            config.name,
            config.cell,
            f"{config.rows} x {config.columns}",
            str(config.lanes),
            str(config.segments),
            f"{config.cells:,}",
            f"{config.weight_depth * config.rows:,}",
            _kibibytes(config.activation_depth * config.word_bytes),
            config.digest[:8],
        )
    return table


def config_table(config: Config) -> Table:
    """All parameters of a configuration and what follows from them."""
    facts = [(key, str(value)) for key, value in asdict(config).items() if key != "name"]
    facts += [
        ("", ""),
        ("cells", f"{config.cells:,}"),
        ("memory word", f"{config.word_bytes} bytes"),
        ("activation banks", str(config.banks)),
        ("drains", str(config.drains)),
        ("activation memory", _kibibytes(config.activation_depth * config.word_bytes)),
        ("weight memory", f"{config.weight_depth // config.columns} "
         + f"{config.kind.tile}s, "
         + _kibibytes(config.weight_depth * config.rows * config.weight_width // 8)),
        ("hash", config.digest[:8]),
    ]  # fmt: skip
    return facts_table(f"Configuration {config.name}", facts)


def layers_table(image: Image, simulated: NDArray[np.int64] | None = None) -> Table:
    """Per layer: size, weights, passes, cycles, utilization ("busy"); a row of totals.

    Parameters
    ----------
    image : Image
    simulated : int64 [layers], cycles as simulated, for a column of their own; 0 if not measured
    """
    columns = [("layer", False), ("output", True), ("MAC", True)]
    columns += [("nonzero", True)] if simulated is None else []
    columns += [("passes", True), ("cycles" if simulated is None else "predicted", True)]
    columns += [] if simulated is None else [("simulated", True)]
    columns += [("slots used", True), ("busy", True)]
    table = _table(f"Layers of {image.graph.name} on {image.config.name}", columns)
    table.caption = "slots used: weight slots that are filled; busy: cell cycles that add"
    table.caption_justify = "left"
    for number, layer in enumerate(image.layers):
        cells = [layer.name, "x".join(map(str, layer.storage.tensor.shape)), f"{layer.macs:,}"]
        if simulated is None:
            cells.append(f"{layer.nonzero / max(1, layer.weights):.1%}")
        cells += [f"{layer.passes:,}", f"{layer.cycles:,}"]
        if simulated is not None:
            cells.append(_count(int(simulated[number])))
        table.add_row(*cells, f"{layer.density:.1%}", f"{layer.utilization:.1%}")
    table.add_section()
    predicted = sum(layer.cycles for layer in image.layers)
    busy = sum(layer.utilization * layer.cycles for layer in image.layers) / max(1, predicted)
    total = ["all layers", "", f"{image.macs:,}"]
    total += [""] if simulated is None else []
    total += ["", f"{predicted:,}"]
    total += [] if simulated is None else [_count(int(simulated.sum()) if simulated.all() else 0)]
    table.add_row(*total, "", f"{busy:.1%}")
    return table


def combining_table(rows: Sequence[dict[str, Any]]) -> Table:
    """One row per convolution, as :attr:`termac.flow.pack.Packed.combining_rows` gives them."""
    columns = [("layer", False), ("density", True), ("passes", True), ("combined columns", True)]
    columns += [("packed density", True), ("mass kept", True), ("output error", True)]
    columns += [("cycles before", True), ("after", True)]
    table = _table("Combined columns", columns)
    for row in rows:
        table.add_row(
            row["node"],
            f"{row['density']:.1%}",
            f"{row['passes']} of {row['dense_passes']}",
            f"{row['combined_columns']:,}",
            f"{row['packed_density']:.1%}",
            f"{row['mass_kept']:.1%}",
            f"{row['output_error']:.3f}",
            f"{row['cycles_before']:,}",
            f"{row['cycles']:,}",
        )
    table.add_section()
    before = sum(row["cycles_before"] for row in rows)
    after = sum(row["cycles"] for row in rows)
    table.add_row("all of these", *[""] * 6, f"{before:,}", f"{after:,}")
    return table


def terms_table(rows: Sequence[dict[str, Any]]) -> Table:
    """One row per convolution, as :attr:`termac.flow.pack.Packed.terms_rows` gives them."""
    columns = [("layer", False), ("terms", True), ("of data", True), ("powers of two", False)]
    columns += [("terms kept", True), ("weight error", True), ("output error", True)]
    columns += [("beats per MAC", True), ("of 49", True)]
    table = _table("Terms", columns)
    table.caption = (
        "terms: of a group of weights; terms kept: of those of the int8 weights; of 49: term pairs "
        "of two 8-bit values, sign and magnitude"
    )
    table.caption_justify = "left"
    for row in rows:
        terms = row["terms"]
        table.add_row(
            row["node"],
            f"{terms['weights']}/{row['group']}",
            str(terms["data"] or "whole"),
            " ".join(map(str, terms["exponents"])) or "any",
            f"{row['terms_kept']:.1%}",
            f"{row['rms_error']:.1%}",
            f"{row['output_error']:.4f}",
            f"{row['pairs']:.2f}",
            f"1/{BINARY_PAIRS / row['pairs']:.1f}",
        )
    table.add_section()
    total = sum(row["macs"] for row in rows)
    pairs = sum(row["pairs"] * row["macs"] for row in rows) / max(1, total)
    table.add_row("all layers", *[""] * 6, f"{pairs:.2f}", f"1/{BINARY_PAIRS / pairs:.1f}")
    return table


def memories_table(image: Image) -> Table:
    """How full every memory is."""
    table = _table(
        "Memories", [("memory", False), ("used", True), ("words", True), ("share", True)]
    )
    for row in memory_rows(image):
        used, words = row["used"], row["words"]
        table.add_row(row["memory"], f"{used:,}", f"{words:,}", f"{used / words:.0%}")
    return table


def predictions_table(
    labels: Sequence[str], predicted: Sequence[str], cycles: NDArray[np.int64]
) -> Table:
    """One row per sample: true label, predicted class, cycles of the run."""
    table = _table(
        "Simulated Verilog, image by image",
        [("image", True), ("label", False), ("prediction", False), ("", False), ("cycles", True)],
    )
    for number, (label, guess) in enumerate(zip(labels, predicted, strict=True)):
        verdict = "" if label == guess else "wrong"
        table.add_row(str(number), label, guess, verdict, f"{int(cycles[number]):,}")
    return table


def _kibibytes(count: int) -> str:
    return f"{count / 1024:,.0f} KiB" if count >= 1024 else f"{count} bytes"


def _count(cycles: int) -> str:
    return f"{cycles:,}" if cycles else "-"
