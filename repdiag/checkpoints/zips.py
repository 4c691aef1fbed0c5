"""Zip archives: their directory, read strictly, and whether their records are intact.

Several programs may read one archive differently (duplicate names, lengths that disagree, bytes before the
first record), and what one has checked the other has not seen. So everything that would leave room for two
readings is refused: the directory must fill its place exactly, no two records may share a name or a byte.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import IO

from repdiag.errors import CheckpointError

MAX_RECORDS = 200_000
MAX_DIRECTORY = 1 << 26
MAX_NOTE = 1 << 20
MAX_RATIO = 20  # weights hardly shrink at all
SPARE = 1 << 26  # that any archive may unpack to
BLOCK = 1 << 22
FOLDER = 0x10  # of the attributes: torch's reader then leaves the memory as it finds it, and says nothing

_END = struct.Struct("<4s4H2LH")
_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")


class ZipDamage(ValueError):
    """What is wrong with an archive."""


@dataclass(frozen=True, slots=True)
class Record:
    """One entry of the directory; `header` is where its own header begins, `room` where the next one does.

    `entry` is where the directory's entry begins; all three count from the archive's begin.
    """

    name: str
    raw: bytes
    header: int
    packed: int
    size: int
    crc: int
    deflated: bool
    room: int = 0
    entry: int = 0


@dataclass(frozen=True)
class Archive:
    """A zip in bytes `begin` to `begin + size` of the file at `path`."""

    path: Path
    begin: int
    size: int
    records: dict[str, Record] = field(repr=False)

    def start(self, file: IO[bytes], record: Record) -> int:
        """Where in the file the record's bytes begin; raises ZipDamage."""
        file.seek(self.begin + record.header)
        head = file.read(_LOCAL.size + len(record.raw))
        if len(head) < _LOCAL.size + len(record.raw) or not head.startswith(b"PK\x03\x04"):
            raise ZipDamage(f"the record {record.name} has no header")
        _, _, flags, method, _, _, _, _, _, named, extra = _LOCAL.unpack_from(head)
        if named != len(record.raw) or head[_LOCAL.size :] != record.raw or flags & 1:
            raise ZipDamage(f"the record {record.name} is another one in its own header")
        if (method != 0) != record.deflated:
            raise ZipDamage(f"the record {record.name} is packed differently in its own header")
        start = record.header + _LOCAL.size + named + extra
        if start + record.packed > record.room:
            raise ZipDamage(f"the record {record.name} is longer than its place")
        return self.begin + int(start)

    def blocks(self, file: IO[bytes], record: Record) -> Iterator[bytes]:
        """The record's content, at most `record.size` bytes; raises ZipDamage where it is not what is said."""
        file.seek(self.start(file, record))
        left, crc, given = record.packed, 0, 0
        inflate = zlib.decompressobj(-15) if record.deflated else None
        pending = b""
        while left or pending:
            if not pending:
                pending = file.read(min(BLOCK, left))
                left -= len(pending)
                if not pending:
                    raise ZipDamage(f"the record {record.name} is cut off")
            if inflate is None:
                block, pending = pending, b""
            else:
                try:
                    block = inflate.decompress(pending, BLOCK)
                except zlib.error as error:
                    raise ZipDamage(f"the record {record.name} cannot be unpacked") from error
                pending = inflate.unconsumed_tail
                if not (left or pending or inflate.eof):
                    block += inflate.flush()  # of a last, long repetition
                if inflate.eof:
                    left, pending = 0, b""
            given += len(block)
            if given > record.size:
                raise ZipDamage(f"the record {record.name} unpacks to more than it says")
            crc = zlib.crc32(block, crc)
            yield block
        if given != record.size:
            raise ZipDamage(f"the record {record.name} is shorter than it says")
        if record.crc and crc != record.crc:
            raise ZipDamage(f"the record {record.name} fails its checksum")

    def read(self, name: str, limit: int) -> bytes:
        """The content of one record of at most `limit` bytes, checked; raises CheckpointError."""
        record = self.records[name]
        if record.size > limit:
            raise CheckpointError(
                f"The record {name} claims {record.size:,} bytes, which no model needs there",
                where=str(self.path),
            )
        try:
            with self.path.open("rb") as file:
                return b"".join(self.blocks(file, record))
        except ZipDamage as error:
            raise damaged(str(error), self.path) from error

    def verify(self) -> tuple[str, ...]:
        """Check every record against its CRC; returns warnings, raises CheckpointError where one is damaged.

        torch itself does not look at the checksums, so that a flipped bit would silently be a wrong weight.
        Files written under torch.serialization.set_crc32_options(False) have zeros there and cannot be checked.
        """
        broken: list[str] = []
        filled = [record for record in self.records.values() if record.size]
        with self.path.open("rb") as file:
            for record in filled:
                try:
                    for _ in self.blocks(file, record):
                        pass
                except ZipDamage as error:
                    broken.append(str(error))
        if broken:
            raise CheckpointError(
                f"The checkpoint is damaged: {len(broken)} of its {len(filled)} records fail their checksum or"
                f" length ({broken[0]})",
                where=str(self.path),
                do="Download or copy the file again",
            )
        bare = sum(1 for record in filled if not record.crc)
        return (f"{bare} records carry no checksum, so that damage could not be seen",) if bare else ()

    def said(self) -> dict[str, str]:
        """The `repdiag.*` notes that `repdiag export` puts among a program's extra files, by name."""
        found: dict[str, str] = {}
        for name in self.records:
            key = name.rpartition("/extra/")[2]
            if key != name and key.startswith("repdiag.") and "/" not in key:
                found[key] = self.read(name, MAX_NOTE).decode("utf-8", "replace")
        return found

    def refuse_lookalikes(self) -> None:
        """Raises CheckpointError when two names differ in case only: torch's own reader takes them for one."""
        folded: dict[str, str] = {}
        for name in self.records:
            other = folded.setdefault(name.lower(), name)
            if other != name:
                raise CheckpointError(
                    f"The archive holds two records that differ in case only ({other}, {name})",
                    where=str(self.path),
                )


def damaged(reason: str, path: Path) -> CheckpointError:
    """The sentence about an archive that is not whole."""
    return CheckpointError(
        f"The checkpoint is damaged: {reason}", where=str(path), do="Download or copy the file again"
    )


def open_archive(path: Path, begin: int = 0, size: int | None = None) -> Archive:
    """The directory of the zip in `size` bytes of the file from `begin` on.

    Raises ZipDamage when there is none or it does not hold together, CheckpointError when it is one that
    only an attacker writes.
    """
    size = path.stat().st_size - begin if size is None else size
    with path.open("rb") as file:
        at, length, count = _end(file, begin, size)
        file.seek(begin + at)
        directory = file.read(length)
    if len(directory) < length:
        raise ZipDamage("its directory is cut off")
    records = _entries(directory, count, at)
    _refuse_overlaps(records)
    unpacked = sum(record.size for record in records if record.deflated)
    if unpacked > MAX_RATIO * size + SPARE:
        raise CheckpointError(
            f"The archive of {size:,} bytes claims to unpack to {unpacked:,}, as zip bombs do; it was not unpacked",
            where=str(path),
            do="Get the checkpoint from a source you trust",
        )
    named: dict[str, Record] = {}
    for record in records:
        if record.name in named:
            raise CheckpointError(
                f"The archive holds two records of the same name ({record.name})", where=str(path)
            )
        if record.name.startswith(("/", "\\")) or ".." in record.name.replace("\\", "/").split("/"):
            raise CheckpointError(
                f"The archive has a record outside of itself ({record.name})", where=str(path)
            )
        named[record.name] = record
    return Archive(path, begin, size, named)


def _end(file: IO[bytes], begin: int, size: int) -> tuple[int, int, int]:
    """Where the directory begins, its length, and how many records it lists."""
    tail = min(size, _END.size + 0xFFFF + _END64.size + _LOCATOR.size)
    file.seek(begin + size - tail)
    data = file.read(tail)
    at = data.rfind(b"PK\x05\x06")
    if at < 0 or len(data) - at < _END.size:
        raise ZipDamage("its end is missing")
    _, disk, first, here, count, length, offset, comment = _END.unpack_from(data, at)
    if at + _END.size + comment != len(data):
        raise ZipDamage("bytes follow its end")
    end = size - tail + at
    if at >= _LOCATOR.size and data.startswith(b"PK\x06\x07", at - _LOCATOR.size):
        _, disk64, place, _ = _LOCATOR.unpack_from(data, at - _LOCATOR.size)
        end -= _LOCATOR.size + _END64.size
        if end < 0 or place != end or disk64:
            raise ZipDamage("its 64-bit end is not where it should be")
        found = _END64.unpack_from(data, at - _LOCATOR.size - _END64.size)
        small = (disk, first, here, count, length, offset)
        disk, first, here, count, length, offset = found[4:]
        for narrow, wide in zip(small, found[4:], strict=True):
            if narrow not in (wide, 0xFFFF, 0xFFFFFFFF):
                raise ZipDamage("its 32-bit and 64-bit ends disagree")
        if found[0] != b"PK\x06\x06" or found[1] != _END64.size - 12:
            raise ZipDamage("its 64-bit end is malformed")
    if disk or first or here != count:
        raise ZipDamage("it is one part of several")
    if offset + length != end:
        raise ZipDamage("its directory does not fill its place")
    if count > MAX_RECORDS or length > MAX_DIRECTORY:
        raise ZipDamage(f"it claims {count:,} records")
    return offset, length, count


def _entries(directory: bytes, count: int, end: int) -> list[Record]:
    records: list[Record] = []
    at = 0
    while at < len(directory):
        if len(directory) - at < _ENTRY.size or not directory.startswith(b"PK\x01\x02", at):
            raise ZipDamage("its directory is malformed")
        fields = _ENTRY.unpack_from(directory, at)
        entry = end + at
        flags, method, crc, packed, size = fields[3], fields[4], fields[7], fields[8], fields[9]
        named, extra, comment, header = fields[10], fields[11], fields[12], fields[16]
        at += _ENTRY.size
        raw, more = directory[at : at + named], directory[at + named : at + named + extra]
        at += named + extra + comment
        if at > len(directory) or len(raw) < named:
            raise ZipDamage("its directory is malformed")
        size, packed, header = _wide(more, size, packed, header)
        name = _decoded(raw)
        if flags & 1:
            raise ZipDamage(f"the record {name} is encrypted")
        if size and (name.endswith("/") or fields[15] & FOLDER):
            raise ZipDamage(f"the record {name} is a folder with content")
        if method not in (0, 8) or (method == 0 and packed != size):
            raise ZipDamage(f"the record {name} is packed in an unusual way")
        if header + _LOCAL.size + named + packed > end:
            raise ZipDamage(f"the record {name} reaches beyond the end")
        records.append(Record(name, raw, header, packed, size, crc, method == 8, end, entry))
    if len(records) != count:
        raise ZipDamage(f"it lists {len(records)} records and claims {count}")
    return records


def _wide(extra: bytes, size: int, packed: int, header: int) -> tuple[int, int, int]:
    """The sizes and place, where they need 64 bits from the extra field."""
    numbers: list[int] = []
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            if numbers:
                raise ZipDamage("a record has two 64-bit sizes")
            usable = extra[at + 4 : at + 4 + length]
            numbers = list(struct.unpack_from(f"<{len(usable) // 8}Q", usable))
        at += 4 + length
    values = []
    for value in (size, packed, header):
        if value == 0xFFFFFFFF:
            if not numbers:
                raise ZipDamage("a record lacks its 64-bit size")
            value = numbers.pop(0)
        values.append(value)
    return values[0], values[1], values[2]


def _decoded(raw: bytes) -> str:
    try:
        name = raw.decode("utf-8")
    except UnicodeDecodeError:
        name = raw.decode("cp437")
    if "\0" in name:
        raise ZipDamage("a record's name holds a zero")
    return name


def _refuse_overlaps(records: list[Record]) -> None:
    """Raises ZipDamage when records share bytes; fills in where each one's place ends."""
    ordered = sorted(range(len(records)), key=lambda i: records[i].header)
    for this, following in pairwise(ordered):
        record, room = records[this], records[following].header
        if record.header + _LOCAL.size + len(record.raw) + record.packed > room:
            raise ZipDamage(f"the records {record.name} and {records[following].name} overlap")
        records[this] = replace(record, room=room)
