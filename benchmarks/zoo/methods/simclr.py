"""SimCLR (Chen et al. 2020): the two views of an image find each other among all views of the batch."""

from __future__ import annotations

from collections.abc import Sequence

from lightly.loss import NTXentLoss
from lightly.models.modules.heads import SimCLRProjectionHead
from torch import Tensor

from benchmarks.zoo.backbone import ResNet18
from benchmarks.zoo.methods.base import Method


class SimCLR(Method):
    """InfoNCE within the batch, temperature 0.2."""

    def __init__(self, backbone: ResNet18, classes: int) -> None:
        super().__init__(backbone, classes)
        self.projector = SimCLRProjectionHead(backbone.features, 2 * backbone.features, 128)
        self.criterion = NTXentLoss(temperature=0.2)

    def loss(self, views: Sequence[Tensor], labels: Tensor) -> Tensor:
        """InfoNCE of the projections."""
        first, second = (self.projector(self.encode(v)) for v in views)
        return self.criterion(first, second)
