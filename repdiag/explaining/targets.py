"""Which features of a sample a heat map explains: t_i = sum_j w_ij h_ij. The choice of w is the target."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

from repdiag.adapted import FLAT, adapted
from repdiag.errors import UsageError
from repdiag.explaining.types import Kind, Target
from repdiag.kernels import rows
from repdiag.types import FloatArray
from repdiag.workspace import Workspace

Weights = npt.NDArray[np.float32]
ENOUGH = 0.5
"""Share of the evaluated samples with a Q-Score from which `auto` explains by Q-Score's features. Ours."""

FORMULAS: dict[Kind, str] = {
    "q-score": "t_i = sum of h_ij over the features j in L_i & S",
    "adapted": "t_i = sum of s_ij h_ij over the features j in S that stand out of row i on either side, s_ij the side",
}
SOURCES: dict[Kind, str] = {
    "q-score": "features of Kalibhat et al. 2024, arXiv 2203.01881v6; that the heat map is of their sum is our reading",
    "adapted": "ours, after Kalibhat et al. 2024: Q-Score's rule carried over to features of either sign",
}


def weights(kind: Kind, ws: Workspace, x: FloatArray) -> Weights:
    """w (n, D) float32 for rows `x` (n, D) of unit length, in {0, 1} or, adapted, {-1, 0, 1}.

    q-score: w_ij = 1 where h_ij > mu_i + eps sigma_i (j in L_i) and j in S, all as `Workspace.activation` has them.
    adapted: w_ij = sign(g_ij - mu_i) where |g_ij - mu_i| > eps / 2 sigma_i and j in S, with g_i the row less the mean
    over the data, all as `repdiag.adapted` has them. A row of zeros has none, nor has one whose features are all equal.
    """
    if kind == "q-score":
        return np.asarray(ws.fires(x) & ws.activation.selected, np.float32)
    rule = adapted(ws)
    g = x - rule.center
    g -= g.mean(1, keepdims=True)
    std = g.std(1)
    known = (std > FLAT) & x.any(1)
    out = (np.abs(g) > (rule.eps * std)[:, None]) & known[:, None] & rule.selected
    return np.asarray(out * np.sign(g), np.float32)


def random_weights(
    chosen: Weights, x: FloatArray, seeds: npt.NDArray[np.int64], kind: Kind, ws: Workspace
) -> Weights:
    """As many features of each row as `chosen` has, drawn at random from the others: the control that can fail.

    Drawn without replacement from the features of the row that are not 0 (a feature after a ReLU that is 0 has no
    gradient, so its heat map is empty and no control) and are not chosen; all of them where there are fewer. Row i is
    drawn with `seeds[i]` alone. Adapted, each has the sign of its side of the row's mean. Ours.
    """
    out = np.zeros_like(chosen)
    side = np.ones_like(chosen)
    if kind == "adapted":
        g = x - adapted(ws).center
        side = np.where(g >= g.mean(1, keepdims=True), 1, -1).astype(np.float32)
    for i, seed in enumerate(seeds.tolist()):
        count = int(np.count_nonzero(chosen[i]))
        others = np.flatnonzero((chosen[i] == 0) & (x[i] != 0))
        if count and others.size:
            drawn = np.random.default_rng([seed, 31]).permutation(others)[:count]
            out[i, drawn] = side[i, drawn]
    return out


def counts(kind: Kind, ws: Workspace) -> npt.NDArray[np.int64]:
    """How many features each evaluated sample's heat map sums (N,)."""
    out = np.zeros(len(ws), np.int64)
    for b in rows.blocks(len(ws), ws.dim * 32):
        out[b] = np.count_nonzero(weights(kind, ws, ws.x[b]), 1)
    return out


def choose(ws: Workspace, asked: Literal["auto", "q-score", "adapted"]) -> Target:
    """The target for the evaluated samples of `ws`; raises UsageError for q-score on features of either sign.

    `auto` is q-score where no feature is negative and at least half of the samples have one that stands out (a
    Q-Score), else adapted.
    """
    if asked == "q-score" and not ws.nonnegative:
        raise UsageError(
            "Q-Score is defined for features after a ReLU, and these have either sign",
            do="Use --target adapted",
        )
    if asked != "auto":
        return _target(asked, ws, True, "chosen with --target")
    if not ws.nonnegative:
        return _target(
            "adapted", ws, False, "the features have either sign, for which Q-Score is not defined"
        )
    found = _target("q-score", ws, False, "")
    share = 1 - found.without / max(1, found.evaluated)
    if share >= ENOUGH:
        return _target(
            "q-score",
            ws,
            False,
            f"no feature is negative, and {100 * share:.1f}% of the samples have a Q-Score",
        )
    return _target(
        "adapted",
        ws,
        False,
        f"only {100 * share:.1f}% of the samples have a Q-Score, fewer than {100 * ENOUGH:.0f}%",
    )


def _target(kind: Kind, ws: Workspace, asked: bool, why: str) -> Target:
    selected = ws.activation.selected if kind == "q-score" else adapted(ws).selected
    without = ws.once(("explained features", kind), lambda: counts(kind, ws))
    return Target(
        kind,
        asked,
        why,
        FORMULAS[kind],
        SOURCES[kind],
        int(selected.sum()),
        ws.dim,
        len(ws),
        int((without == 0).sum()),
    )
