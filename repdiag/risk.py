"""One misclassification risk per sample, resting on a label-free score that is chosen by evidence.

With labels: the score is chosen and calibrated on the other folds, so a sample's own outcome never enters
its risk, and the AUROC of the risk column is an honest one. Without labels: the rank of a default score,
said to be unvalidated. All of this is ours; the papers stop at ranking by Q-Score.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from repdiag.kernels import ranking, resample
from repdiag.kernels.rows import Doubles
from repdiag.scores import BY_NAME, SCORES, as_rank
from repdiag.types import BoolArray
from repdiag.workspace import Skip, Workspace

DEFAULT_SCORES = ("knn_density",)
"""What an unlabeled report ranks by. Density needs no view, no ReLU and no k; see docs/adr/0004."""


@dataclass(frozen=True)
class Risk:
    """`values` (N,) in [0, 1]: a calibrated probability when `validated`, else a rank (1 = riskiest).

    `score` is the label-free score it rests on (the one most folds chose), `choices` how many folds chose
    each. `auroc` tells how well the column ranks the misclassified above the correct, with its interval.
    """

    values: Doubles
    score: str
    title: str
    validated: bool
    auroc: float | None
    interval: tuple[float, float] | None
    choices: dict[str, int]
    explanation: str


def candidates(ws: Workspace) -> dict[str, Doubles]:
    """Label-free scores that are defined for every evaluated sample, NaN ranked lowest."""
    found = {}
    for score in SCORES:
        if score.labeled:
            continue
        try:
            values = score.values(ws)
        except Skip:
            continue
        if score.partial and not np.isfinite(values).all():
            continue  # only some samples have views: no ranking of all
        if np.unique(as_rank(values)).size > 1:
            found[score.name] = as_rank(values)
    return found


def _calibrate(score: Doubles, wrong: BoolArray, target: Doubles) -> Doubles:
    """P(wrong | score) by one-dimensional logistic regression on standardized scores (Platt)."""
    from sklearn.linear_model import LogisticRegression

    center, scale = score.mean(), score.std() or 1.0
    model = LogisticRegression(C=1e3).fit(((score - center) / scale)[:, None], wrong)
    return np.asarray(model.predict_proba(((target - center) / scale)[:, None])[:, 1])


def _unvalidated(ws: Workspace, found: dict[str, Doubles], why: str) -> Risk:
    from scipy.stats import rankdata

    name = next((n for n in DEFAULT_SCORES if n in found), next(iter(found)))
    rank = (rankdata(-found[name]) - 0.5) / len(ws)
    title = BY_NAME[name].title
    return Risk(
        rank,
        name,
        title,
        False,
        None,
        None,
        {},
        f"{why[:1].upper()}{why[1:]}: the column is the rank by '{title}', not a probability.",
    )


def assess(ws: Workspace) -> Risk:
    """The risk of each evaluated sample; raises Skip when no score can be computed at all."""
    return ws.once("risk", lambda: _assess(ws))


def _assess(ws: Workspace) -> Risk:
    if len(ws) < 4:
        raise Skip(f"only {len(ws)} samples")
    found = candidates(ws)
    if not found:
        raise Skip("no label-free score is defined here (all embeddings are alike)")
    if not ws.labeled:
        return _unvalidated(ws, found, "there are no labels to test it against")
    try:
        wrong = ~ws.probe.correct
    except Skip as skip:
        return _unvalidated(ws, found, skip.reason)
    n_folds = 5
    if min(wrong.sum(), (~wrong).sum()) < 2 * n_folds:
        return _unvalidated(
            ws, found, f"the probe has {wrong.sum()} errors in {wrong.size} samples, too few to calibrate on"
        )
    values, chosen = np.empty(len(ws)), []
    part = np.empty(len(ws), np.int64)
    rng = ws.rng(5)
    for outcome in (wrong, ~wrong):
        members = rng.permutation(np.flatnonzero(outcome))
        part[members] = np.arange(members.size) % n_folds
    for fold in range(n_folds):
        learn, answer = part != fold, part == fold
        strength = {name: ranking.auroc(-s[learn], wrong[learn]) for name, s in found.items()}
        name = max(strength, key=lambda n: strength[n])
        chosen.append(name)
        values[answer] = _calibrate(found[name][learn], wrong[learn], found[name][answer])
    rank = ranking.Ranking(values, wrong)
    auroc = rank.auroc()
    interval = resample.percentile_interval(rank.resample(ws.draws)[:, 0])
    choices = dict(Counter(chosen).most_common())
    name = next(iter(choices))
    title = BY_NAME[name].title
    if interval is not None and interval[0] <= 0.5:
        verdict = "No label-free score predicts the errors better than chance here; do not rely on it"
    else:
        verdict = f"Chosen for its AUROC in {choices[name]} of {n_folds} folds and calibrated on them"
    return Risk(values, name, title, True, auroc, interval, choices, f"{verdict}.")
