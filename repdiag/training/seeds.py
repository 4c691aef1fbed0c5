"""Seeds that follow from what they are for, so that a run can go on anywhere without a stored random state."""

from __future__ import annotations

import hashlib

import torch


def seed_of(*what: int | str) -> int:
    """A seed in 0 .. 2^63 - 1 for `what`, such as (run's seed, "views", step): the same for the same, else another."""
    return int.from_bytes(hashlib.sha256(repr(what).encode()).digest()[:8], "big") >> 1


def reseed(device: torch.device, seed: int) -> None:
    """Begin torch's random numbers anew, those of the CPU and of `device`.

    `torch.manual_seed` costs a third of a millisecond where CUDA is not in use: it notes the stack for later.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)
