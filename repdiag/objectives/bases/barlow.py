"""Barlow Twins (Zbontar et al. 2021): the cross-correlation of the two views' projections is to be the identity."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from repdiag.objectives.bases._heads import Method, capped, losses, modules
from repdiag.objectives.contract import Heads, base


@base
class BarlowTwins(Method):
    """sum_i (1 - C_ii)^2 + 0.005 sum over i != j of C_ij^2, C = (P, P) correlation of z_1 and z_2 over the images.

    At least 0. Needs two images, and means little with fewer images than dimensions. The loss is lightly's (C); each
    view is standardized here already, as versions of lightly before 1.6 standardize both views with the statistics of
    the two together, which is not the paper's algorithm 1.
    """

    name = "barlow"
    title = "Barlow Twins"
    source = "Zbontar et al. 2021, as lightly's BarlowTwinsLoss has it (C)"

    def __init__(self, dim: int, projector: nn.Module | None = None) -> None:
        super().__init__(dim, projector)
        self.criterion = losses.BarlowTwinsLoss()

    def head(self, dim: int) -> nn.Module:
        """Three layers with batch norm, 4D (at most 8192) wide."""
        wide = capped(dim, 4, 8192)
        made: nn.Module = modules.BarlowTwinsProjectionHead(dim, wide, wide)
        return made

    def objective(self, heads: Heads, labels: Tensor | None) -> Tensor:
        """Squared distance of the cross-correlation from the identity."""
        first, second = (F.batch_norm(z, None, None, training=True) for z in heads.projections)
        loss: Tensor = self.criterion(first, second)
        return loss
