"""`load_encoder`: the one way from a user's MODEL argument to an Encoder."""

from __future__ import annotations

from collections.abc import Sequence

from repdiag.encoders.types import Encoder


def load_encoder(
    model: str,
    *,
    arch: str | None = None,
    pretrained: bool = False,
    key: str | None = None,
    prefix: str | None = None,
    trust_pickle: bool = False,
    size: int | None = None,
    resize: int | None = None,
    interpolation: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Encoder:
    """The encoder that `model` names: `timm:NAME`, `torchvision:NAME` or a checkpoint's path."""
    raise NotImplementedError  # under construction
