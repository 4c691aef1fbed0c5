"""The checkpoints of one run in order: which is best, by labels and without, and where the run turns down."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from repdiag.comparison.paired import Doubles
from repdiag.comparison.side_by_side import Best, Fall, Trajectory
from repdiag.comparison.types import Difference, Effect, Scored
from repdiag.errors import UsageError
from repdiag.types import Direction, MetricSpec, Table

RANKED = ("augmentation_ari", "flip_rate", "rankme")
"""Label-free metrics that put a ladder of encoders in the order of their probes (docs/evidence/quality_ladder.md)."""

FOLLOWED = ("linear_probe_accuracy", "knn_accuracy", *RANKED)
"""Metrics that are searched for a fall."""

Between = Callable[[str, int, int], Difference | None]
"""The difference of a metric between two runs by their numbers, None where it cannot be made."""


def epochs_of(names: Sequence[str], given: Sequence[float] | None) -> tuple[tuple[float, ...], bool]:
    """An epoch for each checkpoint, and whether it is known: given, or the one number that tells the names apart.

    A name's number is read where all names are the same but for one whole number that rises (ckpt-10, ckpt-20); else
    the checkpoints are counted, 1, 2, 3, ... Raises UsageError where `given` are not as many, or do not rise.
    """
    if given is not None:
        if len(given) != len(names):
            raise UsageError(
                f"--epochs has {len(given)} numbers for {len(names)} checkpoints", do="Give one for each"
            )
        if not all(a < b for a, b in pairwise(given)):
            raise UsageError("--epochs must rise", do="Give the checkpoints in the order of training")
        return tuple(map(float, given)), True
    parts = [re.split(r"(\d+)", name) for name in names]
    if len({len(p) for p in parts}) == 1:
        differ = [i for i, column in enumerate(zip(*parts, strict=True)) if len(set(column)) > 1]
        if len(differ) == 1 and differ[0] % 2:
            numbers = [float(p[differ[0]]) for p in parts]
            if all(a < b for a, b in pairwise(numbers)):
                return tuple(numbers), True
    return tuple(map(float, range(1, len(names) + 1))), False


def trajectory(
    runs: Sequence[Scored],
    specs: Sequence[MetricSpec],
    epochs: Sequence[float],
    numbered: bool,
    between: Between,
) -> Trajectory:
    """What the checkpoints `runs`, in the order of training, say of the run.

    Label-free rank (ours): each of `RANKED` ranks the checkpoints in its own direction (1 is best, ties share their
    mean), and the lowest mean of the ranks is best; of equal ones the earliest. The three are those of 29 label-free
    metrics that ranked nine encoders rightly on two data sets; that they pick the epoch of *one* run rightly was not
    tested there, so the probe's best stands beside it where there are labels. A rank hides by how much: epochs that
    are nearly equal are ranked all the same.

    Best by the probe: the highest accuracy, with the checkpoints that its paired interval does not tell apart from it.

    A fall: the first checkpoint whose metric is worse than the best one before it, by more than the interval of their
    difference (paired by image where the metric has values by sample). Each checkpoint is one look: with 20 of them,
    one such fall at the 95 % level is no surprise, and one that stays to the end is more than one that comes back.
    """
    names = [run.arm for run in runs]
    rows = [
        (names[i], epochs[i], spec.name, result.value, *_ends(result.interval))
        for spec in specs
        for i, run in enumerate(runs)
        if (result := run.report.value(spec.name)) is not None
    ]
    heads = ("encoder", "epoch", "metric", "value", "low", "high")
    kinds: tuple[Any, ...] = (np.str_, np.float64, np.str_, np.float64, np.float64, np.float64)
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(heads)
    values = Table({h: np.array(c, k) for h, c, k in zip(heads, columns, kinds, strict=True)})
    known = {spec.name: spec for spec in specs}
    ranks, best = _ranked(runs, known, epochs)
    probe = _by_probe(runs, known, epochs, between)
    followed = [name for name in FOLLOWED if name in known]
    falls = [fall for name in followed if (fall := _fall(runs, known[name], epochs, between)) is not None]
    return Trajectory(
        tuple(names),
        tuple(epochs),
        numbered,
        values,
        ranks,
        tuple(one for one in (best, probe) if one is not None),
        tuple(falls),
        tuple(followed),
    )


def _ends(interval: Any) -> tuple[float, float]:
    return (np.nan, np.nan) if interval is None else (interval.low, interval.high)


def _series(runs: Sequence[Scored], name: str) -> Doubles:
    """A metric's value in each run, NaN where it was not measured (R,)."""
    results = [run.report.value(name) for run in runs]
    return np.array([np.nan if r is None else r.value for r in results])


def _ranked(
    runs: Sequence[Scored], known: dict[str, MetricSpec], epochs: Sequence[float]
) -> tuple[Table, Best | None]:
    from scipy.stats import rankdata

    found = {name: _series(runs, name) for name in RANKED if name in known}
    whole = {name: v for name, v in found.items() if np.isfinite(v).all()}
    if not whole:
        return Table({}), None
    ranks = {n: rankdata(-v if known[n].direction is Direction.HIGHER else v) for n, v in whole.items()}
    mean = np.mean(list(ranks.values()), axis=0)
    at = int(np.argmin(mean))
    table = {
        "encoder": np.array([run.arm for run in runs], np.str_),
        "epoch": np.array(epochs, np.float64),
        **{f"rank_{name}": rank for name, rank in ranks.items()},
        "mean_rank": mean,
    }
    title = f"mean rank by {', '.join(whole)} (label-free, ours)"
    also = tuple(runs[i].arm for i in np.flatnonzero(mean == mean[at]).tolist() if i != at)
    return Table(table), Best("mean_rank", title, runs[at].arm, float(epochs[at]), also)


def _by_probe(
    runs: Sequence[Scored], known: dict[str, MetricSpec], epochs: Sequence[float], between: Between
) -> Best | None:
    name = next((n for n in FOLLOWED[:2] if n in known and np.isfinite(_series(runs, n)).any()), None)
    if name is None:
        return None
    at = int(np.nanargmax(_series(runs, name)))
    others = [i for i in range(len(runs)) if i != at]
    also = [i for i in others if (d := between(name, i, at)) is not None and d.effect is not Effect.HURT]
    return Best(name, known[name].title, runs[at].arm, float(epochs[at]), tuple(runs[i].arm for i in also))


def _fall(runs: Sequence[Scored], spec: MetricSpec, epochs: Sequence[float], between: Between) -> Fall | None:
    values = _series(runs, spec.name) * (1 if spec.direction is Direction.HIGHER else -1)
    best: int | None = None
    for i in np.flatnonzero(np.isfinite(values)).tolist():
        if best is None or values[i] >= values[best]:
            best = i
            continue
        d = between(spec.name, i, best)
        if d is None or d.effect is not Effect.HURT:
            continue
        later = [j for j in range(i + 1, len(runs)) if np.isfinite(values[j])]
        back = next(
            (
                j
                for j in later
                if (e := between(spec.name, j, best)) is not None and e.effect is not Effect.HURT
            ),
            None,
        )
        return Fall(d, float(epochs[best]), float(epochs[i]), None if back is None else float(epochs[back]))
    return None
