"""SimCLR (Chen et al. 2020): the two views of an image find each other among all views of the batch."""

from __future__ import annotations

from torch import Tensor, nn

from repdiag.objectives.bases._heads import Method, capped, losses, modules
from repdiag.objectives.contract import Heads, base


@base
class SimCLR(Method):
    """Mean over the 2N views i of -log( exp(cos(z_i, z_j)/t) / sum over k != i of exp(cos(z_i, z_k)/t) ).

    j is the other view of i's image; t = 0.2, which is ours: between the 0.1 and 0.5 that are told of ImageNet and
    CIFAR-10 (S). At least 0; log(2N - 1) where all projections are alike. The loss is lightly's NTXentLoss (C).
    """

    name = "simclr"
    title = "SimCLR"
    source = "Chen et al. 2020, as lightly's NTXentLoss has it (C)"

    def __init__(self, dim: int, projector: nn.Module | None = None) -> None:
        super().__init__(dim, projector)
        self.criterion = losses.NTXentLoss(temperature=0.2)

    def head(self, dim: int) -> nn.Module:
        """Two layers with batch norm, 2D (at most 2048) and 128 wide."""
        made: nn.Module = modules.SimCLRProjectionHead(dim, capped(dim, 2, 2048), 128)
        return made

    def objective(self, heads: Heads, labels: Tensor | None) -> Tensor:
        """InfoNCE of the projections."""
        first, second = heads.projections
        loss: Tensor = self.criterion(first, second)
        return loss
