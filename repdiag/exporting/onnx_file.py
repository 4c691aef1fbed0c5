"""The encoder as an ONNX graph with a free batch size (extra `onnx`)."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from repdiag.errors import OutputError, UsageError
from repdiag.exporting.programs import Program, recording

NEEDED = ("onnx", "onnxscript", "onnxruntime")
LIMIT = 2**31 - 1  # bytes in one protobuf message
INPUT, OUTPUT = "images", "features"


def check_installed() -> None:
    """Raises UsageError with the command that installs what is missing."""
    absent = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if absent:
        raise UsageError(
            f"To write and check ONNX, {' and '.join(absent)} must be installed",
            do="Run: pip install 'repdiag[onnx]'",
        )


def onnx(made: Program, images: torch.Tensor, metadata: Mapping[str, str]) -> bytes:
    """The graph as one ONNX file. Raises OutputError for an encoder that is too large for one."""
    weights = sum(t.numel() * t.element_size() for t in made.state_dict().values())
    if weights > LIMIT - 2**20:
        raise OutputError(
            f"An ONNX file holds 2 GB, the encoder's weights are {weights / 2**30:.1f} GB",
            do="Choose --format torch.export, or export its safetensors",
        )
    batch = torch.export.Dim("batch", min=1)
    with recording("ONNX"), torch.no_grad():
        graph = torch.onnx.export(
            made,
            (images,),
            dynamo=True,
            dynamic_shapes={INPUT: {0: batch}},
            input_names=[INPUT],
            output_names=[OUTPUT],
            verbose=False,
        )
        assert graph is not None
        model = graph.model_proto
        for node in model.graph.node:  # where on this machine the code lies is nobody's business
            del node.metadata_props[:]
            node.doc_string = ""
        for key, value in sorted(metadata.items()):
            model.metadata_props.add(key=key, value=value)
        written: bytes = model.SerializeToString(deterministic=True)
    return written


class Session(torch.nn.Module):
    """An ONNX file run by onnxruntime on the CPU, as a module."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        import onnxruntime

        try:
            self.session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime has an exception class for every status
            raise OutputError(f"onnxruntime cannot open what was written: {str(error)[:200]}") from error

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) -> (B, D)."""
        try:
            (features,) = self.session.run([OUTPUT], {INPUT: images.numpy()})
        except Exception as error:
            raise OutputError(f"onnxruntime cannot run what was written: {str(error)[:200]}") from error
        return torch.from_numpy(np.asarray(features))
