"""The CIFAR-10 networks of the UvA deep learning tutorials, as examples of architectures of your own.

    repdiag score tutorial5__ResNet.ckpt cifar10/ --arch docs/examples/uva_tutorials.py:resnet

Their checkpoints use names that no library has. What the tensors cannot tell (strides, activations, the order of
concatenation) is written here from the tutorials' description; each factory says what its input is.
"""

from __future__ import annotations

import itertools

import torch
from torch import nn

CIFAR_MEAN, CIFAR_STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)


class Encoder(nn.Module):
    """(B, 3, 32, 32) -> (B, D); its attributes say what the images should be prepared as."""

    input_size: int = 32
    mean: tuple[float, ...] = CIFAR_MEAN
    std: tuple[float, ...] = CIFAR_STD


class ResNetBlock(nn.Module):
    """relu(convolutions(x) + x), x through a strided 1x1 convolution where the map shrinks."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        shrink = inputs != outputs
        self.net = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride=2 if shrink else 1, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.Conv2d(outputs, outputs, 3, padding=1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.downsample = nn.Conv2d(inputs, outputs, 1, stride=2) if shrink else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) -> (B, outputs, H', W')."""
        way = x if self.downsample is None else self.downsample(x)
        return torch.relu(self.net(x) + way)


class ResNet(Encoder):
    """Three stages of three blocks; 64 features behind a ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.input_net = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()
        )
        widths = [16] * 4 + [32] * 3 + [64] * 3
        self.blocks = nn.Sequential(*(ResNetBlock(a, b) for a, b in itertools.pairwise(widths)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, 32, 32) -> (B, 64)."""
        maps: torch.Tensor = self.blocks(self.input_net(x))
        return maps.mean(dim=(2, 3))


GROWTH, NARROW = 16, 32


class DenseLayer(nn.Module):
    """Adds GROWTH new channels before those that are there."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.ReLU(),
            nn.Conv2d(inputs, NARROW, 1, bias=False),
            nn.BatchNorm2d(NARROW),
            nn.ReLU(),
            nn.Conv2d(NARROW, GROWTH, 3, padding=1, bias=False),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) -> (B, inputs + GROWTH, H, W)."""
        return torch.cat([self.net(x), x], dim=1)


class DenseBlock(nn.Module):
    """Six dense layers."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.block = nn.Sequential(*(DenseLayer(inputs + i * GROWTH) for i in range(6)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) -> (B, inputs + 6 GROWTH, H, W)."""
        maps: torch.Tensor = self.block(x)
        return maps


class Transition(nn.Module):
    """Halves channels and sides."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.transition = nn.Sequential(
            nn.BatchNorm2d(inputs), nn.ReLU(), nn.Conv2d(inputs, inputs // 2, 1, bias=False), nn.AvgPool2d(2)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) -> (B, inputs / 2, H / 2, W / 2)."""
        maps: torch.Tensor = self.transition(x)
        return maps


class DenseNet(Encoder):
    """Four dense blocks; 184 features behind a batch norm and a ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.input_net = nn.Sequential(nn.Conv2d(3, NARROW, 3, padding=1))
        blocks: list[nn.Module] = []
        channels = NARROW
        for number in range(4):
            blocks.append(DenseBlock(channels))
            channels += 6 * GROWTH
            if number < 3:
                blocks.append(Transition(channels))
                channels //= 2
        self.blocks = nn.Sequential(*blocks)
        self.output_net = nn.Sequential(nn.BatchNorm2d(channels), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, 32, 32) -> (B, 184)."""
        maps: torch.Tensor = self.output_net(self.blocks(self.input_net(x)))
        return maps.mean(dim=(2, 3))


class Autoencoder(Encoder):
    """The encoder half: five convolutions with GELU, then a linear map to the latent space, which is signed."""

    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)

    def __init__(self, latent: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs, stride in ((3, 32, 2), (32, 32, 1), (32, 64, 2), (64, 64, 1), (64, 64, 2)):
            layers += [nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1), nn.GELU()]
        self.net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * 4 * 4, latent))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, 3, 32, 32) -> (B, latent)."""
        features: torch.Tensor = self.net(x)
        return features


def resnet() -> nn.Module:
    """tutorial5__ResNet.ckpt."""
    return ResNet()


def densenet() -> nn.Module:
    """tutorial5__DenseNet.ckpt."""
    return DenseNet()


def autoencoder_64() -> nn.Module:
    """tutorial9__cifar10_64.ckpt."""
    return Autoencoder(64)


def autoencoder_256() -> nn.Module:
    """tutorial9__cifar10_256.ckpt."""
    return Autoencoder(256)
