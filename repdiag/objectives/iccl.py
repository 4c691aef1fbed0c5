"""ICCL's terms: two views agree first as vectors, then in which coordinates they stress (Ge et al. 2023).

Source: Ge, Liu, Gui et al., IEEE TIP 2023, arXiv 2301.03041, as its released code has it (guijiejie/ICCL; C).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from repdiag.errors import UsageError
from repdiag.objectives.rows import unit


class ICCLTerms(NamedTuple):
    """The three losses of one batch, each a scalar, unweighted."""

    sim: Tensor
    aug: Tensor
    uniform: Tensor


def iccl_terms(
    p1: Tensor,
    p2: Tensor,
    q1: Tensor,
    q2: Tensor,
    t1: float = 0.1,
    t2: float = 0.07,
    similarity: str = "mse",
) -> ICCLTerms:
    """L_sim, L_aug and L_uniform of predictions p (N, K) and targets q (N, K) of two views; rows are made unit.

    With m = softmax(q / t2), n = softmax(p / t1), every coordinate a cluster; q and m carry no gradient (C):

    - sim: mean_i ||p1 - q2||^2 + mean_i ||p2 - q1||^2, in [0, 8] ("mse", the code with a slow encoder), or
      -1/2 mean_i (cos(p1, q2) + cos(p2, q1)), in [-1, 1] ("cosine", the code without): mse = 4 + 4 cosine;
    - aug: -1/2 mean_i (sum_k m1 log n2 + sum_k m2 log n1), nats, at least 0;
    - uniform: KL(Uniform || mean n) = -log K - mean_k log nbar_k, nbar over both views; nats, at least 0, 0 where
      every coordinate is used alike. It speaks of the whole batch: give it that of all processes.

    All low is good. Any float dtype, at least float32 inside; logarithms throughout, so that small temperatures do
    not make log 0. Invariant to a joint order of rows, to a joint order of coordinates, to the scale of rows and to
    swapping the views. O(N K).
    """
    shapes = {tuple(one.shape) for one in (p1, p2, q1, q2)}
    if len(shapes) != 1 or p1.ndim != 2:
        raise UsageError(f"ICCL needs predictions and targets of one shape (N, K), not {sorted(shapes)}")
    if similarity not in ("mse", "cosine"):
        raise UsageError(f"ICCL's similarity is mse or cosine, not {similarity}")
    p1, p2, q1, q2 = unit(p1), unit(p2), unit(q1.detach()), unit(q2.detach())
    if similarity == "mse":
        sim = (p1 - q2).square().sum(1).mean() + (p2 - q1).square().sum(1).mean()
    else:
        sim = -((p1 * q2).sum(1).mean() + (p2 * q1).sum(1).mean()) / 2
    m1, m2 = (q1 / t2).softmax(1), (q2 / t2).softmax(1)
    n1, n2 = F.log_softmax(p1 / t1, 1), F.log_softmax(p2 / t1, 1)
    aug = -((m1 * n2).sum(1).mean() + (m2 * n1).sum(1).mean()) / 2
    used = n1.logsumexp(0).logaddexp(n2.logsumexp(0)) - math.log(2 * len(p1))
    return ICCLTerms(sim, aug, -math.log(p1.shape[1]) - used.mean())


def handover(progress: float, start: float = 0.5, end: float = 0.6) -> float:
    """s in [0, 1]: 0 up to `start`, 1 from `end`, linear between; all three are shares of the training.

    The code ramps from epoch 150 to 180 of 300 and moves once an epoch (C); here it moves in every step (O).
    """
    if progress >= end:
        return 1.0
    return max(0.0, (progress - start) / (end - start)) if end > start else 0.0
