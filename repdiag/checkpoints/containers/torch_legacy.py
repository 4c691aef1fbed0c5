"""torch.save files before torch 1.6: five pickles in a row, then the raw storages. They carry no checksum."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from repdiag.checkpoints import storages, torch_pickles, trusted
from repdiag.checkpoints.checkpoint import CONTAINERS, Contents, Outline, Source
from repdiag.checkpoints.names import ITEM_SIZES
from repdiag.checkpoints.pickles import Machine
from repdiag.checkpoints.tensor_refs import Malformed, TensorRef, storage, text
from repdiag.checkpoints.torch_pickles import Pickled
from repdiag.checkpoints.zips import damaged

if TYPE_CHECKING:
    import torch

MAGIC = bytes.fromhex("6cfc9c46f9206aa85019")  # torch's magic number, little-endian, as the pickle holds it


@dataclass(frozen=True)
class Place:
    """Where a storage's bytes are."""

    begin: int
    size: int


class TorchLegacy:
    """Maps them; storages that are not aligned (most are not) are copied when they are used."""

    name = "torch.save (legacy)"

    def matches(self, source: Source) -> bool:
        """A pickle that begins with torch's magic number."""
        return source.head.startswith(b"\x80") and MAGIC in source.head[:32]

    def outline(self, source: Source) -> Outline:
        """See `Container.outline`."""
        return self.survey(source)[0].outline

    def read(self, source: Source, *, trust_pickle: bool) -> Contents:
        """See `Container.read`."""
        if trust_pickle:
            return trusted.load(source, lambda: self.outline(source), mmap=False)
        pickled, places = self.survey(source)
        file = storages.MappedFile(source.path)
        copied: dict[str, torch.UntypedStorage] = {}

        def whole(ref: TensorRef) -> torch.UntypedStorage:
            if ref.storage not in copied:
                place = places.get(ref.storage, Place(0, 0))
                copied[ref.storage] = file.part(place.begin, place.size)
            return copied[ref.storage]

        told = pickled.outline
        tensors = storages.build(pickled.refs, whole, source.where)
        return Contents(tensors, told.metadata, None, told.stubbed, told.warnings, told.facts)

    def survey(self, source: Source) -> tuple[Pickled, dict[str, Place]]:
        """What the pickle describes, and where each storage lies, after all checks."""
        with _mapped(source) as data:
            machine = Machine(data, source.where)
            for _ in range(3):  # magic number, protocol version, system
                machine.load()
            pickled = torch_pickles.outline(machine.load(), machine)
            keys = machine.load()
            torch_pickles.refuse_hostile(machine)
            places = _places(source, data, machine, keys)
        for name, ref in pickled.refs.items():
            if ref.extent > places.get(ref.storage, Place(0, 0)).size:
                raise damaged(f"the tensor '{name}' has no complete storage", source.path)
        return pickled, places


def _places(source: Source, data: mmap.mmap, machine: Machine, keys: Any) -> dict[str, Place]:
    """Where each of the `keys`' storages lies behind the pickles: eight bytes of size, then the elements."""
    try:
        known = {key: (dtype, numel) for key, dtype, numel, _ in map(storage, reversed(machine.outside))}
    except Malformed as error:
        raise damaged(f"one of its tensors is malformed, {error}", source.path) from error
    places: dict[str, Place] = {}
    at = machine.at
    for given in keys if isinstance(keys, list) else ():
        key = text(given)
        if key is None or key not in known or key in places:
            raise damaged("its list of storages is malformed", source.path)
        dtype, numel = known[key]
        length = numel * ITEM_SIZES.get(dtype, 1)
        if int.from_bytes(data[at : at + 8], "little") != numel or at + 8 + length > len(data):
            raise damaged("a storage is cut off or not as long as it should be", source.path)
        places[key] = Place(at + 8, length)
        at += 8 + length
    return places


@contextmanager
def _mapped(source: Source) -> Iterator[mmap.mmap]:
    with source.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        yield data


CONTAINERS.add(TorchLegacy.name, TorchLegacy(), __name__)
