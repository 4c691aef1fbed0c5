"""Stability of clusters, whole and one by one, on data whose answer is known."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from conftest import blobs
from sklearn.metrics import adjusted_rand_score, fowlkes_mallows_score

from repdiag.config import ScoreConfig
from repdiag.kernels import kmeans
from repdiag.metrics import METRICS, all_metrics
from repdiag.metrics import stability as stability_module
from repdiag.metrics._clusters import WORK, column_means, contingency, replicates
from repdiag.metrics.cluster_table import cluster_columns
from repdiag.metrics.cluster_validity import best_jaccard, category
from repdiag.metrics.prediction_strength import kept_together
from repdiag.types import EmbeddingSet, MetricResult, Skipped, Views
from repdiag.workspace import Workspace

CONFIG = ScoreConfig(bootstrap=100, permutations=10, null_draws=3)


def measure(name: str, data: EmbeddingSet | Workspace, config: ScoreConfig = CONFIG) -> MetricResult:
    ws = data if isinstance(data, Workspace) else Workspace(data, config)
    outcome = METRICS.get(name).run(ws).outcome
    assert isinstance(outcome, MetricResult), outcome
    return outcome


def points(x: np.ndarray, y: np.ndarray | None = None, views: np.ndarray | None = None) -> EmbeddingSet:
    ids = tuple(f"{i:06d}" for i in range(len(x)))
    y = np.zeros(len(x), np.int64) if y is None else np.asarray(y, np.int64)
    moved = None if views is None else Views(np.asarray(views, np.float32), np.arange(len(x)), "test")
    return EmbeddingSet(
        np.asarray(x, np.float32), ids, y, tuple(str(c) for c in range(int(y.max()) + 1)), views=moved
    )


def tight(n: int = 200, noise: float = 0.05, seed: int = 0) -> EmbeddingSet:
    """Two far clusters on orthogonal axes: every start of k-means with k = 2 finds them."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    return points(np.eye(2, 8)[y] * 5 + noise * rng.normal(size=(n, 8)), y)


def cloud(n: int = 300, dim: int = 16, seed: int = 1) -> EmbeddingSet:
    """No clusters at all: directions without preference."""
    return points(np.random.default_rng(seed).normal(size=(n, dim)), np.arange(n) % 4)


@pytest.fixture(scope="module")
def two() -> Workspace:
    return Workspace(tight(), CONFIG)


@pytest.fixture(scope="module")
def nothing() -> Workspace:
    return Workspace(cloud(), CONFIG)


# --------------------------------------------------------------------------------------------- arithmetic


def test_best_jaccard_by_hand() -> None:
    first = np.array([0, 0, 0, 0, 1, 1])
    again = np.array([2, 2, 2, 1, 1, 1])
    np.testing.assert_allclose(best_jaccard(first, again, 3), [3 / 4, 2 / 3, np.nan])


def test_best_jaccard_is_that_of_sets() -> None:
    rng = np.random.default_rng(0)
    a, b = rng.integers(5, size=90), rng.integers(5, size=90)
    sets = [[set(np.flatnonzero(v == c)) for c in range(5)] for v in (a, b)]
    slow = [max(len(s & t) / len(s | t) for t in sets[1]) for s in sets[0]]
    np.testing.assert_allclose(best_jaccard(a, b, 5), slow)


@pytest.mark.parametrize(
    ("jaccard", "word"),
    [
        (0.2, "dissolved"),
        (0.5, "dissolved"),
        (0.55, "doubtful"),
        (0.6, "pattern"),
        (0.7499, "pattern"),
        (0.75, "valid"),
        (0.85, "highly stable"),
        (1.0, "highly stable"),
        (float("nan"), ""),
    ],
)
def test_each_jaccard_has_hennigs_word(jaccard: float, word: str) -> None:
    assert category(jaccard) == word


def test_pairs_kept_together_by_hand_and_by_counting() -> None:
    own, there = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 1, 0])
    np.testing.assert_allclose(kept_together(own, there, 3), [1 / 3, 1, np.nan])
    rng = np.random.default_rng(1)
    own, there = rng.integers(3, size=40), rng.integers(3, size=40)
    for c in range(3):
        pairs = list(combinations(np.flatnonzero(own == c), 2))
        assert kept_together(own, there, 3)[c] == pytest.approx(
            np.mean([there[i] == there[j] for i, j in pairs])
        )


def test_contingency_counts_and_columns_without_a_value_stay_undefined() -> None:
    np.testing.assert_array_equal(
        contingency(np.array([0, 1, 1]), np.array([2, 0, 0]), 2, 3), [[0, 0, 1], [2, 0, 0]]
    )
    np.testing.assert_array_equal(column_means(np.array([[1, np.nan], [3, np.nan]])), [2, np.nan])


def test_long_clusterings_are_repeated_less_often_but_never_below_the_least() -> None:
    assert replicates(1000, 10, 10, most=10) == 10
    assert replicates(int(WORK), 2, 1, most=10) == 5
    assert replicates(int(WORK), 1000, 1, most=10, least=3) == 3


# --------------------------------------------------------------------------------------------- known answers


@pytest.mark.parametrize(
    "name",
    ["seed_ari", "subsample_ari", "subsample_fowlkes_mallows", "cluster_jaccard", "prediction_strength"],
)
def test_far_clusters_are_perfectly_stable_and_a_cloud_is_as_its_null(
    name: str, two: Workspace, nothing: Workspace
) -> None:
    found = measure(name, two)
    assert found.value == pytest.approx(1)
    assert found.null is not None
    noise = measure(name, nothing)
    assert noise.null is not None
    assert noise.value < 0.7
    assert abs(noise.value - noise.null.mean) < 0.2


def test_the_weakest_cluster_is_no_better_than_the_mean(two: Workspace, nothing: Workspace) -> None:
    assert measure("prediction_strength_min", two).value == pytest.approx(1)
    assert measure("prediction_strength_min", nothing).value < measure("prediction_strength", nothing).value


def test_seed_ari_stands_beside_both_nulls() -> None:
    """An elongated cloud is split along its long axis again and again: only the matched null knows."""
    rng = np.random.default_rng(2)
    x = rng.normal(size=(400, 12)) * np.array([6, 1] + [0.2] * 10) + 20
    found = measure("seed_ari", points(x), ScoreConfig(clusters=2, null_draws=3, l2=False))
    matched, isotropic = found.table
    assert found.null is not None
    assert matched["mean"] == found.null.mean
    assert isotropic["null"] == stability_module.ISOTROPIC
    assert found.value == pytest.approx(matched["mean"], abs=0.1)
    assert found.value > float(isotropic["mean"]) + 0.3
    assert isotropic["z"] == pytest.approx((found.value - float(isotropic["mean"])) / float(isotropic["std"]))


def test_null_rows_drawn_again_are_the_same_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = Workspace(cloud(), CONFIG)
    stability_module.structureless(kept)
    monkeypatch.setattr(stability_module, "KEEP", 0)
    again = Workspace(cloud(), CONFIG)
    for one, other in zip(
        stability_module.structureless(kept), stability_module.structureless(again), strict=True
    ):
        assert one.kept is not None
        assert other.kept is None
        np.testing.assert_array_equal(one.rows(kept), other.rows(again))
    assert measure("subsample_ari", kept).null == measure("subsample_ari", again).null


def test_subsamples_agree_by_scikit_learns_measures(nothing: Workspace) -> None:
    found, _ = stability_module._pairs(nothing)
    assert measure("subsample_ari", nothing).value == pytest.approx(
        np.mean([adjusted_rand_score(a, b) for a, b in found])
    )
    slow = [fowlkes_mallows_score(a, b) for a, b in found]
    assert measure("subsample_fowlkes_mallows", nothing).value == pytest.approx(np.mean(slow))


def test_a_cluster_that_is_torn_apart_is_told_from_one_that_holds() -> None:
    """One tight group and one wide cloud that k-means cuts at random: only the first is highly stable."""
    rng = np.random.default_rng(3)
    x = np.concatenate([np.eye(1, 20) * 40 + 0.1 * rng.normal(size=(150, 20)), rng.normal(size=(150, 20))])
    x[150:, 0] = 0
    ws = Workspace(points(x, np.repeat([0, 1], 150)), ScoreConfig(clusters=5, bootstrap=50, null_draws=2))
    columns = cluster_columns(ws)
    members = np.bincount(ws.clusterings[0].labels[:150], minlength=5)
    group = int(members.argmax())
    if members[group] == 150:  # no two starts fell into the group
        assert columns["category"][group] in ("highly stable", "valid")
    others = np.delete(columns["jaccard"], group)
    assert columns["jaccard"][group] > others.max()
    assert measure("cluster_jaccard", ws).parameters["dissolved"] >= 3


# --------------------------------------------------------------------------------------------- views


def test_flip_rate_counts_the_views_that_leave() -> None:
    base = tight(40)
    x = base.features
    away = x.copy()
    away[:10] = x[1::2][:10] * (np.arange(10)[:, None] % 2 == 0) + x[:10] * (np.arange(10)[:, None] % 2 == 1)
    ws = Workspace(replace(base, views=Views(np.stack([x, away]), np.arange(40), "test")), CONFIG)
    found = measure("flip_rate", ws)  # rows 0, 2, 4, 6, 8 are of cluster A and one view of each moved to B
    assert found.value == pytest.approx(5 / 80)
    assert found.per_sample is not None
    np.testing.assert_array_equal(np.flatnonzero(found.per_sample), [0, 2, 4, 6, 8])
    assert sum(int(r["samples"] or 0) for r in found.table) == 40
    assert sum(float(r["flip_rate"] or 0) * int(r["samples"] or 0) for r in found.table) == pytest.approx(2.5)


def test_views_flip_near_the_border() -> None:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(600, 6))
    found = measure("flip_rate", points(x, np.arange(600) % 3, views=x + 0.3 * rng.normal(size=(4, 600, 6))))
    rates = [float(r["flip_rate"] or 0) for r in found.table]
    assert len(rates) == 10
    assert rates[0] > 0.3 > 0.05 > rates[-1]
    still = measure("flip_rate", points(x, np.arange(600) % 3, views=np.stack([x, x])))
    assert still.value == 0


# --------------------------------------------------------------------------------------------- the table


def test_the_table_of_clusters_says_what_is_known_of_each() -> None:
    ws = Workspace(blobs(), CONFIG)
    columns = cluster_columns(ws)
    assert set(columns) == {
        "cluster", "n", "jaccard", "category", "prediction_strength", "silhouette", "flip_rate",
        "majority_class", "purity",
    }  # fmt: skip
    labels = ws.clusterings[0].labels
    for c in range(ws.n_clusters):
        inside = ws.labels[labels == c]
        counts = np.bincount(inside, minlength=ws.k)
        assert columns["n"][c] == inside.size
        assert columns["purity"][c] == pytest.approx(counts.max() / inside.size)
        assert columns["majority_class"][c] == ws.class_names[counts.argmax()]
    flip, jaccard = measure("flip_rate", ws), measure("cluster_jaccard", ws)
    assert np.average(columns["flip_rate"], weights=columns["n"]) == pytest.approx(flip.value)
    assert columns["jaccard"].mean() == pytest.approx(jaccard.value)
    assert [r["category"] for r in jaccard.table] == list(columns["category"])
    silhouette = measure("silhouette_mean", ws)
    assert np.average(columns["silhouette"], weights=columns["n"]) == pytest.approx(silhouette.value)


def test_the_table_of_clusters_leaves_out_what_is_not_known_and_is_empty_without_clusters() -> None:
    few = cluster_columns(Workspace(blobs(views=False, labels=False), CONFIG))
    assert not {"flip_rate", "majority_class", "purity"} & set(few)
    assert len(few["cluster"]) == 10
    assert (
        cluster_columns(Workspace(replace(blobs(), features=np.zeros((240, 24), np.float32)), CONFIG)) == {}
    )
    assert cluster_columns(Workspace(blobs(n=12, k=4), replace(CONFIG, clusters=10))) == {}
    small = cluster_columns(Workspace(blobs(n=12, k=4), CONFIG))
    assert np.isnan(small["prediction_strength"]).all()


def test_rows_all_alike_are_skipped_with_the_reason() -> None:
    ws = Workspace(replace(blobs(), features=np.ones((240, 24), np.float32)), CONFIG)
    for name in ("cluster_jaccard", "prediction_strength", "prediction_strength_min", "flip_rate"):
        outcome = METRICS.get(name).run(ws).outcome
        assert isinstance(outcome, Skipped)
        assert "single cluster" in outcome.reason


# --------------------------------------------------------------------------------------------- other k


def test_the_sweep_has_the_three_numbers_of_clusters_and_takes_the_largest_excess() -> None:
    found = measure("cluster_count_sweep", Workspace(blobs(n=400, spread=0.2), CONFIG))
    assert [r["k"] for r in found.table] == [2, 4, 8]
    excess = [float(r["seed_ari"] or 0) - float(r["null_mean"] or 0) for r in found.table]
    assert found.value == pytest.approx(max(excess))
    assert found.null is not None
    assert found.null.mean >= -1e-12  # a maximum over k of what is 0 on average at each
    assert {"label_ari", "prediction_strength", "prediction_strength_min", "z"} <= set(found.table[0])
    y = np.arange(300) % 6
    apart = points(np.eye(6, 12)[y] * 5 + 0.1 * np.random.default_rng(7).normal(size=(300, 12)), y)
    assert measure("cluster_count_sweep", cloud()).value < 0.15 < measure("cluster_count_sweep", apart).value


def test_two_clusters_are_no_steadier_than_their_matched_gaussian() -> None:
    """A limit, and why the isotropic null stands beside: between two clusters lies one long axis."""
    found = measure("seed_ari", tight())
    assert found.null is not None
    assert found.value == pytest.approx(1)
    assert found.null.mean > 0.95
    assert float(found.table[1]["mean"] or 0) < 0.7


def test_the_sweep_names_the_numbers_of_clusters_that_it_left_out() -> None:
    found = measure("cluster_count_sweep", blobs(n=60))
    assert [r["k"] for r in found.table] == [2, 4]
    assert found.note is not None
    assert "k = 8 is left out" in found.note


def test_at_half_the_true_number_good_clusters_are_joined_at_random() -> None:
    """Why the sweep does not take the least: structure itself is unsteady at too small a k."""
    rng = np.random.default_rng(5)
    y = np.arange(400) % 8
    x = np.eye(8, 12)[y] * 5 + 0.1 * rng.normal(size=(400, 12))
    table = measure("cluster_count_sweep", points(x, y)).table
    half = next(r for r in table if r["k"] == 4)
    assert float(half["seed_ari"] or 0) < 0.8
    assert float(half["label_ari"] or 0) < 0.7


# --------------------------------------------------------------------------------------------- k-means


def test_torchs_lloyd_is_a_slow_float64_lloyd() -> None:
    rng = np.random.default_rng(6)
    x = rng.normal(size=(300, 7)).astype(np.float32)
    start = x[:5].copy()
    centers = start.astype(np.float64)
    for _ in range(12):
        nearest = ((x[:, None].astype(np.float64) - centers) ** 2).sum(2).argmin(1)
        centers = np.stack([x[nearest == c].mean(0, dtype=np.float64) for c in range(5)])
    np.testing.assert_allclose(kmeans._lloyd(x, start, 12, "cpu"), centers, atol=1e-5)


def test_torchs_lloyd_is_the_same_in_tiles_stops_at_a_fixed_point_and_keeps_empty_clusters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(7)
    x = rng.normal(size=(300, 7)).astype(np.float32)
    start = np.concatenate([x[:4], np.full((1, 7), 1e3, np.float32)])
    whole = kmeans._lloyd(x, start, 200, "cpu")
    np.testing.assert_array_equal(whole[4], start[4])
    np.testing.assert_array_equal(kmeans._lloyd(x, start, 10**9, "cpu"), whole)  # would never end otherwise
    monkeypatch.setattr(kmeans, "TILE", 500)
    np.testing.assert_allclose(kmeans._lloyd(x, start, 200, "cpu"), whole, atol=1e-6)


def test_every_metric_of_the_family_names_its_null_or_interval() -> None:
    ws = Workspace(blobs(hierarchy=True, companions=True), CONFIG)
    for metric in all_metrics():
        if metric.spec.family == "stability":
            found = metric.run(ws).outcome
            assert isinstance(found, MetricResult), found
            assert found.null is not None, metric.spec.name
            assert found.interval is not None, metric.spec.name
