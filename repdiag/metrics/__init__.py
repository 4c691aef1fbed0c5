"""One file per family of metrics. Adding a metric is one decorated function here; nothing else lists it."""

from __future__ import annotations

import enum
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from repdiag.registry import Registry
from repdiag.types import Measurement, MetricResult, MetricSpec, Need, Outcome, Skipped
from repdiag.workspace import Skip, Workspace

Compute = Callable[[Workspace], MetricResult]


LABELED = frozenset({Need.LABELS, Need.HIERARCHY})
"""A metric that needs one of these is about the samples that have a label."""


class Rows(enum.Enum):
    """Which rows a metric takes under `--no-l2`; otherwise all have unit length."""

    UNIT = "of unit length: the metric is defined on those"
    GIVEN = "as given"
    MIXED = "a probe on rows as given, scores as they are defined (most on rows of unit length)"


@dataclass(frozen=True)
class Metric:
    """A declared metric and the function that computes it on a workspace."""

    spec: MetricSpec
    compute: Compute
    rows: Rows = Rows.UNIT

    def run(self, ws: Workspace) -> Measurement:
        """Compute it; what cannot be computed comes back as Skipped with the reason.

        Where some samples have no label, what needs labels is about the others and the rest about everyone.
        """
        began = time.perf_counter()
        if not self.spec.needs & LABELED:
            ws = ws.whole
        outcome: Outcome
        try:
            ws.demand(self.spec.needs)
            outcome = self._on_rows(ws, self._in_range(self.compute(ws)))
        except Skip as skip:
            outcome = Skipped(skip.reason)
        return Measurement(self.spec, outcome, time.perf_counter() - began)

    def _on_rows(self, ws: Workspace, found: MetricResult) -> MetricResult:
        """`found`, saying which rows were taken where that is not what everybody does."""
        if ws.config.l2 is not False:
            return found
        said = f"Rows: {self.rows.value}."
        note = found.note if self.rows is Rows.GIVEN else " ".join(filter(None, [found.note, said]))
        return replace(found, note=note, parameters={**found.parameters, "rows": self.rows.value})

    def _in_range(self, found: MetricResult) -> MetricResult:
        """`found` with its interval cut at the ends of the declared range, which symmetric intervals may pass."""
        ends = found.interval
        if ends is None:
            return found
        low, high = max(self.spec.low, ends.low), min(self.spec.high, ends.high)
        return replace(found, interval=replace(ends, low=low, high=high))


METRICS: Registry[Metric] = Registry("metric", "repdiag.metrics")
FAMILIES = ("probes", "crowding", "stability", "similarity", "features", "risk", "spectrum")
"""Families in the order in which a report shows them."""


def metric(spec: MetricSpec, *, rows: Rows = Rows.UNIT) -> Callable[[Compute], Compute]:
    """Declare the decorated function as the metric `spec`; one that takes `Workspace.space` says so in `rows`."""

    def register(compute: Compute) -> Compute:
        if spec.family not in FAMILIES:
            raise ValueError(f"{spec.name}: unknown family '{spec.family}'")
        METRICS.add(spec.name, Metric(spec, compute, rows), f"{compute.__module__}.{compute.__name__}")
        return compute

    return register


def all_metrics() -> list[Metric]:
    """Every metric, by family in reporting order, then as registered."""
    return sorted(METRICS, key=lambda m: FAMILIES.index(m.spec.family))
