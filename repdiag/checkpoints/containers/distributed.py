"""Folders of torch.distributed.checkpoint: `.metadata`, and tensors in parts in `__RANK_N.distcp` files.

torch's own reader unpickles `.metadata` without any restriction. Here it is followed like every other pickle,
and each part is a small torch.save archive inside its file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repdiag.checkpoints import storages, tree
from repdiag.checkpoints.boxes import Box, fill
from repdiag.checkpoints.checkpoint import CONTAINERS, Contents, Fact, Outline, Source, TensorInfo
from repdiag.checkpoints.containers.torch_zip import survey
from repdiag.checkpoints.names import ITEM_SIZES, Global
from repdiag.checkpoints.pickle_values import Key, Object
from repdiag.checkpoints.pickles import MAX_PICKLE, Machine
from repdiag.checkpoints.tensor_refs import Malformed, attributes, scalar, sizes
from repdiag.checkpoints.torch_pickles import refuse_hostile
from repdiag.checkpoints.zips import Archive, ZipDamage, damaged, open_archive
from repdiag.errors import CheckpointError

if TYPE_CHECKING:
    import torch

METADATA = ".metadata"
MAX_FACT = 1 << 16  # bytes of an entry that may be a plain value
_PACKAGE = "torch.distributed.checkpoint"


@dataclass(frozen=True)
class Part:
    """Where a part of a tensor, or a whole entry, is: `length` bytes of a file."""

    file: str
    offset: int
    length: int


@dataclass(frozen=True)
class Sharded:
    """A tensor and its parts: which of its elements each holds, and where."""

    info: TensorInfo
    parts: tuple[tuple[Box, Part], ...]


@dataclass(frozen=True)
class Index:
    """What `.metadata` tells: tensors and other entries by name, the names that it asks for."""

    tensors: dict[str, Sharded]
    others: dict[str, Part]
    globals: tuple[Global, ...]


class Distributed:
    """Assembles the tensors; the entries that are plain values become facts."""

    name = "torch.distributed.checkpoint"

    def matches(self, source: Source) -> bool:
        """A folder with `.metadata`."""
        return source.path.is_dir()

    def outline(self, source: Source) -> Outline:
        """See `Container.outline`."""
        index = index_of(source)
        return Outline(
            tensors={name: sharded.info for name, sharded in index.tensors.items()},
            facts=dict(_facts(source.path, index.others)),
            keys=tuple(dict.fromkeys(n.partition(".")[0] for n in (*index.tensors, *index.others)))[:200],
            globals=tuple(str(name) for name in index.globals),
            stubbed=tuple(str(n) for n in index.globals if not (n.known or n.module.startswith(_PACKAGE))),
        )

    def read(self, source: Source, *, trust_pickle: bool) -> Contents:
        """See `Container.read`; nothing here needs trust."""
        index, told = index_of(source), self.outline(source)
        notes: dict[str, None] = {}
        tensors: dict[str, torch.Tensor] = {}
        for name, sharded in index.tensors.items():
            parts = []
            for box, part in sharded.parts:
                tensor, more = _part(source.path / part.file, part)
                notes.update(dict.fromkeys(more))
                if (tuple(tensor.shape), str(tensor.dtype)[6:]) != (box.sizes, sharded.info.dtype):
                    raise damaged(f"a part of '{name}' is not what .metadata says", source.path)
                parts.append((box, tensor))
            tensors[name] = fill(sharded.info.shape, parts)
        return Contents(tensors, {}, None, told.stubbed, tuple(notes), told.facts)


def _part(path: Path, part: Part) -> tuple[torch.Tensor, tuple[str, ...]]:
    archive = open_part(path, part)
    notes = archive.verify()
    pickled, zipped = survey(archive, str(path))
    if set(pickled.refs) != {""}:
        raise damaged("a part is no tensor", path)
    return storages.build(pickled.refs, zipped, str(path))[""], notes


def open_part(path: Path, part: Part) -> Archive:
    """The torch.save archive that a part is; raises CheckpointError."""
    try:
        archive = open_archive(path, part.offset, part.length)
    except ZipDamage as error:
        raise damaged(f"the part at byte {part.offset:,} is no archive: {error}", path) from error
    if not any(name.partition("/")[2] == "data.pkl" for name in archive.records):
        raise damaged(f"the part at byte {part.offset:,} is not from torch.save", path)
    return archive


def _facts(folder: Path, others: dict[str, Part]) -> Iterator[tuple[str, Fact]]:
    """The entries that are plain values, or dictionaries of these."""
    given = 0
    for name, part in others.items():
        if given >= tree.MAX_FACTS:
            return
        if part.length > MAX_FACT:
            continue
        archive = open_part(folder / part.file, part)
        pickle = next(name for name in archive.records if name.partition("/")[2] == "data.pkl")
        machine = Machine(archive.read(pickle, MAX_FACT), str(folder))
        value = machine.load()
        refuse_hostile(machine)
        fact = scalar(value)
        found = {name: fact} if fact is not None else {f"{name}.{k}": v for k, v in tree.facts(value).items()}
        given += len(found)
        yield from found.items()


# ------------------------------------------------------------------------------------------ .metadata


def index_of(source: Source) -> Index:
    """What `.metadata` tells, each part within its file; raises CheckpointError."""
    path = source.path / METADATA
    if path.stat().st_size > MAX_PICKLE:
        raise CheckpointError(".metadata is larger than any real one", where=source.where)
    machine = Machine(path.read_bytes(), str(path))
    root = machine.load()
    refuse_hostile(machine)
    if not isinstance(root, Object) or root.called != f"{_PACKAGE}.metadata.Metadata":
        raise CheckpointError(".metadata is not that of torch.distributed.checkpoint", where=source.where)
    try:
        return _read_index(source, dict(attributes(root) or ()), tuple(machine.globals))
    except (Malformed, KeyError, TypeError, ValueError) as error:
        reason = f": {error}" if isinstance(error, Malformed) else ""
        raise damaged(f".metadata does not hold together{reason}", source.path) from error


def _read_index(source: Source, root: dict[Any, Any], names: tuple[Global, ...]) -> Index:
    lengths = {p.name: p.stat().st_size for p in source.path.iterdir() if p.is_file()}
    places: dict[tuple[str, tuple[int, ...] | None], Part] = {}
    for key, value in _dictionary(root["storage_data"]).items():
        if not isinstance(key, Key):
            raise Malformed("an index is no MetadataIndex")
        index = dict(attributes(key.value) or ())
        offset = index.get("offset")
        where = (str(_text(index["fqn"])), None if offset is None else sizes(offset))
        if where in places:
            raise Malformed(f"it places '{where[0]}' twice")
        places[where] = _place(dict(attributes(value) or ()), lengths)
    if sum(part.length for part in places.values()) > sum(lengths.values()):
        raise Malformed("its parts are larger than the files together")
    tensors: dict[str, Sharded] = {}
    others: dict[str, Part] = {}
    for name, entry in _dictionary(root["state_dict_metadata"]).items():
        name = _text(name)
        if not isinstance(entry, Object):
            raise Malformed(f"'{name}' is not described")
        if entry.called.endswith(".BytesStorageMetadata"):
            if (name, None) in places:
                others[name] = places[name, None]
        elif entry.called.endswith(".TensorStorageMetadata"):
            tensors[name] = _sharded(name, dict(attributes(entry) or ()), places)
        else:
            raise Malformed(f"'{name}' is a {entry.called[:100]}")
    return Index(tensors, others, names)


def _place(info: dict[Any, Any], lengths: dict[str, int]) -> Part:
    name, offset, length = _text(info["relative_path"]), info["offset"], info["length"]
    if info.get("transform_descriptors"):
        raise Malformed(
            "its parts went through extensions (compression or encryption), which repdiag has not"
        )
    if "/" in name or "\\" in name or name in ("", ".", ".."):
        raise Malformed(f"it points outside of the folder ({name[:100]})")
    if name not in lengths:
        raise Malformed(f"the file {name[:100]} is missing")
    if type(offset) is not int or type(length) is not int or offset < 0 or length < 0:
        raise Malformed("a place is no number")
    if offset + length > lengths[name]:
        raise Malformed(f"the file {name[:100]} is cut off")
    return Part(name, offset, length)


def _sharded(name: str, entry: dict[Any, Any], places: dict[Any, Part]) -> Sharded:
    state = entry["properties"].state
    dtype = (
        state[0]
        if isinstance(state, tuple) and state
        else dict(attributes(entry["properties"]) or ()).get("dtype")
    )
    if not isinstance(dtype, Global) or dtype.module != "torch" or dtype.name not in ITEM_SIZES:
        raise Malformed(f"'{name}' has no type that repdiag reads")
    shape = sizes(entry["size"])
    parts: list[tuple[Box, Part]] = []
    for chunk in entry["chunks"] if isinstance(entry["chunks"], list) else ():
        found = dict(attributes(chunk) or ())
        box = Box(sizes(found["offsets"]), sizes(found["sizes"]))
        part = places.get((name, box.offsets))
        if part is None:
            raise Malformed(f"a part of '{name}' is nowhere")
        if box.volume * ITEM_SIZES[dtype.name] > part.length:
            raise Malformed(f"a part of '{name}' has fewer bytes than elements")
        parts.append((box, part))
    if not Box.tile(shape, [box for box, _ in parts]):
        raise Malformed(f"the parts of '{name}' do not make up shape {shape}")
    return Sharded(TensorInfo(shape, dtype.name), tuple(parts))


def _dictionary(value: Any) -> dict[Any, Any]:
    if type(value) is not dict:
        raise Malformed("a dictionary is missing")
    return value


def _text(value: Any) -> str:
    if type(value) is not str or len(value) > tree.MAX_NAME:
        raise Malformed("a name is no text")
    return value


CONTAINERS.add(Distributed.name, Distributed(), __name__)
