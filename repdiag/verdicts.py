"""What the numbers say in plain words: one verdict per family, from stated rules and nothing else.

All limits are conventions of ours, held against real encoders in docs/evidence; no paper states them. A rule looks at
an interval, never at a bare value: *good* when the whole interval lies beyond the upper limit, *poor* when all of it
lies below the lower one, *undetermined* when it reaches across both, or from chance past the lower one, *watch*
otherwise. A family is as good as its worst decided finding. Adding a rule is one entry of RULES;
docs/reference/verdicts.md is written from them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from repdiag.types import Finding, Level, Measurement, MetricResult, Skipped, Verdict

ORDER = (Level.POOR, Level.WATCH, Level.GOOD, Level.UNDETERMINED)
"""From the worst; what is undetermined decides nothing as long as anything else is decided."""

Found = Callable[[str], MetricResult | None]
"""The result of a metric by name, None where it was skipped or not asked for."""


@dataclass(frozen=True)
class Rule:
    """One stated rule: the metrics it needs, what it says, and the function that applies it."""

    name: str
    family: str
    needs: tuple[str, ...]
    text: str
    apply: Callable[[Found], tuple[Level, str] | None]


def verdicts(measurements: Sequence[Measurement]) -> tuple[Verdict, ...]:
    """One verdict for each family among `measurements`, in their order; a family without a rule has none."""
    results = {m.spec.name: m.outcome for m in measurements}

    def found(name: str) -> MetricResult | None:
        outcome = results.get(name)
        return outcome if isinstance(outcome, MetricResult) else None

    told = []
    for family in dict.fromkeys(m.spec.family for m in measurements):
        rules = [rule for rule in RULES if rule.family == family]
        if rules:
            findings = tuple(filter(None, (_finding(rule, found) for rule in rules)))
            told.append(_verdict(family, findings, _why_none(rules, results)))
    return tuple(told)


def _finding(rule: Rule, found: Found) -> Finding | None:
    if any(found(name) is None for name in rule.needs):
        return None
    said = rule.apply(found)
    return None if said is None else Finding(rule.name, *said)


def _verdict(family: str, findings: tuple[Finding, ...], why_none: str) -> Verdict:
    if not findings:
        return Verdict(family, Level.UNDETERMINED, why_none)
    level = min((f.level for f in findings), key=ORDER.index)
    reasons = [f.reason for f in findings if f.level is level]
    return Verdict(family, level, reasons[0] if level is Level.GOOD else " ".join(reasons), findings)


def _why_none(rules: Sequence[Rule], results: Mapping[str, object]) -> str:
    """Why no rule of a family could be applied: what the metrics that it needs were skipped for."""
    for rule in rules:
        for name in rule.needs:
            outcome = results.get(name)
            if isinstance(outcome, Skipped):
                return f"No rule applies: {outcome.reason}."
    return "No rule applies: the metrics that the rules need were not measured."


# ------------------------------------------------------------------------------------------------ building blocks


def ends(result: MetricResult) -> tuple[float, float]:
    """The interval of a result; the bare value twice where it has none."""
    return (result.interval.low, result.interval.high) if result.interval else (result.value, result.value)


def band(low: float, high: float, poor: float, good: float, chance: float = 0.0) -> Level:
    """The level of an interval of an effect, higher being better; `chance` is no effect at all."""
    if low >= good:
        return Level.GOOD
    if high < poor:
        return Level.POOR
    return Level.UNDETERMINED if low <= chance or (low < poor and high >= good) else Level.WATCH


def _beyond(result: MetricResult, best: float) -> tuple[float, float, float]:
    """Value and interval as the share of the way from the null (0) to the `best` value (1)."""
    assert result.null is not None
    zero, scale = result.null.mean, best - result.null.mean
    ends_ = sorted((end - zero) / scale for end in ends(result))
    return (result.value - zero) / scale, ends_[0], ends_[1]


def _way(name: str, family: str, metric: str, what: str, poor: float, good: float, best: float = 1.0) -> Rule:
    """A rule on how far a metric has come from its null to its best value."""

    def apply(found: Found) -> tuple[Level, str] | None:
        result = found(metric)
        if result is None or result.null is None or result.null.mean == best:
            return None
        share, low, high = _beyond(result, best)
        if share <= 0:
            said = "no more than where there is nothing to find"
        else:
            said = f"{_percent(share)} of the way from chance to {'perfect' if best else 'no error'}"
        return band(low, high, poor, good), f"{what}: {said}."

    return Rule(
        name,
        family,
        (metric,),
        f"(value - null) / ({best:g} - null) of `{metric}`: good from {good:g}, poor below {poor:g}",
        apply,
    )


def _percent(share: float) -> str:
    return f"{100 * share:.0f}%"


def _worst_class(found: Found) -> tuple[Level, str] | None:
    result = found("nearest_center_error")
    if result is None or result.per_class is None:
        return None
    known = [float(v) for v in result.per_class if v == v]
    if not known:
        return None
    lost = sum(v > 0.5 for v in known)
    if lost:
        return (
            Level.WATCH,
            f"In {lost} of {len(known)} classes most samples lie nearer to another class's center.",
        )
    return Level.GOOD, f"In all {len(known)} classes most samples lie nearest to their own center."


def _neighbors_follow(found: Found) -> tuple[Level, str] | None:
    probe, knn = found("linear_probe_accuracy"), found("knn_accuracy")
    if probe is None or knn is None or probe.null is None or knn.null is None:
        return None
    (_, low, _), (_, _, high) = _beyond(probe, 1.0), _beyond(knn, 1.0)
    if low <= 0:
        return None
    if high < 0.7 * low:
        return (
            Level.WATCH,
            f"Neighbors do not show what the linear probe finds (kNN {100 * knn.value:.1f}%, "
            f"probe {100 * probe.value:.1f}%).",
        )
    return Level.GOOD, "Neighbors show what the linear probe finds."


def _clusters_are_classes(found: Found) -> tuple[Level, str] | None:
    result = found("label_ari")
    if result is None or result.null is None:
        return None
    low, high = ends(result)
    chance = result.null.mean + 2 * result.null.std
    if high <= chance:
        if chance > 0.1:
            return (
                Level.UNDETERMINED,
                f"So few samples reach an ARI of {chance:.2f} with the classes by chance.",
            )
        return (
            Level.POOR,
            "However stable, the clusters have nothing to do with the classes (ARI as by chance).",
        )
    if low > 0.5:
        return Level.GOOD, f"The clusters are largely the classes (ARI {result.value:.2f})."
    return (
        Level.WATCH,
        f"Stable is not correct: clusters and classes agree with an ARI of {result.value:.2f}.",
    )


def _compression(found: Found) -> tuple[Level, str] | None:
    result = found("compression")
    row = next((r for r in result.table if r.get("kept") == 0.6), None) if result else None
    if row is None or row.get("gain_low") is None or row.get("gain_high") is None:
        return None
    low, high, gain = (float(row[key] or 0) for key in ("gain_low", "gain_high", "gain"))
    points = f"{100 * gain:+.1f} points [{100 * low:+.1f}, {100 * high:+.1f}]"
    if low > 0:
        return Level.GOOD, f"The chosen 60% of the features beat as many random ones by {points}."
    if high < 0:
        return Level.POOR, f"The chosen 60% of the features lose to as many random ones: {points}."
    return Level.WATCH, f"The chosen 60% of the features are no better than as many random ones: {points}."


def _redundancy(found: Found) -> tuple[Level, str] | None:
    result = found("smallest_subset")
    if result is None:
        return None
    said = f"{_percent(result.value)} of the features hold the probe's accuracy within a point."
    return (Level.GOOD if result.value <= 0.5 else Level.WATCH), said


def _risk(found: Found) -> tuple[Level, str] | None:
    result = found("risk_auroc")
    if result is None:
        return None
    low, high = ends(result)
    level = Level.POOR if low <= 0.5 else band(low, high, 0.6, 0.75)
    return (
        level,
        f"The risk column finds the errors with an AUROC of {result.value:.2f} [{low:.2f}, {high:.2f}].",
    )


def _calibrated(found: Found) -> tuple[Level, str] | None:
    result = found("risk_brier")
    if result is None or result.parameters.get("skill_low") is None:
        return None
    if float(result.parameters["skill_low"]) > 0:
        return Level.GOOD, "The risk, read as a probability, beats the plain error rate (Brier score)."
    return (
        Level.WATCH,
        "The risk, read as a probability, is not shown to beat the plain error rate (Brier score).",
    )


def _q_score(found: Found) -> tuple[Level, str] | None:
    empty, auroc = found("qscore_empty_rate"), found("qscore_auroc")
    if empty is None:
        return None
    if empty.value > 0.5:
        return (
            Level.WATCH,
            f"Q-Score is not to be trusted here: {_percent(empty.value)} of the samples have none.",
        )
    if auroc is not None and ends(auroc)[0] <= 0.5:
        return (
            Level.WATCH,
            f"Q-Score is not to be trusted here: its AUROC for errors is {auroc.value:.2f}, as by chance.",
        )
    if auroc is None:
        return None
    return Level.GOOD, f"Q-Score ranks errors better than chance (AUROC {auroc.value:.2f})."


def _rank(found: Found) -> tuple[Level, str] | None:
    result = found("rankme")
    if result is None:
        return None
    most = min(float(result.parameters["samples"]), float(result.parameters["features"]))
    said = f"{_percent(result.value / most)} of {most:.0f} possible dimensions are in use (RankMe {result.value:.1f})."
    if most < 10:
        return Level.UNDETERMINED, f"Only {most:.0f} dimensions are possible: too few to speak of collapse."
    low, high = (end / most for end in ends(result))
    return Level.POOR if result.value < 2 else band(low, high, 0.05, 0.25), said


def _full_probe(found: Found) -> tuple[Level, str] | None:
    result = found("linear_probe_accuracy")
    if result is None or result.null is None:
        return None
    share, low, high = _beyond(result, 1.0)
    said = f"A linear probe gets {100 * result.value:.1f}% right, {_percent(share)} of the way from chance."
    if low <= 0:
        said = f"A linear probe gets {100 * result.value:.1f}% right, not told from chance."
    return band(low, high, 0.2, 0.6), said


RULES: tuple[Rule, ...] = (
    Rule(
        "probe",
        "probes",
        ("linear_probe_accuracy",),
        "(accuracy - null) / (1 - null): good from 0.6, poor below 0.2",
        _full_probe,
    ),
    Rule(
        "neighbors follow",
        "probes",
        ("linear_probe_accuracy", "knn_accuracy"),
        "watch where kNN's upper end, from chance to 1, is less than 0.7 of the probe's lower end; else good",
        _neighbors_follow,
    ),
    _way(
        "centers",
        "crowding",
        "nearest_center_error",
        "Samples lie nearest to their own class's center",
        0.2,
        0.6,
        0.0,
    ),
    _way("separation", "crowding", "r2_separation", "Spread between classes (R²)", 0.05, 0.35),
    Rule(
        "every class",
        "crowding",
        ("nearest_center_error",),
        "watch where more than half of any class lies nearer to another class's center; else good",
        _worst_class,
    ),
    _way("seed", "stability", "seed_ari", "Clusters agree between seeds", 0.1, 0.5),
    _way("subsample", "stability", "subsample_ari", "Clusters agree between subsamples", 0.1, 0.5),
    _way("augmentation", "stability", "augmentation_ari", "Augmented images stay in their cluster", 0.1, 0.5),
    Rule(
        "clusters are classes",
        "stability",
        ("label_ari",),
        "poor where the upper end of `label_ari` is within the null's mean + 2 std (undetermined where that is above "
        "0.1), good where its lower end is above 0.5, else watch",
        _clusters_are_classes,
    ),
    _way(
        "neighbors", "similarity", "neighbor_agreement_excess", "Nearest neighbors share the class", 0.1, 0.5
    ),
    Rule(
        "compression",
        "features",
        ("compression",),
        "paired difference to random features at 60 % kept: good where its interval is above 0, poor where it is "
        "below, else watch",
        _compression,
    ),
    Rule(
        "redundancy",
        "features",
        ("smallest_subset",),
        "good where at most half of the features hold the accuracy within a point, else watch",
        _redundancy,
    ),
    Rule(
        "risk",
        "risk",
        ("risk_auroc",),
        "interval of `risk_auroc`: good from 0.75, poor below 0.6; chance is 0.5",
        _risk,
    ),
    Rule(
        "calibration",
        "risk",
        ("risk_brier",),
        "good where the interval of the Brier skill (parameters of `risk_brier`) is above 0, else watch",
        _calibrated,
    ),
    Rule(
        "Q-Score",
        "risk",
        ("qscore_empty_rate",),
        "watch where more than half of the samples have no Q-Score, or where the interval of `qscore_auroc` reaches "
        "0.5; else good",
        _q_score,
    ),
    Rule(
        "rank",
        "spectrum",
        ("rankme",),
        "RankMe / min(N, D): good from 0.25, poor below 0.05 or below 2 dimensions (collapse); undetermined where "
        "fewer than 10 dimensions are possible",
        _rank,
    ),
)
