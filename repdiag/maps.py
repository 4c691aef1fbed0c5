"""The two-dimensional maps: for looking only, never for a number."""

from __future__ import annotations

import contextlib
import warnings

import numpy as np

from repdiag.kernels import rows, spectrum
from repdiag.types import DoubleArray
from repdiag.workspace import Skip, Workspace

NEIGHBORS = 15
DENSE = 1024
"""Rows of a matrix up to which all its eigenvectors are computed; beyond, Lanczos finds the two that are wanted."""


def umap_map(ws: Workspace) -> DoubleArray:
    """UMAP of the evaluated unit rows, (N, 2) float64; NaN beyond the first `map_samples` of a seeded draw.

    Starts from the first two principal components and uses the exact neighbors that other metrics share, so
    that one seed gives one map. Distances, sizes and gaps on it mean little: nothing may be measured on it.
    """
    n, cap = len(ws), ws.config.map_samples
    if n < NEIGHBORS + 1:
        raise Skip(f"{n} samples are too few for a map")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import umap
    except ImportError as error:
        raise Skip(f"umap-learn cannot be imported ({error})") from error

    some = np.arange(n) if n <= cap else np.sort(ws.rng(14).choice(n, cap, replace=False))
    if n <= cap:
        cosine, index = ws.neighbors
    else:
        from repdiag.kernels import neighbors

        cosine, index = neighbors.others(ws.x[some], NEIGHBORS, ws.device)
    # UMAP counts the point itself as its first neighbor.
    own = np.arange(len(some))[:, None]
    knn = np.concatenate([own, index[:, : NEIGHBORS - 1]], axis=1)
    squared = np.maximum(0, 2 - 2 * cosine[:, : NEIGHBORS - 1])
    distance = np.concatenate([np.zeros_like(own), np.sqrt(squared)], axis=1).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of our own choices: one seed, no transform of new data
        model = umap.UMAP(
            n_neighbors=NEIGHBORS,
            init="pca",
            n_epochs=200,
            random_state=ws.config.seed,
            precomputed_knn=(knn, distance),
        )
        flat = model.fit_transform(ws.x[some])
    out = np.full((n, 2), np.nan)
    out[some] = flat
    return out


def pca_map(ws: Workspace) -> tuple[DoubleArray, tuple[float, float]]:
    """The evaluated unit rows along their first two principal components, and the variance that each holds.

    X (N, D) the unit rows, m their mean, v1 and v2 the eigenvectors of (X - m)'(X - m) / N with the largest eigenvalues
    l1 >= l2: ((X - m) [v1 v2] (N, 2) float64, (l1 / sum l, l2 / sum l)). Each v is turned so that its entry of the
    largest absolute value (the first of equals) is positive, or two runs could be mirror images. All samples have a
    place. A linear map keeps what two axes can hold and no more: read the shares beside it. Uses the second moments of
    the spectrum where those are known, else streams over the rows; from N < D on through the (N, N) products. O(N D
    min(N, D)) time. Raises Skip where the embeddings do not vary.
    """
    known = _moments(ws)
    n = len(ws)
    if isinstance(known, spectrum.Tall):
        mean = known.first.sum(0) / n
        matrix = known.second.sum(0) / n - np.outer(mean, mean)
    else:
        mean, p = np.zeros(ws.dim), known.products
        matrix = (p - p.mean(0) - p.mean(1)[:, None] + p.mean()) / n
    total = float(np.trace(matrix))
    if not total > 1e-12:
        raise Skip("the embeddings do not vary")
    values, vectors = _leading(matrix)
    if isinstance(known, spectrum.Tall):
        loadings, flat = vectors, _onto(ws, vectors) - mean @ vectors
    else:
        flat = vectors * np.sqrt(n * values)
        loadings = _from(ws, vectors)
    sign = np.sign(loadings[np.abs(loadings).argmax(0), np.arange(loadings.shape[1])])
    flat = flat * np.where(sign == 0, 1, sign)
    if flat.shape[1] < 2:  # a single feature
        flat, values = np.column_stack([flat, np.zeros(n)]), np.append(values, 0.0)
    return flat, (float(values[0] / total), float(values[1] / total))


def _moments(ws: Workspace) -> spectrum.Tall | spectrum.Wide:
    """Second moments of the unit rows: those that the spectrum's metrics left, where they did and are of these rows."""
    if ws.space is ws.x:
        with contextlib.suppress(Skip):
            return ws.once("moments", _unknown)
    return spectrum.moments(ws.x, 1)


def _unknown() -> spectrum.Tall | spectrum.Wide:
    raise Skip("no metric of the spectrum was measured")


def _leading(matrix: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
    """The two largest eigenvalues (2,), clipped at 0, and their eigenvectors (M, 2); one where M is 1."""
    if len(matrix) <= DENSE:
        values, vectors = np.linalg.eigh(matrix)
    else:
        from scipy.sparse.linalg import eigsh

        start = np.random.default_rng(0).standard_normal(len(matrix))  # its own would differ from run to run
        values, vectors = eigsh(matrix, k=2, v0=start)
    largest = np.argsort(-values, kind="stable")[:2]
    return np.maximum(values[largest], 0), vectors[:, largest]


def _onto(ws: Workspace, vectors: DoubleArray) -> DoubleArray:
    """X V (N, 2), in float64."""
    parts = [ws.x[b].astype(np.float64) @ vectors for b in rows.blocks(len(ws), ws.dim * 8)]
    return np.concatenate(parts)


def _from(ws: Workspace, vectors: DoubleArray) -> DoubleArray:
    """X' U (D, 2), in float64: the components' directions, but for their lengths."""
    total = np.zeros((ws.dim, vectors.shape[1]))
    for b in rows.blocks(len(ws), ws.dim * 8):
        total += ws.x[b].astype(np.float64).T @ vectors[b]
    return total
