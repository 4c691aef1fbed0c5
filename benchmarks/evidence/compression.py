"""Do Q-Score's discriminative features keep more accuracy than other features of equal number?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from benchmarks.evidence.reading import Claim, Evidence, Found, Page, fixed, table

NAME = "compression"
CUTS = (0.8, 0.6, 0.4)
QUESTION = (
    "Kalibhat et al. keep the features that fire neither too rarely nor too often, and a linear "
    "probe loses little when "
    "40 % are cut: less than with random features of equal number."
)
RIVALS = (
    ("random", "gain", "random_mean"),
    ("top variance", "gain_over_top_variance", "top_variance"),
    ("PCA", "gain_over_pca", "pca"),
)
Row = Mapping[str, Any]


def rows_of(found: Found) -> dict[float, Row]:
    """The compression curve of one run by the share kept; empty where the metric was skipped."""
    answer = found.answers.get(NAME)
    return {round(float(row["kept"]), 3): row for row in (answer.table if answer else ())}


def page(evidence: Evidence) -> Page:
    """compression.md."""
    measured = [f for f in evidence.found if rows_of(f)]
    body = [_how(), "## Against features of equal number\n", _summary(measured), _reading(measured)]
    for cut in CUTS:
        body += [f"## {round(100 * (1 - cut))} % cut\n", _table(measured, cut)]
    skipped = [f for f in evidence.found if NAME in f.skipped]
    if skipped:
        body += ["## Not measured\n", table(("encoder", "images", "why"), [
            [f.encoder.title, f.run.images.title, f.skipped[NAME]] for f in skipped
        ], left=3)]  # fmt: skip
    return Page("compression.md", "Compression", QUESTION, "\n".join(body), _claims(measured))


def _how() -> str:
    return """## How to read it

Held-out accuracy of new linear probes on the middle of the features by activation frequency, and on as many
random ones
(mean of four draws), those of largest variance, and principal components. Gains are paired over the held-out
images, in
percentage points, with a 95 % bootstrap interval; probes are fixed, so that noise of training is not in it.
*Rule*: `paper`, or `adapted` where the paper's definition does not apply or finds no discriminative feature.
"""


def _gain(row: Row, key: str) -> tuple[float, float, float] | None:
    if row.get(key) is None or row.get(f"{key}_low") is None:
        return None
    return 100 * row[key], 100 * row[f"{key}_low"], 100 * row[f"{key}_high"]


def counted(measured: Sequence[Found], cut: float, key: str) -> tuple[int, int, int, float]:
    """Runs whose gain is above 0, below 0, and not told apart, and the mean gain in points."""
    gains = [g for f in measured if cut in rows_of(f) and (g := _gain(rows_of(f)[cut], key))]
    above, below = sum(g[1] > 0 for g in gains), sum(g[2] < 0 for g in gains)
    return above, below, len(gains) - above - below, sum(g[0] for g in gains) / max(1, len(gains))


def _summary(measured: Sequence[Found]) -> str:
    rows = []
    for cut in CUTS:
        for name, key, _ in RIVALS:
            above, below, level, mean = counted(measured, cut, key)
            if above + below + level:
                rows.append([f"{round(100 * (1 - cut))} %", name, above, below, level, fixed(mean, 1)])
    return table(
        ("cut", "rival", "more accurate", "less accurate", "not told apart", "mean gain"), rows, left=2
    )


def _reading(measured: Sequence[Found]) -> str:
    parts = []
    for name, key, _ in RIVALS:
        above, below, level, mean = counted(measured, 0.6, key)
        if above + below + level:
            word = "more" if mean > 0 else "fewer"
            parts.append(
                f"against {name} the middle features keep {abs(mean):.1f} points {word} on average (more accurate on "
                f"{above} of {above + below + level} encoders and data sets, less on {below})"
            )
    change = [100 * (rows_of(f)[0.6]["accuracy"] - rows_of(f)[1.0]["accuracy"]) for f in measured]
    mean_change = sum(change) / max(1, len(change))
    return (
        f"With 40 % cut a probe's accuracy changes by {mean_change:+.1f} points on average; "
        + "; ".join(parts)
        + ".\n"
    )


def _table(measured: Sequence[Found], cut: float) -> str:
    rivals = [r for r in RIVALS if any(r[2] in rows_of(f).get(cut, {}) for f in measured)]
    heads = ["encoder", "images", "rule", "kept", "all", "middle"]
    for name, _, _ in rivals:
        heads += [name, f"gain over {name}"]
    rows = []
    for found in measured:
        row, full = rows_of(found).get(cut), rows_of(found)[1.0]
        if row is None:
            continue
        cells: list[object] = [found.encoder.title, found.run.images.title, _rule(found), row["features"]]
        cells += [fixed(100 * full["accuracy"], 1), fixed(100 * row["accuracy"], 1)]
        for _, key, mean in rivals:
            gain = _gain(row, key)
            cells.append(fixed(100 * row[mean], 1) if row.get(mean) is not None else "-")
            cells.append(f"{fixed(gain[0], 1)} [{fixed(gain[1], 1)}, {fixed(gain[2], 1)}]" if gain else "-")
        rows.append(cells)
    return table(heads, rows, left=3)


def _rule(found: Found) -> str:
    measurement = next(m for m in found.report["measurements"] if m["name"] == NAME)
    return str(measurement["outcome"]["parameters"].get("rule", "paper"))


def _claims(measured: Sequence[Found]) -> tuple[Claim, ...]:
    if not measured:
        return ()
    above, below, level, mean = counted(measured, 0.6, "gain")
    n = above + below + level
    word: Literal["agrees", "disagrees", "mixed"] = (
        "agrees" if above > max(n / 2, 3 * below) else "disagrees" if below >= above else "mixed"
    )
    sentence = (
        f"At 40 % cut they are more accurate than random ones on {above} of {n} "
        f"encoders and data "
        f"sets and less on {below}; the mean gain is {fixed(mean, 1)} points."
    )
    said = (
        "Discriminative features keep more accuracy than random ones (by 2.2 to 4.7 points at 40 % cut, "
        "off its Fig. 2)."
    )
    return (Claim("Compression (Kalibhat et al.)", said, word, sentence),)
