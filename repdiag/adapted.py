"""Q-Score's rule carried over to features of either sign: which features stand out of a row, and how often. Ours."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from repdiag.kernels import rows
from repdiag.kernels.rows import Doubles, Floats
from repdiag.types import BoolArray
from repdiag.workspace import Activation, Workspace


@dataclass(frozen=True)
class Adapted:
    """Q-Score's rule carried over to features of either sign (ours): what `q_score_signed` rests on.

    x_ij is row i at unit length, c_j the mean of feature j over the reference rows, g_ij = x_ij - c_j, mu_i and
    sigma_i the mean and population std of g_i over the D features. A feature stands out of row i when
    |g_ij - mu_i| > eps sigma_i, on either side. `activation` holds A_j over the reference rows and S by the
    same percentiles as Q-Score's.
    """

    center: Doubles
    eps: float
    activation: Activation

    @property
    def selected(self) -> BoolArray:
        """S (D,)."""
        return self.activation.selected


FLAT = 1e-7
"""A row of unit length whose features differ by less than this (float32's resolution) has none that stands out."""


def _heights(x: Floats, center: Doubles, eps: float) -> tuple[Doubles, BoolArray]:
    """|g_ij - mu_i| and which features stand out, (N, D) each; none does in a flat row or a row of zeros."""
    g = x - center
    g -= g.mean(1, keepdims=True)
    std = np.sqrt(np.einsum("nd,nd->n", g, g) / max(1, x.shape[1]))
    known = (std > FLAT) & x.any(1)
    height = np.abs(g)
    return height, (height > (eps * std)[:, None]) & known[:, None]


def adapted(ws: Workspace) -> Adapted:
    """The adapted rule on `ws`. Its eps is half of Q-Score's: 2 by default.

    Why half: Q-Score's eps = 4 lets at most 5.9 % of the features of a row stand out (Cantelli), and the
    heavy-tailed features after a ReLU do reach that far. Signed features are nearly Gaussian (kurtosis about 3 on
    the encoders we tried), where |z| > 4 has probability 0.006 % and |z| > 2 has 4.6 %: the same order as that bound.
    """

    def compute() -> Adapted:
        part = ws.reference
        center = np.zeros(ws.dim)
        for b in rows.blocks(len(part), ws.dim * 8):
            center += part[b].sum(0, dtype=np.float64)
        center /= len(part)
        eps, total = ws.config.eps / 2, np.zeros(ws.dim)
        for b in rows.blocks(len(part), ws.dim * 32):
            total += _heights(part[b], center, eps)[1].sum(0)
        return Adapted(center, eps, ws.select(100.0 * total / len(part)))

    return ws.once("adapted activation", compute)


def adapted_score(ws: Workspace) -> Doubles:
    """Mean of |g_ij - mu_i| over the features of S that stand out, for each evaluated row; NaN without any (N,)."""
    rule, out = adapted(ws), np.full(len(ws), np.nan)
    for b in rows.blocks(len(ws), ws.dim * 32):
        height, fires = _heights(ws.x[b], rule.center, rule.eps)
        fires &= rule.selected
        size = fires.sum(1)
        total = np.where(fires, height, 0).sum(1)
        out[b] = np.divide(total, size, out=np.full(size.size, np.nan), where=size > 0)
    return out
