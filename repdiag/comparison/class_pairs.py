"""Which pairs of classes crowd each other more, or less, than in another encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from repdiag.comparison import paired
from repdiag.comparison.align import Aligned
from repdiag.comparison.paired import Doubles
from repdiag.comparison.types import Scored
from repdiag.types import Report, Table

GEOMETRY = ("distance", "cdnv", "directional_cdnv", "nearer_ab", "nearer_ba")
COLUMNS = (
    "class_a", "class_b", "encoder", "against", "n", "confused", "confused_against", "delta", "low", "high", "word",
    *(f"{name}{side}" for name in GEOMETRY for side in ("", "_against")),
)  # fmt: skip


def class_pairs(runs: Sequence[Scored], aligned: Aligned, one: int, other: int, confidence: float) -> Table:
    """Pairs of classes in run `one` beside run `other`, those that crowd each other most *more* first.

    A pair is here when either report lists it in its pairs.csv (one class is among the other's ten nearest) or the
    probe confuses it more than once in either. `confused` is the share of both classes' common samples that the linear
    probe takes for the other class of the two, `confused_against` the same in the other run, and `delta`, `low`, `high`
    their paired difference over the `n` samples, two changes added as for every difference of right-or-wrong answers.
    `word`: "more" or "less" where the interval leaves zero out, else "". Many pairs are looked at at once and nothing
    is corrected for that. The geometric columns are those of the two pairs.csv, NaN where a report does not list the
    pair; distances of different spaces share no scale, CDNV less so: they say what, not whether. Ours.
    """
    reports = runs[one].report, runs[other].report
    tables = [_geometry(report) for report in reports]
    labels, taken, size = _answers(runs, aligned, (one, other))
    counted = [_confusions(labels, prediction) for prediction in taken]
    often = {pair for found in counted for pair, n in found.items() if n > 1}
    rows = []
    for pair in sorted({*tables[0], *tables[1], *often}):
        n = size.get(pair[0], 0) + size.get(pair[1], 0)
        row: dict[str, Any] = {"class_a": pair[0], "class_b": pair[1], "n": n}
        row |= _confused(pair, labels, taken, n, confidence)
        for name in GEOMETRY:
            for side, table in zip(("", "_against"), tables, strict=True):
                row[f"{name}{side}"] = table.get(pair, {}).get(name, np.nan)
        rows.append(row | {"encoder": runs[one].arm, "against": runs[other].arm})
    rows.sort(key=_order)
    return Table(
        {name: np.array([row[name] for row in rows], _kind(name)) for name in COLUMNS} if rows else {}
    )


def _kind(name: str) -> Any:
    words = ("class_a", "class_b", "encoder", "against", "word")
    return np.str_ if name in words else np.int64 if name == "n" else np.float64


def _order(row: dict[str, Any]) -> tuple[float, float, str, str]:
    """By the change of confusion, then of CDNV (its ratio), most more first; what is not known in the middle."""
    a, b = row["cdnv"], row["cdnv_against"]
    ratio = float(np.log(a / b)) if a > 0 and b > 0 else 0.0
    delta = 0.0 if np.isnan(row["delta"]) else float(row["delta"])
    return -delta, -ratio, row["class_a"], row["class_b"]


def _geometry(report: Report) -> dict[tuple[str, str], dict[str, float]]:
    """The rows of pairs.csv by pair, classes in alphabetical order; what is said of a and b is turned with them."""
    columns = report.pairs.columns
    if "class_a" not in columns or "class_b" not in columns:
        return {}
    found: dict[tuple[str, str], dict[str, float]] = {}
    values = {name: np.asarray(columns[name], np.float64) for name in GEOMETRY if name in columns}
    for i, (a, b) in enumerate(zip(columns["class_a"], columns["class_b"], strict=True)):
        row = {name: float(column[i]) for name, column in values.items()}
        if str(a) > str(b):
            a, b = b, a
            turned = {"nearer_ab": "nearer_ba", "nearer_ba": "nearer_ab"}
            row = {turned.get(name, name): value for name, value in row.items()}
        found[str(a), str(b)] = row
    return found


Texts = npt.NDArray[np.str_]


def _answers(
    runs: Sequence[Scored], aligned: Aligned, pair: tuple[int, int]
) -> tuple[Texts, list[Texts], dict[str, int]]:
    """Labels and both probes' predictions of the samples of which all three are known, and samples by class."""
    columns = [runs[i].report.samples.columns.get("prediction") for i in pair]
    none = np.array([], np.str_)
    if any(column is None for column in columns) or not len(aligned):
        return none, [none, none], {}
    found = [
        aligned.labels,
        *(aligned.take(i, np.asarray(c, object)) for i, c in zip(pair, columns, strict=True)),
    ]
    texts = [np.array(["" if v is None or v != v else str(v) for v in f], np.str_) for f in found]
    known = np.logical_and.reduce([t != "" for t in texts])
    labels, *taken = (t[known] for t in texts)
    names, counts = np.unique(labels, return_counts=True)
    return labels, taken, dict(zip(names.tolist(), counts.tolist(), strict=True))


def _confusions(labels: Texts, taken: Texts) -> dict[tuple[str, str], int]:
    """How often the two classes of each pair are taken for one another."""
    wrong = labels != taken
    pairs = np.sort(np.stack([labels[wrong], taken[wrong]], 1), axis=1)
    if not len(pairs):
        return {}
    found, counts = np.unique(pairs, axis=0, return_counts=True)
    return {(str(a), str(b)): int(n) for (a, b), n in zip(found, counts, strict=True)}


def _confused(
    pair: tuple[str, str], labels: Texts, taken: Sequence[Texts], n: int, confidence: float
) -> dict[str, Any]:
    a, b = pair
    of_a, of_b = labels == a, labels == b
    wrong: list[Doubles] = []
    for prediction in taken:
        swapped = np.concatenate([prediction[of_a] == b, prediction[of_b] == a])
        wrong.append(swapped.astype(np.float64))
    if not n:
        nothing = dict.fromkeys(("confused", "confused_against", "delta", "low", "high"), np.nan)
        return {**nothing, "word": ""}
    delta = wrong[0] - wrong[1]
    row = {"confused": wrong[0].mean(), "confused_against": wrong[1].mean(), "delta": delta.mean()}
    low = high = float(delta.mean())
    if n < 2:
        low = high = np.nan
    elif delta.any():
        covariance = paired.with_two_changes(paired.exact_covariance(delta[None, :]), n)
        half = float(paired.margin(delta[None, :].mean(1), covariance, n, confidence))
        low, high = low - half, high + half
    word = "more" if low > 0 else "less" if high < 0 else ""
    return {**row, "low": low, "high": high, "word": word}
