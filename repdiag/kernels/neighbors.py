"""Exact nearest neighbors by inner product: faiss where it is installed, torch otherwise or on its GPU."""

from __future__ import annotations

import importlib.util
from typing import cast

import numpy as np

from repdiag.kernels.rows import Floats, Ints, blocks


def search(base: Floats, queries: Floats, k: int, device: str = "cpu") -> tuple[Floats, Ints]:
    """The `k` rows of `base` (N, D) of largest inner product with each of `queries` (M, D), best first.

    Returns similarities (M, k) float32 and row numbers (M, k) int64. Exact: tiled, never M x N in memory.
    On a CUDA device torch does the work unless faiss has its GPU build. Needs 1 <= k <= N.
    """
    if not 1 <= k <= len(base):
        raise ValueError(f"k = {k} neighbors of {len(base)} rows")
    if device == "cpu" and importlib.util.find_spec("faiss"):
        return _faiss(base, queries, k)
    return _torch(base, queries, k, device)


def others(x: Floats, k: int, device: str = "cpu") -> tuple[Floats, Ints]:
    """The `k` nearest *other* rows of each row of `x`: the row itself is masked before the cut to k.

    Duplicates of a row do count as neighbors. Needs 1 <= k <= N - 1.
    """
    similarity, index = search(x, x, k + 1, device)
    own = index == np.arange(len(x))[:, None]
    own[~own.any(axis=1), -1] = True  # among k + 1 duplicates the row itself may not show: drop the last
    keep = ~own
    return similarity[keep].reshape(len(x), k), index[keep].reshape(len(x), k)


def _faiss(base: Floats, queries: Floats, k: int) -> tuple[Floats, Ints]:
    import faiss

    index = faiss.IndexFlatIP(base.shape[1])
    for block in blocks(len(base), base.shape[1] * 4):
        index.add(np.ascontiguousarray(base[block]))
    found = [
        index.search(np.ascontiguousarray(queries[block]), k)
        for block in blocks(len(queries), queries.shape[1] * 4)
    ]
    return np.concatenate([s for s, _ in found]), np.concatenate([i for _, i in found]).astype(np.int64)


def _torch(base: Floats, queries: Floats, k: int, device: str) -> tuple[Floats, Ints]:
    import torch

    tile, rows = 65536, 1024
    similarities, indices = [], []
    for q0 in range(0, len(queries), rows):
        query = torch.from_numpy(np.array(queries[q0 : q0 + rows])).to(device)
        best = torch.full((len(query), 0), 0.0, device=device)
        where = torch.zeros((len(query), 0), dtype=torch.int64, device=device)
        for b0 in range(0, len(base), tile):
            part = query @ torch.from_numpy(np.array(base[b0 : b0 + tile])).to(device).T
            top, at = part.topk(min(k, part.shape[1]), dim=1)
            best, where = torch.cat([best, top], 1), torch.cat([where, at + b0], 1)
            best, chosen = best.topk(min(k, best.shape[1]), dim=1)
            where = where.gather(1, chosen)
        similarities.append(best.cpu().numpy())
        indices.append(where.cpu().numpy())
    return np.concatenate(similarities), cast(Ints, np.concatenate(indices))
