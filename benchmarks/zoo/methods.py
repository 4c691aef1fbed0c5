"""The methods of the zoo: repdiag's base objectives, the supervised control, and how each is optimized."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from benchmarks.zoo.backbone import ResNet18
from repdiag.objectives.contract import BASES, Base, Outputs
from repdiag.training.optim import drift, momentum_at


@dataclass(frozen=True)
class Recipe:
    """How a method is optimized: the learning rate at its peak, for 256 images a batch, and the weight decay.

    `momentum` is that of the slow encoder at the start, for methods that have one.
    """

    optimizer: Literal["sgd", "lars"]
    learning_rate: float
    weight_decay: float
    momentum: float | None = None


SGD = Recipe("sgd", 0.12, 5e-4)
"""What lightly's CIFAR-10 benchmark has for most objectives (0.06 for 128 images)."""
FOLLOWED = Recipe("sgd", 0.12, 5e-4, 0.99)
"""A run of the zoo is short: the papers' 0.996 and 0.999 would hold on to the untrained network for too long."""
LARS = Recipe("lars", 2.0, 1e-4)
"""For the objectives whose papers take LARS. It moves a tensor by a thousandth of its norm times the rate, whatever
the size of the batch; the papers' peaks are 1.6 to 4.8. A rate ten times lower left the loss higher and kNN lower for
each of the three after 115 small steps (width 8, batches of 64)."""

RECIPES = {
    "simclr": SGD, "moco": FOLLOWED, "byol": FOLLOWED, "simsiam": SGD, "swav": LARS, "barlow": LARS, "vicreg": LARS,
    "dino": FOLLOWED, "supervised": SGD,
}  # fmt: skip
"""The methods in the order of the table."""
RANDOM = "random"
"""The untrained backbone, which is no method: it starts like all others and stays there."""


class Method(nn.Module):
    """A backbone with the heads of one objective. The backbone alone is what is kept.

    It runs in bfloat16 on CUDA; heads and objective are small and stay in float32, where exponentials and
    correlations need it.
    """

    views: ClassVar[int] = 2

    def __init__(self, backbone: ResNet18, recipe: Recipe) -> None:
        super().__init__()
        self.backbone, self.recipe = backbone, recipe

    @abstractmethod
    def loss(self, views: Sequence[Tensor], labels: Tensor) -> Tensor:
        """The objective (a scalar) on `self.views` views (N, 3, H, W) of N images; most ignore `labels` (N,)."""

    def follow(self, progress: float) -> None:
        """Move what follows the trained networks; called after each step with the share of training done."""


class SelfSupervised(Method):
    """One of repdiag's base objectives, and the slow backbone where it asks for one."""

    def __init__(self, backbone: ResNet18, recipe: Recipe, base: Base) -> None:
        super().__init__(backbone, recipe)
        self.base = base
        self.slow_backbone = copy.deepcopy(backbone).requires_grad_(False) if recipe.momentum else None

    def loss(self, views: Sequence[Tensor], labels: Tensor) -> Tensor:
        """The base's."""
        features, slow = [encode(self.backbone, v) for v in views], []
        if self.slow_backbone is not None:
            with torch.no_grad():
                slow = [encode(self.slow_backbone, v) for v in views]
        heads = self.base.heads(features, slow)
        return self.base.loss(Outputs(tuple(features), heads, torch.arange(len(labels)), labels))

    def follow(self, progress: float) -> None:
        """The slow networks follow, ever more slowly but for MoCo's."""
        if self.slow_backbone is not None and self.recipe.momentum is not None:
            momentum = momentum_at(self.recipe.momentum, progress, self.base.constant)
            drift(self.slow_backbone, self.backbone, momentum)
            self.base.follow(momentum)


class Supervised(Method):
    """The supervised control: cross-entropy of a linear classifier on the labels, of one view of the same kind."""

    views = 1

    def __init__(self, backbone: ResNet18, recipe: Recipe, classes: int) -> None:
        super().__init__(backbone, recipe)
        self.classifier = nn.Linear(backbone.features, classes)

    def loss(self, views: Sequence[Tensor], labels: Tensor) -> Tensor:
        """Cross-entropy."""
        return nn.functional.cross_entropy(self.classifier(encode(self.backbone, views[0])), labels)


def encode(backbone: nn.Module, images: Tensor) -> Tensor:
    """Features (N, D) float32."""
    with torch.autocast(images.device.type, torch.bfloat16, enabled=images.is_cuda):
        features: Tensor = backbone(images)
    return features.float()


def make(name: str, backbone: ResNet18, classes: int) -> Method:
    """The method called `name` around `backbone`."""
    recipe = RECIPES[name]
    if name == "supervised":
        return Supervised(backbone, recipe, classes)
    return SelfSupervised(backbone, recipe, BASES.get(name)(backbone.features))
