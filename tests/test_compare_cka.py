"""CKA and shared neighbors: known answers, invariances, and the same numbers as the formulas written out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from repdiag.kernels.cka import linear_cka, linear_cka_interval, neighbor_overlap

Array = np.ndarray[Any, Any]


def draw(n: int, d: int, seed: int) -> Array:
    return np.random.default_rng(seed).normal(size=(n, d))


def slow_cka(x: Array, y: Array) -> float:
    """The definition with N x N kernels and loops."""
    n = len(x)

    def hsic(k: Array, l: Array) -> float:  # noqa: E741
        trace = sum(k[i, j] * l[j, i] for i in range(n) for j in range(n))
        product = sum(k[i, j] * l[j, m] for i in range(n) for j in range(n) for m in range(n))
        return float(trace + k.sum() * l.sum() / ((n - 1) * (n - 2)) - 2 * product / (n - 2)) / (n * (n - 3))

    k, l = x @ x.T, y @ y.T  # noqa: E741
    np.fill_diagonal(k, 0)
    np.fill_diagonal(l, 0)
    return hsic(k, l) / float(np.sqrt(hsic(k, k) * hsic(l, l)))


def test_the_same_as_the_definition_written_out() -> None:
    """Sums over samples give what N x N kernels give, for dependent features of different width."""
    x = draw(17, 5, 0)
    y = np.concatenate([x[:, :3] ** 2, draw(17, 4, 1)], 1) + 3
    assert linear_cka(x, y) == pytest.approx(slow_cka(x, y), abs=1e-12)
    assert abs(linear_cka(x, y) - linear_cka(x, x)) > 0.05  # and not merely always the same


def test_known_answers() -> None:
    """1 for a rotated, shifted, scaled copy; near 0 for independent features, though D is far above N."""
    x = draw(200, 12, 0).astype(np.float32)
    turn = np.linalg.qr(draw(12, 12, 1))[0]
    assert linear_cka(x, x) == pytest.approx(1, abs=1e-9)
    assert linear_cka(x, (7 * x @ turn + 5).astype(np.float32)) == pytest.approx(1, abs=1e-5)
    found = [linear_cka(draw(100, 400, 2 * s), draw(100, 400, 2 * s + 1)) for s in range(10)]
    assert abs(np.mean(found)) < 0.05
    k = draw(100, 400, 3) - draw(100, 400, 3).mean(0)
    other = draw(100, 400, 4) - draw(100, 400, 4).mean(0)
    plain = np.linalg.norm(k.T @ other) ** 2 / (np.linalg.norm(k.T @ k) * np.linalg.norm(other.T @ other))
    assert plain > 0.7  # what debiasing is for


def test_the_interval_covers_the_choice_of_samples() -> None:
    """The jackknife's interval holds the population's value about as often as it says; none for few samples."""
    hits = []
    truth = linear_cka(*_related(40_000, 99))
    for seed in range(60):
        value, interval = linear_cka_interval(*_related(200, seed), seed=seed)
        assert interval is not None
        assert interval[0] <= value <= interval[1]
        hits.append(interval[0] <= truth <= interval[1])
    assert np.mean(hits) >= 0.85
    assert linear_cka_interval(draw(40, 4, 0), draw(40, 4, 1))[1] is None


def _related(n: int, seed: int) -> tuple[Array, Array]:
    x = draw(n, 6, seed)
    return x, np.concatenate([x[:, :2] * 2, draw(n, 4, seed + 1000)], 1)


def test_shared_neighbors() -> None:
    """All of them for a rotated copy, k / (N - 1) for unrelated spaces, and what loops count in between."""
    x = draw(150, 8, 0).astype(np.float32)
    turn = np.linalg.qr(draw(8, 8, 1))[0].astype(np.float32)
    assert neighbor_overlap(x, 3 * x @ turn, 5).mean() > 0.99
    assert neighbor_overlap(x, draw(150, 8, 2).astype(np.float32), 5).mean() == pytest.approx(
        5 / 149, abs=0.03
    )
    y = (x + 0.5 * draw(150, 8, 3)).astype(np.float32)
    unit = [f / np.linalg.norm(f, axis=1, keepdims=True) for f in (x.astype(float), y.astype(float))]
    near = [[set(np.argsort(-np.delete(u @ row, i))[:5]) for i, row in enumerate(u)] for u in unit]
    slow = [len(a & b) / 5 for a, b in zip(*near, strict=True)]
    assert neighbor_overlap(x, y, 5) == pytest.approx(slow)


def test_what_cannot_be_compared_says_so() -> None:
    """Other shapes, few samples, constant or infinite features."""
    x = draw(20, 3, 0)
    for one, other in (
        (x, draw(19, 3, 0)),
        (x[:3], x[:3]),
        (x, np.ones((20, 2))),
        (x, np.full((20, 2), np.inf)),
    ):
        with pytest.raises(ValueError, match=r"samples|expected|vary|finite"), np.errstate(invalid="ignore"):
            linear_cka(one, other)
    with pytest.raises(ValueError, match="neighbors"):
        neighbor_overlap(x.astype(np.float32), x.astype(np.float32), 20)
