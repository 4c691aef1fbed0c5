"""What an encoder takes: the images' size and their normalization, and who said so. No torch is imported."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from repdiag.errors import CheckpointError, UsageError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
GRAY_MEAN, GRAY_STD = (0.449,), (0.226,)  # the same, averaged over the colors

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

    @classmethod
    def of(cls, fields: Mapping[str, Any]) -> Preprocessing:
        """From the fields as JSON holds them; raises TypeError or ValueError when they make no sense."""
        return cls(**{**fields, "mean": tuple(fields["mean"]), "std": tuple(fields["std"])})

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


def imagenet(size: int, resize: int, channels: int, origin: str) -> Preprocessing:
    """ImageNet's usual mean and std at the given size."""
    mean, std = (IMAGENET_MEAN, IMAGENET_STD) if channels == 3 else (GRAY_MEAN, GRAY_STD)
    return Preprocessing(size, resize, "bilinear", mean, std, channels, origin)


def doubt(known: Preprocessing, asked: Sequence[float] | None) -> tuple[str, ...]:
    """A warning where mean and std are a guess that the user did not replace."""
    if asked is not None or not known.origin.startswith("assumed"):
        return ()
    values = f"mean {known.mean}, std {known.std}"
    return (
        f"how images were normalized in training is not known; {values} were assumed (--mean, --std, --size)",
    )


def of_metadata(metadata: Mapping[str, str], where: str) -> Preprocessing | None:
    """What the file itself says under `repdiag.preprocessing`; CheckpointError when that is malformed.

    `size`, `mean` and `std` are needed; `resize` is `size`, `interpolation` bilinear where they are absent.
    """
    text = metadata.get("repdiag.preprocessing")
    if text is None:
        return None
    try:
        said: dict[str, Any] = json.loads(text)
        mean, std = tuple(map(float, said["mean"])), tuple(map(float, said["std"]))
        size = int(said["size"])
        return Preprocessing(
            size,
            int(said.get("resize", size)),
            said.get("interpolation", "bilinear"),
            mean,
            std,
            int(said.get("channels", len(mean))),
            "the file's metadata",
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        detail = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        raise CheckpointError(
            f"The file's own 'repdiag.preprocessing' cannot be used: {detail}", where=where
        ) from error


def override(
    base: Preprocessing,
    *,
    size: int | None,
    resize: int | None,
    interpolation: str | None,
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
) -> Preprocessing:
    """`base` with the fields that the user set; a new size alone keeps the proportion of the crop.

    Raises UsageError when the result makes no sense.
    """
    changes: dict[str, Any] = {}
    if size is not None:
        changes |= {"size": size, "resize": max(size, round(size * base.resize / base.size))}
    if resize is not None:
        changes["resize"] = resize
    if interpolation is not None:
        changes["interpolation"] = interpolation
    for name, values, filler in (("mean", mean, 0.0), ("std", std, 1.0)):
        if values is not None:
            changes[name] = tuple(map(float, values))
            if len(values) != base.channels:  # the other one is of no use any more
                changes["channels"] = len(values)
                other = "std" if name == "mean" else "mean"
                changes.setdefault(other, (1.0 - filler,) * len(values))
    if not changes:
        return base
    given = {"size": size, "resize": resize, "interpolation": interpolation, "mean": mean, "std": std}
    names = ", ".join(name for name, value in given.items() if value is not None)
    rest = "" if all(v is not None for v in given.values()) else f"; the rest: {base.origin}"
    try:
        return dataclasses.replace(base, **changes, origin=f"{names} set by the user{rest}")
    except (TypeError, ValueError) as error:
        raise UsageError(f"The preprocessing makes no sense: {error}") from error
