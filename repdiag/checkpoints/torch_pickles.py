"""The pickles of torch.save files: what they hold, and which of them cannot be read without their code."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from repdiag.checkpoints import tree
from repdiag.checkpoints.checkpoint import Outline
from repdiag.checkpoints.names import Global
from repdiag.checkpoints.pickle_values import Object
from repdiag.checkpoints.pickles import Machine
from repdiag.checkpoints.tensor_refs import TensorRef, entries
from repdiag.errors import CheckpointError, UnsafeCheckpointError

WAY_OUT = (
    "Save its state_dict() with torch.save or safetensors, export it with TorchScript or torch.export,"
    " or pass --trust-pickle if you trust whoever made the file"
)


@dataclass(frozen=True)
class Pickled:
    """The outline of a torch.save file, and where each of its tensors lies."""

    outline: Outline
    refs: dict[str, TensorRef]


def refuse_hostile(machine: Machine) -> None:
    """Raises UnsafeCheckpointError when the pickle asks for what no model needs."""
    hostile = [str(name) for name in machine.globals if name.hostile]
    if hostile:
        raise UnsafeCheckpointError(
            f"The checkpoint asks to run {', '.join(hostile[:5])[:300]}, which no model needs; nothing was run",
            where=machine.where,
            do="Do not open it with other tools, and get the weights from a source you trust",
        )


def outline(root: Any, machine: Machine) -> Pickled:
    """What the pickle describes, if that can be told without its code.

    Raises UnsafeCheckpointError when it is hostile or a whole object, CheckpointError when what it holds are
    no plain tensors.
    """
    where = machine.where
    refuse_hostile(machine)
    found = tree.grow(root, where)
    foreign = [name for name in machine.globals if not name.known]
    _refuse_shards(found, where)
    if not found.tensors:
        _explain(root, found, foreign, where)
    told = Outline(
        tensors={name: ref.info for name, ref in found.tensors.items()},
        metadata=tree.own_metadata(root),
        facts=tree.facts(root),
        keys=tree.keys(root),
        globals=tuple(str(name) for name in machine.globals),
        stubbed=tuple(str(name) for name in foreign),
        aliases=tree.same(found.tensors),
        warnings=_warnings(found),
    )
    return Pickled(told, found.tensors)


def _refuse_shards(found: tree.Tree, where: str) -> None:
    shards = [name for name, kind in found.others.items() if kind == "sharded"]
    if shards:
        raise CheckpointError(
            f"The file holds one process's parts of the tensors (DTensor or ShardedTensor, such as '{shards[0]}')",
            where=where,
            do="Save with full_state_dict=True, or give the folder that torch.distributed.checkpoint wrote",
        )


def _explain(root: Any, found: tree.Tree, foreign: list[Global], where: str) -> None:
    """Raises the error that says why there are no tensors, where that is known."""
    arrays = [name for name, kind in found.others.items() if kind == "numpy arrays"]
    whole = isinstance(root, Object) and entries(root) is None
    if arrays and not whole:
        raise CheckpointError(
            f"The {len(arrays)} weights in the file are numpy arrays (such as '{arrays[0]}'), not torch tensors,"
            " as Caffe2 and Detectron wrote them",
            where=where,
            do="Turn them into tensors with torch.from_numpy and save these with torch.save or safetensors",
        )
    if found.others and not whole:
        name, kind = next(iter(found.others.items()))
        raise CheckpointError(
            f"The file holds no plain tensors; '{name}' is {kind}",
            where=where,
            do="Save the model's state_dict() with dense tensors on the CPU",
        )
    if whole or foreign:
        kinds = list(found.modules.values()) or [str(name) for name in foreign]
        raise UnsafeCheckpointError(
            f"The file is a pickled Python object ({', '.join(kinds[:3])[:200]}), not a dictionary of tensors;"
            " opening it would run its code",
            where=where,
            do=WAY_OUT,
        )


def _warnings(found: tree.Tree) -> tuple[str, ...]:
    notes: list[str] = []
    if found.modules:
        name, kind = next(iter(found.modules.items()))
        notes.append(
            f"{len(found.modules)} whole pickled modules were not read (first: {name}, a {kind[:100]})"
        )
    weights = {name: kind for name, kind in found.others.items() if kind != "numpy arrays"}
    if weights:
        name, kind = next(iter(weights.items()))
        notes.append(f"{len(weights)} entries are no plain tensors and were not read (first: {name}, {kind})")
    return tuple(notes)
