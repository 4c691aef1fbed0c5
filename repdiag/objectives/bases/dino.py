"""DINO (Caron et al. 2021): a view predicts the slow teacher's sharpened, centered distribution for the other."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from repdiag.objectives.bases._heads import (
    MomentumMethod,
    capped,
    follow,
    full_precision,
    losses,
    modules,
    twin,
    wide,
)
from repdiag.objectives.contract import Heads, base

OUTPUTS = 4096


class Prototypes(nn.Linear):
    """Scores of (N, P) rows as cosines with each of K directions: DINO's weight-normalized last layer of gain 1.

    Written out instead of torch's weight_norm, whose modules cannot be copied.
    """

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__(width, outputs, bias=False)

    def forward(self, input: Tensor) -> Tensor:
        """(N, P) -> (N, K) float32 in [-1, 1], whatever autocast does: it is divided by 0.04 next."""
        (rows,) = wide([input])
        with full_precision(rows):
            return F.linear(F.normalize(rows), F.normalize(self.weight))


class _Loss(losses.DINOLoss):  # type: ignore[misc]
    """lightly's, whose center moves only where there is a gradient, and without a collective of its own.

    lightly's averages over processes, each of which has the whole batch here.
    """

    moving = True

    @torch.no_grad()
    def update_center(self, teacher_out: Tensor) -> None:
        """center = 0.9 center + 0.1 mean over views and images."""
        if self.moving:
            self.center.lerp_(teacher_out.mean((0, 1), keepdim=True), 1 - self.center_momentum)


@base
class DINO(MomentumMethod):
    """Mean over teacher views s, other student views v of -mean_n sum_k softmax((t_s - c)/0.04) log softmax(u_v/0.1).

    u = the student's cosines with 4096 prototypes (`predictions`), t = those of the slow encoder and heads (`targets`,
    two full views), c their moving average (0.9), which belongs to the state_dict. Momentum 0.996 rising to 1 (C; the
    authors advise more for small batches). Small crops are seen by the student alone. At least 0; log 4096 where the
    teacher tells no images apart. The number of outputs is ours (65536 in the authors' code, C); the teacher's
    temperature has no warm-up and the last layer is not frozen at first, since new heads are warmed up alone. A
    projector from a checkpoint goes on with new prototypes, as repdiag reads none. `projections` are the bottleneck's
    output, before the prototypes.
    """

    name = "dino"
    title = "DINO"
    source = "Caron et al. 2021, as lightly's DINOLoss has it (C)"
    momentum = 0.996
    small_crops = True

    def __init__(self, dim: int, projector: nn.Module | None = None) -> None:
        super().__init__(dim, projector)
        self.fresh += ("prototypes",)
        self.prototypes = Prototypes(self.width, OUTPUTS)
        self.slow_prototypes = twin(self.prototypes)
        self.criterion = _Loss(OUTPUTS)

    def head(self, dim: int) -> nn.Module:
        """Three layers with GELU and batch norm, 4D (at most 2048) and 256 wide.

        The batch norm is ours (the authors' code has it as an option, C): it takes away what all images have in common
        before the bottleneck's unit length. Without it the teacher of a fresh head soon told no images apart, and the
        loss stood at log K for all of 400 steps on the fixture's digits; with it the loss fell from the first.
        """
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of weight_norm, in the part that is not used
            made = modules.DINOProjectionHead(dim, capped(dim, 4, 2048), 256, 1, batch_norm=True)
        layers: nn.Module = made.layers
        return layers

    def heads(self, features: Sequence[Tensor], momentum: Sequence[Tensor] = ()) -> Heads:
        """Bottlenecks, the student's scores as predictions, the teacher's as targets."""
        projections = self.project(features)
        with torch.no_grad():
            targets = tuple(self.slow_prototypes(z) for z in self.targets(momentum))
        return Heads(projections, tuple(self.prototypes(z) for z in projections), targets)

    def objective(self, heads: Heads, labels: Tensor | None) -> Tensor:
        """Cross-entropy of the swapped views; the center moves on where there is a gradient."""
        self.criterion.moving = heads.predictions[0].requires_grad
        loss: Tensor = self.criterion(list(heads.targets), list(heads.predictions), epoch=0)
        return loss

    def follow(self, momentum: float) -> None:
        """The teacher's heads follow."""
        super().follow(momentum)
        follow(self.prototypes, self.slow_prototypes, momentum)
