"""`torch.load` with weights_only=True, made to get past harmless globals without importing them."""

from __future__ import annotations

import contextlib
import io
import pickle
import warnings
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path

import torch

from repdiag.checkpoints.checkpoint import Contents, flatten, own_metadata
from repdiag.checkpoints.pickle_scan import Global, Inert, Scan, probe, stand_ins
from repdiag.errors import CheckpointError, UnsafeCheckpointError

WAY_OUT = (
    "Save its state_dict() with torch.save or safetensors, export it with TorchScript or torch.export,"
    " or pass --trust-pickle if you trust whoever made the file"
)


def blocked_globals(names: Collection[Global]) -> list[Global]:
    """Those that torch's weights-only loader would refuse, in the given order."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:  # the smallest file that torch takes for a checkpoint
        archive.writestr("archive/data.pkl", probe(names))
        archive.writestr("archive/version", "3\n")
    buffer.seek(0)
    refused = set(torch.serialization.get_unsafe_globals_in_checkpoint(buffer))
    return [name for name in names if str(name) in refused]


def load(path: Path, found: Scan, *, mmap: bool, trust_pickle: bool) -> Contents:
    """The pickled object of a torch.save file whose opcodes were scanned; see `Container.read`."""
    where = str(path)
    if trust_pickle:
        return _load_trusted(path, mmap=mmap)
    hostile = [str(name) for name in found.globals if name.hostile]
    if hostile:
        raise UnsafeCheckpointError(
            f"The checkpoint asks to run {', '.join(hostile)}, which no model needs; nothing was run",
            where=where,
            do="Do not open it with other tools, and get the weights from a source you trust",
        )
    blocked = blocked_globals(found.globals)
    with torch.serialization.safe_globals(stand_ins(found, blocked)), load_errors(where):
        root = torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    tensors_inside = bool(flatten(root, where))
    if isinstance(root, Inert) or (blocked and not tensors_inside):
        first = ", ".join(str(name) for name in blocked[:3])
        raise UnsafeCheckpointError(
            f"The file is a pickled Python object ({first}), not a dictionary of tensors;"
            " opening it would run its code",
            where=where,
            do=WAY_OUT,
        )
    return Contents(root, own_metadata(root), None, tuple(str(name) for name in blocked))


def _load_trusted(path: Path, *, mmap: bool) -> Contents:
    try:
        with load_errors(str(path)):
            # --trust-pickle is the user's word for this very file
            root = torch.load(path, map_location="cpu", weights_only=False, mmap=mmap)
    except ModuleNotFoundError as error:
        raise CheckpointError(
            f"The pickle needs the Python module '{error.name}', which is not installed",
            where=str(path),
            do="Install it, or run repdiag in the environment that trained the model",
        ) from error
    module = root if isinstance(root, torch.nn.Module) else None
    note = "the pickle was opened as trusted (--trust-pickle): code from it was run"
    return Contents(root, own_metadata(root), module, (), (note,))


@contextlib.contextmanager
def load_errors(where: str) -> Iterator[None]:
    """Turn whatever torch raises about a damaged or unusual file into one sentence.

    A damaged file can make the loader fail in any way, hence the wide net; ours pass through.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (CheckpointError, UnsafeCheckpointError, ModuleNotFoundError, KeyboardInterrupt):
        raise
    except pickle.UnpicklingError as error:
        raise _refused(str(error), where) from error
    except Exception as error:
        text = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise CheckpointError(
            f"The checkpoint is damaged or not readable: {text}",
            where=where,
            do="Download or copy the file again",
        ) from error


def _refused(message: str, where: str) -> CheckpointError | UnsafeCheckpointError:
    """What the weights-only loader's refusal means to the user."""
    if "persistent_load of storage" in message or "reduce for unrecognized" in message:
        return UnsafeCheckpointError(
            "The file is a whole pickled module; opening it would run its code", where=where, do=WAY_OUT
        )
    if "Unsupported operand" in message:
        return CheckpointError(
            "The file uses pickle instructions that the safe loader does not know"
            " (damaged, or saved with a pickle_protocol above 2)",
            where=where,
            do="Save it again with plain torch.save",
        )
    lines = [line for line in message.splitlines() if line.strip()]
    detail = next((line for line in lines if "global" in line.lower()), lines[-1] if lines else "")
    return CheckpointError(
        f"The safe loader refuses the checkpoint: {detail.strip()[:200]}", where=where, do=WAY_OUT
    )
