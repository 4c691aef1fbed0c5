"""Every metric with its interval, null, range, formula and source, family by family."""

from __future__ import annotations

from dataclasses import dataclass

from repdiag.report import views
from repdiag.report.sections.section import Section, Written
from repdiag.report.sections.verdicts import family_name
from repdiag.types import Report


@dataclass(frozen=True)
class Family:
    """The metrics of a family, those that were measured first; `level` is its verdict's, None without one."""

    key: str
    name: str
    level: str | None
    measured: tuple[views.Metric, ...]
    skipped: tuple[views.Metric, ...]

    @property
    def counted(self) -> str:
        """ "12 metrics, 2 skipped"."""
        total = len(self.measured) + len(self.skipped)
        told = "1 metric" if total == 1 else f"{total} metrics"
        return f"{told}, {len(self.skipped)} skipped" if self.skipped else told


@dataclass(frozen=True)
class View:
    """The families, and how many metrics there are in all."""

    families: tuple[Family, ...]
    total: int


def view(report: Report, written: Written) -> View | None:
    """None where nothing was measured or skipped."""
    levels = {verdict.family: verdict.level.value for verdict in report.verdicts}
    families = tuple(
        Family(
            key,
            family_name(key),
            levels.get(key),
            tuple(metric for metric in metrics if metric.skipped is None),
            tuple(metric for metric in metrics if metric.skipped is not None),
        )
        for key, metrics in views.families(report)
    )
    return View(families, len(report.measurements)) if families else None


SECTION = Section("metrics", "Metrics", view, ("metrics.css",), ("tables.js", "metrics.js"))
