"""Where the paths of a list begin: a folder, or a .zip or .tar that holds the images."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from repdiag.errors import DataError
from repdiag.sources import zipball
from repdiag.sources.folder import read_file
from repdiag.sources.images import clean, printable, shown
from repdiag.sources.listing import MISSING, stamp, stamps
from repdiag.sources.tars import is_tar, open_tar

__all__ = ["MISSING", "Root", "open_root"]

Found = tuple[str, Any]
"""The stamp of an image, MISSING where there is none, and the place that reads it."""


@dataclass(frozen=True)
class Root:
    """`find` gives a stamp and a place per path and what to say, `read` the bytes at a place (or OSError)."""

    name: str
    find: Callable[[Sequence[str], str], tuple[list[Found], list[str]]]
    read: Callable[[Any], bytes]
    extra: tuple[str, ...] = ()


def open_root(path: Path, name: str) -> Root:
    """The root at `path`; raises DataError when it is neither a folder nor an archive."""
    place = path.expanduser()
    if place.is_dir():
        return _folder(place, name)
    if not place.exists():
        raise DataError("There is no such folder or archive (--root)", where=name)
    if zipball.matches(place):
        members, read = zipball.members_of(place, name)
        return _archive(name, {each: (stamp, member) for each, stamp, member in members}, read)
    if is_tar(place.name):
        tar = open_tar(place, name)
        return _archive(name, {each.name: (each.stamp, each) for each in tar.members}, tar.read, (tar.stamp,))
    raise DataError("The root of a list is a folder, a .zip or a .tar", where=name)


def _folder(root: Path, name: str) -> Root:
    def find(paths: Sequence[str], where: str) -> tuple[list[Found], list[str]]:
        places = [os.path.join(root, each) for each in paths]  # noqa: PTH118 -- a million Paths are slow
        return list(zip(stamps(places), places, strict=True)), []

    return Root(name, find, read_regular)


def read_regular(path: str) -> bytes:
    """The content of a regular file: a list may name anything, and a pipe could be waited for for ever."""
    if stamp(path) == MISSING:
        raise FileNotFoundError(2, "No such file")
    return read_file(path)


def _archive(
    name: str,
    members: dict[str, tuple[str, Any]],
    read: Callable[[Any], bytes],
    extra: tuple[str, ...] = (),
) -> Root:
    def find(paths: Sequence[str], where: str) -> tuple[list[Found], list[str]]:
        found: list[Found] = []
        by_end: dict[str, list[str]] = defaultdict(list)
        ended = 0
        for path in paths:
            member = members.get(clean(path.replace("\\", "/")) or "")
            if member is None:
                if not by_end:
                    for each in members:
                        by_end[each.rpartition("/")[2]].append(each)
                ends = [
                    each
                    for each in by_end.get(path.rpartition("/")[2], ())
                    if f"/{each}".endswith(f"/{path}")
                ]
                if len(ends) > 1:
                    message = f"{printable(path)} may be any of {len(ends)} files in {name}: {shown(ends)}"
                    raise DataError(message, where=where, do="Write the whole path in the list")
                member = members[ends[0]] if ends else None
                ended += member is not None
            found.append(member or (MISSING, None))
        said = [f"{ended} listed paths are the ends of paths in {Path(name).name}."] if ended else []
        return found, said

    def fetch(member: Any) -> bytes:
        if member is None:
            raise OSError(f"it is not in {Path(name).name}")
        return read(member)

    return Root(name, find, fetch, extra)
