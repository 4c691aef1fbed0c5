"""Intrinsic dimension and hubness on data whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import skew
from sklearn.linear_model import LinearRegression
from sklearn.neighbors import NearestNeighbors

from repdiag.config import ScoreConfig
from repdiag.metrics import METRICS
from repdiag.metrics.intrinsic import neighbor_ratios, occurrence, skewness, two_nn
from repdiag.types import EmbeddingSet, MetricResult, Skipped
from repdiag.workspace import Workspace


def workspace(x: np.ndarray, labels: np.ndarray | None = None) -> Workspace:
    ids = tuple(f"{i:06d}" for i in range(len(x)))
    names = () if labels is None else tuple(str(c) for c in range(int(labels.max()) + 1))
    e = EmbeddingSet(np.asarray(x, np.float32), ids, labels, names)
    return Workspace(e, ScoreConfig(bootstrap=100, null_draws=2))


def outcome(name: str, ws: Workspace) -> MetricResult | Skipped:
    return METRICS.get(name).run(ws).outcome


def measure(name: str, ws: Workspace) -> MetricResult:
    found = outcome(name, ws)
    assert isinstance(found, MetricResult), found
    return found


def sheet(d: int, n: int = 2000, seed: int = 0) -> np.ndarray:
    """Even rows on a flat d-dimensional sheet in 50 dimensions, off the origin: d dimensions on the sphere too."""
    rng = np.random.default_rng(seed)
    frame = np.linalg.qr(rng.normal(size=(50, 50)))[0]
    return rng.uniform(-1, 1, size=(n, d)) @ frame[:d] + 3 * frame[-1]


@pytest.mark.parametrize(("d", "off"), [(1, 0.06), (2, 0.12), (5, 0.6)])
def test_a_sheet_in_fifty_dimensions_has_its_own_dimension(d: int, off: float) -> None:
    assert measure("twonn_dimension", workspace(sheet(d))).value == pytest.approx(d, abs=off)


def test_a_gaussian_ball_loses_its_radius_on_the_sphere() -> None:
    rng = np.random.default_rng(1)
    ball = rng.normal(size=(3000, 5)) @ np.linalg.qr(rng.normal(size=(50, 50)))[0][:5]
    assert measure("twonn_dimension", workspace(ball)).value == pytest.approx(4, abs=0.3)


def test_it_equals_the_papers_recipe_with_scikit_learn() -> None:
    x = sheet(3, n=500)
    unit = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32).astype(np.float64)
    distance = NearestNeighbors(n_neighbors=3, algorithm="brute").fit(unit).kneighbors(unit)[0]
    mu = np.sort(distance[:, 2] / distance[:, 1])[:450]
    share = np.arange(1, 451) / 500
    line = LinearRegression(fit_intercept=False).fit(np.log(mu)[:, None], -np.log(1 - share))
    assert measure("twonn_dimension", workspace(x)).value == pytest.approx(line.coef_[0], rel=1e-3)


def test_three_ratios_by_hand_and_repeated_ones() -> None:
    log2, expected = np.log(2), (np.log(1.5) * np.log(2) + np.log(3) * np.log(4)) / (5 * np.log(2) ** 2)
    ratios = log2 * np.array([1.0, 2.0, 3.0])
    assert two_nn(ratios) == pytest.approx(expected)
    assert two_nn(ratios, np.ones(3)) == pytest.approx(expected)
    assert two_nn(ratios, np.array([1.0, 0.0, 0.0])) != pytest.approx(expected)


def test_copies_count_once_and_change_nothing() -> None:
    x = sheet(2, n=400)
    single = measure("twonn_dimension", workspace(x))
    for copies in (2, 7):  # seven fill the first four neighbors with copies
        doubled = measure("twonn_dimension", workspace(np.repeat(x, copies, axis=0)))
        assert doubled.parameters["ratios"] == 400
        assert doubled.value == pytest.approx(single.value, rel=1e-6)


def test_tiny_distances_keep_their_digits() -> None:
    """Rows 1e-5 apart on the sphere: float32 cosines all say 1, differences know better."""
    rng = np.random.default_rng(3)
    clusters = np.repeat(rng.normal(size=(100, 20)), 3, axis=0)
    x = clusters + np.tile([[0.0], [1e-4], [3e-4]], (100, 1)) * rng.normal(size=(300, 20))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    unit32 = unit.astype(np.float32)
    nearest = np.argsort(((unit[:, None] - unit[None]) ** 2).sum(-1), axis=1)[:, 1:6]
    ratio, known = neighbor_ratios(unit32, nearest)
    exact = np.sort(
        np.linalg.norm(unit32[known][:, None].astype(float) - unit32[nearest[known]], axis=2), axis=1
    )
    np.testing.assert_allclose(ratio, exact[:, 1] / exact[:, 0], rtol=1e-9)


def test_the_interval_of_the_dimension_is_about_as_wide_as_it_varies() -> None:
    found = [measure("twonn_dimension", workspace(sheet(4, n=300, seed=s))) for s in range(30)]
    spread = np.std([f.value for f in found], ddof=1)
    stated = np.mean([(f.interval.high - f.interval.low) / 2 / 1.96 for f in found if f.interval])
    assert 0.65 < stated / spread < 1.6


def test_identical_and_too_few_embeddings_are_skipped_with_the_reason() -> None:
    for name in ("twonn_dimension", "hubness_skew", "hubness_robin_hood"):
        for rows in (np.ones((60, 5)), np.random.default_rng(0).normal(size=(6, 5))):
            found = outcome(name, workspace(rows))
            assert isinstance(found, Skipped), name
            assert found.reason


def test_skewness_from_moments_is_scipys_and_the_worked_example() -> None:
    counts = np.random.default_rng(0).poisson(3, size=(4, 200)).astype(float)
    raw = [(counts**p).mean(1) for p in (1, 2, 3)]
    np.testing.assert_allclose(skewness(*raw), skew(counts, axis=1), rtol=1e-9)
    worked = np.array([0.0, 0, 0, 4])
    assert skewness(*(np.array([(worked**p).mean()]) for p in (1, 2, 3)))[0] == pytest.approx(2 / np.sqrt(3))
    assert np.isnan(skewness(np.array([3.0]), np.array([9.0]), np.array([27.0])))[0]


def test_hubness_equals_brute_force() -> None:
    x = np.random.default_rng(2).normal(size=(250, 30)).astype(np.float32)
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    graph = NearestNeighbors(n_neighbors=11, algorithm="brute").fit(unit).kneighbors(unit)[1][:, 1:]
    counts = np.bincount(graph.ravel(), minlength=250)
    ws = workspace(x)
    found = measure("hubness_skew", ws)
    np.testing.assert_array_equal(found.per_sample, counts)
    assert found.value == pytest.approx(skew(counts))
    assert found.parameters["largest"] == counts.max()
    hood = measure("hubness_robin_hood", ws)
    assert hood.value == pytest.approx(np.abs(counts - 10).sum() / (2 * 250 * 10))
    assert occurrence(graph, 250).mean() == 10


def test_many_dimensions_off_the_origin_have_hubs_and_no_more_than_their_gaussian() -> None:
    rng = np.random.default_rng(4)
    few, many = (workspace(rng.normal(size=(1500, d)) + 1) for d in (3, 100))
    for name in ("hubness_skew", "hubness_robin_hood"):
        low, high = measure(name, few), measure(name, many)
        assert high.value > 2 * low.value
        assert high.null is not None
        assert high.value == pytest.approx(high.null.mean, rel=0.35)


def test_one_star_among_its_planets_is_a_hub_that_no_gaussian_has() -> None:
    """200 rows far from one another, all near to ten that lie in the middle: the ten are everybody's neighbors."""
    rng = np.random.default_rng(5)
    middle = np.eye(400)[0] + 0.01 * rng.normal(size=(10, 400))
    planets = np.eye(400)[0] + 1.5 * np.eye(400)[1:201]
    found = measure("hubness_robin_hood", workspace(np.vstack([middle, planets])))
    assert found.value > 0.9
    assert found.null is not None
    assert found.value > found.null.mean + 0.2


def test_intervals_do_not_vanish_where_every_label_is_rare() -> None:
    """Label-free measures draw without regard to labels: within pairs a bootstrap would barely move."""
    x = np.random.default_rng(6).normal(size=(120, 10))
    pairs, none = workspace(x, np.arange(120) // 2), workspace(x)
    for name in ("twonn_dimension", "hubness_skew", "hubness_robin_hood"):
        one, two = measure(name, pairs).interval, measure(name, none).interval
        assert one is not None
        assert two is not None
        assert (one.high - one.low) > 0.6 * (two.high - two.low), name
