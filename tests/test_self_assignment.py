"""ReSA's self-assignment of a frozen encoder: known batches, the identity without structure, purity and its null."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from conftest import blobs

from repdiag.config import ScoreConfig
from repdiag.metrics import METRICS
from repdiag.metrics.self_assignment import EPS, neighbors, self_assignment, spread
from repdiag.types import EmbeddingSet, MetricResult, Skipped
from repdiag.workspace import Workspace

CONFIG = ScoreConfig(bootstrap=50, permutations=20, null_draws=3)
NAMES = ("self_assignment_spread", "self_assignment_neighbors", "self_assignment_purity")


def given(x: np.ndarray, labels: np.ndarray | None = None) -> EmbeddingSet:
    return EmbeddingSet(
        features=x.astype(np.float32),
        ids=tuple(f"{i:05d}" for i in range(len(x))),
        labels=labels,
        class_names=() if labels is None else tuple(str(c) for c in range(labels.max() + 1)),
    )


def measured(embeddings: EmbeddingSet, *names: str) -> list[MetricResult]:
    ws = Workspace(embeddings, CONFIG)
    found = [METRICS.get(name).run(ws).outcome for name in names or NAMES]
    assert all(isinstance(f, MetricResult) for f in found), found
    return found  # type: ignore[return-value]


def test_orthonormal_rows_are_assigned_to_themselves() -> None:
    a = self_assignment(np.eye(64, dtype=np.float32), 0.05)
    own = 1 / (1 + 63 * math.exp(-20))
    assert np.diag(a) == pytest.approx(np.full(64, own), abs=1e-12)
    assert spread(a) == pytest.approx(1 - own, abs=1e-12)
    assert neighbors(a) == pytest.approx(1, abs=1e-5)


def test_equal_rows_are_assigned_to_the_whole_batch() -> None:
    a = self_assignment(np.ones((32, 1), np.float32), 0.05)
    assert a == pytest.approx(np.full((32, 32), 1 / 32))
    assert spread(a) == pytest.approx(31 / 32)
    assert neighbors(a) == pytest.approx(32)


def test_pairs_share_their_assignment_and_labels_decide_the_purity() -> None:
    """Pairs of equal orthonormal rows: half the mass lies on the mate."""
    a = self_assignment(np.repeat(np.eye(16, dtype=np.float32), 2, axis=0), 0.05)
    assert spread(a) == pytest.approx(0.5, abs=1e-6)
    assert neighbors(a) == pytest.approx(2, abs=1e-5)


@pytest.mark.parametrize("eps", EPS)
def test_three_iterations_are_sinkhorn_knopp(eps: float) -> None:
    """Rows sum to 1 exactly and the columns nearly; a plain loop over columns, then rows, gives the same matrix."""
    x = blobs(n=40, dim=10).features
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    a = self_assignment(x, eps)
    assert a.sum(1) == pytest.approx(np.ones(40), abs=1e-12)
    plain = np.exp(x.astype(np.float64) @ x.T.astype(np.float64) / eps)
    for _ in range(3):
        for j in range(40):
            plain[:, j] = plain[:, j] / plain[:, j].sum()
        for i in range(40):
            plain[i] = plain[i] / plain[i].sum()
    assert a == pytest.approx(plain, abs=1e-12)
    assert not np.allclose(a, np.exp(x @ x.T / eps) / np.exp(x @ x.T / eps).sum(1, keepdims=True), atol=1e-6)


def test_without_structure_the_assignment_at_the_papers_eps_is_the_identity() -> None:
    rng = np.random.default_rng(0)
    e = given(rng.normal(size=(2100, 512)), rng.integers(10, size=2100))
    wide, many, pure = measured(e)
    assert wide.parameters["batch"] == 512
    assert wide.parameters["batches"] == 4
    assert wide.value < 1e-4
    assert many.value < 1.001
    assert wide.table[2]["value"] > 0.1, "at eps 0.2 it is not"
    assert pure.note is not None
    assert "off the diagonal" in pure.note
    assert pure.value == pytest.approx(0.1, abs=0.03)


def test_tight_classes_are_assigned_to_themselves_and_random_labels_are_not() -> None:
    rng = np.random.default_rng(1)
    centers = np.linalg.qr(rng.normal(size=(32, 32)))[0][:8]
    truth = np.arange(640) % 8
    x = centers[truth] + 0.03 * rng.normal(size=(640, 32))
    wide, many, pure = measured(given(x, truth))
    assert wide.parameters["batch"] == 320
    assert 0.9 < wide.value < 1
    assert many.value == pytest.approx(40, abs=4), "a batch of 320 has 40 images of each class"
    assert pure.value > 0.999
    assert pure.null is not None
    assert pure.null.mean == pytest.approx(39 / 319, abs=0.01)
    assert pure.per_class is not None
    assert (pure.per_class > 0.999).all()
    (wrong,) = measured(given(x, rng.permutation(truth)), "self_assignment_purity")
    assert wrong.value == pytest.approx(39 / 319, abs=0.02)
    assert wrong.interval is not None
    assert wrong.interval.high < 0.2


def test_a_shared_mean_direction_spreads_without_any_cluster_and_so_does_its_null() -> None:
    """The trap named in the docstring."""
    rng = np.random.default_rng(2)
    x = np.abs(rng.normal(size=(600, 128)))
    wide, many, _ = measured(given(x, rng.integers(3, size=600)))
    assert wide.value > 0.2
    assert wide.null is not None
    assert wide.null.mean == pytest.approx(wide.value, rel=0.1)
    assert many.null is not None
    assert many.null.mean == pytest.approx(many.value, rel=0.2)


def test_purity_is_the_same_counted_pair_by_pair() -> None:
    """One batch's worth of rows, its purity from a loop over pairs."""
    e = blobs(n=64, dim=12)
    assert e.labels is not None
    (found,) = measured(e, "self_assignment_purity")
    x = e.features / np.linalg.norm(e.features.astype(np.float64), axis=1, keepdims=True)
    order = Workspace(e, CONFIG).rng(6201).permutation(64)
    values = []
    for some in (np.sort(order[:32]), np.sort(order[32:])):
        a = self_assignment(x[some].astype(np.float32), 0.05)
        pairs = [(i, j) for i in range(32) for j in range(32) if i != j]
        same = sum(a[i, j] for i, j in pairs if e.labels[some[i]] == e.labels[some[j]])
        values.append(same / sum(a[i, j] for i, j in pairs))
    assert found.value == pytest.approx(np.mean(values), abs=1e-6)


def test_images_without_a_mate_in_their_batch_are_counted() -> None:
    """300 classes of two: a batch of 300 holds both images of about half of them."""
    rng = np.random.default_rng(4)
    (found,) = measured(
        given(np.repeat(rng.normal(size=(300, 64)), 2, axis=0), np.repeat(np.arange(300), 2)),
        "self_assignment_purity",
    )
    assert found.parameters["images_with_a_mate"] == pytest.approx(0.5, abs=0.1)


def test_too_few_samples_are_skipped_with_the_number() -> None:
    outcome = METRICS.get("self_assignment_spread").run(Workspace(blobs(n=31), CONFIG)).outcome
    assert isinstance(outcome, Skipped)
    assert "31 samples" in outcome.reason


def test_batches_are_disjoint_and_tables_plain() -> None:
    for found in measured(blobs(n=300)):
        assert found.parameters["batch"] * found.parameters["batches"] <= 300
        assert [row["eps"] for row in found.table] == list(EPS)
        json.dumps(found.table, allow_nan=False)


def test_the_assignment_follows_a_relabeling_of_the_rows() -> None:
    rng = np.random.default_rng(7)
    x = rng.normal(size=(20, 3))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    p = rng.permutation(20)
    a, b = self_assignment(x, 0.1), self_assignment(x[p], 0.1)
    assert b == pytest.approx(a[np.ix_(p, p)], abs=1e-9)
    assert not np.allclose(b, a, atol=1e-3)
