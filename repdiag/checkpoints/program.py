"""An exported program as a module. Importing this imports torch; nothing else here does before it must."""

from __future__ import annotations

import torch
from torch import nn


class Program(nn.Module):
    """Runs an exported program on any number of images.

    One that was exported for exactly `batch` images takes them `batch` at a time; the last, smaller portion
    is filled up with zeros whose outputs are thrown away (images do not influence each other in eval mode).
    The mode was fixed by the export, so that eval() and train() do not reach the program, which refuses them.
    """

    def __init__(self, program: nn.Module, batch: int | None) -> None:
        super().__init__()
        self.program, self.batch = program, batch
        self.training = False

    def train(self, mode: bool = True) -> Program:
        """Nothing can change any more."""
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> what the program gives, B rows of it."""
        if self.batch is None:
            whole: torch.Tensor = self.program(images)
            return whole
        outputs = []
        for part in torch.split(images, self.batch):
            lacking = self.batch - len(part)
            filled = torch.cat([part, part.new_zeros(lacking, *part.shape[1:])]) if lacking else part
            outputs.append(self.program(filled)[: len(part)])
        return torch.cat(outputs)
