"""Clusters against labels, silhouettes, other layers and earlier checkpoints, on data whose answer is known."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
from conftest import blobs
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score, silhouette_samples

from repdiag.config import ScoreConfig
from repdiag.metrics import METRICS
from repdiag.metrics.cluster_labels import hungarian
from repdiag.types import Companion, EmbeddingSet, MetricResult, Skipped
from repdiag.workspace import Workspace

CONFIG = ScoreConfig(bootstrap=100, permutations=10, null_draws=3)


def measure(name: str, data: EmbeddingSet | Workspace, config: ScoreConfig = CONFIG) -> MetricResult:
    ws = data if isinstance(data, Workspace) else Workspace(data, config)
    outcome = METRICS.get(name).run(ws).outcome
    assert isinstance(outcome, MetricResult), outcome
    return outcome


def points(x: np.ndarray, y: np.ndarray, parents: tuple[str, ...] = ()) -> EmbeddingSet:
    names = tuple(f"class {c}" for c in range(int(y.max()) + 1))
    ids = tuple(f"{i:06d}" for i in range(len(x)))
    return EmbeddingSet(np.asarray(x, np.float32), ids, np.asarray(y, np.int64), names, parents=parents)


# --------------------------------------------------------------------------------------------- matching


def test_matched_accuracy_by_hand() -> None:
    assert hungarian(np.array([0, 0, 1, 1]), np.array([1, 1, 1, 0])) == pytest.approx(0.75)
    assert hungarian(np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0])) == 1
    assert hungarian(np.array([0, 0, 1, 1]), np.array([0, 1, 2, 3])) == pytest.approx(0.5)  # k = 4 > K


def test_matched_accuracy_is_the_best_of_all_matchings() -> None:
    rng = np.random.default_rng(0)
    y, c = rng.integers(4, size=80), rng.integers(4, size=80)
    best = max((np.array(p)[c] == y).mean() for p in permutations(range(4)))
    assert hungarian(y, c) == pytest.approx(best)


def test_matched_accuracy_is_the_mean_over_seeds_and_tells_each_class() -> None:
    ws = Workspace(blobs(), CONFIG)
    found = measure("hungarian_accuracy", ws)
    assert found.value == pytest.approx(np.mean([hungarian(ws.labels, c.labels) for c in ws.clusterings]))
    assert found.per_class is not None
    counts = np.bincount(ws.labels, minlength=ws.k)
    assert np.average(found.per_class, weights=counts) == pytest.approx(
        hungarian(ws.labels, ws.clusterings[0].labels)
    )
    assert found.null is not None
    assert 1 / 4 < found.null.mean < 0.4 < found.value
    absent = measure("hungarian_accuracy", replace(blobs(), class_names=tuple("abcdef")))
    assert absent.per_class is not None
    assert np.isnan(absent.per_class[4:]).all()


# --------------------------------------------------------------------------------------------- coarse classes


def kinds(noise: float = 0.1) -> EmbeddingSet:
    """Eight classes of three coarse ones (4 + 2 + 2): what differs within a coarse class is tiny."""
    rng = np.random.default_rng(1)
    y = np.arange(240) % 8
    coarse = np.array([0, 0, 0, 0, 1, 1, 2, 2])[y]
    x = np.eye(3, 12)[coarse] * 5 + 0.05 * rng.normal(size=(8, 12))[y] + noise * rng.normal(size=(240, 12))
    return points(x, y, tuple("aaaabbcc"))


def test_an_encoder_that_sees_kinds_only_follows_coarse_classes_and_not_fine_ones() -> None:
    ws = Workspace(kinds(), CONFIG)
    for name in ("coarse_ari", "coarse_ami", "coarse_hungarian_accuracy"):
        coarse = measure(name, ws)
        assert coarse.parameters["k"] == 3
        assert coarse.null is not None
        assert coarse.value > coarse.null.mean + 0.3
    assert measure("coarse_ari", ws).value > measure("label_ari", ws).value + 0.3
    assert measure("coarse_hungarian_accuracy", ws).value > measure("hungarian_accuracy", ws).value


def test_coarse_agreement_is_scikit_learns_on_coarse_labels() -> None:
    data = kinds(1.0)
    fine_is_coarse = replace(  # the same rows with the coarse classes for labels
        data, labels=np.array([0, 0, 0, 0, 1, 1, 2, 2])[data.labels], class_names=("a", "b", "c"), parents=()
    )
    ws, plain = Workspace(data, CONFIG), Workspace(fine_is_coarse, CONFIG)
    assert measure("coarse_ari", ws).value == pytest.approx(measure("label_ari", plain).value)
    assert measure("coarse_ami", ws).value == pytest.approx(measure("label_ami", plain).value)
    expected = np.mean([adjusted_rand_score(ws.coarse_labels, c.labels) for c in plain.clusterings])
    assert measure("coarse_ari", ws).value == pytest.approx(expected)
    expected = np.mean([adjusted_mutual_info_score(ws.coarse_labels, c.labels) for c in plain.clusterings])
    assert measure("coarse_ami", ws).value == pytest.approx(expected)


def test_evaluated_samples_of_one_coarse_class_are_skipped_with_the_reason() -> None:
    data = kinds()
    assert data.labels is not None
    only = replace(data, labels=data.labels % 4)
    outcome = METRICS.get("coarse_ari").run(Workspace(only, CONFIG)).outcome
    assert isinstance(outcome, Skipped)
    assert "one coarse class" in outcome.reason


# --------------------------------------------------------------------------------------------- silhouettes


def test_spread_between_classes_is_that_of_scikit_learns_class_means() -> None:
    rng = np.random.default_rng(2)
    y = np.arange(120) % 3
    x = rng.normal(size=(3, 6))[y] + 0.6 * rng.normal(size=(120, 6))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    s = silhouette_samples(unit, y)
    means = [s[y == c].mean() for c in range(3)]
    found = measure("silhouette_class_std", points(x, y))
    assert found.value == pytest.approx(np.std(means), abs=1e-5)
    assert found.per_class is not None
    np.testing.assert_allclose(found.per_class, means, atol=1e-5)
    assert found.interval is not None
    assert found.interval.low <= found.value <= found.interval.high


def test_one_class_apart_spreads_the_classes_and_equal_classes_do_not() -> None:
    rng = np.random.default_rng(3)
    y = np.arange(300) % 3
    noise = rng.normal(size=(300, 12))
    equal = points(np.eye(3, 12)[y] * 6 + noise, y)
    near = np.array([[6, 0, 0], [6, 1, 0], [0, 0, 6.0]])  # the first two lie close, the third far from both
    unequal = points(np.pad(near, ((0, 0), (0, 9)))[y] + noise, y)
    assert measure("silhouette_class_std", unequal).value > 5 * measure("silhouette_class_std", equal).value


def test_labels_without_meaning_spread_the_classes_as_far_as_their_null() -> None:
    """Few samples per class make class means noisy: the null has as few, though that of SC_std has fewer rows."""
    rng = np.random.default_rng(8)
    ws = Workspace(
        points(rng.normal(size=(2600, 8)), rng.integers(400, size=2600)), replace(CONFIG, clusters=2)
    )
    found = measure("silhouette_class_std", ws)
    assert found.null is not None
    assert found.value == pytest.approx(found.null.mean, rel=0.15)


def test_sc_std_is_lowest_where_there_is_no_structure_at_all() -> None:
    """The trap: isotropic blobs at separation 0, 1 and 4. A small SC_std is no praise."""
    rng = np.random.default_rng(4)
    y = np.arange(600) % 10
    centers, noise = rng.normal(size=(10, 32)), rng.normal(size=(600, 32))
    spread, mean = {}, {}
    for separation in (0, 1, 4):
        ws = Workspace(points(separation * centers[y] + noise, y), CONFIG)
        for name in ("silhouette_std", "silhouette_labels_std", "silhouette_class_std"):
            spread[name, separation] = measure(name, ws).value
        mean[separation] = measure("silhouette_labels_mean", ws).value
    assert mean[0] < 0.02 < mean[1] < mean[4]
    for name in ("silhouette_std", "silhouette_labels_std", "silhouette_class_std"):
        assert spread[name, 0] == min(spread[name, s] for s in (0, 1, 4)), spread
        assert spread[name, 1] > 1.5 * spread[name, 0], spread


# --------------------------------------------------------------------------------------------- companions


def groups(layer: np.ndarray | None = None, kind: str = "layer", n: int = 240) -> EmbeddingSet:
    rng = np.random.default_rng(5)
    y = np.arange(n) % 3
    data = points(np.eye(3, 9)[y] * 5 + 0.2 * rng.normal(size=(n, 9)), y)
    x = data.features if layer is None else layer.astype(np.float32)
    return replace(data, companions=(Companion(kind, "other", x),))  # type: ignore[arg-type]


@pytest.mark.parametrize(("kind", "name"), [("layer", "layer_ari"), ("checkpoint", "checkpoint_ari")])
def test_the_same_rows_agree_with_themselves_and_others_do_not(kind: str, name: str) -> None:
    same = measure(name, groups(kind=kind))
    assert same.value == pytest.approx(1)
    other = measure(name, groups(np.random.default_rng(6).normal(size=(240, 9)), kind))
    assert abs(other.value) < 0.05
    assert other.null is not None
    assert abs(other.null.mean) < 0.1  # unrelated rows: no joint covariance, no agreement


def test_structureless_layers_agree_as_far_as_one_is_a_linear_image_of_the_other() -> None:
    """The null moves with the linear relation, without any cluster in sight."""
    rng = np.random.default_rng(7)
    x = rng.normal(size=(600, 6)) * np.array([4, 3, 1, 1, 1, 1])
    near = x + 0.2 * rng.normal(size=x.shape)
    y = np.arange(600) % 3
    found = measure(
        "layer_ari", replace(points(x, y), companions=(Companion("layer", "l", near.astype(np.float32)),))
    )
    assert found.null is not None
    assert found.null.mean > 0.15
    assert abs(found.value - found.null.mean) < 0.35


def test_layers_show_their_own_stability_and_agreement_with_labels() -> None:
    ws = Workspace(blobs(companions=True), CONFIG)
    found = measure("layer_ari", ws)
    measured, layer = found.table
    assert measured["layer"] == "(measured)"
    assert layer["layer"] == "projector"
    (_, rows), *_ = ws.companions("layer")
    own = [ws.cluster(rows, s).labels for s in range(3)]
    expected = np.mean([adjusted_rand_score(a.labels, b) for a, b in zip(ws.clusterings, own, strict=False)])
    assert found.value == pytest.approx(expected)
    assert layer["label_ari"] == pytest.approx(np.mean([adjusted_rand_score(ws.labels, o) for o in own]))
    unlabeled = measure("layer_ari", blobs(companions=True, labels=False))
    assert "label_ari" not in unlabeled.table[0]


def test_checkpoints_stand_in_order_with_their_agreement_to_the_next_and_the_last() -> None:
    found = measure("checkpoint_ari", blobs(companions=True, spread=0.2))
    first, second, last = found.table
    assert [r["checkpoint"] for r in found.table] == ["epoch-1", "epoch-2", "(measured)"]
    assert second["ari_to_next"] == second["ari_to_last"]
    assert last["ari_to_next"] is None
    assert found.value == pytest.approx(
        (float(first["ari_to_last"] or 0) + float(second["ari_to_last"] or 0)) / 2
    )


def test_more_features_than_samples_still_give_a_null() -> None:
    """The joint covariance is then singular."""
    found = measure("layer_ari", blobs(n=40, dim=100, companions=True))
    assert found.null is not None
    assert found.null.n == 3
