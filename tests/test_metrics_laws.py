"""Every registered metric keeps the laws that it declares, stays in its range, and skips with a reason."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import blobs
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repdiag.config import ScoreConfig
from repdiag.metrics import FAMILIES, Metric, all_metrics
from repdiag.types import Direction, EmbeddingSet, Law, MetricResult, Need, Skipped, Views
from repdiag.workspace import Workspace

CONFIG = ScoreConfig(bootstrap=50, permutations=5, null_draws=2, kmeans_seeds=3, eps=2.0)
EVERY = all_metrics()


def whole(**more: object) -> EmbeddingSet:
    """An embedding set that lacks nothing any metric needs."""
    return blobs(hierarchy=True, companions=True, **more)  # type: ignore[arg-type]


def run(metric: Metric, embeddings: EmbeddingSet, config: ScoreConfig = CONFIG) -> MetricResult | Skipped:
    return metric.run(Workspace(embeddings, config)).outcome


def shuffled(e: EmbeddingSet, rng: np.random.Generator) -> EmbeddingSet:
    p = rng.permutation(len(e))
    assert e.views is not None
    return replace(
        e,
        features=e.features[p],
        ids=tuple(e.ids[i] for i in p),
        labels=None if e.labels is None else e.labels[p],
        is_train=None if e.is_train is None else e.is_train[p],
        views=Views(e.views.features[:, p], np.arange(len(e)), e.views.description),
        companions=tuple(replace(c, features=c.features[p]) for c in e.companions),
    )


def mapped(e: EmbeddingSet, matrix: np.ndarray) -> EmbeddingSet:
    assert e.views is not None
    moved = (e.features.astype(np.float64) @ matrix).astype(np.float32)
    views = (e.views.features.astype(np.float64) @ matrix).astype(np.float32)
    return replace(e, features=moved, views=Views(views, e.views.rows, e.views.description))


def change(law: Law, e: EmbeddingSet, rng: np.random.Generator) -> EmbeddingSet:
    d = e.dim
    if law is Law.PERMUTATION:
        return shuffled(e, rng)
    if law is Law.SCALE:
        return mapped(e, np.eye(d) * float(rng.uniform(0.1, 30)))
    if law is Law.FEATURE_ORDER:
        return mapped(e, np.eye(d)[rng.permutation(d)])
    return mapped(e, np.linalg.qr(rng.normal(size=(d, d)))[0])


@pytest.mark.parametrize("metric", EVERY, ids=lambda m: m.spec.name)
@given(seed=st.integers(0, 1000), split=st.booleans())
@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_declared_laws_hold(metric: Metric, seed: int, split: bool) -> None:
    before = whole(seed=seed, split=split)
    expected = run(metric, before)
    assert isinstance(expected, MetricResult), expected
    for law in metric.spec.laws:
        found = run(metric, change(law, before, np.random.default_rng(seed)))
        assert isinstance(found, MetricResult), found
        tolerance = 1e-9 if law is Law.PERMUTATION else 2e-3
        assert found.value == pytest.approx(expected.value, rel=tolerance, abs=tolerance), law


def test_the_check_of_a_law_can_fail() -> None:
    """Q-Score is no invariant of rotation (it does not claim to be): the harness must notice."""
    metric = next(m for m in EVERY if m.spec.name == "activation_frequency")
    assert Law.ROTATION not in metric.spec.laws
    before = blobs()
    after = mapped(before, np.linalg.qr(np.random.default_rng(0).normal(size=(24, 24)))[0])
    after = replace(after, features=np.abs(after.features))
    one, two = run(metric, before), run(metric, after)
    assert isinstance(one, MetricResult)
    assert isinstance(two, MetricResult)
    assert one.value != pytest.approx(two.value, rel=2e-3)


@pytest.mark.parametrize("split", [False, True], ids=["cross-fitted", "split"])
@pytest.mark.parametrize("metric", EVERY, ids=lambda m: m.spec.name)
def test_values_intervals_and_shapes_are_sound(metric: Metric, split: bool) -> None:
    ws = Workspace(whole(split=split), CONFIG)
    found = metric.run(ws).outcome
    spec = metric.spec
    assert isinstance(found, MetricResult), found
    assert spec.low <= found.value <= spec.high
    if found.interval is not None:
        assert spec.low <= found.interval.low <= found.interval.high <= spec.high
    if Need.LABELS in spec.needs:
        assert found.null is not None, "a labeled score stands beside its null"
    if found.per_sample is not None:
        assert found.per_sample.shape == (len(ws),)
    if found.per_class is not None:
        assert found.per_class.shape == (ws.k,)
    assert found.interval is not None or "no interval" in (found.note or "").lower()


@pytest.mark.parametrize("metric", EVERY, ids=lambda m: m.spec.name)
def test_declarations_are_complete(metric: Metric) -> None:
    spec = metric.spec
    assert spec.family in FAMILIES
    for text in (spec.title, spec.meaning, spec.formula, spec.source, spec.cost):
        assert text.strip()
    assert spec.meaning.split(":")[0].split(" ")[0] in ("high", "low")
    assert spec.low < spec.high
    assert isinstance(spec.direction, Direction)
    assert metric.compute.__doc__
    assert len(metric.compute.__doc__) > 60


def beside(kind: str) -> EmbeddingSet:
    """An embedding set whose companions are of one kind only."""
    found = whole()
    return replace(found, companions=tuple(c for c in found.companions if c.kind == kind))


LACKING = {
    Need.LABELS: lambda: whole(labels=False),
    Need.IMAGES: lambda: whole(views=False),
    Need.NONNEGATIVE: lambda: whole(relu=False),
    Need.HIERARCHY: lambda: blobs(companions=True),
    Need.LAYERS: lambda: beside("checkpoint"),
    Need.CHECKPOINTS: lambda: beside("layer"),
}


@pytest.mark.parametrize("metric", EVERY, ids=lambda m: m.spec.name)
@pytest.mark.parametrize("need", Need, ids=lambda n: n.name.lower())
def test_a_missing_need_is_skipped_with_its_reason_and_an_unneeded_one_is_not(
    metric: Metric, need: Need
) -> None:
    found = run(metric, LACKING[need]())
    if need in metric.spec.needs or (need is Need.LABELS and Need.HIERARCHY in metric.spec.needs):
        assert isinstance(found, Skipped)
        assert len(found.reason) > 10
    else:
        assert isinstance(found, MetricResult), found


HARD = {
    "one class": lambda: replace(blobs(), labels=np.zeros(240, np.int64), class_names=("only",)),
    "every sample its own class": lambda: replace(
        blobs(n=40), labels=np.arange(40), class_names=tuple(str(i) for i in range(40))
    ),
    "all embeddings alike": lambda: replace(blobs(), features=np.ones((240, 24), np.float32)),
    "all embeddings zero": lambda: replace(blobs(), features=np.zeros((240, 24), np.float32)),
    "four samples": lambda: blobs(n=4, k=2),
    "one feature": lambda: replace(blobs(views=False), features=blobs().features[:, :1].copy()),
    "two features": lambda: replace(blobs(views=False), features=blobs().features[:, :2].copy()),
    "more features than samples": lambda: blobs(n=20, dim=300, k=2),
    "every sample twice": lambda: replace(
        blobs(views=False),
        features=np.repeat(blobs(n=120).features, 2, axis=0),
        labels=np.repeat(np.arange(120) % 4, 2),
    ),
    "one rare class": lambda: replace(blobs(), labels=np.where(np.arange(240) == 0, 3, np.arange(240) % 3)),
    "a class that never occurs": lambda: replace(blobs(), class_names=tuple("abcdef")),
    "huge values": lambda: replace(blobs(views=False), features=blobs().features * np.float32(1e18)),
    "tiny values": lambda: replace(blobs(views=False), features=blobs().features * np.float32(1e-18)),
    "test part of one class": lambda: replace(
        blobs(split=True), labels=np.where((np.arange(240) // 4) % 2 == 0, np.arange(240) % 4, 0)
    ),
}


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("case", HARD)
def test_degenerate_data_gives_numbers_or_reasons_never_a_crash(case: str) -> None:
    ws = Workspace(HARD[case](), CONFIG)
    for metric in EVERY:
        found = metric.run(ws).outcome
        if isinstance(found, MetricResult):
            assert metric.spec.low - 1e-9 <= found.value <= metric.spec.high + 1e-9, metric.spec.name
        else:
            assert found.reason


@pytest.mark.parametrize("metric", EVERY, ids=lambda m: m.spec.name)
def test_the_same_seed_gives_the_same_answer(metric: Metric) -> None:
    one, two = run(metric, whole()), run(metric, whole())
    assert isinstance(one, MetricResult)
    assert isinstance(two, MetricResult)
    assert one.value == two.value
    assert one.interval == two.interval
    assert one.null == two.null
