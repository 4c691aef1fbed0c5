"""Where in a file the bytes of each tensor are, whatever family the file is of."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from repdiag.checkpoints.boxes import Box
from repdiag.checkpoints.checkpoint import Source
from repdiag.checkpoints.storages import ZippedStorages
from repdiag.checkpoints.tensor_refs import TensorRef
from repdiag.checkpoints.zips import Archive, Record, ZipDamage, damaged
from repdiag.registry import Registry


@dataclass(frozen=True, eq=False)
class Home:
    """A storage's bytes: `size` of them in the file `path` from `begin` on.

    In a zip they are the content of `record` of `archive`, with a checksum, and perhaps compressed. `swapped`: the
    most significant byte of each number comes first.
    """

    path: Path
    begin: int
    size: int
    archive: Archive | None = None
    record: Record | None = None
    swapped: bool = False

    @property
    def deflated(self) -> bool:
        """Whether the bytes in the file are compressed."""
        return self.record is not None and self.record.deflated


@dataclass(frozen=True)
class Window:
    """A tensor in its storage, or with `box` that part of one."""

    home: Home
    ref: TensorRef
    box: Box | None = None


Windows = dict[str, tuple[Window, ...]]


class Family(Protocol):
    """One container family, by the name that its reader has."""

    name: str

    def windows(self, source: Source) -> Windows:
        """Every tensor's place, by its name in the file; raises as the reader does."""
        ...


FAMILIES: Registry[Family] = Registry("container that can be rewritten", "repdiag.checkpoints.rewrite")


def in_archive(refs: Mapping[str, TensorRef], zipped: ZippedStorages) -> Windows:
    """The places of tensors whose storages are records of a zip; `zipped` has checked them."""
    home = _homes(zipped)
    return {name: (Window(home(ref.storage), ref),) for name, ref in refs.items()}


def _homes(zipped: ZippedStorages) -> Callable[[str], Home]:
    archive = zipped.archive
    known: dict[str, Home] = {}

    def home(key: str) -> Home:
        if key not in known:
            known[key] = _home(archive, archive.records.get(zipped.folder + key), zipped.swapped)
        return known[key]

    return home


def _home(archive: Archive, record: Record | None, swapped: bool) -> Home:
    if record is None:  # of tensors without elements
        return Home(archive.path, 0, 0)
    try:
        with archive.path.open("rb") as file:
            begin = archive.start(file, record)
    except ZipDamage as error:
        raise damaged(str(error), archive.path) from error
    return Home(archive.path, begin, record.size, archive, record, swapped)
