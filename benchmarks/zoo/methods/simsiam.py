"""SimSiam (Chen & He 2021): a view predicts the other one's projection, through which no gradient goes."""

from __future__ import annotations

from collections.abc import Sequence

from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules.heads import SimSiamPredictionHead, SimSiamProjectionHead
from torch import Tensor

from benchmarks.zoo.backbone import ResNet18
from benchmarks.zoo.methods.base import Method


class SimSiam(Method):
    """Negative cosine to the detached projection, both ways."""

    def __init__(self, backbone: ResNet18, classes: int) -> None:
        super().__init__(backbone, classes)
        wide = 4 * backbone.features
        self.projector = SimSiamProjectionHead(backbone.features, wide, wide)
        self.predictor = SimSiamPredictionHead(wide, wide // 4, wide)
        self.criterion = NegativeCosineSimilarity()

    def loss(self, views: Sequence[Tensor], labels: Tensor) -> Tensor:
        """Mean of both directions, in [-1, 1]."""
        first, second = (self.projector(self.encode(v)) for v in views)
        there = self.criterion(self.predictor(first), second.detach())
        return (there + self.criterion(self.predictor(second), first.detach())) / 2
