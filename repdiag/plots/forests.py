"""Forests: a row per number with its interval and what it would be by chance."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from repdiag.plots.series import Row, ends
from repdiag.plots.style import (
    ACCENT,
    INK,
    LINE,
    SMALL,
    SOFT,
    TINY,
    Width,
    foot,
    label,
    plain,
    sheet,
    styled,
    wrapped,
)
from repdiag.report.axes_figure import SPREADS, end_labels
from repdiag.report.cluster_figures import LEVELS, WORDS, histogram
from repdiag.report.columns import numeric
from repdiag.report.figure import complete, value_of
from repdiag.report.numbers import number, quantity
from repdiag.report.sections.stability import AGREEMENT
from repdiag.report.svg import nice_ticks, own_scale, tick_labels
from repdiag.report.views import metric
from repdiag.types import MetricResult, Null, Report

BAND = "#8a8f98"
NAMES = {"column": 25, "page": 44}
"""Characters of a name beside a row, in a line."""


def forest(
    axes: Axes,
    rows: Sequence[Row],
    xlim: tuple[float, float],
    unit: str,
    width: Width,
    guides: Sequence[float] = (),
) -> None:
    """Rows from top to bottom on one scale: null band, interval, value; names at the left, numbers at the right."""
    axes.set_xlim(*xlim)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    for at in guides:
        axes.axvline(at, color=LINE, linewidth=0.5, zorder=1)
    for y, row in enumerate(rows):
        if row.null is not None:
            null_mark(axes, row.null, y, xlim)
        if np.isfinite([row.low, row.high]).all():
            axes.barh(y, row.high - row.low, 0.42, row.low, color=ACCENT, alpha=0.35, linewidth=0, zorder=3)
        if np.isfinite(row.value):
            face = "white" if row.open else ACCENT
            axes.plot(
                [row.value], [y], "o", markersize=4, markerfacecolor=face, markeredgecolor=ACCENT, markeredgewidth=1,
                zorder=4, clip_on=False,
            )  # fmt: skip
        axes.text(
            1.02, y, number(row.value, unit) + ("%" if unit == "share" else ""), fontsize=SMALL, va="center",
            transform=axes.get_yaxis_transform(), fontweight="bold" if row.strong else "normal",
        )  # fmt: skip
    axes.yaxis.set_ticks(range(len(rows)), labels=[wrapped(row.name, NAMES[width]) for row in rows])
    for text, row in zip(axes.get_yticklabels(), rows, strict=True):
        text.set_color(INK)
        text.set_fontweight("bold" if row.strong else "normal")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def null_mark(axes: Axes, null: Null, y: float, xlim: tuple[float, float], half: float = 0.34) -> None:
    """What chance gives: a gray band of two standard deviations either way, and a dash at the mean."""
    low, high = (float(np.clip(null.mean + s * null.std, *xlim)) for s in (-SPREADS, SPREADS))
    axes.barh(y, high - low, 2 * half, low, color=BAND, alpha=0.3, linewidth=0, zorder=2)
    if xlim[0] <= null.mean <= xlim[1]:
        axes.plot(
            [null.mean] * 2,
            [y - half, y + half],
            color=SOFT,
            linewidth=0.9,
            linestyle=(0, (1.5, 1)),
            zorder=2.5,
        )


def _height(rows: Sequence[Row], width: Width) -> float:
    """Inches that the rows need, all as many as the one with the longest name."""
    lines = max(1 + wrapped(row.name, NAMES[width]).count("\n") for row in rows)
    return (0.05 + 0.11 * lines) * len(rows)


def headline(report: Report, *, width: Width = "column") -> Figure | None:
    """The headline metrics, each on its own scale, with interval and null. None: none was measured."""
    shown = [m for m in report.measurements if m.spec.headline and isinstance(m.outcome, MetricResult)]
    if not shown:
        return None
    step = 0.44
    with styled():
        figure = sheet(width, 0.25 + step * len(shown), "Headline numbers")
        axes = figure.add_subplot()
        axes.set_axis_off()
        axes.set_xlim(0, 100)
        axes.set_ylim(len(shown) - 0.15, -0.25)
        level = 0.95
        for y, measurement in enumerate(shown):
            spec, result = measurement.spec, measurement.outcome
            assert isinstance(result, MetricResult)
            said, scale = metric(measurement), own_scale(spec, result)
            middle = y + 0.35
            axes.text(0, y, f"{said.spec.title} {said.arrow}", fontsize=SMALL, va="center")
            value = " ".join(part for part in (said.value, said.unit, said.interval) if part)
            axes.text(100, y, value, fontsize=SMALL, va="center", ha="right")
            axes.plot([0, 100], [middle] * 2, color=LINE, linewidth=1, zorder=1, clip_on=False)
            if result.null is not None:
                mean, std = result.null.mean, result.null.std
                low, high = (scale.at(mean + s * std) for s in (-SPREADS, SPREADS))
                axes.barh(middle, high - low, 0.3, low, color=BAND, alpha=0.3, linewidth=0, zorder=2)
                axes.plot(
                    [scale.at(mean)] * 2, [middle - 0.15, middle + 0.15], color=SOFT, linewidth=0.9,
                    linestyle=(0, (1.5, 1)), zorder=2.5, clip_on=False,
                )  # fmt: skip
            if result.interval is not None:
                level = result.interval.level
                low, high = scale.at(result.interval.low), scale.at(result.interval.high)
                axes.barh(middle, high - low, 0.2, low, color=ACCENT, alpha=0.4, linewidth=0, zorder=3)
            axes.plot(
                [scale.at(result.value)], [middle], "o", color=ACCENT, markersize=4, zorder=4, clip_on=False
            )
            for x, word, side in zip((0, 100), end_labels(scale, spec), ("left", "right"), strict=True):
                axes.text(x, middle + 0.26, word, fontsize=TINY - 0.5, color=SOFT, ha=side, va="center")
        words = f"Dot and bar: value and {100 * level:g}% interval. Gray: what the measure gives when there is nothing"
        words += " to find (null), ± 2 standard deviations. Arrow: which way is better."
        foot(figure, width, (), words)
        return plain(figure)


def stability(report: Report, *, width: Width = "column") -> Figure | None:
    """Agreement of clusterings by what changes, beside data without clusters. None: nothing was clustered."""
    rows = []
    null_name = ""
    for name in AGREEMENT:
        found, result = report.measurement(name), report.value(name)
        if found is not None and result is not None:
            rows.append(Row(found.spec.title, result.value, *ends(result.interval), result.null))
            null_name = null_name or (result.null.name if result.null is not None else "")
    if not rows:
        return None
    lowest = min([0.0, *(row.value for row in rows), *(row.low for row in rows if np.isfinite(row.low))])
    with styled():
        figure = sheet(width, 0.65 + _height(rows, width), "What changes, and how much stays")
        axes = figure.add_subplot()
        forest(axes, rows, (max(-0.5, lowest), 1.0), "", width, guides=(0.0, 0.25, 0.5, 0.75, 1.0))
        axes.xaxis.set_ticks([0.0, 0.5, 1.0], labels=["0", "0.5", "1"])
        axes.set_xlabel("agreement (1: nothing changes)")
        words = "Bars: 95% intervals. Gray: data without clusters"
        words += (f" ({label(null_name, 80)})" if null_name else "") + ", ± 2 standard deviations."
        foot(figure, width, (), words)
        return plain(figure)


def predictors(report: Report, *, width: Width = "column") -> Figure | None:
    """How well each score tells misclassified from correct images, best first. None: not measured."""
    table = complete(report.value("score_comparison"), "auroc")
    if not table:
        return None
    chosen = report.risk.get("score")
    rows = [
        Row(
            label(row.get("title") or row.get("score"), 2 * NAMES["column"]),
            float(row["auroc"]),
            value_of(row.get("low")),
            value_of(row.get("high")),
            open=bool(row.get("labelled")),
            strong=row.get("score") == chosen,
        )
        for row in sorted(table, key=lambda row: -float(row["auroc"]))
    ]
    drawn = [0.5, *(v for row in rows for v in (row.value, row.low, row.high) if np.isfinite(v))]
    pad = 0.05 * (max(drawn) - min(drawn)) or 0.02
    xlim = max(0.0, min(drawn) - pad), min(1.0, max(drawn) + pad)
    with styled():
        figure = sheet(width, 0.65 + _height(rows, width), "What predicts the errors")
        axes = figure.add_subplot()
        forest(axes, rows, xlim, "", width)
        axes.axvline(0.5, color=SOFT, linewidth=0.8, linestyle=(0, (3, 2)), zorder=1)
        ticks = nice_ticks(*xlim, 4)
        axes.xaxis.set_ticks(ticks, labels=tick_labels(ticks))
        axes.set_xlabel("AUROC against the probe's errors")
        dot: dict[str, Any] = {"linestyle": "", "marker": "o", "markersize": 4, "markeredgecolor": ACCENT}
        entries: list[tuple[str, Line2D]] = [("needs no labels", Line2D([], [], color=ACCENT, **dot))]
        if any(row.open for row in rows):
            words = "needs labels: a ceiling, not a candidate"
            entries.append((words, Line2D([], [], markerfacecolor="white", **dot)))
        words = "Dashed: chance. Bars: 95% intervals."
        words += " Bold: what the risk rests on." if any(row.strong for row in rows) else ""
        foot(figure, width, entries, words)
        return plain(figure)


def clusters(report: Report, *, width: Width = "column") -> Figure | None:
    """How well each cluster comes back; of more than 40 clusters, how many do how well. None: nothing clustered."""
    values = numeric(report.clusters, "jaccard")
    jaccard = report.value("cluster_jaccard")
    null = None if jaccard is None else jaccard.null
    if values is None or not np.isfinite(values).any():
        return None
    words = f"Lines: {', '.join(f'{level:g}' for level in LEVELS)} part {', '.join(WORDS)} (Hennig)."
    if null is not None:
        words += " Gray: clusters of structureless data."
    unknown = int((~np.isfinite(values)).sum())
    if unknown:
        words += f" {unknown:,} clusters of which no bootstrap held an image are left out."
    page = histogram(report, null)
    with styled():
        if page is not None:
            figure = sheet(width, 2.0, page.title)
            axes = figure.add_subplot()
            starts = np.array([row["jaccard from"] for row in page.rows])
            step = float(page.rows[0]["to"]) - float(page.rows[0]["jaccard from"])
            counts = [row["clusters"] for row in page.rows]
            axes.bar(starts + step / 2, counts, 0.9 * step, color=ACCENT, linewidth=0, zorder=3)
            axes.set_ylim(0, 1.1 * max(counts))
            axes.set_ylabel("clusters")
            axes.grid(axis="y")
            axes.spines["left"].set_visible(False)
            axes.tick_params(axis="y", length=0)
            ticks = [t for t in nice_ticks(0, 1.1 * max(counts), 4) if t == round(t)]
            axes.yaxis.set_ticks(ticks, labels=[f"{t:,.0f}" for t in ticks])
        else:
            order = [int(i) for i in np.argsort(values, kind="stable") if np.isfinite(values[i])]
            rows = [Row(_cluster(report, i), float(values[i])) for i in order]
            figure = sheet(width, 0.6 + 0.16 * len(rows), "Cluster by cluster")
            axes = figure.add_subplot()
            forest(axes, rows, (0.0, 1.0), "", width)
            for y, row in enumerate(rows):
                axes.plot([0, row.value], [y, y], color=ACCENT, linewidth=0.8, alpha=0.5, zorder=2)
        axes.set_xlim(0, 1)
        for level in LEVELS:
            axes.axvline(level, color=LINE, linewidth=0.6, zorder=1)
        if null is not None:
            low, high = (float(np.clip(null.mean + s * null.std, 0, 1)) for s in (-SPREADS, SPREADS))
            axes.axvspan(low, high, color=BAND, alpha=0.25, linewidth=0, zorder=0.5)
        axes.xaxis.set_ticks([0.0, *LEVELS, 1.0], labels=["0", *(f"{v:g}".lstrip("0") for v in LEVELS), "1"])
        axes.set_xlabel("comes back (Jaccard)")
        foot(figure, width, (), words)
        return plain(figure)


def _cluster(report: Report, row: int) -> str:
    """A cluster's number, and what it mostly holds."""
    columns = report.clusters.columns
    name = label(columns["cluster"][row], 10) if "cluster" in columns else str(row)
    majority, purity = columns.get("majority_class"), columns.get("purity")
    if majority is None or purity is None or majority[row] is None:
        return name
    return f"{name}: {label(majority[row], 14)} {quantity(float(purity[row]), 'share')}"
