"""Encoder x images -> EmbeddingSet: the fast path, cached and resumable."""

from repdiag.embed.config import EmbedConfig, embedding_key
from repdiag.embed.extract import embed
from repdiag.embed.images import thumbnails

__all__ = ["EmbedConfig", "embed", "embedding_key", "thumbnails"]
