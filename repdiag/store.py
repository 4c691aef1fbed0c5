"""Content-addressed cache of embeddings on disk; signatures first, the body follows."""

from __future__ import annotations

from pathlib import Path


def default_root() -> Path:
    """`$REPDIAG_CACHE`, else `repdiag` in the XDG cache folder."""
    raise NotImplementedError


class Store:
    """Embeddings by key under `root` (None: `default_root()`)."""

    def __init__(self, root: Path | None = None) -> None:
        raise NotImplementedError

    def status(self, key: str) -> tuple[int, int] | None:
        """(rows done, rows in all) of the entry `key`, or None when there is none."""
        raise NotImplementedError
