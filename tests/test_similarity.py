"""ICCL's panel on frozen features: hand-computed answers, an independent computation, what each number misses."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from conftest import blobs
from scipy.special import log_softmax, rel_entr
from scipy.stats import entropy as scipy_entropy

from repdiag.config import ScoreConfig
from repdiag.metrics import METRICS
from repdiag.metrics.similarity import structureless_confidence
from repdiag.types import EmbeddingSet, MetricResult, Skipped, Views
from repdiag.workspace import Workspace

CONFIG = ScoreConfig(bootstrap=50, permutations=5, null_draws=3)


def measured(name: str, embeddings: EmbeddingSet) -> MetricResult:
    outcome = METRICS.get(name).run(Workspace(embeddings, CONFIG)).outcome
    assert isinstance(outcome, MetricResult), outcome
    return outcome


def given(x: np.ndarray, views: np.ndarray | None = None, labels: np.ndarray | None = None) -> EmbeddingSet:
    n = len(x)
    return EmbeddingSet(
        features=x.astype(np.float32),
        ids=tuple(f"{i:05d}" for i in range(n)),
        labels=labels,
        class_names=() if labels is None else tuple(str(c) for c in range(labels.max() + 1)),
        views=None if views is None else Views(views.astype(np.float32), np.arange(n), "given"),
    )


def one_hot(n: int, d: int) -> np.ndarray:
    return np.eye(d)[np.arange(n) % d]


def two_point_entropy() -> float:
    """Entropy of softmax((1, 0) / 0.1)."""
    p = 1 / (1 + math.exp(-10))
    return -p * math.log(p) - (1 - p) * math.log(1 - p)


def test_sharp_assignments_that_use_both_coordinates_carry_one_bit() -> None:
    e = given(one_hot(40, 2))
    h = two_point_entropy()
    assert measured("assignment_information", e).value == pytest.approx(math.log(2) - h, abs=1e-9)
    assert measured("cluster_usage_kl", e).value == pytest.approx(0, abs=1e-12)
    assert measured("assignment_confidence", e).value == pytest.approx(h / math.log(2), abs=1e-9)


def test_all_on_one_coordinate_is_unequal_use_without_information() -> None:
    e = given(np.tile([1.0, 0.0], (40, 1)))
    p = 1 / (1 + math.exp(-10))
    expected = -math.log(2) - (math.log(p) + math.log(1 - p)) / 2
    found = measured("cluster_usage_kl", e)
    assert found.value == pytest.approx(expected, abs=1e-9)
    assert expected == pytest.approx(4.31, abs=0.005), "the docstring's example"
    assert found.table[0]["perplexity"] == pytest.approx(math.exp(two_point_entropy()), abs=1e-9)
    assert measured("assignment_information", e).value == pytest.approx(0, abs=1e-9)


def test_usage_alone_cannot_tell_flat_assignments_from_good_ones_but_information_can() -> None:
    """The trap named in the docstring: both have KL 0."""
    flat, good = given(np.ones((40, 8))), given(one_hot(40, 8))
    assert measured("cluster_usage_kl", flat).value == pytest.approx(0, abs=1e-9)
    assert measured("cluster_usage_kl", good).value == pytest.approx(0, abs=1e-9)
    assert measured("assignment_information", flat).value == pytest.approx(0, abs=1e-9)
    assert measured("assignment_information", good).value > 2.0
    assert measured("assignment_confidence", flat).value == pytest.approx(1)


def test_the_panel_agrees_with_scipy() -> None:
    e = blobs(n=101, dim=37)
    x = e.features.astype(np.float64)
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32).astype(np.float64)
    p = np.exp(log_softmax(x / 0.1, axis=1))
    mean = p.mean(0)
    uniform = np.full(37, 1 / 37)
    assert measured("cluster_usage_kl", e).value == pytest.approx(rel_entr(uniform, mean).sum(), abs=1e-6)
    information = rel_entr(p, mean).sum(1).mean()  # the other form of mutual information: mean KL to the mean
    assert measured("assignment_information", e).value == pytest.approx(information, abs=1e-6)
    flatness = scipy_entropy(p, axis=1) / math.log(37)
    found = measured("assignment_confidence", e)
    assert found.per_sample == pytest.approx(flatness, abs=1e-6)
    assert found.value == pytest.approx(flatness.mean(), abs=1e-6)


@pytest.mark.parametrize(("d", "t"), [(512, 0.1), (512, 0.07), (256, 0.1)])
def test_random_directions_have_the_structureless_flatness(d: int, t: float) -> None:
    """The expansion 1 - 1/(2 D t^2 log D) holds for hundreds of coordinates, and for random rows it is what we find."""
    e = given(np.random.default_rng(3).normal(size=(200, d)))
    row = next(row for row in measured("assignment_confidence", e).table if row["t"] == t)
    assert row["structureless"] == pytest.approx(1 - 1 / (2 * d * t * t * math.log(d)), abs=1e-12)
    assert row["value"] == pytest.approx(row["structureless"], abs=2e-3)
    assert row["random_directions"] == pytest.approx(row["structureless"], abs=2e-3)


def test_the_expansion_is_withheld_where_it_is_no_share() -> None:
    assert structureless_confidence(2, 0.1) is None
    assert structureless_confidence(512, 0.1) == pytest.approx(0.9843, abs=1e-4)


def test_the_null_has_the_same_mean_and_no_clusters() -> None:
    """Rows around four sparse centers are sharper than a Gaussian of equal mean and covariance."""
    found = measured("assignment_information", blobs(n=400, dim=48, spread=0.05))
    assert found.null is not None
    assert found.interval is not None
    assert found.interval.low > found.null.mean + 3 * found.null.std


# ------------------------------------------------------------------------------------------------ two views


def test_views_that_equal_the_image_leave_entropy_and_the_two_temperatures() -> None:
    x = np.tile([1.0, 1.0], (10, 1))
    found = measured("cross_view_cross_entropy", given(x, x[None]))
    assert found.value == pytest.approx(math.log(2), abs=1e-9)
    parts = {row["part"]: row["value"] for row in found.table}
    assert parts["H(m)"] == pytest.approx(math.log(2), abs=1e-9)
    assert parts["KL(m || n)"] == pytest.approx(0, abs=1e-9)

    sharp = one_hot(30, 3)
    parts = {
        r["part"]: r["value"] for r in measured("cross_view_cross_entropy", given(sharp, sharp[None])).table
    }
    m = np.exp(log_softmax(np.array([1, 0, 0]) / 0.07))
    n = np.exp(log_softmax(np.array([1, 0, 0]) / 0.1))
    assert parts["KL(m || n)"] == pytest.approx(rel_entr(m, n).sum(), abs=1e-9)
    assert parts["KL(m || n) of an image with itself"] == pytest.approx(parts["KL(m || n)"], abs=1e-12)


def test_cross_entropy_agrees_with_scipy_and_is_the_sum_of_its_parts() -> None:
    e = blobs(n=60, dim=20)
    assert e.views is not None

    def unit(v: np.ndarray) -> np.ndarray:
        v = v.astype(np.float64)
        return (v / np.linalg.norm(v, axis=-1, keepdims=True)).astype(np.float32).astype(np.float64)

    x, total = unit(e.features), 0.0
    for v in unit(e.views.features):
        for target, online in ((x, v), (v, x)):
            m = np.exp(log_softmax(target / 0.07, axis=1))
            total -= (m * log_softmax(online / 0.1, axis=1)).sum(1).mean() / 4
    found = measured("cross_view_cross_entropy", e)
    assert found.value == pytest.approx(total, abs=1e-6)
    parts = {row["part"]: row["value"] for row in found.table}
    assert parts["H(m)"] + parts["KL(m || n)"] == pytest.approx(parts["cross-entropy"], abs=1e-9)


def test_views_of_other_images_are_the_null_and_cost_more() -> None:
    sharp = one_hot(64, 64)
    own = measured("cross_view_cross_entropy", given(sharp, sharp[None]))
    swapped = measured("cross_view_cross_entropy", given(sharp, np.roll(sharp, 1, axis=0)[None]))
    assert own.null is not None
    assert swapped.null is not None
    assert own.value < 0.3 < own.null.mean
    assert swapped.value > 3.0, "the wrong views must be noticed"


def test_views_of_some_samples_leave_the_others_undefined() -> None:
    e = blobs(n=60, dim=20)
    assert e.views is not None
    some = np.arange(0, 60, 3)
    e = replace(e, views=Views(e.views.features[:, some], some, "a third"))
    found = measured("cross_view_cross_entropy", e)
    assert found.per_sample is not None
    assert np.isfinite(found.per_sample).sum() == some.size == found.parameters["samples"]
    assert np.isfinite(found.value)


# ------------------------------------------------------------------------------------------------ nearest neighbors


def test_pairs_of_one_class_agree_and_the_chance_leaves_out_the_sample_itself() -> None:
    """Eight samples in four far pairs, each pair of one of two classes: P@1 = 1, chance 3/7."""
    x = np.repeat(np.eye(4), 2, axis=0) + np.tile([[0.0, 0.0, 0.0, 0.0], [0.01, 0.02, 0.03, 0.04]], (4, 1))
    found = measured("neighbor_agreement_excess", given(x, labels=np.array([0, 0, 0, 0, 1, 1, 1, 1])))
    assert found.value == pytest.approx(1 - 3 / 7)
    assert found.table[0]["agreement"] == 1.0
    assert found.table[0]["chance"] == pytest.approx(3 / 7)
    crossed = measured("neighbor_agreement_excess", given(x, labels=np.array([0, 1, 0, 1, 0, 1, 0, 1])))
    assert crossed.value == pytest.approx(-3 / 7), "wrong labels give another number"


def test_agreement_at_each_k_matches_a_plain_search() -> None:
    e = blobs(n=90, dim=12)
    assert e.labels is not None
    x = e.features.astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    cosine = x @ x.T
    np.fill_diagonal(cosine, -np.inf)
    order = np.argsort(-cosine, axis=1)
    count = np.bincount(e.labels)
    chance = (count * (count - 1)).sum() / (90 * 89)
    for row in measured("neighbor_agreement_excess", e).table:
        agreement = (e.labels[order[:, : int(row["k"])]] == e.labels[:, None]).mean()
        assert row["agreement"] == pytest.approx(agreement)
        assert row["excess"] == pytest.approx(agreement - chance)


def test_classes_that_mean_nothing_are_at_chance_however_unequal_they_are() -> None:
    rng = np.random.default_rng(5)
    labels = (rng.random(2000) < 0.1).astype(np.int64)
    found = measured("neighbor_agreement_excess", given(rng.normal(size=(2000, 8)), labels=labels))
    assert abs(found.value) < 0.03
    assert found.table[0]["chance"] == pytest.approx(0.82, abs=0.02)
    assert found.null is not None
    assert abs(found.null.mean) < 0.02


def test_a_class_of_one_is_said() -> None:
    labels = np.r_[np.zeros(20, np.int64), np.ones(20, np.int64), 2]
    found = measured(
        "neighbor_agreement_excess", given(np.random.default_rng(0).normal(size=(41, 6)), labels=labels)
    )
    assert found.note is not None
    assert "single sample" in found.note


def test_one_feature_is_no_panel() -> None:
    e = given(np.ones((20, 1)))
    for name in ("cluster_usage_kl", "assignment_information", "assignment_confidence"):
        outcome = METRICS.get(name).run(Workspace(e, CONFIG)).outcome
        assert isinstance(outcome, Skipped)
        assert "one feature" in outcome.reason


def test_tables_are_plain_numbers() -> None:
    e = blobs(n=80)
    for name in (
        "cross_view_cross_entropy",
        "cluster_usage_kl",
        "assignment_confidence",
        "neighbor_agreement_excess",
    ):
        json.dumps(measured(name, e).table, allow_nan=False)
