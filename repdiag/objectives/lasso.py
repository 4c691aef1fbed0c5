"""The lasso: the Q-Score paper's control, which hurts there (Kalibhat et al. 2024, arXiv 2203.01881v6; P)."""

from __future__ import annotations

from torch import Tensor

from repdiag.objectives.rows import unit


def lasso_loss(h: Tensor) -> Tensor:
    """mean_i ||u_i||_1 with u_i = h_i / ||h_i||_2 of `h` (N, D): a scalar in [1, sqrt(D)], 0 for zero rows.

    Low: few features of a sample carry it. The paper says "L1 on h"; that the rows have unit length, as for Q-Score,
    and that samples are averaged are ours (O): on raw h the penalty would only shrink the features. Invariant to the
    scale of a row, the order of rows and of features.
    """
    return unit(h).abs().sum(1).mean()
