"""Encoder x images -> EmbeddingSet; signatures first, the body follows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from repdiag.store import Store
from repdiag.types import EmbeddingSet, ImageSource, Manifest, Progress, silent

if TYPE_CHECKING:
    from repdiag.encoders import Encoder


@dataclass(frozen=True)
class EmbedConfig:
    """How images become embeddings."""

    device: str = "auto"  # auto, cpu, mps, cuda, cuda:1, ...
    batch_size: int | None = None
    views: int = 2
    view_samples: int = 2048
    seed: int = 0
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    workers: int | None = None
    max_corrupt: float = 0.01


def embedding_key(encoder: Encoder, manifest: Manifest, config: EmbedConfig) -> str:
    """SHA-256 over everything that determines the embeddings (hex): the cache key."""
    raise NotImplementedError


def embed(
    encoder: Encoder,
    source: ImageSource,
    config: EmbedConfig,
    *,
    store: Store | None,
    progress: Progress = silent,
) -> EmbeddingSet:
    """The embeddings of every readable image of `source`."""
    raise NotImplementedError


def thumbnails(source: ImageSource, indices: Sequence[int], size: int = 64) -> dict[str, bytes]:
    """Small JPEGs of the images `indices`, by path."""
    raise NotImplementedError
