"""The kernels against scikit-learn and against plain float64 formulas written out here."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.neighbors import NearestNeighbors

from repdiag.kernels import classes, kmeans, logistic, neighbors, ranking, resample, rows, spectrum


def test_unit_rows_have_length_one_and_zero_rows_stay_zero() -> None:
    x = np.array([[3.0, 4.0], [0.0, 0.0], [1e-20, 0.0]], np.float32)
    assert np.allclose(rows.unit(x), [[0.6, 0.8], [0, 0], [1, 0]])


def test_blocks_cover_every_row_once() -> None:
    covered = [i for b in rows.blocks(1000, rows.BLOCK_BYTES // 7) for i in range(b.start, b.stop)]
    assert covered == list(range(1000))


@given(st.integers(2, 60), st.integers(0, 10_000), st.booleans())
@settings(max_examples=60, deadline=None)
def test_ranking_agrees_with_scikit_learn_also_with_ties_and_weights(n: int, seed: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    score = rng.integers(4, size=n).astype(float) if ties else rng.normal(size=n)
    positive = rng.random(n) < 0.5
    positive[0], positive[-1] = True, False
    weights = rng.integers(1, 4, size=n).astype(float)
    for w in (None, weights):
        assert ranking.auroc(score, positive, w) == pytest.approx(
            roc_auc_score(positive, score, sample_weight=w)
        )
        expected = average_precision_score(positive, score, sample_weight=w)
        assert ranking.average_precision(score, positive, w) == pytest.approx(expected)


def test_ranking_is_undefined_when_one_side_is_empty() -> None:
    assert np.isnan(ranking.auroc(np.arange(3.0), np.ones(3, bool)))
    assert np.isnan(ranking.average_precision(np.arange(3.0), np.zeros(3, bool)))


def _slow_geometry(x: np.ndarray, y: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    means = np.array([x[y == c].astype(float).mean(0) for c in range(k)])
    variance = np.array([((x[y == c] - means[c]) ** 2).sum(1).mean() for c in range(k)])
    distance = np.linalg.norm(means[:, None] - means[None], axis=2)
    np.fill_diagonal(distance, np.nan)
    return variance, distance


def test_class_geometry_equals_the_formula_written_out() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(200, 7)).astype(np.float32), rng.integers(5, size=200)
    variance, distance = _slow_geometry(x, y, 5)
    found = classes.geometry(x, rows.norms(x) ** 2, y, 5)
    np.testing.assert_allclose(found.variance, variance, rtol=1e-6)
    np.testing.assert_allclose(found.distance, distance, rtol=1e-6)


def test_weights_of_a_bootstrap_draw_equal_repeated_rows() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(60, 4)).astype(np.float32), np.arange(60) % 3
    counts = resample.stratified_counts(y, 1, rng)[0]
    repeated = np.repeat(np.arange(60), counts)
    again, squares = x[repeated], rows.norms(x) ** 2
    by_weight = classes.geometry(x, squares, y, 3, counts)
    by_rows = classes.geometry(again, squares[repeated], y[repeated], 3)
    np.testing.assert_allclose(by_weight.variance, by_rows.variance, rtol=1e-6)
    np.testing.assert_allclose(by_weight.distance, by_rows.distance, rtol=1e-6)


def test_stratified_draws_keep_the_size_of_every_class() -> None:
    groups = np.array([0] * 5 + [3] * 50 + [1])
    counts = resample.stratified_counts(groups, 200, np.random.default_rng(0))
    for g in (0, 1, 3):
        assert (counts[:, groups == g].sum(1) == (groups == g).sum()).all()
    assert counts[:, groups == 3].std() > 0.5


def test_directions_from_other_rows_give_the_variance_along_them() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(90, 5)).astype(np.float32), np.arange(90) % 3
    means = rng.normal(size=(3, 5))
    each, distance = classes.directional_spread(x, y, means)
    spread = dict(each)
    for i in range(3):
        for j in range(3):
            if i == j:
                assert np.isnan(distance[i, j])
                continue
            u = (means[i] - means[j]) / np.linalg.norm(means[i] - means[j])
            expected = np.var(x[y == i].astype(float) @ u)
            assert np.var(spread[i][:, j]) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("backend", ["faiss", "torch"])
def test_neighbors_agree_with_scikit_learn(backend: str) -> None:
    rng = np.random.default_rng(3)
    base, queries = (rows.unit(rng.normal(size=(n, 8)).astype(np.float32)) for n in (300, 50))
    search = {"faiss": neighbors._faiss, "torch": lambda b, q, k: neighbors._torch(b, q, k, "cpu")}[backend]
    similarity, index = search(base, queries, 7)
    _, expected = NearestNeighbors(n_neighbors=7, algorithm="brute").fit(base).kneighbors(queries)
    np.testing.assert_array_equal(index, expected)
    np.testing.assert_allclose(similarity, np.take_along_axis(queries @ base.T, index, 1), atol=1e-6)


def test_a_row_is_never_its_own_neighbor_even_among_duplicates() -> None:
    x = np.repeat(rows.unit(np.random.default_rng(0).normal(size=(10, 4)).astype(np.float32)), 8, axis=0)
    similarity, index = neighbors.others(x, 5)
    assert index.shape == similarity.shape == (80, 5)
    assert (index != np.arange(80)[:, None]).all()
    assert np.allclose(similarity, 1, atol=1e-5)


def test_too_many_neighbors_is_a_programming_error() -> None:
    with pytest.raises(ValueError, match="k = 5"):
        neighbors.others(np.eye(4, dtype=np.float32)[:, :4], 4)


@pytest.mark.parametrize("backend", ["library", "torch"])
def test_kmeans_reaches_a_fixed_point_of_lloyd(backend: str) -> None:
    rng = np.random.default_rng(4)
    centers = np.eye(4, 6, dtype=np.float32) * 10
    x = (centers[np.arange(200) % 4] + rng.normal(scale=0.1, size=(200, 6))).astype(np.float32)
    if backend == "library":
        found = kmeans.kmeans(x, 4, seed=1, iterations=50)
    else:
        start = x[:4].copy()
        centroids = kmeans._lloyd(x, start, 50, "cpu")
        found = kmeans.Clustering(centroids, kmeans.assign(x, centroids)[0])
    for c in range(4):
        members = x[found.labels == c]
        np.testing.assert_allclose(found.centroids[c], members.mean(0), atol=1e-4)


def test_margin_is_zero_on_the_border_and_one_on_a_centroid() -> None:
    centroids = np.array([[0.0, 0.0], [2.0, 0.0]], np.float32)
    labels, margin = kmeans.assign(np.array([[0, 0], [1, 0], [1.5, 0]], np.float32), centroids)
    assert labels.tolist()[0] == 0
    assert labels.tolist()[2] == 1
    np.testing.assert_allclose(margin, [1, 0, 0.5], atol=1e-6)


def test_logistic_regression_reaches_scikit_learns_optimum() -> None:
    rng = np.random.default_rng(5)
    y = np.arange(300) % 3
    x = (rng.normal(size=(3, 6))[y] + rng.normal(size=(300, 6))).astype(np.float32)
    l2 = 1e-2
    model = logistic.fit(x, y, 3, l2, iterations=200)
    z = (x - x.mean(0)) / x.std(0)
    reference = LogisticRegression(C=1 / (l2 * len(x)), tol=1e-8, max_iter=2000).fit(z, y)
    np.testing.assert_allclose(model.probabilities(x), reference.predict_proba(z), atol=2e-3)


def test_logistic_regression_takes_constant_features_and_absent_classes() -> None:
    x = np.array([[0, 1], [0, 2], [0, -1], [0, -2]] * 5, np.float32)
    y = np.array([0, 0, 2, 2] * 5)
    model = logistic.fit(x, y, 4, 1e-3)
    assert (model.logits(x).argmax(1) == y).all()


def test_spectrum_equals_a_float64_svd() -> None:
    x = np.random.default_rng(6).normal(size=(80, 9)).astype(np.float32)
    second, first, count = spectrum.grouped_moments(x, 10)
    assert count.sum() == 80
    singular = np.linalg.svd(x.astype(float), compute_uv=False)
    np.testing.assert_allclose(np.sqrt(spectrum.eigenvalues(second.sum(0))), singular, rtol=1e-9)
    covariance = np.linalg.eigvalsh(np.cov(x.astype(float), rowvar=False, bias=True))[::-1]
    found = spectrum.eigenvalues(second.sum(0), first.sum(0), count.sum())
    np.testing.assert_allclose(found, covariance, rtol=1e-6, atol=1e-9)


def test_leaving_a_group_out_equals_computing_without_it() -> None:
    x = np.random.default_rng(7).normal(size=(50, 4)).astype(np.float32)
    moments = spectrum.grouped_moments(x, 5)
    for g, (second, first, n) in enumerate(spectrum.leave_one_out(*moments)):
        rest = x[np.arange(50) % 5 != g].astype(float)
        assert n == len(rest)
        np.testing.assert_allclose(second, rest.T @ rest, rtol=1e-9)
        np.testing.assert_allclose(first, rest.sum(0), rtol=1e-9)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    """Of 200 samples from a known law, the 95 % intervals miss the mean in 1 to 12 % (binomial 4 sigma)."""
    rng, misses = np.random.default_rng(8), 0
    for _ in range(200):
        values = rng.exponential(size=80)
        counts = resample.stratified_counts(np.zeros(80, np.int64), 200, rng)
        ends = resample.percentile_interval(resample.weighted_means(values, counts))
        assert ends is not None
        misses += not ends[0] <= 1 <= ends[1]
    assert 2 <= misses <= 24


def test_too_few_finite_replicates_give_no_interval() -> None:
    assert resample.percentile_interval(np.full(100, np.nan)) is None
    assert resample.normal_interval(0.5, np.array([0.4, 0.6])) is None


def test_jackknife_of_a_mean_is_its_standard_error() -> None:
    values = np.random.default_rng(9).normal(size=40)
    without = np.array([np.delete(values, i).mean() for i in range(40)])
    low, high = resample.jackknife_interval(values.mean(), without)
    expected = values.std(ddof=1) / np.sqrt(40)
    assert (high - low) / 2 == pytest.approx(2.0227 * expected, rel=1e-3)
