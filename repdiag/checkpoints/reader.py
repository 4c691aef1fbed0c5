"""`read_checkpoint`: recognize the family, read it, and say clearly what a file is when it is none."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from repdiag.checkpoints import zips
from repdiag.checkpoints.checkpoint import CONTAINERS, Checkpoint, Container, flatten
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
    (r"PK\x03\x04", "a zip archive that is cut off or damaged", "Download or copy the file again"),
    (r"\x80[\x02-\x05]", "a plain Python pickle, not written by torch.save", "Save it with torch.save"),
)


def read_checkpoint(path: str | Path, *, trust_pickle: bool = False) -> Checkpoint:
    """The tensors in the file at `path` and what is known about them; nothing in the file is run.

    With `trust_pickle` (the user's explicit word) pickles may run their code: the only way to that.
    Raises CheckpointError when the file is missing, damaged or no checkpoint, and UnsafeCheckpointError when
    it can only be opened by running code that it brings along.
    """
    path = Path(path)
    head, sha256 = _head_and_digest(path)
    records = zips.records(path) if head.startswith(b"PK") else ()
    container = _container(path, head, records)
    try:
        contents = container.read(path, trust_pickle=trust_pickle)
        tensors = flatten(contents.root, str(path))
    except MemoryError as error:
        raise ResourceError("The checkpoint does not fit into memory", where=str(path)) from error
    if not tensors and contents.module is None:
        raise CheckpointError(f"There is no tensor in the file ({container.name})", where=str(path))
    return Checkpoint(
        container.name,
        tensors,
        sha256,
        contents.metadata,
        contents.module,
        contents.stubbed,
        contents.warnings,
    )


def _head_and_digest(path: Path) -> tuple[bytes, str]:
    where = str(path)
    if path.is_dir():
        raise CheckpointError("A checkpoint file is needed, this is a folder", where=where)
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError as error:
        raise CheckpointError("There is no such file", where=where) from error
    except OSError as error:
        raise CheckpointError(f"The file cannot be read: {error.strerror or error}", where=where) from error
    if not head:
        raise CheckpointError("The file is empty", where=where, do="Download or copy it again")
    return head, digest


def _container(path: Path, head: bytes, records: tuple[str, ...]) -> Container:
    """The family whose marks the file bears; CheckpointError that says what the file is otherwise."""
    for container in CONTAINERS:
        if container.matches(path, head, records):
            return container
    if records:
        some = ", ".join(records[:3])
        raise CheckpointError(
            f"The file is a zip archive but no checkpoint (it holds {some})", where=str(path)
        )
    text = head.decode("latin-1")
    for pattern, what, do in NO_CHECKPOINTS:
        if re.match(pattern, text):
            raise CheckpointError(f"The file is {what}", where=str(path), do=do)
    if all(byte >= 32 or byte in b"\t\r\n\f" for byte in head):
        begin = re.sub(r"\s+", " ", text[:40]).strip()
        raise CheckpointError(f"The file is text, not a checkpoint (it begins '{begin}')", where=str(path))
    known = ", ".join(container.name for container in CONTAINERS)
    raise CheckpointError(
        "The file is of no kind that repdiag knows", where=str(path), do=f"Known are: {known}"
    )
