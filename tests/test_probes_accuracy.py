"""The probe's path and folds, accuracy by class, nearest centers, and fits of fewer rows than features."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import blobs
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score
from sklearn.neighbors import NearestCentroid

from repdiag.config import ScoreConfig
from repdiag.kernels import logistic
from repdiag.metrics import METRICS
from repdiag.types import EmbeddingSet, MetricResult
from repdiag.workspace import Workspace

CONFIG = ScoreConfig(bootstrap=200, permutations=20)


def measure(name: str, ws: Workspace) -> MetricResult:
    outcome = METRICS.get(name).run(ws).outcome
    assert isinstance(outcome, MetricResult), outcome
    return outcome


def unbalanced(seed: int = 0) -> EmbeddingSet:
    """180 of one class, 20 each of two that lie close to it."""
    rng = np.random.default_rng(seed)
    y = np.repeat([0, 1, 2], [180, 20, 20])
    x = rng.normal(size=(220, 8)) + 3 + 2.0 * np.eye(8)[y]
    return EmbeddingSet(x.astype(np.float32), tuple(f"{i:04d}" for i in range(220)), y, ("a", "b", "c"))


def test_the_regularization_path_is_the_table_and_the_best_step_is_marked() -> None:
    ws = Workspace(blobs(views=False), CONFIG)
    found = measure("linear_probe_accuracy", ws)
    assert [row["l2"] for row in found.table] == list(CONFIG.probe_l2)[: len(found.table)]
    (chosen,) = [row for row in found.table if row["chosen"]]
    assert chosen["l2"] == found.parameters["l2"]
    assert chosen["validation_accuracy"] == max(row["validation_accuracy"] for row in found.table)


def test_the_spread_over_folds_is_that_of_their_accuracies_and_a_split_has_none() -> None:
    ws = Workspace(blobs(views=False), CONFIG)
    folds = [ws.probe.correct[f.test].mean() for f in ws.folds]
    assert measure("linear_probe_accuracy", ws).parameters["fold_std"] == pytest.approx(np.std(folds, ddof=1))
    split = Workspace(blobs(views=False, split=True), CONFIG)
    assert "fold_std" not in measure("linear_probe_accuracy", split).parameters


def test_macro_accuracy_is_scikit_learns_balanced_accuracy_and_below_accuracy_on_rare_classes() -> None:
    ws = Workspace(unbalanced(), CONFIG)
    plain, macro = measure("linear_probe_accuracy", ws), measure("macro_accuracy", ws)
    assert macro.value == pytest.approx(balanced_accuracy_score(ws.labels, ws.probe.prediction))
    assert macro.value < plain.value - 0.1
    assert macro.interval is not None
    assert macro.interval.low < macro.value < macro.interval.high
    assert macro.null is not None
    assert macro.null.mean == pytest.approx(1 / 3, abs=0.05)
    assert plain.null is not None
    assert plain.null.mean > 0.5  # guessing the large class pays in plain accuracy
    assert np.nanmean(macro.per_class) == pytest.approx(macro.value)


def test_macro_accuracy_is_accuracy_where_classes_are_equal() -> None:
    e = blobs(views=False)
    even = EmbeddingSet(e.features, e.ids, np.arange(240) % 4, e.class_names)
    ws = Workspace(even, CONFIG)
    assert measure("macro_accuracy", ws).value == pytest.approx(measure("linear_probe_accuracy", ws).value)


def test_nearest_center_accuracy_is_scikit_learns_and_one_minus_the_crowding_error() -> None:
    e = blobs(views=False, split=True, spread=2.0)
    ws = Workspace(e, CONFIG)
    found = measure("nearest_center_accuracy", ws)
    model = NearestCentroid().fit(ws.reference, ws.reference_labels)
    assert found.value == pytest.approx((model.predict(ws.x) == ws.labels).mean())
    folded = Workspace(blobs(views=False, spread=2.0), CONFIG)
    error = measure("nearest_center_error", folded).value
    assert measure("nearest_center_accuracy", folded).value == pytest.approx(1 - error)


def test_two_shells_have_separable_but_not_compact_classes() -> None:
    """Two arcs around one center: their means coincide, so the nearest center knows nothing, neighbors all."""
    angle = np.linspace(0, 2 * np.pi, 240, endpoint=False)
    y = (np.arange(240) // 60) % 2  # opposite quarters of a circle are one class
    x = np.c_[np.cos(angle), np.sin(angle)].astype(np.float32)
    ws = Workspace(EmbeddingSet(x, tuple(f"{i:03d}" for i in range(240)), y, ("a", "b")), CONFIG)
    assert measure("nearest_center_accuracy", ws).value < 0.65
    assert measure("knn_accuracy", ws).value > 0.9


@pytest.mark.parametrize("n", [12, 60, 200], ids=["fewer rows than features", "a few more", "many"])
def test_a_fit_in_the_span_of_few_rows_is_scikit_learns_optimum(n: int) -> None:
    rng = np.random.default_rng(7)
    y = np.arange(n) % 3
    x = (rng.normal(size=(3, 50))[y] + rng.normal(size=(n, 50))).astype(np.float32)
    l2 = 1e-1
    fresh = rng.normal(size=(40, 50)).astype(np.float32)
    model = logistic.fit(x, y, 3, l2, iterations=200)
    scale = x.std(0)
    reference = LogisticRegression(C=1 / (l2 * n), tol=1e-8, max_iter=5000).fit((x - x.mean(0)) / scale, y)
    expected = reference.predict_proba((fresh - x.mean(0)) / scale)
    np.testing.assert_allclose(model.probabilities(fresh), expected, atol=3e-3)


def test_a_fit_takes_mean_and_scale_from_elsewhere() -> None:
    rng = np.random.default_rng(8)
    x, y = rng.normal(size=(30, 4)).astype(np.float32), np.arange(30) % 2
    own = logistic.fit(x, y, 2, 0.1)
    same = logistic.fit(x, y, 2, 0.1, standard=(own.mean, own.scale))
    np.testing.assert_allclose(same.weight, own.weight, atol=1e-5)
    other = logistic.fit(x, y, 2, 0.1, standard=(np.zeros(4, np.float32), np.full(4, 5, np.float32)))
    assert np.abs(other.probabilities(x) - own.probabilities(x)).max() > 0.02
