"""Tensors made of the bytes they refer to. Every reference was checked against its storage before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repdiag.checkpoints.names import ITEM_SIZES
from repdiag.checkpoints.pickles import Machine
from repdiag.checkpoints.tensor_refs import Malformed, TensorRef, storage
from repdiag.checkpoints.zips import Archive, ZipDamage, damaged
from repdiag.errors import CheckpointError

if TYPE_CHECKING:
    import torch

ALIGNMENT = 16  # vector instructions expect it of a mapped tensor

Storages = Callable[[TensorRef], "torch.UntypedStorage"]
"""Gives the whole storage that a reference is a view of."""


class MappedFile:
    """A file's bytes as storages: mapped, so that what is never used is never read; copied if misaligned.

    Writing to a tensor changes memory only, never the file.
    """

    def __init__(self, path: Path) -> None:
        import torch

        self.path, self.size = path, path.stat().st_size
        self._whole = torch.UntypedStorage.from_file(str(path), False, self.size)

    def part(self, begin: int, length: int) -> torch.UntypedStorage:
        """`length` bytes from `begin` on; raises CheckpointError when the file ends before."""
        if begin + length > self.size:
            raise damaged("it ends before its last tensor", self.path)
        if begin % ALIGNMENT == 0 or not length:
            view: torch.UntypedStorage = self._whole[begin : begin + length]
            return view
        with self.path.open("rb") as file:
            file.seek(begin)
            return owned(file.read(length))


class ZippedStorages:
    """The storages of a torch.save archive, by key; `prefix` is its records' first folder, `folder` theirs.

    `swapped`: the numbers are stored with their most significant byte first.
    """

    def __init__(self, archive: Archive, prefix: str, folder: str = "data/") -> None:
        self.archive, self.folder = archive, prefix + folder
        self._file: MappedFile | None = None
        self._found: dict[str, torch.UntypedStorage] = {}
        order = f"{prefix}byteorder"
        self.swapped = order in archive.records and archive.read(order, 16) == b"big"

    def check(self, refs: Mapping[str, TensorRef]) -> None:
        """Raises CheckpointError when a tensor's storage is missing or too short."""
        for name, ref in refs.items():
            record = self.archive.records.get(self.folder + ref.storage)
            if ref.extent and (record is None or record.size < ref.extent):
                has = "is missing" if record is None else f"has {record.size:,} bytes"
                raise damaged(
                    f"the tensor '{name}' needs {ref.extent:,} bytes of the storage {ref.storage[:100]}, which {has}",
                    self.archive.path,
                )

    def check_all(self, machine: Machine) -> None:
        """Raises CheckpointError unless every storage that a pickle names is a record of just that length.

        For archives that torch itself will read: its own reader trusts these numbers.
        """
        for outside in machine.outside:
            try:
                key, dtype, numel, _ = storage(outside)
            except Malformed as error:
                raise damaged(f"one of its tensors is malformed, {error}", self.archive.path) from error
            record = self.archive.records.get(self.folder + key)
            has = record.size if record is not None else 0
            if dtype not in ITEM_SIZES or numel * ITEM_SIZES[dtype] != has:
                raise damaged(
                    f"the storage {key[:100]} of {numel:,} {dtype[:50]} has {has:,} bytes", self.archive.path
                )

    def __call__(self, ref: TensorRef) -> torch.UntypedStorage:
        """The storage of `ref`, which `check` has seen."""
        import torch

        if ref.storage not in self._found:
            record = self.archive.records.get(self.folder + ref.storage)
            if record is None or not record.size:
                whole = torch.UntypedStorage(0)  # type: ignore[no-untyped-call]
            elif record.deflated:
                whole = owned(self.archive.read(record.name, record.size))
            else:
                whole = self._mapped(record.name)
            if self.swapped and ITEM_SIZES[ref.dtype] > 1:
                whole = whole.clone()  # type: ignore[no-untyped-call]
                whole.byteswap(getattr(torch, ref.dtype))
            self._found[ref.storage] = whole
        return self._found[ref.storage]

    def _mapped(self, name: str) -> torch.UntypedStorage:
        record = self.archive.records[name]
        if self._file is None:
            self._file = MappedFile(self.archive.path)
        try:
            with self.archive.path.open("rb") as file:
                start = self.archive.start(file, record)
        except ZipDamage as error:
            raise damaged(str(error), self.archive.path) from error
        return self._file.part(start, record.size)


def owned(content: bytes) -> torch.UntypedStorage:
    """A storage in memory of its own; `content` is not empty."""
    import torch

    return torch.frombuffer(bytearray(content), dtype=torch.uint8).untyped_storage()


def build(refs: Mapping[str, TensorRef], storages: Storages, where: str) -> dict[str, torch.Tensor]:
    """The tensors by name; those that share a storage in the file share it in memory."""
    result: dict[str, torch.Tensor] = {}
    for name, ref in refs.items():
        try:
            result[name] = _tensor(ref, storages)
        except (RuntimeError, ValueError, TypeError, AttributeError) as error:  # an older torch lacks a dtype
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise CheckpointError(
                f"torch cannot make the tensor '{name}' of what the file says: {reason}", where=where
            ) from error
    return result


def refuse_difference(found: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor], path: Path) -> None:
    """Raises CheckpointError unless torch's own reader found what repdiag did: it reads archives differently."""
    if set(found) != set(own):
        raise damaged("torch finds other tensors in it than it describes", path)
    for name, tensor in own.items():
        if not same_bits(found[name], tensor):
            raise damaged(f"torch reads other numbers for '{name}' than there are", path)


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two tensors are equal to the bit: NaN is NaN here, and -0 is not 0."""
    import torch

    if (one.shape, one.dtype) != (other.shape, other.dtype):
        return False
    if one.is_quantized:
        one, other = one.int_repr(), other.int_repr()
    flat = (t.detach().contiguous().reshape(-1).view(torch.uint8) for t in (one, other))
    return torch.equal(*flat)


def _tensor(ref: TensorRef, storages: Storages) -> torch.Tensor:
    import torch

    dtype, whole = getattr(torch, ref.dtype), storages(ref)
    if ref.quantizer:
        return _quantized(ref, dtype, whole, storages)
    return torch.empty(0, dtype=dtype).set_(whole, ref.offset, ref.shape, ref.strides)


def _quantized(
    ref: TensorRef, dtype: torch.dtype, whole: torch.UntypedStorage, storages: Storages
) -> torch.Tensor:
    import torch

    scheme, *rest = ref.quantizer
    parameters: list[Any] = [_tensor(r, storages) if isinstance(r, TensorRef) else r for r in rest]
    typed = torch.storage.TypedStorage(  # type: ignore[no-untyped-call]
        wrap_storage=whole, dtype=dtype, _internal=True
    )
    quantizer = (getattr(torch, scheme), *parameters)
    made: torch.Tensor = torch._utils._rebuild_qtensor(  # type: ignore[no-untyped-call]
        typed, ref.offset, ref.shape, ref.strides, quantizer, False, None
    )
    return made
