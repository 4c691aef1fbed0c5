"""Which classes crowd which: the shares, cut to as many classes as a picture can name, and in a telling order."""

from __future__ import annotations

import numpy as np

from repdiag.exhibits import ClassMatrix
from repdiag.kernels.rows import Doubles, Ints
from repdiag.metrics._centers import nearest_centers
from repdiag.workspace import Skip, Workspace

MAX_CLASSES = 60
"""Most classes that are shown: more names than that cannot be read beside a picture."""

APART = 0.1
"""Weight of the distance of two centers beside their crowding in what orders the classes. Ours."""


def class_matrix(ws: Workspace, most: int = MAX_CLASSES) -> ClassMatrix | None:
    """The ClassMatrix of the evaluated samples; None without two classes.

    `nearer[i, j]` = share of class i's samples whose nearest center, out of fold, is j's: the very assignments
    behind `nearest_center_error`. Where K > `most`, `together` chooses. `distance` is that of `inter_class_distance`;
    a class with a single sample has none (NaN): a center that is one sample says nothing of a class. O(N + K^2) on top
    of what the crowding metrics computed.
    """
    if not ws.labeled:
        return None
    try:
        taken_for = nearest_centers(ws)
    except Skip:
        return None
    counts = np.bincount(ws.labels * ws.k + taken_for, minlength=ws.k**2).reshape(ws.k, ws.k)
    size = counts.sum(1)
    shown = together(counts, most)
    some, n = counts[np.ix_(shown, shown)], size[shown]
    with np.errstate(invalid="ignore"):
        nearer, mass = some / n[:, None], (n - some.sum(1)) / n
    distance = ws.geometry.distance[np.ix_(shown, shown)].copy()
    known = np.flatnonzero(np.isin(shown, ws.geometry.known))
    distance[known, known] = 0
    order = clustered(nearer, distance)
    return ClassMatrix(
        tuple(ws.class_names[c] for c in shown[order]),
        nearer[np.ix_(order, order)],
        distance[np.ix_(order, order)],
        mass[order],
        ws.k,
    )


def together(counts: Ints, most: int) -> Ints:
    """At most `most` of K classes, ascending: those of the pairs that crowd each other most, pair by pair.

    `counts` (K, K): samples of class i nearest to j's center. A pair's crowding is the share of i nearest to j plus
    that of j nearest to i; ties in the order of the names. Ours. Classes chosen each by its own share of samples
    astray would hardly meet: those samples are with classes that are not among the chosen, and the picture would be
    empty. Where too few pairs crowd, the classes with the most samples astray fill up.
    """
    k = len(counts)
    if k <= most:
        return np.arange(k)
    size = np.maximum(counts.sum(1), 1)
    i, j = np.nonzero(counts)
    apart = i != j
    i, j = i[apart], j[apart]
    low, high = np.minimum(i, j), np.maximum(i, j)
    pairs, at = np.unique(low * k + high, return_inverse=True)
    crowding = np.bincount(at, counts[i, j] / size[i], pairs.size)
    a, b = np.divmod(pairs[np.argsort(-crowding, kind="stable")], k)
    astray = np.where(counts.any(1), 1 - np.diag(counts) / size, -1)  # a class without samples comes last
    ranked = np.concatenate([np.stack([a, b], 1).ravel(), np.argsort(-astray, kind="stable")])
    _, first = np.unique(ranked, return_index=True)
    return np.sort(ranked[np.sort(first)[:most]])


def clustered(nearer: Doubles, distance: Doubles) -> Ints:
    """An order of M classes in which those that crowd each other stand side by side (M,); without samples last.

    Average linkage of 1 - s_ij / max s + 0.1 d_ij / max d, with s = (nearer + nearer^T) / 2 off the diagonal and d the
    distance of the centers, leaves in optimal order. Our choice: most pairs of many classes do not crowd at all, and
    there the distance decides. Deterministic. O(M^3), M <= 60.
    """
    from scipy.cluster.hierarchy import leaves_list, linkage, optimal_leaf_ordering
    from scipy.spatial.distance import squareform

    there = np.flatnonzero(np.isfinite(nearer).all(1))
    absent = np.setdiff1d(np.arange(len(nearer)), there)
    if there.size < 3:
        return np.concatenate([there, absent])
    both = np.ix_(there, there)
    crowding = (nearer[both] + nearer[both].T) / 2
    np.fill_diagonal(crowding, 0)
    apart = np.where(np.isfinite(distance[both]), distance[both], np.inf)
    longest = max(float(np.max(apart, where=np.isfinite(apart), initial=0.0)), 1e-12)
    apart = np.where(np.isfinite(apart), apart / longest, 1.0)
    unlike = 1 - crowding / max(float(crowding.max()), 1e-12) + APART * (apart + apart.T) / 2
    np.fill_diagonal(unlike, 0)
    flat = squareform(unlike, checks=False)
    leaves = leaves_list(optimal_leaf_ordering(linkage(flat, "average"), flat))
    return np.concatenate([there[leaves], absent]).astype(np.int64)
