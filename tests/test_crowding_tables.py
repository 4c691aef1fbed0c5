"""Which classes crowd which: the tables by class and by pair."""

from __future__ import annotations

import time

import numpy as np
import pytest
from conftest import blobs
from sklearn.metrics import confusion_matrix
from test_crowding_separation import CONFIG, measure, points

from repdiag.kernels import rows
from repdiag.metrics._centers import nearest_centers
from repdiag.metrics.crowding import class_columns, pair_columns
from repdiag.workspace import Workspace


def ring(k: int, each: int = 20, noise: float = 0.01, seed: int = 0) -> Workspace:
    """K classes around a circle, in order, the gaps growing."""
    rng = np.random.default_rng(seed)
    angle = np.cumsum(np.linspace(0.02, 0.1, k))
    y = np.repeat(np.arange(k), each)
    turned = angle[y] + noise * rng.normal(size=y.size)
    return Workspace(points(np.c_[np.cos(turned), np.sin(turned)], y), CONFIG)


def test_pairs_are_each_class_with_its_ten_nearest_once_and_the_closest_first() -> None:
    ws = ring(30)
    pairs = pair_columns(ws)
    a, b = (pairs[side].astype(int) for side in ("class_a", "class_b"))
    assert (a < b).all()
    assert len(set(zip(a, b, strict=True))) == len(a)
    assert (np.diff(pairs["distance"]) >= 0).all()
    expected = set()
    for c in range(30):
        order = np.argsort(np.where(np.isfinite(ws.geometry.distance[c]), ws.geometry.distance[c], np.inf))
        expected |= {(min(c, o), max(c, o)) for o in order[:10]}
    assert set(zip(a, b, strict=True)) == expected
    assert (a[0], b[0]) == (0, 1)


def test_what_a_pair_is_said_to_share_is_what_a_confusion_matrix_says() -> None:
    ws = Workspace(blobs(n=300, dim=6, k=5, spread=2.0), CONFIG)
    pairs = pair_columns(ws)
    assert len(pairs["class_a"]) == 10  # five classes: all pairs
    number = {name: i for i, name in enumerate(ws.class_names)}
    probe = confusion_matrix(ws.labels, ws.probe.prediction, normalize="true")
    nearer = confusion_matrix(ws.labels, nearest_centers(ws), normalize="true")
    for row in range(10):
        i, j = (number[str(pairs[side][row])] for side in ("class_a", "class_b"))
        assert pairs["confused_ab"][row] == pytest.approx(probe[i, j])
        assert pairs["confused_ba"][row] == pytest.approx(probe[j, i])
        assert pairs["nearer_ab"][row] == pytest.approx(nearer[i, j])
        assert pairs["nearer_ba"][row] == pytest.approx(nearer[j, i])
    assert pairs["confused_ab"].max() > 0
    # All pairs are listed, so that their means are the metrics themselves.
    assert pairs["cdnv"].mean() == pytest.approx(measure("cdnv", ws).value)
    assert pairs["directional_cdnv"].mean() == pytest.approx(measure("directional_cdnv", ws).value)


def test_class_columns_are_the_formulas_written_out() -> None:
    ws = Workspace(blobs(n=200, dim=8, k=4), CONFIG)
    table, x = class_columns(ws), rows.unit(ws.raw).astype(np.float64)
    for c in range(4):
        own = x[ws.labels == c]
        cosine = own @ own.T
        n = len(own)
        assert table["same_class_cosine"][c] == pytest.approx((cosine.sum() - n) / (n * (n - 1)), rel=1e-6)
        nearest = np.nanargmin(ws.geometry.distance[c])
        var, gap = ws.geometry.variance, ws.geometry.distance[c, nearest]
        assert table["cdnv_nearest"][c] == pytest.approx((var[c] + var[nearest]) / (2 * gap**2))
        assert table["nearest_distance"][c] == gap
    pairs = pair_columns(ws)
    assert table["directional_cdnv_nearest"].min() >= pairs["directional_cdnv"].min() - 1e-12
    assert np.isin(table["directional_cdnv_nearest"], pairs["directional_cdnv"]).all()


def test_absent_and_single_classes_are_missing_not_zero() -> None:
    x = np.random.default_rng(0).normal(size=(61, 5))
    y = np.append(np.arange(60) % 3, 3)
    data = points(x, y)
    data = type(data)(data.features, data.ids, data.labels, (*data.class_names, "never"))
    table, pairs = class_columns(Workspace(data, CONFIG)), pair_columns(Workspace(data, CONFIG))
    for name in ("same_class_cosine", "cdnv_nearest", "directional_cdnv_nearest", "nearest_distance"):
        assert np.isfinite(table[name]).tolist() == [True, True, True, False, False], name
    assert set(pairs["class_a"]) | set(pairs["class_b"]) == {"0", "1", "2"}


def test_without_labels_there_are_no_pairs() -> None:
    assert pair_columns(Workspace(blobs(labels=False), CONFIG)) == {}


@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_many_classes_take_seconds_and_the_null_of_some_is_the_null_of_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from repdiag.metrics import _directional

    rng = np.random.default_rng(1)
    y = np.arange(3000) % 250
    ws = Workspace(points(rng.normal(size=(250, 16))[y] + rng.normal(size=(3000, 16)), y), CONFIG)
    some = _directional.permuted_values(ws)
    monkeypatch.setattr(_directional, "NULL_CLASSES", 250)
    every = _directional.permuted_values(ws)
    assert np.mean(some) == pytest.approx(np.mean(every), rel=0.05)
    began = time.process_time()
    columns = class_columns(ws)
    assert len(columns["cdnv_nearest"]) == 250
    assert time.process_time() - began < 5
