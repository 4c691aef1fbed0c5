"""LiDAR: known spectra, an independent computation, and what few views do to it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import eigh

from repdiag.config import ScoreConfig
from repdiag.metrics import METRICS
from repdiag.metrics.lidar import Discriminant, effective_rank, slope
from repdiag.types import EmbeddingSet, MetricResult, Skipped, Views
from repdiag.workspace import Workspace

CONFIG = ScoreConfig(bootstrap=50)


def outcome(views: np.ndarray, config: ScoreConfig = CONFIG) -> MetricResult | Skipped:
    """LiDAR of `views` (q, M, D), the first one clean."""
    n = views.shape[1]
    e = EmbeddingSet(
        views[0].astype(np.float32),
        tuple(f"{i:06d}" for i in range(n)),
        views=Views(views[1:].astype(np.float32), np.arange(n), "test"),
    )
    return METRICS.get("lidar").run(Workspace(e, config)).outcome


def lidar(views: np.ndarray, config: ScoreConfig = CONFIG) -> MetricResult:
    found = outcome(views, config)
    assert isinstance(found, MetricResult), found
    return found


def noisy(seed: int = 0, n: int = 400, d: int = 12, noise: float = 0.2, q: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(n, d)) * np.linspace(1, 0.2, d)
    return images + noise * rng.normal(size=(q, n, d))


def test_known_scatter_has_the_rank_of_its_equal_directions() -> None:
    values = Discriminant(np.eye(3), delta=0.0).values(np.diag([4.0, 4.0, 0.0]))
    np.testing.assert_allclose(values, [0, 4, 4], atol=1e-12)
    assert effective_rank(values) == pytest.approx(2, rel=1e-6)
    assert np.isnan(effective_rank(np.zeros(3)))


def test_directions_that_augmentation_scrambles_do_not_count() -> None:
    """Ten equal directions of which five are scrambled: the covariance's rank sees ten, LiDAR five (rows as given)."""
    rng, given = np.random.default_rng(1), ScoreConfig(bootstrap=50, l2=False)
    images = rng.normal(size=(2000, 10))
    noise = np.r_[np.full(5, 0.05), np.full(5, 3.0)]
    assert lidar(images + noise * rng.normal(size=(3, 2000, 10)), given).value == pytest.approx(5, abs=0.1)
    assert lidar(images + 0.05 * rng.normal(size=(3, 2000, 10)), given).value == pytest.approx(10, abs=0.1)


def test_it_equals_the_formula_by_an_independent_generalized_eigensolver() -> None:
    views = noisy()
    x = (views / np.linalg.norm(views, axis=2, keepdims=True)).astype(np.float32).astype(np.float64)
    mean = x.mean(0)
    within = np.mean(
        [np.cov((v - mean).T, bias=True) + np.outer(*[(v - mean).mean(0)] * 2) for v in x], axis=0
    )
    values = eigh(np.cov(mean.T, bias=True), within + 1e-4 * np.eye(12), eigvals_only=True)
    p = values / values.sum() + 1e-8
    assert lidar(views).value == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-5)


def test_the_slope_of_the_effective_rank_is_its_numerical_derivative() -> None:
    values, h = np.array([0.0, 0.5, 2.0, 7.0]), 1e-6
    steps = h * np.eye(4)[1:]
    numerical = [(effective_rank(values + s) - effective_rank(values - s)) / (2 * h) for s in steps]
    np.testing.assert_allclose(slope(values)[1:], numerical, rtol=1e-5)


def test_few_views_inflate_the_rank_and_the_correction_undoes_most_of_it() -> None:
    """One image in four directions, noise in forty: the floor of 1/q counts as signal unless it is taken off."""
    rng = np.random.default_rng(2)
    images = np.zeros((1500, 40))
    images[:, :4] = rng.normal(size=(1500, 4))

    def of(q: int) -> MetricResult:
        return lidar(images + 0.3 * rng.normal(size=(q, 1500, 40)))

    few, many = of(3), of(24)
    assert few.value > 1.5 * many.value
    corrected = few.parameters["rank_without_view_noise"]
    assert abs(corrected - many.parameters["rank_without_view_noise"]) < 0.35 * (few.value - many.value)


def test_its_interval_is_as_wide_as_the_value_varies_between_samples_of_images() -> None:
    found = [lidar(noisy(seed=s)) for s in range(25)]
    spread = np.std([f.value for f in found], ddof=1)
    stated = np.mean([(f.interval.high - f.interval.low) / 2 / 1.96 for f in found if f.interval])
    assert 0.6 < stated / spread < 1.6


def test_views_that_never_move_and_images_that_do_not_differ() -> None:
    still = np.tile(noisy(q=1), (3, 1, 1))
    found = lidar(still)
    assert found.parameters["delta_share"] is None or found.parameters["delta_share"] > 1e3
    same = outcome(np.ones((3, 20, 6)))
    assert isinstance(same, Skipped)
    assert "one and the same" in same.reason


def test_long_rows_that_drown_the_ridge_are_a_reason_and_no_crash() -> None:
    rng, given = np.random.default_rng(3), ScoreConfig(bootstrap=50, l2=False)
    views = 1e12 * (rng.normal(size=(8, 30)) + rng.normal(size=(3, 8, 30)))  # S_w has rank 16 of 30
    found = outcome(views, given)
    assert isinstance(found, Skipped)
    assert "1e-4" in found.reason
    assert isinstance(outcome(views), MetricResult)  # of unit length all is well
