"""Probable label errors by cleanlab (an optional extra), on all labeled samples whose embeddings are at hand."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from repdiag.audits.vectors import Vectors
from repdiag.errors import DataError, UsageError
from repdiag.types import DoubleArray, IntArray

FOLDS = 5
L2 = 1e-3
"""Penalty of the probe behind the probabilities, in the units of `kernels.logistic`. Ours: not chosen on the data."""

RULE = f"cleanlab.filter.find_label_issues on the out-of-fold probabilities of a linear probe ({FOLDS} folds)"


@dataclass(frozen=True)
class Issues:
    """Rows of the vectors that cleanlab suspects, from the least probable label up, with out-of-fold probabilities."""

    rows: IntArray
    labels: IntArray
    probabilities: DoubleArray
    class_names: tuple[str, ...]
    judged: int


def load() -> Any:
    """cleanlab's module of filters; UsageError where it is not installed."""
    try:
        return importlib.import_module("cleanlab.filter")
    except ImportError as error:
        raise UsageError(
            "--cleanlab needs the package cleanlab, which is not installed",
            do="pip install 'repdiag[cleanlab]'",
        ) from error


def issues(vectors: Vectors, device: str = "cpu", seed: int = 0) -> Issues:
    """What cleanlab's default rule finds among the labeled rows of `vectors`, train and test alike.

    The probabilities (n, K) come from five linear probes, each for the fifth of every class that it did not learn
    from; the probe is ours, the rule cleanlab's (`prune_by_noise_rate`, ranked by self-confidence). DataError with
    fewer than two classes or five labeled samples.
    """
    filters = load()
    names = np.array([label if label is not None else "" for label in vectors.labels or ()], dtype=object)
    rows = np.flatnonzero([label is not None for label in vectors.labels or ()])
    class_names, labels = np.unique(names[rows].astype(str), return_inverse=True)
    if class_names.size < 2 or rows.size < FOLDS:
        raise DataError(
            "cleanlab needs labels of two classes, and five labeled samples", where=vectors.source
        )
    labels = labels.reshape(-1).astype(np.int64)
    probabilities = out_of_fold(np.asarray(vectors.features[rows]), labels, class_names.size, device, seed)
    found = filters.find_label_issues(
        labels, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1
    )
    return Issues(
        rows[np.asarray(found, np.int64)],
        labels[found],
        probabilities[found],
        tuple(class_names.tolist()),
        rows.size,
    )


def out_of_fold(
    x: np.ndarray[tuple[int, ...], np.dtype[np.float32]], y: IntArray, k: int, device: str, seed: int
) -> DoubleArray:
    """Class probabilities (n, K) of rows `x` (n, D), each by a probe that did not learn from it."""
    from repdiag.kernels import logistic

    rng = np.random.default_rng(seed)
    part = np.empty(y.size, np.int64)
    for label in range(k):
        members = rng.permutation(np.flatnonzero(y == label))
        part[members] = (np.arange(members.size) + label) % FOLDS
    out = np.empty((y.size, k))
    for fold in range(FOLDS):
        held = part == fold
        if held.any():
            out[held] = logistic.fit(x[~held], y[~held], k, L2, device=device).probabilities(x[held])
    return out
