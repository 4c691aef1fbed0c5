"""One quantity in two arms: the difference, its interval, and what they say in the quantity's direction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from repdiag.comparison import paired
from repdiag.comparison.align import Aligned, values_of
from repdiag.comparison.paired import Doubles
from repdiag.comparison.types import Difference, Effect, Scored
from repdiag.types import Direction, Interval, MetricResult, MetricSpec, Report, Skipped

NO_CHANGE = "the same for every sample"


@dataclass(frozen=True)
class Missing:
    """Why a quantity could not be compared, and the arms that lack it (all of them where none is named)."""

    reason: str
    arms: tuple[str, ...] = ()


@dataclass(frozen=True)
class Pair:
    """Two arms, run by run: `subject` and `against` are numbers of runs (S,), equal seeds side by side.

    `seeded`: whether at least one of them was trained with a seed, so that another seed would have given another one.
    """

    names: tuple[str, str]
    subject: tuple[int, ...]
    against: tuple[int, ...]
    seeded: bool


def pair_up(runs: Sequence[Scored], subject: str, against: str) -> Pair | None:
    """The runs of two arms by seed; an arm without seeds stands beside every seed. None without a common seed."""
    one, other = ({r.seed: i for i, r in enumerate(runs) if r.arm == arm} for arm in (subject, against))
    if None in one and None in other:
        return Pair((subject, against), (one[None],), (other[None],), False)
    seeds = sorted(
        seed
        for seed in {*one, *other}
        if seed is not None and (seed in one or None in one) and (seed in other or None in other)
    )
    if not seeds:
        return None
    left, right = (tuple(arm.get(s, arm.get(None, -1)) for s in seeds) for arm in (one, other))
    return Pair((subject, against), left, right, True)


@dataclass(frozen=True)
class Quantities:
    """All that the differences are made from: every run's value and, where there are any, values by sample.

    `drawn` bootstrap resamples of the common samples are the same for everything. `fixed`: the question is about
    these very encoders. Then what was evaluated on other samples is compared too, as if independent; but not a metric
    in `moving`, which moves with the number of samples, where that number differs.
    """

    runs: Sequence[Scored]
    aligned: Aligned
    specs: Sequence[MetricSpec]
    confidence: float
    bootstrap: int
    seed: int
    fixed: bool = False
    moving: frozenset[str] = frozenset()
    by_sample: Mapping[str, Mapping[int, Doubles]] = field(init=False)
    resampled: Mapping[tuple[str, int], Doubles] = field(init=False)
    drawn: int = field(init=False)

    def __post_init__(self) -> None:
        found: dict[str, dict[int, Doubles]] = {}
        for spec in self.specs:
            for i, run in enumerate(self.runs):
                values = values_of(run.report, spec.name)
                if values is not None:
                    found.setdefault(spec.name, {})[i] = self.aligned.take(i, values)
        keys = [(name, i) for name, of_runs in found.items() for i in of_runs]
        if not len(self.aligned):
            found, keys = {}, []
            counts = np.zeros((self.bootstrap, 0), np.uint8)
        else:
            counts = paired.draws(len(self.aligned), self.bootstrap, self.seed)
        columns = np.zeros((len(counts), 0))
        if keys:
            columns = paired.replicates(np.stack([found[name][i] for name, i in keys]), counts)
        object.__setattr__(self, "by_sample", found)
        object.__setattr__(self, "resampled", {key: columns[:, c] for c, key in enumerate(keys)})
        object.__setattr__(self, "drawn", len(counts))

    def difference(self, spec: MetricSpec, pair: Pair, *, primary: bool = False) -> Difference | Missing:
        """The difference of `spec` between the arms of `pair`, or why there is none."""
        missing = self._missing(spec.name, pair)
        if missing is not None:
            return missing
        of_runs = self.by_sample.get(spec.name, {})
        if all(i in of_runs for i in (*pair.subject, *pair.against)):
            return self._paired(spec, pair, primary)
        sizes = {evaluated(self.runs[i].report) for i in (*pair.subject, *pair.against)}
        if self.fixed and len(sizes) > 1 and spec.name in self.moving:
            return Missing(
                "it moves with the number of samples, and the encoders were scored on different numbers"
            )
        if self.aligned.left_out and not self.fixed:
            return Missing("the arms were evaluated on different samples, and it has no value by sample")
        return self._unpaired(spec, pair, primary)

    def _missing(self, name: str, pair: Pair) -> Missing | None:
        reasons: dict[str, dict[str, None]] = {}
        for arm, numbers in zip(pair.names, (pair.subject, pair.against), strict=True):
            for i in numbers:
                found = self.runs[i].report.measurement(name)
                if found is None:
                    reasons.setdefault("not measured", {})[arm] = None
                elif isinstance(found.outcome, Skipped):
                    reasons.setdefault(found.outcome.reason, {})[arm] = None
        return next((Missing(reason, tuple(arms)) for reason, arms in reasons.items()), None)

    # -------------------------------------------------------------------------------------- values by sample

    def _paired(self, spec: MetricSpec, pair: Pair, primary: bool) -> Difference | Missing:
        of_runs = self.by_sample[spec.name]
        one = np.stack([of_runs[i] for i in pair.subject])
        other = np.stack([of_runs[i] for i in pair.against])
        known = np.isfinite(one), np.isfinite(other)
        if not all(k.any(1).all() for k in known):
            return Missing("undefined for every sample that all arms have")
        a, b = (_means(values) for values in (one, other))
        return self._made(spec, pair, a, b, self._paired_interval(spec, pair, one, other, a - b), primary)

    def _paired_interval(
        self, spec: MetricSpec, pair: Pair, one: Doubles, other: Doubles, by_seed: Doubles
    ) -> Interval | None:
        s = by_seed.size
        n = int(np.isfinite(one).all(0).sum())
        if np.array_equal(one, other, equal_nan=True):
            return Interval(0.0, 0.0, NO_CHANGE, s, self.confidence)
        left, right = (
            np.stack([self.resampled[spec.name, i] for i in numbers], axis=1)
            for numbers in (pair.subject, pair.against)
        )
        covariance = paired.bootstrap_covariance(left - right, n)
        if covariance is None:
            return None
        if _right_or_wrong(one) and _right_or_wrong(other):
            covariance = paired.with_two_changes(covariance, n)
        half = float(paired.margin(by_seed, covariance, n, self.confidence))
        covers = f"paired bootstrap over {n:,} images"
        if s > 1:
            covers += f" and t over {s} seeds"
        elif pair.seeded:
            covers += "; one seed, whose luck it does not cover"
        delta = float(by_seed.mean())
        return Interval(delta - half, delta + half, covers, self.drawn, self.confidence)

    # ------------------------------------------------------------------------------------- one number per run

    def _unpaired(self, spec: MetricSpec, pair: Pair, primary: bool) -> Difference:
        one, other = (self._results(spec.name, numbers) for numbers in (pair.subject, pair.against))
        a, b = (np.array([r.value for r in results]) for results in (one, other))
        by_seed, s = a - b, len(one)
        delta = float(by_seed.mean())
        own = [self._own(one), self._own(other)]
        covers, interval = "", None
        if s > 1:
            covers = f"paired t over {s} seeds"
        if None not in own:
            whose = "both reports' own intervals" if self.fixed else "each arm's own interval"
            covers += (" and " if covers else "") + f"{whose} as if independent"
        elif covers:
            covers += "; the images' noise is not covered"
        if covers:
            free = [(0.0, 0.0) if o is None else o for o in own] if None not in own else [(0.0, 0.0)] * 2
            below, above = paired.independent_margins(free[0], free[1], by_seed, self.confidence)
            interval = Interval(delta - below, delta + above, covers, s, self.confidence)
        return self._made(spec, pair, a, b, interval, primary)

    def _results(self, name: str, numbers: Sequence[int]) -> list[MetricResult]:
        results = (self.runs[i].report.value(name) for i in numbers)
        return [r for r in results if r is not None]

    def _own(self, results: Sequence[MetricResult]) -> tuple[float, float] | None:
        """Mean distance of the value from its own interval's ends, at `confidence`; None where one has none.

        The mean over seeds, not its S-th part: the same images are off in the same way for all seeds.
        """
        from scipy.stats import norm

        ends = []
        for r in results:
            if r.interval is None:
                return None
            scale = norm.ppf((1 + self.confidence) / 2) / norm.ppf((1 + r.interval.level) / 2)
            ends.append((scale * max(r.value - r.interval.low, 0), scale * max(r.interval.high - r.value, 0)))
        low, high = np.mean(ends, axis=0)
        return float(low), float(high)

    def _made(
        self,
        spec: MetricSpec,
        pair: Pair,
        a: Doubles,
        b: Doubles,
        interval: Interval | None,
        primary: bool,
    ) -> Difference:
        by_seed = a - b
        told = interval if by_seed.size > 1 or not pair.seeded else None
        return Difference(
            metric=spec.name,
            title=spec.title,
            unit=spec.unit,
            direction=spec.direction,
            subject=pair.names[0],
            against=pair.names[1],
            value=float(a.mean()),
            other=float(b.mean()),
            delta=float(by_seed.mean()),
            interval=interval,
            by_seed=tuple(by_seed.tolist()),
            effect=effect_of(spec.direction, told),
            primary=primary,
        )


def evaluated(report: Report) -> int:
    """How many samples a report is about."""
    return int(report.dataset.get("evaluated") or len(report.samples))


def effect_of(direction: Direction, interval: Interval | None) -> Effect:
    """What an interval of a difference says: HELPED or HURT where it leaves zero out, on that side."""
    if interval is None or direction is Direction.NEITHER or interval.low <= 0 <= interval.high:
        return Effect.NO_EVIDENCE
    return Effect.HELPED if (interval.low > 0) == (direction is Direction.HIGHER) else Effect.HURT


def _means(values: Doubles) -> Doubles:
    known = np.isfinite(values)
    return np.asarray(np.where(known, values, 0.0).sum(1) / known.sum(1))


def _right_or_wrong(values: Doubles) -> bool:
    known = values[np.isfinite(values)]
    return bool(((known == 0) | (known == 1)).all())
