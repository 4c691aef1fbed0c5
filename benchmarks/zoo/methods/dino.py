"""DINO (Caron et al. 2021): a view predicts the slow teacher's sharpened, centered distribution for the other."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Sequence

import torch
from lightly.loss import DINOLoss
from lightly.models.modules.heads import DINOProjectionHead
from torch import Tensor

from benchmarks.zoo.backbone import ResNet18
from benchmarks.zoo.methods.base import Method, drift, twin

OUTPUTS = 1024
MOMENTUM = 0.99


class DINO(Method):
    """Self-distillation on two views of full size, without small crops; the student's backbone is kept."""

    def __init__(self, backbone: ResNet18, classes: int) -> None:
        super().__init__(backbone, classes)
        build = functools.partial(
            DINOProjectionHead, backbone.features, 4 * backbone.features, 256, OUTPUTS, batch_norm=True
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch would have weight_norm done otherwise
            self.projector = build()
            self.slow_projector = twin(self.projector, build())  # weight_norm cannot be copied
        self.slow_backbone = twin(backbone)
        self.criterion = DINOLoss(OUTPUTS)

    def loss(self, views: Sequence[Tensor], labels: Tensor) -> Tensor:
        """Cross-entropy of the swapped views."""
        student = [self.projector(self.encode(v)) for v in views]
        with torch.no_grad():
            teacher = [self.slow_projector(self.encode(v, self.slow_backbone)) for v in views]
        return self.criterion(teacher, student)

    def follow(self, progress: float) -> None:
        """The teacher follows, ever more slowly."""
        pairs = [(self.backbone, self.slow_backbone), (self.projector, self.slow_projector)]
        drift(pairs, MOMENTUM, progress)
