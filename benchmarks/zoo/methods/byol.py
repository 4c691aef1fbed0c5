"""BYOL (Grill et al. 2020): a view predicts what a slow encoder makes of the other; there are no negatives."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from lightly.loss import NegativeCosineSimilarity
from lightly.models.modules.heads import BYOLPredictionHead, BYOLProjectionHead
from torch import Tensor

from benchmarks.zoo.backbone import ResNet18
from benchmarks.zoo.methods.base import Method, drift, twin

MOMENTUM = 0.99


class BYOL(Method):
    """Negative cosine to the slow projection, both ways."""

    def __init__(self, backbone: ResNet18, classes: int) -> None:
        super().__init__(backbone, classes)
        hidden = 4 * backbone.features
        self.projector = BYOLProjectionHead(backbone.features, hidden, 256)
        self.predictor = BYOLPredictionHead(256, hidden, 256)
        self.slow_backbone, self.slow_projector = twin(backbone), twin(self.projector)
        self.criterion = NegativeCosineSimilarity()

    def loss(self, views: Sequence[Tensor], labels: Tensor) -> Tensor:
        """Mean of both directions, in [-1, 1]."""
        first, second = (self.predictor(self.projector(self.encode(v))) for v in views)
        with torch.no_grad():
            targets = [self.slow_projector(self.encode(v, self.slow_backbone)) for v in views]
        return (self.criterion(first, targets[1]) + self.criterion(second, targets[0])) / 2

    def follow(self, progress: float) -> None:
        """The slow encoder follows, ever more slowly."""
        pairs = [(self.backbone, self.slow_backbone), (self.projector, self.slow_projector)]
        drift(pairs, MOMENTUM, progress)
