"""Few-shot learning's ConvNets, built as a `ConvNetPlan` says."""

from __future__ import annotations

import torch
from torch import nn

from repdiag.encoders.convnet_plan import COPIES, ConvNetPlan


class ConvBlock(nn.Module):
    """Convolution, batch norm, ReLU and 2x2 max-pool, under the names of the checkpoint."""

    def __init__(self, plan: ConvNetPlan, number: int) -> None:
        super().__init__()
        inputs, outputs = plan.widths[number : number + 2]
        convolution = nn.Conv2d(inputs, outputs, 3, padding=1, bias=plan.bias)
        norm = nn.BatchNorm2d(outputs)
        self.add_module(plan.naming[0], convolution)
        self.add_module(plan.naming[1], norm)
        self.layers = plan.naming
        if plan.copied:  # the same layers under both names, as the checkpoint has them
            self.add_module(COPIES[plan.naming], nn.Sequential(convolution, norm))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, inputs, H, W) -> (B, outputs, H/2, W/2)."""
        for name in self.layers:
            x = self.get_submodule(name)(x)
        return nn.functional.max_pool2d(nn.functional.relu(x), 2)


class ConvNet(nn.Sequential):
    """(B, channels, H, W) -> (B, D): all blocks, then the map flattened."""

    def __init__(self, plan: ConvNetPlan) -> None:
        super().__init__(*(ConvBlock(plan, number) for number in range(len(plan.widths) - 1)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, channels, H, W) -> (B, C H' W')."""
        for block in self:
            x = block(x)
        return torch.flatten(x, start_dim=1)
