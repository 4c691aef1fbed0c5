"""Row-wise operations that stream over blocks, so that a memory map is never copied whole."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

BLOCK_BYTES = 32 * 2**20
"""Working memory of one block: larger gains nothing in speed, smaller pays Python overhead."""


def blocks(n: int, row_bytes: int) -> Iterator[slice]:
    """Slices that cover range(n), each about BLOCK_BYTES of rows of `row_bytes`."""
    step = max(1, BLOCK_BYTES // max(1, row_bytes))
    for start in range(0, n, step):
        yield slice(start, min(n, start + step))


def norms(x: Floats) -> Doubles:
    """Euclidean norm of each row of `x` (N, D), accumulated in float64."""
    out = np.empty(len(x))
    for block in blocks(len(x), x.shape[1] * 8):
        out[block] = np.sqrt(np.einsum("nd,nd->n", x[block], x[block], dtype=np.float64))
    return out


def unit(x: Floats, lengths: Doubles | None = None) -> Floats:
    """Rows of `x` (N, D) divided by their norm; rows of norm 0 stay 0."""
    lengths = norms(x) if lengths is None else lengths
    out = np.empty(x.shape, np.float32)
    for block in blocks(len(x), x.shape[1] * 8):
        scale = lengths[block].copy()
        scale[scale == 0] = 1
        np.divide(x[block], scale[:, None], out=out[block], casting="unsafe")
    return out
