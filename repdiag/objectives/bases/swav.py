"""SwAV (Caron et al. 2020): a view predicts to which prototypes the other one is assigned."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from repdiag.objectives.bases._heads import Method, capped, full_precision, losses, modules, wide
from repdiag.objectives.contract import Heads, base

PROTOTYPES = 512


@base
class SwAV(Method):
    """Mean over full views s and other views v of -mean_n sum_k Q_s[n, k] log softmax(scores_v[n] / 0.1)[k].

    scores = cosines of the projection with 512 prototypes (`predictions`); Q_s = Sinkhorn of exp(scores_s / 0.05) over
    the global batch, 3 iterations, so that all prototypes are used alike; no gradient goes through it. From 0 to
    about log 512 where views tell nothing. Small crops predict and are not assigned. The number of prototypes is ours
    (the authors' code has 3000 for ImageNet, C), and there is no queue: with fewer images in a batch than prototypes
    an image's assignment is spread over several.
    """

    name = "swav"
    title = "SwAV"
    source = "Caron et al. 2020, as lightly's SwaVLoss has it (C)"
    small_crops = True

    def __init__(self, dim: int, projector: nn.Module | None = None) -> None:
        super().__init__(dim, projector)
        self.fresh += ("prototypes",)
        self.prototypes = nn.Linear(self.width, PROTOTYPES, bias=False)
        self.criterion = losses.SwaVLoss()

    def head(self, dim: int) -> nn.Module:
        """Two layers with batch norm, 2D (at most 2048) and 128 wide."""
        made: nn.Module = modules.SwaVProjectionHead(dim, capped(dim, 2, 2048), 128)
        return made

    def heads(self, features: Sequence[Tensor], momentum: Sequence[Tensor] = ()) -> Heads:
        """Projections, and their cosines with the prototypes as predictions, (N, 512) in float32.

        Where there is a gradient the prototypes are brought back to unit length first, outside of it, as the authors'
        code does before each step (C).
        """
        projections, weight = self.project(features), self.prototypes.weight
        if torch.is_grad_enabled():
            weight.data.copy_(F.normalize(weight.data))
        else:
            weight = F.normalize(weight)  # nothing changes while one looks
        with full_precision(weight):
            scores = tuple(F.linear(F.normalize(z), weight) for z in wide(projections))
        return Heads(projections, scores)

    def objective(self, heads: Heads, labels: Tensor | None) -> Tensor:
        """Cross-entropy of the swapped assignments."""
        scores = list(heads.predictions)
        loss: Tensor = self.criterion(scores[:2], scores[2:])
        return loss
