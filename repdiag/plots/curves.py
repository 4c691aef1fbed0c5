"""Curves: what can be cut, what the risk is worth, how often features stand out, how the spectrum falls."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from repdiag.plots import series
from repdiag.plots.scaled import drawn, entry, framed, room, shaded
from repdiag.plots.series import Series
from repdiag.plots.style import (
    ACCENT,
    ERROR,
    FAINT,
    INK,
    SMALL,
    SOFT,
    TINY,
    Width,
    foot,
    plain,
    sheet,
    styled,
)
from repdiag.report.activation import curve_of
from repdiag.report.figure import complete, value_of
from repdiag.report.figures import q_score_histogram
from repdiag.report.numbers import quantity
from repdiag.types import Report

BAND_WORDS = "Shaded: 95% interval."


def compression(report: Report, *, width: Width = "column") -> Figure | None:
    """Probe accuracy against the share of features kept, beside other ways to keep as many. None: not measured."""
    found = series.compression(report)
    if found is None:
        return None
    lines, interval, spread = found
    with styled():
        figure = sheet(width, 2.1, "Compression")
        axes = figure.add_subplot()
        ylim = room([v for b in (interval, spread) for v in (b.low, b.high)] + [one.y for one in lines])
        xlim = float(lines[0].x[0]), float(lines[0].x[-1])
        framed(axes, xlim, ylim, "share of features kept", "probe accuracy", xunit="share", yunit="share")
        shaded(axes, spread, SOFT)
        shaded(axes, interval)
        drawn(axes, lines)
        _chosen(axes, report, ylim)
        words = BAND_WORDS[:-1] + ", and one standard deviation of the random sets."
        foot(figure, width, [(one.said, entry(one.kind)) for one in lines], words)
        return plain(figure)


def _chosen(axes: Axes, report: Report, ylim: tuple[float, float]) -> None:
    """A line at the smallest share of features that keeps the accuracy, and how many they are."""
    found = report.value("smallest_subset")
    rows = complete(report.value("compression"), "kept", "accuracy", "features")
    row = (
        None if found is None else next((r for r in rows if abs(float(r["kept"]) - found.value) < 1e-9), None)
    )
    if found is None or row is None or found.value >= 1:
        return
    axes.axvline(found.value, color=ACCENT, linewidth=0.7, linestyle=(0, (1.5, 1.5)), zorder=3)
    late = found.value > 0.55
    axes.annotate(
        f"{row['features']} features", (found.value, ylim[0]), (-3 if late else 3, 3), textcoords="offset points",
        ha="right" if late else "left", fontsize=SMALL, color=INK, zorder=7,
    )  # fmt: skip


def selective(report: Report, *, width: Width = "column") -> Figure | None:
    """Accuracy of what is left when the riskiest images are set aside. None: not measured."""
    found = series.selective(report)
    if found is None:
        return None
    lines, interval = found
    with styled():
        figure = sheet(width, 2.1, "Accuracy without the riskiest images")
        axes = figure.add_subplot()
        ylim = room([interval.low, interval.high, *(one.y for one in lines)])
        xlim = float(lines[0].x[0]), float(lines[0].x[-1])
        framed(
            axes,
            xlim,
            ylim,
            "share set aside, riskiest first",
            "accuracy of the rest",
            xunit="share",
            yunit="share",
        )
        shaded(axes, interval)
        drawn(axes, lines)
        foot(figure, width, [(one.said, entry(one.kind)) for one in lines], BAND_WORDS)
        return plain(figure)


def reliability(report: Report, *, width: Width = "column") -> Figure | None:
    """The share of errors against the risk that was said, in groups of equal size. None: not measured."""
    rows = complete(report.value("risk_brier"), "predicted", "observed")
    if not rows:
        return None
    x, y = series.points(rows, "predicted", "observed")
    bars = series.band(rows, "predicted")
    with styled():
        figure = sheet(width, 2.1, "Can the risk be read as a probability?")
        axes = figure.add_subplot()
        top = min(1.0, 1.06 * float(max(x.max(), y.max(), bars.high.max(initial=0.0)))) or 1.0
        framed(
            axes,
            (0.0, top),
            (0.0, top),
            "risk, as it was said",
            "share misclassified",
            xunit="share",
            yunit="share",
        )
        axes.plot([0.0, top], [0.0, top], color=SOFT, linewidth=0.8, linestyle=(0, (4, 2)), zorder=2)
        axes.vlines(bars.x, bars.low, bars.high, color=ACCENT, linewidth=2.4, alpha=0.35, zorder=3)
        axes.plot(x, y, "-o", color=ACCENT, linewidth=0.8, markersize=3.2, zorder=4)
        words = (
            f"Images in {len(rows)} groups of equal size; bars: 95% intervals. On the dashed diagonal as many"
        )
        foot(figure, width, (), words + " are misclassified as the risk says.")
        return plain(figure)


def q_score(report: Report, *, width: Width = "column") -> Figure | None:
    """How Q-Scores are distributed, apart for correct and misclassified images. None: no Q-Score."""
    page = q_score_histogram(report)
    if page is None:
        return None
    edges = np.array([row["from"] for row in page.rows] + [page.rows[-1]["to"]])
    with styled():
        figure = sheet(width, 2.0, page.title)
        axes = figure.add_subplot()
        top = 0.0
        entries = []
        for kind, said in page.legend:
            share = np.array([row[said] for row in page.rows])
            color = ERROR if kind == "other" else ACCENT
            axes.stairs(share, edges, fill=True, color=color, alpha=0.15, linewidth=0)
            dash: Any = (0, (4, 1.5)) if kind == "other" else "-"
            axes.stairs(share, edges, color=color, linewidth=1.2, linestyle=dash, label=said)
            entries.append((said, Line2D([], [], color=color, linestyle=dash, linewidth=1.2)))
            top = max(top, float(share.max()))
        framed(
            axes, (float(edges[0]), float(edges[-1])), (0.0, 1.08 * top), "Q-Score", "share of the group",
            yunit="share",
        )  # fmt: skip
        foot(figure, width, entries, page.caption)
        return plain(figure)


def activation(report: Report, *, width: Width = "column") -> Figure | None:
    """How often each feature stands out, most often first, with the band of S. None: no feature can stand out."""
    found = curve_of(report)
    if found is None:
        return None
    curve, adapted = found
    d, top = curve.frequency.size, 1.05 * float(curve.frequency[0]) or 1.0
    with styled():
        figure = sheet(width, 2.0, "Activation frequency" + (" (adapted rule)" if adapted else ""))
        axes = figure.add_subplot()
        framed(
            axes,
            (0.0, float(d)),
            (0.0, top),
            "features, most often active first",
            "share of images",
            yunit="%",
        )
        x = np.arange(d) + 0.5
        axes.fill_between(x, 0, curve.frequency, color=ACCENT, alpha=0.18, linewidth=0, zorder=2)
        axes.plot(x, curve.frequency, color=ACCENT, linewidth=1.3, zorder=4)
        if curve.band is not None:
            first, last = curve.band
            axes.axvspan(first, last, color=FAINT, linewidth=0, zorder=0.5)
            above = axes.get_xaxis_transform()
            zones = ((0, first, "generic"), (first, last, "S"), (last, d, "rare"))
            for left, right, word in zones:
                if right - left > 0.09 * d or (word == "S" and right > left):
                    strong = "bold" if word == "S" else "normal"
                    axes.text(
                        (left + right) / 2, 1.01, word, transform=above, ha="center", va="bottom", fontsize=SMALL,
                        color=ACCENT if word == "S" else SOFT, fontweight=strong,
                    )  # fmt: skip
        if not adapted:
            _percentiles(axes, report, top)
        entries: list[tuple[str, Line2D]] = []
        if curve.kept is not None and curve.kept.any() and not curve.kept.all():
            axes.plot(
                x[curve.kept], np.full(int(curve.kept.sum()), -0.012), "|", transform=axes.get_xaxis_transform(),
                color=INK, markersize=3, markeredgewidth=0.6, clip_on=False, zorder=6,
            )  # fmt: skip
            key = Line2D([], [], marker="|", linestyle="", color=INK, markersize=4, markeredgewidth=0.8)
            entries.append((f"the {int(curve.kept.sum()):,} features that keep the accuracy", key))
        words = f"S, between the percentiles: {int(curve.in_s.sum()):,} of {d:,} features are discriminative."
        words = words if curve.band else f"None of the {d:,} features is discriminative."
        foot(figure, width, entries, words)
        return plain(figure)


def _percentiles(axes: Axes, report: Report, top: float) -> None:
    """The two percentiles between which S lies, named at the right end, above one another."""
    found = report.value("discriminative_features")
    if found is None:
        return
    free = -1.0
    for end, key in (("lower", "frequency_low"), ("upper", "frequency_high")):
        share, limit = (value_of(found.parameters.get(name)) for name in (f"{end}_percentile", key))
        if not np.isfinite([share, limit]).all():
            continue
        axes.axhline(limit, color=SOFT, linewidth=0.6, linestyle=(0, (3, 2)), zorder=3)
        at = max(limit + 0.015 * top, free)
        free = at + 0.09 * top
        axes.text(
            0.995, at, f"{share:g}th percentile: {quantity(limit, '%')}", ha="right", va="bottom", fontsize=TINY,
            color=SOFT, transform=axes.get_yaxis_transform(), zorder=7,
        )  # fmt: skip


def spectrum(report: Report, *, width: Width = "column") -> Figure | None:
    """Singular values relative to the first, by rank, on two logarithmic scales. None: not in the report."""
    rows = complete(report.value("rankme"), "rank", "singular_value")
    rows = [row for row in rows if float(row["singular_value"]) > 0]
    if len(rows) < 3:
        return None
    x, y = series.points(rows, "rank", "singular_value")
    found = report.value("rankme")
    assert found is not None
    with styled():
        figure = sheet(width, 2.1, "Singular values of the embeddings")
        axes = figure.add_subplot()
        axes.set_xscale("log", base=2)
        axes.set_yscale("log")
        drawn(axes, [Series("singular values", 0, x, y)])
        axes.set_xlim(float(x[0]), float(x[-1]) * 1.05)
        axes.minorticks_off()
        shown = x if x.size <= 8 else x[::2]
        axes.xaxis.set_ticks(shown, labels=[f"{rank:,.0f}" for rank in shown])
        powers = np.arange(np.floor(np.log10(y.min())), 1)
        powers = powers if powers.size <= 6 else powers[:: -(-powers.size // 6)]
        axes.yaxis.set_ticks(10.0**powers, labels=[_decimal(p) for p in powers])
        axes.set_ylim(float(y.min()) / 1.25, 1.25)
        axes.grid(axis="y")
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel("rank")
        axes.set_ylabel("relative to the first")
        axes.axvline(found.value, color=SOFT, linewidth=0.7, linestyle=(0, (3, 2)), zorder=3)
        late = np.log(found.value) > 0.6 * np.log(x[-1])
        axes.annotate(
            f"RankMe {quantity(found.value)}", (found.value, 1.0), (-3 if late else 3, 3),
            xycoords=axes.get_xaxis_transform(), textcoords="offset points", fontsize=SMALL, color=SOFT, va="bottom",
            ha="right" if late else "left", annotation_clip=False,
        )  # fmt: skip
        return plain(figure)


def _decimal(power: float) -> str:
    """ "0.01" of -2; from 10⁻⁵ on the power itself."""
    if power >= -4:
        return f"{10.0**power:.{int(max(0, -power))}f}"
    return "10" + str(int(power)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))
