"""The tables of a comparison: by sample, by class, by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from repdiag.comparison import paired
from repdiag.comparison.align import CLASSIFIERS, Aligned
from repdiag.comparison.paired import Doubles
from repdiag.comparison.quantities import Pair, Quantities
from repdiag.comparison.types import Scored
from repdiag.types import Table

Columns = dict[str, npt.NDArray[Any]]


def classifier_of(runs: Sequence[Scored], primary: str) -> str | None:
    """The classifier whose answers fill the tables: the primary measure's, else the first that every run has."""
    first = [title for title, metric in CLASSIFIERS.items() if metric == primary]
    return next((t for t in (*first, *CLASSIFIERS) if all(t in run.correct for run in runs)), None)


def right_by_run(runs: Sequence[Scored], aligned: Aligned, classifier: str) -> Doubles:
    """Whether the classifier is right on each common sample (R, N): 1, 0, or NaN where the label is unknown."""
    return np.stack(
        [aligned.take(i, np.asarray(r.correct[classifier], np.float64)) for i, r in enumerate(runs)]
    )


def by_arm(runs: Sequence[Scored], values: Doubles) -> dict[str, Doubles]:
    """Mean of `values` (R, N) over the runs of each arm, NaN left out (N,)."""
    arms = dict.fromkeys(run.arm for run in runs)
    out = {}
    for arm in arms:
        of_arm = values[[i for i, run in enumerate(runs) if run.arm == arm]]
        known = np.isfinite(of_arm)
        n = known.sum(0)
        out[arm] = np.divide(np.where(known, of_arm, 0).sum(0), n, out=np.full(n.size, np.nan), where=n > 0)
    return out


def sample_table(found: Quantities, right: Doubles | None, subject: str, others: Sequence[str]) -> Table:
    """One row per common sample: id, label, correct:ARM, newly_right:OTHER, newly_wrong:OTHER, q_score:ARM.

    correct:ARM is the share of the arm's seeds that are right, q_score:ARM the mean over its seeds where it is
    defined. A sample is newly right when most seeds of `subject` are right and most of the other arm's wrong.
    """
    aligned, runs = found.aligned, found.runs
    out: Columns = {"id": aligned.ids}
    if any(label is not None for label in aligned.labels):
        out["label"] = aligned.labels
    if right is not None:
        share = by_arm(runs, right)
        out |= {f"correct:{arm}": values for arm, values in share.items()}
        for other in others:
            out[f"newly_right:{other}"] = (share[subject] > 0.5) & (share[other] < 0.5)
            out[f"newly_wrong:{other}"] = (share[subject] < 0.5) & (share[other] > 0.5)
    scores = np.full((len(runs), len(aligned)), np.nan)
    for i, run in enumerate(runs):
        column = run.report.samples.columns.get("q_score")
        if column is not None:
            scores[i] = aligned.take(i, np.asarray(column, np.float64))
    if np.isfinite(scores).any():
        out |= {f"q_score:{arm}": values for arm, values in by_arm(runs, scores).items()}
    return Table(out)


def class_table(found: Quantities, right: Doubles | None, pair: Pair | None) -> Table:
    """One row per class: class, n, accuracy:ARM (mean over seeds), and delta, low, high of `pair`.

    The interval is that of the whole set's accuracy, on the class's samples: images and seeds, without draws. It is
    missing (NaN) for a class of one sample. Many classes are looked at at once and nothing is corrected for that: of
    100 classes in which nothing changed up to five stand out.
    """
    if right is None:
        return Table({})
    labels = np.array([label or "" for label in found.aligned.labels], np.str_)
    known = np.isfinite(right).all(0) & (labels != "")
    names, index = np.unique(labels[known], return_inverse=True)
    if not names.size:
        return Table({})
    counts = np.bincount(index)
    out: Columns = {"class": names, "n": counts}
    for arm, share in by_arm(found.runs, right[:, known]).items():
        out[f"accuracy:{arm}"] = np.bincount(index, weights=share) / counts
    if pair is None:
        return Table(out)
    differences = right[list(pair.subject)][:, known] - right[list(pair.against)][:, known]
    order = np.argsort(index, kind="stable")
    rows = np.array(
        [_class_row(differences[:, m], found.confidence) for m in np.split(order, np.cumsum(counts)[:-1])]
    )
    return Table({**out, "delta": rows[:, 0], "low": rows[:, 1], "high": rows[:, 2]})


def _class_row(differences: Doubles, confidence: float) -> tuple[float, float, float]:
    n = differences.shape[1]
    by_seed = differences.mean(1)
    delta = float(by_seed.mean())
    if n < 2:
        return delta, np.nan, np.nan
    if not differences.any():
        return 0.0, 0.0, 0.0
    covariance = paired.with_two_changes(paired.exact_covariance(differences), n)
    half = float(paired.margin(by_seed, covariance, n, confidence))
    return delta, delta - half, delta + half


def curve_table(runs: Sequence[Scored]) -> Table:
    """The runs' logs below one another: arm, seed, and every column that any of them has (NaN or None: not there)."""
    logs = [run for run in runs if len(run.log)]
    if not logs:
        return Table({})
    sizes = [len(run.log) for run in logs]
    seeds: list[Any] = [run.seed for run in logs]
    seed_type: Any = object if None in seeds else np.int64
    out: Columns = {
        "arm": np.repeat(np.array([run.arm for run in logs], np.str_), sizes),
        "seed": np.repeat(np.array(seeds, seed_type), sizes),
    }
    for name in dict.fromkeys(name for run in logs for name in run.log.columns):
        if name not in out:
            out[name] = np.concatenate(_parts(name, [run.log.columns for run in logs], sizes))
    return Table(out)


def _parts(
    name: str, columns: Sequence[Mapping[str, npt.NDArray[Any]]], sizes: Sequence[int]
) -> list[npt.NDArray[Any]]:
    """One column of each log; where a log has none, NaN beside numbers and None beside anything else."""
    found = [np.asarray(c[name]) if name in c else None for c in columns]
    numbers = all(f is None or f.dtype.kind in "biuf" for f in found)
    whole = all(f is not None for f in found)
    if whole and len({f.dtype.kind for f in found if f is not None}) == 1:
        return [f for f in found if f is not None]
    kind: Any = np.float64 if numbers else object
    empty = np.nan if numbers else None
    return [
        np.full(n, empty, kind) if f is None else f.astype(kind) for f, n in zip(found, sizes, strict=True)
    ]
