"""Low-shot probes: which labels are drawn, what is tested, and what the interval holds."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import blobs

from repdiag.config import ScoreConfig
from repdiag.metrics import METRICS
from repdiag.metrics.low_shot import drawn, interval_of
from repdiag.types import EmbeddingSet, MetricResult, Skipped
from repdiag.workspace import Workspace

CONFIG = ScoreConfig(bootstrap=100, permutations=10)


def outcome(name: str, e: EmbeddingSet) -> MetricResult | Skipped:
    return METRICS.get(name).run(Workspace(e, CONFIG)).outcome


def measure(name: str, e: EmbeddingSet) -> MetricResult:
    found = outcome(name, e)
    assert isinstance(found, MetricResult), found
    return found


def classes(n: int, gap: float, k: int = 5, seed: int = 0) -> EmbeddingSet:
    rng = np.random.default_rng(seed)
    y = np.arange(n) % k
    x = gap * rng.normal(size=(k, 20))[y] + rng.normal(size=(n, 20))
    return EmbeddingSet(
        x.astype(np.float32), tuple(f"{i:05d}" for i in range(n)), y, tuple(str(c) for c in range(k))
    )


def test_every_class_gives_its_share_of_labels_and_at_least_one() -> None:
    labels = np.repeat([0, 1, 2, 4], [200, 40, 3, 1])
    taken = drawn(labels, 0.1, np.random.default_rng(0))
    assert np.bincount(labels[taken], minlength=5).tolist() == [20, 4, 1, 0, 1]
    assert np.unique(taken).size == taken.size
    assert not np.array_equal(taken, drawn(labels, 0.1, np.random.default_rng(1)))


def test_compact_classes_need_few_labels_and_blurred_ones_more() -> None:
    compact, blurred = classes(1000, 4.0), classes(1000, 0.5)
    assert measure("low_shot_1", compact).value > 0.97
    one, ten = measure("low_shot_1", blurred), measure("low_shot_10", blurred)
    assert one.value + 0.1 < ten.value < measure("linear_probe_accuracy", blurred).value + 0.02
    for found in (one, ten):
        assert found.interval is not None
        assert found.null is not None
        assert found.null.mean == pytest.approx(0.2, abs=0.03)


def test_known_labels_are_never_tested_and_the_real_share_is_said() -> None:
    found = measure("low_shot_10", classes(300, 1.0))
    assert found.parameters["labels"] == 30
    assert found.parameters["share"] == pytest.approx(0.1)
    assert found.note is None
    accuracies = found.parameters["accuracies"]
    assert found.value == pytest.approx(np.mean(accuracies))
    # each draw is tested on the other 270: every accuracy is a whole number of 270ths
    np.testing.assert_allclose(np.array(accuracies) * 270, np.round(np.array(accuracies) * 270), atol=1e-9)
    few = measure("low_shot_1", classes(300, 1.0))
    assert few.parameters["labels"] == 5
    assert few.note is not None
    assert "1.7%" in few.note


def test_with_a_split_labels_come_from_the_train_part_and_every_test_row_is_tested() -> None:
    e = blobs(n=400, views=False, split=True)
    found = measure("low_shot_10", e)
    assert found.parameters["labels"] == pytest.approx(20, abs=2)
    assert found.per_sample is not None
    assert np.isfinite(found.per_sample).all()
    assert found.per_sample.size == 200


def test_labels_without_meaning_score_as_their_null() -> None:
    rng = np.random.default_rng(1)
    e = EmbeddingSet(
        rng.normal(size=(600, 10)).astype(np.float32),
        tuple(f"{i:04d}" for i in range(600)),
        np.arange(600) % 3,
        ("a", "b", "c"),
    )
    for name in ("low_shot_1", "low_shot_10"):
        found = measure(name, e)
        assert found.null is not None
        assert abs(found.value - found.null.mean) < 0.06, name


def test_one_label_per_class_that_is_a_tenth_of_all_is_no_one_percent() -> None:
    found = outcome("low_shot_1", classes(40, 2.0))
    assert isinstance(found, Skipped)
    assert "low_shot_10" in found.reason


def test_no_row_left_to_test_is_a_reason() -> None:
    y = np.r_[np.arange(20), 0]
    rng = np.random.default_rng(0)
    e = EmbeddingSet(
        rng.normal(size=(21, 4)).astype(np.float32),
        tuple(f"{i:02d}" for i in range(21)),
        y,
        tuple(map(str, range(20))),
    )
    found = measure("low_shot_10", e)  # one sample is left, of class 0
    assert found.per_sample is not None
    assert 1 <= np.isfinite(found.per_sample).sum() <= 2


def test_the_strength_is_chosen_on_the_drawn_labels_only_where_there_are_enough() -> None:
    many = measure("low_shot_10", classes(1500, 1.0))
    assert sum(bool(row["chosen"]) for row in many.table) == 1
    few = measure("low_shot_10", classes(300, 1.0))
    assert few.table == ()
    assert few.parameters["l2"] == CONFIG.probe_l2[0]


def test_the_interval_adds_the_spread_of_draws_to_that_of_samples() -> None:
    steady, replicates = np.array([0.5, 0.5, 0.5]), np.random.default_rng(0).normal(0.5, 0.02, 2000)
    samples = interval_of(steady, replicates)
    assert samples is not None
    assert (samples.high - samples.low) / 2 == pytest.approx(1.96 * replicates.std(ddof=1), rel=1e-2)
    shaky = interval_of(np.array([0.4, 0.5, 0.6]), replicates)
    assert shaky is not None
    # draws dominate: nearly t with two degrees of freedom on 0.1 / sqrt(3)
    assert (shaky.high - shaky.low) / 2 == pytest.approx(4.303 * 0.1 / np.sqrt(3), rel=0.2)
    assert interval_of(np.array([0.5]), replicates) is None
