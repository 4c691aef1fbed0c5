"""Every encoder of a ladder through the gate against every other, and what else says which of the two is worse."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, permutations
from typing import Any

import numpy as np

from repdiag.gate.evaluate import evaluate
from repdiag.gate.types import Outcome, Rules
from repdiag.types import MetricResult, Report, Table

PROBE = "linear_probe_accuracy"
PASS, FAIL, OPEN = Outcome.PASS, Outcome.FAIL, Outcome.UNDETERMINED
LETTERS = {FAIL: "F", OPEN: "u", PASS: "P"}
WORSE, ALIKE, BETTER = "worse", "not told apart", "better"

LADDER = """\
[[rule]]
name = "probe"
metric = "linear_probe_accuracy"
change_at_least = 0

[[rule]]
name = "probe, 2 points allowed"
metric = "linear_probe_accuracy"
change_at_least = -0.02

[[rule]]
name = "kNN"
metric = "knn_accuracy"
change_at_least = 0

[[rule]]
name = "RankMe"
metric = "rankme"
change_at_least = 0

[[rule]]
name = "RankMe, 10 % allowed"
metric = "rankme"
relative_change_at_least = -0.1

[[rule]]
name = "clusters under augmentation"
metric = "augmentation_ari"
change_at_least = 0
"""
LABEL_FREE = ("RankMe", "RankMe, 10 % allowed", "clusters under augmentation")
CHAINS = (
    ("random", "protoclr-1images", "protoclr-50images", "protoclr-600images", "protoclr-4800images", "protoclr-all"),
    ("random", "protoclr-2classes", "protoclr-16classes", "protoclr-all"),
    ("random", "umtra"),
    ("random", "supervised-600images", "supervised-4800images", "supervised-all"),
    ("random", "supervised-2classes", "supervised-16classes", "supervised-all"),
)  # fmt: skip
"""Encoders that one method made from ever more images or classes: an order that no image of the gate has a say in."""
STEPS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.1, 1.0)


@dataclass(frozen=True)
class Held:
    """A candidate against a baseline: the probe's change with its paired 95 % interval, and each rule's outcome."""

    candidate: str
    baseline: str
    change: float
    low: float
    high: float
    outcomes: Mapping[str, Outcome]

    @property
    def standing(self) -> str:
        """Whether the paired interval tells the candidate from the baseline."""
        return WORSE if self.high < 0 else BETTER if self.low > 0 else ALIKE


def right(report: Report) -> Mapping[str, float]:
    """Whether the probe names each image rightly, by the image's id."""
    columns = report.samples.columns
    return dict(zip(map(str, columns["id"]), np.asarray(columns["correct"], np.float64), strict=True))


def paired(candidate: Report, baseline: Report) -> tuple[float, float, float]:
    """Change of the probe's accuracy on the common images with a 95 % paired t interval. Plain, not the gate's own."""
    from scipy.stats import t

    now, before = right(candidate), right(baseline)
    changes = np.array([now[key] - before[key] for key in sorted(now.keys() & before.keys())])
    half = float(t.ppf(0.975, changes.size - 1) * changes.std(ddof=1) / np.sqrt(changes.size))
    return float(changes.mean()), float(changes.mean()) - half, float(changes.mean()) + half


def hold(
    reports: Mapping[str, Report], rules: Rules, others: Mapping[str, Report] | None = None
) -> list[Held]:
    """Every ordered pair of `reports` through the gate; the standing is that of the same encoders in `others`."""
    truth = others or reports
    out = []
    for one, other in permutations(reports, 2):
        result = evaluate(reports[one], rules, reports[other])
        outcomes = {r.rule.name: r.outcome for r in result.results}
        out.append(Held(one, other, *paired(truth[one], truth[other]), outcomes))
    return out


def halves(report: Report) -> tuple[Report, Report]:
    """The probe's results on either half of the images, by the first digit of the SHA-256 of their ids."""
    ids = [hashlib.sha256(str(i).encode()).digest()[0] % 2 for i in report.samples.columns["id"]]
    return _part(report, np.equal(ids, 0)), _part(report, np.equal(ids, 1))


def _part(report: Report, rows: Any) -> Report:
    columns = {name: report.samples.columns[name][rows] for name in ("id", "label", "correct")}
    measured = report.measurement(PROBE)
    assert measured is not None
    result = MetricResult(float(np.mean(np.asarray(columns["correct"], np.float64))))
    return replace(report, samples=Table(columns), measurements=(replace(measured, outcome=result),))


def known_order(held: Sequence[Held]) -> list[Held]:
    """The pairs whose candidate learned from less than its baseline, by the same method."""
    less = {pair for chain in CHAINS for pair in combinations(chain, 2)}
    return [h for h in held if (h.candidate, h.baseline) in less]


def counts(held: Iterable[Held], rule: str) -> str:
    """fail / undetermined / pass."""
    found = Counter(h.outcomes[rule] for h in held)
    return f"{found[FAIL]} / {found[OPEN]} / {found[PASS]}"
