"""What an audit found: frozen, plain values, nothing that renders."""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from repdiag.types import Report, Skipped, Table


class Action(enum.Enum):
    """What a person is asked to do with a sample; the first that applies, in this order. Ours."""

    CHECK_LABEL = "check the label"  # a probable label error
    SETTLE_COPIES = "settle the label of its copies"  # near-duplicates with different labels
    MOVE_COPIES = "keep its copies on one side of the split"  # near-duplicates in train and test
    ADD_LABEL = "label it"
    INSPECT = "inspect: hard, or mislabeled"  # misclassified
    CONFIRM = "confirm"  # classified as labeled, and risky all the same


@dataclass(frozen=True)
class Reviewed:
    """One sample to review. `row` is its row in samples.csv, `rank` its place by risk from 1.

    None (NaN for numbers): the report does not say. `group` names the class pair, `copies` the group of
    near-duplicates that it is in, `suspect` tells that its label is suspect.
    """

    rank: int
    row: int
    id: str
    path: str
    label: str | None
    prediction: str | None
    correct: bool | None
    risk: float
    confidence: float
    q_score: float
    cluster: int | None
    group: str
    reasons: tuple[str, ...]
    action: Action
    copies: int | None = None
    suspect: bool = False

    def __post_init__(self) -> None:
        if not math.isfinite(self.risk):
            raise ValueError(f"{self.id} has no risk")


@dataclass(frozen=True)
class Group:
    """Reviewed samples of one class pair ("cat -> dog") or of one k-means cluster, `ids` from the riskiest down.

    `samples` counts those to review, `evaluated` all of the report's that are in it. `wrong` is how many of the former
    the probe got wrong, `expected` the sum of their risks (None without calibrated risks). `majority` and `purity` say
    of a cluster which class most of its samples have, and the share of it.
    """

    kind: Literal["pair", "cluster"]
    name: str
    samples: int
    evaluated: int
    wrong: int | None
    mean_risk: float
    expected: float | None
    ids: tuple[str, ...]
    label: str | None = None
    prediction: str | None = None
    cluster: int | None = None
    majority: str | None = None
    purity: float | None = None


@dataclass(frozen=True)
class Catch:
    """What reviewing the list is worth.

    `expected` errors of the linear probe, the sum of the risks, with the central 95 % of what would happen if each
    risk were right (None where the risk is a rank, not a probability). `found` is how many errors there are among the
    `labeled` of the list, `errors` how many in the whole report (None where no label tells).
    """

    samples: int
    evaluated: int
    calibrated: bool
    expected: float | None
    low: float | None
    high: float | None
    labeled: int
    found: int | None
    errors: int | None


@dataclass(frozen=True)
class Copy:
    """One member of a group of near-duplicates; `nearest` is the id of its nearest member, at `cosine`."""

    id: str
    label: str | None
    split: Literal["train", "test", ""]
    nearest: str
    cosine: float


@dataclass(frozen=True)
class CopyGroup:
    """Samples that the encoder hardly tells apart. `labels` are the distinct labels that are known.

    `equal` tells that all have cosine 1 but for rounding. `leaks` tells that some are in train and some in test.
    """

    number: int
    members: tuple[Copy, ...]
    labels: tuple[str, ...]
    leaks: bool
    equal: bool

    @property
    def conflict(self) -> bool:
        """Whether members have different labels."""
        return len(self.labels) > 1

    @property
    def action(self) -> str:
        """What a person is asked to do."""
        if self.conflict:
            return Action.SETTLE_COPIES.value
        return Action.MOVE_COPIES.value if self.leaks else "keep one"


@dataclass(frozen=True)
class Copies:
    """Near-duplicates among `searched` samples, those with conflicting labels first, then those that leak.

    `threshold` is the least cosine that links two; `chosen` and `reason` are of `kernels.duplicates.Duplicates`,
    `source` says where the embeddings came from.
    """

    groups: tuple[CopyGroup, ...]
    searched: int
    threshold: float
    chosen: str
    reason: str
    source: str

    @property
    def samples(self) -> int:
        """How many samples are in groups."""
        return sum(len(group.members) for group in self.groups)


@dataclass(frozen=True)
class Suspect:
    """A sample whose label may be wrong: the probe, held out, is sure of another class.

    `by` names who says so: "repdiag", "cleanlab", or "repdiag, cleanlab".

    `confidence` is the probability of `suggested`, `limit` the mean of it among samples labeled so (NaN where cleanlab
    alone found it), `self_confidence` that of the given label (NaN where only the report was at hand), `others` how
    many of kNN and nearest center did not give the label either (None: unknown).
    """

    id: str
    label: str
    suggested: str
    confidence: float
    limit: float
    self_confidence: float
    others: int | None
    split: Literal["train", "test", ""]
    by: str


@dataclass(frozen=True)
class Suspects:
    """Probable label errors, the most confident first, among `judged` labeled samples; `rules` says how each judged."""

    found: tuple[Suspect, ...]
    judged: int
    rules: Mapping[str, str]
    skipped: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Audit:
    """All that `audit` found. `reviewed` is the list, from the riskiest down; `pairs` and `clusters` are its groups.

    `curve` has one row per number of reviewed samples (columns as `audits.catch.curve` says; none without known
    errors, then `no_curve` says why). `parameters` is what was asked for.
    """

    report: Report
    reviewed: tuple[Reviewed, ...]
    pairs: tuple[Group, ...]
    clusters: tuple[Group, ...]
    catch: Catch
    curve: Table
    no_curve: str
    copies: Copies | Skipped
    suspects: Suspects | Skipped
    warnings: tuple[str, ...] = ()
    parameters: Mapping[str, Any] = field(default_factory=dict)
