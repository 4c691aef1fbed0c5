"""The Conv-4 encoder of few-shot learning, as an example of an architecture of your own.

    repdiag score checkpoint.pth.tar images/ --arch docs/examples/conv4.py:conv4

A factory takes no arguments and returns a `torch.nn.Module` whose output is (B, D), or (B, C, H, W) which is
then averaged over the image. Its parameters' names must be those of the checkpoint, up to a common prefix.
What it says about its input in plain attributes (`input_size`, `resize`, `mean`, `std`) is used.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

CHANNELS = 64
BLOCKS = 4


class Conv4(nn.Sequential):
    """(B, 3, 84, 84) images -> (B, 1600) non-negative features: four blocks, then flatten."""

    input_size: int = 84
    resize: int = 84
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)  # the images stay in [0, 1]
    std: tuple[float, ...] = (1.0, 1.0, 1.0)

    def __init__(self, block: Callable[[int], nn.Module], channels: int = 3) -> None:
        super().__init__(*(block(channels if i == 0 else CHANNELS) for i in range(BLOCKS)))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, channels, H, W) -> (B, 64 (H/16) (W/16))."""
        for block in self:
            images = block(images)
        return torch.flatten(images, start_dim=1)


def layers(channels: int) -> tuple[nn.Module, ...]:
    """A block's convolution, batch norm, ReLU and max-pooling."""
    convolution = nn.Conv2d(channels, CHANNELS, kernel_size=3, padding=1)
    return convolution, nn.BatchNorm2d(CHANNELS), nn.ReLU(), nn.MaxPool2d(2)


def conv4() -> nn.Module:
    """For RGB images without normalization; parameters are called 0.0.weight (block, layer), ..."""
    return Conv4(lambda channels: nn.Sequential(*layers(channels)))


class Inverted(Conv4):
    """Sees the negative of its images: the training turned Omniglot's dark strokes on white into bright on dark."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, channels, H, W) in [0, 1] -> (B, 64 (H/16) (W/16))."""
        return super().forward(1 - images)


def conv4_omniglot() -> nn.Module:
    """For gray 28x28 images as Omniglot has them (dark strokes on white): 64 features."""
    network = Inverted(lambda channels: nn.Sequential(*layers(channels)), channels=1)
    network.input_size = network.resize = 28
    network.mean, network.std = (0.0,), (1.0,)
    return network


class NamedBlock(nn.Module):
    """A block whose layers are called `C` and `BN`."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.C, self.BN, self.relu, self.pool = layers(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, channels, H, W) -> (B, 64, H/2, W/2)."""
        y: torch.Tensor = self.pool(self.relu(self.BN(self.C(x))))
        return y


def conv4_imagenet_norm() -> nn.Module:
    """For RGB images resized to 96, cropped to 84 and normalized as ImageNet; parameters 0.C.weight, ..."""
    network = Conv4(NamedBlock)
    network.resize = 96
    network.mean, network.std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    return network
