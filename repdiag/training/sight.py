"""Encoding images on the device: views in a training step, and whole images as `repdiag score` sees them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from repdiag.encoders import Encoder, Preprocessing
from repdiag.extraction.config import EmbedConfig, choose_precision
from repdiag.objectives import processes
from repdiag.training.augment import apply, normalize
from repdiag.training.draws import Augmentation, Draws
from repdiag.training.images import TrainingImages
from repdiag.training.job import TrainJob


@dataclass(frozen=True)
class Sight:
    """How this run's encoder gets its images: device, number format, memory layout, normalization.

    `chunk` images at a time are looked at outside of training.
    """

    device: torch.device
    precision: torch.dtype
    channels_last: bool
    how: Preprocessing
    chunk: int

    @classmethod
    def of(cls, job: TrainJob, chunk: int) -> Sight:
        """That of a job."""
        encoder: Encoder = job.encoder
        precision = choose_precision(EmbedConfig(precision=job.config.precision), job.device)
        last = encoder.channels_last and job.device.type != "mps"
        return cls(job.device, precision, last, encoder.preprocessing, chunk)

    def views(self, squares: Tensor, draws: Sequence[Draws], how: Sequence[Augmentation]) -> list[Tensor]:
        """The views of (n, C, S, S) uint8 as the encoder takes them."""
        squares = squares.to(self.device, non_blocking=True)
        return [self._laid(apply(squares, d, a)) for d, a in zip(draws, how, strict=True)]

    def _laid(self, images: Tensor) -> Tensor:
        ready = normalize(images, self.how)
        return ready if self.channels_last else ready.contiguous()

    def encode(self, module: nn.Module, views: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """(n, D) float32 of each view. One autocast region, so that weights are cast once for all views."""
        reduced = self.precision != torch.float32
        with torch.autocast(self.device.type, dtype=self.precision, enabled=reduced):
            return tuple(module(view).float() for view in views)

    @torch.no_grad()
    def clean(self, module: nn.Module, images: TrainingImages, places: Tensor) -> Tensor:
        """(n, D) float32 on the device of whole images; the module is in eval mode already."""
        pixels = images.clean(places).to(self.device, non_blocking=True)
        return self.encode(module, [self._laid(pixels.float() / 255)])[0]

    def own(self, module: nn.Module, images: TrainingImages) -> Iterator[Tensor]:
        """The features of this process's part of all images, chunk by chunk."""
        places = torch.arange(processes.rank(), len(images), processes.count())
        for part in torch.split(places, self.chunk):
            yield self.clean(module, images, part)

    def gathered(self, module: nn.Module, images: TrainingImages, places: Tensor) -> Tensor:
        """The features (n, D) of `places` on the CPU, the same in every process, each of which encodes a part."""
        count, rank = processes.count(), processes.rank()
        found = []
        for part in torch.split(places, self.chunk * count):
            share = -(-len(part) // count)
            filled = torch.cat([part, part[-1:].expand(share * count - len(part))])
            own = self.clean(module, images, filled[rank * share : (rank + 1) * share])
            found.append(processes.gather(own)[: len(part)].cpu())
        return torch.cat(found)
