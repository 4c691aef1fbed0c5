"""`repdiag finetune MODEL DATASET`: train with a regularizer and without, and say honestly whether it helped."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from repdiag.cli.options.data import DataOptions
from repdiag.cli.options.features import FeatureOptions
from repdiag.cli.options.figures import FigureOptions
from repdiag.cli.options.grouped import grouped
from repdiag.cli.options.loading import LoadingOptions
from repdiag.cli.options.training import NumberOptions, TrainingOptions, numbers_of
from repdiag.training.config import PRESETS

if TYPE_CHECKING:
    from repdiag.tuning.plan import Plan
    from repdiag.tuning.request import Request

Preset = enum.StrEnum("Preset", list(PRESETS))  # type: ignore[misc]
WHAT, COMPARE, RUN = "What is trained", "What is compared", "Running"


@grouped
def command(
    *,
    model: Annotated[
        str, typer.Argument(metavar="MODEL", help="Checkpoint file or folder, timm:NAME or torchvision:NAME.")
    ],
    dataset: Annotated[
        str, typer.Argument(metavar="DATASET", help="Images: whatever `repdiag score` takes.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the results.")] = Path(
        "repdiag-finetune"
    ),
    figures: FigureOptions,
    regularizer: Annotated[
        str | None,
        typer.Option(
            help="qscore, dsa, dsa-literal, resa, iccl, lasso or none.",
            rich_help_panel=WHAT,
            show_default="qscore",
        ),
    ] = None,
    preset: Annotated[
        Preset | None,
        typer.Option(help="Numbers for small, CIFAR-size or ImageNet-size jobs.", rich_help_panel=WHAT),
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="TOML file with any of these options.", rich_help_panel=WHAT)
    ] = None,
    print_config: Annotated[
        bool,
        typer.Option(
            "--print-config", help="Print all choices as such a file, and stop.", rich_help_panel=WHAT
        ),
    ] = False,
    arms: Annotated[
        str | None,
        typer.Option(
            help="What is trained: control (no regularizer, same budget), regularizer, or both between a comma.",
            rich_help_panel=COMPARE,
            show_default="control,regularizer",
        ),
    ] = None,
    seeds: Annotated[
        int | None,
        typer.Option(help="Trainings per arm.", rich_help_panel=COMPARE, min=1, show_default="3"),
    ] = None,
    ablate: Annotated[
        bool | None,
        typer.Option(
            "--ablate",
            help="Train the regularizer's parts as arms of their own too.",
            rich_help_panel=COMPARE,
        ),
    ] = None,
    hold_out: Annotated[
        float | None,
        typer.Option(
            help="Share of each class kept from training where the data have no split.",
            rich_help_panel=COMPARE,
            show_default="0.2",
        ),
    ] = None,
    metrics: Annotated[
        str | None,
        typer.Option(
            help="Metrics or families that arms are scored by, between commas.",
            rich_help_panel=COMPARE,
            show_default="a choice of every family",
        ),
    ] = None,
    unlabeled: Annotated[
        bool, typer.Option("--unlabeled", help="Do not use labels.", rich_help_panel=COMPARE)
    ] = False,
    training: TrainingOptions,
    numbers: NumberOptions,
    loading: LoadingOptions,
    features: FeatureOptions,
    data: DataOptions,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.", rich_help_panel=RUN)] = "auto",
    workers: Annotated[
        int | None,
        typer.Option(help="Decoding threads; one per core by default.", rich_help_panel=RUN, min=1),
    ] = None,
    max_corrupt: Annotated[
        float,
        typer.Option(
            help="Largest share of unreadable images to leave out.", rich_help_panel=RUN, min=0, max=1
        ),
    ] = 0.01,
    log: Annotated[
        str | None,
        typer.Option(
            help="Where training is logged besides log.csv: tensorboard, wandb, mlflow, between commas.",
            rich_help_panel=RUN,
            show_default="tensorboard",
        ),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of cached embeddings.", rich_help_panel=RUN)
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would be done, and stop.", rich_help_panel=RUN)
    ] = False,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print comparison.json on stdout, not the results.", rich_help_panel=RUN),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print nothing but errors.", rich_help_panel=RUN)
    ] = False,
) -> None:
    """Go on training an encoder with a regularizer, and without it as a control, and compare both with the start.

    Trains every arm on the same images from the same start for each seed, scores them on images that no arm has
    seen, and writes comparison.html, its tables, the tuned encoder in the layout it came in, and as safetensors. An
    interrupted run goes on where it was when the same command is given again; torchrun trains on several devices.

    Example: repdiag finetune fixtures/encoders/simclr.safetensors fixtures/digits --preset small
    """
    from repdiag.cli.console import ResultConsole, print_json, print_lines
    from repdiag.cli.progress import ConsoleProgress
    from repdiag.cli.score import writable
    from repdiag.errors import UsageError
    from repdiag.objectives.parameters import PARAMETERS
    from repdiag.store import default_root
    from repdiag.training.toml_file import dump_config, read_config, resolve
    from repdiag.tuning.request import METRICS, Request

    fields, said_preset, said_regularizer, tables, other = (
        read_config(config) if config else ({}, None, None, {}, {})
    )
    chosen = regularizer or said_regularizer or "qscore"
    given = numbers.given()
    if chosen in PARAMETERS:  # a file may hold the numbers of several regularizers; flags are about this one
        given = {**given, chosen: {**tables.get(chosen, {}), **given.get(chosen, {})}}
    stated = {
        "arms": arms, "seeds": seeds, "ablate": ablate, "hold_out": hold_out, "metrics": metrics, "log": log
    }  # fmt: skip
    defaults: dict[str, Any] = {
        "arms": "control,regularizer", "seeds": 3, "ablate": False, "hold_out": 0.2, "metrics": ",".join(METRICS),
        "log": "tensorboard",
    }  # fmt: skip
    more = {**defaults, **other, **{name: value for name, value in stated.items() if value is not None}}
    tune = resolve(str(preset) if preset else said_preset, fields, training.given())
    parameters = numbers_of(chosen, given)
    if print_config:
        typer.echo(dump_config(tune, parameters, more), nl=False)
        return
    request = Request(
        model=model,
        dataset=dataset,
        out=out,
        config=tune,
        regularizer=parameters,
        arms=_names(more["arms"]),
        seeds=more["seeds"],
        ablate=more["ablate"],
        hold_out=more["hold_out"],
        metrics=_names(more["metrics"]),
        device=device,
        workers=workers,
        max_corrupt=max_corrupt,
        loggers=("csv", *_names(more["log"])),
        use_labels=not unlabeled,
        loading=loading.keywords() | features.keywords(),
        data=data.keywords(cache or default_root()),
        cache=cache,
    )
    if as_json and dry_run:
        raise UsageError("--json prints results, and --dry-run has none")
    from repdiag.report.comparison import dumps, to_json
    from repdiag.report.comparison_terminal import terminal
    from repdiag.tuning.launch import joined
    from repdiag.tuning.plan import make_plan
    from repdiag.tuning.run import run

    if dry_run:
        _print_plan(make_plan(request), request)
        return
    writable(out)
    with joined(device):
        plan = make_plan(request)
        with ConsoleProgress(quiet) as progress:
            comparison = run(plan, progress)
    if comparison is None:
        return
    drawn = figures.write(comparison, out)
    if as_json:
        print_json(dumps(to_json(comparison)))
    elif not quiet:
        terminal(comparison, ResultConsole(), out)
        if drawn:
            print_lines(drawn)


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _print_plan(plan: Plan, request: Request) -> None:
    from rich.text import Text

    from repdiag.cli.console import ResultConsole
    from repdiag.lines import Writer

    writer, config = Writer(ResultConsole()), request.config
    said = {
        "Encoder": f"{plan.encoder.name}: {plan.encoder.architecture}, {plan.encoder.dim} features",
        "Data": f"{plan.source.name}: trained on {len(plan.rows):,} images, held-out loss on "
        f"{len(plan.validation):,}, scored on {plan.scored:,} ({plan.said_split})",
        "Training": f"{plan.base.title}, {config.epochs} epochs of batches of {config.batch_size}, "
        f"{config.optimizer} at {config.lr:g}, on {plan.device}",
        "Projector": plan.said_projector,
    }
    for name, what in said.items():
        writer.beside(name, "bold", Text(writer.safe(what)), 11)
    writer.blank()
    writer.line("Runs", "bold")
    width = 4 + max(len(one.name) for one in plan.runs)
    for one in plan.runs:
        there = " (begun)" if one.folder.exists() else ""
        what = f"{one.regularizer.name}, in {one.folder}{there}"
        writer.beside(one.name, "", Text(writer.safe(what)), width, indent=2)
    for warning in plan.warnings:
        writer.beside("Note", "yellow", Text(writer.safe(warning)), 11)
    writer.blank()
    writer.line("Nothing was trained or written.")
