"""A .tar of an image folder, read in place; a compressed one is unpacked to one unnamed temporary file."""

from __future__ import annotations

import bz2
import gzip
import lzma
import tarfile
import tempfile
import threading
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from repdiag.errors import DataError, ResourceError
from repdiag.sources.images import MAX_IMAGE_BYTES, Images, Listed, build, clean, is_image, too_large

_COMPRESSED: dict[str, Callable[..., Any]] = {
    ".gz": gzip.open, ".tgz": gzip.open,
    ".bz2": bz2.open, ".tbz2": bz2.open,
    ".xz": lzma.open, ".txz": lzma.open,
}  # fmt: skip
MAX_UNPACKED_BYTES = 64 * 2**30
"""A compressed tar that unpacks to more is refused: better said than the temporary disk filled."""


def matches(path: Path) -> bool:
    """Whether `path` is named as a tar file, compressed or not."""
    endings = [ending.lower() for ending in path.suffixes[-2:]]
    return endings[-1:] in ([".tar"], [".tgz"], [".tbz2"], [".txz"]) or (
        endings[:1] == [".tar"] and endings[-1] in _COMPRESSED
    )


def read(path: Path, *, name: str, labeled: bool) -> Images:
    """List the images of the tar file `path`. Raises DataError when it is damaged or cut off.

    Finding what a tar holds means walking through it; a compressed one must be unpacked for that, each time
    it is opened. A plain .tar or a .zip starts faster.
    """
    try:
        found = path.stat()
        file = _unpacked(path, name) if path.suffix.lower() in _COMPRESSED else path.open("rb")
        listed, others, notes = _index(file, name)
    except OSError as error:
        raise DataError(f"Cannot read it: {error.strerror or error}", where=name) from error
    lock = threading.Lock()

    def fetch(member: tuple[int, int]) -> bytes:
        offset, size = member
        if size > MAX_IMAGE_BYTES:
            raise too_large(size)
        with lock:
            file.seek(offset)
            content = file.read(size)
        if len(content) < size:
            raise OSError("the tar file ends inside it")
        return content

    stamp = f"{found.st_size} {found.st_mtime_ns}"
    return build(name, listed, others, labeled=labeled, reader=fetch, extra=(stamp,), notes=notes)


def _index(file: IO[bytes], name: str) -> tuple[list[Listed[tuple[int, int]]], int, list[str]]:
    listed: list[Listed[tuple[int, int]]] = []
    others = links = 0
    try:
        with tarfile.open(fileobj=file, mode="r:") as archive:
            for member in archive:
                cleaned = clean(member.name)
                if cleaned is None or member.isdir():
                    continue
                links += is_image(cleaned) and (member.issym() or member.islnk())
                if not is_image(cleaned) or not member.isreg() or member.issparse():
                    others += 1
                    continue
                stamp = f"{member.size} {member.mtime} {member.offset_data}"
                listed.append(Listed(cleaned, stamp, (member.offset_data, member.size)))
            end = archive.offset
    except (tarfile.TarError, EOFError, ValueError, zlib.error) as error:
        raise _damaged(name) from error
    # tarfile takes a broken header in the middle for the end; only zeros, or nothing, is an end.
    file.seek(end)
    if any(file.read(tarfile.BLOCKSIZE)):
        raise _damaged(name)
    return listed, others, [f"{links} images that are links inside the tar were ignored."] if links else []


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
