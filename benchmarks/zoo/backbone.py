"""The encoder that every method of the zoo trains: a narrow ResNet-18 for images of 32 pixels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock

from repdiag.encoders.input import IMAGENET_MEAN, IMAGENET_STD

SIZE = 32
HINTS = {"stem_padding": 1, "max_pool": False}
"""What no shape of the weights tells, for `repdiag` to read."""

PREPROCESSING: dict[str, Any] = {
    "size": SIZE,
    "resize": SIZE,
    "interpolation": "bilinear",
    "mean": list(IMAGENET_MEAN),
    "std": list(IMAGENET_STD),
    "channels": 3,
}
"""What the encoders expect of an image; stored beside their weights."""


class ResNet18(nn.Module):
    """Images (N, 3, H, W) -> non-negative features (N, 8 * width), under torchvision's parameter names.

    3x3 stem of stride 1 without a max-pool, then 2-2-2-2 basic blocks of 1, 2, 4 and 8 times `width` channels.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.features = 8 * width
        self.conv1 = nn.Conv2d(3, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = _layer(width, width, 1)
        self.layer2 = _layer(width, 2 * width, 2)
        self.layer3 = _layer(2 * width, 4 * width, 2)
        self.layer4 = _layer(4 * width, 8 * width, 2)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Features: the last block's ReLU, averaged over the places."""
        x = torch.relu(self.bn1(self.conv1(x)))
        return self.layer4(self.layer3(self.layer2(self.layer1(x)))).mean(dim=(2, 3))


def _layer(c_in: int, c_out: int, stride: int) -> nn.Sequential:
    downsample = None
    if stride != 1 or c_in != c_out:
        downsample = nn.Sequential(nn.Conv2d(c_in, c_out, 1, stride, bias=False), nn.BatchNorm2d(c_out))
    return nn.Sequential(BasicBlock(c_in, c_out, stride, downsample), BasicBlock(c_out, c_out))


def normalize(images: Tensor) -> Tensor:
    """(N, 3, H, W) in [0, 1] -> the network's input, as PREPROCESSING says."""
    mean, std = (images.new_tensor(PREPROCESSING[name]).view(3, 1, 1) for name in ("mean", "std"))
    return ((images - mean) / std).contiguous(memory_format=torch.channels_last)
