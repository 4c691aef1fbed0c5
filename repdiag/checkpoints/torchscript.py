"""TorchScript archives. Their code runs in torch's own interpreter, which knows tensors and little else."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import torch

from repdiag.checkpoints import zips
from repdiag.checkpoints.checkpoint import CONTAINERS, Contents
from repdiag.checkpoints.safe_load import load_errors
from repdiag.errors import UnsafeCheckpointError

FILE_ACCESS = re.compile(r"\b(torch\.(from_file|save|load)|ops\.aten\.(from_file|save|load))\b")
"""The interpreter's few operations that touch files; an encoder needs none."""


class TorchScript:
    """Loads the program on the CPU, in eval mode."""

    name = "TorchScript"

    def matches(self, path: Path, head: bytes, records: tuple[str, ...]) -> bool:
        """A zip with `constants.pkl` and `code/`."""
        names = [record.partition("/")[2] for record in records]
        return "constants.pkl" in names and any(name.startswith("code/") for name in names)

    def read(self, path: Path, *, trust_pickle: bool) -> Contents:
        """See `Container.read`; UnsafeCheckpointError when the program reads or writes files."""
        notes = zips.verify(path)
        for record in zips.records(path):
            source = zips.read(path, record).decode("utf-8", "replace") if record.endswith(".py") else ""
            if found := FILE_ACCESS.search(source):
                raise UnsafeCheckpointError(
                    f"The TorchScript program uses {found[0]}, which reads or writes files",
                    where=str(path),
                    do="Export the encoder alone",
                )
        with load_errors(str(path)), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = torch.jit.load(str(path), map_location="cpu").eval()  # type: ignore[no-untyped-call]
        return Contents(module, {}, module, (), notes)


CONTAINERS.add(TorchScript.name, TorchScript(), __name__)
