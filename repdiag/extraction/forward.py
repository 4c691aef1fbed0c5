"""The forward pass: uint8 batches to the device, normalized there, through the encoder; smaller on demand."""

from __future__ import annotations

import torch

from repdiag.encoders import Encoder
from repdiag.errors import CheckpointError, ResourceError

MAX_BATCH = 512
_CPU_PIXELS = 64 * 64 * 64
"""Input pixels per batch on a CPU: more gains nothing there and leaves its caches."""
_BYTES_PER_VALUE = 400
"""A guess of the memory that one input value needs in a forward pass, from ResNet-50 and ViT-B; too low a guess
costs a retry with half the batch."""


def choose_batch_size(encoder: Encoder, device: torch.device) -> int:
    """A power of two: by the free memory on CUDA, by the image size elsewhere."""
    how = encoder.preprocessing
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        fits = int(free * 0.5) // (how.size**2 * how.channels * _BYTES_PER_VALUE)
    else:
        fits = _CPU_PIXELS // how.size**2
    return int(min(MAX_BATCH, 2 ** max(3, max(fits, 1).bit_length() - 1)))


class Forward:
    """The encoder on its device. `limit` is the batch size that is known to fit."""

    def __init__(self, encoder: Encoder, device: torch.device, precision: torch.dtype, limit: int) -> None:
        self.device, self.precision, self.limit = device, precision, limit
        self._dim, self._last = encoder.dim, encoder.channels_last and device.type != "mps"
        how = encoder.preprocessing
        try:
            self._module = encoder.module.to(device)
            if self._last:
                self._module = self._module.to(memory_format=torch.channels_last)
        except RuntimeError as error:
            raise _no_memory(error, device, 0) or error from error
        scale = torch.tensor([1 / (255 * std) for std in how.std], device=device)
        shift = torch.tensor([mean / std for mean, std in zip(how.mean, how.std, strict=True)], device=device)
        self._scale, self._shift = scale.view(1, -1, 1, 1), shift.view(1, -1, 1, 1)

    @torch.inference_mode()
    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """(B, size, size, channels) uint8 on the CPU -> (B, D) float32 on the device.

        Does not wait for the device. Halves `limit` when memory runs out; raises ResourceError at one image.
        """
        while True:
            try:
                starts = range(0, len(images), self.limit)
                pieces = [self._run(images[start : start + self.limit]) for start in starts]
                return torch.cat(pieces) if pieces else torch.zeros(0, self._dim, device=self.device)
            except RuntimeError as error:  # torch.OutOfMemoryError is one
                refusal = _no_memory(error, self.device, min(self.limit, len(images)))
                if refusal is None:
                    raise
                if self.limit == 1:
                    raise refusal from error
                self.limit = max(1, min(self.limit, len(images)) // 2)
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def _run(self, images: torch.Tensor) -> torch.Tensor:
        batch = images.to(self.device, non_blocking=True).permute(0, 3, 1, 2)  # a view: channels_last already
        batch = batch.float().mul_(self._scale).sub_(self._shift)
        if not self._last:
            batch = batch.contiguous()
        with torch.autocast(self.device.type, dtype=self.precision, enabled=self.precision != torch.float32):
            features = self._module(batch)
        if not isinstance(features, torch.Tensor) or features.shape != (len(images), self._dim):
            found = tuple(features.shape) if isinstance(features, torch.Tensor) else type(features).__name__
            raise CheckpointError(
                f"The encoder answers {len(images)} images with {found}, not ({len(images)}, {self._dim})"
            )
        return features.float()


def _no_memory(error: RuntimeError, device: torch.device, batch: int) -> ResourceError | None:
    """The sentence for an error that means too little memory; None for any other error."""
    said = str(error).lower()
    if (
        not isinstance(error, torch.OutOfMemoryError)
        and "out of memory" not in said
        and "can't allocate" not in said
    ):
        return None
    what = f"a batch of {batch} image{'s' if batch != 1 else ''}" if batch else "the encoder"
    do = "Close what else uses it, or choose --device cpu" if device.type != "cpu" else "Free memory"
    return ResourceError(f"The memory of {device} is too small for {what}", do=do)
