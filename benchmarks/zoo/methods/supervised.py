"""The supervised control: cross-entropy on the labels, under the same views."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.zoo.backbone import ResNet18
from benchmarks.zoo.methods.base import Method


class Supervised(Method):
    """One view and a linear classifier."""

    views = 1

    def __init__(self, backbone: ResNet18, classes: int) -> None:
        super().__init__(backbone, classes)
        self.classifier = nn.Linear(backbone.features, classes)

    def loss(self, views: Sequence[Tensor], labels: Tensor) -> Tensor:
        """Cross-entropy."""
        return F.cross_entropy(self.classifier(self.encode(views[0])), labels)
