"""`repdiag explain`: where in the image the features of a sample look, and whether that is the object."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated

import typer

from repdiag.cli.options import DataOptions, FeatureOptions, ImageOptions, LoadingOptions, grouped

WHAT, HOW, CACHE = "What is explained", "How", "Cache"


class TargetName(enum.StrEnum):
    """Which features of a sample a heat map sums."""

    auto = "auto"
    q_score = "q-score"
    adapted = "adapted"


class MethodName(enum.StrEnum):
    """Kinds of gradient heat maps."""

    gradcam = "gradcam"
    hirescam = "hirescam"


@grouped
def command(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            help="Checkpoint or name, as for `repdiag score`; its activations must be visible to hooks.",
        ),
    ],
    dataset: Annotated[str, typer.Argument(metavar="DATASET", help="Images, as for `repdiag score`.")],
    *,
    sample: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ID",
            help="A sample by its id (its path in the data set); once for each.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    riskiest: Annotated[
        int | None,
        typer.Option(
            help="How many of the riskiest samples.",
            show_default="20, or none with --sample",
            rich_help_panel=WHAT,
            min=0,
        ),
    ] = None,
    features: Annotated[
        int, typer.Option(help="How many of the top features.", rich_help_panel=WHAT, min=0)
    ] = 8,
    masks: Annotated[
        Path | None,
        typer.Option(
            help="Masks of the objects: a folder of gray PNGs (core, and spurious where known), or boxes as .csv or "
            ".txt. All evaluated samples that have one are measured.",
            rich_help_panel=WHAT,
        ),
    ] = None,
    target: Annotated[
        TargetName,
        typer.Option(
            help="Whose features are summed: Q-Score's, or those of its adaptation to features of either sign. auto: "
            "q-score where at least half of the samples have one.",
            rich_help_panel=HOW,
        ),
    ] = TargetName.auto,
    method: Annotated[
        MethodName | None,
        typer.Option(
            help="Kind of heat map.",
            show_default="hirescam where each feature has a place, else gradcam",
            rich_help_panel=HOW,
        ),
    ] = None,
    threshold: Annotated[
        float,
        typer.Option(
            help="Share of a heat map's maximum from which a pixel is in its region (mIoU).",
            rich_help_panel=HOW,
            min=0,
            max=1,
        ),
    ] = 0.5,
    seed: Annotated[int, typer.Option(help="Seed of everything random.", rich_help_panel=HOW, min=0)] = 0,
    bootstrap: Annotated[
        int, typer.Option(help="Bootstrap draws behind the intervals.", rich_help_panel=HOW, min=50)
    ] = 500,
    unlabeled: Annotated[
        bool, typer.Option("--unlabeled", help="Pretend that there are no labels.", rich_help_panel=HOW)
    ] = False,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder for the explanations.")] = Path(
        "repdiag-explain"
    ),
    save_maps: Annotated[
        bool,
        typer.Option("--save-maps", help="Write the heat maps that are shown as PNG files to OUT/heatmaps."),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print explain.json on stdout, not the summary.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
    loading: LoadingOptions,
    data: DataOptions,
    features_of: FeatureOptions,
    images: ImageOptions,
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
    """Show where in the image the features look: heat maps of samples and of top features.

    Without --sample or --riskiest, the 20 riskiest samples. With --masks, measures how much of the heat maps of all
    samples lies on the object, for correct and misclassified ones. Writes explain.html, explain.json, samples.csv and
    quantities.csv to --out. It judges nothing: 0 means that it could explain.

    Example: repdiag explain fixtures/encoders/simclr.safetensors fixtures/digits
    """
    from repdiag.cli.progress import ConsoleProgress
    from repdiag.cli.score import writable
    from repdiag.config import ScoreConfig
    from repdiag.errors import UsageError
    from repdiag.explaining.explanation import explain
    from repdiag.explaining.outputs.write import write_explanation
    from repdiag.explaining.request import Wanted
    from repdiag.pipeline import Request, make_plan
    from repdiag.store import default_root

    wanted = Wanted(
        samples=tuple(sample or ()),
        riskiest=riskiest,
        features=features,
        masks=masks,
        target=target.value,
        method=method.value if method else None,
        threshold=threshold,
    )
    if model == "-":
        raise UsageError("Embeddings have no pixels to look at", do="Name the model and its images")
    request = Request(
        model=model,
        dataset=dataset,
        config=ScoreConfig(seed=seed, bootstrap=bootstrap, l2=features_of.l2),
        embed=images.config(seed),
        loading=loading.keywords() | features_of.keywords(),
        data=data.keywords(None if no_cache else cache or default_root()),
        cache=cache,
        use_cache=not no_cache,
        use_labels=not unlabeled,
    )
    writable(out)
    plan = make_plan(request)
    assert plan.encoder is not None
    assert plan.source is not None
    with ConsoleProgress(quiet) as progress:
        made = explain(
            plan.encoder,
            plan.source,
            wanted,
            config=plan.request.config,
            embed_config=plan.request.embed,
            store=plan.store,
            use_labels=not unlabeled,
            progress=progress,
        )
    written = list(write_explanation(made, out, save_maps=save_maps).values())
    if as_json:
        from repdiag.cli.console import print_json

        print_json((out / "explain.json").read_text(encoding="utf-8"))
    elif not quiet:
        from repdiag.cli.console import ResultConsole
        from repdiag.explaining.outputs.terminal import terminal

        terminal(made, ResultConsole(), written)
