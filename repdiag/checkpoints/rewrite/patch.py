"""Writing tensors into the places that they have in a file."""

from __future__ import annotations

import struct
import zlib
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import torch

from repdiag.checkpoints.reader import container_of, source_of
from repdiag.checkpoints.rewrite.packing import repacked
from repdiag.checkpoints.rewrite.place import FAMILIES, Home, Window
from repdiag.checkpoints.storages import same_bits
from repdiag.checkpoints.zips import ZipDamage, damaged
from repdiag.errors import CheckpointError, UsageError

DESCRIBED = 1 << 3  # of a record's flags: its checksum follows its content
DESCRIPTOR = b"PK\x07\x08"


@dataclass(frozen=True)
class Replaced:
    """`names` were written. `along` are other tensors that changed too, for they share numbers with these."""

    names: tuple[str, ...]
    along: tuple[str, ...]


@dataclass(frozen=True)
class _Piece:
    """A tensor of the file in one storage; `new` are its numbers to be, None where they are to stay."""

    name: str
    window: Window
    new: torch.Tensor | None


def replace_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> Replaced:
    """Write `tensors`, by their names in the file, into the file or folder at `path`, which is changed in place.

    `path` must be a copy that nobody else looks at: a failure leaves it half written. Types, shapes, strides and
    shared storages stay as they are, numbers are rounded to the stored type; the file's length stays too, unless a
    record of a zip is compressed. Raises UsageError when the container cannot be written back, a tensor is not in
    it or of another shape, or two that share numbers are to get different ones; OSError as writing does; and
    CheckpointError or UnsafeCheckpointError as reading does.
    """
    source = source_of(path)
    kind = container_of(source).name
    if kind not in {family.name for family in FAMILIES}:
        raise UsageError(f"A {kind} file cannot be written back", where=str(path))
    windows = FAMILIES.get(kind).windows(source)
    if lacking := [name for name in tensors if name not in windows]:
        raise UsageError(
            f"{len(lacking)} of the tensors have no place of their own in the file (first: {lacking[0]})",
            where=str(path),
        )
    homes: dict[Home, list[_Piece]] = defaultdict(list)
    for name, parts in windows.items():
        for window in parts:
            if window.ref.extent:
                homes[window.home].append(_Piece(name, window, _part(name, window, tensors.get(name))))
    touched = {h: found for h, found in homes.items() if any(piece.new is not None for piece in found)}
    compressed = {home.path for home in touched if home.deflated}
    anew: dict[Path, dict[Home, bytes]] = defaultdict(dict)
    along: dict[str, None] = {}
    for home, pieces in touched.items():
        content, others = _changed(home, pieces)
        along.update(dict.fromkeys(others))
        if home.path in compressed:
            anew[home.path][home] = bytes(content)
        else:
            _write(home, content)
    for file, contents in anew.items():
        repacked(file, contents)
    return Replaced(tuple(tensors), tuple(name for name in windows if name in along))


def _part(name: str, window: Window, whole: torch.Tensor | None) -> torch.Tensor | None:
    """What of the tensor belongs into the window, in the type that is stored there."""
    if whole is None:
        return None
    if window.ref.quantizer:
        raise UsageError(f"The tensor {name} is quantized in the file and cannot be written back")
    if window.box is not None:
        for axis, (begin, length) in enumerate(zip(window.box.offsets, window.box.sizes, strict=True)):
            whole = whole.narrow(axis, begin, length)
    if tuple(whole.shape) != window.ref.shape:
        raise UsageError(
            f"The tensor {name} is {window.ref.shape} in the file, and {tuple(whole.shape)} would be written"
        )
    return whole.detach().cpu().to(getattr(torch, window.ref.dtype))


def _changed(home: Home, pieces: list[_Piece]) -> tuple[bytearray, list[str]]:
    """The storage's new bytes, and the names of the tensors that changed although they were to stay."""
    content = _read(home)
    shown = [piece for piece in pieces if not piece.window.ref.quantizer]
    before = {id(p): _seen(home, content, p.window).clone() for p in shown if p.new is None}
    for piece in shown:
        if piece.new is not None:
            _put(home, content, piece.window, piece.new)
    along = []
    for piece in shown:
        after = _seen(home, content, piece.window)
        if piece.new is None:
            if not same_bits(before[id(piece)], after):
                along.append(piece.name)
        elif not same_bits(piece.new, after):
            raise UsageError(
                f"The tensor {piece.name} shares its numbers with another one in the file, or with itself, and"
                " training gave them different ones",
                where=str(home.path),
            )
    return content, along


def _read(home: Home) -> bytearray:
    with home.path.open("rb") as file:
        if home.deflated:
            assert home.archive is not None
            assert home.record is not None
            try:
                return bytearray(b"".join(home.archive.blocks(file, home.record)))
            except ZipDamage as error:
                raise damaged(str(error), home.path) from error
        file.seek(home.begin)
        content = bytearray(file.read(home.size))
    if len(content) < home.size:
        raise CheckpointError("The file ends before its last tensor", where=str(home.path))
    return content


def _view(content: bytearray, window: Window) -> torch.Tensor:
    ref = window.ref
    whole = torch.frombuffer(content, dtype=torch.uint8).untyped_storage()
    return torch.empty(0, dtype=getattr(torch, ref.dtype)).set_(whole, ref.offset, ref.shape, ref.strides)


def _seen(home: Home, content: bytearray, window: Window) -> torch.Tensor:
    """The numbers in the window; a copy where their bytes are swapped."""
    view = _view(content, window)
    return _turned(view) if home.swapped else view


def _put(home: Home, content: bytearray, window: Window, new: torch.Tensor) -> None:
    view = _view(content, window)
    for axis, stride in enumerate(window.ref.strides):
        if stride == 0 and view.shape[axis] > 1:  # one number for the whole axis
            view, new = view.narrow(axis, 0, 1), new.narrow(axis, 0, 1)
    view.copy_(_turned(new) if home.swapped else new)


def _turned(tensor: torch.Tensor) -> torch.Tensor:
    """A copy with the bytes of each number in the opposite order."""
    turned = tensor.contiguous().clone()
    turned.untyped_storage().byteswap(turned.dtype)  # type: ignore[no-untyped-call]
    return turned


def _write(home: Home, content: bytearray) -> None:
    with home.path.open("rb+") as file:
        file.seek(home.begin)
        file.write(content)
        if home.record is not None and home.record.crc:  # zero: written without checksums, and so it stays
            _write_crc(file, home, zlib.crc32(content))


def _write_crc(file: IO[bytes], home: Home, crc: int) -> None:
    """The checksum in the record's own header (or behind its content) and in the directory."""
    assert home.archive is not None
    assert home.record is not None
    packed = struct.pack("<L", crc)
    start = home.archive.begin + home.record.header
    file.seek(start + 6)
    (flags,) = struct.unpack("<H", file.read(2))
    at = start + 14
    if flags & DESCRIBED:
        file.seek(home.begin + home.size)
        signed = file.read(len(DESCRIPTOR)) == DESCRIPTOR
        at = home.begin + home.size + (len(DESCRIPTOR) if signed else 0)
    for place in (at, home.archive.begin + home.record.entry + 16):
        file.seek(place)
        file.write(packed)
