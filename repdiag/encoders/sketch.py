"""Fingerprints of names and shapes: how a few hashes tell which architectures a checkpoint can hold.

A checkpoint is a superset of its backbone, so the k smallest hashes of an architecture's "name|shape" pairs
are a subset of the checkpoint's hashes. That is necessary, not sufficient; candidates are verified by
building them.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping

import torch
from torch import nn

SKETCH_SIZE = 12

OPTIONAL = ("num_batches_tracked",)
"""Last name components of buffers that old checkpoints lack and that do not change the features."""

_STATE = ("training", "drop_prob", "p", "num_classes", "grad_checkpointing", "inplace", "momentum")
"""Attributes of modules that change nothing at inference, without a head."""

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


def digest(parts: Iterable[str]) -> str:
    """64 bits of a list of strings, in hexadecimal."""
    return hashlib.blake2b("\n".join(parts).encode(), digest_size=8).hexdigest()


def tensors_digest(shapes: Mapping[str, Shape]) -> str:
    """Equal for two architectures exactly when they have the same names and shapes."""
    return digest(sorted(f"{name}|{shape}" for name, shape in shapes.items()))


def structure_digest(network: nn.Module) -> str:
    """Equal for two networks when their modules agree in class and in every plain setting.

    Unequal settings may still compute the same, so that a difference is a reason to warn, not to refuse.
    """
    lines = []
    for path, module in network.named_modules():
        if isinstance(module, nn.Dropout) or type(module).__name__ == "DropPath":
            continue
        settings = {
            k: getattr(v, "__qualname__", v)
            for k, v in vars(module).items()
            if not k.startswith("_")
            and k not in _STATE
            and (isinstance(v, (bool, int, float, str, tuple)) or getattr(v, "__qualname__", None))
        }
        lines.append(f"{path}|{type(module).__name__}|{sorted(settings.items(), key=lambda kv: kv[0])}")
    return digest(lines)
