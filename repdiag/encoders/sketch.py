"""Fingerprints of names and shapes: how a few hashes tell which architectures a checkpoint can hold.

A checkpoint is a superset of its backbone, so the k smallest hashes of an architecture's "name|shape" pairs
are a subset of the checkpoint's hashes. That is necessary, not sufficient; `part_sums` over all of them are.
"""

from __future__ import annotations

import functools
import hashlib
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

SKETCH_SIZE = 12

HEADS = frozenset({"fc", "head", "heads", "head_dist", "classifier", "linear", "last_linear"})
"""Top-level parts that may hold tensors beyond those of the headless network."""

COMPUTED = frozenset({"num_batches_tracked", "relative_position_index", "relative_coords_table", "attn_mask"})
"""Last name components of buffers that are computed, not learned: they may be there or not."""

OPTIONAL = ("num_batches_tracked",)
"""Last name components of buffers that old checkpoints lack and that do not change the features."""

Shape = tuple[int, ...]


def required(tensors: Mapping[str, torch.Tensor]) -> dict[str, Shape]:
    """Name -> shape of the tensors that an encoder cannot do without."""
    return {name: tuple(tensor.shape) for name, tensor in tensors.items() if not is_computed(name)}


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


def part_sums(shapes: Mapping[str, Shape]) -> dict[str, tuple[int, int]]:
    """For each top-level part: how many learned tensors it has, and the sum of their hashes modulo 2^64.

    Two sets of names and shapes have equal sums exactly when they are equal, but for a chance of 2^-64.
    Parts that may hold a head too are left out (`inside_heads`).
    """
    sums: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for name, shape in shapes.items():
        part = name.partition(".")[0]
        if part not in HEADS and not is_computed(name):
            count, total = sums[part]
            sums[part] = (count + 1, (total + pair_hash(name, shape)) % 2**64)
    return dict(sums)


def inside_heads(shapes: Mapping[str, Shape]) -> dict[str, Shape]:
    """The tensors that `part_sums` leaves out although the headless network needs them."""
    return {n: s for n, s in shapes.items() if n.partition(".")[0] in HEADS and not is_computed(n)}


def is_computed(name: str) -> bool:
    """Whether a tensor of that name is computed rather than learned."""
    return name.rpartition(".")[2] in COMPUTED
