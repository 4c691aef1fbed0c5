"""The tensors of a model folder."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from repdiag.checkpoints import read_checkpoint
from repdiag.encoders.model_folder import weight_files
from repdiag.errors import CheckpointError


@dataclass(frozen=True)
class Weights:
    """All tensors of a folder; `notes` are readings, `stubbed` and `warnings` those of the checkpoint reader.

    `sha256` is the digest of the files' names and digests, for a single file its own.
    """

    container: str
    tensors: Mapping[str, torch.Tensor]
    sha256: str
    notes: tuple[str, ...] = ()
    stubbed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def read_weights(folder: Path) -> Weights:
    """The tensors of the folder's weights (`model_folder.weight_files`); raises CheckpointError."""
    found = weight_files(folder)
    files = {name: read_checkpoint(folder / name) for name in found.names}
    digest = hashlib.sha256("".join(f"{name} {file.sha256}\n" for name, file in files.items()).encode())
    tensors = found.merged({name: file.tensors for name, file in files.items()})
    return Weights(
        found.container(next(iter(files.values())).container),
        tensors,
        digest.hexdigest(),
        found.notes,
        tuple(dict.fromkeys(name for file in files.values() for name in file.stubbed)),
        tuple(dict.fromkeys(note for file in files.values() for note in file.warnings)),
    )


def floats(tensors: Mapping[str, torch.Tensor], where: str) -> dict[str, torch.Tensor]:
    """Copies of the tensors, in float32; CheckpointError when one is not finite, or holds a quantized weight."""
    found = {}
    for name, tensor in tensors.items():
        if not tensor.is_floating_point():
            if tensor.dim() >= 2 and name.endswith("weight"):
                raise CheckpointError(
                    f"The tensor {name} holds {tensor.dtype} numbers (a quantized model?), not floats",
                    where=where,
                )
        elif not bool(tensor.isfinite().all()):
            raise CheckpointError(
                f"The tensor {name} holds NaN or infinite values",
                where=where,
                do="The training diverged or the file is damaged; use another checkpoint",
            )
        wanted = torch.float32 if tensor.is_floating_point() else tensor.dtype
        found[name] = tensor.to(wanted, copy=True)  # memory of its own: sums depend on how it is aligned
    return found


def halves(tensors: Mapping[str, torch.Tensor]) -> tuple[str, ...]:
    """A sentence for each half-precision type among the tensors."""
    kinds = {str(tensor.dtype) for tensor in tensors.values()} & {"torch.float16", "torch.bfloat16"}
    return tuple(f"weights stored as {kind} are computed in float32" for kind in sorted(kinds))
