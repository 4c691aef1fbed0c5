"""Images in, heat maps out: reading, preparing and batching around `repdiag.heatmaps`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import torch

from repdiag.encoders import Encoder
from repdiag.explaining.types import Method, Pixels, Place
from repdiag.extraction.forward import choose_batch_size
from repdiag.extraction.images import Undecodable, bombs_are_errors, decode, preprocess
from repdiag.extraction.loader import default_workers
from repdiag.heatmaps.cam import heat, method_for
from repdiag.heatmaps.geometry import ready
from repdiag.heatmaps.layers import Spatial, spatial
from repdiag.types import FloatArray, ImageSource

GRADIENTS = 4
"""A pass with gradients keeps every activation: batches are so many times smaller than without."""


@dataclass(frozen=True)
class Read:
    """Images that were read: `at` their places among those asked for, `pixels` (B, S, S, C) what the encoder sees.

    `sizes` are the widths and heights before preprocessing, `failed` says why others could not be read, by place.
    """

    at: tuple[int, ...]
    pixels: Pixels
    sizes: tuple[tuple[int, int], ...]
    failed: dict[int, str]


@dataclass
class Heater:
    """An encoder on its device, with the place where its heat maps are taken. Arithmetic is float32 throughout."""

    encoder: Encoder
    source: ImageSource
    device: torch.device
    method: Method | None = None
    workers: int | None = None
    place: Spatial = field(init=False)
    limit: int = field(init=False)
    _settled: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self.place = spatial(self.encoder)
        self.encoder.module.to(self.device)
        self.limit = max(1, choose_batch_size(self.encoder, self.device) // GRADIENTS)
        self.method = self.method or method_for(self.place)

    @property
    def described(self) -> Place:
        """Where and how, in plain values."""
        assert self.method is not None
        s = self.place
        return Place(s.kind, s.module_name, s.grid, s.channels, self.method)

    @property
    def size(self) -> int:
        """S, the side of what the encoder sees."""
        return self.encoder.preprocessing.size

    def maps(self, pixels: Pixels, weights: FloatArray) -> FloatArray:
        """Heat maps (B, h, w) float32 of t_i = sum_j weights[i, j] h_ij for prepared images (B, S, S, C) uint8.

        Zeros where a row of weights is 0: such images do not pass through the network.
        """
        self._as_loaded()
        out = np.zeros((len(pixels), *self.place.grid), np.float32)
        some = np.flatnonzero(weights.any(1))
        for start in range(0, some.size, self.limit):
            part = some[start : start + self.limit]
            inputs = ready(pixels[part], self.encoder.preprocessing)
            asked = torch.from_numpy(np.ascontiguousarray(weights[part]))
            out[part] = heat(self.encoder, self.place, inputs, asked, self.method).numpy()
        return out

    def _as_loaded(self) -> None:
        """Weights in the usual memory format: embedding may have changed it, and a cached run must give equal bits."""
        if not self._settled and self.encoder.channels_last:
            self.encoder.module.to(memory_format=torch.contiguous_format)
        self._settled = True

    def batches(self, indices: Sequence[int], size: int | None = None) -> Iterator[Read]:
        """The images `indices` of the source, decoded ahead in threads, a batch at a time."""
        step = size or self.limit
        spans = [range(start, min(start + step, len(indices))) for start in range(0, len(indices), step)]

        def one(place: int) -> tuple[Pixels, tuple[int, int]] | str:
            try:
                image = decode(self.source.read(indices[place]))
                return preprocess(image, self.encoder.preprocessing), image.size
            except OSError as error:
                return f"cannot be read: {error.strerror or error}"
            except Undecodable as error:
                return str(error)

        workers = self.workers or default_workers(self.device)
        with bombs_are_errors(), ThreadPoolExecutor(workers, thread_name_prefix="repdiag-decode") as pool:
            ahead = [pool.map(one, span) for span in spans[:2]]
            for number, span in enumerate(spans):
                found = dict(zip(span, ahead.pop(0), strict=True))
                if number + 2 < len(spans):
                    ahead.append(pool.map(one, spans[number + 2]))
                fine = {place: got for place, got in found.items() if not isinstance(got, str)}
                channels = self.encoder.preprocessing.channels
                empty = np.zeros((0, self.size, self.size, channels), np.uint8)
                yield Read(
                    tuple(fine),
                    np.stack([pixels for pixels, _ in fine.values()]) if fine else empty,
                    tuple(size for _, size in fine.values()),
                    {place: got for place, got in found.items() if isinstance(got, str)},
                )


def colored(pixels: Pixels) -> Pixels:
    """Pictures (..., C) as RGB."""
    return pixels if pixels.shape[-1] == 3 else np.repeat(pixels, 3, axis=-1)
