"""The supervised contrastive loss, which lightly does not have."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

TEMPERATURE = 0.1
"""What the authors' README trains with; their class's default is 0.07 (C)."""


def supervised_contrastive(
    projections: Sequence[Tensor], labels: Tensor | None = None, temperature: float = TEMPERATURE
) -> Tensor:
    """Low where views of the same class are near one another and far from all others.

    L = 1/(VN) sum_i -1/|P(i)| sum over p in P(i) of log( exp(z_i.z_p/t) / sum over a != i of exp(z_i.z_a/t) )

    i runs over the V views (N, P) of N images, z are their rows of unit length, P(i) all other views of the same class
    (the "out" form, eq. 2 of Khosla et al. 2020 (S), as in the authors' code (C); a mean over anchors as there).
    `labels` (N,) integers, -1 for unknown, or None. An image of unknown class, or alone in its class, has its own
    other views as positives only: without any label this is SimCLR's loss (NT-Xent).

    A scalar of the projections' dtype, at least 0; it cannot reach 0 with several positives, as they compete. Rows of
    zeros have cosine 0. (VN)^2 numbers in memory. Raises ValueError for fewer than two views or a temperature that is
    not positive.
    """
    if len(projections) < 2:
        raise ValueError("Without a second view an image may have no positive")
    if not temperature > 0:
        raise ValueError(f"The temperature must be above 0, not {temperature}")
    z = F.normalize(torch.cat(tuple(projections)))
    n = len(projections[0])
    alone = torch.arange(n, device=z.device)
    groups = alone if labels is None else torch.where(labels < 0, -1 - alone, labels)
    groups = groups.repeat(len(projections))
    itself = torch.eye(len(z), dtype=torch.bool, device=z.device)
    positive = ((groups[:, None] == groups) & ~itself).to(z.dtype)
    cosines = z @ z.T / temperature
    among_others = cosines.masked_fill(itself, -torch.inf).logsumexp(1)
    return (among_others - (cosines * positive).sum(1) / positive.sum(1)).mean()
