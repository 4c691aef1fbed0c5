"""What an encoder is to the rest of repdiag, and what is known about how it came to be."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch

SHOWN = 40  # names of tensors in a description

Interpolation = Literal["bilinear", "bicubic"]


@dataclass(frozen=True)
class Preprocessing:
    """How an image becomes the encoder's input, and how that is known.

    The shorter side is resized to `resize` pixels, the center `size` x `size` pixels are kept, values in
    [0, 1] are normalized per channel as (x - mean) / std. `channels` is 3 (RGB) or 1 (gray). `origin` says
    where the numbers come from, because a wrong guess costs accuracy silently.
    """

    size: int
    resize: int
    interpolation: Interpolation
    mean: tuple[float, ...]
    std: tuple[float, ...]
    channels: int
    origin: str

    def __post_init__(self) -> None:
        if self.channels not in (1, 3):
            raise ValueError(f"channels must be 1 or 3, not {self.channels}")
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError(f"mean {self.mean} and std {self.std} need {self.channels} value(s) each")
        if self.size < 1 or self.resize < self.size:
            raise ValueError(f"cannot crop {self.size} pixels from a shorter side of {self.resize}")
        if min(self.std) <= 0:
            raise ValueError(f"std must be positive, not {self.std}")
        if self.interpolation not in ("bilinear", "bicubic"):
            raise ValueError(f"interpolation must be bilinear or bicubic, not {self.interpolation!r}")

    def describe(self) -> dict[str, Any]:
        """All fields and a `summary`, ready for JSON."""
        return {"summary": str(self)} | asdict(self) | {"mean": list(self.mean), "std": list(self.std)}

    def __str__(self) -> str:
        crop = f", shorter side {self.resize} before the crop" if self.resize != self.size else ""
        mean, std = (", ".join(f"{v:g}" for v in values) for values in (self.mean, self.std))
        color = "" if self.channels == 3 else ", gray"
        return (
            f"{self.size}x{self.size} pixels{crop}{color}, {self.interpolation}; "
            f"mean {mean}; std {std} ({self.origin})"
        )


@dataclass(frozen=True)
class Loading:
    """What became of a checkpoint's tensors.

    `loaded` counts tensors, `parameters` their numbers. `dropped` names the file's tensors that the encoder
    does not use, `missing` the optional ones it had to do without, `ignored` buffers that carry no weights.
    `alternatives` are architectures with the very same names and shapes, `readings` says which of several
    equally good prefixes was taken and why, `stubbed` which pickled objects were left inert.
    """

    container: str
    prefix: str = ""
    loaded: int = 0
    parameters: int = 0
    dropped: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()
    alternatives: tuple[str, ...] = ()
    readings: tuple[str, ...] = ()
    stubbed: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    def describe(self) -> dict[str, Any]:
        """All fields, ready for JSON; long lists of names are counted by their first component.

        Batch-norm counters, which evaluation does not use, are told apart from what is really missing.
        """
        counters = [name for name in self.missing if name.endswith("num_batches_tracked")]
        said = asdict(self) | {"missing": tuple(n for n in self.missing if n not in set(counters))}
        shown = {name: _short(v) if isinstance(v, tuple) else v for name, v in said.items()}
        return shown | {"missing_counters": len(counters)}


def _short(names: tuple[str, ...]) -> list[str]:
    """The names, or what they begin with and how often when they are more than a reader can use."""
    if len(names) <= SHOWN:
        return list(names)
    counts = Counter(name.partition(".")[0] for name in names)
    return [f"{first}.* ({count})" for first, count in counts.items()]


@dataclass(frozen=True)
class Encoder:
    """A frozen image encoder: `module` maps (B, C, H, W) float32 to (B, D) float32, pooled, before any head.

    `module` is in eval mode, on the CPU, without gradients. `fingerprint` is a SHA-256 of the weights, the
    architecture and the pooling: equal for equal weights whatever file they came in. `channels_last` tells
    whether it also runs with weights and images in that memory format (`x.view(B, -1)` does not).
    """

    module: torch.nn.Module = field(repr=False)
    name: str
    architecture: str
    dim: int
    preprocessing: Preprocessing
    fingerprint: str
    loading: Loading
    channels_last: bool = True

    def describe(self) -> dict[str, Any]:
        """What the report says about the encoder, ready for JSON."""
        return {
            "name": self.name,
            "architecture": self.architecture,
            "dim": self.dim,
            "fingerprint": self.fingerprint,
            "preprocessing": self.preprocessing.describe(),
            "loading": self.loading.describe(),
        }
