"""One cache entry on disk, open for writing by one process.

`features.npy` (N, D) and `views.npy` (V, M, D) are allocated in full at the start, so that a full disk shows
before the work is done. `journal.jsonl` has one line per finished block of rows, written only after its rows are
on the disk, with a CRC of the rows and of what the line says about them. A torn last line, or what does not match
its CRC, is simply not done yet.
"""

from __future__ import annotations

import errno
import io
import json
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any

import numpy as np

from repdiag.store.entry import Entry, Shape
from repdiag.types import FloatArray

SYNC_SECONDS = 1.0
"""Finished rows are made durable this often: a kill loses at most this much work, a slow disk costs little."""
JOURNAL = "journal.jsonl"


class DiskEntry(Entry):
    """An entry in `folder`, resumed from its journal; `errors` translates what the disk refuses."""

    def __init__(
        self, shape: Shape, folder: Path, errors: Callable[[], AbstractContextManager[None]]
    ) -> None:
        super().__init__(shape)
        self._folder, self._errors = folder, errors
        self._offsets = {name: _allocate(folder / f"{name}.npy", size) for name, size in shape.sizes.items()}
        self._files: dict[str, IO[bytes]] = {}
        for name in shape.sizes:
            self._files[name] = (folder / f"{name}.npy").open("r+b")
        whole = 0
        for line, record in records(folder / JOURNAL):
            whole += len(line)
            if record is not None:
                self._believe(record)
        self._journal = (folder / JOURNAL).open("ab")
        self._journal.truncate(whole)
        self._pending: list[str] = []
        self._synced = time.monotonic()

    def _believe(self, record: Mapping[str, Any]) -> None:
        start, stop = record["rows"]
        if stop > self.shape.rows:
            return
        crc = _crc(start, stop, record["corrupt"])
        for name, offset, length in self._blocks(start, stop):
            self._files[name].seek(offset)
            crc = zlib.crc32(self._files[name].read(length), crc)
        if crc == record["crc"]:
            self.done[start:stop] = True
            self.corrupt.update(record["corrupt"])

    def _blocks(self, start: int, stop: int) -> Iterator[tuple[str, int, int]]:
        """(file, byte offset, length) of the features and of each view of the rows start..stop."""
        row = self.shape.dim * 4
        yield "features", self._offsets["features"] + start * row, (stop - start) * row
        span = self.shape.span(start, stop)
        for view in range(self.shape.views):
            first = view * self.shape.view_rows.size + span.start
            yield "views", self._offsets["views"] + first * row, (span.stop - span.start) * row

    def write(
        self,
        start: int,
        features: FloatArray,
        views: FloatArray,
        corrupt: Mapping[int, str],
        *,
        final: bool = True,
    ) -> None:
        """As `Entry.write`; durable within `SYNC_SECONDS`. Raises OutputError."""
        stop = start + len(features)
        said = sorted(corrupt.items())
        crc = _crc(start, stop, said)
        with self._errors():
            # Not a writable memory map: on a full disk that one dies of SIGBUS instead of raising.
            for (name, offset, _), block in zip(self._blocks(start, stop), [features, *views], strict=True):
                content = np.ascontiguousarray(block, dtype=np.float32).tobytes()
                crc = zlib.crc32(content, crc)
                self._files[name].seek(offset)
                self._files[name].write(content)
            if final:
                record = {"rows": [start, stop], "crc": crc, "corrupt": said}
                self._pending.append(json.dumps(record) + "\n")
            if time.monotonic() - self._synced >= SYNC_SECONDS:
                self._sync()
        self.done[start:stop] = True
        self.corrupt.update(corrupt)

    def _sync(self) -> None:
        if self._pending:
            for file in self._files.values():
                file.flush()
                os.fsync(file.fileno())
            self._journal.write("".join(self._pending).encode())
            self._journal.flush()
            os.fsync(self._journal.fileno())
            self._pending.clear()
        self._synced = time.monotonic()

    def arrays(self) -> tuple[FloatArray, FloatArray]:
        """Read-only memory maps of the features and the views."""
        with self._errors():
            for file in self._files.values():
                file.flush()
            features, views = (
                np.memmap(self._folder / f"{name}.npy", np.float32, "r", self._offsets[name], size)
                if 0 not in size
                else np.zeros(size, dtype=np.float32)  # nothing cannot be mapped
                for name, size in self.shape.sizes.items()
            )
        return features, views

    def close(self) -> None:
        """Make durable what is done, and let go of the files. Raises OSError."""
        try:
            self._sync()
        finally:
            for file in (*self._files.values(), self._journal):
                file.close()


def records(journal: Path) -> Iterator[tuple[bytes, dict[str, Any] | None]]:
    """The whole lines of a journal with what they say; None where a line makes no sense."""
    try:
        file = journal.open("rb")
    except FileNotFoundError:
        return
    with file:
        for line in file:
            if line.endswith(b"\n"):
                yield line, _record(line)


def _crc(start: int, stop: int, corrupt: Sequence[tuple[int, str]]) -> int:
    """Where a record's CRC begins: a flipped bit there must not turn a corrupt row into an embedding."""
    return zlib.crc32(json.dumps([start, stop, corrupt]).encode())


def _record(line: bytes) -> dict[str, Any] | None:
    try:
        record = json.loads(line)
        start, stop = record["rows"]
        corrupt = [(int(row), str(reason)) for row, reason in record["corrupt"]]
        if 0 <= int(start) < int(stop):
            return {"rows": (int(start), int(stop)), "crc": int(record["crc"]), "corrupt": corrupt}
    except (ValueError, TypeError, KeyError):
        pass
    return None


def _allocate(path: Path, size: tuple[int, ...]) -> int:
    """Make `path` a .npy file of zeros of this size unless it is one; returns where the data begins."""
    header = io.BytesIO()
    form = {"descr": "<f4", "fortran_order": False, "shape": size}
    np.lib.format.write_array_header_1_0(header, form)
    begin = len(header.getvalue())
    total = begin + int(np.prod(size)) * 4
    if path.exists() and path.stat().st_size == total:
        return begin
    try:
        with path.open("wb") as file:
            if shutil.disk_usage(path.parent).free < total:
                raise OSError(errno.ENOSPC, f"it needs {total / 2**20:.0f} MB, more than the disk has free")
            file.write(header.getvalue())
            file.truncate(total)
            if hasattr(os, "posix_fallocate"):
                file.flush()
                os.posix_fallocate(file.fileno(), 0, total)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return begin
