"""MoCo v2 (He et al., Chen et al. 2020): a view finds the other one, from a slow encoder, in a queue of others."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from lightly.loss import NTXentLoss
from lightly.models.modules.heads import MoCoProjectionHead
from lightly.models.utils import update_momentum
from torch import Tensor

from benchmarks.zoo.backbone import ResNet18
from benchmarks.zoo.methods.base import Method, twin

QUEUE = 4096
MOMENTUM = 0.99


class MoCo(Method):
    """InfoNCE against a queue, temperature 0.1; batch norm is not shuffled, which one device makes pointless."""

    def __init__(self, backbone: ResNet18, classes: int) -> None:
        super().__init__(backbone, classes)
        self.projector = MoCoProjectionHead(backbone.features, 2 * backbone.features, 128)
        self.slow_backbone, self.slow_projector = twin(backbone), twin(self.projector)
        self.criterion = NTXentLoss(temperature=0.1, memory_bank_size=(QUEUE, 128))

    def loss(self, views: Sequence[Tensor], labels: Tensor) -> Tensor:
        """InfoNCE of the first view's projection."""
        query = self.projector(self.encode(views[0]))
        with torch.no_grad():
            key = self.slow_projector(self.encode(views[1], self.slow_backbone))
        return self.criterion(query, key)

    def follow(self, progress: float) -> None:
        """The slow encoder follows at a constant momentum."""
        update_momentum(self.backbone, self.slow_backbone, MOMENTUM)
        update_momentum(self.projector, self.slow_projector, MOMENTUM)
