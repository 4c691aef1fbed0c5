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
            help="Checkpoint (torch.save, safetensors, TorchScript, torch.export, a model folder), a name such as "
            "timm:resnet18, or - when DATASET holds embeddings.",
        ),
    ],
    dataset: Annotated[
        str,
        typer.Argument(
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
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print neither summary nor progress.")] = False,
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
        _score_layers(plan, out, as_json, quiet, figures)
        return
    with ConsoleProgress(quiet) as progress:
        report = run(plan, progress)

    from repdiag.report import to_json, write_report
    from repdiag.report.json_form import dumps

    files = write_report(report, out)
    drawn = figures.write(report, out)
    if as_json:
        typer.echo(dumps(to_json(report)), nl=False)
    elif not quiet:
        from repdiag.cli.console import ResultConsole
        from repdiag.report.terminal import render

        console = ResultConsole()
        render(report, console, files)
        if drawn:
            console.print(drawn, markup=False, highlight=False, soft_wrap=True)


def _score_layers(plan: Plan, out: Path, as_json: bool, quiet: bool, figures: FigureOptions) -> None:
    """A report per layer, each written when it is there and then forgotten but for its numbers."""
    from repdiag.cli.console import ResultConsole
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
        typer.echo(dumps(documents), nl=False)
    elif not quiet:
        console = ResultConsole()
        render_layers(rows, console)
        console.print()
        for name in (str(table), *(str(out / names[row.layer] / "report.html") for row in rows)):
            console.print(name, markup=False, soft_wrap=True)
        for said in filter(None, drawn):
            console.print(said, markup=False, highlight=False, soft_wrap=True)


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
    from rich.table import Table

    from repdiag.cli.console import ResultConsole

    console = ResultConsole()
    request: Request = plan.request
    if plan.encoder is not None:
        console.print(
            f"Encoder  {plan.encoder.name}: {plan.encoder.architecture}, {plan.encoder.dim} features"
        )
        if plan.encoder.l2 or len(plan.outputs) > 1 or plan.outputs[0].name != "output":
            said = "; ".join(f"{o.name} ({o.dim}, {o.pooling})" for o in plan.outputs)
            unit = ", rows of unit length" if plan.encoder.l2 else ""
            console.print(f"Layers   {said}{unit}", markup=False)
        console.print(f"Inputs   {plan.encoder.preprocessing}")
    labels = "labeled" if plan.labeled else "unlabeled"
    count = len(plan.source.manifest) if plan.source else len(plan.embeddings) if plan.embeddings else 0
    console.print(f"Data     {request.dataset}: {count} samples, {labels}")
    console.print(f"Device   {plan.device}")
    table = Table(box=None, pad_edge=False)
    for column in ("step", "what it takes", "cached", "estimate"):
        table.add_column(column, justify="right" if column in ("cached", "estimate") else "left")
    for step in plan.steps():
        cached = f"{step.done}/{step.total}" if step.total else ""
        table.add_row(
            step.name, step.detail, cached, "" if step.seconds is None else f"~{step.seconds:.0f} s"
        )
    console.print(table)
    console.print("Nothing was computed or written.")
