"""torch.export archives (.pt2): a graph of tensor operations with its weights."""

from __future__ import annotations

import contextlib
import inspect
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from repdiag.checkpoints import export_check, zips
from repdiag.checkpoints.checkpoint import CONTAINERS, Contents
from repdiag.checkpoints.safe_load import load_errors
from repdiag.errors import CheckpointError


class Program(nn.Module):
    """Runs an exported program on any number of images.

    One that was exported for exactly `batch` images takes them `batch` at a time; the last, smaller portion
    is filled up with zeros whose outputs are thrown away (images do not influence each other in eval mode).
    The mode was fixed by the export, so that eval() and train() do not reach the program, which refuses them.
    """

    def __init__(self, program: nn.Module, batch: int | None) -> None:
        super().__init__()
        self.program, self.batch = program, batch
        self.training = False

    def train(self, mode: bool = True) -> Program:
        """Nothing can change any more."""
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> what the program gives, B rows of it."""
        if self.batch is None:
            whole: torch.Tensor = self.program(images)
            return whole
        outputs = []
        for part in torch.split(images, self.batch):
            lacking = self.batch - len(part)
            filled = torch.cat([part, part.new_zeros(lacking, *part.shape[1:])]) if lacking else part
            outputs.append(self.program(filled)[: len(part)])
        return torch.cat(outputs)


class TorchExport:
    """Checks the archive first (`export_check`), then lets torch load it without free unpickling."""

    name = "torch.export"

    def matches(self, path: Path, head: bytes, records: tuple[str, ...]) -> bool:
        """A zip with `models/NAME.json`, or the single JSON of the time before torch 2.8."""
        names = {record.partition("/")[2] for record in records}
        return "serialized_exported_program.json" in records or any(
            name.startswith("models/") and name.endswith(".json") for name in names
        )

    def read(self, path: Path, *, trust_pickle: bool) -> Contents:
        """See `Container.read`; UnsafeCheckpointError when the archive is more than a graph and tensors."""
        if "serialized_exported_program.json" in zips.records(path):
            raise CheckpointError(
                "The program was exported in the form of torch 2.7 and before",
                where=str(path),
                do="Export it again with a newer torch, or save its state_dict()",
            )
        notes = zips.verify(path)
        export_check.check(path)
        with load_errors(str(path)), _weights_only(), _quiet():
            program = torch.export.load(path)
        has_guards = "check_guards" in inspect.signature(program.module).parameters
        options: dict[str, Any] = {"check_guards": False} if has_guards else {}  # guards are code in strings
        shape = _input_shape(program)
        metadata = {"input_shape": ",".join(map(str, shape))}
        module = Program(program.module(**options), shape[0] if isinstance(shape[0], int) else None)
        return Contents(dict(program.state_dict), metadata, module, (), notes)


def _input_shape(program: torch.export.ExportedProgram) -> list[int | str]:
    """The one input's shape; sizes that may vary appear as their symbols. Raises CheckpointError."""
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


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep torch's log lines about the archive off the terminal; what matters is raised."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


CONTAINERS.add(TorchExport.name, TorchExport(), __name__)
