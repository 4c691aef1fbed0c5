"""The encoder as one program: TorchScript or torch.export, weights and operations together."""

from __future__ import annotations

import contextlib
import io
import zipfile
from collections.abc import Iterator, Mapping
from typing import IO

import torch
from torch import nn

from repdiag.encoders import Encoder
from repdiag.encoders.chosen import Chosen
from repdiag.encoders.taps import Spot, Tap, Tapped
from repdiag.errors import OutputError
from repdiag.quiet import quiet

EXAMPLE_BATCH = 3  # none of the batch sizes of the check, so that a batch that was baked in shows


class Program(nn.Module):
    """What is exported: the encoder, behind the normalization of its input where `mean` and `std` are given."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, encoder: nn.Module, mean: tuple[float, ...] = (), std: tuple[float, ...] = ()) -> None:
        super().__init__()
        self.encoder = encoder
        self.normalizes = bool(mean)
        if mean:
            self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
            self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) float32 -> (B, D) float32."""
        if self.normalizes:
            images = (images - self.mean) / self.std
        features: torch.Tensor = self.encoder(images)
        return features


class Unhurried(nn.Module):
    """What `tapped` computes, by a pass that goes through to its end.

    Tapped leaves the network by an exception once it has what it needs, which a recorder cannot follow. The
    network's own answer is asked for too, and what leads to it alone is no part of the recorded program.
    """

    def __init__(self, tapped: Tapped) -> None:
        super().__init__()
        self.whole = Tapped(tapped.inner, tapped.network, (*tapped.taps, Tap(Spot("answer"))), tapped.l2)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) float32 -> (B, D) float32."""
        return torch.cat(self.whole.pieces(images)[:-1], 1)


def _recordable(module: nn.Module) -> nn.Module:
    return Unhurried(module) if isinstance(module, Tapped) else module


def program(encoder: Encoder, with_normalization: bool) -> Program:
    """The frozen program of an encoder."""
    how = encoder.preprocessing
    module = encoder.module
    if isinstance(module, Chosen):
        module = Chosen(_recordable(module.inner), module.kept)
    module = _recordable(module)
    made = Program(module, how.mean, how.std) if with_normalization else Program(module)
    return made.eval()


def example(encoder: Encoder) -> torch.Tensor:
    """Images to run the encoder on while its operations are recorded."""
    how = encoder.preprocessing
    generator = torch.Generator().manual_seed(1)
    return torch.rand(EXAMPLE_BATCH, how.channels, how.size, how.size, generator=generator)


def torchscript(made: Program, images: torch.Tensor, metadata: Mapping[str, str]) -> bytes:
    """The traced program as a TorchScript archive; `metadata` become extra files of it."""
    with recording("TorchScript"), torch.no_grad():
        # the tracer's warnings are about values that may be baked in: the check runs other batches
        traced = torch.jit.trace(made, images, check_trace=False)  # type: ignore[no-untyped-call]
        buffer = io.BytesIO()
        torch.jit.save(traced, buffer, _extra_files=dict(metadata))
    return _without_debug_records(buffer)


def _without_debug_records(archive: IO[bytes]) -> bytes:
    """The TorchScript archive less its records of where on this machine every line of code lies."""
    kept = io.BytesIO()
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(kept, "w") as new:
        for record in old.infolist():
            if not record.filename.endswith(".debug_pkl"):
                content = old.read(record)
                record.extra = b""  # padding
                new.writestr(record, content)
    return kept.getvalue()


def exported(made: Program, images: torch.Tensor) -> torch.export.ExportedProgram:
    """The program as a graph of tensor operations with a free batch size."""
    batch = torch.export.Dim("batch", min=1)
    with recording("torch.export"), torch.no_grad():
        return torch.export.export(made, (images,), dynamic_shapes={"images": {0: batch}})


def torch_export(made: Program, images: torch.Tensor, metadata: Mapping[str, str]) -> bytes:
    """The exported program as a .pt2 archive; `metadata` become extra files of it."""
    graph = exported(made, images)
    for node in graph.graph.nodes:  # where on this machine the code lies is nobody's business
        for key in ("stack_trace", "nn_module_stack", "source_fn_stack"):
            node.meta.pop(key, None)
    graph._example_inputs = ((images.new_zeros(1).expand(images.shape),), {})  # one number is stored, not all
    buffer = io.BytesIO()
    with recording("torch.export"):
        torch.export.save(graph, buffer, extra_files=dict(metadata))
    return buffer.getvalue()


@contextlib.contextmanager
def recording(kind: str) -> Iterator[None]:
    """Without the libraries' chatter; whatever stops them becomes one sentence."""
    try:
        with quiet():
            yield
    except (KeyboardInterrupt, MemoryError, OutputError):
        raise
    except Exception as error:  # any operation of any network may be impossible to record
        text = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise OutputError(
            f"The encoder cannot be written as {kind}: {text}",
            do="Choose another --format; safetensors holds the weights of every encoder",
        ) from error
