"""Scored encoders in, all of them against one: what is better, what is worse, class by class and image by image."""

from __future__ import annotations

import datetime
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from repdiag.comparison import words
from repdiag.comparison.align import Aligned, align
from repdiag.comparison.class_pairs import class_pairs
from repdiag.comparison.columns import class_table, classifier_of, right_by_run, sample_table
from repdiag.comparison.compare import PRIMARY, unlike
from repdiag.comparison.crowding import crowding
from repdiag.comparison.quantities import Missing, Pair, Quantities, evaluated
from repdiag.comparison.side_by_side import SideBySide
from repdiag.comparison.trajectory import epochs_of, trajectory
from repdiag.comparison.types import Comparison, Difference, Question, Scored
from repdiag.errors import UsageError
from repdiag.registry import did_you_mean
from repdiag.types import Table


def compare_encoders(
    runs: Sequence[Scored],
    *,
    against: str | None = None,
    primary: str = PRIMARY,
    confidence: float = 0.95,
    bootstrap: int = 2000,
    seed: int = 0,
    moving: Collection[str] = (),
    show_crowding: bool = False,
    as_trajectory: bool = False,
    epochs: Sequence[float] | None = None,
    config: Mapping[str, Any] | None = None,
    warnings: Sequence[str] = (),
) -> SideBySide:
    """Hold `runs` (`arm` their names, `seed` None) against one of them, by default the first.

    The question is about these very encoders, so intervals cover the choice of images and no seeds (the end of
    `repdiag.comparison.paired`). A metric with a value for each sample is paired over the common images; any other
    gets both reports' own intervals as if they were independent, which on the same images is wider than need be.
    Reports of other images (fewer than half in common) are compared as independent throughout, and said; `moving`
    metrics, which move with the number of samples, are then compared only at equal numbers.

    Only the primary measure is a question that was fixed beforehand; the others are not corrected for their number.
    Raises UsageError for fewer than two runs, equal names, an unknown `against`, or other labels for common samples.
    """
    names = [run.arm for run in runs]
    if len(runs) < 2:
        raise UsageError("One encoder alone cannot be compared", do="Give two or more")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UsageError(f"Two encoders are called '{twice[0]}'", do="Give --names, one for each")
    against = against or names[0]
    if against not in names:
        raise UsageError(f"There is no encoder '{against}' to compare with", do=did_you_mean(against, names))
    numbers, numbered = epochs_of(names, epochs)
    aligned = align(runs, apart=True)
    specs = list({m.spec.name: m.spec for run in runs for m in run.report.measurements}.values())
    moved = frozenset({*moving, *(spec.name for spec in specs if spec.by_size)})
    found = Quantities(runs, aligned, specs, confidence, bootstrap, seed, True, moved)
    others = [name for name in names if name != against]
    subject = others[-1] if as_trajectory else others[0]
    differences, skipped = _differences(found, others, against, primary)
    effect, reason = words.side_by_side(
        [d for d in differences if d.primary], next((s for s in specs if s.name == primary), None), subject,
        skipped.get(primary, "it was not measured"), _labeled(runs),
    )  # fmt: skip
    whole = Comparison(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        subject=subject,
        against=against,
        effect=effect,
        reason=reason,
        arms=tuple(runs),
        differences=tuple(differences),
        samples=Table({}),
        curves=Table({}),
        skipped=skipped,
        config={
            "primary": primary,
            "confidence": confidence,
            "bootstrap": found.drawn,
            "seed": seed,
            "samples": len(aligned),
            **(config or {}),
        },
        warnings=tuple(dict.fromkeys([*warnings, *_cautions(runs, aligned), *unlike(runs)])),
        question=Question.ENCODERS,
    )
    details = tuple(_detail(found, whole, name) for name in others)
    pairs = [
        class_pairs(runs, aligned, names.index(name), names.index(against), confidence) for name in others
    ]
    crowded = crowding(runs, specs, differences, against, confidence) if show_crowding else ((), ())
    course = None
    if as_trajectory:

        def between(metric: str, one: int, other: int) -> Difference | None:
            spec = next(spec for spec in specs if spec.name == metric)
            made = found.difference(spec, Pair((names[one], names[other]), (one,), (other,), False))
            return made if isinstance(made, Difference) else None

        course = trajectory(runs, specs, numbers, numbered, between)
    return SideBySide(
        comparison=whole,
        details=details,
        samples=_samples(details),
        classes=_classes(details),
        pairs=_stacked(pairs),
        crowding=crowded[0],
        crowding_notes=crowded[1],
        trajectory=course,
    )


def _labeled(runs: Sequence[Scored]) -> bool:
    return any(run.report.dataset.get("labeled", "label" in run.report.samples.columns) for run in runs)


def _differences(
    found: Quantities, others: Sequence[str], against: str, primary: str
) -> tuple[list[Difference], dict[str, str]]:
    """Every metric of each encoder less that of `against`, and why there is none."""
    place = {run.arm: i for i, run in enumerate(found.runs)}
    differences: list[Difference] = []
    missing: dict[str, dict[str, list[str]]] = {}
    for spec in found.specs:
        for name in others:
            pair = Pair((name, against), (place[name],), (place[against],), False)
            made = found.difference(spec, pair, primary=spec.name == primary)
            if isinstance(made, Missing):
                missing.setdefault(spec.name, {}).setdefault(made.reason, []).extend(made.arms or (name,))
            else:
                differences.append(made)
    said = {
        name: "; ".join(
            reason
            if len(set(of)) in (len(others), len(place))
            else f"{', '.join(dict.fromkeys(of))}: {reason}"
            for reason, of in reasons.items()
        )
        for name, reasons in missing.items()
    }
    return differences, said


def _cautions(runs: Sequence[Scored], aligned: Aligned) -> list[str]:
    n = [evaluated(run.report) for run in runs]
    if not len(aligned):
        if not all(len(run.report.samples) for run in runs):
            return [
                "A report has no samples.csv beside it: nothing is paired by image, intervals are wider than need be."
            ]
        return [
            "The encoders were scored on other images: nothing is paired, and differences are of the images as well as "
            "of the encoders."
        ]
    said = []
    if aligned.left_out:
        sizes = ", ".join(f"{run.arm} {count:,}" for run, count in zip(runs, n, strict=True))
        said.append(
            f"Not all were scored on the same images ({sizes}): what has values by image is compared on the "
            f"{len(aligned):,} that all have, the rest as if independent."
        )
    prints = {run.report.dataset.get("fingerprint") for run in runs} - {None}
    if len(prints) > 1:
        said.append(
            "The data sets' fingerprints differ (files were changed, added or copied anew): images are paired by their "
            "names, which is right only if equal names are equal images."
        )
    return said


def _detail(found: Quantities, whole: Comparison, name: str) -> Comparison:
    """One encoder against the one that all are held against: two arms, with samples and classes of their own."""
    place = {run.arm: i for i, run in enumerate(found.runs)}
    numbers = (place[whole.against], place[name])
    runs = [found.runs[i] for i in numbers]
    differences = [d for d in whole.differences if d.subject == name]
    spec = next((s for s in found.specs if s.name == whole.config["primary"]), None)
    effect, reason = words.side_by_side(
        [d for d in differences if d.primary], spec, name,
        whole.skipped.get(whole.config["primary"], "it was not measured"), _labeled(runs),
    )  # fmt: skip
    aligned = replace(found.aligned, rows=tuple(found.aligned.rows[i] for i in numbers))
    two = replace(found, runs=runs, aligned=aligned, specs=())
    classifier = classifier_of(runs, whole.config["primary"])
    right = None if classifier is None or not len(aligned) else right_by_run(runs, aligned, classifier)
    pair = Pair((name, whole.against), (1,), (0,), False)
    return replace(
        whole,
        subject=name,
        effect=effect,
        reason=reason,
        arms=tuple(runs),
        differences=tuple(differences),
        samples=sample_table(two, right, name, [whole.against]) if len(aligned) else Table({}),
        classes=class_table(two, right, pair),
        config={**whole.config, "classifier": classifier},
    )


def _samples(details: Sequence[Comparison]) -> Table:
    """The tables of the single comparisons, which have the same rows, side by side."""
    first = details[0].samples.columns
    out: dict[str, Any] = {name: first[name] for name in ("id", "label") if name in first}
    for kind in ("correct", "newly_right", "newly_wrong", "q_score"):
        for one in details:
            for name, column in one.samples.columns.items():
                if name.startswith(f"{kind}:"):
                    out[f"{kind}:{one.subject}" if kind.startswith("newly") else name] = column
    return Table(out)


def _classes(details: Sequence[Comparison]) -> Table:
    """As `_samples`, by class; a class that one comparison does not have is empty there."""
    tables = [(one, one.classes.columns) for one in details if len(one.classes)]
    if not tables:
        return Table({})
    names = np.unique(np.concatenate([columns["class"] for _, columns in tables]))
    out: dict[str, Any] = {"class": names}
    places = [np.searchsorted(names, columns["class"]) for _, columns in tables]
    counts = np.zeros(names.size, np.int64)
    for (_, columns), at in zip(tables, places, strict=True):
        counts[at] = np.maximum(counts[at], columns["n"])
    out["n"] = counts
    for prefix in ("accuracy:", "delta", "low", "high"):
        for (one, columns), at in zip(tables, places, strict=True):
            for name in (n for n in columns if n.startswith(prefix)):
                filled = np.full(names.size, np.nan)
                filled[at] = columns[name]
                out[name if prefix == "accuracy:" else f"{name}:{one.subject}"] = filled
    return Table(out)


def _stacked(tables: Sequence[Table]) -> Table:
    full = [table.columns for table in tables if len(table)]
    return Table({name: np.concatenate([t[name] for t in full]) for name in full[0]} if full else {})
