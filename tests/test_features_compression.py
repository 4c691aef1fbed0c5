"""Compression curves, the smallest subset, and the file of kept features."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import blobs
from sample_report import sample_report
from sklearn.decomposition import PCA

from repdiag.config import ScoreConfig
from repdiag.kernels import logistic
from repdiag.metrics import METRICS, _curves, all_metrics
from repdiag.metrics.features import frequency_order, kept_features, nested_features
from repdiag.metrics.smallest_subset import TOLERANCE, _choice
from repdiag.report import to_json, write_report
from repdiag.types import EmbeddingSet, MetricResult, Skipped, Table
from repdiag.workspace import Skip, Workspace

CONFIG = ScoreConfig(bootstrap=100, permutations=3, eps=2.0)
all_metrics()


def points(x: np.ndarray, y: np.ndarray) -> EmbeddingSet:
    ids = tuple(f"{i:06d}" for i in range(len(y)))
    return EmbeddingSet(np.asarray(x, np.float32), ids, y, tuple(map(str, range(int(y.max()) + 1))))


def measure(name: str, ws: Workspace) -> MetricResult:
    found = METRICS.get(name).run(ws).outcome
    assert isinstance(found, MetricResult), found
    return found


def rows(found: MetricResult) -> dict[float, dict[str, float]]:
    return {float(row["kept"]): dict(row) for row in found.table}  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def layered() -> EmbeddingSet:
    """40 features: 10 fire for one class of five each, 15 for hardly any sample, 15 for every other sample."""
    rng = np.random.default_rng(0)
    n, y = 1500, np.arange(1500) % 5
    carriers = (y[:, None] == np.arange(10) % 5) * rng.uniform(0.5, 1.5, (n, 10))
    rare = (rng.random((n, 15)) < 0.02) * 3.0
    common = (rng.random((n, 15)) < 0.6) * rng.uniform(0.5, 1.5, (n, 15)) * 1.2
    return points(np.hstack([rare, carriers, common]) + rng.uniform(0, 0.01, (n, 40)), y)


@pytest.fixture(scope="module")
def ws(layered: EmbeddingSet) -> Workspace:
    return Workspace(layered, replace(CONFIG, eps=1.2))


# --------------------------------------------------------------------------------------------- the curve


def test_the_middle_of_the_frequencies_beats_random_where_it_carries_the_classes(ws: Workspace) -> None:
    order = frequency_order(ws)
    assert order.rule == "paper"
    assert set(order.features[:15]) == set(range(15)), "rare ones first"
    assert set(order.features[25:]) == set(range(25, 40)), "generic ones last"
    found = rows(measure("compression", ws))
    row = found[0.6]
    assert set(nested_features(ws, 0.6)) >= set(range(15, 25))
    assert row["accuracy"] > 0.98
    assert row["gain_low"] > 0.02
    assert row["gain"] == pytest.approx(row["accuracy"] - row["random_mean"])
    for name in ("top_variance", "pca", "lower_only", "upper_only"):
        assert row[f"gain_over_{name}"] == pytest.approx(row["accuracy"] - row[name])
        assert row[f"gain_over_{name}_low"] <= row[f"gain_over_{name}"] <= row[f"gain_over_{name}_high"]


def test_raising_one_limit_alone_keeps_the_other_end(ws: Workspace) -> None:
    """Cutting the generic half by the upper limit alone leaves the rare ones, and the other way around."""
    assert set(nested_features(ws, 0.375, "upper")) == set(range(15))
    assert set(nested_features(ws, 0.375, "lower")) == set(range(25, 40))
    row = rows(measure("compression", ws))[0.2]
    assert max(row["lower_only"], row["upper_only"]) < 0.5 < row["pca"], "neither end carries classes"


def test_sets_on_a_path_are_nested(ws: Workspace) -> None:
    for path in ("both", "lower", "upper"):
        bigger = set(range(40))
        for kept in np.linspace(1, 0.01, 60):
            smaller = set(nested_features(ws, float(kept), path))
            assert smaller <= bigger
            assert len(smaller) == max(1, round(kept * 40))
            bigger = smaller


def test_shares_below_a_fifth_need_enough_features() -> None:
    assert _curves.shares(512, 100) == (0.8, 0.6, 0.4, 0.2, 0.1, 0.05)
    assert _curves.shares(100, 10) == (0.8, 0.6, 0.4, 0.2, 0.1)
    assert _curves.shares(64, 10) == (0.8, 0.6, 0.4, 0.2)
    assert _curves.shares(64, 3) == (0.8, 0.6, 0.4, 0.2, 0.1, 0.05)
    assert _curves.shares(2, 2) == (0.8, 0.6, 0.4, 0.2)


def test_a_warm_start_gives_the_answers_of_a_fit_from_zero(ws: Workspace) -> None:
    """The probes on a path are those that each set would get alone."""
    found = _curves.curves(ws)
    for path in ("both", "lower"):
        chosen = nested_features(ws, 0.4, path)
        x, held = ws.x[found.train][:, chosen], ws.x[found.test][:, chosen]
        model = logistic.fit(x, ws.labels[found.train], 5, found.l2, iterations=300)
        right = model.logits(held).argmax(1) == ws.labels[found.test]
        assert np.mean(right == found.correct[path, 0.4]) > 0.98
    assert not set(found.train) & set(found.test)


@pytest.mark.parametrize(("n", "d"), [(200, 12), (30, 50)], ids=["tall", "wide"])
def test_principal_axes_are_scikit_learns(n: int, d: int) -> None:
    x = (np.random.default_rng(0).normal(size=(n, d)) * np.linspace(3, 0.5, d)).astype(np.float32)
    found, wanted = _curves._principal(x, 5), PCA(5, svd_solver="full").fit(x).components_.T
    assert np.abs(np.einsum("dk,dk->k", found, wanted)) == pytest.approx(np.ones(5), abs=1e-4)
    assert _curves._principal(x, 1000).shape[1] == min(d, n - 1), "no more axes than the rank"


def test_principal_components_find_a_plane_that_no_feature_shows() -> None:
    """Classes on two directions spread over all features: PCA keeps them in 5 %, single features do not."""
    rng = np.random.default_rng(1)
    y = np.arange(600) % 3
    corners = np.array([[1, 0], [-0.5, 0.9], [-0.5, -0.9]])[y]
    x = corners @ rng.normal(size=(2, 60)) + rng.normal(scale=2.0, size=(600, 60))
    row = rows(measure("compression", Workspace(points(x, y), CONFIG)))[0.05]
    assert row["pca"] > 0.95
    assert row["accuracy"] < row["pca"] - 0.1
    assert row["gain_over_pca_high"] < 0


def test_with_all_principal_components_the_probe_is_the_full_one() -> None:
    """Each feature twice: four fifths of the number hold the whole rank, and nothing may be lost or blown up."""
    base = blobs(n=300, dim=24, k=5)
    twice = replace(base, features=np.hstack([base.features, base.features]), views=None)
    found = _curves.curves(Workspace(twice, CONFIG))
    assert found.pca_sizes[0.8] == 24
    assert np.mean(found.correct["pca", 0.8] == found.full) > 0.98
    # Classes in three directions of a space whose last components are noise of the sample (320 rows, 320 features).
    rng = np.random.default_rng(2)
    y = np.arange(400) % 4
    z = rng.normal(size=(400, 320)) / np.arange(1, 321) ** 2
    z[:, :3] += rng.normal(size=(4, 3))[y]
    turned = z @ np.linalg.qr(rng.normal(size=(320, 320)))[0].T
    wide = _curves.curves(Workspace(points(turned, y), CONFIG))
    assert wide.full.mean() > 0.9
    for kept in (0.8, 0.2):
        assert wide.correct["pca", kept].mean() > wide.full.mean() - 0.02


def test_signed_features_are_ordered_by_the_adapted_rule_and_said_so() -> None:
    found = measure("compression", Workspace(blobs(relu=False), CONFIG))
    assert found.parameters["rule"] == "adapted"
    assert "the features are signed" in (found.note or "")
    assert found.null is not None
    assert measure("compression", Workspace(blobs(), CONFIG)).parameters["rule"] == "paper"


def test_where_q_score_sees_nothing_the_adapted_rule_takes_over() -> None:
    """With 12 features no z-score reaches 4, but some reach 2."""
    found = measure("compression", Workspace(blobs(dim=12), ScoreConfig(bootstrap=50)))
    assert found.parameters["rule"] == "adapted"
    assert "no feature is discriminative by Q-Score's rule" in (found.note or "")
    flat = replace(blobs(views=False), features=np.ones((240, 24), np.float32))
    with pytest.raises(Skip, match="hardly any ever stands out"):
        frequency_order(Workspace(flat, CONFIG))


def test_many_classes_are_sampled_and_the_note_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_curves, "CLASSES", 3)
    ws = Workspace(blobs(n=300, k=6), CONFIG)
    found = _curves.curves(ws)
    assert np.unique(ws.labels[found.train]).size == 3
    assert set(ws.labels[found.test]) <= set(ws.labels[found.train])
    assert "Probes of 3 of 6 classes" in (measure("compression", ws).note or "")


# --------------------------------------------------------------------------------------------- smallest subset


def test_the_choice_is_the_smallest_set_within_a_point() -> None:
    assert TOLERANCE == 0.01
    accuracy = np.array([[0.90, 0.90, 0.895, 0.86], [0.90, 0.88, 0.89, 0.80], [0.5, 0.4, 0.4, 0.4]])
    assert _choice(accuracy).tolist() == [2, 2, 0]


def test_the_subset_is_chosen_on_some_rows_and_told_on_others(ws: Workspace) -> None:
    found = measure("smallest_subset", ws)
    curves = _curves.curves(ws)
    assert kept_features(ws) is not None
    chosen = [row for row in found.table if row["chosen"]]
    assert [row["method"] for row in chosen] == ["nested", "top variance", "pca"]
    ours = chosen[0]
    assert found.value == ours["kept"] <= 0.6
    n, choosing = curves.test.size, found.parameters["choosing_rows"]
    whole = curves.correct["both", found.value].mean()
    parts = (choosing * ours["accuracy_choosing"] + (n - choosing) * ours["accuracy"]) / n
    assert parts == pytest.approx(whole), "the two parts are disjoint and cover the held-out rows"
    assert found.interval is not None
    assert found.interval.low <= found.value <= found.interval.high
    assert found.null is not None
    assert found.null.mean > found.value, "random features take more"


def test_the_kept_features_are_those_of_the_chosen_set(layered: EmbeddingSet) -> None:
    """Asking before the metric ran trains nothing and gives nothing."""
    ws = Workspace(layered, replace(CONFIG, eps=1.2))
    assert kept_features(ws) is None
    found = measure("smallest_subset", ws)
    mask = kept_features(ws)
    assert mask is not None
    assert mask.sum() == found.parameters["features"] == round(found.value * 40)
    assert set(np.flatnonzero(mask)) == set(nested_features(ws, found.value))
    assert mask[15:25].all(), "all ten that carry the classes"


def test_noise_in_every_feature_leaves_nothing_to_cut() -> None:
    """Each of 24 features tells a little: no smaller set is within a point of all."""
    rng = np.random.default_rng(2)
    y = np.arange(4000) % 2
    x = rng.normal(size=(4000, 24)) + 0.35 * np.where(y == 0, 1, -1)[:, None]
    found = measure("smallest_subset", Workspace(points(x, y), CONFIG))
    assert found.value == 1
    mean = np.mean([row["loss"] for row in found.table if row["method"] == "nested" and row["kept"] == 0.2])
    assert mean > 0.05


def test_without_labels_nothing_is_chosen() -> None:
    ws = Workspace(blobs(labels=False), CONFIG)
    assert isinstance(METRICS.get("smallest_subset").run(ws).outcome, Skipped)
    assert kept_features(ws) is None


def test_the_activation_curve_has_the_percentiles(ws: Workspace) -> None:
    table = measure("activation_frequency", ws).table
    frequency = ws.activation.frequency
    at = {row["percentile"]: row for row in table}
    assert at[50.0]["frequency"] == pytest.approx(np.median(frequency))
    assert (at[0.0]["frequency"], at[100.0]["frequency"]) == (frequency.min(), frequency.max())
    assert [at[q]["in_s"] for q in (10.0, 60.0, 99.0)] == [False, True, False]


# --------------------------------------------------------------------------------------------- the file


def test_kept_features_are_a_file_of_their_own(tmp_path: Path) -> None:
    """Which is left out, and an old one left alone, where nothing was chosen."""
    plain = sample_report(40, 16)
    bare = replace(plain, features=Table({k: v for k, v in plain.features.columns.items() if k != "kept"}))
    count = len(bare.features)
    kept = np.arange(count) % 3 == 0
    report = replace(bare, features=Table({**bare.features.columns, "kept": kept}))
    paths = write_report(report, tmp_path)
    frame = pd.read_csv(paths["kept_features.csv"])
    assert frame["feature"].tolist() == np.flatnonzero(kept).tolist()
    assert list(frame.columns) == ["feature"]
    assert to_json(report)["tables"]["kept_features.csv"]["rows"] == kept.sum()
    again = write_report(bare, tmp_path)
    assert "kept_features.csv" not in again
    assert "kept_features.csv" not in to_json(bare)["tables"]
    assert len(pd.read_csv(tmp_path / "kept_features.csv")) == kept.sum()
    assert "kept" not in pd.read_csv(again["features.csv"]).columns
