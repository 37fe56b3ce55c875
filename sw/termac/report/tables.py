"""Tables for people, made of what the library returns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.box import SIMPLE_HEAD
from rich.table import Table

from termac.arch import Config
from termac.image import Image
from termac.image.summary import layer_cells, memory_rows

__all__ = [
    "accuracy_table",
    "combining_table",
    "config_table",
    "configs_table",
    "facts_table",
    "layers_table",
    "memories_table",
    "predictions_table",
    "quality_table",
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


def layers_table(
    image: Image,
    *,
    simulated: NDArray[np.int64] | None = None,
    simulated_total: int = 0,
    signal_to_noise: Mapping[str, float] | None = None,
) -> Table:
    """Per layer: size, weights, passes, cycles, utilization ("busy").

    Then a row for start and end of the program, and one with the sums: the cycles of a run.

    Parameters
    ----------
    image : Image
    simulated : int64 [layers], cycles as simulated, for a column of their own; 0 if not measured
    simulated_total : of the whole run; 0 if not measured
    signal_to_noise : dB by tensor name, for a column of its own; see
        :class:`termac.compress.quantize.quality.Quality`
    """
    layers = image.layers
    start_and_end = image.cycles - sum(layer.cycles for layer in layers)
    busy = sum(layer.utilization * layer.cycles for layer in layers) / max(1, image.cycles)
    rows = [layer_cells(layer) for layer in layers]
    own = {title: [row[title] for row in rows] for title in rows[0]}
    # Header, whether numbers, a cell per layer, of start and end, of all.
    columns: list[tuple[str, bool, list[str], str, str]] = [
        ("layer", False, own["layer"], "start and end", "all"),
        ("output", True, own["output"], "", ""),
        ("MAC", True, own["MAC"], "", f"{image.macs:,}"),
    ]
    if simulated is None:
        columns.append(("nonzero", True, own["nonzero"], "", ""))
    columns.append(("passes", True, own["passes"], "", ""))
    predicted = "cycles" if simulated is None else "predicted"
    columns.append((predicted, True, own["cycles"], f"{start_and_end:,}", f"{image.cycles:,}"))
    if simulated is not None:
        rest = simulated_total - int(simulated.sum()) if simulated_total else 0
        cells = [_count(int(cycles)) for cycles in simulated]
        columns.append(("simulated", True, cells, _count(rest), _count(simulated_total)))
    if signal_to_noise is not None:
        heard = [_decibels(signal_to_noise[layer.name]) for layer in layers]
        columns.append(("SNR, dB", True, heard, "", ""))
    columns.append(("slots used", True, own["used"], "", ""))
    columns.append(("busy", True, own["busy"], "", f"{busy:.1%}"))

    title = f"Layers of {image.graph.name} on {image.config.name}"
    table = _table(title, [(header, number) for header, number, *_ in columns])
    table.caption = "slots used: weight slots that are filled; busy: cell cycles that add"
    if signal_to_noise is not None:
        table.caption += "; SNR: float output of the layer over what integers add to it"
    table.caption_justify = "left"
    for row in zip(*(cells for _, _, cells, _, _ in columns), strict=True):
        table.add_row(*row)
    table.add_section()
    table.add_row(*(cell for *_, cell, _ in columns))
    table.add_row(*(cell for *_, cell in columns))
    return table


def _decibels(value: float) -> str:
    return f"{value:.1f}" if np.isfinite(value) else "exact" if value > 0 else "lost"


def combining_table(rows: Sequence[dict[str, Any]], *, dense_cycles: int, cycles: int) -> Table:
    """One row per convolution, and one for a whole run.

    Parameters
    ----------
    rows : as :attr:`termac.flow.pack.Packed.combining_rows` gives them
    dense_cycles, cycles : of a run of the network packed without combining, and with
    """
    columns = [("layer", False), ("density", True), ("passes", True), ("combined columns", True)]
    columns += [("packed density", True), ("mass kept", True), ("output error", True)]
    columns += [("dense cycles", True), ("cycles", True)]
    table = _table("Combined columns", columns)
    table.caption = (
        "combined columns: of the filter matrix, once; passes: those of a joined pooling repeat it "
        "at every position; output error: squared, over the variance of the layer's output; dense "
        "cycles: of the network packed without combining"
    )
    table.caption_justify = "left"
    for row in rows:
        table.add_row(
            row["layer"],
            f"{row['density']:.1%}",
            f"{row['passes']} of {row['dense_passes']}",
            f"{row['combined_columns']:,}",
            f"{row['packed_density']:.1%}",
            f"{row['mass_kept']:.1%}",
            f"{row['output_error']:.3f}",
            f"{row['dense_cycles']:,}",
            f"{row['cycles']:,}",
        )
    table.add_section()
    table.add_row("a whole run", *[""] * 6, f"{dense_cycles:,}", f"{cycles:,}")
    return table


def quality_table(output_error: float, agreement: float | None, samples: int) -> Table:
    """What integers, pruning and terms change at the output, without any label.

    Parameters
    ----------
    output_error : squared, over the variance of the float model's output
    agreement : share of samples with the largest output at the same place, if they have one
    samples : number of calibration samples
    """
    facts = [("squared error over variance", f"{output_error:.4f}")]
    if agreement is not None:
        facts.append(("largest output at the same place", f"{agreement:.1%}"))
    title = f"Packed output against the float model's, last {samples:,} calibration samples"
    return facts_table(title, facts)


def accuracy_table(what: str, forms: Mapping[str, str]) -> Table:
    """Accuracy on samples with labels, by form of the model: float, integer, packed."""
    facts = [(f"{form} model", shown) for form, shown in forms.items()]
    return facts_table(f"Accuracy on {what}", facts)


def terms_table(rows: Sequence[dict[str, Any]]) -> Table:
    """One row per convolution, as :attr:`termac.flow.pack.Packed.terms_rows` gives them."""
    columns = [("layer", False), ("terms", True), ("of data", True), ("powers of two", False)]
    columns += [("terms a weight", True), ("weight error", True), ("output error", True)]
    columns += [("beats per MAC", True), ("of 49", True)]
    table = _table("Terms", columns)
    table.caption = (
        "terms: of a group of weights; terms a weight: mean, of the int8 and the new weights; "
        "of 49: term pairs of two 8-bit values, sign and magnitude"
    )
    table.caption_justify = "left"
    for row in rows:
        terms = row["terms"]
        table.add_row(
            row["layer"],
            f"{terms['weights']}/{row['group']}",
            str(terms["data"] or "whole"),
            " ".join(map(str, terms["exponents"])) or "any",
            f"{row['terms_before']:.2f} -> {row['terms_after']:.2f}",
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
