"""What an explanation holds: frozen, plain values and small arrays, nothing that renders."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from repdiag.exhibits import FeatureCard
from repdiag.types import BoolArray, FloatArray, Interval, Null, Skipped, Table

Kind = Literal["q-score", "adapted"]
Method = Literal["gradcam", "hirescam"]
Region = Literal["core", "spurious", "background"]
Measure = Literal["iou", "mass"]
Group = Literal["all", "correct", "misclassified"]
Features = Literal["discriminative", "random"]
Word = Literal["holds", "does not hold", "not decided", "not tested"]
Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Target:
    """What a heat map explains: t_i = sum_j w_ij h_ij, and why these features.

    `kind` is the rule that chose w, `asked` whether a person chose the rule, `why` one sentence that says so.
    `formula` is t_i in letters, `selected` how many of the D features are in S, `evaluated` how many samples are
    evaluated and `without` how many of them have no feature that stands out (w_i = 0): those have no heat map.
    """

    kind: Kind
    asked: bool
    why: str
    formula: str
    source: str
    selected: int
    features: int
    evaluated: int
    without: int

    def __post_init__(self) -> None:
        if not 0 <= self.without <= self.evaluated:
            raise ValueError(f"{self.without} of {self.evaluated} samples without a feature")


@dataclass(frozen=True)
class Place:
    """Where in the encoder the heat maps are taken: a module's name, its grid (h, w), and how it becomes features."""

    kind: str
    module: str
    grid: tuple[int, int]
    channels: int
    method: Method


@dataclass(frozen=True)
class Tile:
    """An image as the encoder saw it, with its heat map.

    `picture` is (S, S, 3) uint8 (None: it could not be read again), `heat` (h, w) float32 >= 0 on the grid of the
    place, 0 everywhere or None where there is nothing to show and `why_none` says why. `core` and `spurious` are
    (S, S) masks of the crop (None: no mask).
    """

    id: str
    picture: Pixels | None
    heat: FloatArray | None
    why_none: str = ""
    core: BoolArray | None = None
    spurious: BoolArray | None = None

    def __post_init__(self) -> None:
        if (self.heat is None) == (not self.why_none):
            raise ValueError(f"{self.id}: a heat map, or why there is none")
        if self.picture is not None and (self.picture.ndim != 3 or self.picture.shape[2] != 3):
            raise ValueError(f"{self.id}: a picture of shape {self.picture.shape}")


@dataclass(frozen=True)
class Summed:
    """One of the features that a heat map sums: its number, its weight (1 or -1) and its value h_ij as given."""

    feature: int
    weight: int
    value: float


@dataclass(frozen=True)
class Explained:
    """One sample: what is known of it, the features that are summed and where they look.

    `evaluated` is False for a sample of the train part, which the probe learned from: it has no prediction and no
    risk here. None and NaN: not known. `summed` holds the features with the largest |h_ij| first, `features` how many
    there are in all. `overlap` maps columns of samples.csv (iou_core, ...) to its values. `asked` tells that it was
    named by a person, `rank` is its place by risk from 1 (None: not evaluated, or no risk).
    """

    tile: Tile
    label: str | None
    prediction: str | None
    correct: bool | None
    risk: float
    confidence: float
    q_score: float
    evaluated: bool
    asked: bool
    rank: int | None
    features: int
    summed: tuple[Summed, ...]
    reasons: tuple[str, ...] = ()
    overlap: Mapping[str, float] = field(default_factory=dict)

    @property
    def id(self) -> str:
        """The sample's id."""
        return self.tile.id


@dataclass(frozen=True)
class FeatureMaps:
    """One of the top features with heat maps of h_ij on the images that activate it most; tiles as in `card.ids`."""

    card: FeatureCard
    tiles: tuple[Tile, ...]

    def __post_init__(self) -> None:
        if tuple(tile.id for tile in self.tiles) != self.card.ids:
            raise ValueError(f"feature {self.card.feature}: tiles and images differ")


@dataclass(frozen=True)
class Quantity:
    """A mean over images with its interval and what it would be if there were nothing to find.

    `measure` iou: mIoU of the heat map's region with the mask; mass: share of the heat map inside. `n` counts the
    images that have a heat map and a mask of that region. `null`: each heat map against another image's mask.
    `uniform`: what a heat map that is the same everywhere would get on the same images.
    """

    measure: Measure
    region: Region
    group: Group
    features: Features
    value: float
    n: int
    interval: Interval | None
    null: Null | None = None
    uniform: float | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.value) or self.n < 1:
            raise ValueError(f"{self.name}: {self.value} over {self.n} images")

    @property
    def name(self) -> str:
        """A name of its own, as in quantities.csv."""
        parts: list[str] = [self.measure, self.region]
        parts += [] if self.group == "all" else [self.group]
        parts += [] if self.features == "discriminative" else [self.features]
        return "_".join(parts)


@dataclass(frozen=True)
class Claim:
    """A statement put to the test: the difference `value`, which `what` names, should be above 0.

    `source` says whose statement it is. `word` follows from the interval alone: above 0 it holds, below 0 it does
    not, else (or without one) it is not decided; "not tested" where what it needs is missing, and `sentence` says what.
    """

    key: str
    said: str
    source: str
    word: Word
    what: str
    sentence: str
    value: float | None = None
    interval: Interval | None = None
    n: int = 0

    def __post_init__(self) -> None:
        if (self.word == "not tested") != (self.value is None):
            raise ValueError(f"{self.key}: {self.word} with the value {self.value}")


@dataclass(frozen=True)
class Overlaps:
    """What masks say of the heat maps of all evaluated samples that have one.

    `kind` and `location` are of the masks, `threshold` is t in R = {A >= t max A}, `masked` counts evaluated samples
    with a mask, `maps` those of them with a heat map. `regions` are those that the masks know.
    """

    kind: str
    location: str
    threshold: float
    masked: int
    maps: int
    regions: tuple[Region, ...]
    quantities: tuple[Quantity, ...]
    claims: tuple[Claim, ...]
    notes: tuple[str, ...] = ()

    def of(self, name: str) -> Quantity | None:
        """The quantity called `name`; None where it could not be measured."""
        return next((q for q in self.quantities if q.name == name), None)


@dataclass(frozen=True)
class Explanation:
    """Everything that `repdiag explain` found. Renderers turn it into pages, CSV and JSON and compute nothing.

    `table` has a row for each evaluated sample (and one for each of the train part that was asked for). Equal seeds on
    one machine give equal explanations but for `created` and `timing`.
    """

    created: str
    encoder: Mapping[str, Any]
    dataset: Mapping[str, Any]
    parameters: Mapping[str, Any]
    environment: Mapping[str, Any]
    target: Target
    place: Place
    samples: tuple[Explained, ...]
    features: tuple[FeatureMaps, ...]
    overlaps: Overlaps | Skipped
    table: Table
    risk: Mapping[str, Any]
    notes: Mapping[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    timing: Mapping[str, float] = field(default_factory=dict)
