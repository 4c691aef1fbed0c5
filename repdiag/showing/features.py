"""The features that say most, each with the images that activate it most."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from repdiag.exhibits import FeatureCard
from repdiag.kernels import classes, rows
from repdiag.kernels.rows import Doubles, Floats, Ints
from repdiag.metrics._class_geometry import some_permuted
from repdiag.workspace import Workspace

CARDS = 12
IMAGES = 8
BETWEEN = "share of its variance between classes (eta²)"
OF_TOTAL = "share of the total variance (our ranking)"


@dataclass(frozen=True)
class Ranked:
    """Features by what they are worth, best first: `features` (M,), `worth` (M,), and what that is."""

    features: Ints
    worth: Doubles
    name: str


def candidates(ws: Workspace) -> Ints:
    """The features among which the top ones are sought: S, or all where features are signed or S is empty."""
    everyone = ws.whole
    if everyone.nonnegative and everyone.activation.selected.any():
        return np.flatnonzero(everyone.activation.selected)
    return np.arange(ws.dim)


def ranked(ws: Workspace) -> Ranked:
    """The candidates by worth. Ours; the paper names no order among discriminative features.

    With labels eta^2_j = sum_c n_c (m_cj - m_j)^2 / sum_i (x_ij - m_j)^2 in [0, 1] (one-way ANOVA): x (N, D) the
    evaluated rows of unit length, m_cj the mean of feature j in class c, m_j over all, sums in float64. It rises with
    K / N by chance alone (`note` says how far) and rewards a feature that tells a single large class. Without labels
    the feature's share of the total variance, which rewards scale, not meaning. Features that do not vary are left out.
    Streams over blocks of rows; O(ND) time, O(KD) memory.
    """

    def compute() -> Ranked:
        among = candidates(ws)
        if ws.labeled:
            worth, name = _eta_squared(ws.x, ws.labels, ws.k, _spread_of(ws)), BETWEEN
        else:
            spread = _spread_of(ws.whole)
            worth, name = spread / max(float(spread.sum()), 1e-300), OF_TOTAL
            worth = np.where(spread > 0, worth, np.nan)
        among = among[np.isfinite(worth[among])]
        among = among[np.argsort(-worth[among], kind="stable")]
        return Ranked(among, worth[among], name)

    return ws.once("ranked features", compute)


def _spread_of(ws: Workspace) -> Doubles:
    """`_spread` of the unit rows, made once."""
    return ws.once("spread of features", lambda: _spread(ws.x))


def _spread(x: Floats) -> Doubles:
    """Sum of squares about the mean of each feature (D,); 0 where it is no more than rounding."""
    first, square = np.zeros(x.shape[1]), np.zeros(x.shape[1])
    for b in rows.blocks(len(x), x.shape[1] * 12):
        block = x[b].astype(np.float64)
        first += block.sum(0)
        square += np.einsum("nd,nd->d", block, block)
    about = square - first**2 / len(x)
    return np.where(about > 1e-12 * square, about, 0.0)


def _eta_squared(x: Floats, labels: Ints, k: int, spread: Doubles) -> Doubles:
    """eta^2 of each feature (D,) from `spread`, its sum of squares about the mean; NaN where that is 0."""
    means, total = classes.class_means(x, labels, k)
    there = total > 0
    between = total[there] @ (means[there] - total[there] @ means[there] / total.sum()) ** 2
    out = np.full(spread.size, np.nan)
    np.divide(between, spread, out=out, where=spread > 0)
    return np.asarray(np.minimum(out, 1.0))


def note(ws: Workspace) -> str | None:
    """What chance gives, in one sentence: eta^2 under permuted labels. None without labels or features.

    The mean over features is (K - 1) / (N - 1) exactly; what the cards must be held against is the best of as many.
    """
    found = ranked(ws)
    if not ws.labeled or not found.features.size:
        return None
    spread, best, mean = _spread_of(ws), [], []
    for p in some_permuted(ws, float(len(ws)) * ws.dim * 4):
        values = _eta_squared(ws.x, ws.labels[p], ws.k, spread)[found.features]
        best.append(float(values.max()))
        mean.append(float(values.mean()))
    if not best:
        return None
    return (
        f"With the labels shuffled ({len(best)} times) a feature has {np.mean(mean):.2g} on average, and the best of "
        f"the {found.features.size:,} has {np.mean(best):.2g}."
    )


def cards(ws: Workspace, count: int = CARDS, images: int = IMAGES) -> tuple[FeatureCard, ...]:
    """A FeatureCard for each of the `count` features of the highest worth; fewer where fewer vary.

    Images are those of the highest activation among everyone evaluated, rows as the encoder gave them, ties in the
    order of the ids; of features after a ReLU only images that activate them at all. O(N `count`) memory.
    """
    everyone, found = ws.whole, ranked(ws)
    top = found.features[:count]
    if not top.size:
        return ()
    relu = everyone.nonnegative
    values = np.concatenate([everyone.raw[b][:, top] for b in rows.blocks(len(everyone), everyone.dim * 4)])
    names = labels_of(ws)
    made = []
    for i, (feature, worth) in enumerate(zip(top, found.worth, strict=False)):
        own = values[:, i]
        best = _highest(own, everyone.ids, images, relu)
        made.append(
            FeatureCard(
                int(feature),
                float(worth),
                found.name,
                float(everyone.activation.frequency[feature]) if relu else float("nan"),
                bool(everyone.activation.selected[feature]) if relu else None,
                tuple(str(everyone.ids[row]) for row in best),
                tuple(float(own[row]) for row in best),
                tuple(names[row] for row in best),
            )
        )
    return tuple(made)


def labels_of(ws: Workspace) -> Sequence[str | None]:
    """The class name of everyone evaluated, None where not known."""
    names: list[str | None] = [None] * len(ws.whole)
    if ws.k:
        for row, label in zip(ws.place.tolist(), ws.labels.tolist(), strict=True):
            names[row] = ws.class_names[label]
    return names


def _highest(
    values: Floats, ids: np.ndarray[tuple[int], np.dtype[np.str_]], most: int, positive: bool
) -> list[int]:
    """Rows of the highest values, highest first, no id twice."""
    take = min(values.size, most)
    edge = np.partition(values, values.size - take)[values.size - take]
    able = np.flatnonzero((values >= edge) & ((values > 0) | (not positive)))
    chosen: dict[str, int] = {}
    for row in able[np.argsort(-values[able], kind="stable")].tolist():
        chosen.setdefault(str(ids[row]), row)
        if len(chosen) == most:
            break
    return list(chosen.values())
