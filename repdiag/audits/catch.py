"""What reviewing the riskiest samples is worth: errors caught, and how accurate the rest is."""

from __future__ import annotations

import numpy as np

from repdiag.audits.samples import Samples
from repdiag.audits.types import Catch
from repdiag.kernels import resample
from repdiag.kernels.ranking import Ranking
from repdiag.types import DoubleArray, IntArray, Table

DRAWS = 200
"""Bootstrap draws behind the bands of the curve."""

POINTS = 41


def catch(samples: Samples, rows: IntArray, calibrated: bool) -> Catch:
    """What the list `rows` (M,) is worth. The expected number is the sum of its risks where they are probabilities.

    Formula: expected = sum_i p_i; if each risk p_i were right and samples erred independently, the number of errors
    would have the variance sum_i p_i (1 - p_i); low and high are expected +- 1.96 of its root, within [0, M]. It says
    nothing of risks that are wrong: of the riskiest few, chosen for being extreme, they tend to be a little too high.
    The definition is ours; the variance is that of a Poisson binomial distribution.
    """
    risk, correct = samples.risk[rows], samples.correct[rows]
    known = np.isfinite(correct)
    expected = low = high = None
    if calibrated and rows.size:
        expected = float(risk.sum())
        margin = resample.Z95 * float(np.sqrt(np.sum(risk * (1 - risk))))
        low, high = max(0.0, expected - margin), min(float(rows.size), expected + margin)
    whole = samples.correct[samples.judged]
    return Catch(
        rows.size,
        len(samples),
        calibrated,
        expected,
        low,
        high,
        int(known.sum()),
        int((correct[known] == 0).sum()) if known.any() else None,
        int((whole == 0).sum()) if whole.size else None,
    )


def curve(samples: Samples, budget: int, calibrated: bool, seed: int = 0) -> tuple[Table, str]:
    """Errors caught and accuracy left against the number reviewed; an empty table and why, where no error is known.

    Of the n samples with a risk and a known outcome, the `reviewed` riskiest: `share` = reviewed / n, `caught` = errors
    among them / all errors, `expected` = their risks / all risks (NaN where the risk is a rank), `coverage` =
    1 - share, `accuracy` = correct ones / all of what is not reviewed (selective accuracy, NaN at coverage 0).
    `caught_low`, `caught_high`, `accuracy_low`, `accuracy_high` are 95 % percentile intervals over 200 bootstrap
    draws of samples within each label. Equal risks count as their mean over all orders. Reviewing at random catches
    `share`. One row for each of about 60 numbers from 0 to n, `budget` among them.
    """
    rows = np.flatnonzero(samples.judged)
    wrong = samples.correct[rows] == 0
    if not rows.size:
        return Table({}), "no label tells which samples are classified wrong"
    if not wrong.any() or wrong.all():
        what = "none" if not wrong.any() else "every one"
        return Table({}), f"{what} of the {rows.size} samples with a label is classified wrong"
    n = rows.size
    reviewed = np.unique(
        np.concatenate([np.linspace(0, n, POINTS), np.geomspace(1, n, POINTS // 2), [min(budget, n)]]).round()
    ).astype(np.int64)
    share = reviewed / n
    risk = samples.risk[rows]
    ranking = Ranking(risk, wrong)
    caught, accuracy = _at(ranking, share, wrong, None)
    groups = np.unique(np.array([str(v) for v in samples.label[rows].tolist()]), return_inverse=True)[1]
    rng = np.random.default_rng(seed)
    drawn: list[tuple[DoubleArray, DoubleArray]] = []
    while len(drawn) < DRAWS:  # in parts: all draws at once are N x 200 bytes
        counts = resample.stratified_counts(groups.reshape(-1).astype(np.int64), 20, rng)
        drawn += [_at(ranking, share, wrong, weights) for weights in counts]
    with np.errstate(invalid="ignore"):
        bands = [_band(np.array([d[i] for d in drawn])) for i in (0, 1)]
    ordered = np.append(0.0, np.cumsum(risk[ranking.order]))
    expected = (
        ordered[reviewed] / ordered[-1] if calibrated and ordered[-1] > 0 else np.full(share.size, np.nan)
    )
    return Table(
        {
            "reviewed": reviewed,
            "share": share,
            "caught": caught,
            "caught_low": bands[0][0],
            "caught_high": bands[0][1],
            "expected": expected,
            "coverage": 1 - share,
            "accuracy": accuracy,
            "accuracy_low": bands[1][0],
            "accuracy_high": bands[1][1],
        }
    ), ""


def _at(
    ranking: Ranking,
    share: DoubleArray,
    wrong: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
    weights: np.ndarray[tuple[int, ...], np.dtype[np.uint8]] | None,
) -> tuple[DoubleArray, DoubleArray]:
    """Share of errors among the first of each share, and accuracy of the rest; NaN where either has nothing."""
    w = np.ones(wrong.size) if weights is None else weights.astype(np.float64)
    total, errors = float(w.sum()), float(w[wrong].sum())
    inside = np.zeros(share.size)
    some = share > 0
    inside[some] = ranking.precision(share[some], weights) * share[some] * total
    caught = inside / errors if errors else np.full(share.size, np.nan)
    left = (1 - share) * total
    rest = np.full(share.size, np.nan)
    open_ = left > 0.5
    rest[open_] = 1 - (errors - inside[open_]) / left[open_]
    return caught, np.clip(rest, 0, 1)


def _band(values: DoubleArray) -> tuple[DoubleArray, DoubleArray]:
    """Central 95 % of the finite values of each column (B, M); NaN where fewer than 20 are finite."""
    ends = [resample.percentile_interval(column) or (np.nan, np.nan) for column in values.T]
    return np.array([low for low, _ in ends]), np.array([high for _, high in ends])
