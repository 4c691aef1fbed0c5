"""`repdiag gate`: rules on a report, or on a model that is scored first; the exit code is the verdict."""

from __future__ import annotations

import enum
import os
import sys
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from repdiag.cli.options import DataOptions, FeatureOptions, ImageOptions, LoadingOptions, grouped

if TYPE_CHECKING:
    from repdiag.gate.types import GateResult, Rules
    from repdiag.types import Report

EXIT_CODES = {"pass": 0, "fail": 1, "undetermined": 4}
RULES_FILE = "repdiag.toml"
TABLES = ("samples.csv", "classes.csv")  # all that rules look at
SUMMARY = "GITHUB_STEP_SUMMARY"
OUTPUTS, SCORING, INIT = "Outputs", "Scoring (with a DATASET)", "Writing rules"


class Format(enum.StrEnum):
    """What is printed."""

    table = "table"
    json = "json"
    junit = "junit"
    markdown = "markdown"
    html = "html"


class Undecided(enum.StrEnum):
    """What an undetermined rule is in JUnit XML."""

    failure = "failure"
    skipped = "skipped"


@dataclass(frozen=True)
class ScoringOptions:
    """What is said about scoring besides model, images and data; the rest is as `repdiag score` has it."""

    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="Folder for the report.",
            rich_help_panel=SCORING,
            show_default="repdiag-report",
        ),
    ] = None
    metrics: Annotated[
        str | None,
        typer.Option(help="Only these metrics or families, between commas.", rich_help_panel=SCORING),
    ] = None
    seed: Annotated[int, typer.Option(help="Seed of everything random.", rich_help_panel=SCORING, min=0)] = 0
    unlabeled: Annotated[
        bool,
        typer.Option("--unlabeled", help="Pretend that there are no labels.", rich_help_panel=SCORING),
    ] = False
    draw_map: Annotated[
        bool, typer.Option("--map/--no-map", help="Draw the UMAP map.", rich_help_panel=SCORING)
    ] = True
    cache: Annotated[
        Path | None, typer.Option(help="Folder of cached embeddings.", rich_help_panel=SCORING)
    ] = None
    no_cache: Annotated[
        bool,
        typer.Option(
            "--no-cache", help="Keep no embeddings, and use none that were kept.", rich_help_panel=SCORING
        ),
    ] = False


@grouped
def command(
    ctx: typer.Context,
    subject: Annotated[
        str,
        typer.Argument(
            metavar="REPORT_OR_MODEL",
            help="A report's folder or its report.json; or, before a DATASET, a model as `repdiag score` takes it.",
        ),
    ],
    dataset: Annotated[
        str | None,
        typer.Argument(
            metavar="DATASET", help="Images to score the model on first, as `repdiag score` takes them."
        ),
    ] = None,
    *,
    rules: Annotated[Path | None, typer.Option(help="File of the rules.", show_default=RULES_FILE)] = None,
    baseline: Annotated[
        str | None,
        typer.Option(help="Report that changes are measured against: a path, or the name of a baseline."),
    ] = None,
    store: Annotated[
        Path | None, typer.Option(help="Folder of the baselines.", show_default="repdiag-baselines")
    ] = None,
    confidence: Annotated[
        float | None,
        typer.Option(
            help="Confidence of rules that state none of their own, instead of the file's.",
            show_default="the file's, or 0.95",
        ),
    ] = None,
    form: Annotated[
        Format, typer.Option("--format", help="What is printed.", rich_help_panel=OUTPUTS)
    ] = Format.table,
    junit: Annotated[
        Path | None, typer.Option(help="Write JUnit XML to this file.", rich_help_panel=OUTPUTS)
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Write Markdown to this file.", rich_help_panel=OUTPUTS)
    ] = None,
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json",
            help="Write JSON to this file; - prints it, not the table.",
            rich_help_panel=OUTPUTS,
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(help="Write a page to this file.", rich_help_panel=OUTPUTS)
    ] = None,
    undetermined: Annotated[
        Undecided,
        typer.Option(
            "--junit-undetermined", help="What an undetermined rule is in JUnit XML.", rich_help_panel=OUTPUTS
        ),
    ] = Undecided.failure,
    summary: Annotated[
        bool,
        typer.Option(
            "--summary/--no-summary",
            help=f"Append Markdown to the file that {SUMMARY} names, where a CI system sets it.",
            rich_help_panel=OUTPUTS,
        ),
    ] = True,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="Print nothing but errors.", rich_help_panel=OUTPUTS),
    ] = False,
    init: Annotated[
        bool,
        typer.Option(
            "--init",
            help="Write a commented rules file from the report to --rules, or to stdout, and judge nothing.",
            rich_help_panel=INIT,
        ),
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Let --init replace a file.", rich_help_panel=INIT)
    ] = False,
    scoring: ScoringOptions,
    loading: LoadingOptions,
    data: DataOptions,
    features: FeatureOptions,
    images: ImageOptions,
) -> None:
    """Judge a report by rules: pass (exit code 0), fail (1) or undetermined (4), where the samples are too few to tell.

    Reads a report that is there, and scores nothing; with a DATASET it scores the model first and writes that report.

    Example: repdiag gate repdiag-report --rules repdiag.toml --baseline main
    """
    _fits(ctx, dataset, init, force)
    if json_file == Path("-"):  # what is asked for is printed, quiet or not
        form, json_file, printed = Format.json, None, True
    else:
        printed = not quiet
    if init and rules is not None and rules.exists() and not force:
        _exists(rules)
    # Rules and baseline are read before an hour of scoring, not after it.
    claims = None if init else _claims(rules, confidence)
    before = None if baseline is None or init else _baseline(baseline, store)
    report = (
        _read(subject)
        if dataset is None
        else _scored(subject, dataset, scoring, loading, data, features, images, quiet)
    )
    if claims is None:
        _initialize(report, rules, quiet)
        return
    from repdiag.gate.evaluate import evaluate

    result = evaluate(report, claims, before)
    skip = undetermined is Undecided.skipped
    files = (
        (junit, Format.junit),
        (markdown, Format.markdown),
        (json_file, Format.json),
        (html, Format.html),
    )
    for path, kind in files:
        if path is not None:
            _write(path, _text(result, kind, skip))
    if summary and os.environ.get(SUMMARY):
        _append(Path(os.environ[SUMMARY]), _text(result, Format.markdown, skip))
    if printed:
        _print(result, form, skip)
    sys.stdout.flush()
    raise typer.Exit(EXIT_CODES[result.outcome.value])


def _fits(ctx: typer.Context, dataset: str | None, init: bool, force: bool) -> None:
    """Raises UsageError for options that would do nothing here."""
    from repdiag.errors import UsageError

    groups = (ScoringOptions, LoadingOptions, DataOptions, FeatureOptions, ImageOptions)
    names = {field.name for group in groups for field in fields(group)}
    if dataset is None:
        for name, option in ((p.name, p.opts[0]) for p in ctx.command.params if p.name in names):
            source = ctx.get_parameter_source(str(name))
            if source is not None and source.name == "COMMANDLINE":
                raise UsageError(
                    f"{option} is about scoring, and a report is only read",
                    do="Give a model and a DATASET, or leave it out",
                )
    if force and not init:
        raise UsageError("--force goes with --init")


def _read(subject: str) -> Report:
    """The report that `subject` names; a model without a data set is told what it lacks."""
    from repdiag.errors import UsageError
    from repdiag.report.reading import read_report

    path = Path(subject)
    if path.is_dir() and not (path / "report.json").exists():
        what = "has no report.json"
    elif path.is_file() and path.suffix != ".json":
        what = "is no report"
    else:
        return read_report(path, tables=TABLES)
    do = "Name a report's folder or its report.json, or give a DATASET to score the model on"
    raise UsageError(f"'{subject}' {what}", do=do)


def _claims(path: Path | None, confidence: float | None) -> Rules:
    from repdiag.errors import UsageError
    from repdiag.gate.rules import read_rules

    if path is None and not Path(RULES_FILE).exists():
        do = f"`repdiag gate REPORT --init --rules {RULES_FILE}` writes one; or name one with --rules"
        raise UsageError(f"There is no {RULES_FILE} here", do=do)
    return read_rules(path or Path(RULES_FILE), confidence=confidence)


def _baseline(name: str, store: Path | None) -> Report:
    from repdiag.baselines import STORE, load

    return load(name, store or STORE)


def _scored(
    model: str,
    dataset: str,
    scoring: ScoringOptions,
    loading: LoadingOptions,
    data: DataOptions,
    features: FeatureOptions,
    images: ImageOptions,
    quiet: bool,
) -> Report:
    """The model's report: made and written as `repdiag score` does, then read back as any report is."""
    from repdiag.cli.progress import ConsoleProgress
    from repdiag.cli.score import writable
    from repdiag.config import ScoreConfig
    from repdiag.errors import UsageError
    from repdiag.pipeline import Request, make_plan, run
    from repdiag.report import write_report
    from repdiag.report.reading import read_report
    from repdiag.store import default_root

    out = scoring.out or Path("repdiag-report")
    request = Request(
        model=model,
        dataset=dataset,
        config=ScoreConfig(seed=scoring.seed, l2=features.l2),
        embed=images.config(scoring.seed),
        loading=loading.keywords() | features.keywords(),
        data=data.keywords(None if scoring.no_cache else scoring.cache or default_root()),
        cache=scoring.cache,
        use_cache=not scoring.no_cache,
        use_labels=not scoring.unlabeled,
        metrics=tuple(m.strip() for m in (scoring.metrics or "").split(",") if m.strip()),
        draw_map=scoring.draw_map,
    )
    writable(out)
    plan = make_plan(request)
    if len(plan.outputs) > 1:
        raise UsageError(
            "A gate judges one layer", do="Give one --layer, or score first and gate each report"
        )
    with ConsoleProgress(quiet) as progress:
        report = run(plan, progress)
    write_report(report, out)
    return read_report(out, tables=TABLES)


def _initialize(report: Report, path: Path | None, quiet: bool) -> None:
    from repdiag.gate.init import rules_from

    text = rules_from(report)
    if path is None:
        typer.echo(text, nl=False)
        return
    _write(path, text)
    if not quiet:
        typer.echo(f"Rules written to {path}: read them, and keep what you mean.", err=True)


def _exists(path: Path) -> None:
    from repdiag.errors import UsageError

    raise UsageError("The rules file exists already", where=str(path), do="Name another, or add --force")


def _text(result: GateResult, form: Format, skip: bool) -> str:
    from repdiag.gate.outputs import json_form, junit, markdown

    if form is Format.json:
        return json_form.text(result)
    if form is Format.html:
        from repdiag.gate.outputs import html  # brings the templates' engine

        return html.text(result)
    return junit.text(result, skip) if form is Format.junit else markdown.text(result)


def _print(result: GateResult, form: Format, skip: bool) -> None:
    from repdiag.cli.console import ResultConsole, print_json
    from repdiag.gate.outputs.terminal import terminal

    if form is Format.table:
        terminal(result, ResultConsole())
    elif form is Format.json:
        print_json(_text(result, form, skip))
    else:
        typer.echo(_text(result, form, skip), nl=False)


def _write(path: Path, text: str) -> None:
    from repdiag.files import write_text

    write_text(path, text)


def _append(path: Path, text: str) -> None:
    """Behind what other steps of the job said there."""
    from repdiag.files import output_errors

    with output_errors(path), path.open("a", encoding="utf-8") as file:
        file.write(f"{text}\n")
