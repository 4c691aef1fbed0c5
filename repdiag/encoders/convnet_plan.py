"""The plain convolutional encoders of few-shot learning (Conv-4), read off a checkpoint's names and shapes.

A chain of blocks, each a 3x3 convolution and a batch norm; the ReLU and the 2x2 max-pool behind them, and that
the last map is flattened, have no tensors and are taken from the literature's common form, and said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from repdiag.encoders.hints import Hints
from repdiag.encoders.sketch import Shape

if TYPE_CHECKING:
    from torch import nn

ANCHORS = ("0.0.weight", "0.C.weight")
NAMINGS = (("0", "1"), ("C", "BN"))
"""What the convolution and the batch norm inside a block are called."""
COPIES = {("C", "BN"): "trunk"}
"""Blocks that hold their layers once more, in a Sequential of that name (the closer-look-at-few-shot code)."""
NORM = ("weight", "bias", "running_mean", "running_var")
MAX_BLOCKS = 16
SIZES = {3: 84, 1: 28}  # mini-ImageNet and Omniglot, by the number of channels


@dataclass(frozen=True)
class ConvNetPlan:
    """What a checkpoint's tensors say about a chain of blocks; `widths` are the channels, the input's first."""

    widths: tuple[int, ...]
    naming: tuple[str, str]
    copied: bool
    bias: bool

    @property
    def name(self) -> str:
        """For instance conv4 (64-64-64-64)."""
        return f"conv{len(self.widths) - 1} ({'-'.join(map(str, self.widths[1:]))})"

    @property
    def dim(self) -> int:
        """The flattened map's size for the usual image."""
        side = SIZES[self.widths[0]] >> (len(self.widths) - 1)
        return self.widths[-1] * side**2

    @property
    def input(self) -> Mapping[str, Any]:
        """The image size of few-shot learning's data sets; mean and std are a guess."""
        size = SIZES[self.widths[0]]
        origin = f"assumed for a few-shot ConvNet: {size}x{size} pixels, ImageNet's mean and std"
        return {"size": size, "resize": size, "channels": self.widths[0], "origin": origin}

    @property
    def readings(self) -> tuple[str, ...]:
        """Nothing in a file speaks of what is assumed here."""
        return ()

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What has no tensors."""
        return (
            "a ReLU and a 2x2 max-pool behind every convolution, and a flattened last map, are assumed as few-shot"
            " learning has them (--pool gap averages the map; another form: --arch FILE.py:FACTORY)",
        )

    @property
    def heeds(self) -> frozenset[str]:
        """No option."""
        return frozenset()

    @property
    def usual(self) -> bool:
        """There is one form only."""
        return True

    def block(self, number: int) -> dict[str, Shape]:
        """Name -> shape inside block `number`."""
        inputs, outputs = self.widths[number : number + 2]
        names = [self.naming]
        if self.copied:
            names.append((f"{COPIES[self.naming]}.0", f"{COPIES[self.naming]}.1"))
        found: dict[str, Shape] = {}
        for convolution, norm in names:
            found[f"{convolution}.weight"] = (outputs, inputs, 3, 3)
            if self.bias:
                found[f"{convolution}.bias"] = (outputs,)
            found |= {f"{norm}.{part}": (outputs,) for part in NORM}
        return found

    def shapes(self) -> dict[str, Shape]:
        """Name -> shape of every learned tensor."""
        return {
            f"{number}.{name}": shape
            for number in range(len(self.widths) - 1)
            for name, shape in self.block(number).items()
        }

    def build(self) -> nn.Module:
        """The network: (B, channels, H, W) -> (B, D)."""
        from repdiag.encoders.convnet import ConvNet

        return ConvNet(self)


def read(prefix: str, shapes: Mapping[str, Shape], hints: Hints) -> ConvNetPlan | None:
    """The network under `prefix`, None when what is there is no such chain. Nothing is verified here."""
    for naming in NAMINGS:
        widths: list[int] = []
        for number in range(MAX_BLOCKS):
            shape = shapes.get(f"{prefix}{number}.{naming[0]}.weight", ())
            norm = shapes.get(f"{prefix}{number}.{naming[1]}.running_mean", ())
            if (
                len(shape) != 4
                or shape[2:] != (3, 3)
                or norm != shape[:1]
                or (widths and shape[1] != widths[-1])
            ):
                break
            widths += [shape[0]] if widths else [shape[1], shape[0]]
        if len(widths) < 3 or widths[0] not in SIZES:
            continue
        copied = naming in COPIES and f"{prefix}0.{COPIES[naming]}.0.weight" in shapes
        return ConvNetPlan(tuple(widths), naming, copied, f"{prefix}0.{naming[0]}.bias" in shapes)
    return None
