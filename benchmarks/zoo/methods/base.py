"""What the loop asks of a method: an objective on views, and who follows whom."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeVar

import torch
from lightly.models.utils import deactivate_requires_grad, update_momentum
from lightly.utils.scheduler import cosine_schedule
from torch import Tensor, nn

from benchmarks.zoo.backbone import ResNet18

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True)
class Recipe:
    """How a method is optimized: the learning rate at its peak, for 256 images a batch, and the weight decay."""

    optimizer: Literal["sgd", "lars"]
    learning_rate: float
    weight_decay: float


SGD = Recipe("sgd", 0.12, 5e-4)
"""What lightly's CIFAR-10 benchmark has for most objectives (0.06 for 128 images)."""
LARS = Recipe("lars", 2.0, 1e-4)
"""For the objectives whose papers take LARS. It moves a tensor by a thousandth of its norm times the rate, whatever
the size of the batch; the papers' peaks are 1.6 to 4.8. A rate ten times lower left the loss higher and kNN lower for
each of the three after 115 small steps (width 8, batches of 64)."""


class Method(nn.Module):
    """A backbone with the heads of one objective. The backbone alone is what is kept.

    It runs in bfloat16 on CUDA; heads and objective are small and stay in float32, where exponentials and
    correlations need it.
    """

    views: ClassVar[int] = 2
    recipe: ClassVar[Recipe] = SGD

    def __init__(self, backbone: ResNet18, classes: int) -> None:
        super().__init__()
        self.backbone = backbone

    @abstractmethod
    def loss(self, views: Sequence[Tensor], labels: Tensor) -> Tensor:
        """The objective (a scalar) on `self.views` views (N, 3, H, W) of N images; most ignore `labels` (N,)."""

    def follow(self, progress: float) -> None:
        """Move what follows the trained networks; called after each step with the share of training done."""

    def encode(self, images: Tensor, backbone: nn.Module | None = None) -> Tensor:
        """Features (N, D) float32, by the trained backbone or another."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=images.is_cuda):
            features: Tensor = (backbone or self.backbone)(images)
        return features.float()


def twin(network: Network, empty: Network | None = None) -> Network:
    """A copy that gets no gradients, only what `drift` gives it; `empty` takes the weights of one not copyable."""
    if empty is None:
        empty = copy.deepcopy(network)
    empty.load_state_dict(network.state_dict())
    deactivate_requires_grad(empty)
    return empty


def drift(pairs: Sequence[tuple[nn.Module, nn.Module]], start: float, progress: float) -> None:
    """Move the second of each pair towards the first, with a momentum from `start` to 1 along a cosine."""
    momentum = cosine_schedule(round(progress * 10_000), 10_001, start, 1.0)
    for online, follower in pairs:
        update_momentum(online, follower, momentum)
