"""SwAV (Caron et al. 2020): a view predicts to which prototypes the other one is assigned."""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from lightly.loss import SwaVLoss
from lightly.models.modules.heads import SwaVProjectionHead, SwaVPrototypes
from torch import Tensor

from benchmarks.zoo.backbone import ResNet18
from benchmarks.zoo.methods.base import LARS, Method

PROTOTYPES = 256


class SwAV(Method):
    """Swapped assignments by Sinkhorn; two views of full size only, and no queue."""

    recipe = LARS

    def __init__(self, backbone: ResNet18, classes: int) -> None:
        super().__init__(backbone, classes)
        self.projector = SwaVProjectionHead(backbone.features, 2 * backbone.features, 128)
        self.prototypes = SwaVPrototypes(128, PROTOTYPES)
        self.criterion = SwaVLoss()

    def loss(self, views: Sequence[Tensor], labels: Tensor) -> Tensor:
        """Cross-entropy of the swapped assignments; the prototypes are brought back to unit length first."""
        self.prototypes.normalize()
        near = [self.prototypes(F.normalize(self.projector(self.encode(v)))) for v in views]
        return self.criterion(near, []).squeeze()
