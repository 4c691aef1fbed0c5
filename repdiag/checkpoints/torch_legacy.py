"""torch.save files before torch 1.6: five pickles in a row, then the raw storages. They carry no checksum."""

from __future__ import annotations

from pathlib import Path

from repdiag.checkpoints import safe_load
from repdiag.checkpoints.checkpoint import CONTAINERS, Contents
from repdiag.checkpoints.pickle_scan import scan

MAGIC = bytes.fromhex("6cfc9c46f9206aa85019")  # torch's magic number, little-endian, as the pickle holds it
PICKLES = 5  # magic number, protocol version, system, the object, the storages' keys


class TorchLegacy:
    """Reads them into memory (they cannot be mapped)."""

    name = "torch.save (legacy)"

    def matches(self, path: Path, head: bytes, records: tuple[str, ...]) -> bool:
        """A pickle that begins with torch's magic number."""
        return head.startswith(b"\x80") and MAGIC in head[:32]

    def read(self, path: Path, *, trust_pickle: bool) -> Contents:
        """See `Container.read`."""
        with path.open("rb") as file:
            found = scan(file, PICKLES, str(path))
        return safe_load.load(path, found, mmap=False, trust_pickle=trust_pickle)


CONTAINERS.add(TorchLegacy.name, TorchLegacy(), __name__)
