"""DSA as its released code has it (C), to see what becomes of it: for training use `repdiag.objectives.dsa`.

What is kept on purpose: M of the "cross-view" blocks 01 and 10 is computed from one view (z_i and z_j of the anchor's
view), M depends on the order of the pair, a positive pair is one like any other, and L_w's gradient reaches M. In the
difference variant (the code's default) every input is divided by its sum over all N^2 pairs, so that the module hardly
sees it, and rows of M have the sum 1 or 0: M is 1/N or 0 wherever one looks. In the concatenated variant M is a ReLU
without upper limit, which L_w alone drives to 0. With the prior's term beside it, on the features of two encoders
(CIFAR-10, 40 steps of SGD at 0.03, three draws each), it died as well in all six trials with N = 256; with N = 64 its
mean was 0.1 to 0.25. Where M stays below 1/2 every pair repels.

What differs from the code (O), whose step cannot run: no loop over samples or neighbors, the L_w sum in the log
domain, eta at most N - 1, and reference features of the start encoder, not of a supervised ResNet-18 (with a stem of
random weights); the anchor scores come from those of the first view, not of the clean image.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from repdiag.objectives.dsa import confirmed

PAIR_UNITS = 2**24
"""Hidden units of pairs that are in memory at once (64 MB); the backward pass computes them again, part by part."""


def literal_scores(r: Tensor, eta: int, m: int) -> Tensor:
    """s (N,) of unit reference features (N, R), as `dsa.anchor_scores`, but for what is left out.

    It is the first of the eta + 1 nearest, which is the image itself unless another one is exactly as near.
    """
    with torch.no_grad():
        eta = min(eta, len(r) - 1)
        if eta < 1:
            return torch.zeros_like(r[:, 0])
        return confirmed((r @ r.T).topk(eta + 1).indices[:, 1:], m, r.dtype)


def absolute_sums(x: Tensor) -> Tensor:
    """sum_ij |x_ip - x_jp| (P,) of x (N, P), by sorting: no pair is made."""
    n = len(x)
    ranks = torch.arange(n, dtype=x.dtype, device=x.device)
    return 2 * ((2 * ranks - n + 1)[:, None] * x.sort(0).values).sum(0)


class LiteralArranging(nn.Module):
    """M (N, N) from raw projections (N, P) of one view, by a network of two layers with ReLU after each (C).

    "difference": its input is z_i - z_j, each of the P coordinates divided by its L1 norm over all pairs; rows of the
    output are divided by their L1 norm. "concatenated": its input is (z_i, z_j), its output stays as it is.
    The first layer is computed for each image, not for each pair, which is the same.
    """

    def __init__(self, width: int, hidden: int, variant: str) -> None:
        super().__init__()
        self.difference = variant == "difference"
        self.first = nn.Linear(width if self.difference else 2 * width, hidden)
        self.second = nn.Linear(hidden, 1)

    def forward(self, z: Tensor) -> Tensor:
        """M, not symmetric, from 0."""
        if self.difference:
            left = nn.functional.linear(z / absolute_sums(z).clamp_min(1e-12), self.first.weight)
            right = -left
        else:
            one, other = self.first.weight.chunk(2, 1)
            left, right = nn.functional.linear(z, one), nn.functional.linear(z, other)
        rows = max(1, PAIR_UNITS // right.numel())
        parts = [
            self._pairs(part, right)
            if rows >= len(z)
            else checkpoint(self._pairs, part, right, use_reentrant=False)
            for part in torch.split(left + self.first.bias, rows)
        ]
        m = torch.cat(parts)
        return nn.functional.normalize(m, p=1, dim=1) if self.difference else m

    def _pairs(self, left: Tensor, right: Tensor) -> Tensor:
        return torch.relu(self.second(torch.relu(left[:, None] + right))[..., 0])


def literal_blocks(first: Tensor, second: Tensor) -> Tensor:
    """M (2N, 2N) of both views' own (N, N): the block 01 is that of 00, and 10 that of 11."""
    return torch.cat([first.repeat(1, 2), second.repeat(1, 2)])
