"""What a page shows beside numbers: pictures, why they were chosen, and what to do next. All chosen, none drawn.

Arrays and text only; images are JPEG bytes. `repdiag.showing` fills this in, renderers lay it out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

MAX_SHOWN = 10_000
"""Most samples that a map shows: what a browser draws without a pause. Files beside the page have all."""


def placed_rows(columns: Mapping[str, npt.NDArray[Any]]) -> npt.NDArray[np.int64]:
    """Rows of the sample table that have a place on the map: on UMAP's, or on PCA's where there is no other.

    Row numbers, ascending; none where the table has no map. UMAP leads because it may hold a draw of the samples
    only, and both maps show the same ones.
    """
    for name in ("umap", "pca"):
        if f"{name}_x" in columns and f"{name}_y" in columns:
            both = np.stack([np.asarray(columns[f"{name}_{axis}"], np.float64) for axis in "xy"])
            return np.flatnonzero(np.isfinite(both).all(0))
    return np.empty(0, np.int64)


def shown_rows(placed: npt.NDArray[np.int64], most: int = MAX_SHOWN) -> npt.NDArray[np.int64]:
    """The rows of `placed` that are shown: all, or `most` of them evenly spaced, first and last included."""
    if placed.size <= most:
        return placed
    return placed[np.linspace(0, placed.size - 1, most).round().astype(np.int64)]


@dataclass(frozen=True)
class Advice:
    """One thing to do next: what, why in one sentence with the numbers, and the command where there is one.

    `section` is the key of the page's section that shows the evidence ("crowding", "map", "stability", "features",
    "risk", "classes", "metrics"), `rule` the name of the rule that chose it. Our own conventions, all of them.
    """

    rule: str
    title: str
    reason: str
    section: str
    command: str | None = None


@dataclass(frozen=True)
class ClassMatrix:
    """Which of M classes crowd which, in an order that puts classes that crowd each other side by side.

    `nearer[i, j]` is the share of class i's evaluated samples whose nearest class center (out of fold) is class j's;
    on the diagonal, their own. `distance[i, j]` is the Euclidean distance of the centers of rows of unit length, 0 on
    the diagonal. Both are (M, M) float64, rows and columns in the order of `classes`; NaN for a class without samples.
    `mass[i]` is the share of class i's samples that lie nearest to a class that is not shown. `of` is K, all classes;
    where M < K, the M are the classes of the pairs that crowd each other most.
    """

    classes: tuple[str, ...]
    nearer: npt.NDArray[np.float64]
    distance: npt.NDArray[np.float64]
    mass: npt.NDArray[np.float64]
    of: int

    def __post_init__(self) -> None:
        m = len(self.classes)
        if self.nearer.shape != (m, m) or self.distance.shape != (m, m) or self.mass.shape != (m,):
            raise ValueError(f"matrices of {self.nearer.shape} and {self.distance.shape} for {m} classes")
        if m > self.of:
            raise ValueError(f"{m} of {self.of} classes")


@dataclass(frozen=True)
class PairPictures:
    """Images from the border of two classes that crowd each other.

    `a_ids` are samples of `class_a`, those nearest to b's center in relation to their own's first; `b_ids` likewise.
    """

    class_a: str
    class_b: str
    a_ids: tuple[str, ...]
    b_ids: tuple[str, ...]


@dataclass(frozen=True)
class FeatureCard:
    """One of the top features with the images that activate it most.

    `worth` is what the features are ranked by and `worth_name` its name; `frequency` is the activation frequency in
    percent (NaN for signed features), `in_s` whether it is discriminative (None for signed features). `ids` are the
    samples with the highest activation, highest first, `activations` theirs (rows as the encoder gave them),
    `labels` their classes (None where not known).
    """

    feature: int
    worth: float
    worth_name: str
    frequency: float
    in_s: bool | None
    ids: tuple[str, ...]
    activations: tuple[float, ...]
    labels: tuple[str | None, ...]

    def __post_init__(self) -> None:
        if not math.isfinite(self.worth):
            raise ValueError(f"feature {self.feature} has no finite worth")
        if not len(self.ids) == len(self.activations) == len(self.labels):
            raise ValueError(f"feature {self.feature}: ids, activations and labels differ in length")


@dataclass(frozen=True)
class Risky:
    """One of the samples with the highest risk, and in plain words what speaks against it, weightiest first."""

    id: str
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Sprite:
    """Small pictures of many samples in one JPEG: tile t is `ids[t]`, row by row, `columns` tiles in a row.

    Each tile is `tile` pixels a side, the picture centered on gray. A sample without a picture has a gray tile and
    is listed all the same.
    """

    ids: tuple[str, ...]
    tile: int
    columns: int
    jpeg: bytes


@dataclass(frozen=True)
class Exhibits:
    """All of it; each part is empty (or None) where the report has nothing to show.

    `pca_explained` are the shares of the variance that the map's two principal components hold.
    """

    advice: tuple[Advice, ...] = ()
    matrix: ClassMatrix | None = None
    pairs: tuple[PairPictures, ...] = ()
    features: tuple[FeatureCard, ...] = ()
    riskiest: tuple[Risky, ...] = ()
    sprite: Sprite | None = None
    pca_explained: tuple[float, float] | None = None
    notes: Mapping[str, str] = field(default_factory=dict)
