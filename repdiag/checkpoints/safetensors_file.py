"""safetensors: a JSON header with names, shapes and free metadata, then the raw tensors; nothing executable."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError, safe_open

from repdiag.checkpoints.checkpoint import CONTAINERS, Contents
from repdiag.errors import CheckpointError


class Safetensors:
    """Reads them through the library's memory map."""

    name = "safetensors"

    def matches(self, path: Path, head: bytes, records: tuple[str, ...]) -> bool:
        """Eight bytes of header length, then JSON."""
        return len(head) >= 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 2**32

    def read(self, path: Path, *, trust_pickle: bool) -> Contents:
        """See `Container.read`."""
        try:
            with safe_open(path, framework="pt", device="cpu") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no iterator
                return Contents(tensors, dict(file.metadata() or {}))
        except (SafetensorError, OSError, ValueError) as error:
            raise CheckpointError(
                f"The safetensors file is damaged: {str(error).splitlines()[0]}",
                where=str(path),
                do="Download or copy the file again",
            ) from error


CONTAINERS.add(Safetensors.name, Safetensors(), __name__)
