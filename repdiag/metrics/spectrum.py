"""Spectrum and geometry: how many dimensions are in use, and how evenly. Label-free (science section 5)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from repdiag.kernels import resample, spectrum
from repdiag.kernels.rows import Doubles
from repdiag.metrics import Rows, metric
from repdiag.metrics._answers import defined, sample_mean
from repdiag.types import Direction, Interval, Law, MetricResult, MetricSpec, Need, Row, Status
from repdiag.workspace import Skip, Workspace

ALL_LAWS = frozenset({Law.PERMUTATION, Law.ROTATION, Law.SCALE, Law.FEATURE_ORDER})
GROUPS = 10
PAIR_ROWS = 4096
MANY_FEATURES = 1024
Spectral = Callable[[Doubles], float]


def values_only(ws: Workspace, yes: bool = False) -> bool:
    """Whether only values are wanted of `ws`, neither intervals nor nulls (`yes` says so, before any metric ran).

    For metrics whose interval or null costs many times the value: `repdiag.sizes` measures parts and shows values.
    """
    return ws.once("values only", lambda: yes)


def jackknife_groups(ws: Workspace) -> int:
    """How many groups the jackknife leaves out in turn: 10, or 5 above 1,024 features, each an eigendecomposition."""
    if values_only(ws):
        return 1
    return min(GROUPS if ws.dim <= MANY_FEATURES else GROUPS // 2, len(ws))


def _spectra(ws: Workspace, centered: bool) -> tuple[Doubles, ...]:
    """Eigenvalues of all rows, then without each of the jackknife's groups."""

    def compute() -> tuple[Doubles, ...]:
        known = ws.once("moments", lambda: spectrum.moments(ws.space, jackknife_groups(ws)))
        return tuple(known.spectra(centered))

    return ws.once(("spectra", centered), compute)


def _spectral(ws: Workspace, centered: bool, reduce: Spectral) -> MetricResult:
    all_rows, *without = _spectra(ws, centered)
    value = defined(reduce(all_rows), "the embeddings do not vary")
    return MetricResult(
        value,
        jackknife(value, np.array([reduce(v) for v in without])),
        parameters={"samples": len(ws), "features": ws.dim},
        note="Grows with N and is bounded by D: compare encoders at equal N and D only.",
    )


def jackknife(value: float, replicates: Doubles) -> Interval | None:
    """The delete-a-group jackknife's interval; None where a replicate is undefined or there are none."""
    if replicates.size < 2 or not np.isfinite(replicates).all():
        return None
    ends = resample.jackknife_interval(value, replicates)
    return Interval(*ends, f"jackknife over {replicates.size} groups", replicates.size)


def rank_me(eigenvalues: Doubles) -> float:
    """exp(entropy of p), p = singular values / their sum + 1e-7."""
    singular = np.sqrt(eigenvalues)
    if singular.sum() == 0:
        return float("nan")
    p = singular / singular.sum() + 1e-7
    return max(1.0, float(np.exp(-(p * np.log(p)).sum())))  # the 1e-7 can take it a hair below 1


@metric(
    MetricSpec(
        name="rankme",
        family="spectrum",
        title="RankMe effective rank",
        meaning="high: many dimensions are in use; low: dimensional collapse",
        formula="exp(-sum p log p), p = singular values of the uncentered embeddings over their sum + 1e-7",
        source="Garrido et al. 2023, arXiv 2210.02885",
        status=Status.PUBLISHED,
        direction=Direction.HIGHER,
        low=1,
        high=float("inf"),
        unit="dimensions",
        needs=frozenset(),
        laws=ALL_LAWS,
        cost="O(ND^2 + D^3)",
        headline=True,
        by_size=True,
    ),
    rows=Rows.GIVEN,
)
def rankme(ws: Workspace) -> MetricResult:
    """Effective rank in [1, min(N, D)] (up to the 1e-7), from unit rows, in float64; higher is better.

    Singular values are square roots of the eigenvalues of X'X (of XX' where N < D), accurate to about 1e-8 of the
    largest. The table holds the singular value curve at ranks 1, 2, 4, ... up to min(N, D): relative to the first,
    and the share of the squared norm in the ranks so far. `numerical_rank` counts the singular values above
    max(N, D) * 2^-23 of the first, what float32 rows can tell from zero. Interval: delete-a-group jackknife over ten
    groups (five above 1,024 features). D orthonormal directions in equal use: D; identical rows: 1.
    """
    found = _spectral(ws, False, rank_me)
    singular = np.sqrt(_spectra(ws, False)[0][: min(len(ws), ws.dim)])
    floor = max(len(ws), ws.dim) * 2.0**-23
    return replace(
        found,
        table=_curve(singular),
        parameters={**found.parameters, "numerical_rank": int((singular > floor * singular[0]).sum())},
    )


def _curve(singular: Doubles) -> tuple[Row, ...]:
    """Rows of the singular value curve at powers of two, and at the last rank."""
    share = np.cumsum(singular**2) / (singular**2).sum()
    ranks = [r for r in (2**i for i in range(32)) if r < singular.size] + [singular.size]
    return tuple(
        {
            "rank": r,
            "singular_value": float(singular[r - 1] / singular[0]),
            "share_so_far": float(min(1.0, share[r - 1])),
        }
        for r in ranks
    )


def alpha_fit(eigenvalues: Doubles) -> tuple[float, float, int, int]:
    """(alpha, R^2, first, last) of the power law lambda_i ~ i^-alpha fitted on ranks first..last (1-based)."""
    positive = eigenvalues[eigenvalues > 1e-10 * max(eigenvalues[0], 1e-300)]
    if positive.size < 4 or positive[0] == 0:
        return float("nan"), float("nan"), 0, 0
    first, last = 1, positive.size
    if positive.size > 40:  # the first few and the noise floor bend away from any power law
        first, last = 4, positive.size // 2
    i = np.log(np.arange(first, last + 1))
    v = np.log(positive[first - 1 : last])
    slope, offset = np.polyfit(i, v, 1)
    residual = v - (slope * i + offset)
    spread = float(((v - v.mean()) ** 2).sum())
    return -float(slope), 1 - float((residual**2).sum()) / spread if spread > 0 else 1.0, first, last


@metric(
    MetricSpec(
        name="alpha_req",
        family="spectrum",
        title="alpha-ReQ spectral decay",
        meaning="high: the spectrum falls fast, few directions dominate; near 1 is said to be best",
        formula="minus the slope of log lambda_i against log i, lambda the covariance spectrum",
        source="Agrawal et al. 2022, arXiv 2202.01771",
        status=Status.ADAPTED,
        direction=Direction.NEITHER,
        low=float("-inf"),
        high=float("inf"),
        unit="",
        needs=frozenset(),
        laws=ALL_LAWS,
        cost="O(ND^2 + D^3)",
    ),
    rows=Rows.GIVEN,
)
def alpha_req(ws: Workspace) -> MetricResult:
    """Exponent of the power law of the covariance spectrum; the fitted ranks and R^2 are in the parameters.

    Ranks 4 to half of the positive ones (all when there are 40 or fewer): our choice; read nothing into alpha
    where R^2 is low. Interval: jackknife over ten groups (five above 1,024 features).
    """
    found = _spectral(ws, True, lambda v: alpha_fit(v)[0])
    _, fit, first, last = alpha_fit(_spectra(ws, True)[0])
    return MetricResult(
        found.value,
        found.interval,
        parameters={**found.parameters, "r2": fit, "first_rank": first, "last_rank": last},
        note=found.note if fit >= 0.9 else f"R^2 of the fit is {fit:.2f}: not a power law, do not interpret.",
    )


def participation(eigenvalues: Doubles) -> float:
    """(sum lambda)^2 / sum lambda^2."""
    return float(eigenvalues.sum() ** 2 / (eigenvalues**2).sum()) if eigenvalues.any() else float("nan")


@metric(
    MetricSpec(
        name="participation_ratio",
        family="spectrum",
        title="Participation ratio",
        meaning="high: variance is spread over many directions",
        formula="(sum lambda)^2 / sum lambda^2, lambda the covariance spectrum",
        source="standard",
        status=Status.OURS,
        direction=Direction.HIGHER,
        low=1,
        high=float("inf"),
        unit="dimensions",
        needs=frozenset(),
        laws=ALL_LAWS,
        cost="O(ND^2 + D^3)",
        by_size=True,
    ),
    rows=Rows.GIVEN,
)
def participation_ratio(ws: Workspace) -> MetricResult:
    """Number of directions that hold the variance, in [1, D]; gives large eigenvalues more weight than RankMe.

    Interval: jackknife over ten groups (five above 1,024 features). Isotropic rows: about D N / (N + D), and D only
    in the limit of many samples, which `by_size` shows.
    """
    return _spectral(ws, True, participation)


@metric(
    MetricSpec(
        name="uniformity",
        family="spectrum",
        title="Uniformity",
        meaning="low (more negative): samples fill the sphere evenly; near 0: all in one place",
        formula="log mean over pairs of exp(-2 ||x - y||^2), unit vectors",
        source="Wang & Isola 2020, arXiv 2005.10242",
        status=Status.PUBLISHED,
        direction=Direction.LOWER,
        low=float("-inf"),
        high=0,
        unit="",
        needs=frozenset(),
        laws=ALL_LAWS,
        cost="O(min(N, 4096)^2 D)",
    )
)
def uniformity(ws: Workspace) -> MetricResult:
    """log E exp(-t ||x - y||^2), t = 2, over pairs of different samples, in [-8, 0]; lower is more uniform.

    At most 4,096 rows, drawn with the seed. Interval: jackknife over ten groups of rows. Identical rows: 0.
    """
    some = np.arange(len(ws))
    if len(ws) > PAIR_ROWS:
        some = np.sort(ws.rng(13).choice(len(ws), PAIR_ROWS, replace=False))
    x = ws.x[some]
    groups = min(GROUPS, len(some))
    group = np.arange(len(some)) % groups
    sums, pairs = np.zeros((groups, groups)), np.zeros((groups, groups))
    for start in range(0, len(some), 1024):
        part = slice(start, start + 1024)
        potential = np.exp(4.0 * (x[part] @ x.T).astype(np.float64) - 4.0)
        potential[np.arange(len(potential)), np.arange(start, start + len(potential))] = 0
        for g in range(groups):
            sums[g] += np.bincount(group, weights=potential[group[part] == g].sum(0), minlength=groups)
    size = np.bincount(group, minlength=groups).astype(np.float64)
    pairs = np.outer(size, size) - np.diag(size)

    def without(g: int | None) -> float:
        keep = np.arange(groups) != (-1 if g is None else g)
        return float(np.log(sums[np.ix_(keep, keep)].sum() / pairs[np.ix_(keep, keep)].sum()))

    value = min(without(None), 0.0)
    replicates = np.array([without(g) for g in range(groups)])
    return MetricResult(
        value,
        jackknife(value, replicates),
        parameters={"t": 2, "samples": len(some)},
    )


@metric(
    MetricSpec(
        name="alignment",
        family="spectrum",
        title="Alignment of augmented views",
        meaning="low: an image and its augmentations have nearly the same embedding",
        formula="mean of ||h(x) - h(t(x))||^2, unit vectors",
        source="Wang & Isola 2020, arXiv 2005.10242; clean image against view, ours",
        status=Status.ADAPTED,
        direction=Direction.LOWER,
        low=0,
        high=4,
        unit="",
        needs=frozenset({Need.IMAGES}),
        laws=ALL_LAWS,
        cost="O(VMD)",
    )
)
def alignment(ws: Workspace) -> MetricResult:
    """Mean squared distance between an image and its augmented views, in [0, 4]; lower is more invariant.

    0 is reached by a collapsed encoder too: read it beside uniformity. Depends on the augmentation, which the
    report describes. Interval: bootstrap over samples.
    """
    views, at = ws.views
    if not at.size:
        raise Skip("no evaluated sample has augmented views")
    moved = np.mean([((v.astype(np.float64) - ws.x[at]) ** 2).sum(1) for v in views], axis=0)
    values = np.full(len(ws), np.nan)
    values[at] = moved
    return sample_mean(ws, values, per_class=True, parameters={"views": len(views), "samples": int(at.size)})
