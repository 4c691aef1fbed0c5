"""Zips with compressed records: these change their length, so that the whole archive is written anew."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from repdiag.checkpoints.rewrite.place import Home
from repdiag.errors import UsageError

ALIGNMENT = 64  # of stored records, as torch writes them for torch.load(mmap=True)
HEADER = 30  # bytes of a record's own header, before its name
PADDING = b"FB"  # what torch calls the extra field that it aligns with


def repacked(path: Path, contents: Mapping[Home, bytes]) -> None:
    """The zip at `path` with other contents in the given records, all others as they are, in their order.

    Raises UsageError where the zip is only a part of a file.
    """
    archive = next(iter(contents)).archive
    assert archive is not None
    if archive.begin or archive.size != path.stat().st_size:
        raise UsageError(
            "The tensors are compressed inside a larger file, which cannot be written back", where=str(path)
        )
    new = {home.record.header: content for home, content in contents.items() if home.record is not None}
    records = {record.header: record for record in archive.records.values()}
    temporary = path.with_name(f"{path.name}.repacked")
    try:
        with path.open("rb") as file, ZipFile(file) as old, ZipFile(temporary, "w") as made:
            for info in sorted(old.infolist(), key=lambda info: info.header_offset):
                header = info.header_offset
                content = new.get(header)
                if content is None:
                    content = b"".join(archive.blocks(file, records[header]))
                assert made.fp is not None
                made.writestr(_like(info, made.fp.tell()), content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _like(info: ZipInfo, at: int) -> ZipInfo:
    """A record of the same name, date and packing, to be written at byte `at`; a stored one is aligned."""
    made = ZipInfo(info.filename, info.date_time)
    made.compress_type, made.external_attr, made.create_system = (
        info.compress_type, info.external_attr, info.create_system
    )  # fmt: skip
    if made.compress_type == ZIP_STORED:
        begin = at + HEADER + len(info.filename.encode()) + len(PADDING) + 2
        pad = -begin % ALIGNMENT
        made.extra = PADDING + pad.to_bytes(2, "little") + bytes(pad)
    return made
