"""The page's figures as inline SVG. Each answers None when the report does not hold what it draws."""

from __future__ import annotations

import numpy as np

from repdiag.report.activation import activation_curve
from repdiag.report.columns import judged, numeric
from repdiag.report.curves import compression, reliability, selective
from repdiag.report.figure import Figure, complete, value_of
from repdiag.report.numbers import is_missing, number
from repdiag.report.svg import Axes, tag
from repdiag.report.text import clean, shortened
from repdiag.types import Report

MAX_BINS = 36
SMALL = 20  # samples in a group of a histogram below which its shape means nothing


def figures(report: Report) -> list[Figure]:
    """All figures that this report can fill, in reading order."""
    made = (
        compression(report),
        risk_predictors(report),
        reliability(report),
        selective(report),
        q_score_histogram(report),
        activation_curve(report),
    )
    return [figure for figure in made if figure is not None]


def risk_predictors(report: Report) -> Figure | None:
    """How well each score tells misclassified from correct samples, best first."""
    rows = complete(report.value("score_comparison"), "auroc")
    if not rows:
        return None
    rows = sorted(rows, key=lambda row: -float(row["auroc"]))
    ends = [value_of(row.get(key)) for row in rows for key in ("auroc", "low", "high")] + [0.5]
    low, high = float(np.nanmin(ends)), float(np.nanmax(ends))
    pad = 0.05 * (high - low)
    names = [shortened(clean(str(row.get("title") or row.get("score"))), 34) for row in rows]
    step, left = 25.0, 24 + 6.4 * max(map(len, names))  # a character of the label font is about 6 wide
    axes = Axes(
        (max(0.0, low - pad), min(1.0, high + pad)),
        (0.0, float(len(rows))),
        height=len(rows) * step + 60,
        left=left,
        right=52,
    )
    chance = axes.x(0.5)
    floor = axes.height - axes.bottom
    parts = [
        axes.frame("AUROC against the probe's errors", "", yticks=False),
        tag("line", x1=chance, x2=chance, y1=axes.top - 4, y2=floor, class_="null"),
    ]
    chosen = report.risk.get("score")
    for i, row in enumerate(rows):
        value, y = float(row["auroc"]), axes.y(len(rows) - i - 0.5)
        labelled = bool(row.get("labelled"))
        kind = "hollow" if labelled else "dot"
        ends_known = not (is_missing(row.get("low")) or is_missing(row.get("high")))
        if ends_known:
            x1, x2 = axes.x(float(row["low"])), axes.x(float(row["high"]))
            parts.append(tag("rect", x=x1, y=y - 6, width=x2 - x1, height=12, rx=1, class_="interval"))
        parts.append(tag("circle", cx=axes.x(value), cy=y, r=3.5, class_=kind))
        weight = " strong" if row.get("score") == chosen else ""
        parts.append(tag("text", names[i], x=left - 10, y=y + 4, class_="label end" + weight))
        parts.append(tag("text", number(value), x=axes.width, y=y + 4, class_="tick end" + weight))
    caption = "Dots right of the dashed line (0.5, chance) predict errors better than a coin; bars are 95% intervals."
    if any(row.get("score") == chosen for row in rows):
        caption += " Bold: the score that the risk rests on."
    legend = [("main", "needs no labels")]
    if any(row.get("labelled") for row in rows):
        legend.append(("hollow", "needs labels: a ceiling, not a candidate"))
    return Figure(
        "predictors",
        "What predicts the errors",
        axes.figure("AUROC of each score against the probe's errors", *parts),
        caption,
        tuple(legend),
        tuple(rows),
    )


def q_score_histogram(report: Report) -> Figure | None:
    """How Q-Scores are distributed, apart for correct and misclassified samples when that is known."""
    score = numeric(report.samples, "q_score")
    if score is None or not np.isfinite(score).any():
        return None
    known = np.isfinite(score)
    low, high = np.quantile(score[known], [0.0, 0.999])
    bins = int(np.clip(np.sqrt(known.sum()), 5, MAX_BINS))
    edges = np.linspace(float(low), float(high) if high > low else float(low) + 1e-6, bins + 1)
    correct = report.samples.columns.get("correct")
    groups = [("main", "all images", known)]
    if correct is not None:
        right, wrong = judged(correct)
        groups = [("main", "classified correctly", known & right), ("other", "misclassified", known & wrong)]
    curves = []
    for kind, title, rows in groups:
        if rows.any():
            count = np.histogram(np.minimum(score[rows], edges[-1]), edges)[0]
            curves.append((kind, f"{title} ({int(rows.sum()):,})", count / rows.sum()))
    top = 1.08 * max(float(share.max()) for _, _, share in curves)
    axes = Axes((edges[0], edges[-1]), (0.0, top), height=290, top=26)
    parts = [axes.frame("Q-Score", "share of the group", yunit="share")]
    for kind, _, share in curves:
        steps = [(edges[i + j], float(share[i])) for i in range(bins) for j in (0, 1)]
        class_ = "" if kind == "main" else f" {kind}"
        parts.append(axes.path([(edges[0], 0.0), *steps, (edges[-1], 0.0)], "area" + class_, closed=True))
        parts.append(axes.path(steps, "line" + class_))
    caption = "Each group adds up to 100%. The further apart the two, the better Q-Score tells errors."
    if len(groups) == 1:
        caption = "How the Q-Score is distributed. Low: no discriminative feature stands out."
    if min(int(rows.sum()) for _, _, rows in groups) < SMALL:
        caption += f" A group of fewer than {SMALL} images has no shape to read."
    if not known.all():
        caption += f" {int((~known).sum()):,} images have no Q-Score and are in no bar."
    legend = tuple((kind, title) for kind, title, _ in curves)
    told = tuple(
        {"from": float(edges[i]), "to": float(edges[i + 1])}
        | {title: float(share[i]) for _, title, share in curves}
        for i in range(bins)
    )
    return Figure(
        "histogram", "Q-Score", axes.figure("Histogram of the Q-Score", *parts), caption, legend, told
    )
