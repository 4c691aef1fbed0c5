"""Fingerprints of names and shapes: how a few hashes tell which architectures a checkpoint can hold.

A checkpoint is a superset of its backbone, so the k smallest hashes of an architecture's "name|shape" pairs
are a subset of the checkpoint's hashes. That is necessary, not sufficient; candidates are verified by
building them.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping

import torch

SKETCH_SIZE = 12

OPTIONAL = ("num_batches_tracked",)
"""Last name components of buffers that old checkpoints lack and that do not change the features."""

Shape = tuple[int, ...]


def required(tensors: Mapping[str, torch.Tensor]) -> dict[str, Shape]:
    """Name -> shape of the tensors that an encoder cannot do without."""
    return {k: tuple(v.shape) for k, v in tensors.items() if k.rpartition(".")[2] not in OPTIONAL}


@functools.cache
def pair_hash(name: str, shape: Shape) -> int:
    """64 bits of "name|shape"."""
    text = f"{name}|{','.join(map(str, shape))}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def sketch(shapes: Mapping[str, Shape]) -> list[int]:
    """The smallest hashes, in ascending order."""
    return sorted(pair_hash(name, shape) for name, shape in shapes.items())[:SKETCH_SIZE]


def tensors_digest(shapes: Mapping[str, Shape]) -> str:
    """Equal for two architectures exactly when they have the same names and shapes."""
    lines = "\n".join(sorted(f"{name}|{shape}" for name, shape in shapes.items()))
    return hashlib.blake2b(lines.encode(), digest_size=8).hexdigest()
