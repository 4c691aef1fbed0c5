"""Barlow Twins (Zbontar et al. 2021): the cross-correlation of the two views' projections is to be the identity."""

from __future__ import annotations

from collections.abc import Sequence

from lightly.loss import BarlowTwinsLoss
from lightly.models.modules.heads import BarlowTwinsProjectionHead
from torch import Tensor

from benchmarks.zoo.backbone import ResNet18
from benchmarks.zoo.methods.base import LARS, Method


class BarlowTwins(Method):
    """Redundancy reduction, off-diagonal weight 0.005."""

    recipe = LARS

    def __init__(self, backbone: ResNet18, classes: int) -> None:
        super().__init__(backbone, classes)
        wide = 8 * backbone.features
        self.projector = BarlowTwinsProjectionHead(backbone.features, wide, wide)
        self.criterion = BarlowTwinsLoss()

    def loss(self, views: Sequence[Tensor], labels: Tensor) -> Tensor:
        """Squared distance of the cross-correlation from the identity."""
        first, second = (self.projector(self.encode(v)) for v in views)
        return self.criterion(first, second)
