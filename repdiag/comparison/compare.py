"""Scored encoders in, a comparison out."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

from repdiag.comparison import words
from repdiag.comparison.align import align
from repdiag.comparison.align import scored as scored
from repdiag.comparison.columns import class_table, classifier_of, curve_table, right_by_run, sample_table
from repdiag.comparison.quantities import Missing, Pair, Quantities, pair_up
from repdiag.comparison.types import Comparison, Difference, Scored
from repdiag.errors import UsageError
from repdiag.registry import did_you_mean
from repdiag.types import MetricSpec, Report

PRIMARY = "linear_probe_accuracy"
"""What the verdict is about unless another measure is chosen, before anything is looked at."""


def compare(
    arms: Sequence[Scored],
    *,
    subject: str,
    against: str,
    start: str | None = None,
    metrics: Sequence[MetricSpec] | None = None,
    primary: str = PRIMARY,
    confidence: float = 0.95,
    bootstrap: int = 2000,
    seed: int = 0,
    names: Mapping[str, str] = words.TUNING,
    config: Mapping[str, Any] | None = None,
    warnings: Sequence[str] = (),
    files: Mapping[str, str] | None = None,
) -> Comparison:
    """Compare scored encoders on the samples that all of them have; the verdict is `subject` against `against`.

    `arms` are runs, several of one arm with different seeds. `start` is the arm that all others came from (by default
    the first one without a seed besides the two); every other arm is compared with `against` and with `start`.
    `metrics` are those to compare (all that were measured), `primary` the one that decides. `names` say what arms are
    called in sentences (by default "before" and "control" as fine-tuning means them); `config`, `warnings` and `files`
    are carried along.

    A metric with a value for each sample gets a paired interval over images and seeds (`repdiag.comparison.paired`);
    any other the seeds' paired t interval, widened by each report's own interval. HELPED and HURT need an interval
    at `confidence` that leaves zero out; with one seed of a trained arm the effect is NO_EVIDENCE. Only the primary
    measure is a test that was fixed beforehand: the others are not corrected for their number. Runs with a seed that
    the other arm lacks are left out of that pair, and said.

    O(B N Q R) time for B bootstrap draws, N samples, Q metrics with values by sample and R runs; equal for equal seeds
    but for `created`. Raises UsageError for an arm that is not there, a run that is there twice, or reports without
    common samples or with other labels.
    """
    runs = _sorted(arms, subject, against, start, primary, confidence, bootstrap)
    start = start or _start(runs, subject, against)
    aligned = align(runs)
    specs = _specs(runs, metrics)
    found = Quantities(runs, aligned, list(specs.values()), confidence, bootstrap, seed)
    said = [*warnings, *_cautions(runs, aligned.left_out, len(aligned))]

    pairs: list[Pair] = []
    for names_of in _asked(runs, subject, against, start):
        pair = pair_up(runs, *names_of)
        if pair is None:
            said.append(f"{names_of[0]} and {names_of[1]} have no seed in common: they are not compared.")
            continue
        pairs.append(pair)
        said += _unpaired_seeds(runs, pair)
    differences: list[Difference] = []
    missing: dict[str, list[Missing]] = {}
    for spec in specs.values():
        for pair in pairs:
            made = found.difference(spec, pair, primary=spec.name == primary)
            if isinstance(made, Difference):
                differences.append(made)
            else:
                missing.setdefault(spec.name, []).append(made)
    skipped = {name: _why(gaps, {run.arm for run in runs}) for name, gaps in missing.items()}

    early = words.ended_early(runs, [subject, against])
    said += words.ended_early(runs, list(dict.fromkeys(run.arm for run in runs)))
    main = _main(differences, skipped, runs, subject, against, primary)
    beside = [
        d
        for d in differences
        if d.primary and d.against == start and d.subject in (subject, against) and start != against
    ]
    effect, reason = words.verdict(main, specs.get(primary), beside, names)
    classifier = classifier_of(runs, primary)
    right = None if classifier is None else right_by_run(runs, aligned, classifier)
    others = list(dict.fromkeys(arm for arm in (against, start) if arm is not None))
    return Comparison(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        subject=subject,
        against=against,
        effect=effect,
        reason=" ".join([reason, *early]),
        arms=tuple(runs),
        differences=tuple(differences),
        samples=sample_table(found, right, subject, others),
        curves=curve_table(runs),
        skipped=skipped,
        config={
            "primary": primary,
            "confidence": confidence,
            "bootstrap": found.drawn,
            "seed": seed,
            "samples": len(aligned),
            "start": start,
            "classifier": classifier,
            **(config or {}),
        },
        warnings=tuple(one for one in dict.fromkeys(said) if one not in early),
        files=dict(files or {}),
        classes=class_table(found, right, pair_up(runs, subject, against)),
    )


def _sorted(
    arms: Sequence[Scored],
    subject: str,
    against: str,
    start: str | None,
    primary: str,
    confidence: float,
    bootstrap: int,
) -> list[Scored]:
    """The runs by arm, those without a seed first, and by seed; checked."""
    known = list(dict.fromkeys(run.arm for run in arms))
    for name in (subject, against, *([start] if start else [])):
        if name not in known:
            raise UsageError(f"There is no arm '{name}' to compare", do=did_you_mean(name, known))
    if subject == against:
        raise UsageError(f"'{subject}' cannot be compared with itself", do="Name two arms")
    if not 0 < confidence < 1:
        raise UsageError(f"confidence must be between 0 and 1, not {confidence}")
    if bootstrap < 20:
        raise UsageError(f"bootstrap must be at least 20 draws, not {bootstrap}")
    seen: set[tuple[str, int | None]] = set()
    for run in arms:
        if (run.arm, run.seed) in seen:
            what = "without a seed" if run.seed is None else f"with seed {run.seed}"
            raise UsageError(f"Arm '{run.arm}' is there twice {what}", do="Give each run its own seed")
        seen.add((run.arm, run.seed))
    mixed = [a for a in known if len({run.seed is None for run in arms if run.arm == a}) > 1]
    if mixed:
        raise UsageError(f"Some runs of arm '{mixed[0]}' have a seed and some have none")
    bare = [a for a in known if any(run.arm == a and run.seed is None for run in arms)]
    order = [*bare, *(a for a in known if a not in bare)]
    return sorted(arms, key=lambda run: (order.index(run.arm), run.seed or 0))


def _start(runs: Sequence[Scored], subject: str, against: str) -> str | None:
    return next((r.arm for r in runs if r.seed is None and r.arm not in (subject, against)), None)


def _asked(runs: Sequence[Scored], subject: str, against: str, start: str | None) -> list[tuple[str, str]]:
    """Which arms are compared with which: the subject first, then the other against the start, then all others."""
    every = list(dict.fromkeys(run.arm for run in runs))
    arms = [subject, *(arm for arm in every if arm not in (subject, against, start))]
    pairs = [(arm, other) for arm in arms for other in (against, start) if other is not None]
    if start is not None and start != against:
        pairs.insert(2, (against, start))
    return [pair for pair in dict.fromkeys(pairs) if pair[0] != pair[1]]


def _specs(runs: Sequence[Scored], metrics: Sequence[MetricSpec] | None) -> dict[str, MetricSpec]:
    if metrics is not None:
        return {spec.name: spec for spec in metrics}
    return {m.spec.name: m.spec for run in runs for m in run.report.measurements}


def _unpaired_seeds(runs: Sequence[Scored], pair: Pair) -> list[str]:
    said = []
    for arm, used in zip(pair.names, (pair.subject, pair.against), strict=True):
        other = pair.names[1] if arm == pair.names[0] else pair.names[0]
        extra = [str(run.seed) for i, run in enumerate(runs) if run.arm == arm and i not in used]
        if extra:
            word = "seed" if len(extra) == 1 else "seeds"
            said.append(
                f"{arm} is compared with {other} without {word} {', '.join(extra)}: {other} has none."
            )
    return said


def _why(gaps: Sequence[Missing], every: set[str]) -> str:
    """Why a metric was not compared, with the arms in question unless they are all."""
    arms: dict[str, dict[str, None]] = {}
    for gap in gaps:
        arms.setdefault(gap.reason, {}).update(dict.fromkeys(gap.arms))
    return "; ".join(
        reason if not of or set(of) == every else f"{', '.join(of)}: {reason}" for reason, of in arms.items()
    )


def _main(
    differences: Sequence[Difference],
    skipped: Mapping[str, str],
    runs: Sequence[Scored],
    subject: str,
    against: str,
    primary: str,
) -> Difference | str:
    """The difference that decides, or why there is none."""
    for d in differences:
        if d.primary and (d.subject, d.against) == (subject, against):
            return d
    if not any(run.report.dataset.get("labeled", "label" in run.report.samples.columns) for run in runs):
        return f"the data have no labels, and {words.UNPROVABLE}"
    return f"{primary} was not compared ({skipped.get(primary, 'it was not measured')})"


def _cautions(runs: Sequence[Scored], left_out: int, n: int) -> list[str]:
    said = []
    if left_out:
        said.append(
            f"{left_out:,} samples are not in every report and are left out everywhere: the numbers are of the "
            f"{n:,} that all have."
        )
    return said + unlike(runs)


def unlike(runs: Sequence[Scored]) -> list[str]:
    """What to beware of where encoders were not scored alike, or have different numbers of features."""
    said = []
    first = _settings(runs[0].report)
    differ = sorted(
        {
            name
            for r in runs[1:]
            for name in first
            if _settings(r.report).get(name, first[name]) != first[name]
        }
    )
    if differ:
        said.append(f"The encoders were not scored alike ({', '.join(differ)}): differences may be of that.")
    widths = sorted({int(run.report.dataset["features"]) for run in runs if "features" in run.report.dataset})
    if len(widths) > 1:
        said.append(
            f"The encoders have {', '.join(map(str, widths))} features: Q-Scores and what follows the "
            "spectrum depend on that number."
        )
    return said


def _settings(report: Report) -> Mapping[str, Any]:
    return {name: value for name, value in report.config.items() if name != "metrics"}
