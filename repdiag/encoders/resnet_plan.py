"""ResNets with torchvision's names in any depth and width, read off a checkpoint's names and shapes.

The stem's kernel tells CIFAR networks (3x3, stride 1) from ImageNet ones (7x7, stride 2). How a 3x3 stem is
padded, and whether a max-pool follows it, no shape can tell: `Hints` may; else padding 1 and no max-pool are
assumed, and said.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from repdiag.encoders.hints import Hint, Hints
from repdiag.encoders.sketch import Shape

if TYPE_CHECKING:
    from torch import nn

ANCHOR = "conv1.weight"
NORM = ("weight", "bias", "running_mean", "running_var")


@dataclass(frozen=True)
class Block:
    """One residual block: the channels in, inside and out, the groups of its 3x3, and its shortcut's name."""

    inputs: int
    width: int
    outputs: int
    groups: int
    bottleneck: bool
    shortcut: str | None  # "downsample", "shortcut", or None where the shortcut has no weights

    def convolutions(self) -> list[Shape]:
        """The shapes of conv1, conv2 and, in a bottleneck, conv3."""
        if self.bottleneck:
            inner = (self.width, self.width // self.groups, 3, 3)
            return [(self.width, self.inputs, 1, 1), inner, (self.outputs, self.width, 1, 1)]
        return [(self.width, self.inputs, 3, 3), (self.width, self.width, 3, 3)]

    def shapes(self) -> dict[str, Shape]:
        """Name -> shape of its learned tensors."""
        found: dict[str, Shape] = {}
        for number, shape in enumerate(self.convolutions(), start=1):
            found[f"conv{number}.weight"] = shape
            found |= {f"bn{number}.{part}": (shape[0],) for part in NORM}
        if self.shortcut is not None:
            found[f"{self.shortcut}.0.weight"] = (self.outputs, self.inputs, 1, 1)
            found |= {f"{self.shortcut}.1.{part}": (self.outputs,) for part in NORM}
        return found


@dataclass(frozen=True)
class ResNetPlan:
    """What a checkpoint's tensors say about a ResNet."""

    channels: int
    kernel: int
    width: int
    stages: tuple[tuple[Block, ...], ...]
    padding: int
    max_pool: bool
    stem_relu: bool = True
    readings: tuple[str, ...] = field(default=(), compare=False)
    assumptions: tuple[str, ...] = field(default=(), compare=False)

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
        free = any(b.shortcut is None and b.inputs != b.outputs for stage in self.stages for b in stage)
        notes = ["bottleneck" if first.bottleneck else "basic", widths]
        notes += ["shortcut A"] * free
        notes += [f"stem padding {self.padding}"] * (self.padding != self.kernel // 2)
        notes += ["max-pool" if self.max_pool else "no max-pool"] * (self.max_pool == self.small_stem)
        notes += ["no ReLU in the stem"] * (not self.stem_relu)
        return f"{'cifar-' if self.small_stem else ''}resnet{depth} ({', '.join(notes)})"

    @property
    def heeds(self) -> frozenset[str]:
        """The options that say what shapes cannot."""
        return frozenset({"--stem-padding", "--max-pool"})

    @property
    def usual(self) -> bool:
        """Whether the stem is as the kernel makes one expect."""
        return self.padding == self.kernel // 2 and self.max_pool != self.small_stem and self.stem_relu

    @property
    def dim(self) -> int:
        """The channels of the last stage."""
        return self.stages[-1][-1].outputs

    @property
    def input(self) -> Mapping[str, Any]:
        """CIFAR's or ImageNet's image size; mean and std are a guess."""
        size, resize = (32, 32) if self.small_stem else (224, 256)
        kind = (
            "CIFAR-stem ResNet: 32x32 pixels" if self.small_stem else "ResNet with a 7x7 stem: 224x224 pixels"
        )
        origin = f"assumed for a {kind}, ImageNet's mean and std"
        return {"size": size, "resize": resize, "channels": self.channels, "origin": origin}

    def shapes(self) -> dict[str, Shape]:
        """Name -> shape of every learned tensor."""
        found: dict[str, Shape] = {"conv1.weight": (self.width, self.channels, self.kernel, self.kernel)}
        found |= {f"bn1.{part}": (self.width,) for part in NORM}
        for stage, blocks in enumerate(self.stages, start=1):
            for number, block in enumerate(blocks):
                found |= {f"layer{stage}.{number}.{n}": s for n, s in block.shapes().items()}
        return found

    def build(self) -> nn.Module:
        """The network: (B, channels, H, W) -> (B, dim)."""
        from repdiag.encoders.resnet import ResNet

        return ResNet(self)


def read(prefix: str, shapes: Mapping[str, Shape], hints: Hints) -> ResNetPlan | None:
    """The network under `prefix`, None when what is there is no such ResNet. Nothing is verified here."""
    stem = shapes.get(prefix + ANCHOR, ())
    if len(stem) != 4 or stem[1] not in (1, 3) or stem[2] != stem[3] or stem[2] not in (3, 7):
        return None
    counts: dict[int, int] = {}
    pattern = re.compile(re.escape(prefix) + r"layer(\d)\.(\d+)\.conv1\.weight")
    for name in shapes:
        if found := pattern.fullmatch(name):
            stage, block = int(found[1]), int(found[2])
            counts[stage] = max(counts.get(stage, 0), block + 1)
    if (
        not 2 <= len(counts) <= 4
        or sorted(counts) != list(range(1, len(counts) + 1))
        or max(counts.values()) > 256
    ):
        return None
    stages = []
    for stage in sorted(counts):
        blocks = [_block(f"{prefix}layer{stage}.{i}.", shapes) for i in range(counts[stage])]
        if any(block is None for block in blocks):
            return None
        stages.append(tuple(block for block in blocks if block is not None))
    padding, max_pool, readings, assumptions = _stem(stem[2], hints)
    relu = hints.stem_relu or Hint(True, "")
    if not relu.value:
        readings += (f"no ReLU in the stem: {relu.because}",)
    return ResNetPlan(
        stem[1], stem[2], stem[0], tuple(stages), padding, max_pool, bool(relu.value), readings, assumptions
    )


def _stem(kernel: int, hints: Hints) -> tuple[int, bool, tuple[str, ...], tuple[str, ...]]:
    """Padding and max-pool with what is to be said about them."""
    padding = _for(kernel, hints.stem_padding) or Hint(kernel // 2, "")
    pool = _for(kernel, hints.max_pool) or Hint(kernel == 7, "")
    settings = {
        "--stem-padding": (padding, f"padding {padding.value} of the {kernel}x{kernel} stem"),
        "--max-pool/--no-max-pool": (pool, f"{'a' if pool.value else 'no'} max-pool behind the stem"),
    }
    said = tuple(f"{what}: {hint.because}" for hint, what in settings.values() if hint.because)
    left = [(option, what) for option, (hint, what) in settings.items() if not hint.because]
    if kernel == 7 or not left:  # a 7x7 stem has one usual form
        return int(padding.value), bool(pool.value), said, ()
    assumed = " and ".join(what for _, what in left)
    options = ", ".join(option for option, _ in left)
    sentence = (
        f"{assumed} are assumed, which shapes cannot tell; set {options} if the training had it otherwise"
    )
    return int(padding.value), bool(pool.value), said, (sentence,)


def _for(kernel: int, hint: Hint | None) -> Hint | None:
    return None if hint is None or hint.kernel not in (None, kernel) else hint


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
