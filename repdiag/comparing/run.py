"""`repdiag compare`: read what is scored, score what is not, and hold all of it against one."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

from repdiag.comparing.held import Held, of_cache, of_set
from repdiag.comparing.likeness import ABOUT, likeness
from repdiag.comparing.request import Kind, Request
from repdiag.comparison.align import scored
from repdiag.comparison.encoders import compare_encoders
from repdiag.comparison.quantities import evaluated
from repdiag.comparison.side_by_side import SideBySide
from repdiag.comparison.trajectory import epochs_of
from repdiag.diagnosis import choose_metrics
from repdiag.errors import UsageError
from repdiag.files import output_errors
from repdiag.pipeline import Plan, make_plan
from repdiag.pipeline import run as score
from repdiag.registry import did_you_mean
from repdiag.report import write_report
from repdiag.report.layers import folders
from repdiag.report.reading import read_report
from repdiag.sources import read_embeddings
from repdiag.store import Store
from repdiag.types import ImageSource, Progress, Report, silent


def run(request: Request, progress: Progress = silent) -> SideBySide:
    """Carry out `request`. Whatever is scored leaves a report of its own in `request.out`/reports.

    Reports are read first, so that a wrong path shows before an hour of scoring. Models see the same images, in one
    listing of them, under the same configuration; one is in memory at a time. Raises RepdiagErrors.
    """
    kinds, names = request.kinds, request.called
    against = request.against or names[0]
    if against not in names:
        raise UsageError(
            f"There is no encoder '{against}' to compare with", do=did_you_mean(against, list(names))
        )
    if request.trajectory:
        epochs_of(names, request.epochs)
    found: dict[int, Report] = {}
    for i, (place, kind) in enumerate(zip(request.encoders, kinds, strict=True)):
        if kind is Kind.REPORT:
            found[i] = read_report(place, tables=("samples.csv", "classes.csv", "pairs.csv"))
    with ExitStack() as stack:
        store = _store(request, kinds, stack)
        written, held = _score(request, kinds, names, found, store, progress)
        reports = [found[i] for i in range(len(names))]
        runs = [scored(name, None, report) for name, report in zip(names, reports, strict=True)]
        made = compare_encoders(
            runs,
            against=against,
            primary=request.primary,
            confidence=request.confidence,
            bootstrap=request.bootstrap,
            seed=request.scoring.config.seed,
            moving=_moving(reports),
            show_crowding=request.crowding,
            as_trajectory=request.trajectory,
            epochs=request.epochs,
        )
        everyone = [held[i] if i in held else of_cache(found[i], store) for i in range(len(names))]
        pairs = _pairs(names, against, request.trajectory)
        alike, missing = likeness(names, everyone, pairs, request.scoring.config.seed, progress)
        progress("compared", 1, 1)
    return replace(
        made,
        likeness=alike,
        likeness_missing=missing,
        likeness_about=ABOUT if alike else "",
        reports={name: written.get(i, request.encoders[i]) for i, name in enumerate(names)},
    )


def _store(request: Request, kinds: Sequence[Kind], stack: ExitStack) -> Store:
    """Where embeddings are kept: in a folder that goes away with this run where none are to be kept."""
    if request.scoring.use_cache or Kind.MODEL not in kinds:
        return Store(request.scoring.cache)
    with output_errors(request.out):
        request.out.mkdir(parents=True, exist_ok=True)
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix=".embeddings-", dir=request.out))
    return Store(Path(folder))


def _score(
    request: Request,
    kinds: Sequence[Kind],
    names: Sequence[str],
    found: dict[int, Report],
    store: Store,
    progress: Progress,
) -> tuple[dict[int, str], dict[int, Held]]:
    """Score what is no report and put it into `found`; the paths of the reports, and embeddings that came as files."""
    places = folders(names)
    source: ImageSource | None = None
    written: dict[int, str] = {}
    held: dict[int, Held] = {}
    for i, (place, kind) in enumerate(zip(request.encoders, kinds, strict=True)):
        if kind is Kind.REPORT:
            continue
        asked = replace(request.scoring, cache=store.root, use_cache=True)
        if kind is Kind.EMBEDDINGS:
            embeddings = read_embeddings(place)
            held[i] = of_set(embeddings)
            plan = make_plan(replace(asked, model="-", dataset=place, loading={}))
        else:
            plan = make_plan(replace(asked, model=place, dataset=source or asked.dataset))
            source = plan.source
        _one_layer(plan, place)

        def told(step: str, done: int, total: int, name: str = names[i]) -> None:
            progress(f"{name}: {step}", done, total)

        found[i] = score(plan, told)
        folder = Path("reports") / places[names[i]]
        write_report(found[i], request.out / folder)
        written[i] = folder.as_posix()
    return written, held


def _one_layer(plan: Plan, place: str) -> None:
    if len(plan.outputs) > 1:
        raise UsageError(
            f"{place} would have a report for each of {len(plan.outputs)} layers",
            do="Choose one --layer, or score first and compare the layers' reports",
        )


def _moving(reports: Sequence[Report]) -> frozenset[str]:
    """Metrics that move with the number of samples; asked only where the numbers differ, as it loads all of them."""
    if len({evaluated(report) for report in reports}) == 1:
        return frozenset()
    return frozenset(metric.spec.name for metric in choose_metrics(()) if metric.spec.by_size)


def _pairs(names: Sequence[str], against: str, chain: bool) -> list[tuple[int, int]]:
    """Each encoder with the one that all are held against; along a run with the checkpoint before it, too."""
    last = names.index(against)
    pairs = [(i, last) for i in range(len(names)) if i != last]
    steps = [(i, i - 1) for i in range(1, len(names))] if chain else []
    done = {frozenset(pair) for pair in pairs}
    return pairs + [pair for pair in steps if frozenset(pair) not in done]
