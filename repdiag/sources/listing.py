"""What files a folder holds: names, sizes and times of a million of them in seconds.

Reading the names is cheap everywhere; asking for each file's size and time is what takes long, above all on a
network drive, where the questions are asked in parallel. `Cache` keeps the answers for those who trust that a
folder whose own time did not change holds the same files (`--trust-listing`).
"""

from __future__ import annotations

import itertools
import os
import stat
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from repdiag.errors import DataError
from repdiag.sources.images import is_hidden, is_image

SLOW_SECONDS = 1e-4
"""A question about one file that takes longer goes over a network; local disks answer in a fiftieth of that."""
_THREADS = 32
_PROBES = 256
_BLOCK = 1000

MISSING = "missing"
"""The stamp of a link to nowhere; other stamps are a size in bytes and a time in ns."""


@dataclass
class Folder:
    """The visible content of one folder: image files, subfolders, and how many other files there are.

    `path` is below the root, "" or ending in "/". `identity` is device, inode and time of the folder.
    """

    path: str
    identity: tuple[int, int, int]
    images: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    others: int = 0
    stamps: list[str] = field(default_factory=list)


Known = dict[str, Folder]


def walk(root: str, known: Known | None = None) -> Iterator[Folder]:
    """Every folder below `root`, those in `known` that did not change taken from there with their stamps.

    Links to folders are followed, but never in a circle. Raises DataError for a folder that cannot be listed.
    """
    yield from _walk(root, "", (), known or {})


def _walk(root: str, path: str, above: tuple[tuple[int, int], ...], known: Known) -> Iterator[Folder]:
    place = f"{root}/{path}" if path else root
    try:
        here = os.stat(place)  # noqa: PTH116 -- os.scandir speaks str, and a million Paths are slow
        if (here.st_dev, here.st_ino) in above:
            return
        identity = (here.st_dev, here.st_ino, here.st_mtime_ns)
        folder = known.get(path)
        if folder is None or folder.identity != identity:
            folder = _scan(place, path, identity)
    except OSError as error:
        raise DataError(f"Cannot list this folder: {error.strerror}", where=place) from error
    yield folder
    for name in folder.folders:
        yield from _walk(root, f"{path}{name}/", (*above, identity[:2]), known)


def _scan(place: str, path: str, identity: tuple[int, int, int]) -> Folder:
    folder = Folder(path, identity)
    with os.scandir(place) as entries:
        for entry in entries:
            name = entry.name
            if is_hidden(name):
                continue
            try:
                is_file = entry.is_file()
                is_folder = not is_file and entry.is_dir()
            except OSError:  # a link to itself
                is_file = is_folder = False
            if is_folder:
                folder.folders.append(name)
            elif is_file or entry.is_symlink():  # no pipes or devices: reading one could wait for ever
                if is_image(name):
                    folder.images.append(name)
                else:
                    folder.others += 1
    folder.images.sort()
    folder.folders.sort()
    return folder


def shallow(path: Path) -> tuple[list[str], list[str]] | None:
    """The visible files and folders directly in `path`; None as soon as an image is met, or for no folder."""
    files: list[str] = []
    folders: list[str] = []
    try:
        with os.scandir(path) as entries:
            for entry in entries:
                if is_hidden(entry.name):
                    continue
                if is_image(entry.name):
                    return None
                try:
                    (folders if entry.is_dir() else files).append(entry.name)
                except OSError:  # a link to itself
                    files.append(entry.name)
    except OSError:  # the form that takes what is left says so
        return None
    return sorted(files), sorted(folders)


def stamp_all(root: str, folders: Sequence[Folder]) -> None:
    """Ask for size and time of every image in `folders` that has no stamp yet."""
    new = [folder for folder in folders if len(folder.stamps) < len(folder.images)]
    found = iter(stamps([f"{root}/{folder.path}{name}" for folder in new for name in folder.images]))
    for folder in new:
        folder.stamps = list(itertools.islice(found, len(folder.images)))


def stamps(paths: Sequence[str]) -> list[str]:
    """The stamp of each file, in order; asked for in parallel where the first answers take long."""
    began = time.perf_counter()
    found = [stamp(path) for path in paths[:_PROBES]]
    if time.perf_counter() - began <= SLOW_SECONDS * len(found):  # threads would only wait for each other
        return found + [stamp(path) for path in itertools.islice(paths, _PROBES, None)]
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="repdiag-stat") as pool:
        blocks = [paths[start : start + _BLOCK] for start in range(_PROBES, len(paths), _BLOCK)]
        return found + [
            each for block in pool.map(lambda part: list(map(stamp, part)), blocks) for each in block
        ]


def stamp(path: str) -> str:
    """Size and time of a regular file, links followed; MISSING when there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 -- as above
    except (OSError, ValueError):  # ValueError: a name with a NUL
        return MISSING
    return f"{found.st_size} {found.st_mtime_ns}" if stat.S_ISREG(found.st_mode) else MISSING
