"""torch.export archives (.pt2): a graph of tensor operations with its weights."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from repdiag.checkpoints import export_check
from repdiag.checkpoints.checkpoint import CONTAINERS, Contents, Outline, Source, TensorInfo
from repdiag.checkpoints.pickles import MAX_PICKLE, Machine
from repdiag.checkpoints.storages import ZippedStorages, build, refuse_difference
from repdiag.checkpoints.tensor_refs import Malformed, TensorRef, checked
from repdiag.checkpoints.torch_pickles import refuse_hostile
from repdiag.checkpoints.tree import same
from repdiag.checkpoints.trusted import load_errors
from repdiag.checkpoints.zips import Archive, ZipDamage, damaged, open_archive
from repdiag.errors import CheckpointError
from repdiag.quiet import quiet

if TYPE_CHECKING:
    import torch

DTYPES = {
    1: "uint8", 2: "int8", 3: "int16", 4: "int32", 5: "int64", 6: "float16", 7: "float32", 8: "float64",
    9: "complex32", 10: "complex64", 11: "complex128", 12: "bool", 13: "bfloat16", 28: "uint16",
    29: "float8_e4m3fn", 30: "float8_e5m2", 31: "float8_e4m3fnuz", 32: "float8_e5m2fnuz", 33: "float8_e8m0fnu",
    34: "uint32", 35: "uint64",
}  # fmt: skip
"""torch.export's numbers of dtypes."""
OLD = "serialized_exported_program.json"
SYMBOL = re.compile(r"Symbol\('(\w+)'")


class TorchExport:
    """Checks the archive first (`export_check`), then lets torch load it without free unpickling."""

    name = "torch.export"

    def matches(self, source: Source) -> bool:
        """A zip with `models/NAME.json`, or the single JSON of the time before torch 2.8."""
        records = source.archive.records if source.archive else {}
        return OLD in records or any(n.startswith("models/") and n.endswith(".json") for n in source.inner)

    def outline(self, source: Source) -> Outline:
        """See `Container.outline`; UnsafeCheckpointError when the archive is more than a graph and tensors."""
        refs, _, shape = self.survey(source)
        return Outline(
            tensors={name: TensorInfo(ref.shape, ref.dtype) for name, ref in refs.items()},
            metadata=({"input_shape": shape} if shape else {})
            | (source.archive.said() if source.archive else {}),
            program=True,
            aliases=same(refs),
        )

    def survey(self, source: Source) -> tuple[dict[str, TensorRef], ZippedStorages, str | None]:
        """The state's tensors, where they are, and the input's shape, after all checks."""
        archive, where = source.archive, source.where
        assert archive is not None
        if OLD in archive.records:
            raise CheckpointError(
                "The program was exported in the form of torch 2.7 and before",
                where=where,
                do="Export it again with a newer torch, or save its state_dict()",
            )
        export_check.check(archive)
        graphs = [n for n in archive.records if n.partition("/")[2].startswith("models/")]
        if len(graphs) != 1:
            raise CheckpointError(
                f"The torch.export archive holds {len(graphs)} programs, not one", where=where
            )
        folder, _, inner = graphs[0].partition("/")
        model = inner.removeprefix("models/").removesuffix(".json")
        constants = _payload(archive, f"{folder}/data/constants/", f"{model}_constants_config.json")
        refs = _payload(archive, f"{folder}/data/weights/", f"{model}_weights_config.json")
        ZippedStorages(archive, f"{folder}/data/", "constants/").check(constants)
        zipped = ZippedStorages(archive, f"{folder}/data/", "weights/")
        zipped.check(refs)
        for record in archive.records:
            if record.endswith(".pt"):
                _check_pickle(archive, record, where)
        return refs, zipped, _told_shape(json.loads(archive.read(graphs[0], export_check.MAX_JSON)))

    def read(self, source: Source, *, trust_pickle: bool) -> Contents:
        """See `Container.read`."""
        import torch

        from repdiag.checkpoints.program import Program

        refs, zipped, _ = self.survey(source)
        assert source.archive is not None
        notes = source.archive.verify()
        with load_errors(source.where), _weights_only(), quiet():
            program = torch.export.load(source.path)
            has_guards = "check_guards" in inspect.signature(program.module).parameters
            options: dict[str, Any] = (
                {"check_guards": False} if has_guards else {}
            )  # guards are code in strings
            module = program.module(**options)
            tensors = {name: value.detach() for name, value in program.state_dict.items()}
        refuse_difference(tensors, build(refs, zipped, source.where), source.path)
        shape = _input_shape(program)
        metadata = {"input_shape": ",".join(map(str, shape))} | source.archive.said()
        whole = Program(module, shape[0] if isinstance(shape[0], int) else None)
        return Contents(tensors, metadata, whole, (), notes)


def _payload(archive: Archive, folder: str, config: str) -> dict[str, TensorRef]:
    """The tensors that a configuration describes, each within its record."""
    if folder + config not in archive.records:
        raise damaged(f"the record {config} is missing", archive.path)
    document = json.loads(archive.read(folder + config, export_check.MAX_JSON))
    try:
        return {name: _described(archive, folder, entry) for name, entry in document["config"].items()}
    except (Malformed, KeyError, TypeError, AttributeError) as error:
        reason = f", {error}" if isinstance(error, Malformed) else ""
        raise damaged(f"the record {config} describes a tensor that is none{reason}", archive.path) from error


def _described(archive: Archive, folder: str, entry: dict[str, Any]) -> TensorRef:
    meta, path = entry["tensor_meta"], entry["path_name"]
    if entry["use_pickle"] or meta is None:
        raise Malformed("its weights are pickled, not plain bytes")
    record = archive.records[folder + path]
    dtype = DTYPES.get(meta["dtype"])
    if dtype is None:
        raise Malformed("its type is unknown")
    sizes = tuple(size["as_int"] for size in meta["sizes"])
    strides = tuple(size["as_int"] for size in meta["strides"])
    return checked(TensorRef(path, record.size, dtype, meta["storage_offset"]["as_int"], sizes, strides))


def _check_pickle(archive: Archive, name: str, where: str) -> None:
    """Raises an error when a torch.save file inside the archive (the sample inputs) is not a plain one."""
    record = archive.records[name]
    try:
        if record.deflated:
            raise ZipDamage("it is compressed")
        with archive.path.open("rb") as file:
            inside = open_archive(archive.path, archive.start(file, record), record.size)
        pickle = next((n for n in inside.records if n.partition("/")[2] == "data.pkl"), None)
        if pickle is None:
            raise ZipDamage("it holds no pickle")
    except ZipDamage as error:
        raise CheckpointError(f"The record {name} is no torch.save file: {error}", where=where) from error
    inside.refuse_lookalikes()
    machine = Machine(inside.read(pickle, MAX_PICKLE), where)
    machine.load()
    refuse_hostile(machine)
    ZippedStorages(inside, pickle.removesuffix("data.pkl")).check_all(machine)


def _told_shape(document: Any) -> str | None:
    """The one input's shape as the graph's JSON tells it, None where it does not."""
    try:
        graph = document["graph_module"]
        specs = [s["user_input"]["arg"] for s in graph["signature"]["input_specs"] if "user_input" in s]
        (name,) = [arg["as_tensor"]["name"] for arg in specs]
        sizes = graph["graph"]["tensor_values"][name]["sizes"]
        return ",".join(str(size["as_int"]) if "as_int" in size else _symbol(size) for size in sizes)
    except (KeyError, TypeError, ValueError):
        return None


def _symbol(size: dict[str, Any]) -> str:
    text = str(size["as_expr"]["expr_str"])[:100]
    found = SYMBOL.match(text)
    return found[1] if found else text


def _input_shape(program: torch.export.ExportedProgram) -> list[int | str]:
    """The one input's shape; sizes that may vary appear as their symbols. Raises CheckpointError."""
    import torch

    wanted = set(program.graph_signature.user_inputs)
    inputs = [n for n in program.graph.nodes if n.op == "placeholder" and n.name in wanted]
    if len(inputs) != 1 or not isinstance(inputs[0].meta.get("val"), torch.Tensor):
        raise CheckpointError(
            f"The exported program takes {len(inputs)} inputs; an encoder takes one tensor of images"
        )
    return [int(s) if isinstance(s, int) else str(s) for s in inputs[0].meta["val"].shape]


@contextlib.contextmanager
def _weights_only() -> Iterator[None]:
    """Make every torch.load inside refuse free pickles, whatever its caller asks for."""
    name = "TORCH_FORCE_WEIGHTS_ONLY_LOAD"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before


CONTAINERS.add(TorchExport.name, TorchExport(), __name__)
