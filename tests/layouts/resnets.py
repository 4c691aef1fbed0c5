"""Source networks of the ResNet kind: torchvision's own, changed where a project changes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from layouts.case import scrambled, uninitialized

Stem = Literal["imagenet", "cifar", "cifar with max-pooling"]

DEPTHS: dict[int, tuple[type[BasicBlock | Bottleneck], list[int]]] = {
    18: (BasicBlock, [2, 2, 2, 2]),
    34: (BasicBlock, [3, 4, 6, 3]),
    50: (Bottleneck, [3, 4, 6, 3]),
    101: (Bottleneck, [3, 4, 23, 3]),
    152: (Bottleneck, [3, 8, 36, 3]),
}


def resnet(depth: int = 18, seed: int = 0, stem: Stem = "imagenet", padding: int = 1) -> ResNet:
    """torchvision's ResNet without its head; a CIFAR stem has a 3x3 convolution of stride 1."""
    block, layers = DEPTHS[depth]
    with uninitialized():
        network = ResNet(block, layers)
        if stem != "imagenet":
            network.conv1 = nn.Conv2d(3, 64, 3, stride=1, padding=padding, bias=False)
    network.fc = nn.Identity()
    if stem == "cifar":
        network.maxpool = nn.Identity()
    scrambled(network, seed)
    return network


class Padded(nn.Module):
    """A ResNet whose stem leaves part of its padding to a layer of its own before it (SwAV, VICReg, ReSA)."""

    def __init__(self, network: ResNet, kernel_padding: int) -> None:
        super().__init__()
        padding = int(network.conv1.padding[0]) - kernel_padding
        network.conv1.padding = (kernel_padding, kernel_padding)
        self.network, self.pad = network, nn.ConstantPad2d(padding, 0.0)

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.network(self.pad(images))
        return features


class Widened(ResNet):
    """Every layer `widen` times as wide, the stem and the blocks' outputs too (SwAV, VICReg, SimCLR's w2 and w4)."""

    def __init__(self, widen: int, layers: Sequence[int]) -> None:
        super().__init__(Bottleneck, [1, 1, 1, 1])
        width = 64 * widen
        self.inplanes, self.base_width = width, 64
        self.conv1 = nn.Conv2d(3, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        for number in range(1, 5):
            stage: nn.Module = nn.Identity()
            if number <= len(layers):
                stage = self._make_layer(
                    Bottleneck, width * 2 ** (number - 1), layers[number - 1], 1 if number == 1 else 2
                )
            setattr(self, f"layer{number}", stage)
        self.fc = nn.Identity()


def widened(widen: int, layers: Sequence[int], seed: int = 0) -> Widened:
    """A scrambled `Widened`; `layers` may have fewer stages than four to stay small."""
    with uninitialized():
        network = Widened(widen, layers)
    scrambled(network, seed)
    return network


def as_sequence(network: ResNet, without: Sequence[str] = ("fc",)) -> nn.Sequential:
    """nn.Sequential(*children): names become numbers, those in `without` are left out."""
    return nn.Sequential(*(m for name, m in network.named_children() if name not in without))


class Flat(nn.Module):
    """A network that ends in (B, C, 1, 1) as (B, C)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        return torch.flatten(self.network(images), 1)
