"""Tar files: what they hold, and reading it in place; a compressed one is unpacked to an unnamed temporary file."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import tempfile
import threading
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

from repdiag.errors import DataError, ResourceError
from repdiag.sources.images import MAX_IMAGE_BYTES, clean, is_image, too_large

_COMPRESSED: dict[str, Callable[..., Any]] = {
    ".gz": gzip.open, ".tgz": gzip.open,
    ".bz2": bz2.open, ".tbz2": bz2.open,
    ".xz": lzma.open, ".txz": lzma.open,
}  # fmt: skip
MAX_UNPACKED_BYTES = 64 * 2**30
"""A compressed tar that unpacks to more is refused: better said than the temporary disk filled."""


class Member(NamedTuple):
    """A regular file in a tar: its cleaned name, where its content begins, and its size."""

    name: str
    offset: int
    size: int
    stamp: str


@dataclass(frozen=True)
class Tar:
    """An open tar file. `others` counts members that are neither files nor folders (links, devices)."""

    path: Path
    stamp: str
    members: list[Member]
    others: int
    notes: list[str]
    spool: IO[bytes] | None  # the unpacked content, where it was compressed
    lock: threading.Lock

    def read(self, member: Member) -> bytes:
        """The content of `member`; thread-safe; raises OSError."""
        if member.size > MAX_IMAGE_BYTES:
            raise too_large(member.size)
        if self.spool is not None:
            with self.lock:
                self.spool.seek(member.offset)
                content = self.spool.read(member.size)
        else:  # opened each time: a thousand shards held open are more than most systems allow
            with self.path.open("rb") as file:
                file.seek(member.offset)
                content = file.read(member.size)
        if len(content) < member.size:
            raise OSError("the tar file ends inside it")
        return content


def is_tar(name: str) -> bool:
    """Whether a file name is that of a tar, compressed or not."""
    endings = [ending.lower() for ending in Path(name).suffixes[-2:]]
    return endings[-1:] in ([".tar"], [".tgz"], [".tbz2"], [".txz"]) or (
        endings[:1] == [".tar"] and endings[-1] in _COMPRESSED
    )


def open_tar(path: Path, name: str) -> Tar:
    """List the tar file `path`; `name` is what messages call it. Raises DataError when it is damaged."""
    spool = None
    try:
        found = path.stat()
        if path.suffix.lower() in _COMPRESSED:
            spool = _unpacked(path, name)
            members, others, notes = _index(spool, name)
        else:
            with path.open("rb") as file:
                members, others, notes = _index(file, name)
    except OSError as error:
        raise DataError(f"Cannot read it: {error.strerror or error}", where=name) from error
    stamp = f"{found.st_size} {found.st_mtime_ns}"
    return Tar(path, stamp, members, others, notes, spool, threading.Lock())


def first_names(path: Path, count: int) -> list[str]:
    """The names of the first few members, without unpacking the rest; none where it cannot be read."""
    names: list[str] = []
    try:
        with tarfile.open(path, "r:*") as archive:
            while len(names) < count and (member := archive.next()) is not None:
                names.append(member.name)
    except (tarfile.TarError, OSError, EOFError, ValueError, zlib.error, lzma.LZMAError):
        pass  # opening it in earnest says what is wrong
    return names


def _index(file: IO[bytes], name: str) -> tuple[list[Member], int, list[str]]:
    members: list[Member] = []
    others = links = 0
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                cleaned = clean(member.name)
                if cleaned is None or member.isdir():
                    continue
                links += is_image(cleaned) and (member.issym() or member.islnk())
                if not member.isreg() or member.issparse():
                    others += 1
                    continue
                stamp = f"{member.size} {member.mtime} {member.offset_data}"
                members.append(Member(cleaned, member.offset_data, member.size, stamp))
                archive.members = []  # type: ignore[attr-defined]  # else a million of them stay in memory
            end = archive.offset
    except (tarfile.TarError, EOFError, ValueError, zlib.error) as error:
        raise _damaged(name) from error
    # tarfile takes a broken header in the middle for the end; only zeros, or nothing, is an end.
    file.seek(end)
    if any(file.read(tarfile.BLOCKSIZE)):
        raise _damaged(name)
    return members, others, [f"{links} images that are links inside the tar were ignored."] if links else []


def _damaged(name: str) -> DataError:
    message = "This is no whole tar file; a download may have been cut off"
    return DataError(message, where=name, do="Check it with: tar -tf")


def _unpacked(path: Path, name: str) -> IO[bytes]:
    spool = tempfile.TemporaryFile(prefix="repdiag-")  # noqa: SIM115 -- lives as long as the source
    total = 0
    try:
        with _COMPRESSED[path.suffix.lower()](path, "rb") as packed:
            while block := packed.read(2**20):
                total += len(block)
                if total > MAX_UNPACKED_BYTES:
                    limit = f"{MAX_UNPACKED_BYTES // 2**30} GB"
                    raise DataError(f"It unpacks to more than {limit}", where=name, do="Unpack it yourself")
                _put(spool, block)
    except (EOFError, gzip.BadGzipFile, lzma.LZMAError, zlib.error) as error:
        raise _damaged(name) from error
    spool.seek(0)
    return spool


def _put(spool: IO[bytes], block: bytes) -> None:
    try:
        spool.write(block)
        spool.flush()
    except OSError as error:
        message = f"Cannot unpack it to the temporary folder: {error.strerror}"
        do = "Free space there, set TMPDIR to another folder, or unpack it yourself"
        raise ResourceError(message, where=tempfile.gettempdir(), do=do) from error
