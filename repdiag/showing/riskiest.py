"""The samples most likely to be misclassified, each with what speaks against it in plain words. Ours."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from repdiag.exhibits import Risky
from repdiag.kernels import ranking
from repdiag.kernels.rows import Doubles, Ints
from repdiag.metrics._centers import nearest_centers
from repdiag.metrics.augmentation import flip_rates
from repdiag.scores import SCORES, as_rank
from repdiag.types import BoolArray
from repdiag.workspace import Skip, Workspace

SHOWN = 24
MOST_REASONS = 3
UNUSUAL = 0.1
"""A score is a reason where at most this share of the samples has one as low. Ours."""

NAME_LIMIT = 60  # characters of a class name inside a sentence
NOTHING = f"nothing unusual: in no score used here is it among the lowest {100 * UNUSUAL:.0f}%"

LOW: dict[str, tuple[str, str]] = {
    "q_score": (
        "standing out",
        "its discriminative features stand out less than those of {p} (Q-Score {v:.3g})",
    ),
    "q_score_signed": ("standing out", "its features stand out less than those of {p}"),
    "q_score_all": ("standing out", "its strongest features stand out less than those of {p}"),
    "active_features": (
        "standing out",
        "fewer discriminative features stand out of it ({v:.0f}) than of {p}",
    ),
    "max_z": ("standing out", "its strongest feature stands out less than that of {p}"),
    "feature_norm": ("length", "its embedding is shorter than that of {p}"),
    "knn_density": ("density", "farther from its nearest neighbors than {p}"),
    "kmeans_margin": ("cluster", "nearer to the border between two clusters than {p}"),
    "neighborhood_consistency": (
        "cluster",
        "its cluster holds only {n} of its {k} nearest neighbors, fewer than for {p}",
    ),
    "augmentation_consistency": ("views", "augmentation moves its embedding farther than that of {p}"),
}
"""What a low score means, by its name, and which kind of evidence it is: of one kind the weightiest is said.

`qscore_v1` has none: it is an earlier form of Q-Score.
"""


@dataclass(frozen=True)
class Evidence:
    """Something that speaks against samples: `tail` (N,) is the share of samples of which as much or more can be said.

    NaN where it says nothing of a sample. `words` puts it into words for a row.
    """

    kind: str
    tail: Doubles
    words: Callable[[int], str]


def risky_samples(
    ws: Workspace, samples: Mapping[str, npt.NDArray[Any]], noun: str = "images"
) -> tuple[Risky, ...]:
    """The 24 samples of the highest risk, highest first (ties by id), with at most three reasons each.

    A reason's weight is how rare it is: the share of all samples of which as much or more can be said, the rarest
    first, one of each kind. Low label-free scores (high means trustworthy, as `repdiag.scores` declares them) count
    where at most 10 % are as low and, where a probe can tell, where the score ranks its errors above chance (AUROC
    over 0.5): a score that points the wrong way here is no reason. Neighbors, class centers and augmented views that
    contradict count always. Reasons describe; the risk itself is learned by `repdiag.risk`, and nothing here enters it.
    """
    risk = np.asarray(samples["risk"], np.float64)
    order = np.argsort(np.where(np.isfinite(risk), -risk, np.inf), kind="stable")
    order = order[: min(SHOWN, int(np.isfinite(risk).sum()))]
    if not order.size:
        return ()
    said = reasons(ws, samples, order, noun)
    return tuple(Risky(str(samples["id"][row]), said[row]) for row in order.tolist())


def reasons(
    ws: Workspace, samples: Mapping[str, npt.NDArray[Any]], shown: Ints, noun: str = "images"
) -> dict[int, tuple[str, ...]]:
    """What speaks against the samples in the rows `shown` of the sample table, by row, as `riskiest` says it."""
    told = [*_contradictions(ws, samples, shown), *_scores(ws, noun)]
    return {row: _reasons(told, row) for row in shown.tolist()}


def _reasons(told: list[Evidence], row: int) -> tuple[str, ...]:
    found: list[str] = []
    kinds: set[str] = set()
    able = [one for one in told if np.isfinite(one.tail[row])]
    for one in sorted(able, key=lambda one: float(one.tail[row])):
        if one.kind in kinds:
            continue
        kinds.add(one.kind)
        found.append(one.words(row))
    return tuple(found[:MOST_REASONS]) or (NOTHING,)


# ---------------------------------------------------------------------------------------------- low scores


def _scores(ws: Workspace, noun: str) -> Iterator[Evidence]:
    everyone = ws.whole
    for score in SCORES:
        if score.name != "confidence" and score.name not in LOW:
            continue
        try:
            if score.labeled:
                values = np.full(len(everyone), np.nan)
                values[ws.place] = score.values(ws)
            else:
                values = score.values(everyone)
        except Skip:
            continue
        partial = score.partial or score.labeled
        if not _helps(ws, values[ws.place], partial):
            continue
        tail, above = _tails(values, partial)
        tail = np.where(tail <= UNUSUAL, tail, np.nan)
        if score.labeled:
            of = noun if everyone is ws else f"labeled {noun}"
            yield Evidence("probe", tail, _confidence(values, above, of))
        else:
            of = f"{noun} with augmented views" if partial else noun
            k = min(ws.config.neighbors, len(everyone) - 1)
            yield Evidence(LOW[score.name][0], tail, _low(score.name, values, above, of, k))


def _helps(ws: Workspace, values: Doubles, partial: bool) -> bool:
    """Whether a score ranks the probe's errors below the correct samples, better than chance; or nobody can tell."""
    try:
        correct = ws.probe.correct if ws.labeled else np.zeros(0, bool)
    except Skip:
        return True
    known = np.isfinite(values) if partial else np.ones(len(values), bool)
    if not correct.size or correct[known].all() or not correct[known].any():
        return True
    return ranking.auroc(as_rank(values)[known], correct[known]) > 0.5


def _tails(values: Doubles, partial: bool) -> tuple[Doubles, Doubles]:
    """Share of samples with a score as low or lower, and with a higher one, (N,) each.

    An undefined score is the lowest; of a `partial` one only the defined count, and the others are NaN.
    """
    known = np.isfinite(values) if partial else np.ones(values.size, bool)
    rank = as_rank(values)
    ordered, n = np.sort(rank[known]), max(1, int(known.sum()))
    low = np.searchsorted(ordered, rank, "right") / n
    return np.where(known, low, np.nan), np.where(known, 1 - low, np.nan)


def _low(name: str, values: Doubles, above: Doubles, of: str, k: int) -> Callable[[int], str]:
    def words(row: int) -> str:
        if not np.isfinite(values[row]):
            what = "discriminative feature" if name == "q_score" else "feature"
            return f"no {what} stands out of it, as of {percent(1 - above[row])} of the {of}"
        value = float(values[row])
        return LOW[name][1].format(p=f"{_over(above[row])} of the {of}", v=value, n=round(value * k), k=k)

    return words


def _confidence(values: Doubles, above: Doubles, of: str) -> Callable[[int], str]:
    def words(row: int) -> str:
        return f"the probe's confidence is {values[row]:.2f}, lower than for {_over(above[row])} of the {of}"

    return words


def percent(share: float) -> str:
    """A share in words: whole percent, "under 1%" below."""
    return "under 1%" if share < 0.01 else f"{100 * share:.0f}%"


def _over(share: float) -> str:
    """A share that is at least reached: whole percent, rounded down, 99% at most."""
    return f"{min(99, math.floor(100 * share + 1e-9))}%"


# ----------------------------------------------------------------------------------------- contradictions


def _contradictions(
    ws: Workspace, samples: Mapping[str, npt.NDArray[Any]], shown: Ints
) -> Iterator[Evidence]:
    number = {name: c for c, name in enumerate(ws.class_names)}
    if ws.k and "prediction" in samples:
        predicted = np.array([number[str(name)] for name in samples["prediction"]], np.int64)
        yield from _neighbors(ws, predicted, shown)
        yield from _center(ws, predicted)
    yield from _views(ws)


def _neighbors(ws: Workspace, predicted: Ints, shown: Ints) -> Iterator[Evidence]:
    """Neighbors that are labeled otherwise than the probe says. One without a label agrees with nobody."""
    everyone = ws.whole
    try:
        graph = everyone.neighbors[1][:, : ws.config.neighbors]
    except Skip:
        return
    label = np.full(len(everyone), -1)
    label[ws.place] = ws.labels
    agree = np.zeros(len(everyone), np.int64)
    for rank in range(graph.shape[1]):
        agree += label[graph[:, rank]] == predicted
    k, rare = graph.shape[1], _as_low(agree)
    tail, top = np.full(len(everyone), np.nan), {}
    for row in shown.tolist():
        votes = np.bincount(label[graph[row]] + 1, minlength=2)[1:]
        top[row] = int(votes.argmax()), int(votes.max())
        if top[row][1] > agree[row] or rare[row] <= UNUSUAL:
            tail[row] = rare[row]

    def words(row: int) -> str:
        (name, most), says = top[row], _quoted(ws.class_names[predicted[row]])
        if 2 * most >= k and most > agree[row]:
            other = _quoted(ws.class_names[name])
            return f"{most} of its {k} nearest neighbors are labeled {other}; the probe says {says}"
        few = "none" if agree[row] == 0 else f"only {agree[row]}"
        are = "is" if agree[row] < 2 else "are"
        return f"the probe says {says}, but {few} of its {k} nearest neighbors {are} labeled so"

    yield Evidence("neighbors", tail, words)


def _center(ws: Workspace, predicted: Ints) -> Iterator[Evidence]:
    """A nearest class center, out of fold, that is not the predicted class's; of labeled samples only."""
    try:
        nearest = nearest_centers(ws)
    except Skip:
        return
    other = np.full(len(ws.whole), -1)
    other[ws.place] = nearest
    differs: BoolArray = (other >= 0) & (other != predicted)
    tail = np.where(differs, differs.sum() / max(1, nearest.size), np.nan)

    def words(row: int) -> str:
        own, says = ws.class_names[other[row]], ws.class_names[predicted[row]]
        return f"the nearest class center is that of {_quoted(own)}; the probe says {_quoted(says)}"

    yield Evidence("center", tail, words)


def _views(ws: Workspace) -> Iterator[Evidence]:
    """Augmented views that fall into another cluster than the image itself."""
    everyone = ws.whole
    try:
        rate = flip_rates(everyone)
        views = len(everyone.space_views[0])
    except Skip:
        return
    known = np.isfinite(rate)
    tail = np.full(rate.size, np.nan)
    tail[known] = np.where(rate[known] > 0, _as_low(-rate[known]), np.nan)

    def words(row: int) -> str:
        left = round(float(rate[row]) * views)
        if views == 1:
            return "its augmented view falls into another cluster"
        return (
            f"{left} of its {views} augmented views {'falls' if left == 1 else 'fall'} into another cluster"
        )

    yield Evidence("views", tail, words)


def _as_low(values: npt.NDArray[Any]) -> Doubles:
    """Share of `values` (N,) that are as low or lower than each."""
    return np.asarray(np.searchsorted(np.sort(values), values, "right") / max(1, values.size))


def _quoted(name: str) -> str:
    return f"'{name}'" if len(name) <= NAME_LIMIT else f"'{name[: NAME_LIMIT - 1]}…'"
