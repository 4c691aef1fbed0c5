"""An encoder that gives some columns of another's features, in a chosen order."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence

import torch
from torch import nn

from repdiag.encoders.kept import Kept, checked
from repdiag.encoders.types import Encoder, Output
from repdiag.errors import CheckpointError


class Chosen(nn.Module):
    """(B, C, H, W) -> (B, d) float32: the columns `kept` of what `inner` gives."""

    index: torch.Tensor

    def __init__(self, inner: nn.Module, kept: Kept) -> None:
        super().__init__()
        self.inner, self.kept = inner, kept
        self.register_buffer("index", torch.tensor(kept.columns, dtype=torch.int64))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) float32 -> (B, d) float32."""
        features: torch.Tensor = self.inner(images)
        return features.index_select(1, self.index)


def kept_by(encoder: Encoder) -> Kept | None:
    """Which columns the encoder keeps; None for one that gives all."""
    return encoder.module.kept if isinstance(encoder.module, Chosen) else None


def choose(encoder: Encoder, columns: Sequence[object], where: str | None = None) -> Encoder:
    """The encoder that gives only `columns` of `encoder`'s features, in that order.

    Of an encoder that was cut before, `columns` number what it gives now. Rows of unit length need not have it any
    more. Raises UsageError for columns that there are not, that come twice, and for none at all.
    """
    numbers = checked(columns, encoder.dim, where)
    before = kept_by(encoder)
    if before is None:
        inner, kept = encoder.module, Kept(numbers, encoder.dim, _layers(encoder))
    else:
        assert isinstance(encoder.module, Chosen)
        inner = encoder.module.inner
        kept = dataclasses.replace(before, columns=tuple(before.columns[number] for number in numbers))
    first = encoder.outputs[0]
    several = len(kept.layers) > 1
    name = "output" if several else first.name
    pooling = f"{', '.join(kept.layers)}; {kept}" if several else f"{_plain(first.pooling)}; {kept}"
    parts = f"{encoder.fingerprint}\nfeatures {' '.join(map(str, numbers))}"
    return dataclasses.replace(
        encoder,
        module=Chosen(inner, kept).eval().requires_grad_(False),
        dim=len(numbers),
        outputs=(Output(name, 0, len(numbers), pooling),),
        l2=False,
        fingerprint=hashlib.sha256(parts.encode()).hexdigest(),
    )


def _layers(encoder: Encoder) -> tuple[str, ...]:
    return tuple(f"{output.name} ({output.pooling})" for output in encoder.outputs)


def _plain(pooling: str) -> str:
    """The pooling without what an earlier choice added."""
    return pooling.partition("; ")[0]


def as_the_file_says(encoder: Encoder, kept: Kept | None, where: str) -> Encoder:
    """`encoder` cut as its file asks for; CheckpointError where that was about other features than these."""
    if kept is None:
        return encoder
    layers = _layers(encoder)
    if (encoder.dim, layers) != (kept.of, kept.layers):
        raise CheckpointError(
            f"The file keeps {kept}, of {', '.join(kept.layers)}; it was opened for {encoder.dim} features, of"
            f" {', '.join(layers)}",
            where=where,
            do="Give --layer and --pool as the description beside the file (load) has them",
        )
    cut = choose(encoder, kept.columns, where)
    reading = f"the file keeps {kept}; the others are cut off"
    loading = dataclasses.replace(cut.loading, readings=(*cut.loading.readings, reading))
    return dataclasses.replace(cut, loading=loading)
