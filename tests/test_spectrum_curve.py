"""RankMe's curve, spectra from the smaller side, and the jackknife's groups."""

from __future__ import annotations

import numpy as np
import pytest

from repdiag.config import ScoreConfig
from repdiag.kernels import spectrum
from repdiag.metrics import METRICS
from repdiag.metrics.spectrum import MANY_FEATURES, jackknife_groups, values_only
from repdiag.types import EmbeddingSet, MetricResult
from repdiag.workspace import Workspace


def workspace(x: np.ndarray, **config: object) -> Workspace:
    ids = tuple(f"{i:06d}" for i in range(len(x)))
    return Workspace(EmbeddingSet(np.asarray(x, np.float32), ids), ScoreConfig(bootstrap=50, **config))  # type: ignore[arg-type]


def measure(name: str, ws: Workspace) -> MetricResult:
    outcome = METRICS.get(name).run(ws).outcome
    assert isinstance(outcome, MetricResult), outcome
    return outcome


@pytest.mark.parametrize("shape", [(60, 25), (25, 60), (30, 30)], ids=["tall", "wide", "square"])
@pytest.mark.parametrize("centered", [False, True], ids=["second moment", "covariance"])
def test_spectra_from_either_side_equal_numpys_svd_with_and_without_each_group(
    shape: tuple[int, int], centered: bool
) -> None:
    x = (np.random.default_rng(0).normal(size=shape) + 1).astype(np.float32)
    groups = 5
    keeps = [np.ones(len(x), bool), *(np.arange(len(x)) % groups != g for g in range(groups))]
    found = list(spectrum.moments(x, groups).spectra(centered))
    assert len(found) == len(keeps)
    for values, keep in zip(found, keeps, strict=True):
        rows = x[keep].astype(np.float64)
        if centered:
            rows = (rows - rows.mean(0)) / np.sqrt(len(rows))
        expected = np.linalg.svd(rows, compute_uv=False) ** 2
        common = min(values.size, expected.size)
        np.testing.assert_allclose(values[:common], expected[:common], atol=1e-8 * expected[0])
        assert np.abs(values[common:]).max(initial=0) < 1e-8 * expected[0]


def test_rankme_of_few_rows_follows_its_formula_with_min_n_d_singular_values() -> None:
    x = np.random.default_rng(1).normal(size=(40, 300)).astype(np.float32)
    singular = np.linalg.svd(x / np.linalg.norm(x, axis=1, keepdims=True), compute_uv=False).astype(float)
    p = singular / singular.sum() + 1e-7
    assert measure("rankme", workspace(x)).value == pytest.approx(np.exp(-(p * np.log(p)).sum()), rel=1e-6)


def test_the_singular_value_curve_of_orthonormal_rows_is_flat_and_of_one_direction_a_cliff() -> None:
    flat = measure("rankme", workspace(np.tile(np.eye(16), (4, 1))))
    assert [row["rank"] for row in flat.table] == [1, 2, 4, 8, 16]
    assert [row["singular_value"] for row in flat.table] == pytest.approx([1] * 5)
    assert [row["share_so_far"] for row in flat.table] == pytest.approx([1 / 16, 1 / 8, 1 / 4, 1 / 2, 1])
    assert flat.parameters["numerical_rank"] == 16
    cliff = measure("rankme", workspace(np.outer(np.arange(1, 41), np.ones(16))))
    assert cliff.parameters["numerical_rank"] == 1
    assert cliff.table[1]["singular_value"] == pytest.approx(0, abs=1e-6)


def test_the_numerical_rank_is_the_rank_that_was_put_in() -> None:
    rng = np.random.default_rng(2)
    x = rng.normal(size=(200, 7)) @ rng.normal(size=(7, 50))
    assert measure("rankme", workspace(x)).parameters["numerical_rank"] == 7


def test_many_features_take_fewer_groups_and_values_only_take_none() -> None:
    rng = np.random.default_rng(3)
    assert jackknife_groups(workspace(rng.normal(size=(20, 8)))) == 10
    assert jackknife_groups(workspace(rng.normal(size=(20, MANY_FEATURES + 1)))) == 5
    x = rng.normal(size=(50, 8))
    quick = workspace(x)
    assert values_only(quick, True)
    found, whole = measure("rankme", quick), measure("rankme", workspace(x))
    assert found.interval is None
    assert whole.interval is not None
    assert found.value == pytest.approx(whole.value, rel=1e-9)
