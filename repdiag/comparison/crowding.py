"""The view of Song et al.: is one encoder's feature space more crowded than another's?"""

from __future__ import annotations

import math
from collections.abc import Sequence

from repdiag.comparison.side_by_side import Crowding
from repdiag.comparison.types import Difference, Scored
from repdiag.types import Direction, MetricResult, MetricSpec

FAMILIES = ("crowding", "similarity")
BESIDE = ("silhouette_labels_mean",)
PROBE, NEAR = "linear_probe_accuracy", 0.03
MORE, LESS, SAME = "more crowded", "less crowded", "not told apart"


def crowding(
    runs: Sequence[Scored],
    specs: Sequence[MetricSpec],
    differences: Sequence[Difference],
    against: str,
    confidence: float,
) -> tuple[tuple[Crowding, ...], tuple[str, ...]]:
    """What each measure of crowding says of each encoder and `against`, and what to beware of.

    The measures are those of the families crowding and similarity and the silhouette of the labels, as far as they
    declare a better direction. *More crowded*: the interval of the difference leaves zero out on the worse side.
    Distances and variances depend on how a space is scaled and how wide a cone its vectors fill, so each is also taken
    relative to its null with permuted labels: of log(value / null) the difference, with both reports' own intervals as
    independent (conservative). Which words count for the claim that self-supervised features are more crowded than
    supervised ones is ours: the paper's own formulas were not recovered (docs/evidence/supervised_vs_ssl.md).
    """
    kept = {s.name: s for s in specs if (s.family in FAMILIES or s.name in BESIDE)}
    by_name = {run.arm: run for run in runs}
    found, notes = [], []
    for d in differences:
        if d.metric in kept and d.direction is not Direction.NEITHER and d.against == against:
            results = [by_name[name].report.value(d.metric) for name in (d.subject, d.against)]
            found.append(_row(d, results[0], results[1], confidence))
    apart = [d for d in differences if d.metric == PROBE and d.against == against and abs(d.delta) > NEAR]
    if apart:
        probes = ", ".join(f"{d.subject} {100 * d.delta:+.1f} points" for d in apart)
        notes.append(
            f"Their linear probes differ (against {against}: {probes}), and a better encoder is usually less crowded, "
            "however it was trained. What the training itself does to crowding shows where probes are about equal."
        )
    if not found:
        notes.append("No measure of crowding was taken of both encoders: they need labels.")
    return tuple(found), tuple(notes)


def _row(d: Difference, one: MetricResult | None, other: MetricResult | None, confidence: float) -> Crowding:
    word = _word(d.delta, None if d.interval is None else (d.interval.low, d.interval.high), d.direction)
    sides = [_relative(result, confidence) for result in (one, other)]
    nulls = [None if r is None or r.null is None else r.null.mean for r in (one, other)]
    shares = [None if side is None else side[0] for side in sides]
    said = ""
    if sides[0] is not None and sides[1] is not None:
        change = math.log(sides[0][0] / sides[1][0])
        half = math.hypot(sides[0][1], sides[1][1])
        said = _word(change, (change - half, change + half), d.direction)
    return Crowding(d, word, nulls[0], nulls[1], shares[0], shares[1], said)


def _word(delta: float, ends: tuple[float, float] | None, direction: Direction) -> str:
    if ends is None or ends[0] <= 0 <= ends[1]:
        return SAME
    return LESS if (delta > 0) == (direction is Direction.HIGHER) else MORE


def _relative(result: MetricResult | None, confidence: float) -> tuple[float, float] | None:
    """value / null and the half width of its logarithm; None without a positive null or an interval."""
    from scipy.stats import norm

    if result is None or result.null is None or result.interval is None:
        return None
    value, null, own = result.value, result.null.mean, result.interval
    if "permut" not in result.null.name or value <= 0 or null <= 0:
        return None
    scale = norm.ppf((1 + confidence) / 2) / norm.ppf((1 + own.level) / 2)
    return value / null, float(scale * (own.high - own.low) / 2 / value)
