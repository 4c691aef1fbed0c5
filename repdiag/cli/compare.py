"""`repdiag compare A B [C ...]`: reports or models side by side, what is better, what is worse, and how surely."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from repdiag.cli.options import (
    DataOptions,
    FeatureOptions,
    FigureOptions,
    ImageOptions,
    LoadingOptions,
    grouped,
)

VIEWS, SCORING = "What is shown", "Scoring (of models, with --data)"


@grouped
def command(
    encoders: Annotated[
        list[str],
        typer.Argument(
            metavar="ENCODERS",
            help="Two or more: reports (their folders or report.json), files of embeddings, or models as `repdiag "
            "score` takes them, which need --data. The others are compared with the first.",
        ),
    ],
    *,
    dataset: Annotated[
        str | None, typer.Option("--data", help="Images that models are scored on.", rich_help_panel=SCORING)
    ] = None,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the results.")] = Path(
        "repdiag-compare"
    ),
    names: Annotated[
        str | None,
        typer.Option(help="What the encoders are called, between commas.", show_default="from the paths"),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(help="Name of the one that the others are compared with.", show_default="the first"),
    ] = None,
    trajectory: Annotated[
        bool,
        typer.Option(
            "--trajectory",
            help="The encoders are checkpoints of one run, in order: which is best, and where it turns down.",
            rich_help_panel=VIEWS,
        ),
    ] = False,
    epochs: Annotated[
        str | None,
        typer.Option(
            help="Their epochs, between commas; implies --trajectory.",
            rich_help_panel=VIEWS,
            show_default="from the names",
        ),
    ] = None,
    crowding: Annotated[
        bool,
        typer.Option(
            "--crowding",
            help="Which is more crowded, measure by measure: self-supervised against supervised, say.",
            rich_help_panel=VIEWS,
        ),
    ] = False,
    confidence: Annotated[
        float, typer.Option(help="Confidence of the intervals.", rich_help_panel=VIEWS, min=0.5, max=0.999)
    ] = 0.95,
    draws: Annotated[
        int, typer.Option(help="Bootstrap draws of the paired intervals.", rich_help_panel=VIEWS, min=200)
    ] = 2000,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print compare.json on stdout, not the results.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
    figures: FigureOptions,
    metrics: Annotated[
        str | None,
        typer.Option(
            help="Score by only these metrics or families, between commas.", rich_help_panel=SCORING
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of everything random.", rich_help_panel=SCORING, min=0)] = 0,
    unlabeled: Annotated[
        bool, typer.Option("--unlabeled", help="Pretend that there are no labels.", rich_help_panel=SCORING)
    ] = False,
    cache: Annotated[
        Path | None,
        typer.Option(
            help="Folder of cached embeddings, where those of reports are looked for too.",
            rich_help_panel=SCORING,
        ),
    ] = None,
    no_cache: Annotated[
        bool,
        typer.Option(
            "--no-cache", help="Keep no embeddings, and use none that were kept.", rich_help_panel=SCORING
        ),
    ] = False,
    loading: LoadingOptions,
    data: DataOptions,
    features: FeatureOptions,
    images: ImageOptions,
) -> None:
    """Compare encoders on the same images: what got better and worse, by metric, class and image, with intervals.

    Writes compare.html, compare.json and tables to --out, and a report of each model that was scored to its reports/.
    This is no gate: the exit code is 0 whatever is found.

    Example: repdiag compare report-before report-after
    """  # fmt: skip
    from repdiag.cli.console import print_json
    from repdiag.cli.progress import ConsoleProgress
    from repdiag.cli.score import writable
    from repdiag.comparing.request import Kind, Request
    from repdiag.comparing.run import run
    from repdiag.config import ScoreConfig
    from repdiag.pipeline import Request as Scoring
    from repdiag.report.side_by_side import dumps, to_json, write_side_by_side
    from repdiag.store import default_root

    request = Request(
        encoders=tuple(encoders),
        scoring=Scoring(
            model="-",
            dataset=dataset or "",
            config=ScoreConfig(seed=seed, l2=features.l2),
            loading=loading.keywords() | features.keywords(),
            data=data.keywords(None if no_cache else cache or default_root()),
            cache=cache,
            use_cache=not no_cache,
            use_labels=not unlabeled,
            metrics=_names(metrics),
            draw_map=False,
        ),
        has_data=dataset is not None,
        out=out,
        names=_names(names),
        against=against,
        confidence=confidence,
        bootstrap=draws,
        trajectory=trajectory or epochs is not None,
        epochs=None if epochs is None else _numbers(epochs),
        crowding=crowding,
    )
    if Kind.MODEL in request.kinds:  # what reads images is loaded for models alone
        from dataclasses import replace

        request = replace(request, scoring=replace(request.scoring, embed=images.config(seed)))
    writable(out)
    with ConsoleProgress(quiet) as progress:
        made = run(request, progress)
    write_side_by_side(made, out)
    drawn = figures.write(made, out)
    if as_json:
        print_json(dumps(to_json(made)))
    elif not quiet:
        from repdiag.cli.console import ResultConsole, print_lines
        from repdiag.report.side_by_side_terminal import terminal

        terminal(made, ResultConsole(), out)
        if drawn:
            print_lines(drawn)


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def _numbers(text: str) -> tuple[float, ...]:
    import math

    from repdiag.errors import UsageError

    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if not numbers or not all(map(math.isfinite, numbers)):
        raise UsageError(f"--epochs '{text}' is not a list of numbers", do="Write it as 10,20,30")
    return numbers
