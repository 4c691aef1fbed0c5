"""Separation measures on data whose answer is known, and against formulas written out slowly in float64."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from conftest import blobs
from sklearn.metrics import calinski_harabasz_score, davies_bouldin_score, roc_auc_score

from repdiag.config import ScoreConfig
from repdiag.kernels import classes, resample, rows
from repdiag.metrics import METRICS
from repdiag.types import EmbeddingSet, MetricResult, Skipped
from repdiag.workspace import Workspace

CONFIG = ScoreConfig(bootstrap=60, permutations=6)
NEW = (
    *("inter_class_distance_min", "davies_bouldin", "calinski_harabasz", "fisher_ratio", "vci", "delta_r"),
    *("same_class_auc", "same_class_overlap", "nc1", "nc2_equinorm", "nc2_equiangle", "nc3", "nc4"),
)


def points(x: np.ndarray, y: np.ndarray) -> EmbeddingSet:
    names = tuple(str(c) for c in range(int(y.max()) + 1))
    ids = tuple(f"{i:06d}" for i in range(len(y)))
    return EmbeddingSet(np.asarray(x, np.float32), ids, np.asarray(y, np.int64), names)


def outcome(name: str, data: EmbeddingSet | Workspace) -> MetricResult | Skipped:
    ws = data if isinstance(data, Workspace) else Workspace(data, CONFIG)
    return METRICS.get(name).run(ws).outcome


def measure(name: str, data: EmbeddingSet | Workspace) -> MetricResult:
    found = outcome(name, data)
    assert isinstance(found, MetricResult), found
    return found


def unbalanced(n: int = 300, dim: int = 8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Four classes of about 40, 30, 20 and 10 % of the rows, each with a covariance of its own; unit rows."""
    rng = np.random.default_rng(seed)
    y = np.sort(rng.choice(4, size=n, p=[0.4, 0.3, 0.2, 0.1]))
    mix = rng.normal(size=(4, dim, dim)) * 0.3
    x = rng.normal(size=(4, dim))[y] + np.einsum("nd,nde->ne", rng.normal(size=(n, dim)), mix[y])
    return x / np.linalg.norm(x, axis=1, keepdims=True), y


@pytest.fixture(scope="module")
def cloud() -> tuple[np.ndarray, np.ndarray, Workspace]:
    x, y = unbalanced()
    ws = Workspace(points(x, y), CONFIG)
    return ws.x.astype(np.float64), y, ws


Cloud = tuple[np.ndarray, np.ndarray, Workspace]


def test_davies_bouldin_and_calinski_harabasz_are_scikit_learns(cloud: Cloud) -> None:
    x, y, ws = cloud
    assert measure("davies_bouldin", ws).value == pytest.approx(davies_bouldin_score(x, y), rel=1e-9)
    assert measure("calinski_harabasz", ws).value == pytest.approx(calinski_harabasz_score(x, y), rel=1e-9)


def test_classes_of_one_sample_are_left_out_and_said() -> None:
    x, y = unbalanced()
    more = points(np.vstack([x, x[:1] + 3]), np.append(y, 4))
    for name in ("davies_bouldin", "calinski_harabasz", "fisher_ratio", "vci", "nc1", "same_class_auc"):
        without, found = measure(name, points(x, y)), measure(name, more)
        assert found.value == pytest.approx(without.value, rel=0.02), name  # other draws of rows at most
        assert found.note is not None, name
        assert "single sample" in found.note, name


def test_calinski_harabasz_grows_with_the_number_of_samples_and_fisher_does_not() -> None:
    x, y = unbalanced()
    twice = points(np.repeat(x, 2, axis=0), np.repeat(y, 2))
    n, k = len(y), 4
    ratio = measure("calinski_harabasz", twice).value / measure("calinski_harabasz", points(x, y)).value
    assert ratio == pytest.approx((2 * n - k) / (n - k), rel=1e-6)
    assert measure("fisher_ratio", twice).value == pytest.approx(
        measure("fisher_ratio", points(x, y)).value, rel=1e-6
    )


def test_fisher_is_the_ratio_of_traces_and_r2_in_other_words(cloud: Cloud) -> None:
    x, y, ws = cloud
    mu = np.array([x[y == c].mean(0) for c in range(4)])
    within = np.mean([((x[y == c] - mu[c]) ** 2).sum(1).mean() for c in range(4)])
    between = ((mu - mu.mean(0)) ** 2).sum(1).mean()
    value = measure("fisher_ratio", ws).value
    assert value == pytest.approx(between / within, rel=1e-6)
    r2 = measure("r2_separation", ws).value
    assert value == pytest.approx(r2 / (1 - r2), rel=1e-5)


def test_the_nearest_pair_is_named() -> None:
    angle = np.repeat([0.0, 0.5, 2.0], 20)
    found = measure(
        "inter_class_distance_min", points(np.c_[np.cos(angle), np.sin(angle)], np.repeat(range(3), 20))
    )
    assert found.value == pytest.approx(2 * np.sin(0.25), rel=1e-6)
    assert found.parameters["nearest_pair"] == ("0", "1")


def canonical(x: np.ndarray, y: np.ndarray) -> float:
    """Sum of the squared canonical correlations of rows and labels, by QR: Pillai's trace."""
    one_hot = np.eye(int(y.max()) + 1)[y]
    q, r = (np.linalg.qr(v - v.mean(0))[0] for v in (x, one_hot[:, :-1]))
    return float((np.linalg.svd(q.T @ r)[1] ** 2).sum())


def test_vci_is_what_the_canonical_correlations_leave(cloud: Cloud) -> None:
    x, y, ws = cloud
    assert measure("vci", ws).value == pytest.approx(1 - canonical(x, y) / 3, rel=1e-6)


def test_vci_of_random_labels_is_its_bias() -> None:
    rng = np.random.default_rng(0)
    found = measure("vci", points(rng.normal(size=(600, 30)), rng.integers(3, size=600)))
    assert found.null is not None
    assert found.null.mean == pytest.approx(1 - 30 / 599, abs=0.01)
    assert found.value == pytest.approx(found.null.mean, abs=5 * found.null.std)


def test_dead_features_change_nothing_of_vci_andslow_nc1(cloud: Cloud) -> None:
    x, y, ws = cloud
    padded = points(np.c_[x, np.zeros((len(x), 5))], y)
    for name in ("vci", "nc1"):
        assert measure(name, padded).value == pytest.approx(measure(name, ws).value, rel=1e-6)


def rate(x: np.ndarray) -> float:
    n, d = x.shape
    return float(np.linalg.slogdet(np.eye(d) + d / (n * 0.5) * x.T @ x)[1] / 2)


@pytest.mark.parametrize("dim", [8, 90, 400], ids=["rows to spare", "small classes", "few rows"])
def test_rate_reduction_is_the_formula_on_either_side_of_the_gram(dim: int) -> None:
    x, y = unbalanced(dim=dim)
    found, u = measure("delta_r", points(x, y)), rows.unit(np.asarray(x, np.float32)).astype(np.float64)
    within = sum((y == c).mean() * rate(u[y == c]) for c in range(4))
    assert found.value == pytest.approx(rate(u) - within, rel=1e-6)
    assert found.parameters["rate"] == pytest.approx(rate(u), rel=1e-9)


def test_rate_reduction_of_orthogonal_classes() -> None:
    """K directions, D = K: K/2 log(1 + 1/eps^2) - 1/2 log(1 + K/eps^2)."""
    y = np.arange(60) % 3
    expected = 1.5 * np.log(3) - 0.5 * np.log(7)
    assert measure("delta_r", points(np.eye(3)[y], y)).value == pytest.approx(expected, rel=1e-9)


def bootstrap_se(measured: Callable[[np.ndarray], float], y: np.ndarray, n: int = 150) -> float:
    counts = resample.stratified_counts(y, n, np.random.default_rng(5))
    return float(np.std([measured(np.repeat(np.arange(len(y)), c)) for c in counts]))


def slow_nc1(x: np.ndarray, y: np.ndarray) -> float:
    k = int(y.max()) + 1
    mu = np.array([x[y == c].mean(0) for c in range(k)])
    within = np.mean([np.cov(x[y == c].T, bias=True) for c in range(k)], axis=0)
    between = (mu - mu.mean(0)).T @ (mu - mu.mean(0)) / k
    return float(np.trace(within @ np.linalg.pinv(between, rcond=1e-8, hermitian=True)) / k)


def test_first_order_intervals_are_as_wide_as_the_bootstraps() -> None:
    x, y = unbalanced(n=600)
    ws = Workspace(points(x, y), CONFIG)
    u = ws.x.astype(np.float64)

    def reduction(take: np.ndarray) -> float:
        parts = ((y[take] == c) for c in range(4))
        return rate(u[take]) - sum(p.mean() * rate(u[take][p]) for p in parts)

    measured: dict[str, Callable[[np.ndarray], float]] = {
        "nc1": lambda take: slow_nc1(u[take], y[take]),
        "vci": lambda take: -canonical(u[take], y[take]) / 3,
        "delta_r": reduction,
    }
    for name, slow in measured.items():
        found = measure(name, ws).interval
        assert found is not None
        half = (found.high - found.low) / 2
        assert half == pytest.approx(1.96 * bootstrap_se(slow, y), rel=0.3), name


# ------------------------------------------------------------------------------------------ cosines of pairs


def _pair_weights(y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Upper-triangle pairs: same class?, and the weight that makes classes, and pairs of classes, count alike."""
    i, j = np.triu_indices(len(y), 1)
    n = np.bincount(y).astype(float)
    same = y[i] == y[j]
    weight = np.where(same, 2 / (n[y[i]] * np.maximum(n[y[i]] - 1, 1)), 2 / (n[y[i]] * n[y[j]]))
    return same, weight, np.stack([i, j])


def test_same_class_auc_is_the_weighted_auc_over_all_pairs(cloud: Cloud) -> None:
    x, y, ws = cloud
    same, weight, (i, j) = _pair_weights(y)
    cosine = (x[i] * x[j]).sum(1)
    found = measure("same_class_auc", ws)
    assert found.value == pytest.approx(roc_auc_score(same, cosine, sample_weight=weight), abs=1e-4)
    assert found.value != pytest.approx(
        roc_auc_score(same, cosine), abs=1e-3
    )  # classes weigh alike, not pairs
    assert found.per_class is not None
    assert found.per_class.mean() == pytest.approx(found.value, abs=1e-9)


def test_the_interval_of_the_auc_is_as_wide_as_the_bootstraps() -> None:
    x, y = unbalanced(n=160)
    found = measure("same_class_auc", points(x, y)).interval
    assert found is not None
    gram = x @ x.T
    same, weight, (i, j) = _pair_weights(y)

    def slow(take: np.ndarray) -> float:
        c = np.bincount(take, minlength=len(y))
        return float(roc_auc_score(same, gram[i, j], sample_weight=weight * c[i] * c[j]))

    half = (found.high - found.low) / 2
    assert half == pytest.approx(1.96 * bootstrap_se(slow, y, 80), rel=0.3)


def test_overlap_of_uniform_cosines_is_what_they_share() -> None:
    """Same-class cosines uniform over [0, 1], different ones over [1/3, 4/3] in rank: two thirds in common."""
    from repdiag.metrics.same_class import FINE, Histograms, _overlap

    at = np.arange(FINE) / FINE * 4 / 3
    same, different = (at < 1).astype(float), (at >= 1 / 3).astype(float)
    h = Histograms(same / same.sum(), different / different.sum())
    assert _overlap(h) == pytest.approx(2 / 3, abs=0.02)


def test_only_so_many_rows_are_paired_and_the_rest_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    from repdiag.metrics import same_class

    x, y = unbalanced(n=900)
    whole = measure("same_class_auc", points(x, y))
    monkeypatch.setattr(same_class, "ROWS", 200)
    part = measure("same_class_auc", points(x, y))
    assert (whole.parameters["samples"], part.parameters["samples"]) == (900, 200)
    assert part.note == "Pairs of 200 of 900 samples, drawn class by class."
    assert part.value == pytest.approx(whole.value, abs=0.05)
    monkeypatch.setattr(same_class, "ROWS", 6)  # more classes than pairs of rows: some of the classes
    few = measure("same_class_auc", points(x, y))
    assert few.parameters["classes"] == 3


# ------------------------------------------------------------------------------------------ labels and no labels


def test_every_new_measure_tells_classes_from_permuted_labels() -> None:
    data = blobs(n=400, dim=12, k=5, spread=0.3)
    assert data.labels is not None
    ws = Workspace(data, CONFIG)
    shuffled = np.random.default_rng(1).permutation(data.labels)
    noise = Workspace(points(data.features, shuffled), CONFIG)
    for name in NEW:
        true, none = measure(name, ws), measure(name, noise)
        assert true.null is not None, name
        assert none.null is not None, name
        assert abs(none.value - none.null.mean) < 6 * none.null.std + 0.1 * abs(none.null.mean), name
        if name in ("nc3", "nc4"):  # three small probes: their spread is hardly known
            assert (true.value < true.null.mean) == (name == "nc3"), name
        elif not name.startswith("nc2"):  # NC2 is blind to it, as its docstring says
            assert abs(true.value - true.null.mean) > 2.5 * true.null.std, name


# ------------------------------------------------------------------------------------------ the kernel below


def test_geometries_of_many_draws_are_those_of_each_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(120, 6)).astype(np.float32) + 50, np.append(rng.integers(4, size=119), 4)
    squares, counts = rows.norms(x) ** 2, resample.stratified_counts(y, 7, rng)
    together = list(classes.geometries(x, squares, y, 6, counts))
    monkeypatch.setattr(rows, "BLOCK_BYTES", 6 * 16 * 5)  # five rows at a time
    for c, found in zip(counts, together, strict=True):
        for other in (classes.geometry(x, squares, y, 6, c), _slow(x.astype(np.float64), y, c)):
            np.testing.assert_allclose(found.radius, other.radius, rtol=1e-9)
            np.testing.assert_allclose(found.variance, other.variance, rtol=1e-9)
            np.testing.assert_allclose(found.distance, other.distance, rtol=1e-7)
            np.testing.assert_array_equal(found.size, other.size)
            np.testing.assert_array_equal(found.known, np.arange(4))


def _slow(x: np.ndarray, y: np.ndarray, counts: np.ndarray) -> classes.ClassGeometry:
    take = np.repeat(np.arange(len(y)), counts)
    x, y = x[take], y[take]
    mu, variance, radius, size = np.full((6, 6), np.nan), np.full(6, np.nan), np.full(6, np.nan), np.zeros(6)
    for c in range(4):
        own = x[y == c]
        mu[c], size[c] = own.mean(0), len(own)
        off = np.linalg.norm(own - mu[c], axis=1)
        variance[c], radius[c] = (off**2).mean(), off.mean()
    distance = np.linalg.norm(mu[:, None] - mu[None], axis=2)
    np.fill_diagonal(distance, np.nan)
    return classes.ClassGeometry(variance, distance, (mu**2).sum(1), float("nan"), radius, size)


def test_centers_that_float32_cannot_tell_apart_coincide() -> None:
    x = np.tile(np.float32([0.6, 0.8]), (20, 1))
    x[10:, 0] += np.float32(1e-8)
    g = classes.geometry(x, rows.norms(x) ** 2, np.repeat([0, 1], 10), 2)
    assert g.distance[0, 1] == 0
    assert (g.variance == 0).all()
