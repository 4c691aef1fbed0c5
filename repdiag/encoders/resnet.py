"""ResNets with torchvision's names, built as a `ResNetPlan` says."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from repdiag.encoders.resnet_plan import Block, ResNetPlan


class FreeShortcut(nn.Module):
    """Shortcut A of the ResNet paper: every second pixel, and zero channels before and behind.

    Half of the new channels go to each side, as akamaster's networks have it.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.before = (outputs - inputs) // 2
        self.behind = outputs - inputs - self.before
        self.stride = stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) -> (B, outputs, H/stride, W/stride)."""
        x = x[:, :, :: self.stride, :: self.stride]
        return F.pad(x, (0, 0, 0, 0, self.before, self.behind))


class Residual(nn.Module):
    """relu(convolutions(x) + shortcut(x)), under torchvision's names."""

    def __init__(self, block: Block, stride: int) -> None:
        super().__init__()
        convolution = _three if not block.bottleneck else _one
        self.conv1 = convolution(block.inputs, block.width, 1 if block.bottleneck else stride)
        self.bn1 = nn.BatchNorm2d(block.width)
        self.conv2 = _three(block.width, block.width, stride if block.bottleneck else 1, block.groups)
        self.bn2 = nn.BatchNorm2d(block.width)
        if block.bottleneck:
            self.conv3 = _one(block.width, block.outputs, 1)
            self.bn3 = nn.BatchNorm2d(block.outputs)
        self.bottleneck = block.bottleneck
        self.way = block.shortcut or "downsample"
        setattr(self, self.way, _shortcut(block, stride))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) -> (B, outputs, H/stride, W/stride)."""
        y = F.relu(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        if self.bottleneck:
            y = self.bn3(self.conv3(F.relu(y)))
        shortcut: torch.Tensor = getattr(self, self.way)(x)
        return F.relu(y + shortcut)


def _three(inputs: int, outputs: int, stride: int, groups: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, stride, padding=1, groups=groups, bias=False)


def _one(inputs: int, outputs: int, stride: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 1, stride, bias=False)


def _shortcut(block: Block, stride: int) -> nn.Module:
    if block.shortcut is not None:
        return nn.Sequential(_one(block.inputs, block.outputs, stride), nn.BatchNorm2d(block.outputs))
    if stride == 1 and block.inputs == block.outputs:
        return nn.Identity()
    return FreeShortcut(block.inputs, block.outputs, stride)


class ResNet(nn.Module):
    """(B, channels, H, W) -> (B, D): the last stage after its ReLU, averaged over the image."""

    def __init__(self, plan: ResNetPlan) -> None:
        super().__init__()
        stride = 1 if plan.small_stem else 2
        self.conv1 = nn.Conv2d(
            plan.channels, plan.width, plan.kernel, stride, padding=plan.padding, bias=False
        )
        self.bn1 = nn.BatchNorm2d(plan.width)
        self.relu = nn.ReLU() if plan.stem_relu else nn.Identity()
        self.maxpool = nn.MaxPool2d(3, 2, padding=1) if plan.max_pool else nn.Identity()
        self.depth = len(plan.stages)
        for number, blocks in enumerate(plan.stages, start=1):
            strides = [2 if number > 1 and i == 0 else 1 for i in range(len(blocks))]
            stage = nn.Sequential(*(Residual(b, s) for b, s in zip(blocks, strides, strict=True)))
            setattr(self, f"layer{number}", stage)
        self.avgpool = nn.AdaptiveAvgPool2d(1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, channels, H, W) -> (B, D)."""
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        for number in range(1, self.depth + 1):
            x = getattr(self, f"layer{number}")(x)
        pooled: torch.Tensor = self.avgpool(x).flatten(1)
        return pooled
