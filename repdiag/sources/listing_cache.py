"""A kept listing of a folder: believed only folder by folder, where a folder's own time did not change.

A folder's time changes when a file in it is added, removed or renamed; it does not when a file is rewritten in
place, and some network file systems never change it. Hence the listing is kept only for who asks for it.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from repdiag.errors import OutputError
from repdiag.files import atomic
from repdiag.sources.listing import Folder, Known

_FORMAT = 1
_TEXTS = ("paths", "identities", "images", "folders", "stamps")
_FRESH_NS = 2 * 10**9
"""A folder that changed this shortly before it was listed may change again within the tick of its clock."""


def place_of(cache: Path, root: str) -> Path:
    """Where the listing of `root` is kept."""
    name = hashlib.sha256(os.fsencode(os.path.realpath(root))).hexdigest()
    return Path(os.path.expanduser(cache)) / "listings" / f"{name[:32]}.npz"  # noqa: PTH111 -- never raises


def load(place: Path) -> Known:
    """The folders kept at `place`; none when there is no listing, or a damaged one."""
    try:
        with np.load(place, allow_pickle=False) as kept:
            if int(kept["format"]) != _FORMAT:
                return {}
            columns = {name: kept[name] for name in kept.files}
        texts = {name: _texts(columns[name].tobytes()) for name in _TEXTS}
        images, folders, stamps = texts["images"], texts["folders"], texts["stamps"]
        known: Known = {}
        image = folder = 0
        rows = zip(texts["paths"], texts["identities"], columns["counts"].tolist(), strict=True)
        for path, identity, (n_images, n_folders, others) in rows:
            device, inode, changed = map(int, identity.split())
            known[path] = Folder(
                path,
                (device, inode, changed),
                images[image : image + n_images],
                folders[folder : folder + n_folders],
                others,
                stamps[image : image + n_images],
            )
            image, folder = image + n_images, folder + n_folders
        whole = image == len(images) == len(stamps) and folder == len(folders)
    except Exception:  # whatever is wrong with it: the folder itself is read instead
        return {}
    return known if whole else {}


def save(place: Path, folders: Sequence[Folder]) -> None:
    """Keep `folders` but for those that changed a moment ago. Raises OutputError."""
    now = time.time_ns()
    kept = [folder for folder in folders if folder.identity[2] < now - _FRESH_NS]
    columns = {
        "format": np.int64(_FORMAT),
        "paths": _blob([folder.path for folder in kept]),
        "identities": _blob([" ".join(map(str, folder.identity)) for folder in kept]),
        "counts": np.array(
            [(len(folder.images), len(folder.folders), folder.others) for folder in kept], dtype=np.int64
        ).reshape(-1, 3),
        "images": _blob([name for folder in kept for name in folder.images]),
        "folders": _blob([name for folder in kept for name in folder.folders]),
        "stamps": _blob([stamp for folder in kept for stamp in folder.stamps]),
    }
    try:
        with atomic(place) as temporary, temporary.open("wb") as file:
            np.savez(file, **columns)  # type: ignore[arg-type]
    except OutputError as error:
        do = "Name another folder with --cache, or do without --trust-listing"
        raise OutputError(f"The listing cannot be kept: {error.what}", where=str(place), do=do) from error


def _blob(names: Sequence[str]) -> np.ndarray[tuple[int], np.dtype[np.uint8]]:
    """Names, each ended by NUL, which no file name holds."""
    return np.frombuffer(os.fsencode("".join(f"{name}\0" for name in names)), dtype=np.uint8)


def _texts(blob: bytes) -> list[str]:
    return os.fsdecode(blob).split("\0")[:-1]
