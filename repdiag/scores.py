"""Per-sample scores that claim to tell which samples a classifier will get wrong.

Every score is oriented so that *high means trustworthy*, and is NaN where it is undefined. Q-Score's paper
compares with no other predictor; here they all stand trial by the same AUROC. Adding a score is one function.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from repdiag.adapted import adapted_score
from repdiag.kernels import kmeans, ranking, resample, rows
from repdiag.kernels.rows import Doubles
from repdiag.types import Need, Status
from repdiag.workspace import Skip, Workspace

KALIBHAT = "Kalibhat et al. 2024, arXiv 2203.01881v6"


@dataclass(frozen=True)
class Score:
    """A per-sample score: what it is, where it comes from, and the function that computes it."""

    name: str
    title: str
    formula: str
    source: str
    status: Status
    compute: Callable[[Workspace], Doubles]
    needs: frozenset[Need] = frozenset()
    labeled: bool = False  # needs labels itself: a ceiling to compare with, never a label-free predictor

    @property
    def partial(self) -> bool:
        """Whether only some samples have it (those with augmented views), so that it cannot rank all."""
        return Need.IMAGES in self.needs

    def values(self, ws: Workspace) -> Doubles:
        """The score of each evaluated sample (N,) float64, among everyone where only some have labels; raises Skip."""
        if not self.labeled and ws.whole is not ws:
            return self.values(ws.whole)[ws.place]
        ws.demand(self.needs)
        return ws.once(("score", self.name), lambda: self.compute(ws))


def _compute_activations(ws: Workspace) -> dict[str, Doubles]:
    """Everything that needs L_i, in one pass over the rows."""
    n, selected = len(ws), ws.activation.selected
    out = {key: np.full(n, np.nan) for key in ("q_score", "q_score_all", "max_z", "qscore_v1")}
    out["active_features"], out["active_all"] = np.zeros(n), np.zeros(n)
    for b in rows.blocks(n, ws.dim * 32):
        h = ws.x[b].astype(np.float64)
        mean, std = h.mean(1), h.std(1)
        fires = ws.fires(ws.x[b])
        above = h - mean[:, None]
        for key, count, mask in (
            ("q_score", "active_features", fires & selected),
            ("q_score_all", "active_all", fires),
        ):
            size = mask.sum(1)
            out[count][b] = size
            total = np.where(mask, above, 0).sum(1)
            out[key][b] = np.divide(total, size, out=np.full(size.size, np.nan), where=size > 0)
        flat = std <= 1e-12
        z = np.where(flat, np.nan, (h.max(1) - mean) / np.where(flat, 1, std))
        l1 = np.abs(h).sum(1)
        out["max_z"][b] = z
        out["qscore_v1"][b] = np.where(l1 > 0, z / np.where(l1 > 0, l1, 1), np.nan)
    return out


def _activations(ws: Workspace) -> dict[str, Doubles]:
    return ws.once("activations", lambda: _compute_activations(ws))


def _density(ws: Workspace) -> Doubles:
    k = min(ws.config.neighbors, ws.reference_neighbors[0].shape[1])
    return np.asarray(ws.reference_neighbors[0][:, :k].mean(1, dtype=np.float64) - 1)


def _neighborhood(ws: Workspace) -> Doubles:
    k = min(ws.config.neighbors, ws.neighbors[1].shape[1])
    cluster = ws.clusterings[0].labels
    return np.asarray((cluster[ws.neighbors[1][:, :k]] == cluster[:, None]).mean(1))


def _augmentation(ws: Workspace) -> Doubles:
    views, at = ws.views
    out = np.full(len(ws), np.nan)
    out[at] = np.mean([np.einsum("md,md->m", ws.x[at], v, dtype=np.float64) for v in views], axis=0)
    return out


def augmented_clusters(ws: Workspace) -> np.ndarray[tuple[int, int], np.dtype[np.int64]]:
    """Cluster of each augmented view (V, M) by the first clustering's centroids."""
    views, _ = ws.space_views
    return np.stack([kmeans.assign(v, ws.clusterings[0].centroids, ws.device)[0] for v in views])


_SIGNED = frozenset({Need.NONNEGATIVE})

SCORES: tuple[Score, ...] = (
    Score(
        "q_score",
        "Q-Score",
        "mean over L_i & S of (h_ij - mu_i), h of unit length",
        f"{KALIBHAT}, eq. 1",
        Status.PAPER,
        lambda ws: _activations(ws)["q_score"],
        _SIGNED,
    ),
    Score(
        "q_score_all",
        "Q-Score, all features",
        "mean over L_i of (h_ij - mu_i)",
        "ablation of eq. 1, ours",
        Status.OURS,
        lambda ws: _activations(ws)["q_score_all"],
        _SIGNED,
    ),
    Score(
        "qscore_v1",
        "Q-Score, first version",
        "((max_j h - mu_i) / sigma_i) / ||h||_1",
        "Kalibhat et al., arXiv 2203.01881v1, released code",
        Status.CODE,
        lambda ws: _activations(ws)["qscore_v1"],
        _SIGNED,
    ),
    Score(
        "active_features",
        "Number of active features",
        "|L_i & S|",
        "baseline, ours",
        Status.OURS,
        lambda ws: _activations(ws)["active_features"],
        _SIGNED,
    ),
    Score(
        "q_score_signed",
        "Q-Score, adapted to features of either sign",
        "mean over L_i & S of |g_ij - mu_i|, g = features less their mean over the data, both sides, eps / 2",
        f"ours, after {KALIBHAT}, eq. 1",
        Status.OURS,
        adapted_score,
    ),
    Score(
        "max_z",
        "Largest z-score of a feature",
        "(max_j h - mu_i) / sigma_i",
        "baseline, ours",
        Status.OURS,
        lambda ws: _activations(ws)["max_z"],
    ),
    Score(
        "feature_norm",
        "Norm before normalization",
        "||h||_2",
        "baseline, ours",
        Status.OURS,
        lambda ws: ws.lengths,
    ),
    Score(
        "knn_density",
        "Closeness to its neighbors",
        "mean cosine to the k = 10 nearest reference samples - 1",
        "baseline, ours; kNN distance as in Sun et al. 2022, arXiv 2204.06507",
        Status.ADAPTED,
        _density,
    ),
    Score(
        "kmeans_margin",
        "k-means margin",
        "(d2 - d1) / (d2 + d1), distances to the two nearest centroids",
        "baseline, ours",
        Status.OURS,
        lambda ws: ws.margin,
    ),
    Score(
        "neighborhood_consistency",
        "Neighbors in the same cluster",
        "share of the k = 10 nearest neighbors in the sample's k-means cluster",
        "baseline, ours",
        Status.OURS,
        _neighborhood,
    ),
    Score(
        "augmentation_consistency",
        "Cosine to augmented views",
        "mean over views of cos(h(x), h(t(x)))",
        "baseline, ours",
        Status.OURS,
        _augmentation,
        frozenset({Need.IMAGES}),
    ),
    Score(
        "confidence",
        "Probe confidence (MSP)",
        "max_c p_c(x) of the out-of-fold linear probe",
        "Hendrycks & Gimpel 2017, arXiv 1610.02136",
        Status.PUBLISHED,
        lambda ws: ws.probe.probabilities.max(1),
        frozenset({Need.LABELS}),
        labeled=True,
    ),
)


BY_NAME = {score.name: score for score in SCORES}


def score_values(ws: Workspace) -> dict[str, Doubles]:
    """All scores that can be computed on `ws`, by name; the others are absent."""
    found = {}
    for score in SCORES:
        try:
            found[score.name] = score.values(ws)
        except Skip:
            continue
    return found


def as_rank(values: Doubles) -> Doubles:
    """Replace NaN by a value below all others: an undefined score counts as the lowest quality."""
    finite = values[np.isfinite(values)]
    lowest = float(finite.min()) - 1.0 if finite.size else 0.0
    return np.where(np.isfinite(values), values, lowest)


# ------------------------------------------------------------------------------- is Q-Score to be trusted?

MOST_EMPTY = 0.5
"""Q-Score is not to be trusted where more than this share of the samples has none. Ours."""

FEWEST = 8
"""... nor where fewer features than this can stand out of a sample, or are in S. Ours."""

TRUST_DRAWS = 200


def trust(ws: Workspace) -> str | None:
    """Why Q-Score is not to be trusted on these embeddings, in one sentence; None when nothing speaks against it.

    Reasons: signed features; a D at which fewer than 8 features can stand out of a sample (D / (1 + eps^2), Cantelli);
    fewer than 8 features in S; no Q-Score for more than half of the samples; and, where a probe can be trained, an
    AUROC for its correctness whose 95 % interval (200 bootstrap draws) does not lie above 0.5. All limits are ours.
    Trains the probe when there are labels.
    """
    return ws.once("trust in Q-Score", lambda: _trust(ws))


def _trust(ws: Workspace) -> str | None:
    try:
        values = BY_NAME["q_score"].values(ws)
    except Skip as skip:
        return f"Q-Score does not apply here ({skip.reason})."
    reasons, eps = [], ws.config.eps
    reach = ws.dim / (1 + eps**2)
    if eps**2 >= ws.dim - 1:
        reasons.append(f"with {ws.dim} features no z-score can exceed {eps:g}")
    elif reach < FEWEST:
        reasons.append(
            f"at most {int(reach)} of {ws.dim} features of a sample can have a z-score above {eps:g}"
        )
    count = int(ws.activation.selected.sum())
    if count < FEWEST:
        reasons.append(f"only {count} of {ws.dim} features are discriminative")
    empty = float(np.isnan(values).mean())
    if empty > MOST_EMPTY:
        reasons.append(f"{100 * empty:.1f} % of the samples have none")
    reasons += _no_better_than_chance(ws, values)
    return f"Q-Score is not to be trusted here: {'; '.join(reasons)}." if reasons else None


def _no_better_than_chance(ws: Workspace, values: Doubles) -> list[str]:
    """What its AUROC says against Q-Score; [] where it cannot be judged or does well."""
    try:
        correct = ws.probe.correct if ws.labeled else np.zeros(0, bool)
    except Skip:
        return []
    if not correct.any() or correct.all() or not np.isfinite(values).any():
        return []
    ranked = ranking.Ranking(as_rank(values), correct)
    auroc = float(ranked.auroc())
    ends = resample.percentile_interval(np.array([ranked.auroc(w) for w in ws.draws[:TRUST_DRAWS]]))
    if ends is None or ends[0] > 0.5:
        return []
    said = "ranks the errors above the correct" if ends[1] < 0.5 else "is no better than chance"
    return [f"its AUROC for the probe's correctness, {auroc:.3f} [{ends[0]:.3f}, {ends[1]:.3f}], {said}"]
