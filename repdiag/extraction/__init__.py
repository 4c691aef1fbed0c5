"""Encoder x images -> EmbeddingSet: the fast path, cached and resumable."""

from repdiag.extraction.config import EmbedConfig, embedding_key
from repdiag.extraction.extract import embed
from repdiag.extraction.images import small_pictures, thumbnails

__all__ = ["EmbedConfig", "embed", "embedding_key", "small_pictures", "thumbnails"]
