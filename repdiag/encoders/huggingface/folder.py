"""The files of a model folder: its JSON and its tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from repdiag.checkpoints import read_checkpoint
from repdiag.errors import CheckpointError

WEIGHTS = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
"""In the order in which transformers prefers them."""


@dataclass(frozen=True)
class Weights:
    """All tensors of a folder; `notes` are readings, `stubbed` and `warnings` those of the checkpoint reader."""

    container: str
    tensors: Mapping[str, torch.Tensor]
    notes: tuple[str, ...] = ()
    stubbed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; CheckpointError when the file is something else."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CheckpointError(f"The file cannot be read: {error.strerror}", where=str(path)) from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError("The file is no JSON", where=str(path)) from error
    if not isinstance(found, dict):
        raise CheckpointError("The file holds no JSON object", where=str(path))
    return found


def read_weights(folder: Path) -> Weights:
    """The tensors of the folder's weights, from one file or from all shards that an index names.

    Raises CheckpointError when there are none, a shard is missing, or shards and index do not agree.
    """
    there = [name for name in WEIGHTS if (folder / name).is_file()]
    if not there:
        raise CheckpointError(
            "The folder has a config.json but no weights",
            where=str(folder),
            do=f"Download {' or '.join(WEIGHTS[::2])} too; other frameworks' weights are not read",
        )
    chosen, others = there[0], there[1:]
    notes = (f"{chosen} was read, {', '.join(others)} was not",) if others else ()
    if not chosen.endswith(".index.json"):
        file = read_checkpoint(folder / chosen)
        kind = f"Hugging Face folder ({file.container})"
        return Weights(kind, file.tensors, notes, file.stubbed, file.warnings)
    return _sharded(folder, chosen, notes)


def _sharded(folder: Path, index: str, notes: tuple[str, ...]) -> Weights:
    where = str(folder / index)
    places = read_json(folder / index).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise CheckpointError("The index has no weight_map of tensors and files", where=where)
    tensors: dict[str, torch.Tensor] = {}
    stubbed: list[str] = []
    warnings: list[str] = []
    containers = []
    for shard in sorted(set(places.values())):
        if Path(shard).name != shard or shard in (".", ".."):
            raise CheckpointError(f"The index names a file outside of the folder: '{shard}'", where=where)
        if not (folder / shard).is_file():
            raise CheckpointError(f"The shard {shard} is missing", where=where, do="Download it too")
        file = read_checkpoint(folder / shard)
        if twice := tensors.keys() & file.tensors.keys():
            raise CheckpointError(f"Two shards hold the tensor {min(twice)}", where=where)
        tensors |= file.tensors
        containers.append(file.container)
        stubbed += file.stubbed
        warnings += file.warnings
    if gone := [name for name in places if name not in tensors]:
        raise CheckpointError(
            f"The shards lack {len(gone)} tensors that the index names (first: {gone[0]})", where=where
        )
    kind = f"Hugging Face folder ({len(containers)} shards of {containers[0]})"
    return Weights(kind, tensors, notes, tuple(dict.fromkeys(stubbed)), tuple(dict.fromkeys(warnings)))


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
