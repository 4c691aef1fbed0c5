"""Whether what was written computes what the encoder computes: opened afresh, run, compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from repdiag.encoders import Encoder
from repdiag.errors import OutputError

BATCHES = (1, 2, 5)

TOLERANCES: Mapping[str, float] = {
    "safetensors": 0.0,  # the same network with the same weights
    "torchscript": 1e-5,
    "torch.export": 1e-5,
    "onnx": 1e-4,  # another library's kernels, which sum in another order
}
"""Largest accepted difference of one feature, as a share of the largest feature."""


@dataclass(frozen=True)
class Difference:
    """How far the outputs lie apart: the largest of all, and that as a share of the largest feature."""

    absolute: float
    relative: float

    @property
    def none(self) -> bool:
        """Whether every bit is equal."""
        return self.absolute == 0.0


def random_images(encoder: Encoder, batch: int) -> torch.Tensor:
    """`batch` images of uniform noise in [0, 1] at the encoder's input size; the same in every run."""
    how = encoder.preprocessing
    generator = torch.Generator().manual_seed(batch)
    return torch.rand(batch, how.channels, how.size, how.size, generator=generator)


@torch.inference_mode()
def compare(encoder: Encoder, written: nn.Module, kind: str, *, normalizes: bool) -> Difference:
    """Run both on several batches; `written` takes images in [0, 1] if it `normalizes`.

    Raises OutputError when the outputs differ by more than the tolerance of `kind`, or in shape.
    """
    how = encoder.preprocessing
    mean, std = (torch.tensor(values).view(1, -1, 1, 1) for values in (how.mean, how.std))
    absolute = scale = 0.0
    for batch in BATCHES:
        images = random_images(encoder, batch)
        normal = (images - mean) / std
        wanted = encoder.module(normal)
        found = _run(written, images if normalizes else normal, batch)
        if found.shape != wanted.shape:
            raise OutputError(
                f"The written file gives {tuple(found.shape)} for {batch} images, the encoder"
                f" {tuple(wanted.shape)}; it was not kept"
            )
        gap = (found.double() - wanted.double()).abs()
        absolute = max(absolute, float(gap.max())) if bool(gap.isfinite().all()) else float("inf")
        scale = max(scale, float(wanted.abs().max()))
    relative = absolute / scale if scale > 0 else float(absolute > 0)
    if not relative <= TOLERANCES[kind]:
        raise OutputError(
            f"The written file computes other features than the encoder: the largest difference is {absolute:.3g},"
            f" {relative:.1e} of the largest feature where {TOLERANCES[kind]:g} is accepted; it was not kept",
            do="Choose another --format, and report this",
        )
    return Difference(absolute, relative)


def _run(written: nn.Module, images: torch.Tensor, batch: int) -> torch.Tensor:
    try:
        found = written(images)
    except (KeyboardInterrupt, MemoryError, OutputError):
        raise
    except Exception as error:  # a baked-in batch size fails in many ways
        text = (str(error).strip() or type(error).__name__).splitlines()[-1][:200]
        raise OutputError(
            f"The written program fails on a batch of {batch}: {text}; it was not kept",
            do="Choose another --format; safetensors holds the weights of every encoder",
        ) from error
    if not isinstance(found, torch.Tensor):
        raise OutputError(
            f"The written program gives a {type(found).__name__}, not one tensor; it was not kept"
        )
    return found
