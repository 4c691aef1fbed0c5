"""`read_checkpoint` and `read_layout`: recognize the family and read it, or say what the file is instead."""

from __future__ import annotations

import dataclasses
import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from repdiag.checkpoints.checkpoint import CONTAINERS, Checkpoint, Container, Layout, Source
from repdiag.checkpoints.zips import ZipDamage, open_archive
from repdiag.errors import CheckpointError, ResourceError

HEAD = 512

_AGAIN = "Download the checkpoint file itself"
NO_CHECKPOINTS: tuple[tuple[str, str, str], ...] = (
    # (pattern of the first bytes, what the file is, what to do)
    (r"version https://git-lfs", "a Git LFS pointer, not the checkpoint it points to", "Run `git lfs pull`"),
    (r"\s*(?i:<!doctype html|<html|<head)", "a web page (HTML), not a checkpoint", _AGAIN),
    (r"\s*<\?xml", "an XML document (often a server's error message), not a checkpoint", _AGAIN),
    (r"\x1f\x8b|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd|7z\xbc\xaf", "a compressed file", "Unpack it first"),
    (
        r"\x89HDF\r\n",
        "an HDF5 file (Keras or TensorFlow), which repdiag does not read",
        "Convert it to PyTorch",
    ),
    (r"(?s:.{257}ustar)", "a tar archive", "Unpack it, and give the checkpoint inside"),
    (r"\x80[\x02-\x05]", "a plain Python pickle, not written by torch.save", "Save it with torch.save"),
)
FLAT = re.compile(r"(?:^|\.)_?flat_param(?:_\d+)?$")


def read_checkpoint(path: str | Path, *, trust_pickle: bool = False) -> Checkpoint:
    """The tensors in the file (or torch.distributed.checkpoint folder) at `path` and what is known about them.

    Nothing in the file is run, except that with `trust_pickle` (the user's explicit word) pickles may run
    their code: the only way to that.
    Raises CheckpointError when the file is missing, damaged or no checkpoint, and UnsafeCheckpointError when
    it can only be opened by running code that it brings along.
    """
    source = source_of(Path(path))
    container = container_of(source)
    with _enough_memory(source):
        contents = container.read(source, trust_pickle=trust_pickle)
    if not contents.tensors and contents.module is None:
        raise _empty(container, source)
    _refuse_flat(contents.tensors, source)
    return Checkpoint(container.name, sha256=source.sha256, **_fields(contents))


def read_layout(path: str | Path) -> Layout:
    """All that `read_checkpoint` would find but the weights, in a fraction of the time and without torch.

    The records that hold weights are not read, so that damage inside of them is not seen here.
    Raises as `read_checkpoint` does.
    """
    source = source_of(Path(path))
    container = container_of(source)
    with _enough_memory(source):
        outline = container.outline(source)
    if not outline.tensors and not outline.program:
        raise _empty(container, source)
    _refuse_flat(outline.tensors, source)
    return Layout(container.name, sha256=source.sha256, size=source.size, **_fields(outline))


def _fields(record: Any) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}


@contextmanager
def _enough_memory(source: Source) -> Iterator[None]:
    try:
        yield
    except MemoryError as error:
        raise ResourceError("The checkpoint does not fit into memory", where=source.where) from error


def _empty(container: Container, source: Source) -> CheckpointError:
    return CheckpointError(f"There is no tensor in the file ({container.name})", where=source.where)


def _refuse_flat(tensors: Mapping[str, Any], source: Source) -> None:
    flat = next((name for name in tensors if FLAT.search(name)), None)
    if flat is not None:
        raise CheckpointError(
            f"The model was saved with FSDP's flattened parameters ('{flat}'), which hold no names or shapes",
            where=source.where,
            do="Save it with full_state_dict=True (StateDictType.FULL_STATE_DICT)",
        )


def source_of(path: Path) -> Source:
    """What all families begin with: the first bytes, the digest, and the directory of a zip."""
    where = str(path)
    try:
        if path.is_dir():
            return _folder(path)
        with path.open("rb") as file:
            head = file.read(HEAD)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            size = file.seek(0, 2)
    except FileNotFoundError as error:
        raise CheckpointError("There is no such file", where=where) from error
    except OSError as error:
        raise CheckpointError(f"The file cannot be read: {error.strerror or error}", where=where) from error
    if not head:
        raise CheckpointError("The file is empty", where=where, do="Download or copy it again")
    archive = None
    if head.startswith(b"PK"):
        try:
            archive = open_archive(path)
        except ZipDamage as error:
            raise CheckpointError(
                f"The file is a zip archive that is cut off or damaged ({error})",
                where=where,
                do="Download or copy the file again",
            ) from error
    return Source(path, head, size, digest, archive)


def _folder(path: Path) -> Source:
    """A folder of torch.distributed.checkpoint; its digest is over its files' names and digests."""
    if not (path / ".metadata").is_file():
        if any(path.glob("*.distcp")):
            raise CheckpointError(
                "The torch.distributed.checkpoint folder has no .metadata: its saving was interrupted",
                where=str(path),
                do="Take an earlier checkpoint",
            )
        raise CheckpointError("A checkpoint file is needed, this is a folder", where=str(path))
    total, size = hashlib.sha256(), 0
    for file in sorted(p for p in path.iterdir() if p.is_file()):
        with file.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha256").hexdigest()
            size += opened.seek(0, 2)
        total.update(f"{file.name}\0{digest}\n".encode("utf-8", "surrogateescape"))
    return Source(path, b"", size, total.hexdigest())


def container_of(source: Source) -> Container:
    """The family whose marks the file bears; CheckpointError that says what the file is otherwise."""
    for container in CONTAINERS:
        if container.matches(source):
            return container
    if source.archive is not None:
        some = ", ".join([*source.archive.records][:3])
        raise CheckpointError(
            f"The file is a zip archive but no checkpoint (it holds {some[:200]})", where=source.where
        )
    text = source.head.decode("latin-1")
    for pattern, what, do in NO_CHECKPOINTS:
        if re.match(pattern, text):
            raise CheckpointError(f"The file is {what}", where=source.where, do=do)
    if all(byte >= 32 or byte in b"\t\r\n\f" for byte in source.head):
        begin = re.sub(r"\s+", " ", text[:40]).strip()
        raise CheckpointError(f"The file is text, not a checkpoint (it begins '{begin}')", where=source.where)
    known = ", ".join(container.name for container in CONTAINERS)
    raise CheckpointError(
        "The file is of no kind that repdiag knows", where=source.where, do=f"Known are: {known}"
    )
