"""Near-duplicates: the rule's false alarms and power by simulation, exact groups, degenerate rows."""

from __future__ import annotations

import numpy as np
import pytest

from repdiag.kernels import duplicates
from repdiag.kernels.duplicates import EXACT, chance, cut, find


def literal(x: np.ndarray, threshold: float) -> list[int]:
    """Groups by every pair in float64 and a plain union-find: the slow way."""
    u = x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
    parent = list(range(len(x)))

    def root(i: int) -> int:
        while parent[i] != i:
            i = parent[i]
        return i

    for i in range(len(x)):
        for j in range(i):
            if u[i] @ u[j] >= threshold:
                a, b = sorted((root(i), root(j)))
                parent[b] = a
    roots = [root(i) for i in range(len(x))]
    heads = sorted({r for r in roots if roots.count(r) > 1})
    return [heads.index(r) if r in heads else -1 for r in roots]


def blobs(n: int, d: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    center = 2 * rng.normal(size=(8, d))
    return (center[rng.integers(0, 8, n)] + rng.normal(size=(n, d))).astype(np.float32)


@pytest.mark.parametrize("threshold", [0.9, 0.97, 0.999])
def test_groups_are_those_of_every_pair(threshold: float) -> None:
    """Also where a row has more near ones than the search asks for, and where chains connect."""
    x = blobs(160, 6, 1)
    x = np.concatenate([x, x[:5] * 3, np.repeat(x[7:8], 30, 0) + np.float32(1e-3) * blobs(30, 6, 2)])
    assert find(x, threshold).group.tolist() == literal(x, threshold)


def test_the_law_of_nearest_distances_is_exact_for_even_spread() -> None:
    """p is uniform where rows are even in m dimensions: r^m exponential, any scale."""
    rng = np.random.default_rng(0)
    for m in (2, 9, 40):
        distance = 0.5 * (3.7 * rng.exponential(size=20_000) ** (1 / m)) ** 2
        p = np.sort(chance(distance, 1000))
        assert np.abs(p - (np.arange(p.size) + 0.5) / p.size).max() < 0.02
        assert p[0] > 1e-6


def test_hand_computed_p() -> None:
    """Median 1, upper quartile 4: s = 2, so p(d) = 1 - 2^-sqrt(d)."""
    distance = np.array([1 / 16, 1 / 4, 1.0, 4.0, 16.0])
    expected = 1 - 0.5 ** np.sqrt(distance)
    np.testing.assert_allclose(chance(distance, 64), expected, rtol=1e-12)
    assert cut(distance, 64, rate=0.9) == 1.0  # sorted p .159 .293 .5 .75 .9375 against .18 .36 .54 .72 .9
    assert cut(distance, 64, rate=0.1) == 0.0


@pytest.mark.parametrize("d", [8, 64])
def test_false_alarms_are_rare_and_copies_are_found(d: int) -> None:
    """Without copies, data sets with a finding are as rare as the rule says; noisy copies are found, few others."""
    alarms = found = others = 0
    for seed in range(20):
        x = blobs(400, d, seed)
        alarms += bool((find(x).group >= 0).any())
        rng = np.random.default_rng(100 + seed)
        copied = np.concatenate([x, x[:10] + np.float32(0.02) * rng.normal(size=(10, d)).astype(np.float32)])
        group = find(copied).group
        hit = (group[400:] >= 0) & (group[400:] == group[:10])
        found += int(hit.sum())
        others += int((group[10:400] >= 0).sum())
    assert alarms <= 5, "the level is 0.1 a data set: 5 of 20 has probability below 0.05"
    assert found >= 190
    assert others <= 0.15 * 2 * found


def test_equal_rows_are_found_however_few_and_zero_rows_are_left_out() -> None:
    x = np.array([[1, 0], [0, 0], [2, 0], [0, 1], [0, 0], [-0.0, 3]], np.float32)
    got = find(x)
    assert got.group.tolist() == [0, -1, 0, 1, -1, 1]
    assert got.chosen == "equal rows only"
    assert "too few" in got.reason
    assert got.nearest.tolist() == [2, -1, 0, 5, -1, 3]
    np.testing.assert_allclose(got.cosine[[0, 2, 3, 5]], 1.0)
    assert find(np.zeros((3, 2), np.float32)).group.tolist() == [-1, -1, -1]
    assert find(np.ones((4, 2), np.float32)).group.tolist() == [0, 0, 0, 0]


def test_a_set_where_every_image_is_there_twice() -> None:
    """Equal rows do not enter the law, so that they hide no near ones."""
    x = blobs(300, 16, 3)
    near = x[:5] + np.float32(0.03)
    got = find(np.concatenate([x, x, near]))
    assert (got.group[:300] == got.group[300:600]).all()
    assert (got.group[600:] == got.group[:5]).all()
    assert got.chosen == "data"


def test_a_collapsed_encoder_has_no_duplicates_to_tell() -> None:
    """All rows within rounding of one another: said, rather than a threshold made up."""
    rng = np.random.default_rng(0)
    x = (1 + 1e-5 * rng.normal(size=(200, 32))).astype(np.float32)
    got = find(x)
    assert got.chosen == "equal rows only"
    assert "none can be told apart" in got.reason


def test_invariances() -> None:
    """Order, rotation and the length of each row change no group."""
    x = blobs(200, 12, 5)
    x = np.concatenate([x, x[:6] + np.float32(5e-3)])
    rng = np.random.default_rng(1)
    whole = find(x)
    assert whole.group.max() >= 5
    q = np.linalg.qr(rng.normal(size=(12, 12)))[0].astype(np.float32)
    turned = find((x @ q) * rng.uniform(0.5, 2, (len(x), 1)).astype(np.float32))
    assert turned.group.tolist() == whole.group.tolist()
    order = rng.permutation(len(x))
    moved = find(x[order])
    together = moved.group[:, None] == moved.group[None]
    expected = (whole.group[:, None] == whole.group[None])[np.ix_(order, order)]
    np.testing.assert_array_equal(together, expected)


def test_many_alike_are_linked_tile_by_tile(monkeypatch: pytest.MonkeyPatch) -> None:
    """A crowd larger than the search asks for, across tiles, is one group."""
    monkeypatch.setattr(duplicates, "_TILE", 16)
    rng = np.random.default_rng(2)
    crowd = np.eye(8, dtype=np.float32)[:1] + np.float32(1e-4) * rng.normal(size=(70, 8)).astype(np.float32)
    x = np.concatenate([blobs(100, 8, 4), crowd])
    got = find(x, 1 - 10 * EXACT)
    assert np.unique(got.group[100:]).size == 1
    assert got.group.tolist() == literal(x, 1 - 10 * EXACT)
