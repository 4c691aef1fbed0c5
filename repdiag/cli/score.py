"""`repdiag score`: checkpoint and images in, the truth about the representation out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from repdiag.cli.options import (
    DataOptions,
    FeatureOptions,
    FigureOptions,
    ImageOptions,
    LoadingOptions,
    grouped,
)

if TYPE_CHECKING:
    from repdiag.pipeline import Plan, Request


NUMBERS = "What is measured, and how"
CACHE = "Cache"


@grouped
def command(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Checkpoint (torch.save, safetensors, TorchScript, torch.export, a model folder), a name such as "
            "timm:resnet18, or - when DATASET holds embeddings.",
        ),
    ],
    dataset: Annotated[
        str,
        typer.Argument(
            metavar="DATASET",
            help="Images as a folder (by class or flat, train/ and test/ are used if present), .zip, .tar, a "
            "list (.csv, .txt, ...), webdataset shards, hf:NAME, .npz, IDX or CIFAR; or .npz, .npy, .parquet of "
            "embeddings.",
        ),
    ],
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the report and its tables.")] = Path(
        "repdiag-report"
    ),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print report.json on stdout, not the summary.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Print every number, reason and warning, not one screen of them.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    figures: FigureOptions,
    unlabeled: Annotated[bool, typer.Option("--unlabeled", help="Pretend that there are no labels.")] = False,
    loading: LoadingOptions,
    data: DataOptions,
    features: FeatureOptions,
    images: ImageOptions,
    earlier: Annotated[
        list[str] | None,
        typer.Option(
            help="An earlier checkpoint of the same run (or its embeddings); once for each, first to last. Clusters "
            "are compared with theirs.",
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(help="Only these metrics or families, separated by commas.", rich_help_panel=NUMBERS),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.", rich_help_panel=NUMBERS, min=0)] = 0,
    clusters: Annotated[
        int | None,
        typer.Option(
            help="k of k-means; the number of classes, or 10, by default.", rich_help_panel=NUMBERS, min=2
        ),
    ] = None,
    folds: Annotated[
        int,
        typer.Option(help="Folds of the cross-fit where there is no split.", rich_help_panel=NUMBERS, min=2),
    ] = 5,
    bootstrap: Annotated[
        int, typer.Option(help="Bootstrap draws behind the intervals.", rich_help_panel=NUMBERS, min=50)
    ] = 500,
    permutations: Annotated[
        int, typer.Option(help="Permutations behind the label nulls.", rich_help_panel=NUMBERS, min=5)
    ] = 20,
    neighbors: Annotated[
        int, typer.Option(help="Neighbors of purity and density.", rich_help_panel=NUMBERS, min=1)
    ] = 10,
    eps: Annotated[
        float,
        typer.Option(
            help="Q-Score: standard deviations above which a feature fires.", rich_help_panel=NUMBERS
        ),
    ] = 4.0,
    lower: Annotated[
        float,
        typer.Option(
            help="Q-Score: lower percentile of discriminative features.",
            rich_help_panel=NUMBERS,
            min=0,
            max=100,
        ),
    ] = 50.0,
    upper: Annotated[
        float,
        typer.Option(
            help="Q-Score: upper percentile of discriminative features.",
            rich_help_panel=NUMBERS,
            min=0,
            max=100,
        ),
    ] = 95.0,
    by_size: Annotated[
        bool,
        typer.Option(
            "--by-size/--no-by-size",
            help="Measure what moves with the number of samples on a half and a quarter of them too.",
            rich_help_panel=NUMBERS,
        ),
    ] = True,
    draw_map: Annotated[
        bool, typer.Option("--map/--no-map", help="Draw the maps: UMAP and PCA.", rich_help_panel=NUMBERS)
    ] = True,
    thumbnails: Annotated[
        int,
        typer.Option(
            help="Most images of which the map shows a small picture; 0: no picture anywhere.",
            rich_help_panel=NUMBERS,
            min=0,
        ),
    ] = 10000,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of cached embeddings.", rich_help_panel=CACHE)
    ] = None,
    no_cache: Annotated[
        bool,
        typer.Option(
            "--no-cache", help="Keep no embeddings, and use none that were kept.", rich_help_panel=CACHE
        ),
    ] = False,
) -> None:
    """Score an encoder on a data set: crowding, stability, features, Q-Score, risk, spectrum, probes.

    Writes report.html, report.json and the tables metrics.csv, classes.csv, pairs.csv, clusters.csv, features.csv,
    samples.csv (and kept_features.csv, where a subset was chosen) to --out; of several layers, to a folder each in
    --out, with layers.csv beside them. --figures adds figures for papers.

    Example: repdiag score fixtures/encoders/simclr.safetensors fixtures/digits
    """
    from repdiag.errors import UsageError

    if dry_run and as_json:
        raise UsageError("--json prints results, and --dry-run has none")
    from repdiag.cli.console import ResultConsole, print_json, print_lines
    from repdiag.cli.progress import ConsoleProgress
    from repdiag.config import ScoreConfig
    from repdiag.pipeline import Request, make_plan, run
    from repdiag.store import default_root

    request = Request(
        model=model,
        dataset=dataset,
        config=ScoreConfig(
            seed=seed,
            clusters=clusters,
            folds=folds,
            bootstrap=bootstrap,
            permutations=permutations,
            neighbors=neighbors,
            eps=eps,
            lower=lower,
            upper=upper,
            thumbnails=thumbnails,
            by_size=by_size,
            l2=features.l2,
        ),
        embed=images.config(seed),
        loading=loading.keywords() | features.keywords(),
        data=data.keywords(None if no_cache else cache or default_root()),
        cache=cache,
        use_cache=not no_cache,
        use_labels=not unlabeled,
        metrics=tuple(m.strip() for m in metrics.split(",") if m.strip()) if metrics else (),
        draw_map=draw_map,
        earlier=tuple(earlier or ()),
    )
    if dry_run:
        _print_plan(make_plan(request))
        return
    writable(out)
    plan = make_plan(request)
    if len(plan.outputs) > 1:
        _score_layers(plan, out, as_json, quiet, figures, full)
        return
    with ConsoleProgress(quiet) as progress:
        report = run(plan, progress)

    from repdiag.report import to_json, write_report
    from repdiag.report.json_form import dumps

    files = write_report(report, out)
    drawn = figures.write(report, out)
    if as_json:
        print_json(dumps(to_json(report)))
    elif not quiet:
        from repdiag.report.terminal import render

        render(report, ResultConsole(), files, full)
        if drawn:
            print_lines(drawn)


def _score_layers(
    plan: Plan, out: Path, as_json: bool, quiet: bool, figures: FigureOptions, full: bool
) -> None:
    """A report per layer, each written when it is there and then forgotten but for its numbers."""
    from repdiag.cli.console import ResultConsole, print_json, print_lines
    from repdiag.cli.progress import ConsoleProgress
    from repdiag.pipeline import reports
    from repdiag.report import to_json, write_report
    from repdiag.report.json_form import dumps
    from repdiag.report.layers import folders, layer_row, render_layers, write_layers

    names = folders(output.name for output in plan.outputs)
    rows, documents, drawn = [], {}, []
    with ConsoleProgress(quiet) as progress:
        for output, report in zip(plan.outputs, reports(plan, progress), strict=True):
            write_report(report, out / names[output.name])
            drawn.append(figures.write(report, out / names[output.name]))
            rows.append(layer_row(output.name, names[output.name], output.pooling, report))
            if as_json:
                documents[output.name] = to_json(report)
    table = write_layers(rows, out)
    if as_json:
        print_json(dumps(documents))
    elif not quiet:
        render_layers(rows, ResultConsole(), full)
        reports_of = (str(out / names[row.layer] / "report.html") for row in rows)
        print_lines("", str(table), *reports_of, *filter(None, drawn))


def writable(out: Path) -> None:
    """Find out before an hour of work, not after it, that the results cannot be written."""
    import tempfile

    from repdiag.errors import OutputError
    from repdiag.files import output_errors

    if out.exists() and not out.is_dir():
        raise OutputError("--out is a file", where=str(out), do="Name a folder")
    with output_errors(out):
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass


def _print_plan(plan: Plan) -> None:
    from rich.text import Text

    from repdiag.cli.console import ResultConsole
    from repdiag.lines import Writer

    writer, encoder = Writer(ResultConsole()), plan.encoder
    request: Request = plan.request
    labels = "labeled" if plan.labeled else "unlabeled"
    count = len(plan.source.manifest) if plan.source else len(plan.embeddings) if plan.embeddings else 0
    said = {}
    if encoder is not None:
        said["Encoder"] = f"{encoder.name}: {encoder.architecture}, {encoder.dim} features"
        if encoder.l2 or len(plan.outputs) > 1 or plan.outputs[0].name != "output":
            unit = ", rows of unit length" if encoder.l2 else ""
            said["Layers"] = "; ".join(f"{o.name} ({o.dim}, {o.pooling})" for o in plan.outputs) + unit
        said["Inputs"] = str(encoder.preprocessing)
    said["Data"] = f"{request.dataset}: {count} samples, {labels}"
    said["Device"] = str(plan.device)
    for name, what in said.items():
        writer.beside(name, "bold", Text(writer.safe(what)), 9)
    writer.blank()
    writer.line("Steps", "bold")
    for step in plan.steps():
        cached = f"{step.done}/{step.total} cached" if step.total else ""
        estimate = "" if step.seconds is None else f"about {step.seconds:.0f} s"
        beside = ", ".join(filter(None, (cached, estimate)))
        shown = Text(writer.safe(step.detail)).append(f" ({beside})" if beside else "", "dim")
        writer.beside(step.name, "", shown, 12, indent=2)
    writer.blank()
    writer.line("Nothing was computed or written.")
