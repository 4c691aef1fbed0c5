"""Lloyd's k-means from random data points: faiss where it is installed, torch otherwise or on its GPU."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

import numpy as np

from repdiag.kernels.rows import Doubles, Floats, Ints
from repdiag.kernels.threads import suited

TILE = 2**24
"""Numbers in one tile of scores or of rows as doubles (64 and 128 MiB)."""


@dataclass(frozen=True)
class Clustering:
    """`centroids` (k, D) float32 and the cluster of each row (N,) int64."""

    centroids: Floats
    labels: Ints


def kmeans(x: Floats, k: int, seed: int, iterations: int = 20, device: str = "cpu") -> Clustering:
    """Cluster rows of `x` (N, D) into `k` by squared Euclidean distance; one initialization (n_init = 1).

    The start is k distinct rows drawn with `seed`; all N rows are used (faiss would take only 256 per
    centroid if not told). At most `iterations` steps of Lloyd: fewer where they reach a fixed point, and where they
    do not the answer is that of a k-means stopped early. One initialization on purpose: how much the answer
    depends on it is a measurement.
    """
    if not 1 <= k <= len(x):
        raise ValueError(f"k = {k} clusters of {len(x)} rows")
    start = np.ascontiguousarray(x[np.sort(np.random.default_rng(seed).choice(len(x), k, replace=False))])
    with suited(x.size * k):
        if device == "cpu" and importlib.util.find_spec("faiss"):
            centroids = _faiss(x, start, iterations)
        else:
            centroids = _lloyd(x, start, iterations, device)
        return Clustering(centroids, assign(x, centroids, device)[0])


def _faiss(x: Floats, start: Floats, iterations: int) -> Floats:
    import faiss

    model = faiss.Kmeans(
        x.shape[1], len(start), niter=iterations, min_points_per_centroid=1, max_points_per_centroid=len(x)
    )
    model.train(np.ascontiguousarray(x), init_centroids=start)
    return np.array(model.centroids, np.float32)


def assign(x: Floats, centroids: Floats, device: str = "cpu") -> tuple[Ints, Doubles]:
    """Nearest centroid of each row, and the margin (d2 - d1) / (d2 + d1) of Euclidean distances in [0, 1].

    The margin is 0 on the border between two clusters and 1 on a centroid. With one centroid it is 1.
    """
    import torch

    centers = torch.from_numpy(centroids).to(device)
    half = (centers * centers).sum(1) / 2
    labels, margins = [], []
    for start in range(0, len(x), 4096):
        rows = torch.from_numpy(np.array(x[start : start + 4096])).to(device)
        score = half - rows @ centers.T  # squared distance / 2, less ||x||^2 / 2
        best, index = score.topk(min(2, len(centers)), dim=1, largest=False)
        square = (2 * best.double() + (rows.double() ** 2).sum(1, keepdim=True)).clamp_min(0).sqrt()
        first, second = square[:, 0], square[:, -1]
        margin = (second - first) / (second + first).clamp_min(1e-30)
        labels.append(index[:, 0].cpu().numpy())
        margins.append((margin if len(centers) > 1 else torch.ones_like(margin)).cpu().numpy())
    return np.concatenate(labels), np.concatenate(margins)


def _lloyd(x: Floats, start: Floats, iterations: int, device: str) -> Floats:
    """At most `iterations` steps of Lloyd, fewer when nothing moves; an empty cluster keeps its centroid.

    Distances in float32 and sums in float64, tile by tile: beside the rows, a tile of scores and one of doubles.
    """
    import torch

    rows, centers = torch.from_numpy(np.array(x)).to(device), torch.from_numpy(start).to(device)
    tile = max(1, TILE // max(len(start), 2 * x.shape[1]))
    for _ in range(iterations):
        sums = torch.zeros_like(centers, dtype=torch.float64)
        counts = torch.zeros(len(centers), dtype=torch.float64, device=device)
        half = (centers * centers).sum(1) / 2
        for at in range(0, len(rows), tile):
            part = rows[at : at + tile]
            nearest = (half - part @ centers.T).argmin(1)
            sums.index_add_(0, nearest, part.double())
            counts += torch.bincount(nearest, minlength=len(centers))
        means = sums / counts[:, None].clamp_min(1)
        moved = torch.where(counts[:, None] > 0, means, centers.double()).float()
        if torch.equal(moved, centers):
            break
        centers = moved
    return np.asarray(centers.cpu().numpy(), np.float32)
