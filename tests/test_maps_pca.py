"""The PCA map: scikit-learn's components, turned the same way every time, from whatever moments are at hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import blobs
from sklearn.decomposition import PCA

from repdiag import maps
from repdiag.config import ScoreConfig
from repdiag.metrics.spectrum import rankme
from repdiag.types import EmbeddingSet
from repdiag.workspace import Skip, Workspace


def embedded(x: np.ndarray) -> EmbeddingSet:
    return EmbeddingSet(x.astype(np.float32), tuple(f"{i:05d}" for i in range(len(x))))


def workspace(x: np.ndarray, **config: object) -> Workspace:
    return Workspace(embedded(x), ScoreConfig(**config))


def reference(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    model = PCA(2, svd_solver="full").fit(rows.astype(np.float64))
    turned = np.array([np.sign(v[np.abs(v).argmax()]) for v in model.components_])
    return model.transform(rows.astype(np.float64)) * turned, model.explained_variance_ratio_


@pytest.mark.parametrize(("n", "d"), [(200, 12), (20, 60), (9, 9)], ids=["tall", "wide", "square"])
def test_places_are_scikit_learns_up_to_the_stated_sign(n: int, d: int) -> None:
    ws = workspace(np.random.default_rng(n).gamma(0.5, size=(n, d)))
    flat, shares = maps.pca_map(ws)
    expected, explained = reference(ws.x)
    np.testing.assert_allclose(flat, expected, atol=1e-6)
    np.testing.assert_allclose(shares, explained, atol=1e-7)


@pytest.mark.parametrize(("n", "d"), [(60, 7), (7, 60)], ids=["tall", "wide"])
def test_lanczos_finds_the_same_two(n: int, d: int, monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(3).gamma(0.5, size=(n, d))
    dense, shares = maps.pca_map(workspace(x))
    monkeypatch.setattr(maps, "DENSE", 3)
    for _ in range(2):
        flat, again = maps.pca_map(workspace(x))
        np.testing.assert_allclose(flat, dense, atol=1e-6)
        np.testing.assert_allclose(again, shares, atol=1e-8)


def test_two_axes_by_hand() -> None:
    """Unit rows at (1, 0) and (0, 1), three to one: all variance on one axis, whose first entry counts as positive."""
    flat, shares = maps.pca_map(workspace(np.array([[2.0, 0], [5, 0], [1, 0], [0, 3]])))
    near, far = np.sqrt(2) / 4, -3 * np.sqrt(2) / 4
    np.testing.assert_allclose(flat[:, 0], [near, near, near, far], atol=1e-7)
    np.testing.assert_allclose(flat[:, 1], 0, atol=1e-7)
    np.testing.assert_allclose(shares, [1, 0], atol=1e-7)


def test_moments_of_the_spectrum_are_used_only_where_they_are_of_unit_rows() -> None:
    data = blobs(labels=False)
    stretched = replace(
        data, features=data.features * np.linspace(1, 30, len(data), dtype=np.float32)[:, None]
    )
    fresh, _ = maps.pca_map(Workspace(stretched, ScoreConfig()))
    for l2 in (None, False):
        ws = Workspace(stretched, ScoreConfig(l2=l2))
        rankme(ws)
        np.testing.assert_allclose(maps.pca_map(ws)[0], fresh, atol=1e-6)


def test_a_single_feature_or_none_that_varies() -> None:
    one = np.array([[1.0], [-1], [1], [1]])
    flat, shares = maps.pca_map(workspace(one))
    assert shares == (1.0, 0.0)
    assert not flat[:, 1].any()
    with pytest.raises(Skip, match="do not vary"):
        maps.pca_map(workspace(np.ones((6, 3))))
