"""Rows of unit length, with gradients that stay finite."""

from __future__ import annotations

import torch
from torch import Tensor


def computing(x: Tensor) -> Tensor:
    """`x` in float32 where it came in half precision or bfloat16, else as it is."""
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def unit(x: Tensor) -> Tensor:
    """u_i = x_i / ||x_i||_2 of `x` (N, D), in float32 or wider; rows of norm 0 stay 0.

    Unlike `torch.nn.functional.normalize`, which passes 1e12 times the gradient to a zero row, a zero row here gets
    the gradient of the identity. Norms below about 1e-19 (float32) underflow to 0.
    """
    x = computing(x)
    length = torch.linalg.vector_norm(x, dim=1, keepdim=True)
    return x / torch.where(length > 0, length, 1)
