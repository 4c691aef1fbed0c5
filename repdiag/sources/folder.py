"""A folder of images, with symbolic links followed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from repdiag.errors import DataError
from repdiag.sources.images import MAX_IMAGE_BYTES, Images, Listed, build, is_hidden, is_image, too_large


def matches(path: Path) -> bool:
    """Whether `path` is a folder."""
    return path.is_dir()


def read(path: Path, *, name: str, labeled: bool) -> Images:
    """List the images below `path`; hidden files and folders are passed over. Raises DataError."""
    listed: list[Listed[str]] = []
    others = 0
    root = str(path)
    for relative, entry in _files(root, "", ()):
        if not is_image(entry.name):
            others += 1
            continue
        try:
            found = entry.stat()
            stamp = f"{found.st_size} {found.st_mtime_ns}"
        except OSError:  # a link to nowhere: kept, so that it is named among the images that cannot be read
            stamp = "missing"
        listed.append(Listed(relative, stamp, entry.path))
    return build(name, listed, others, labeled=labeled, reader=_read)


def _files(
    folder: str, prefix: str, above: tuple[tuple[int, int], ...]
) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Every visible file below `folder` with its name relative to the root; `above` stops link loops."""
    try:
        here = os.stat(folder)  # noqa: PTH116 -- os.scandir speaks str, and a million Paths are slow
        with os.scandir(folder) as entries:
            children = list(entries)
    except OSError as error:
        raise DataError(f"Cannot list this folder: {error.strerror}", where=folder) from error
    identity = (here.st_dev, here.st_ino)
    if identity in above:
        return
    for entry in children:
        if is_hidden(entry.name):
            continue
        relative = f"{prefix}{entry.name}"
        try:
            is_folder, is_file = entry.is_dir(), entry.is_file()
        except OSError:  # a link to itself
            is_folder = is_file = False
        if is_folder:
            yield from _files(entry.path, f"{relative}/", (*above, identity))
        elif is_file or entry.is_symlink():  # no pipes or devices: reading one could wait for ever
            yield relative, entry


def _read(path: str) -> bytes:
    with open(path, "rb") as file:  # noqa: PTH123 -- as above
        size = os.fstat(file.fileno()).st_size
        if size > MAX_IMAGE_BYTES:
            raise too_large(size)
        return file.read()
