"""``termac pack``: from a model file to an image."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from termac.cli.common import Reporter, json_option
from termac.cli.options import SelectsOption, TermChoice, TermOption, labels_option, test_option
from termac.cli.warn import strict_option, warn
from termac.files import check_writable_file, check_writable_folder, load_array
from termac.report.console import progress

if TYPE_CHECKING:
    from termac.flow.labelled import LabelledPack
    from termac.flow.pack import Packed

__all__ = ["pack"]


@click.command()
@click.argument("model", metavar="MODEL.onnx", type=click.Path(path_type=Path))
@click.option(
    "--config", "config_name", metavar="NAME", required=True, help="Preset, or path of a TOML file."
)
@click.option(
    "--calibration",
    metavar="X.npy",
    type=click.Path(path_type=Path),
    required=True,
    help="Typical inputs, batch on axis 0; 100 to 1000 are plenty.",
)
@click.option(
    "-o",
    "--output",
    metavar="IMAGE_DIR",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder to write.",
)
@click.option(
    "--bits",
    type=click.IntRange(1, 8),
    default=8,
    show_default=True,
    help="Bits of the activations between layers.",
)
@click.option(
    "--combine",
    "selects",
    metavar="auto|N",
    type=SelectsOption(),
    help="Prune so that columns combine, N weights of each per row (1 to lanes); auto: as few "
    "passes as --max-loss allows, layer by layer.",
)
@click.option(
    "--terms",
    "choice",
    metavar="auto|K/G[,S]",
    type=TermOption(),
    help="Round weights so that a group of G keeps K signed powers of two, G being the lanes; "
    "with 'term_pair' cells every activation keeps its S largest. auto: as few as --max-loss "
    "allows, layer by layer.",
)
@click.option(
    "--encoding",
    type=click.Choice(["naf", "hese"]),
    help="With --terms: how 'term_pair' cells split activations.  [default: naf]",
)
@click.option(
    "--max-loss",
    metavar="X",
    type=float,
    help="With --combine auto or --terms auto: bound of each layer's squared output error, over "
    "the output's variance, on the calibration data.  [default: 0.01; terms: 0.02]",
)
@labels_option("the --test samples, or else on the calibration samples")
@test_option("Samples that the labels belong to; nothing is fitted to them.")
@click.option(
    "--max-accuracy-loss",
    metavar="P",
    type=click.FloatRange(0, 100),
    help="With --combine auto or --terms auto: as few passes or terms as keep the packed model "
    "within P points of the float model, on one half of the labelled samples; accuracy is then "
    "printed for the other half.",
)
@click.option(
    "--picture",
    metavar="FILE.png",
    type=click.Path(path_type=Path),
    help="Draw the filter matrices before and after packing; the planes of terms, if cells keep "
    "them.",
)
@strict_option
@json_option
def pack(
    model: Path,
    config_name: str,
    calibration: Path,
    output: Path,
    bits: int,
    selects: int | Literal["auto"] | None,
    choice: TermChoice | None,
    encoding: str | None,
    max_loss: float | None,
    labels_path: Path | None,
    test_path: Path | None,
    max_accuracy_loss: float | None,
    picture: Path | None,
    strict: bool,
    reporter: Reporter,
) -> None:
    """Quantize MODEL.onnx and compile it for a configuration.

    The image folder holds everything that the accelerator needs to run the network by itself, and
    the integer graph that it is compared with. A model that was trained to pack brings its grouping
    along; --combine prunes any other, without training. --terms is for cells that keep terms.
    """
    from termac.arch import load_config
    from termac.compress.terms.allowance import check_cell
    from termac.flow.labelled import check_labels_options, pack_labelled
    from termac.flow.pack import check_choices

    check_writable_folder(output, "--output")
    if picture is not None:
        check_writable_file(picture, "--picture")
    config = load_config(config_name)
    if choice is not None:
        check_cell(config, choice.group)
    terms = None if choice is None else choice.allowance
    check_choices(config, combine=selects, terms=terms, encoding=encoding, max_loss=max_loss)
    check_labels_options(
        labels=labels_path is not None, test=test_path is not None, bound=max_accuracy_loss,
        max_loss=max_loss, is_auto="auto" in (selects, terms),
    )  # fmt: skip
    samples = load_array(calibration, "calibration data")
    labels = load_array(labels_path, "labels") if labels_path else None
    test = load_array(test_path, "test data") if test_path else None

    from termac.frontend import load_model
    from termac.image import save_image

    with progress(f"Packing {model.name}") as advance:
        done = pack_labelled(
            load_model(model), config, samples, labels=labels, test=test,
            max_accuracy_loss=max_accuracy_loss, bits=bits, combine=selects, terms=terms,
            encoding=encoding, max_loss=max_loss, progress=advance,
        )  # fmt: skip
        warn([*done.packed.warnings, *done.warnings], strict=strict)
        if picture is not None:
            _draw(done.packed, picture)
        save_image(done.packed.image, output)
    _report(done, output, picture, reporter)


def _draw(packed: Packed, picture: Path) -> None:
    """The filter matrices before and after, if columns combine; else what the cells hold."""
    from termac.report.combining import draw_combining
    from termac.report.tiles import draw_weights

    if packed.model is not None and packed.image.config.kind.combines:
        dense = {node: n.cycles for n in packed.dense_image.layers for node in n.nodes}
        draw_combining(packed.model, packed.image, picture, dense_cycles=dense)
    else:
        draw_weights(packed.image, picture)


def _report(done: LabelledPack, output: Path, picture: Path | None, reporter: Reporter) -> None:
    from termac.image.summary import memory_rows, summary_rows

    packed, accuracy = done.packed, done.accuracy
    image, found = packed.image, packed.quality
    rows, quality = summary_rows(image), None
    if found is not None:
        for row in rows:
            row["signal_to_noise_db"] = _finite(found.signal_to_noise[row["layer"]])
        quality = {
            "samples": found.samples,
            "output_error": found.output_error,
            "agreement": found.agreement,
        }
    facts: dict[str, Any] = {
        "folder": output,
        "config": image.config.name,
        "config_digest": image.config.digest,
        "network": image.graph.name,
        "cycles": image.cycles,
        "macs": image.macs,
        "layers": rows,
        "memories": memory_rows(image),
        "quality": quality,
        "combining": packed.combining_rows,
        "terms": packed.terms_rows,
        "accuracy": accuracy.record() if accuracy else None,
        "max_loss": done.max_loss,
        "notes": packed.notes,
        "warnings": [*packed.warnings, *done.warnings],
    }

    def tables() -> Iterator[Any]:
        from termac.report.tables import (
            accuracy_table,
            combining_table,
            layers_table,
            memories_table,
            quality_table,
            terms_table,
        )  # fmt: skip

        yield layers_table(image, signal_to_noise=found.signal_to_noise if found else None)
        if packed.combined:
            yield combining_table(
                facts["combining"],
                dense_cycles=packed.dense_image.cycles,
                cycles=image.cycles,
            )
        if packed.termed:
            yield terms_table(facts["terms"])
        if found is not None:
            yield quality_table(found.output_error, found.agreement, found.samples)
        if accuracy is not None:
            forms = {form: accuracy.shown(form) for form in accuracy.figures}
            yield accuracy_table(accuracy.what, forms)
        yield memories_table(image)
        for note in packed.notes:
            yield f"note: {note}"
        if picture is not None:
            yield f"Picture written to {picture}"
        yield f"Image written to {output}"

    reporter.show(facts, tables)


def _finite(value: float) -> float | None:
    """What JSON can say of a ratio: nothing if it is infinite."""
    return value if math.isfinite(value) else None
