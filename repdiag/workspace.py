"""What several metrics need, computed once: unit rows, folds, neighbors, clusterings, the probe.

Rows are put in the order of their ids first, so that no answer depends on the order in which files were
listed. Two parts of the data matter: the *evaluated* rows (the test part, or everything when there is no
split), which every number is about, and the *reference* rows (the train part, or everything), from which
statistics and probes are learned. Without a split labeled quantities are cross-fitted over folds. Where some labels
are missing a workspace is about the labeled rows alone, and `whole` about everyone, without labels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import TypeVar, cast

import numpy as np

from repdiag.config import ScoreConfig
from repdiag.intermediates import Activation as Activation
from repdiag.intermediates import Fold as Fold
from repdiag.intermediates import Probe as Probe
from repdiag.intermediates import Skip as Skip
from repdiag.kernels import classes, kmeans, logistic, neighbors, resample, rows
from repdiag.kernels.rows import Doubles
from repdiag.types import BoolArray, EmbeddingSet, FloatArray, IntArray, Need

T = TypeVar("T")


class Workspace:
    """One embedding set under one configuration, with memoized intermediates."""

    def __init__(self, embeddings: EmbeddingSet, config: ScoreConfig, device: str = "cpu") -> None:
        self.config, self.device = config, device
        ids = np.asarray(embeddings.ids, dtype=np.str_)
        self._order = np.argsort(ids, kind="stable")
        self._given_set = embeddings
        if embeddings.labels is not None and embeddings.labels.size and embeddings.labels.min() < 0:
            self._order = self._order[embeddings.labels[self._order] >= 0]
        in_order = bool(np.all(self._order[1:] > self._order[:-1])) and self._order.size == ids.size
        self._features = embeddings.features if in_order else embeddings.features[self._order]
        self._labels = None if embeddings.labels is None else embeddings.labels[self._order]
        split = None if embeddings.is_train is None else embeddings.is_train[self._order]
        self.has_split = split is not None and bool(split.any()) and not bool(split.all())
        self._test = np.flatnonzero(~split) if split is not None and self.has_split else None
        self._train = np.flatnonzero(split) if split is not None and self.has_split else None
        self.class_names, self.parents = embeddings.class_names, embeddings.parents
        self._views, self._companions = embeddings.views, embeddings.companions
        self.rows = self._order if self._test is None else self._order[self._test]
        """Row numbers of the evaluated samples in the embedding set as it was given (N,)."""
        self.ids = ids[self.rows]
        self._memo: dict[object, object] = {}

    @property
    def whole(self) -> Workspace:
        """Everyone without labels, with as many clusters, where some labels are missing; else this very workspace.

        The split is kept unless none of the test part has a label, so that the evaluated rows here are among those.
        """
        return self if self._order.size == len(self._given_set) else self.once("whole", self._everyone)

    def _everyone(self) -> Workspace:
        given = self._given_set
        split = given.is_train
        if split is not None and split[self._order].all():
            split = None
        bare = replace(given, labels=None, class_names=(), parents=(), is_train=split)
        clusters = self.config.clusters or (np.unique(self.labels).size if self.labeled else None)
        return Workspace(bare, replace(self.config, clusters=clusters), self.device)

    @cached_property
    def place(self) -> IntArray:
        """Where each evaluated row stands among those of `whole` (N,)."""
        position = np.full(len(self._given_set), -1)
        position[self.whole.rows] = np.arange(len(self.whole))
        return position[self.rows]

    def once(self, key: object, compute: Callable[[], T]) -> T:
        """`compute()`, remembered under `key`: for intermediates that modules above share."""
        if key not in self._memo:
            self._memo[key] = compute()
        return cast(T, self._memo[key])

    # ------------------------------------------------------------------------------------ the two parts

    def _part(self, which: IntArray | None) -> FloatArray:
        return self._features if which is None else self._features[which]

    @cached_property
    def raw(self) -> FloatArray:
        """Evaluated embeddings as the encoder gave them (N, D); under `l2`, of unit length already."""
        return self.x if self.config.l2 else self._given

    @cached_property
    def _given(self) -> FloatArray:
        return self._part(self._test)

    @cached_property
    def lengths(self) -> Doubles:
        """L2 norm of each evaluated embedding (N,); under `l2`, 1 or 0."""
        return (self._lengths > 0).astype(np.float64) if self.config.l2 else self._lengths

    @cached_property
    def _lengths(self) -> Doubles:
        return rows.norms(self._given)

    @cached_property
    def x(self) -> FloatArray:
        """Evaluated embeddings of unit length (N, D)."""
        return rows.unit(self._given, self._lengths)

    @cached_property
    def reference(self) -> FloatArray:
        """Reference embeddings of unit length; the very array `x` when there is no split."""
        return rows.unit(self._part(self._train)) if self.has_split else self.x

    @property
    def space(self) -> FloatArray:
        """Evaluated rows for what can be measured on rows of any length: `x`, or `raw` without `l2` (N, D)."""
        return self.raw if self.config.l2 is False else self.x

    @cached_property
    def reference_space(self) -> FloatArray:
        """Reference rows of the same kind as `space`."""
        if self.config.l2 is not False:
            return self.reference
        return self._part(self._train) if self.has_split else self.raw

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def dim(self) -> int:
        """D."""
        return int(self._features.shape[1])

    @property
    def k(self) -> int:
        """K, the number of classes (0 when unlabeled)."""
        return len(self.class_names) if self._labels is not None else 0

    @property
    def labeled(self) -> bool:
        """Whether labeled measures make sense: at least two classes among the evaluated rows."""
        return self._labels is not None and np.unique(self.labels).size >= 2

    @cached_property
    def labels(self) -> IntArray:
        """Labels of the evaluated rows (N,); Skip when there are none."""
        if self._labels is None:
            raise Skip("the data set has no labels")
        return self._labels if self._test is None else self._labels[self._test]

    @cached_property
    def reference_labels(self) -> IntArray:
        """Labels of the reference rows; Skip when there are none."""
        if self._labels is None:
            raise Skip("the data set has no labels")
        return self._labels if self._train is None else self._labels[self._train]

    @cached_property
    def coarse_names(self) -> tuple[str, ...]:
        """Names of the coarse classes, sorted; () where no hierarchy is known."""
        return tuple(sorted(set(self.parents)))

    @cached_property
    def coarse_labels(self) -> IntArray:
        """The coarse class of each evaluated row (N,), an index into `coarse_names`."""
        number = {name: i for i, name in enumerate(self.coarse_names)}
        return np.array([number[name] for name in self.parents], np.int64)[self.labels]

    def companions(self, kind: str) -> list[tuple[str, FloatArray]]:
        """(name, rows of unit length (N, D')) of each companion of `kind`, rows in the order of the evaluated."""
        return [(c.name, rows.unit(c.features[self.rows])) for c in self._companions if c.kind == kind]

    @cached_property
    def nonnegative(self) -> bool:
        """Whether no evaluated feature is below zero (an encoder that ends in a ReLU)."""
        return all(float(self.raw[b].min()) >= 0 for b in rows.blocks(len(self.raw), self.dim * 4))

    def demand(self, needs: frozenset[Need]) -> None:
        """Skip with the reason when one of `needs` is missing here."""
        if len(self) < 4:
            raise Skip(f"only {len(self)} samples; at least 4 are needed")
        if Need.LABELS in needs:
            counts = np.bincount(self.labels)
            if np.count_nonzero(counts) < 2:
                raise Skip("all samples are of one class")
            if counts.max() < 2:
                raise Skip("no class has two samples")
        if Need.IMAGES in needs and self._views is None:
            raise Skip("needs augmented views, which precomputed embeddings or --views 0 do not give")
        if Need.NONNEGATIVE in needs and not self.nonnegative:
            raise Skip(
                "features are signed: Q-Score's definition is for encoders that end in a ReLU; "
                "this one is outside the paper's scope"
            )
        if Need.HIERARCHY in needs and len(set(self.coarse_names)) < 2:
            raise Skip("no coarse classes are known: a class hierarchy gives them (--hierarchy)")
        for need, kind, do in (
            (Need.LAYERS, "layer", "no other layer was taken: name several with --layer a,b"),
            (Need.CHECKPOINTS, "checkpoint", "no earlier checkpoint was given (--earlier)"),
        ):
            if need in needs and not any(c.kind == kind for c in self._companions):
                raise Skip(do)
        if not self.lengths.any():
            raise Skip("all embeddings are zero")

    def rng(self, purpose: int) -> np.random.Generator:
        """A generator of its own for each purpose, so that one metric's draws never shift another's."""
        return np.random.default_rng([self.config.seed, purpose])

    # ------------------------------------------------------------------------------------ resampling

    @cached_property
    def draws(self) -> resample.Counts:
        """Bootstrap draws of the evaluated rows (B, N), within classes; B falls above 260,000 samples to
        keep the table at 128 MiB (but not below 50)."""
        groups = self.labels if self.labeled else np.zeros(len(self), np.int64)
        n = max(min(50, self.config.bootstrap), min(self.config.bootstrap, 2**27 // max(1, len(self))))
        return resample.stratified_counts(groups, n, self.rng(1))

    @cached_property
    def permuted(self) -> tuple[IntArray, ...]:
        """Permutations of the evaluated rows for label-permutation nulls."""
        rng = self.rng(2)
        return tuple(rng.permutation(len(self)) for _ in range(self.config.permutations))

    @cached_property
    def folds(self) -> tuple[Fold, ...]:
        """The given split as one fold, or stratified folds in which every row is tested once."""
        if self.has_split:
            return (Fold(np.arange(len(self.reference)), np.arange(len(self))),)
        rng, part = self.rng(3), np.empty(len(self), np.int64)
        n = min(self.config.folds, len(self))
        at = 0
        for c in range(self.k):  # deal each class's rows out in turn, going on where the last class ended
            members = rng.permutation(np.flatnonzero(self.labels == c))
            part[members] = (at + np.arange(members.size)) % n
            at += members.size
        return tuple(Fold(np.flatnonzero(part != f), np.flatnonzero(part == f)) for f in range(n))

    # ------------------------------------------------------------------------------------ neighbors

    @cached_property
    def neighbors(self) -> tuple[FloatArray, IntArray]:
        """Cosines and row numbers of the nearest *other* evaluated rows (N, k), best first."""
        k = min(max(self.config.neighbors, self.config.knn, 15), len(self) - 1)
        return neighbors.others(self.x, k, self.device)

    @cached_property
    def reference_neighbors(self) -> tuple[FloatArray, IntArray]:
        """Cosines and reference row numbers nearest to each evaluated row; the row itself never counts."""
        if not self.has_split:
            return self.neighbors
        k = min(max(self.config.neighbors, self.config.knn), len(self.reference))
        return neighbors.search(self.reference, self.x, k, self.device)

    # ------------------------------------------------------------------------------------ classes

    @cached_property
    def geometry(self) -> classes.ClassGeometry:
        """Class geometry of the evaluated unit rows."""
        return self.geometry_of(self.labels)

    def geometry_of(self, labels: IntArray, weights: resample.Counts | None = None) -> classes.ClassGeometry:
        """Class geometry of the same rows under other labels or under the weights of a bootstrap draw."""
        return classes.geometry(self.x, self._squares, labels, self.k, weights)

    def space_geometry_of(
        self, labels: IntArray, weights: resample.Counts | None = None
    ) -> classes.ClassGeometry:
        """As `geometry_of`, of the rows of `space`."""
        if self.space is self.x:
            return self.geometry_of(labels, weights)
        return classes.geometry(self.raw, self.lengths**2, labels, self.k, weights)

    @cached_property
    def space_geometry(self) -> classes.ClassGeometry:
        """Class geometry of the evaluated rows of `space`."""
        return self.geometry if self.space is self.x else self.space_geometry_of(self.labels)

    @cached_property
    def _squares(self) -> Doubles:
        return rows.norms(self.x) ** 2  # 1, but for rounding and rows of zeros

    # ------------------------------------------------------------------------------------ clusters

    @property
    def n_clusters(self) -> int:
        """k of k-means: as configured, else the number of classes present, else 10 (a guess)."""
        k = self.config.clusters or (np.unique(self.labels).size if self.labeled else 10)
        if len(self) < 2 * k:
            raise Skip(f"{len(self)} samples are too few for {k} clusters")
        return k

    def cluster(self, x: FloatArray, seed: int) -> kmeans.Clustering:
        """k-means of any rows with this workspace's k, on its device."""
        return kmeans.kmeans(x, self.n_clusters, seed, device=self.device)

    @cached_property
    def clusterings(self) -> tuple[kmeans.Clustering, ...]:
        """k-means of the evaluated rows from several seeds."""
        first = self.config.seed * 1000
        return tuple(self.cluster(self.space, first + s) for s in range(self.config.kmeans_seeds))

    @cached_property
    def margin(self) -> Doubles:
        """k-means margin (d2 - d1) / (d2 + d1) of each row in the first clustering (N,)."""
        return kmeans.assign(self.space, self.clusterings[0].centroids, self.device)[1]

    def gaussian(self, draw: int, n: int | None = None) -> FloatArray:
        """Structureless rows: Gaussian with the mean and covariance of the evaluated rows, (N, D)."""
        rng = self.rng(100 + draw)
        white = rng.standard_normal((n or len(self), self.dim), dtype=np.float32)
        mean, factor = self._moments
        return np.asarray(white @ factor + mean, np.float32)

    @cached_property
    def _moments(self) -> tuple[FloatArray, FloatArray]:
        mean = self.space.mean(0, dtype=np.float64)
        second = np.zeros((self.dim, self.dim))
        for b in rows.blocks(len(self), self.dim * 8):
            part = self.space[b] - mean
            second += part.T @ part
        values, vectors = np.linalg.eigh(second / len(self))
        factor = vectors * np.sqrt(np.maximum(values, 0)) @ vectors.T
        return mean.astype(np.float32), factor.astype(np.float32)

    # ------------------------------------------------------------------------------------ views

    @cached_property
    def views(self) -> tuple[FloatArray, IntArray]:
        """Unit embeddings of V augmented views (V, M, D) and the evaluated rows (M,) they belong to."""
        known, at = self._viewed
        assert self._views is not None
        return np.stack([rows.unit(v[known]) for v in self._views.features]), at

    @cached_property
    def space_views(self) -> tuple[FloatArray, IntArray]:
        """As `views`, of the same kind as `space`."""
        if self.config.l2 is not False:
            return self.views
        known, at = self._viewed
        assert self._views is not None
        return self._views.features[:, known], at

    @cached_property
    def _viewed(self) -> tuple[IntArray, IntArray]:
        """Which of the M views are of evaluated rows, in the order of those, and the rows."""
        if self._views is None:
            raise Skip("needs augmented views, which precomputed embeddings or --views 0 do not give")
        position = np.full(len(self._given_set), -1)
        position[self.rows] = np.arange(len(self))
        at = position[self._views.rows]
        known = np.flatnonzero(at >= 0)
        known = known[np.argsort(at[known], kind="stable")]
        if known.size < 4:
            raise Skip(f"only {known.size} evaluated samples have augmented views")
        return known, at[known]

    # ------------------------------------------------------------------------------------ activation

    def fires(self, x: FloatArray) -> BoolArray:
        """L_i as a mask (N, D): features more than eps standard deviations above their row's mean."""
        mean = x.mean(1, keepdims=True, dtype=np.float64)
        std = x.std(1, keepdims=True, dtype=np.float64)
        return np.asarray(x > mean + self.config.eps * std)

    @cached_property
    def activation(self) -> Activation:
        """Activation frequency over the reference rows, and the discriminative features S."""
        total = np.zeros(self.dim)
        for b in rows.blocks(len(self.reference), self.dim * 16):
            total += self.fires(self.reference[b]).sum(0)
        frequency = 100.0 * total / len(self.reference)
        return self.select(frequency)

    def select(self, frequency: Doubles) -> Activation:
        """S from activation frequencies (D,): between the two percentiles, and never a feature that never fires."""
        low, high = (float(v) for v in np.percentile(frequency, [self.config.lower, self.config.upper]))
        selected = (frequency >= low) & (frequency <= high) & (frequency > 0)
        return Activation(frequency, selected, low, high)

    # ------------------------------------------------------------------------------------ probe

    @cached_property
    def probe_l2(self) -> tuple[float, tuple[tuple[float, float], ...]]:
        """The L2 strength with the best validation accuracy, and the path: chosen once, on a fifth held
        out of the first fold's training rows, and used for every fold and feature subset."""
        train = self.folds[0].train
        held = self.rng(4).permutation(train.size) < train.size // 5
        if held.sum() < 2 or np.unique(self.reference_labels[train[~held]]).size < 2:
            raise Skip("too few samples to train a probe and validate it")
        fit, check = train[~held], train[held]
        x, y = self.reference_space[fit], self.reference_labels[fit]
        path: list[tuple[float, float]] = []
        model = None
        for l2 in self.config.probe_l2:  # strongest first: each solution warms up the next
            model = logistic.fit(x, y, self.k, l2, start=model, iterations=50, device=self.device)
            hit = model.logits(self.reference_space[check]).argmax(1) == self.reference_labels[check]
            path.append((l2, float(hit.mean())))
            if len(path) > 2 and max(a for _, a in path[-2:]) < max(a for _, a in path):
                break  # weaker still would cost as much and, after two steps down, has not been seen to help
        return max(path, key=lambda step: step[1])[0], tuple(path)

    @cached_property
    def probe(self) -> Probe:
        """The linear probe's out-of-fold answers."""
        l2, path = self.probe_l2
        out = np.empty((len(self), self.k))
        for fold in self.folds:  # each from zero: a warm start would have seen this fold's test rows
            x, y = self.reference_space[fold.train], self.reference_labels[fold.train]
            model = logistic.fit(x, y, self.k, l2, device=self.device)
            out[fold.test] = model.probabilities(self.space[fold.test])
        prediction = out.argmax(1)
        return Probe(out, prediction, prediction == self.labels, l2, path)
