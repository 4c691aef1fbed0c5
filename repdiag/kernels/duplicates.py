"""Rows that lie closer together than chance explains: near-duplicates, found exactly and never N x N in memory.

The threshold is ours. The distance d = 1 - cosine of a row to its nearest other row follows a known law where the
rows are locally spread evenly in m dimensions: r^m, with r = sqrt(2 d), is exponential (the volume of a ball that holds
no other point of a Poisson process; nearest-neighbor estimates of the intrinsic dimension rest on it). Hence
log d = a + s log E with E ~ Exp(1) and s = 2 / m, whose median and upper quartile lie exactly s ln 2 apart. Both are
read off the upper half of the distances, which few duplicates shift but little, so that the law of the *lower* tail is
known without looking at it:
    p(d) = 1 - exp(-ln 2 * (d / median)^(1 / s)),    s = (ln upper quartile - ln median) / ln 2.
The rows called near-duplicates are those that Benjamini and Hochberg's rule (1995) takes at the level `RATE`: among
them about that share is expected to be there by chance. Where density differs much between regions, s comes out too
large and fewer are found. What the rule cannot see: near (not equal) copies of most of the rows, which are the
distribution then, and copies that the encoder puts no closer than different images. Its p-values are a model's, not a
proof: look at the pairs.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from repdiag.kernels import neighbors
from repdiag.kernels.rows import Doubles, Floats, Ints, blocks, norms, unit

RATE = 0.1
"""Share of the rows found that may be there by chance (Benjamini and Hochberg's level)."""

EXACT = 1e-6
"""1 - cosine up to which two rows are one but for rounding in float32."""

FEWEST = 50
"""Distinct rows below which the law of distances is not estimated, and only equal rows are found."""

EQUAL = "equal rows only"
NEIGHBORS = 10
_TILE = 1024

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Duplicates:
    """What `find` found among N rows.

    `group` (N,) int64 numbers the groups from 0 in the order of their first rows, -1 for a row in none. `nearest` (N,)
    is the row of largest cosine (-1: none, or a row of norm 0), `cosine` (N,) float64 that cosine, computed in float64
    for the rows in groups. `threshold` is the least cosine that links two rows; `chosen` tells where it comes from:
    "given", "data" (the rule of this module), or `EQUAL`, where `reason` says why.
    """

    group: Ints
    nearest: Ints
    cosine: Doubles
    threshold: float
    chosen: str
    reason: str = ""


def chance(distance: Doubles, dim: int) -> Doubles:
    """p (M,) float64 in [0, 1]: how likely a row without a duplicate has a neighbor as near as `distance` (M,) > 0.

    By the law above, fitted to the upper half of `distance`. `dim` is D: since no intrinsic dimension exceeds it,
    s >= 2 / D, which keeps rounding from passing for structure where all distances are equal.
    """
    log = np.log(np.maximum(distance, np.finfo(np.float64).tiny))
    median, upper = np.quantile(log, [0.5, 0.75])
    scale = max(float(upper - median) / np.log(2), 2 / max(dim, 1))
    with np.errstate(over="ignore"):
        return np.asarray(-np.expm1(-np.log(2) * np.exp(np.minimum((log - median) / scale, 700))))


def cut(distance: Doubles, dim: int, rate: float = RATE) -> float:
    """The largest of `distance` (M,) that Benjamini and Hochberg's rule takes at level `rate`; 0 if it takes none."""
    p = np.sort(chance(distance, dim))
    taken = np.flatnonzero(p <= rate * np.arange(1, p.size + 1) / p.size)
    return float(np.sort(distance)[taken[-1]]) if taken.size else 0.0


def find(x: Floats, threshold: float | None = None, *, device: str = "cpu", rate: float = RATE) -> Duplicates:
    """Groups of near-duplicate rows of `x` (N, D) float32, of any length; rows of norm 0 are in no group.

    Two rows are linked where their cosine is at least `threshold` (None: chosen from the data, see the module), and
    always where they are equal but for rounding (1 - cosine <= 1e-6); groups are what links connect, so that the ends
    of a chain may be less alike. Exact: the nearest neighbors of all distinct rows, and every pair among the rows that
    have more near ones than were asked for, tile by tile. Invariant to the order of the rows (but for the groups'
    numbers), a rotation, and a positive factor on each row. Costs O(N^2 D) time and O(N D) memory.
    """
    lengths = norms(x)
    rows = unit(x, lengths)
    first = _first_equal(rows, np.flatnonzero(lengths > 0))
    kept = np.flatnonzero(first == np.arange(len(x)))  # distinct rows
    if kept.size < 2:
        return _finished(rows, first, first, 1 - EXACT, EQUAL, "there are fewer than two distinct rows")
    base = rows[kept] if kept.size < len(x) else rows
    similarity, index = neighbors.others(base, min(NEIGHBORS, kept.size - 1), device)
    far = np.maximum(1 - similarity.astype(np.float64), 0)
    limit, chosen, reason = _limit(far, threshold, x.shape[1], rate)
    near = np.argwhere(far <= limit)
    label = _connected(np.arange(kept.size), np.column_stack([near[:, 0], index[near[:, 0], near[:, 1]]]))
    if far.shape[1] < kept.size - 1:
        label = _link_crowded(base, np.flatnonzero(far[:, -1] <= limit), 1 - limit, label)
    own = first.copy()
    own[kept] = kept[_smallest(label)]
    own[first >= 0] = own[first[first >= 0]]
    found = _finished(rows, first, own, 1 - limit, chosen, reason)
    alone = kept[(found.nearest[kept] < 0)]
    at = np.searchsorted(kept, alone)
    found.nearest[alone], found.cosine[alone] = kept[index[at, 0]], similarity[at, 0]
    return found


def _first_equal(rows: Floats, usable: Ints) -> Ints:
    """For each usable row the first that has the same bytes; -1 for the others."""
    seen: dict[bytes, int] = {}
    first = np.full(len(rows), -1, np.int64)
    for i in usable.tolist():
        digest = hashlib.blake2b((rows[i] + 0.0).tobytes(), digest_size=16).digest()  # -0.0 + 0.0 is 0.0
        first[i] = seen.setdefault(digest, i)
    return first


def _limit(far: Doubles, threshold: float | None, dim: int, rate: float) -> tuple[float, str, str]:
    """The largest distance that links, where it is from, and why where nothing was learned."""
    if threshold is not None:
        return max(1 - threshold, EXACT), "given", ""
    distinct = far > EXACT
    nearest = far[np.arange(len(far)), distinct.argmax(1)][distinct.any(1)]
    if 2 * nearest.size < len(far):
        return (
            EXACT,
            EQUAL,
            "the encoder puts most images at one place, but for rounding: none can be told apart",
        )
    if nearest.size < FEWEST:
        return EXACT, EQUAL, f"{nearest.size} distinct rows are too few to learn a threshold from"
    found = cut(nearest, dim, rate)
    if found <= EXACT:
        return EXACT, EQUAL, "no other row has a neighbor nearer than chance explains"
    return found, "data", ""


def _connected(label: Ints, pairs: Ints) -> Ints:
    """`label` (M,) with the groups of the two rows of each of `pairs` (E, 2) merged."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    if not len(pairs):
        return label
    size = int(label.max()) + 1
    ends = label[pairs]
    graph = coo_array((np.ones(len(ends), np.int8), (ends[:, 0], ends[:, 1])), shape=(size, size))
    return np.asarray(connected_components(graph, directed=False)[1], np.int64)[label]


def _link_crowded(base: Floats, rows: Ints, threshold: float, label: Ints) -> Ints:
    """Links among `rows`, which have more near neighbors than were asked for: every pair, tile by tile."""
    for q in range(0, rows.size, _TILE):
        query = rows[q : q + _TILE]
        for b in range(q, rows.size, 16 * _TILE):
            other = rows[b : b + 16 * _TILE]
            near = base[query] @ base[other].T >= np.float32(threshold)
            near &= label[query][:, None] != label[other][None]
            at = np.argwhere(near)
            label = _connected(label, np.column_stack([query[at[:, 0]], other[at[:, 1]]]))
    return label


def _smallest(label: Ints) -> Ints:
    """The first row of each row's group."""
    first = np.full(int(label.max()) + 1, label.size, np.int64)
    np.minimum.at(first, label, np.arange(label.size))
    return np.asarray(first[label])


def _finished(rows: Floats, first: Ints, own: Ints, threshold: float, chosen: str, reason: str) -> Duplicates:
    """Groups numbered by their first rows, and for their members the nearest other one with its cosine in float64.

    `first` (N,) is the first row of equal bytes, `own` (N,) the first row of the group; -1 for rows of norm 0.
    """
    nearest, cosine = np.full(own.size, -1, np.int64), np.full(own.size, np.nan)
    group = np.full(own.size, -1, np.int64)
    size = np.bincount(own[own >= 0], minlength=own.size)
    heads = np.flatnonzero(size > 1)
    number = np.full(own.size, -1, np.int64)
    number[heads] = np.arange(heads.size)
    members = np.flatnonzero(own >= 0)
    group[members] = number[own[members]]
    copies = np.flatnonzero((first >= 0) & (first != np.arange(own.size)))  # an equal row lies nearest of all
    nearest[copies], cosine[copies] = first[copies], 1.0
    nearest[first[copies[::-1]]], cosine[first[copies]] = copies[::-1], 1.0
    distinct = np.flatnonzero((group >= 0) & (first == np.arange(own.size)))
    distinct = distinct[np.argsort(group[distinct], kind="stable")]
    for some in np.split(distinct, np.flatnonzero(np.diff(group[distinct])) + 1):
        _nearest_inside(rows, some, nearest, cosine)
    return Duplicates(group, nearest, cosine, threshold, chosen, reason)


def _nearest_inside(rows: Floats, members: Ints, nearest: Ints, cosine: Doubles) -> None:
    """The nearest other member of each that has none yet: its nearest row of all, since what is nearer is linked."""
    open_ = np.flatnonzero(nearest[members] < 0)
    for block in blocks(open_.size, 8 * members.size + 16 * rows.shape[1]):
        place = open_[block]
        near = rows[members[place]].astype(np.float64) @ rows[members].astype(np.float64).T
        near[np.arange(place.size), place] = -np.inf
        best = near.argmax(1)
        nearest[members[place]] = members[best]
        cosine[members[place]] = np.minimum(near[np.arange(place.size), best], 1.0)
