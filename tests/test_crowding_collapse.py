"""Neural collapse on simplices, on noise, and against formulas written out slowly."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import blobs
from test_crowding_separation import CONFIG, bootstrap_se, measure, outcome, points, slow_nc1, unbalanced

from repdiag.config import ScoreConfig
from repdiag.metrics import METRICS
from repdiag.types import EmbeddingSet, MetricResult, Skipped
from repdiag.workspace import Workspace


def simplex(k: int = 5, n: int = 100, spread: float = 0.0, dim: int | None = None) -> EmbeddingSet:
    """Classes at the corners of a regular simplex around the origin, in `dim` >= k features."""
    rng = np.random.default_rng(0)
    y = np.arange(n) % k
    corners = np.eye(k, dim or k) - np.pad(np.full((k, k), 1 / k), ((0, 0), (0, (dim or k) - k)))
    return points(corners[y] + spread * rng.normal(size=(n, dim or k)), y)


def test_a_simplex_without_spread_is_fully_collapsed() -> None:
    ws = Workspace(simplex(), CONFIG)
    zero = ("nc1", "nc2_equinorm", "nc2_equiangle", "nc3", "vci", "same_class_overlap", "davies_bouldin")
    for name in zero:
        assert measure(name, ws).value == pytest.approx(0, abs=2e-6), name
    assert measure("nc4", ws).value == 1
    assert measure("same_class_auc", ws).value == 1
    for name in ("calinski_harabasz", "fisher_ratio"):
        found = outcome(name, ws)
        assert isinstance(found, Skipped)
        assert "spread" in found.reason


def test_nc1_is_the_formula_with_unequal_classes_weighing_alike() -> None:
    x, y = unbalanced()
    ws = Workspace(points(x, y), CONFIG)
    found = measure("nc1", ws)
    assert found.value == pytest.approx(slow_nc1(ws.x.astype(np.float64), y), rel=1e-5)
    assert found.per_class is not None
    assert found.per_class.mean() == pytest.approx(found.value)
    assert found.parameters["rank"] == 3


def test_nc1_is_bounded_by_noise_under_random_labels() -> None:
    """Inverse Wishart: K n_c / (D - K) times (K - 1) / K, far from infinite."""
    rng = np.random.default_rng(3)
    n, d, k = 4000, 100, 4
    found = measure("nc1", points(rng.normal(size=(n, d)), np.arange(n) % k))
    assert found.value == pytest.approx((k - 1) * (n / k) / (d - k), rel=0.15)
    assert found.null is not None
    assert found.value == pytest.approx(found.null.mean, rel=0.15)


def test_nc2_of_centers_worked_out_by_hand() -> None:
    config = replace(CONFIG, l2=False)
    line = np.repeat([0.0, 3.0, 3.0], 8) + np.tile([-0.1, 0.1], 12)
    flat = points(np.c_[line, np.ones(24)], np.repeat(range(3), 8))
    found = METRICS.get("nc2_equinorm").run(Workspace(flat, config)).outcome
    assert isinstance(found, MetricResult)
    assert found.value == pytest.approx(np.std([2, 1, 1]) / np.mean([2, 1, 1]))
    angle = np.repeat(np.radians([0, 90, 180]), 8)
    circle = points(np.c_[np.cos(angle), np.sin(angle)], np.repeat(range(3), 8))
    lengths = [np.sqrt(10) / 3, 2 / 3, np.sqrt(10) / 3]  # around (0, 1/3)
    for name, expected in (("nc2_equinorm", np.std(lengths) / np.mean(lengths)), ("nc2_equiangle", 0.2225)):
        found = METRICS.get(name).run(Workspace(circle, config)).outcome
        assert isinstance(found, MetricResult)
        assert found.value == pytest.approx(expected, abs=5e-4)


def test_neural_collapse_is_skipped_where_it_says_nothing() -> None:
    rng = np.random.default_rng(4)
    y = np.arange(60)
    wide = points(rng.normal(size=(60, 80)), y % 3)
    many = points(rng.normal(size=(60, 3)), y % 6)
    pair = points(rng.normal(size=(60, 3)), y % 2)
    for name, data, said in (
        ("nc1", wide, "more samples than features"),
        ("vci", wide, "more samples than features"),
        ("nc2_equiangle", many, "a simplex of 6 classes needs 5 features"),
        ("nc2_equiangle", pair, "three classes"),
        ("nc2_equinorm", pair, "three classes"),
    ):
        found = outcome(name, data)
        assert isinstance(found, Skipped), name
        assert said in found.reason


def test_nc3_is_the_distance_of_unit_weights_and_unit_means() -> None:
    from repdiag.metrics._duality import probe_weights

    ws = Workspace(blobs(n=200, dim=9, k=4), CONFIG)
    model, _ = probe_weights(ws)
    x = (ws.x.astype(np.float64) - model.mean) / model.scale
    means = np.array([x[ws.labels == c].mean(0) for c in range(4)])
    m, w = means - means.mean(0), model.weight.T - model.weight.T.mean(0)
    expected = ((w / np.linalg.norm(w) - m / np.linalg.norm(m)) ** 2).sum()
    assert measure("nc3", ws).value == pytest.approx(expected, rel=1e-5)


def test_a_strong_penalty_makes_even_noise_self_dual_as_the_docstring_warns() -> None:
    rng = np.random.default_rng(5)
    noise = points(rng.normal(size=(300, 20)) @ np.diag(np.linspace(0.2, 3, 20)), np.arange(300) % 3)
    strong, weak = (
        METRICS.get("nc3")
        .run(Workspace(noise, ScoreConfig(bootstrap=50, permutations=2, probe_l2=(l2,))))
        .outcome
        for l2 in (100.0, 1e-4)
    )
    assert isinstance(strong, MetricResult)
    assert isinstance(weak, MetricResult)
    assert strong.value < 0.01 < weak.value


def test_nc4_is_the_agreement_of_two_rules_out_of_fold() -> None:
    from repdiag.metrics._centers import nearest_centers

    for split in (False, True):
        ws = Workspace(blobs(n=240, dim=10, k=4, split=split), CONFIG)
        expected = np.empty(len(ws), np.int64)
        for fold in ws.folds:
            x, y = ws.reference_space[fold.train].astype(float), ws.reference_labels[fold.train]
            mu = np.array([x[y == c].mean(0) for c in range(4)])
            far = np.linalg.norm(ws.space[fold.test][:, None] - mu[None], axis=2)
            expected[fold.test] = far.argmin(1)
        np.testing.assert_array_equal(nearest_centers(ws), expected)
        assert measure("nc4", ws).value == pytest.approx((ws.probe.prediction == expected).mean())


def test_the_interval_of_nc3_is_as_wide_as_the_bootstraps_with_the_probe_held() -> None:
    from repdiag.metrics._duality import duality, probe_weights

    x, y = unbalanced(n=500)
    ws = Workspace(points(x, y), CONFIG)
    model, _ = probe_weights(ws)

    def held(take: np.ndarray) -> float:
        found = duality(model, ws.x[take], y[take], 4)
        assert found is not None
        return found.value

    found = measure("nc3", ws).interval
    assert found is not None
    assert (found.high - found.low) / 2 == pytest.approx(1.96 * bootstrap_se(held, y), rel=0.3)
