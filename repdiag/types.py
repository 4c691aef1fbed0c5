"""The data that flows through repdiag: frozen, and checked once where it is made.

Import cost matters here (`repdiag --help` imports this): numpy only, no torch, no pandas.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from repdiag.exhibits import Exhibits

FloatArray = npt.NDArray[np.float32]
DoubleArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

SCHEMA_VERSION = 1
"""Version of report.json. It rises when a reader of the old form would misread the new one."""


# --------------------------------------------------------------------------------------------- data sets


@dataclass(frozen=True)
class Manifest:
    """What a data set holds, in columns of equal length N (columns, so that a million rows stay small).

    `paths` are unique, relative to the data set, and serve as sample ids. `labels` index `class_names` (-1 where
    one is not known; None: unlabelled). `is_train` marks the part that probes and reference statistics may learn
    from (None: no split). `fingerprint` is a SHA-256 that changes when the list, the labels, the split or any
    file's content (as far as size, time or CRC tell) changes. `parents` names the coarse class of each class;
    empty where none are known.
    """

    paths: tuple[str, ...]
    labels: IntArray | None
    class_names: tuple[str, ...]
    is_train: BoolArray | None
    fingerprint: str
    parents: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.paths)
        for name in ("labels", "is_train"):
            column = getattr(self, name)
            if column is not None and column.shape != (n,):
                raise ValueError(f"{name} has shape {column.shape}, expected ({n},)")
        k = len(self.class_names)
        if self.labels is not None and n and not -1 <= self.labels.min() <= self.labels.max() < k:
            raise ValueError("labels must index class_names, or be -1")
        if len(self.parents) not in (0, k):
            raise ValueError(f"{len(self.parents)} parents for {k} classes")

    def __len__(self) -> int:
        return len(self.paths)


class ImageSource(Protocol):
    """Encoded images by index. `read` is called from several threads at once."""

    @property
    def name(self) -> str:
        """The data set as the user named it."""
        ...

    @property
    def manifest(self) -> Manifest:
        """What it holds."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know about how it was read: what was left out, for one."""
        ...

    def read(self, index: int) -> bytes:
        """The encoded bytes (PNG, JPEG, ...) of one image; raises OSError when they cannot be read."""
        ...


@dataclass(frozen=True)
class CorruptImage:
    """An image that was left out, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Views:
    """Embeddings of V random augmentations of the samples `rows` (M of them): `features` is (V, M, D)."""

    features: FloatArray
    rows: IntArray
    description: str

    def __post_init__(self) -> None:
        if self.features.ndim != 3 or self.features.shape[1] != self.rows.size:
            raise ValueError(f"views of shape {self.features.shape} do not match {self.rows.size} rows")


@dataclass(frozen=True)
class Companion:
    """Other embeddings of the same N samples: another layer's, or those of an earlier checkpoint.

    `features` is (N, D') float32, its rows those of the set that it accompanies.
    """

    kind: Literal["layer", "checkpoint"]
    name: str
    features: FloatArray


@dataclass(frozen=True)
class EmbeddingSet:
    """N embeddings of D features with what is known about each sample. No row is missing or not finite.

    `features` is (N, D) float32 (a memory map is fine), the encoder's pooled output before any projector
    and before normalisation. Labels, split and names are as in `Manifest`. `companions` are what else is known of
    the same samples: other layers, or earlier checkpoints from first to last.
    """

    features: FloatArray
    ids: tuple[str, ...]
    labels: IntArray | None = None
    class_names: tuple[str, ...] = ()
    is_train: BoolArray | None = None
    views: Views | None = None
    corrupt: tuple[CorruptImage, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)
    parents: tuple[str, ...] = ()
    companions: tuple[Companion, ...] = ()

    def __post_init__(self) -> None:
        if self.features.ndim != 2 or self.features.dtype != np.float32:
            found = f"{self.features.shape} {self.features.dtype}"
            raise ValueError(f"features must be (N, D) float32, not {found}")
        n = self.features.shape[0]
        if len(self.ids) != n:
            raise ValueError(f"{len(self.ids)} ids for {n} embeddings")
        for name in ("labels", "is_train"):
            column = getattr(self, name)
            if column is not None and column.shape != (n,):
                raise ValueError(f"{name} has shape {column.shape}, expected ({n},)")
        if self.labels is not None and n and self.labels.min() < -1:
            raise ValueError("labels must index class_names, or be -1")
        if len(self.parents) not in (0, len(self.class_names)):
            raise ValueError(f"{len(self.parents)} parents for {len(self.class_names)} classes")
        for companion in self.companions:
            if companion.features.shape[0] != n:
                raise ValueError(f"{companion.name} has {companion.features.shape[0]} rows, not {n}")

    def __len__(self) -> int:
        return int(self.features.shape[0])

    @property
    def dim(self) -> int:
        """D, the number of features."""
        return int(self.features.shape[1])


# --------------------------------------------------------------------------------------------- metrics


class Need(enum.Enum):
    """What a metric cannot do without; where it is missing the metric is skipped with that reason."""

    LABELS = "labels"
    IMAGES = "augmented views of the images"
    NONNEGATIVE = "non-negative features (an encoder that ends in a ReLU)"
    HIERARCHY = "coarse classes (a class hierarchy)"
    LAYERS = "other layers of the same images (--layer a,b)"
    CHECKPOINTS = "earlier checkpoints of the same run (--earlier)"


class Direction(enum.Enum):
    """Which way is better."""

    HIGHER = "higher"
    LOWER = "lower"
    NEITHER = "neither"


class Status(enum.Enum):
    """Where a definition comes from; never stated higher than it is."""

    PAPER = "paper"  # read in the paper's own text
    CODE = "code"  # read in the authors' released code
    PUBLISHED = "published"  # a standard measure as the literature has it; its first paper was not re-read
    ADAPTED = "adapted"  # a published measure, with a stated change
    OURS = "ours"  # our own definition or choice


class Law(enum.Enum):
    """Changes of the embeddings that must leave a metric's value alone; tested for every metric."""

    PERMUTATION = "order of the samples"
    ROTATION = "rotation of the space"
    SCALE = "one positive factor on all embeddings"
    FEATURE_ORDER = "order of the features"


@dataclass(frozen=True)
class MetricSpec:
    """Everything that is declared about a metric, once; the CLI, reports and docs all read it here."""

    name: str
    family: str
    title: str
    meaning: str  # one plain sentence: what a high value means
    formula: str
    source: str
    status: Status
    direction: Direction
    low: float  # smallest possible value (may be -inf)
    high: float
    unit: str  # "", "share", "%", ...
    needs: frozenset[Need]
    laws: frozenset[Law]
    cost: str  # in time, in terms of N samples, D features, K classes
    headline: bool = False
    by_size: bool = False  # measured again at N/2 and N/4, to show how it moves with the number of samples


@dataclass(frozen=True)
class Interval:
    """An uncertainty interval and how it was made (`n` replicates of `method`)."""

    low: float
    high: float
    method: str
    n: int
    level: float = 0.95

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low <= self.high):
            raise ValueError(f"not an interval: [{self.low}, {self.high}]")


@dataclass(frozen=True)
class Null:
    """What the metric gives when there is nothing to find: mean and spread over `n` draws of `name`."""

    name: str
    mean: float
    std: float
    n: int

    def __post_init__(self) -> None:
        if not (math.isfinite(self.mean) and math.isfinite(self.std) and self.std >= 0):
            raise ValueError(f"not a null: mean {self.mean}, std {self.std}")


Row = Mapping[str, float | int | str | bool | None]


@dataclass(frozen=True)
class MetricResult:
    """One metric's answer. `value` is finite: what cannot be computed is a `Skipped`, never a number.

    `per_class` has K entries (NaN where a class is too small), `per_sample` one entry per *evaluated* sample
    (NaN where undefined), `table` holds further rows (a curve, a comparison), `parameters` all that the
    number depends on, `note` a caveat that belongs beside it.
    """

    value: float
    interval: Interval | None = None
    null: Null | None = None
    per_class: DoubleArray | None = None
    per_sample: DoubleArray | None = None
    table: tuple[Row, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
    note: str | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError(f"a metric's value must be finite, not {self.value}")
        object.__setattr__(self, "parameters", MappingProxyType(dict(self.parameters)))


@dataclass(frozen=True)
class Skipped:
    """A metric that could not be computed, and why."""

    reason: str


Outcome = MetricResult | Skipped


@dataclass(frozen=True)
class SizePoint:
    """The mean value of a metric over `parts` disjoint parts of the samples with about `samples` each."""

    samples: int
    value: float
    parts: int


@dataclass(frozen=True)
class Measurement:
    """One metric as it was run; `by_size` holds it on N/4 and N/2 samples where that was measured."""

    spec: MetricSpec
    outcome: Outcome
    seconds: float
    by_size: tuple[SizePoint, ...] = ()


# --------------------------------------------------------------------------------------------- verdicts


class Level(enum.Enum):
    """What a verdict says of a family of metrics."""

    GOOD = "good"
    WATCH = "watch"
    POOR = "poor"
    UNDETERMINED = "undetermined"


@dataclass(frozen=True)
class Finding:
    """One rule applied: its name, what it found, and why in one sentence with the numbers."""

    rule: str
    level: Level
    reason: str


@dataclass(frozen=True)
class Verdict:
    """What the stated rules say of one family; `level` is the worst of its findings."""

    family: str
    level: Level
    reason: str
    findings: tuple[Finding, ...] = ()


# --------------------------------------------------------------------------------------------- report


@dataclass(frozen=True)
class Table:
    """Named columns of equal length: what a CSV holds."""

    columns: Mapping[str, npt.NDArray[Any]]

    def __post_init__(self) -> None:
        if len({len(column) for column in self.columns.values()}) > 1:
            raise ValueError("columns differ in length: " + str({k: len(v) for k, v in self.columns.items()}))

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0


@dataclass(frozen=True)
class Report:
    """Everything `repdiag score` found. Renderers turn it into HTML, CSV and JSON and compute nothing.

    `samples` has one row per evaluated sample, `classes` one per class (empty when unlabelled), `features`
    one per feature, `pairs` one per pair of classes that lie close, `clusters` one per k-means cluster.
    `verdicts` has one per family. `thumbnails` maps sample ids to JPEG bytes (only of those that the report shows);
    `exhibits` says which are shown where, and why.
    `timing` maps steps to seconds. Equal seeds on one machine give equal reports but for `created`/`timing`.
    """

    created: str  # ISO 8601, UTC
    encoder: Mapping[str, Any]
    dataset: Mapping[str, Any]
    config: Mapping[str, Any]
    environment: Mapping[str, Any]
    measurements: tuple[Measurement, ...]
    samples: Table
    classes: Table
    features: Table
    risk: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
    thumbnails: Mapping[str, bytes] = field(default_factory=dict)
    timing: Mapping[str, float] = field(default_factory=dict)
    pairs: Table = field(default_factory=lambda: Table({}))
    clusters: Table = field(default_factory=lambda: Table({}))
    verdicts: tuple[Verdict, ...] = ()
    exhibits: Exhibits = field(default_factory=Exhibits)

    def measurement(self, name: str) -> Measurement | None:
        """The measurement of the metric called `name`, or None when it was not asked for."""
        return next((m for m in self.measurements if m.spec.name == name), None)

    def value(self, name: str) -> MetricResult | None:
        """The result of the metric called `name`, or None when it was skipped or not asked for."""
        found = self.measurement(name)
        return found.outcome if found is not None and isinstance(found.outcome, MetricResult) else None


class Progress(Protocol):
    """Told how far a long step is. The command line draws a bar on stderr; libraries pass `silent`."""

    def __call__(self, step: str, done: int, total: int) -> None:
        """`done` of `total` units of `step` are finished."""
        ...


def silent(step: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


ThumbnailReader = Callable[[Sequence[str], Sequence[int]], Iterator[npt.NDArray[np.uint8] | None]]
"""Sample ids and the most pixels a side of each -> small pictures (h, w, 3), in order; None: cannot be shown."""

DeviceName = Literal["auto", "cpu", "cuda", "mps"]
