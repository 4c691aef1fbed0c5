"""Data sets: images by index from folders and archives, or embeddings that are ready in a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from repdiag.types import EmbeddingSet, Manifest


@dataclass(frozen=True)
class Images:
    """An image data set (an `ImageSource`) with what the person should know about how it was read."""

    name: str
    manifest: Manifest
    notes: tuple[str, ...]
    reader: Callable[[int], bytes]

    def read(self, index: int) -> bytes:
        """The encoded bytes of image `index`; thread-safe; raises OSError when they cannot be read."""
        return self.reader(index)


def is_embeddings(path: str) -> bool:
    """Whether `path` is named as a file of ready embeddings (.npz, .npy, .parquet), existing or not."""
    raise NotImplementedError


def open_source(path: str, *, labeled: bool = True) -> Images:
    """List the images of a folder, .zip or .tar; `labeled=False` ignores class folders. Raises DataError."""
    raise NotImplementedError


def read_embeddings(path: str) -> EmbeddingSet:
    """Read and check a file of ready embeddings. Raises DataError."""
    raise NotImplementedError
