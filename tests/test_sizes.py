"""Values by sample size: how parts are cut, which metrics are measured, and that what moves is seen to move."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import blobs

from repdiag.config import ScoreConfig
from repdiag.metrics import METRICS
from repdiag.sizes import by_size, quarters, subset
from repdiag.types import EmbeddingSet, MetricResult
from repdiag.workspace import Workspace

CONFIG = ScoreConfig(bootstrap=60, permutations=3, null_draws=1)
SOME = [METRICS.get(n) for n in ("rankme", "knn_accuracy", "participation_ratio")]


def test_parts_are_disjoint_even_and_alike_in_classes_and_split() -> None:
    e = blobs(n=403, k=4, split=True)
    assert e.labels is not None
    assert e.is_train is not None
    quarter, evaluated = quarters(e, 0)
    assert np.array_equal(evaluated, ~e.is_train)
    for part in (e.is_train, evaluated):
        sizes = np.bincount(quarter[part])
        assert sizes.size == 4
        assert np.ptp(sizes) <= 1
        counts = np.array([np.bincount(e.labels[part & (quarter == q)], minlength=4) for q in range(4)])
        assert np.ptp(counts, axis=0).max() <= 1


def test_the_cut_depends_on_the_ids_and_not_on_their_order() -> None:
    e = blobs(n=101)
    p = np.random.default_rng(0).permutation(101)
    assert np.array_equal(quarters(e, 3)[0][p], quarters(subset(e, p), 3)[0])
    assert not np.array_equal(quarters(e, 3)[0], quarters(e, 4)[0])


def test_a_subset_keeps_what_is_known_of_its_samples() -> None:
    e = blobs(n=60, hierarchy=True, companions=True)
    assert e.views is not None
    e = replace(e, views=replace(e.views, features=e.views.features[:, ::2], rows=e.views.rows[::2]))
    rows = np.array([4, 7, 10, 31, 58])
    part = subset(e, rows)
    assert part.ids == tuple(e.ids[i] for i in rows)
    assert part.parents == e.parents
    assert part.views is not None
    assert e.views is not None
    np.testing.assert_array_equal(rows[part.views.rows], [4, 10, 58])
    np.testing.assert_array_equal(part.views.features, e.views.features[:, [2, 5, 29]])
    np.testing.assert_array_equal(part.companions[1].features, e.companions[1].features[rows])


def test_each_point_is_the_mean_over_its_disjoint_parts() -> None:
    e = blobs(n=400, views=False)
    found = by_size(e, CONFIG, "cpu", SOME)
    assert set(found) == {"rankme", "knn_accuracy", "participation_ratio"}
    quarter, _ = quarters(e, CONFIG.seed)
    for name, points in found.items():
        assert [(p.samples, p.parts) for p in points] == [(100, 4), (200, 2)]
        for point in points:
            values = []
            for part in range(point.parts):
                ws = Workspace(subset(e, np.flatnonzero(quarter % point.parts == part)), CONFIG)
                outcome = METRICS.get(name).run(ws).outcome
                assert isinstance(outcome, MetricResult)
                values.append(outcome.value)
            assert point.value == pytest.approx(np.mean(values), rel=1e-9), name


def test_what_climbs_with_the_number_of_samples_is_seen_to_climb() -> None:
    """Isotropic noise in 60 dimensions: the participation ratio is near D N / (N + D)."""
    x = np.random.default_rng(0).normal(size=(800, 60)).astype(np.float32)
    e = EmbeddingSet(x, tuple(f"{i:04d}" for i in range(800)))
    points = by_size(e, CONFIG, "cpu", SOME)["participation_ratio"]
    for point in points:
        assert point.value == pytest.approx(60 * point.samples / (point.samples + 60), rel=0.06)
    assert points[0].value < points[1].value


def test_too_small_parts_unasked_metrics_and_skipped_ones_have_no_points() -> None:
    assert by_size(blobs(n=160, views=False), CONFIG, "cpu", SOME)["rankme"][0].samples == 80
    assert by_size(blobs(n=90, views=False), CONFIG, "cpu", SOME) == {}
    unlabeled = by_size(blobs(n=240, views=False, labels=False), CONFIG, "cpu", SOME)
    assert "knn_accuracy" not in unlabeled
    assert "rankme" in unlabeled
    still = METRICS.get("uniformity")
    assert not still.spec.by_size
    assert by_size(blobs(n=240, views=False), CONFIG, "cpu", [still]) == {}


def test_a_split_keeps_a_train_part_in_every_part() -> None:
    found = by_size(blobs(n=480, views=False, split=True), CONFIG, "cpu", SOME)["knn_accuracy"]
    assert [(p.samples, p.parts) for p in found] == [(60, 4), (120, 2)]
    assert all(0.4 < p.value <= 1 for p in found)
