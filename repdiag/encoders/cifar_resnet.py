"""ResNets with torchvision's names in any depth and width, read off a checkpoint's names and shapes.

The stem's kernel tells CIFAR networks (3x3) from ImageNet ones (7x7). What shapes cannot tell is assumed and
said: a 3x3 stem has stride 1, padding 1 and no max-pooling behind it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from repdiag.encoders.sketch import Shape


@dataclass(frozen=True)
class Block:
    """One residual block: the channels in, inside and out, the groups of its 3x3, and its shortcut's name."""

    inputs: int
    width: int
    outputs: int
    groups: int
    bottleneck: bool
    shortcut: str | None  # "downsample", "shortcut", or None where the shortcut has no weights


@dataclass(frozen=True)
class Plan:
    """What a checkpoint's tensors say about a ResNet."""

    channels: int
    kernel: int
    width: int
    stages: tuple[tuple[Block, ...], ...]

    @property
    def small_stem(self) -> bool:
        """Whether the stem is the CIFAR one."""
        return self.kernel == 3

    @property
    def name(self) -> str:
        """For instance cifar-resnet20 (basic, 16-32-64)."""
        first = self.stages[0][0]
        depth = 2 + sum(map(len, self.stages)) * (3 if first.bottleneck else 2)
        widths = "-".join(str(stage[0].width) for stage in self.stages)
        kind = "bottleneck" if first.bottleneck else "basic"
        free = any(b.shortcut is None and b.inputs != b.outputs for stage in self.stages for b in stage)
        form = f"{kind}, {widths}" + (", shortcut A" if free else "")
        return f"{'cifar-' if self.small_stem else ''}resnet{depth} ({form})"


def read_plan(prefix: str, shapes: Mapping[str, Shape]) -> Plan | None:
    """The network under `prefix`, None when what is there is no such ResNet. Nothing is verified here."""
    stem = shapes.get(prefix + "conv1.weight", ())
    if len(stem) != 4 or stem[1] not in (1, 3) or stem[2] != stem[3] or stem[2] not in (3, 7):
        return None
    counts: dict[int, int] = {}
    pattern = re.compile(re.escape(prefix) + r"layer(\d)\.(\d+)\.conv1\.weight")
    for name in shapes:
        if found := pattern.fullmatch(name):
            stage, block = int(found[1]), int(found[2])
            counts[stage] = max(counts.get(stage, 0), block + 1)
    if not 2 <= len(counts) <= 4 or sorted(counts) != list(range(1, len(counts) + 1)):
        return None
    stages = []
    for stage in sorted(counts):
        blocks = [_block(f"{prefix}layer{stage}.{i}.", shapes) for i in range(counts[stage])]
        if any(block is None for block in blocks):
            return None
        stages.append(tuple(block for block in blocks if block is not None))
    return Plan(stem[1], stem[2], stem[0], tuple(stages))


def _block(path: str, shapes: Mapping[str, Shape]) -> Block | None:
    first, second = shapes.get(path + "conv1.weight", ()), shapes.get(path + "conv2.weight", ())
    if len(first) != 4 or len(second) != 4 or not second[1] or second[0] % second[1]:
        return None
    third = shapes.get(path + "conv3.weight", ())
    outputs = third[0] if len(third) == 4 else second[0]
    names = ("downsample", "shortcut")
    shortcut = next((name for name in names if f"{path}{name}.0.weight" in shapes), None)
    if shortcut is None and outputs < first[1]:
        return None
    groups = second[0] // second[1] if third else 1
    return Block(first[1], first[0], outputs, groups, bool(third), shortcut)


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

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        stride = 1 if plan.small_stem else 2
        self.conv1 = nn.Conv2d(
            plan.channels, plan.width, plan.kernel, stride, padding=plan.kernel // 2, bias=False
        )
        self.bn1 = nn.BatchNorm2d(plan.width)
        self.maxpool = nn.Identity() if plan.small_stem else nn.MaxPool2d(3, 2, padding=1)
        self.depth = len(plan.stages)
        for number, blocks in enumerate(plan.stages, start=1):
            strides = [2 if number > 1 and i == 0 else 1 for i in range(len(blocks))]
            stage = nn.Sequential(*(Residual(b, s) for b, s in zip(blocks, strides, strict=True)))
            setattr(self, f"layer{number}", stage)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, channels, H, W) -> (B, D)."""
        x = self.maxpool(F.relu(self.bn1(self.conv1(x))))
        for number in range(1, self.depth + 1):
            x = getattr(self, f"layer{number}")(x)
        return x.mean(dim=(2, 3))
