"""How values move with the number of samples: the same metrics on disjoint quarters and halves of the data.

A metric whose value climbs with N compares nothing across data sets of different size; its course over N/4, N/2
and N shows how far it is from standing still.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from repdiag.config import ScoreConfig
from repdiag.metrics import Metric
from repdiag.metrics.spectrum import values_only
from repdiag.types import EmbeddingSet, IntArray, MetricResult, SizePoint, Views
from repdiag.workspace import Workspace

QUARTERS = 4
FEWEST = 50
"""Evaluated samples that a part must have: on fewer a value says more about chance than about N."""


def by_size(
    embeddings: EmbeddingSet, config: ScoreConfig, device: str, metrics: Sequence[Metric]
) -> dict[str, tuple[SizePoint, ...]]:
    """Mean value over four disjoint quarters and over two halves, for each of `metrics` declared `by_size`.

    Parts are cut within each class, and a train part as the test part is (a train/test split stays one in each
    part). The configuration is that of the whole but for intervals and nulls, which nobody sees here. A part in
    which a metric is skipped does not count (`parts` says how many did); sizes below 50 evaluated samples are left
    out. All parts together hold 2N samples: what is linear in N costs twice the metric, O(N^2 D) neighbors three
    quarters of it.
    """
    chosen = [m for m in metrics if m.spec.by_size]
    quarter, evaluated = quarters(embeddings, config.seed)
    cheap = replace(
        config,
        bootstrap=min(50, config.bootstrap),
        permutations=min(2, config.permutations),
        null_draws=min(1, config.null_draws),
        kmeans_seeds=min(3, config.kmeans_seeds),
    )
    found: dict[str, list[SizePoint]] = {}
    for n_parts in (QUARTERS, 2):
        samples = int(evaluated.sum()) // n_parts
        if samples < FEWEST or not chosen:
            continue
        values: dict[str, list[float]] = {m.spec.name: [] for m in chosen}
        for part in range(n_parts):
            ws = Workspace(subset(embeddings, np.flatnonzero(quarter % n_parts == part)), cheap, device)
            values_only(ws, True)
            for metric in chosen:
                outcome = metric.run(ws).outcome
                if isinstance(outcome, MetricResult):
                    values[metric.spec.name].append(outcome.value)
        for name, some in values.items():
            if some:
                found.setdefault(name, []).append(SizePoint(samples, float(np.mean(some)), len(some)))
    return {name: tuple(points) for name, points in found.items()}


def quarters(embeddings: EmbeddingSet, seed: int) -> tuple[IntArray, np.ndarray]:
    """The quarter 0..3 of each sample (N,), and which samples are evaluated (N,).

    Each class of each part of the split is dealt out in turn, going on where the last one ended, so that quarters
    differ by at most one sample in size. Halves are the quarters of equal remainder by two.
    """
    n = len(embeddings)
    train = np.zeros(n, bool) if embeddings.is_train is None else embeddings.is_train
    evaluated = ~train if train.any() and not train.all() else np.ones(n, bool)
    labels = np.zeros(n, np.int64) if embeddings.labels is None else embeddings.labels
    rng = np.random.default_rng([seed, 44])
    order = rng.permutation(np.argsort(np.asarray(embeddings.ids, dtype=np.str_), kind="stable"))
    quarter = np.empty(n, np.int64)
    for part in (evaluated, ~evaluated):
        rows = order[part[order]]
        rows = rows[np.argsort(labels[rows], kind="stable")]
        quarter[rows] = np.arange(rows.size) % QUARTERS
    return quarter, evaluated


def subset(embeddings: EmbeddingSet, rows: IntArray) -> EmbeddingSet:
    """The samples `rows` with all that is known of them; classes keep their numbers."""
    views = embeddings.views
    if views is not None:
        position = np.full(len(embeddings), -1)
        position[rows] = np.arange(rows.size)
        known = np.flatnonzero(position[views.rows] >= 0)
        views = Views(views.features[:, known], position[views.rows[known]], views.description)
    return replace(
        embeddings,
        features=embeddings.features[rows],
        ids=tuple(embeddings.ids[i] for i in rows),
        labels=None if embeddings.labels is None else embeddings.labels[rows],
        is_train=None if embeddings.is_train is None else embeddings.is_train[rows],
        views=views,
        companions=tuple(replace(c, features=c.features[rows]) for c in embeddings.companions),
    )
