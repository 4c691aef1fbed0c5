"""LiDAR: in how many directions images differ more from each other than from their own augmentations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from repdiag.kernels.rows import Doubles, blocks
from repdiag.metrics import Rows, metric
from repdiag.metrics.spectrum import ALL_LAWS, jackknife, jackknife_groups
from repdiag.types import Direction, MetricResult, MetricSpec, Need, Status
from repdiag.workspace import Skip, Workspace

DELTA = 1e-4
EPS = 1e-8


@dataclass(frozen=True)
class Scatter:
    """Sums over one group of images: of the means of their views, those' products, and the views' deviations."""

    images: float
    first: Doubles  # (D,)
    between: Doubles  # (D, D)
    within: Doubles  # (D, D)

    def __add__(self, other: Scatter) -> Scatter:
        return self._with(other, 1)

    def __sub__(self, other: Scatter) -> Scatter:
        return self._with(other, -1)

    def _with(self, other: Scatter, sign: int) -> Scatter:
        return Scatter(
            self.images + sign * other.images,
            self.first + sign * other.first,
            self.between + sign * other.between,
            self.within + sign * other.within,
        )

    def covariances(self, q: int) -> tuple[Doubles, Doubles]:
        """(S_b, S_w), population form: of the images' means, and of the q views around them."""
        mean = self.first / self.images
        return self.between / self.images - np.outer(mean, mean), self.within / (self.images * q)


def scatter(views: Doubles) -> Scatter:
    """The Scatter of views (q, n, D)."""
    mean = views.mean(0)
    off = (views - mean).reshape(-1, views.shape[2])
    return Scatter(float(len(mean)), mean.sum(0), mean.T @ mean, off.T @ off)


def discriminant(between: Doubles, within: Doubles, delta: float = DELTA) -> Doubles:
    """Eigenvalues (D,), clipped at 0, of S^-1/2 `between` S^-1/2 with S = `within` + `delta` I.

    By Cholesky: L^-1 B L^-T with S = L L' has the same ones.
    """
    import torch

    spread = torch.from_numpy(within + delta * np.eye(len(within)))
    lower = torch.linalg.cholesky(spread)
    half = torch.linalg.solve_triangular(lower, torch.from_numpy(between), upper=False)
    whole = torch.linalg.solve_triangular(lower, half.T.contiguous(), upper=False)
    values = torch.linalg.eigvalsh((whole + whole.T) / 2).numpy()
    return np.asarray(np.maximum(values, 0.0))


def effective_rank(values: Doubles) -> float:
    """exp(entropy of p), p = values / their sum + 1e-8; NaN when all are 0."""
    if values.sum() <= 0:
        return float("nan")
    p = values / values.sum() + EPS
    return max(1.0, float(np.exp(-(p * np.log(p)).sum())))


@metric(
    MetricSpec(
        name="lidar",
        family="spectrum",
        title="LiDAR effective rank",
        meaning="high: images differ in many directions in which their augmentations do not",
        formula="exp(-sum p log p), p = lambda / sum(lambda) + 1e-8, lambda the eigenvalues of "
        "S_w^-1/2 S_b S_w^-1/2; S_b of the images' mean embeddings, S_w of their views around them + 1e-4 I",
        source="Thilak et al. 2023, arXiv 2312.04000; few views, the clean image among them, ours",
        status=Status.ADAPTED,
        direction=Direction.HIGHER,
        low=1,
        high=float("inf"),
        unit="dimensions",
        needs=frozenset({Need.IMAGES}),
        laws=ALL_LAWS,
        cost="O(VMD^2 + D^3)",
    ),
    rows=Rows.GIVEN,
)
def lidar(ws: Workspace) -> MetricResult:
    """Effective rank in [1, min(M - 1, D)] (up to the 1e-8) of what tells images apart, against what augmentation
    moves; higher is better. M images with q views each, float64.

    Deviations: q is V + 1 = 3 by default (the clean image is one view; the augmentation is the report's), where the
    authors, we gather, draw about 50, and rows have unit length. With few views an image's mean keeps 1/q of the
    augmentation's noise, so every eigenvalue has a floor near 1/q and the rank is *too high*: `rank_without_view_noise`
    takes S_w / (q - 1) off S_b first (unbiased for the population's S_b; negative eigenvalues become 0). Where the two
    differ much, trust neither the value nor a comparison at other q. It grows with M, too, and a small M or much
    ridge moves it: `delta_share` is 1e-4 against the mean eigenvalue of S_w, at 1 or above the ridge decides.

    Skipped without views and where images do not differ. Interval: delete-a-group jackknife over ten groups of
    images (five above 1,024 features). Invariant to rotation, order and (by the unit length) scale. Images in d
    orthogonal directions, equally spread, under isotropic augmentation: d + 1 - (the mean takes one) at most d.
    """
    views, at = ws.space_views
    q, groups = len(views) + 1, min(jackknife_groups(ws), at.size)
    parts: list[Scatter] = []
    for g in range(groups):
        mine = np.arange(g, at.size, groups)
        found = Scatter(0.0, np.zeros(ws.dim), np.zeros((ws.dim, ws.dim)), np.zeros((ws.dim, ws.dim)))
        for block in blocks(mine.size, ws.dim * 8 * q):
            some = mine[block]
            found = found + scatter(
                np.concatenate([ws.space[at[some]][None], views[:, some]]).astype(np.float64)
            )
        parts.append(found)
    whole = sum(parts[1:], parts[0])
    between, within = whole.covariances(q)
    size = float(np.trace(whole.between)) / whole.images
    if np.trace(between) <= 1e-12 * size:
        raise Skip("the images have one and the same embedding")

    def rank(without: Scatter) -> float:
        return effective_rank(discriminant(*(whole - without).covariances(q)))

    value = effective_rank(discriminant(between, within))
    replicates = np.array([rank(p) for p in parts]) if groups > 1 else np.empty(0)
    unbiased = effective_rank(discriminant(between - within / (q - 1), within))
    per_direction = float(np.trace(within)) / ws.dim
    return MetricResult(
        value,
        jackknife(value, replicates),
        parameters={
            "images": int(at.size),
            "views_of_each": q,
            "delta": DELTA,
            "delta_share": DELTA / per_direction if per_direction > 0 else None,
            "rank_without_view_noise": unbiased if np.isfinite(unbiased) else None,
        },
        note=f"From {q} views of an image: too high, see rank_without_view_noise; compare at equal q, M and D only.",
    )
