"""The cache: entries by key, each a folder with `meta.json`, its arrays, its journal and a lock."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from repdiag.errors import OutputError
from repdiag.files import write_text
from repdiag.store.disk import JOURNAL, DiskEntry, records
from repdiag.store.entry import Shape

try:
    import fcntl
except ImportError:  # Windows: two processes on one entry write the same rows twice, which is only slower
    fcntl = None  # type: ignore[assignment]

CACHE_FORMAT = 1
"""Rises when entries, or how embeddings are made, change: older entries are then no longer found."""


def default_root() -> Path:
    """`$REPDIAG_CACHE`, else `repdiag` in `$XDG_CACHE_HOME` or `~/.cache`."""
    if own := os.environ.get("REPDIAG_CACHE"):
        return Path(own)
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path("~/.cache")) / "repdiag"  # XDG: a relative one is ignored


def key_of(parts: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of `parts` as canonical JSON: sorted keys, no spaces."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


class Store:
    """Embeddings by key under `root` (None: `default_root()`). Nothing is touched before it is used."""

    def __init__(self, root: Path | None = None) -> None:
        self.root = root if root is not None else default_root()

    def folder(self, key: str) -> Path:
        """Where the entry `key` is, or would be."""
        return Path(os.path.expanduser(self.root)) / key[:2] / key  # noqa: PTH111 -- never raises

    def status(self, key: str) -> tuple[int, int] | None:
        """(rows done, rows in all) of the entry `key` by its journal, or None when there is none."""
        with self._errors():
            meta = _meta(self.folder(key))
            if meta is None:
                return None
            done = np.zeros(int(meta["rows"]), dtype=np.bool_)
            for _, record in records(self.folder(key) / JOURNAL):
                if record is not None:
                    done[slice(*record["rows"])] = True
        return int(done.sum()), done.size

    @contextlib.contextmanager
    def open(
        self, key: str, shape: Shape, parts: Mapping[str, Any], waiting: Callable[[], None] | None = None
    ) -> Iterator[DiskEntry]:
        """The entry `key`, made if need be, for this process alone until the block ends.

        Another process that holds it is waited for; `waiting` is called once before. What is done when the
        block ends, in whatever way, is kept. `parts` is written down for people. Raises OutputError.
        """
        meta = {
            "format": CACHE_FORMAT,
            "rows": shape.rows,
            "dim": shape.dim,
            "views": [shape.views, shape.view_rows.size],
            "parts": dict(parts),
        }
        text = json.dumps(meta, indent=1, sort_keys=True)
        folder = self.folder(key)
        with contextlib.ExitStack() as stack:
            with self._errors():
                folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(_locked(folder / "lock", waiting))
                if _meta(folder) != json.loads(text):
                    for old in ("meta.json", JOURNAL, "features.npy", "views.npy"):
                        (folder / old).unlink(missing_ok=True)
                    write_text(folder / "meta.json", text)
                entry = DiskEntry(shape, folder, self._errors)
            try:
                yield entry
            finally:
                with self._errors():
                    entry.close()

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise self._refusal(error.strerror or str(error)) from error
        except OutputError as error:  # from writing meta.json
            raise self._refusal(error.what) from error

    def _refusal(self, reason: str) -> OutputError:
        return OutputError(
            f"The cache of embeddings cannot be used: {reason}",
            where=str(self.root),
            do="Name another folder with --cache, free space there, or do without with --no-cache",
        )


def _meta(folder: Path) -> dict[str, Any] | None:
    """What `meta.json` says; None when there is none, or a damaged one."""
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        rows = meta.get("rows") if isinstance(meta, dict) else None
        return meta if type(rows) is int and rows >= 0 else None
    except (FileNotFoundError, ValueError):
        return None


@contextlib.contextmanager
def _locked(path: Path, waiting: Callable[[], None] | None) -> Iterator[None]:
    """Hold the lock of an entry. The system lets go of it when the process dies, in whatever way."""
    with path.open("ab") as file:
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if waiting is not None:
                    waiting()
                fcntl.flock(file, fcntl.LOCK_EX)
        yield
