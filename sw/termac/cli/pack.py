"""``termac pack``: from a model file to an image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from termac.cli.combine import Selects, combining_rows
from termac.cli.common import Reporter, json_option
from termac.cli.terms import (
    TermChoice,
    TermOption,
    check_companions,
    check_terms,
    fit_chosen,
    term_rows,
    trained_budgets,
)
from termac.errors import ConfigError
from termac.files import check_writable_file, check_writable_folder, load_array
from termac.report.console import progress

if TYPE_CHECKING:
    from termac.compress.terms.layer import TermLayer

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
    type=Selects(),
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
    "the output's variance, on the calibration data.  [default: 0.05; terms: 0.02]",
)
@click.option(
    "--picture",
    metavar="FILE.png",
    type=click.Path(path_type=Path),
    help="Draw the filter matrices before and after packing; the planes of terms, if cells keep "
    "them.",
)
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
    picture: Path | None,
    reporter: Reporter,
) -> None:
    """Quantize MODEL.onnx and compile it for a configuration.

    The image folder holds everything that the accelerator needs to run the network by itself, and
    the integer graph that it is compared with. A model that was trained to pack brings its grouping
    along; --combine prunes any other, without training. --terms is for cells that keep terms.
    """
    from termac.arch import load_config

    if max_loss is not None and selects != "auto" and not (choice and choice.is_auto):
        raise ConfigError(
            "--max-loss goes with --combine auto or --terms auto: it bounds what auto may lose"
        )
    check_companions(choice, combine=selects is not None, encoding=encoding)
    check_writable_folder(output, "--output")
    if picture is not None:
        check_writable_file(picture, "--picture")
    config = load_config(config_name)
    if choice is not None:
        check_terms(choice, config)
    samples = load_array(calibration, "calibration data")

    from termac.compile import compile_graph
    from termac.compile.grouping import Grouping
    from termac.compress import quantize
    from termac.compress.combine.prune import combine_network
    from termac.frontend import load_onnx
    from termac.image import save_image
    from termac.image.summary import summary_rows

    original = float_graph = load_onnx(model)
    rows: list[dict[str, Any]] = []
    layers: list[TermLayer] = []
    with progress(f"Packing {model.name}") as advance:
        grouping = Grouping.read(float_graph.properties, float_graph.shapes)
        if grouping is not None and not grouping.fits(config):
            original.notes.append(
                f"the model was trained to pack into {grouping.lanes} lanes of {grouping.columns} "
                f"columns, config {config.name!r} has {config.lanes} of {config.columns}: its "
                "grouping is not used"
            )
            grouping = None
        combined = None
        if selects is not None:
            combined = combine_network(
                float_graph,
                samples,
                config,
                selects=selects,
                max_loss=0.05 if max_loss is None else max_loss,
                grouping=grouping,
                progress=advance,
            )
            float_graph, grouping = combined.graph, combined.grouping
        advance(1, 3, "quantize")
        budgets = trained_budgets(float_graph, config) if choice is None else None
        graph = quantize(float_graph, samples, bits=bits, budgets=budgets)
        if choice is not None:
            fitted = fit_chosen(
                float_graph,
                graph,
                samples,
                config,
                choice,
                max_loss=max_loss,
                encoding=encoding,
                progress=advance,
            )
            graph, layers = fitted.graph, fitted.layers
        advance(2, 3, "compile")
        image = compile_graph(graph, config, grouping=grouping)
        if combined is not None:
            rows = combining_rows(image, combined.layers)
        if picture is not None:
            from termac.report.combining import draw_combining
            from termac.report.tiles import draw_weights

            if config.kind.keeps_terms:
                draw_weights(image, picture)
            else:
                draw_combining(original, image, picture)
        save_image(image, output)

    def tables() -> Iterator[Any]:
        from termac.report.tables import combining_table, layers_table, memories_table, terms_table

        yield layers_table(image)
        if rows:
            yield combining_table(rows)
        if layers:
            yield terms_table(facts["terms"])
        yield memories_table(image)
        for note in graph.notes:
            yield f"note: {note}"
        if picture is not None:
            yield f"Picture written to {picture}"
        yield f"Image written to {output}"

    facts: dict[str, Any] = {
        "folder": output,
        "config": config.name,
        "config_digest": config.digest,
        "network": graph.name,
        "cycles": image.cycles,
        "macs": image.macs,
        "layers": summary_rows(image),
        "combining": rows,
        "terms": term_rows(layers, image),
        "notes": graph.notes,
    }
    reporter.show(facts, tables)
