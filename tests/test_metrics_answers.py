"""Metrics on data whose answer is known, and against formulas written out slowly in float64."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
from conftest import blobs
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import adjusted_rand_score, silhouette_samples

from repdiag import risk, scores
from repdiag.config import ScoreConfig
from repdiag.metrics import METRICS
from repdiag.metrics.features import nested_features
from repdiag.metrics.probes import knn_votes
from repdiag.types import EmbeddingSet, MetricResult, Views
from repdiag.workspace import Workspace

CONFIG = ScoreConfig(bootstrap=100, permutations=20, null_draws=3)


def measure(name: str, data: EmbeddingSet | Workspace, config: ScoreConfig = CONFIG) -> MetricResult:
    ws = data if isinstance(data, Workspace) else Workspace(data, config)
    outcome = METRICS.get(name).run(ws).outcome
    assert isinstance(outcome, MetricResult), outcome
    return outcome


def points(x: np.ndarray, y: np.ndarray) -> EmbeddingSet:
    names = tuple(str(c) for c in range(int(y.max()) + 1))
    ids = tuple(f"{i:06d}" for i in range(len(y)))
    return EmbeddingSet(np.asarray(x, np.float32), ids, np.asarray(y, np.int64), names)


@pytest.fixture(scope="module")
def simplex() -> EmbeddingSet:
    """Three classes without any spread, at the corners of a simplex."""
    y = np.arange(60) % 3
    return points(np.eye(3)[y], y)


def test_collapsed_classes_on_a_simplex(simplex: EmbeddingSet) -> None:
    ws = Workspace(simplex, CONFIG)
    assert measure("intra_class_variance", ws).value == pytest.approx(0, abs=1e-12)
    assert measure("inter_class_distance", ws).value == pytest.approx(np.sqrt(2))
    assert measure("r2_separation", ws).value == pytest.approx(1)
    assert measure("cdnv", ws).value == pytest.approx(0, abs=1e-12)
    assert measure("directional_cdnv", ws).value == pytest.approx(0, abs=1e-9)
    assert measure("nearest_center_error", ws).value == 0
    assert measure("knn_purity", ws).value == 1
    assert measure("linear_probe_accuracy", ws).value == 1
    assert measure("knn_accuracy", ws).value == 1
    assert measure("silhouette_labels_mean", ws).value == pytest.approx(1)
    assert measure("rankme", ws).value == pytest.approx(3, rel=1e-5)
    assert measure("participation_ratio", ws).value == pytest.approx(2)


def test_labels_without_meaning_score_as_their_null() -> None:
    rng = np.random.default_rng(0)
    x, y = np.abs(rng.normal(size=(400, 30))), np.arange(400) % 4
    ws = Workspace(points(x, y), CONFIG)
    for name in ("linear_probe_accuracy", "knn_accuracy", "knn_purity", "nearest_center_error", "label_ari"):
        found = measure(name, ws)
        assert found.null is not None
        assert abs(found.value - found.null.mean) < 5 * max(found.null.std, 0.02), name
    assert measure("cdnv", ws).value == pytest.approx(100 / 2, rel=0.35)  # random labels: about n_c / 2


def _unit(x: np.ndarray) -> np.ndarray:
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def cloud() -> EmbeddingSet:
    return blobs(n=120, dim=10, k=3, views=False)


def test_r2_is_kornbliths_ratio_of_cosine_distances(cloud: EmbeddingSet) -> None:
    u, y = _unit(cloud.features.astype(float)), cloud.labels
    assert y is not None
    far = 1 - u @ u.T
    blocks = [[far[np.ix_(y == a, y == b)].mean() for b in range(3)] for a in range(3)]
    expected = 1 - np.mean(np.diag(blocks)) / np.mean(blocks)
    assert measure("r2_separation", cloud).value == pytest.approx(expected, rel=1e-6)


def test_cdnv_is_the_formula_over_all_pairs(cloud: EmbeddingSet) -> None:
    u, y = _unit(cloud.features.astype(float)), cloud.labels
    assert y is not None
    mu = [u[y == c].mean(0) for c in range(3)]
    var = [((u[y == c] - mu[c]) ** 2).sum(1).mean() for c in range(3)]
    pairs = [
        (var[i] + var[j]) / (2 * ((mu[i] - mu[j]) ** 2).sum()) for i in range(3) for j in range(3) if i != j
    ]
    assert measure("cdnv", cloud).value == pytest.approx(np.mean(pairs), rel=1e-6)
    assert measure("intra_class_variance", cloud).value == pytest.approx(np.mean(var), rel=1e-6)


def test_directional_cdnv_is_not_biased_low_like_the_plug_in_form() -> None:
    """Two classes whose means differ by noise only: the plug-in hides variance, cross-fitting does not."""
    rng = np.random.default_rng(1)
    y = np.arange(200) % 2
    x = rng.normal(size=(200, 200)) + np.where(y == 0, 1.0, -1.0)[:, None] * np.eye(200)[0] * 4
    u = _unit(x)
    mu = [u[y == c].mean(0) for c in range(2)]
    gap = mu[0] - mu[1]
    axis = gap / np.linalg.norm(gap)
    plug_in = sum(np.var(u[y == c] @ axis) for c in range(2)) / (gap @ gap)
    assert measure("directional_cdnv", points(x, y)).value > plug_in


def test_purity_and_knn_vote_equal_brute_force() -> None:
    cloud = blobs(n=300, dim=10, k=6, spread=2.0, views=False)  # classes overlap: weights decide votes
    u, y = _unit(cloud.features.astype(float)), cloud.labels
    assert y is not None
    cosine = u @ u.T
    np.fill_diagonal(cosine, -np.inf)
    order = np.argsort(-cosine, axis=1)
    assert measure("knn_purity", cloud).value == pytest.approx(
        np.mean(y[order[:, :10]] == y[:, None]), abs=1e-3
    )
    votes = np.zeros((len(y), 6))
    for i, row in enumerate(order[:, :20]):
        for j in row:
            votes[i, y[j]] += np.exp(cosine[i, j] / 0.07)
    found = knn_votes(Workspace(cloud, CONFIG))
    assert np.mean(found == votes.argmax(1)) > 0.99
    assert measure("knn_accuracy", cloud).value == pytest.approx(np.mean(found == y))
    flat = knn_votes(Workspace(cloud, replace(CONFIG, knn_temperature=10.0)))
    assert np.mean(flat == votes.argmax(1)) < 0.99, "this data would not show a wrong temperature"


def test_nearest_center_error_is_out_of_fold() -> None:
    """One sample per class and fold structure: in-sample the error would be 0, honestly it is not."""
    rng = np.random.default_rng(2)
    y = np.arange(40) % 20
    found = measure("nearest_center_error", points(rng.normal(size=(40, 500)), y))
    assert found.value > 0.8


def test_probe_agrees_with_scikit_learn_fold_by_fold() -> None:
    ws = Workspace(blobs(n=300), CONFIG)
    predicted = np.empty(300, int)
    for fold in ws.folds:
        x, y = ws.x[fold.train], ws.labels[fold.train]
        mean, std = x.mean(0), x.std(0)
        model = LogisticRegression(C=1 / (ws.probe.l2 * len(x)), max_iter=5000, tol=1e-8)
        model.fit((x - mean) / std, y)
        predicted[fold.test] = model.predict((ws.x[fold.test] - mean) / std)
    assert np.mean(predicted == ws.probe.prediction) > 0.98


def test_every_row_is_tested_once_and_never_trained_on_there() -> None:
    ws = Workspace(blobs(n=103), CONFIG)
    tested = np.concatenate([f.test for f in ws.folds])
    assert sorted(tested) == list(range(103))
    for fold in ws.folds:
        assert not set(fold.train) & set(fold.test)
        assert np.bincount(ws.labels[fold.test], minlength=4).min() >= 3


def test_with_a_split_only_the_test_part_is_reported() -> None:
    data = blobs(n=200, split=True)
    ws = Workspace(data, CONFIG)
    assert data.is_train is not None
    assert set(ws.ids) == {i for i, t in zip(data.ids, data.is_train, strict=True) if not t}
    assert len(ws.reference) == data.is_train.sum()


def test_silhouette_is_scikit_learns(cloud: EmbeddingSet) -> None:
    u = _unit(cloud.features.astype(float))
    expected = silhouette_samples(u, cloud.labels)
    assert measure("silhouette_labels_mean", cloud).value == pytest.approx(expected.mean(), abs=1e-5)
    assert measure("silhouette_labels_std", cloud).value == pytest.approx(expected.std(), abs=1e-5)


def test_separated_clusters_are_stable_and_noise_is_not() -> None:
    y = np.arange(300) % 3
    rng = np.random.default_rng(3)
    tight = points(np.eye(3, 12)[y] * 10 + rng.normal(scale=0.1, size=(300, 12)), y)
    ws = Workspace(tight, ScoreConfig(kmeans_seeds=8, clusters=3))
    noise = Workspace(points(rng.normal(size=(300, 12)), y), ScoreConfig(kmeans_seeds=8, clusters=3))
    assert measure("seed_ari", ws).value > measure("seed_ari", noise).value + 0.2
    structured = measure("subsample_ari", ws)
    assert structured.null is not None
    assert structured.value > structured.null.mean


def test_label_ari_is_the_mean_over_seeds(cloud: EmbeddingSet) -> None:
    ws = Workspace(cloud, CONFIG)
    expected = np.mean([adjusted_rand_score(cloud.labels, c.labels) for c in ws.clusterings])
    assert measure("label_ari", ws).value == pytest.approx(expected)


def test_augmentations_that_change_nothing_flip_nothing() -> None:
    data = blobs()
    same = Views(np.stack([data.features] * 2), np.arange(len(data)), "identity")
    ws = Workspace(replace(data, views=same), CONFIG)
    found = measure("augmentation_ari", ws)
    assert found.value == 1
    assert found.table[0]["flip_rate"] == 0
    assert measure("alignment", ws).value == pytest.approx(0, abs=1e-10)


def test_alignment_of_opposite_views_is_four() -> None:
    data = blobs()
    opposite = Views(-data.features[None], np.arange(len(data)), "negated")
    assert measure("alignment", replace(data, views=opposite)).value == pytest.approx(4, rel=1e-5)


def test_views_are_matched_to_their_samples_whatever_their_order() -> None:
    data = blobs()
    rows = np.random.default_rng(4).permutation(len(data))[:100]
    some = Views(data.features[None, rows], rows, "identity, shuffled")
    found = measure("alignment", replace(data, views=some))
    assert found.value == pytest.approx(0, abs=1e-10)
    assert found.parameters["samples"] == 100


def test_uniformity_is_the_formula_over_all_pairs(cloud: EmbeddingSet) -> None:
    u = _unit(cloud.features.astype(float))
    squared = cdist(u, u, "sqeuclidean")[np.triu_indices(len(u), 1)]
    assert measure("uniformity", cloud).value == pytest.approx(
        np.log(np.mean(np.exp(-2 * squared))), rel=1e-5
    )
    alike = points(np.ones((50, 4)), np.arange(50) % 2)
    assert measure("uniformity", alike).value == pytest.approx(0, abs=1e-5)


def test_rankme_is_the_formula_by_svd(cloud: EmbeddingSet) -> None:
    singular = np.linalg.svd(_unit(cloud.features.astype(float)), compute_uv=False)
    p = singular / singular.sum() + 1e-7
    assert measure("rankme", cloud).value == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-6)


def test_alpha_of_a_power_law_is_its_exponent() -> None:
    rng = np.random.default_rng(5)
    basis = np.linalg.qr(rng.normal(size=(4000, 64)))[0]
    x = basis * np.arange(1, 65) ** (-1.5 / 2) * 100
    constant = np.full(
        (4000, 1), 1000.0
    )  # makes the rows' lengths equal, so that scaling to unit keeps the law
    found = measure("alpha_req", points(np.hstack([x, constant]), np.arange(4000) % 2))
    assert found.value == pytest.approx(1.5, abs=0.05)
    assert found.parameters["r2"] > 0.99


# ------------------------------------------------------------------------------------------ Q-Score


def _slow_q(x: np.ndarray, reference: np.ndarray, eps: float = 4.0) -> tuple[np.ndarray, np.ndarray]:
    """Q-Score and S by loops over samples and features, float64."""
    u, r = _unit(x.astype(float)), _unit(reference.astype(float))
    frequency = np.zeros(x.shape[1])
    for h in r:
        frequency += h > h.mean() + eps * h.std()
    frequency *= 100 / len(r)
    low, high = np.percentile(frequency, [50, 95])
    selected = (frequency >= low) & (frequency <= high) & (frequency > 0)
    q = np.full(len(u), np.nan)
    for i, h in enumerate(u):
        active = [j for j in range(len(h)) if h[j] > h.mean() + eps * h.std() and selected[j]]
        if active:
            q[i] = np.mean([h[j] - h.mean() for j in active])
    return q, selected


@pytest.mark.parametrize("split", [False, True])
def test_q_score_equals_the_papers_equation_written_out(split: bool) -> None:
    data = blobs(n=200, dim=60, split=split)
    ws = Workspace(data, ScoreConfig(eps=3.0))
    is_train = np.zeros(200, bool) if data.is_train is None else data.is_train
    evaluated, reference = data.features[~is_train], data.features[is_train] if split else data.features
    q, selected = _slow_q(evaluated, reference, eps=3.0)
    assert np.isfinite(q).any()
    assert np.isnan(q).any()
    np.testing.assert_array_equal(ws.activation.selected, selected)
    found = next(s for s in scores.SCORES if s.name == "q_score").values(ws)
    np.testing.assert_allclose(found, q, rtol=1e-5, equal_nan=True)
    assert measure("qscore_empty_rate", ws).value == pytest.approx(np.isnan(q).mean())
    assert measure("qscore_mean", ws).value == pytest.approx(np.nanmean(q), rel=1e-6)


@given(st.integers(0, 10_000), st.floats(0.01, 100), st.floats(0, 5), st.floats(1.5, 5))
@settings(max_examples=40, deadline=None)
def test_invariants_of_the_activation_set(seed: int, scale: float, shift: float, eps: float) -> None:
    rng = np.random.default_rng(seed)
    h = rng.gamma(0.2, 1, size=(20, 64)).astype(np.float32)
    ws = Workspace(blobs(), ScoreConfig(eps=eps))
    fires = ws.fires(h)
    np.testing.assert_array_equal(ws.fires((h * np.float32(2.0)) + np.float32(0)), fires)  # exact in floats
    moved = ws.fires((h * scale + shift).astype(np.float32))
    assert np.mean(moved == fires) > 0.995  # only rounding on the border may differ
    assert fires.sum(1).max() <= 64 / (1 + eps**2)  # Cantelli


def test_q_exceeds_eps_sigma_wherever_it_is_defined() -> None:
    ws = Workspace(blobs(dim=60), ScoreConfig(eps=3.0))
    q = next(s for s in scores.SCORES if s.name == "q_score").values(ws)
    known = np.isfinite(q)
    assert known.any()
    assert (q[known] > 3.0 * ws.x.std(1)[known]).all()


def test_with_seventeen_features_or_fewer_nothing_can_fire_at_four_sigma() -> None:
    one_hot = points(np.eye(17)[np.arange(68) % 17], np.arange(68) % 2)
    assert not Workspace(one_hot, CONFIG).fires(Workspace(one_hot, CONFIG).x).any()
    skipped = METRICS.get("activation_frequency").run(Workspace(one_hot, CONFIG)).outcome
    assert "17 features" in getattr(skipped, "reason", "")
    wider = points(np.eye(18)[np.arange(72) % 18], np.arange(72) % 2)
    assert Workspace(wider, CONFIG).fires(Workspace(wider, CONFIG).x).sum() == 72


def test_nested_features_are_nested_and_pass_through_s() -> None:
    ws = Workspace(blobs(dim=200, n=400), ScoreConfig(eps=3.0))
    sets = [set(nested_features(ws, kept)) for kept in (1.0, 0.8, 0.6, 0.45, 0.4, 0.2)]
    assert [len(s) for s in sets] == [200, 160, 120, 90, 80, 40]
    assert all(inner <= outer for outer, inner in itertools.pairwise(sets))
    order = ws.activation.frequency[sorted(sets[3])]
    assert order.min() >= np.sort(ws.activation.frequency)[100]


def test_compression_prefers_the_features_that_carry_the_classes() -> None:
    """Class features fire at middling frequency; the rest is dead or on for everybody."""
    rng = np.random.default_rng(6)
    y = np.arange(600) % 30
    x = rng.random((600, 120)) * 0.1
    x[np.arange(600), 40 + y] += 3.0  # one feature per class: about 3 % of samples each
    x[:, 110] += 5.0 * (rng.random(600) < 0.9)  # generic
    found = measure("compression", points(x, y), ScoreConfig(eps=3.0, bootstrap=100))
    row = next(r for r in found.table if r["kept"] == 0.4)
    assert float(row["gain_low"] or 0) > 0
    assert row["features"] == 48


# ------------------------------------------------------------------------------------------ risk


def _risky(noise: float, seed: int = 7, n: int = 900) -> EmbeddingSet:
    """Samples far from every center get random labels: density tells the errors when noise is 0."""
    rng = np.random.default_rng(seed)
    y = rng.integers(3, size=n)
    stray = rng.random(n) < 0.3
    center = np.eye(3, 16)[y] * 4
    x = np.abs(center + rng.normal(scale=0.1, size=(n, 16)))
    x[stray] = np.abs(rng.normal(size=(int(stray.sum()), 16)))
    labels = np.where(stray, rng.integers(3, size=n), y)
    scrambled = np.where(rng.random(n) < noise, rng.integers(3, size=n), labels)
    return points(x, scrambled)


def test_risk_finds_the_errors_where_a_score_knows_them_and_is_calibrated() -> None:
    ws = Workspace(_risky(0.0), CONFIG)
    found = risk.assess(ws)
    assert found.validated
    assert found.auroc is not None
    assert found.auroc > 0.85
    assert found.interval is not None
    assert found.interval[0] > 0.5
    assert sum(found.choices.values()) == 5
    assert ((found.values >= 0) & (found.values <= 1)).all()
    assert found.values.mean() == pytest.approx((~ws.probe.correct).mean(), abs=0.03)


def test_risk_says_so_when_no_score_predicts_errors() -> None:
    """Errors dealt out blindly: over ten draws the honest interval reaches down to chance nearly always."""
    reached = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        y = np.arange(300) % 3
        x = np.abs(np.eye(3, 16)[y] * 4 + rng.normal(scale=0.1, size=(300, 16)))
        found = risk.assess(Workspace(points(x, np.where(rng.random(300) < 0.2, (y + 1) % 3, y)), CONFIG))
        assert found.interval is not None
        if found.interval[0] <= 0.5:
            reached += 1
            assert "do not rely on it" in found.explanation
    assert reached >= 8


def test_without_labels_the_risk_is_a_rank_and_says_that_it_is_unvalidated() -> None:
    found = risk.assess(Workspace(blobs(labels=False), CONFIG))
    assert not found.validated
    assert found.auroc is None
    assert "no labels" in found.explanation
    assert "not a probability" in found.explanation
    np.testing.assert_allclose(np.sort(found.values), (np.arange(240) + 0.5) / 240)


def test_undefined_q_ranks_lowest() -> None:
    ranked = scores.as_rank(np.array([0.5, np.nan, 0.1]))
    assert ranked.argmin() == 1
    assert (scores.as_rank(np.full(3, np.nan)) == 0).all()


def test_a_score_that_is_undefined_everywhere_has_no_auroc() -> None:
    """One feature towers over all others in every sample: S is empty, so Q-Score is undefined, not at chance."""
    data = _risky(0.0)
    x = np.hstack(
        [data.features, np.full((len(data), 1), 100, np.float32), np.zeros((len(data), 8), np.float32)]
    )
    ws = Workspace(replace(data, features=x), CONFIG)
    assert not ws.activation.selected.any()
    listed = [r["score"] for r in measure("score_comparison", ws).table]
    assert "q_score" not in listed
    assert "active_features" not in listed
    assert "knn_density" in listed
    assert not isinstance(METRICS.get("qscore_auroc").run(ws).outcome, MetricResult)


def test_score_comparison_ranks_all_scores_and_marks_the_labeled_ceiling() -> None:
    found = measure("score_comparison", _risky(0.0), replace(CONFIG, eps=2.0))  # D = 16: nothing fires at 4
    names = [r["score"] for r in found.table]
    assert {
        "q_score",
        "qscore_v1",
        "max_z",
        "feature_norm",
        "knn_density",
        "kmeans_margin",
        "confidence",
    } <= set(names)
    aurocs = [float(r["auroc"] or 0) for r in found.table]
    assert aurocs == sorted(aurocs, reverse=True)
    assert [r["score"] for r in found.table if r["labelled"]] == ["confidence"]
    assert found.value == max(float(r["auroc"] or 0) for r in found.table if not r["labelled"])
