"""CIFAR-10 and CIFAR-100 as their authors publish them: the Python and the binary version, unpacked or as .tar.gz."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from repdiag.errors import DataError
from repdiag.sources import pixels
from repdiag.sources.hierarchy import with_parents
from repdiag.sources.images import Images
from repdiag.sources.options import How
from repdiag.sources.tars import first_names, is_tar, open_tar
from repdiag.sources.unpickle import read_plain

_TRAIN = tuple(f"data_batch_{i}" for i in range(1, 6))
Version = dict[str, tuple[str, ...]]
"""The files of each split."""
_PYTHON_10: Version = {"train": _TRAIN, "test": ("test_batch",)}
_PYTHON_100: Version = {"train": ("train",), "test": ("test",)}
_BINARY_10: Version = {"train": tuple(f"{each}.bin" for each in _TRAIN), "test": ("test_batch.bin",)}
_BINARY_100: Version = {"train": ("train.bin",), "test": ("test.bin",)}
_PIXELS = 3 * 32 * 32

Get = Callable[[str], bytes | None]
"""The content of a file of the data set by its name; None when it is not there."""


def matches(path: Path) -> bool:
    """Whether `path` is an unpacked CIFAR folder or an archive that begins like CIFAR's."""
    if path.is_dir():
        return _kind({each for each in _TELLING if (path / each).is_file()}) is not None
    if not (is_tar(path.name) and path.is_file()):
        return False
    return any(
        each.rpartition("/")[2] in _TELLING and "cifar" in each.lower() for each in first_names(path, 2)
    )


_TELLING = frozenset(
    {
        *_TRAIN, "test_batch", "batches.meta", "train", "test", "meta", *_BINARY_10["train"], "test_batch.bin",
        "batches.meta.txt", "train.bin", "test.bin", "fine_label_names.txt", "coarse_label_names.txt",
    }
)  # fmt: skip


def _kind(names: set[str]) -> Version | None:
    """The files of each split for the version that `names` show; None when it is no CIFAR."""
    if names & {*_TRAIN, "test_batch"}:
        return _PYTHON_10
    if "meta" in names and names & {"train", "test"}:
        return _PYTHON_100
    if names & {*_BINARY_10["train"], "test_batch.bin"}:
        return _BINARY_10
    if names & {"train.bin", "test.bin"} and "fine_label_names.txt" in names:
        return _BINARY_100
    return None


def read(path: Path, *, name: str, how: How) -> Images:
    """Train and test images with their labels, fine ones in CIFAR-100 with the coarse ones as parents.

    Raises DataError for a missing or damaged batch. Pickles are read without running code (`unpickle`).
    """
    how.only("CIFAR's own files")
    get, names = _archive(path, name) if path.is_file() else _folder(path)
    kind = _kind(names)
    if kind is None:
        raise DataError("The archive holds no batches of CIFAR", where=name)
    digest = hashlib.sha256()
    parts, coarse = [], []
    notes: list[str] = []
    for split, files in kind.items():
        images, labels = [], []
        gone = [each for each in files if each not in names]
        if len(gone) == len(files):
            continue
        if gone:
            raise DataError(f"Batches are missing: {', '.join(gone)}", where=name)
        for file in files:
            content = get(file)
            assert content is not None
            digest.update(content)
            where = f"{name}: {file}"
            found = _binary(content, kind, where) if file.endswith(".bin") else _python(content, where)
            images.append(found[0])
            labels += found[1]
            coarse += found[2]
        parts.append(pixels.Pixels(split, np.concatenate(images), labels))
    fine_names, coarse_names = _names(get, kind, name)
    if len(parts) < len(kind):
        notes.append(f"Only the {parts[0].split} part is there.")
        parts = [replace(parts[0], split="")]
    made = pixels.build(name, parts, how, stamp=[digest.hexdigest()], class_names=fine_names, notes=notes)
    if not coarse or made.manifest.labels is None:
        return made
    fine = [label for part in parts for label in (part.labels or ())]
    pairs = dict(zip(fine, coarse, strict=True))
    if any(pairs[label] != parent for label, parent in zip(fine, coarse, strict=True)):
        raise DataError("A fine class has two coarse ones", where=name)
    known = made.manifest.class_names
    of_name = {
        fine_names[label] if fine_names else str(label): coarse_names[parent] if coarse_names else str(parent)
        for label, parent in pairs.items()
    }
    return with_parents(made, tuple(of_name.get(each, "") for each in known))


def _folder(path: Path) -> tuple[Get, set[str]]:
    def get(name: str) -> bytes | None:
        try:
            return (path / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise DataError(f"Cannot read it: {error.strerror}", where=str(path / name)) from error

    return get, {each for each in _TELLING if (path / each).is_file()}


def _archive(path: Path, where: str) -> tuple[Get, set[str]]:
    tar = open_tar(path, where)
    members = {member.name.rpartition("/")[2]: member for member in tar.members}

    def get(name: str) -> bytes | None:
        try:
            return tar.read(members[name]) if name in members else None
        except OSError as error:
            raise DataError(f"Cannot read {name}: {error}", where=where) from error

    return get, set(members) & _TELLING


Batch = tuple[npt.NDArray[np.uint8], list[int], list[int]]
"""Images (N, 3, 32, 32), labels, and coarse labels where there are any."""


def _python(content: bytes, where: str) -> Batch:
    found = read_plain(content, where)
    data = found.get("data") if isinstance(found, dict) else None
    if (
        not isinstance(data, np.ndarray)
        or data.dtype != np.uint8
        or data.ndim != 2
        or data.shape[1] != _PIXELS
    ):
        raise DataError("The batch holds no images of 3 x 32 x 32 bytes", where=where)
    labels = found.get("labels", found.get("fine_labels"))
    coarse = found.get("coarse_labels", [])
    for each, n in ((labels, len(data)), (coarse, len(data) if coarse else 0)):
        if not isinstance(each, list) or len(each) != n or not all(type(label) is int for label in each):
            raise DataError(f"The batch does not hold one label for each of {len(data)} images", where=where)
    return data.reshape(-1, 3, 32, 32), labels, coarse


def _binary(content: bytes, kind: object, where: str) -> Batch:
    labels = 2 if kind is _BINARY_100 else 1
    row = labels + _PIXELS
    if not content or len(content) % row:
        raise DataError(f"The batch of {len(content)} bytes is not made of rows of {row}", where=where)
    rows = np.frombuffer(content, np.uint8).reshape(-1, row)
    images = rows[:, labels:].reshape(-1, 3, 32, 32)
    return images, rows[:, labels - 1].tolist(), rows[:, 0].tolist() if labels == 2 else []


def _names(get: Get, kind: object, where: str) -> tuple[list[str] | None, list[str] | None]:
    """The names of the classes and of the coarse ones, where the data set brings them along."""
    if kind is _PYTHON_10 or kind is _PYTHON_100:
        content = get("batches.meta" if kind is _PYTHON_10 else "meta")
        found: Any = {} if content is None else read_plain(content, where)
        found = found if isinstance(found, dict) else {}
        fine = found.get("label_names", found.get("fine_label_names"))
        return _texts(fine), _texts(found.get("coarse_label_names"))
    return tuple(  # type: ignore[return-value]
        None if content is None else content.decode("utf-8", "replace").split()
        for content in map(
            get,
            ("batches.meta.txt" if kind is _BINARY_10 else "fine_label_names.txt", "coarse_label_names.txt"),
        )
    )


def _texts(names: Any) -> list[str] | None:
    return (
        names if isinstance(names, list) and names and all(isinstance(each, str) for each in names) else None
    )
