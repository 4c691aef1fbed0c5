"""What a report's numbers say about its risk, in sentences. Each answers "" where the report does not hold them.

A sentence claims that something helps only where its interval does: a bare difference is said as a difference.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from repdiag.report.figure import complete, value_of
from repdiag.report.grids import text
from repdiag.report.numbers import interval_text, number, quantity
from repdiag.report.text import clean, sentence, shortened
from repdiag.types import Interval, MetricResult, Report

CHANCE = 0.5  # AUROC of a score that knows nothing


def lead(report: Report) -> str:
    """What the risk is of and how well it does on images that it was not fitted on."""
    risk = report.risk
    if not risk:
        return "What tells the images apart that a linear classifier on the features gets wrong."
    words = "How likely a linear classifier on these features gets each image wrong"
    title = text(risk.get("title") or risk.get("score") or "")
    if title:
        words += f", told by {title[0].lower() + title[1:] if title[1:2].islower() else title}"
    if risk.get("validated") and np.isfinite(value_of(risk.get("auroc"))):
        words += (
            f". On images that had no part in its making, a misclassified one has the higher risk in {_pairs(risk)} of"
            " the pairs with a correct one (AUROC; 50% is chance)"
        )
    return words + "."


def caution(report: Report) -> str:
    """Why the risk is not to be believed unchecked; "" where it was validated or there is none."""
    risk = report.risk
    if not risk or risk.get("validated"):
        return ""
    return (
        "This order is a guess that nothing here confirms: it was not validated, and it is a rank, not a probability. "
        + text(sentence(str(risk.get("explanation") or "")))
    ).strip()


def set_aside(report: Report) -> str:
    """What accuracy gains when the riskiest tenth is set aside (or the share nearest to it that was measured)."""
    rows = complete(report.value("selective_accuracy"), "set_aside", "accuracy", "random")
    if not rows:
        return ""
    row = min(rows, key=lambda r: abs(float(r["set_aside"]) - 0.1))
    plain, accuracy, oracle = (value_of(row.get(key)) for key in ("random", "accuracy", "oracle"))
    moved = "lifts" if accuracy > plain else "lowers" if accuracy < plain else "leaves"
    words = (
        f"Setting aside the riskiest {float(row['set_aside']):.0%} {moved} the accuracy of the rest"
        + (
            f" at {_told(row, accuracy)}"
            if moved == "leaves"
            else f" from {_share(plain)} to {_told(row, accuracy)}"
        )
        + (f"; a perfect order would reach {_share(oracle)}." if np.isfinite(oracle) else ".")
    )
    low = value_of(row.get("gain_low"))
    if np.isfinite(low) and low <= 0:
        words += " That is not shown to be more than setting any others aside would give."
    return words


def as_probability(report: Report) -> str:
    """What the riskiest group was said to be and was, and in how many groups the two agree."""
    rows = complete(report.value("risk_brier"), "predicted", "observed")
    if not rows:
        return ""
    last = max(rows, key=lambda row: float(row["predicted"]))
    predicted, observed = float(last["predicted"]), float(last["observed"])
    n = value_of(last.get("n"))
    who = f"The {n:,.0f} riskiest images" if np.isfinite(n) else "The riskiest images"
    words = f"{who} are said to be wrong in {_share(predicted)} of cases and are in {_told(last, observed)}."
    known = [row for row in rows if np.isfinite([value_of(row.get("low")), value_of(row.get("high"))]).all()]
    if known:
        hit = sum(float(row["low"]) <= float(row["predicted"]) <= float(row["high"]) for row in known)
        words += (
            f" In {hit} of {len(known)} groups what was said lies within the 95% interval of what happened."
        )
    return words


def predictors(report: Report) -> str:
    """The best single score without labels, the risk, and the one that needs labels."""
    rows = complete(report.value("score_comparison"), "auroc")
    free = [row for row in rows if not row.get("labelled")]
    if not free:
        return ""
    best = max(free, key=lambda row: float(row["auroc"]))
    auroc, low = float(best["auroc"]), value_of(best.get("low"))
    told = f"AUROC {_interval(best, auroc)}"
    if np.isfinite(low) and low <= CHANCE:
        words = f"No score without labels is shown to beat chance; the best is {_name(best)} ({told})."
    else:
        words = f"Of the scores that need no labels, {_name(best)} tells the errors best ({told})."
    risk = report.risk
    if (
        risk
        and risk.get("validated")
        and risk.get("score") == "combined"
        and np.isfinite(value_of(risk.get("auroc")))
    ):
        words += f" All of them together, which the risk rests on, reach {number(risk['auroc'])}."
    ceiling = max(
        (row for row in rows if row.get("labelled")), key=lambda row: float(row["auroc"]), default=None
    )
    if ceiling is not None:
        words += f" {_name(ceiling)}, which needs labels, reaches {number(ceiling['auroc'])}."
    return words


def q_score(report: Report) -> str:
    """Whether the Q-Score tells errors, and how many images have none."""
    found = report.value("qscore_auroc")
    words = "" if found is None else _ranks_errors(found)
    mean, empty = report.value("qscore_mean"), report.value("qscore_empty_rate")
    if found is None and mean is not None:
        words = f"The mean Q-Score is {number(mean.value)}."
    if empty is not None and empty.value > 0:
        words += f" {quantity(empty.value, 'share')} of the images have none: no discriminative feature stands out."
    return words.strip()


def _ranks_errors(found: MetricResult) -> str:
    told, ends = f"AUROC {number(found.value)}", found.interval
    if ends is not None:
        told += " " + interval_text(ends, "", found.value)
    if ends is None or ends.low > CHANCE:
        share = _share(found.value)
        return f"A correct image has the higher Q-Score in {share} of its pairs with a wrong one ({told})."
    if ends.high < CHANCE:
        return f"Here it points the wrong way: wrong images have the higher Q-Scores ({told}, chance is 0.5)."
    return f"Here it does not tell wrong images from correct ones ({told}, chance is 0.5)."


def _name(row: Mapping[str, Any]) -> str:
    return f"“{shortened(clean(str(row.get('title') or row.get('score'))), 60)}”"


def _share(value: float) -> str:
    return "100%" if value == 1 else quantity(value, "share")


def _told(row: Mapping[str, Any], value: float) -> str:
    """The share with its interval where the row has one."""
    low, high = value_of(row.get("low")), value_of(row.get("high"))
    if not np.isfinite([low, high]).all():
        return _share(value)
    return f"{_share(value)} {interval_text(Interval(low, high, '', 0), 'share', value)}"


def _interval(row: Mapping[str, Any], value: float) -> str:
    low, high = value_of(row.get("low")), value_of(row.get("high"))
    if not np.isfinite([low, high]).all():
        return number(value)
    return f"{number(value)} {interval_text(Interval(low, high, '', 0), '', value)}"


def _pairs(risk: Mapping[str, Any]) -> str:
    return _told(risk, float(risk["auroc"]))
