"""Bars: the accuracy of each class."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

from repdiag.plots.style import (
    ACCENT,
    INK,
    SMALL,
    Width,
    foot,
    label,
    plain,
    sheet,
    styled,
)
from repdiag.report.columns import CLASS_COLUMNS, numeric
from repdiag.report.numbers import quantity
from repdiag.report.svg import tick_labels
from repdiag.types import Report

MAX_BARS = 40


def classes(report: Report, *, width: Width = "column") -> Figure | None:
    """Accuracy of each class, highest first; of more than 40 classes both ends. None without labels."""
    name = next((n for n in ("accuracy", "knn_purity") if _known(report, n)), None)
    if name is None:
        return None
    values = numeric(report.classes, name)
    assert values is not None
    known = np.flatnonzero(np.isfinite(values))
    order = known[np.argsort(-values[known], kind="stable")]
    total, half = order.size, MAX_BARS // 2
    places = np.arange(min(total, MAX_BARS), dtype=np.float64)
    if total > MAX_BARS:
        order = np.r_[order[:half], order[-half:]]
        places[half:] += 1  # a gap where the others would be
    names = [label(report.classes.columns["class"][i], 24 if width == "column" else 44) for i in order]
    highest = float(values[order[0]])
    end = next(top for top in (0.1, 0.2, 0.5, 1.0, np.inf) if highest <= top)
    end = min(end, max(1.0, highest))
    title = CLASS_COLUMNS[name].title
    whole = report.value("linear_probe_accuracy") if name == "accuracy" else None
    with styled():
        figure = sheet(width, 0.6 + 0.15 * (1 + places[-1]), f"{title} by class")
        axes = figure.add_subplot()
        axes.barh(places, values[order], 0.62, color=ACCENT, alpha=0.8, linewidth=0, zorder=3)
        axes.set_ylim(places[-1] + 0.6, -0.6)
        axes.set_xlim(0, end)
        for y, i in zip(places, order, strict=True):
            axes.text(1.02, y, quantity(float(values[i]), "share"), fontsize=SMALL, va="center",
                      transform=axes.get_yaxis_transform())  # fmt: skip
        axes.yaxis.set_ticks(places, labels=names)
        for text in axes.get_yticklabels():
            text.set_color(INK)
        axes.tick_params(axis="y", length=0)
        axes.spines["left"].set_visible(False)
        axes.xaxis.set_ticks([0, end / 2, end], labels=tick_labels([0, end / 2, end], "share"))
        axes.set_xlabel(title.lower() if name == "accuracy" else title)
        words = ""
        if whole is not None:
            axes.axvline(whole.value, color=INK, linewidth=0.8, linestyle=(0, (3, 2)), zorder=4)
            words = f"Dashed: all classes, {quantity(whole.value, 'share')}."
        if total > MAX_BARS:
            words += f" The {half} highest and the {half} lowest of {total:,} classes."
        foot(figure, width, (), words.strip())
        return plain(figure)


def _known(report: Report, name: str) -> bool:
    values = numeric(report.classes, name)
    return values is not None and bool(np.isfinite(values).any())
