"""VICReg (Bardes et al. 2022): views agree, each feature varies, and no two vary together."""

from __future__ import annotations

from torch import Tensor, nn

from repdiag.objectives.bases._heads import Method, capped, losses, modules
from repdiag.objectives.contract import Heads, base


@base
class VICReg(Method):
    """25 mean (z_1 - z_2)^2 + 25 (v(z_1) + v(z_2)) / 2 + c(z_1) + c(z_2), at least 0.

    v(z) = mean over dimensions of max(0, 1 - sqrt(var + 0.0001)), c(z) = sum of squared covariances of different
    dimensions / P, both with N - 1. Needs two images. The loss is lightly's VICRegLoss (C), which follows the
    authors' code.
    """

    name = "vicreg"
    title = "VICReg"
    source = "Bardes et al. 2022, as lightly's VICRegLoss has it (C)"

    def __init__(self, dim: int, projector: nn.Module | None = None) -> None:
        super().__init__(dim, projector)
        self.criterion = losses.VICRegLoss()

    def head(self, dim: int) -> nn.Module:
        """Three layers with batch norm, 4D (at most 8192) wide."""
        wide = capped(dim, 4, 8192)
        made: nn.Module = modules.VICRegProjectionHead(dim, wide, wide)
        return made

    def objective(self, heads: Heads, labels: Tensor | None) -> Tensor:
        """The weighted sum of the three terms."""
        first, second = heads.projections
        loss: Tensor = self.criterion(first, second)
        return loss
