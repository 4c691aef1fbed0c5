"""torch.save files since torch 1.6: a zip archive with the pickle in `NAME/data.pkl`."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

from repdiag.checkpoints import safe_load, zips
from repdiag.checkpoints.checkpoint import CONTAINERS, Contents
from repdiag.checkpoints.pickle_scan import scan


class TorchZip:
    """Reads them through a memory map, so that an optimizer's states cost nothing."""

    name = "torch.save (zip)"

    def matches(self, path: Path, head: bytes, records: tuple[str, ...]) -> bool:
        """`data.pkl` without TorchScript's `constants.pkl`."""
        names = {record.partition("/")[2] for record in records}
        return "data.pkl" in names and "constants.pkl" not in names and "archive_format" not in names

    def read(self, path: Path, *, trust_pickle: bool) -> Contents:
        """See `Container.read`."""
        notes = zips.verify(path)
        pickled = next(name for name in zips.records(path) if name.partition("/")[2] == "data.pkl")
        found = scan(io.BytesIO(zips.read(path, pickled)), 1, str(path))
        contents = safe_load.load(path, found, mmap=True, trust_pickle=trust_pickle)
        return dataclasses.replace(contents, warnings=contents.warnings + notes)


CONTAINERS.add(TorchZip.name, TorchZip(), __name__)
