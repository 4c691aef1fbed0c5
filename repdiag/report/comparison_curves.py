"""A comparison's figures with axes: curves of training as small multiples, and how Q-Scores are distributed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from markupsafe import Markup

from repdiag.report.columns import numeric
from repdiag.report.comparison_arms import Arm, Reading
from repdiag.report.figure import Figure
from repdiag.report.figures import MAX_BINS, SMALL
from repdiag.report.numbers import number
from repdiag.report.svg import Axes, nice_ticks, tag, tick_labels

MAX_CURVES = 24
MAX_POINTS = 24_000  # of all curves of a page together

CURVES = {
    "loss": ("Loss, all of it", ""),
    "base": ("Base objective", ""),
    "held_out": ("Held-out loss", ""),
    "rank": ("RankMe of training images", ""),
    "usage": ("Features in use", "share"),
    "lr": ("Learning rate", ""),
    "gradient_norm": ("Gradient norm", ""),
}
"""Well-known columns of a log: title and unit. Others keep their names and come between."""
_STATES = frozenset({"held_out", "rank", "usage"})
_NO_CURVES = frozenset({"arm", "seed", "epoch", "step", "steps", "seconds", "images_per_second"})
_POWERS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def curves(reading: Reading) -> list[Figure]:
    """Small multiples of the logs: one drawing per column, a line per run, colored by arm.

    Epoch 0 is the start, before training: drawn for what is measured there (held-out loss, rank, usage), and not for
    means over steps, which are those of the heads' warm-up there.
    """
    table = reading.comparison.curves
    columns = table.columns
    epoch = _numbers(columns.get("epoch", columns.get("step")))
    if epoch is None or "arm" not in columns or not len(table):
        return []
    names = [name for name in columns if name not in _NO_CURVES]
    order = {name: place for place, name in enumerate(("loss", "base"))}
    order |= {name: 100 + place for place, name in enumerate(list(CURVES)[2:])}
    kept = [name for name in names if (v := _numbers(columns[name])) is not None and np.isfinite(v).any()]
    kept = sorted(kept, key=lambda name: order.get(name, 50))[:MAX_CURVES]
    runs = _runs(reading, columns)
    most = max(12, MAX_POINTS // max(1, len(kept) * len(runs)))
    made = []
    for name in kept:
        values = _numbers(columns[name])
        assert values is not None
        if name not in _STATES:
            values = np.where(epoch == 0, np.nan, values)
        made.append(_curve(name, epoch, values, runs, most))
    return [figure for figure in made if figure is not None]


def _numbers(column: npt.NDArray[Any] | None) -> npt.NDArray[np.float64] | None:
    """A log's column as float64, None where it holds words."""
    if column is None:
        return None
    try:
        return np.array(
            [np.nan if v is None or v == "" else float(v) for v in column.tolist()], dtype=np.float64
        )
    except (TypeError, ValueError):
        return None


def _runs(reading: Reading, columns: Mapping[str, Any]) -> list[tuple[int, str, npt.NDArray[np.int64]]]:
    """The rows of each run, with the mark and name of its arm: before those of the main arms the others."""
    names = np.array([str(name) for name in columns["arm"]], dtype=object)
    seeds = np.array(
        [str(s) for s in columns["seed"]] if "seed" in columns else [""] * names.size, dtype=object
    )
    found = []
    for arm in sorted(reading.arms, key=lambda arm: arm.role != ""):
        for seed in dict.fromkeys(seeds[names == arm.name].tolist()):
            found.append(
                (arm.mark, f"{arm.shown}, seed {seed}", np.flatnonzero((names == arm.name) & (seeds == seed)))
            )
    return found


def _curve(
    name: str,
    x: npt.NDArray[Any],
    y: npt.NDArray[Any],
    runs: Sequence[tuple[int, str, npt.NDArray[Any]]],
    most: int,
) -> Figure | None:
    title, unit = CURVES.get(name) or (_titled(name), "")
    power = _power(y)
    if power:
        y, title = y / 10.0**power, f"{title} (× 10{str(power).translate(_POWERS)})"
    lines = []
    for mark, said, rows in runs:
        rows = rows[np.isfinite(y[rows]) & np.isfinite(x[rows])]
        if rows.size > most:
            rows = rows[np.unique(np.linspace(0, rows.size - 1, most).round().astype(int))]
        if rows.size:
            lines.append((mark, said, [(float(x[r]), float(y[r])) for r in rows]))
    if not lines:
        return None
    xs, ys = ([point[i] for *_, line in lines for point in line] for i in (0, 1))
    low, high = min(ys), max(ys)
    pad = 0.06 * (high - low) or 0.05 * abs(high) or 1.0
    axes = Axes((min(xs), max(xs)), (low - pad, high + pad), 340, 200, left=56, right=12, top=14, bottom=40)
    parts = [_frame(axes, unit)]
    for mark, said, line in lines:
        class_ = f"arm-{mark} curve" + (" many" if len(lines) > 10 else "")
        if len(line) == 1:
            (a, b) = line[0]
            parts.append(
                tag("circle", tag("title", said), cx=axes.x(a), cy=axes.y(b), r=2.5, class_=f"arm-{mark}")
            )
        else:
            d = "M" + "L".join(f"{axes.x(a):.1f},{axes.y(b):.1f}" for a, b in line)
            parts.append(tag("path", tag("title", said), d=d, class_=class_))
    return Figure(f"curve-{name}", title, axes.figure(title, *parts), "")


def _titled(name: str) -> str:
    """A heading for a column of a log that is not well known: a term of the loss, or a fact of the regularizer."""
    kind, _, rest = name.partition(".")
    words = (rest if rest and kind in ("term", "fact") else name).replace("_", " ")
    return f"Term: {words}" if kind == "term" else words[:1].upper() + words[1:]


def _power(y: npt.NDArray[Any]) -> int:
    """The power of ten to take out of numbers too small or large for the ticks; else 0."""
    known = np.abs(y[np.isfinite(y)])
    largest = float(known.max()) if known.size else 0.0
    return 0 if largest == 0 or 1e-2 <= largest < 1e5 else int(np.floor(np.log10(largest)))


def _frame(axes: Axes, unit: str) -> Markup:
    """Grid lines and ticks; epochs are whole numbers."""
    floor, right = axes.height - axes.bottom, axes.width - axes.right
    ys = nice_ticks(*axes.ylim)
    xs = [x for x in nice_ticks(*axes.xlim) if x == round(x)]
    parts = [tag("line", x1=axes.left, x2=right, y1=axes.y(v), y2=axes.y(v), class_="grid") for v in ys]
    parts.append(tag("line", x1=axes.left, x2=right, y1=floor, y2=floor, class_="axis"))
    for v, words in zip(ys, tick_labels(ys, unit), strict=True):
        parts.append(tag("text", words, x=axes.left - 8, y=axes.y(v) + 4, class_="tick end"))
    parts += [tag("text", f"{v:,.0f}", x=axes.x(v), y=floor + 16, class_="tick mid") for v in xs]
    parts.append(tag("text", "epoch", x=(axes.left + right) / 2, y=axes.height - 6, class_="tick mid"))
    return Markup("").join(parts)


def q_scores(reading: Reading) -> Figure | None:
    """How Q-Scores are distributed before, in the control and after, each arm's runs taken together."""
    found: list[tuple[Arm, npt.NDArray[np.float64], int]] = []
    missing = 0
    for arm in reading.main:
        scores = [s for run in arm.runs if (s := numeric(run.report.samples, "q_score")) is not None]
        pooled = np.concatenate(scores) if scores else np.empty(0)
        missing += int((~np.isfinite(pooled)).sum())
        pooled = pooled[np.isfinite(pooled)]
        if pooled.size:
            found.append((arm, pooled, len(scores)))
    if not found:
        return None
    every = np.concatenate([scores for _, scores, _ in found])
    low, high = (float(v) for v in np.quantile(every, [0.0, 0.999]))
    smallest = min(scores.size // runs for _, scores, runs in found)
    bins = int(np.clip(np.sqrt(smallest), 5, MAX_BINS))
    edges = np.linspace(low, high if high > low else low + 1e-6, bins + 1)
    shares = [(arm, np.histogram(np.minimum(s, edges[-1]), edges)[0] / s.size) for arm, s, _ in found]
    axes = Axes(
        (edges[0], edges[-1]), (0.0, 1.08 * max(float(share.max()) for _, share in shares)), width=640
    )
    parts = [axes.frame("Q-Score", "share of the images", yunit="share")]
    for arm, share in shares:
        steps = [(edges[i + j], float(share[i])) for i in range(bins) for j in (0, 1)]
        parts.append(axes.path([(edges[0], 0.0), *steps, (edges[-1], 0.0)], f"arm-{arm.mark} curve steps"))
    together = "" if reading.fixed else "; an arm's seeds are taken together"
    caption = f"Each line adds up to 100%{together}. The score counts what each encoder's own"
    caption += " discriminative features do, so a shift to the right is no proof by itself."
    if missing:
        caption += f" {missing:,} images have no Q-Score and are in no line."
    if min(scores.size for _, scores, _ in found) < SMALL:
        caption += f" A line of fewer than {SMALL} scores has no shape to read."
    means = tuple(
        (f"curve arm-{arm.mark}", f"{arm.title}: mean {number(float(s.mean()))} of {s.size:,} scores")
        for arm, s, _ in found
    )
    return Figure(
        "q-scores",
        "Q-Score",
        axes.figure(f"Q-Scores of the {'encoders' if reading.fixed else 'arms'}", *parts),
        caption,
        means,
    )
