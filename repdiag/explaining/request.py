"""What `repdiag explain` is asked for, checked before any work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from repdiag.errors import UsageError
from repdiag.explaining.types import Method
from repdiag.registry import did_you_mean

DEFAULT_RISKIEST = 20
MOST_FEATURES = 64
TARGETS = ("auto", "q-score", "adapted")
METHODS = ("gradcam", "hirescam")


@dataclass(frozen=True)
class Wanted:
    """Which samples and features, explained how.

    `samples` are ids; `riskiest` is how many of the riskiest to add (None: 20 where no sample is named, else none).
    `features` is how many of the top features to show. `masks` is a folder of masks or a file of boxes. `target`
    chooses the rule for the features of a sample, `method` the kind of heat map (None: by the encoder). `threshold` is
    t in the region {A >= t max A} that mIoU compares. `draws` is how many other images' masks each heat map meets.
    """

    samples: tuple[str, ...] = ()
    riskiest: int | None = None
    features: int = 8
    masks: str | Path | None = None
    target: Literal["auto", "q-score", "adapted"] = "auto"
    method: Method | None = None
    threshold: float = 0.5
    draws: int = 10

    def __post_init__(self) -> None:
        for name, most in (("riskiest", 10_000), ("features", MOST_FEATURES)):
            value = getattr(self, name)
            if value is not None and not 0 <= value <= most:
                raise UsageError(f"{name} must be from 0 to {most:,}, not {value}")
        if self.target not in TARGETS:
            raise UsageError(
                f"There is no target '{self.target}'", do=did_you_mean(self.target, list(TARGETS))
            )
        if self.method is not None and self.method not in METHODS:
            raise UsageError(
                f"There is no method '{self.method}'", do=did_you_mean(self.method, list(METHODS))
            )
        if not 0 < self.threshold <= 1:
            raise UsageError(
                f"threshold is a share of the heat map's maximum in (0, 1], not {self.threshold:g}"
            )
        if self.draws < 2:
            raise UsageError(f"draws must be at least 2, not {self.draws}")

    @property
    def count(self) -> int:
        """How many of the riskiest samples."""
        if self.riskiest is not None:
            return self.riskiest
        return 0 if self.samples else DEFAULT_RISKIEST


def rows_of(asked: Sequence[str], ids: Sequence[str], unreadable: dict[str, str]) -> list[int]:
    """The rows of the samples `asked` for among `ids`, each once; UsageError names the closest to one not there."""
    place = {name: row for row, name in enumerate(ids)}
    found = []
    for name in dict.fromkeys(asked):
        if name in unreadable:
            raise UsageError(f"The image '{name}' cannot be read: {unreadable[name]}", do="Leave it out")
        if name not in place:
            raise UsageError(f"There is no sample '{name}'", do=_closest(name, ids))
        found.append(place[name])
    return found


def _closest(name: str, ids: Sequence[str]) -> str:
    """A suggestion that stays quick and short among a million ids: an equal end of the path, else a similar name."""
    same_end = [known for known in ids if known.rpartition("/")[2] == name.rpartition("/")[2]]
    if len(same_end) == 1:
        return f"Did you mean '{same_end[0]}'?"
    if len(same_end) > 1:
        return f"{len(same_end):,} samples end like it, '{same_end[0]}' for one: give the whole path"
    first = name[:1]
    near = [known for known in ids if known[:1] == first][:20_000] or list(ids[:20_000])
    said = did_you_mean(name, near)
    return (
        said
        if said.startswith("Did")
        else f"Samples are called like '{ids[0]}'; samples.csv of a report lists them"
    )
