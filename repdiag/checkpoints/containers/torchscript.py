"""TorchScript archives. Their code runs in torch's own interpreter, which knows tensors and little else."""

from __future__ import annotations

import re
import warnings
from typing import Any

from repdiag.checkpoints.checkpoint import CONTAINERS, Contents, Outline, Source
from repdiag.checkpoints.pickle_values import Object
from repdiag.checkpoints.pickles import MAX_PICKLE, Machine
from repdiag.checkpoints.storages import ZippedStorages, build, refuse_difference
from repdiag.checkpoints.tensor_refs import Malformed, TensorRef, tensor
from repdiag.checkpoints.torch_pickles import refuse_hostile
from repdiag.checkpoints.tree import MAX_DEPTH, MAX_TENSORS, same
from repdiag.checkpoints.trusted import load_errors
from repdiag.checkpoints.zips import Archive
from repdiag.errors import CheckpointError, UnsafeCheckpointError

MAX_SOURCE = 1 << 26
FILE_ACCESS = re.compile(r"\b(torch\.(from_file|save|load)|ops\.aten\.(from_file|save|load))\b")
"""The interpreter's few operations that touch files; an encoder needs none."""
CLASS = re.compile(r"^class (\w+)\(Module\):$", re.M)
LISTED = re.compile(r"^  __(?:parameters|buffers)__ = \[(.*)\]$", re.M)
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


class TorchScript:
    """Loads the program on the CPU, in eval mode."""

    name = "TorchScript"

    def matches(self, source: Source) -> bool:
        """A zip with `constants.pkl` and `code/`."""
        inner = source.inner
        return "constants.pkl" in inner and any(name.startswith("code/") for name in inner)

    def outline(self, source: Source) -> Outline:
        """See `Container.outline`; UnsafeCheckpointError when the program reads or writes files."""
        refs, _, machine = self.survey(source)
        return Outline(
            tensors={name: ref.info for name, ref in refs.items()},
            metadata=source.archive.said() if source.archive else {},
            globals=tuple(str(name) for name in machine.globals),
            program=True,
            aliases=same(refs),
        )

    def survey(self, source: Source) -> tuple[dict[str, TensorRef], ZippedStorages, Machine]:
        """The state's tensors and where they are, after all checks."""
        assert source.archive is not None
        archive, where = source.archive, source.where
        archive.refuse_lookalikes()
        classes = _classes(archive, where)
        machine, root, zipped = _follow(archive, "data", where)
        _follow(archive, "constants", where)
        return _tensors(root, classes, where), zipped, machine

    def read(self, source: Source, *, trust_pickle: bool) -> Contents:
        """See `Container.read`."""
        import torch

        assert source.archive is not None
        notes = source.archive.verify()
        refs, zipped, _ = self.survey(source)
        with load_errors(source.where), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = torch.jit.load(str(source.path), map_location="cpu").eval()  # type: ignore[no-untyped-call]
            tensors = {name: value.detach() for name, value in module.state_dict().items()}
        refuse_difference(tensors, build(refs, zipped, source.where), source.path)
        return Contents(tensors, source.archive.said(), module, (), notes)


def _record(archive: Archive, inner: str, where: str) -> str:
    found = [name for name in archive.records if name.partition("/")[2] == inner]
    if len(found) != 1:
        raise CheckpointError(f"The archive holds {len(found)} records called {inner}", where=where)
    return found[0]


def _follow(archive: Archive, folder: str, where: str) -> tuple[Machine, Any, ZippedStorages]:
    """The machine that followed one of the archive's pickles (data or constants), its result, its storages."""
    inner = f"{folder}.pkl"
    name = _record(archive, inner, where)
    machine = Machine(archive.read(name, MAX_PICKLE), where)
    root = machine.load()
    refuse_hostile(machine)
    zipped = ZippedStorages(archive, name.removesuffix(inner), f"{folder}/")
    zipped.check_all(machine)
    return machine, root, zipped


def _classes(archive: Archive, where: str) -> dict[str, tuple[str, ...]]:
    """The registered tensors of each class (full name); plain attributes are no part of the state."""
    classes: dict[str, tuple[str, ...]] = {}
    for record in archive.records:
        if not record.endswith(".py"):
            continue
        text = archive.read(record, MAX_SOURCE).decode("utf-8", "replace")
        if found := FILE_ACCESS.search(text):
            raise UnsafeCheckpointError(
                f"The TorchScript program uses {found[0]}, which reads or writes files",
                where=where,
                do="Export the encoder alone",
            )
        module = record.partition("/code/")[2].removesuffix(".py").replace("/", ".")
        starts = [*CLASS.finditer(text)]
        ends = [match.start() for match in starts[1:]] + [len(text)]
        for match, after in zip(starts, ends, strict=False):
            names = [n for line in LISTED.findall(text, match.end(), after) for n in QUOTED.findall(line)]
            classes[f"{module}.{match[1]}"] = tuple(names)
    return classes


def _tensors(root: Any, classes: dict[str, tuple[str, ...]], where: str) -> dict[str, TensorRef]:
    """Parameters and buffers of the tree of modules, as its state_dict() names them."""
    refs: dict[str, TensorRef] = {}
    pending: list[tuple[str, Any, int]] = [("", root, 0)]
    while pending:
        path, module, depth = pending.pop()
        if not isinstance(module, Object) or type(module.state) is not dict:
            continue
        if depth > MAX_DEPTH or len(refs) + len(pending) > MAX_TENSORS:
            raise CheckpointError("The program nests modules without end", where=where)
        for name in classes.get(module.called, ()):
            try:
                found = tensor(module.state.get(name))
            except Malformed as error:
                raise CheckpointError(
                    f"The tensor '{path}{name}' is malformed: {error}", where=where
                ) from error
            if isinstance(found, TensorRef):
                refs[path + name] = found
        children = [
            (f"{path}{name}.", child, depth + 1)
            for name, child in module.state.items()
            if isinstance(child, Object) and child.called in classes
        ]
        pending.extend(reversed(children))
    return refs


CONTAINERS.add(TorchScript.name, TorchScript(), __name__)
