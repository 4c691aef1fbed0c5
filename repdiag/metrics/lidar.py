"""LiDAR: in how many directions images differ more from each other than from their own augmentations."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from repdiag.kernels.rows import Doubles, blocks
from repdiag.metrics import Rows, metric
from repdiag.metrics.spectrum import ALL_LAWS
from repdiag.types import Direction, Interval, MetricResult, MetricSpec, Need, Status
from repdiag.workspace import Skip, Workspace

if TYPE_CHECKING:
    import torch

DELTA = 1e-4
EPS = 1e-8


class Discriminant:
    """Solves B v = lambda S v with S = `within` + `delta` I for symmetric B, all (D, D), float64.

    By Cholesky, S = L L': L^-1 B L^-T has the eigenvalues of S^-1/2 B S^-1/2.
    """

    def __init__(self, within: Doubles, delta: float = DELTA) -> None:
        import torch

        lower, failed = torch.linalg.cholesky_ex(torch.from_numpy(within + delta * np.eye(len(within))))
        if failed:
            raise Skip(
                "augmentation leaves some directions still, and at this length of rows 1e-4 is nothing"
            )
        self._lower = lower

    def _whitened(self, between: Doubles) -> torch.Tensor:
        import torch

        half = torch.linalg.solve_triangular(self._lower, torch.from_numpy(between), upper=False)
        whole = torch.linalg.solve_triangular(self._lower, half.T.contiguous(), upper=False)
        symmetric: torch.Tensor = (whole + whole.T) / 2
        return symmetric

    def values(self, between: Doubles) -> Doubles:
        """Eigenvalues (D,), ascending, clipped at 0."""
        import torch

        return np.asarray(np.maximum(torch.linalg.eigvalsh(self._whitened(between)).numpy(), 0.0))

    def solve(self, between: Doubles) -> tuple[Doubles, Doubles]:
        """`values`, and vectors v (D, D) in columns, v' S v = 1."""
        import torch

        values, vectors = torch.linalg.eigh(self._whitened(between))
        vectors = torch.linalg.solve_triangular(self._lower.T, vectors, upper=True)
        return np.maximum(values.numpy(), 0.0), vectors.numpy()


def effective_rank(values: Doubles) -> float:
    """exp(entropy of p), p = values / their sum + 1e-8; NaN when all are 0."""
    if values.sum() <= 0:
        return float("nan")
    p = values / values.sum() + EPS
    return max(1.0, float(np.exp(-(p * np.log(p)).sum())))


def slope(values: Doubles) -> Doubles:
    """Derivative of `effective_rank` by each of `values` (D,)."""
    total = values.sum()
    logs = np.log(values / total + EPS) + 1
    return np.asarray(effective_rank(values) * ((logs @ values) / total - logs) / total)


def _views(ws: Workspace) -> tuple[int, Iterator[Doubles]]:
    """q, and blocks (q, m, D) of the views of the images, the clean one first."""
    views, at = ws.space_views

    def some() -> Iterator[Doubles]:
        for block in blocks(at.size, ws.dim * 8 * (len(views) + 1)):
            yield np.concatenate([ws.space[at[block]][None], views[:, block]]).astype(np.float64)

    return len(views) + 1, some()


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
    augmentation's noise, so every eigenvalue has a floor near 1/(q - 1) and the rank is *too high*:
    `rank_without_view_noise` takes S_w / (q - 1) off S_b first (unbiased up to 1/M; negative eigenvalues become 0).
    Where the two differ much, trust neither the value nor a comparison at other q. It grows with M, too, and a small
    M or much ridge moves it: `delta_share` is 1e-4 against the mean eigenvalue of S_w, at 1 or above the ridge decides.

    Skipped without views, where images do not differ, and where S_w is singular in float64 (long rows as given).
    Interval: infinitesimal jackknife over the M images (each one's first-order effect on the rank, from the
    eigenvectors; t on M - 1). Invariant to rotation, order and (by the unit length) scale. S_b = diag(4, 4, 0),
    S_w = I: 2.
    """
    q, parts = _views(ws)
    n, first = 0, np.zeros(ws.dim)
    second, off = np.zeros((ws.dim, ws.dim)), np.zeros((ws.dim, ws.dim))
    for part in parts:
        mean = part.mean(0)
        around = (part - mean).reshape(-1, ws.dim)
        n, first = n + len(mean), first + mean.sum(0)
        second += mean.T @ mean
        off += around.T @ around
    center = first / n
    between, within = second / n - np.outer(center, center), off / (n * q)
    if np.trace(between) <= 1e-12 * np.trace(second) / n:
        raise Skip("the images have one and the same embedding")
    problem = Discriminant(within)
    values, vectors = problem.solve(between)
    value = effective_rank(values)

    gradient, effects = slope(values), []
    for part in _views(ws)[1]:
        mean = part.mean(0)
        apart = ((mean - center) @ vectors) ** 2
        around = (((part - mean) @ vectors) ** 2).mean(0)
        effects.append(apart @ gradient - around @ (gradient * values))
    corrected = effective_rank(problem.values(between - within / (q - 1)))
    per_direction = float(np.trace(within)) / ws.dim
    return MetricResult(
        value,
        _interval(value, np.concatenate(effects)),
        parameters={
            "images": n,
            "views_of_each": q,
            "delta": DELTA,
            "delta_share": DELTA / per_direction if per_direction > 0 else None,
            "rank_without_view_noise": corrected if np.isfinite(corrected) else None,
        },
        note=f"From {q} views of an image: too high, see rank_without_view_noise; compare at equal q, M and D only.",
    )


def _interval(value: float, effects: Doubles) -> Interval:
    from scipy.stats import t

    margin = float(t.ppf(0.975, effects.size - 1)) * float(effects.std(ddof=1)) / effects.size**0.5
    return Interval(value - margin, value + margin, "infinitesimal jackknife over images", effects.size)
