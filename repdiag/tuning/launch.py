"""Joining the other processes that torchrun started, where it did."""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Iterator

import torch
import torch.distributed as dist

from repdiag.errors import UsageError

PATIENCE = datetime.timedelta(hours=12)
"""How long a process waits for the others: one of them may be writing a state to a slow disk."""


def local_rank() -> int:
    """This process's number on its machine."""
    return int(os.environ.get("LOCAL_RANK", "0"))


@contextlib.contextmanager
def joined(device: str) -> Iterator[None]:
    """Inside the block the processes that torchrun started (WORLD_SIZE > 1) train as one; alone nothing happens.

    nccl where `device` is CUDA, gloo elsewhere. Raises UsageError when they cannot find each other.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or dist.is_initialized():
        yield
        return
    cuda = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    if cuda:
        torch.cuda.set_device(local_rank())
    try:
        dist.init_process_group("nccl" if cuda else "gloo", timeout=PATIENCE)
    except (RuntimeError, ValueError) as error:
        raise UsageError(
            f"The processes cannot find each other: {str(error).splitlines()[0][:200]}",
            do="Start them with torchrun",
        ) from error
    try:
        yield
    finally:
        dist.destroy_process_group()
