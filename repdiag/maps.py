"""The two-dimensional map: for looking only, never for a number."""

from __future__ import annotations

import warnings

import numpy as np

from repdiag.types import DoubleArray
from repdiag.workspace import Skip, Workspace

NEIGHBORS = 15


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
