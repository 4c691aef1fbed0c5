"""What is common to the families that are zip archives: their records, and whether these are intact."""

from __future__ import annotations

import zipfile
from pathlib import Path

from repdiag.errors import CheckpointError


def records(path: Path) -> tuple[str, ...]:
    """The names of the zip's records, () when it is no (complete) zip."""
    try:
        with zipfile.ZipFile(path) as archive:
            return tuple(archive.namelist())
    except Exception:  # damaged directories make zipfile fail in many ways
        return ()


def read(path: Path, record: str) -> bytes:
    """The content of one record, which `verify` has seen."""
    with zipfile.ZipFile(path) as archive:
        info = archive.getinfo(record)
        if not info.CRC:
            del info.CRC  # zipfile then does not compare; see `verify`
        return archive.read(info)


def verify(path: Path) -> tuple[str, ...]:
    """Check every record against its CRC; returns warnings, raises CheckpointError where one is damaged.

    torch itself does not look at the checksums, so that a flipped bit would silently be a wrong weight.
    Files written under torch.serialization.set_crc32_options(False) have zeros there and cannot be checked.
    """
    damaged: list[str] = []
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        if len(set(names)) < len(names):  # two readers could take different ones
            raise CheckpointError("The archive holds two records of the same name", where=str(path))
        filled = [info for info in archive.infolist() if info.file_size]
        checked = [info for info in filled if info.CRC]
        for info in checked:
            try:
                with archive.open(info) as record:
                    while record.read(1 << 20):
                        pass
            except Exception:  # damaged headers make zipfile fail in many ways
                damaged.append(info.filename)
    if damaged:
        raise CheckpointError(
            f"The checkpoint is damaged: {len(damaged)} of its {len(checked)} records fail their checksum"
            f" (first: {damaged[0]})",
            where=str(path),
            do="Download or copy the file again",
        )
    bare = len(filled) - len(checked)
    return (f"{bare} records carry no checksum, so that damage could not be seen",) if bare else ()
