"""ReSA's loss: images that the encoder itself finds alike predict one another (Weng et al. 2025).

Source: Weng et al., ICML 2025, arXiv 2501.18452, as its released code has it (winci-ai/resa; C). The paper's text was
not read.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from repdiag.errors import UsageError
from repdiag.objectives.rows import computing, unit


def sinkhorn(scores: Tensor, eps: float = 0.05, iterations: int = 3) -> Tensor:
    """A = exp(S / eps) with columns, then rows scaled to sum to 1, `iterations` times: rows of A sum to 1 (C).

    `scores` (N, M) of any float dtype; every entry of A is in [0, 1]. Columns sum to N / M only in the limit. Computed
    with logarithms, so that small eps neither overflows nor leaves an empty row; differentiable. Invariant to a
    constant added to all scores, equivariant to the order of rows and columns. O(N M iterations).
    """
    if not eps > 0 or iterations < 1:
        raise UsageError(f"Sinkhorn needs eps above 0 and at least one iteration, not {eps} and {iterations}")
    logs = computing(scores) / eps
    for _ in range(iterations):
        logs = logs - logs.logsumexp(0, keepdim=True)
        logs = logs - logs.logsumexp(1, keepdim=True)
    return logs.exp()


@torch.no_grad()
def self_assignment(h: Tensor, slow: Tensor | None = None, eps: float = 0.05, iterations: int = 3) -> Tensor:
    """A (N, N) = Sinkhorn(U V'): which images of a batch belong together, rows sum to 1; no gradient.

    `h` (N, D) are the encoder's features of the weakly augmented view, `slow` those of the slow encoder for the same
    view: the released code multiplies the two (C). Without `slow` both sides are `h`, which makes the scores symmetric
    (O): the slow encoder then need not see a third view.
    """
    u = unit(h)
    return sinkhorn(u @ (u if slow is None else unit(slow)).T, eps, iterations)


def resa_loss(
    predictions: Sequence[Tensor], targets: Sequence[Tensor], assignment: Tensor, temperature: float = 0.4
) -> Tensor:
    """Mean over pairs of views v != q of [CE(A, P) + CE(A', P')] / 2 with logits p_v z_q' / temperature (C).

    `predictions` V x (N, P) of the trained heads, `targets` two or more (N, P) of the slow ones for the first of the
    same views (detached here), both made unit rows; `assignment` (N, N), rows sum to 1. CE(A, P) = -1/N sum_ij A_ij
    log softmax_j(logits_ij); the second term takes the transposes, softmax over the rows. A scalar of at least 0,
    in float32 or wider. Nearly log N where predictions say nothing. Invariant to a joint order of the images and
    to the scale of each row. O(V N^2 P).
    """
    p, z = [unit(one) for one in predictions], [unit(one.detach()) for one in targets]
    goal = assignment.detach()
    losses = [
        _both_ways(a @ b.T / temperature, goal) for v, a in enumerate(p) for q, b in enumerate(z) if v != q
    ]
    if not losses:
        raise UsageError(f"ReSA compares different views, but got {len(p)} and {len(z)}")
    return torch.stack(losses).mean()


def _both_ways(logits: Tensor, goal: Tensor) -> Tensor:
    goal = goal.to(logits.dtype)
    log_rows, log_columns = F.log_softmax(logits, 1), F.log_softmax(logits, 0)
    return -(goal * (log_rows + log_columns)).sum() / (2 * len(logits))
