"""VICReg (Bardes et al. 2022): views agree, each feature varies, and no two vary together."""

from __future__ import annotations

from collections.abc import Sequence

from lightly.loss import VICRegLoss
from lightly.models.modules.heads import VICRegProjectionHead
from torch import Tensor

from benchmarks.zoo.backbone import ResNet18
from benchmarks.zoo.methods.base import LARS, Method


class VICReg(Method):
    """Invariance, variance and covariance, weighted 25, 25 and 1."""

    recipe = LARS

    def __init__(self, backbone: ResNet18, classes: int) -> None:
        super().__init__(backbone, classes)
        wide = 8 * backbone.features
        self.projector = VICRegProjectionHead(backbone.features, wide, wide)
        self.criterion = VICRegLoss()

    def loss(self, views: Sequence[Tensor], labels: Tensor) -> Tensor:
        """The weighted sum of the three terms."""
        first, second = (self.projector(self.encode(v)) for v in views)
        return self.criterion(first, second)
