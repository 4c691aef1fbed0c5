"""Near-duplicates with what is known of them: labels that differ, copies in train and in test."""

from __future__ import annotations

from typing import Literal

import numpy as np

from repdiag.audits.types import Copies, Copy, CopyGroup
from repdiag.audits.vectors import Vectors
from repdiag.kernels import duplicates
from repdiag.kernels.duplicates import EXACT
from repdiag.types import Skipped

MOST = 200_000
"""Samples that are searched on a CPU: the time goes with their square (an hour or so at 200,000 x 512)."""


def find_copies(vectors: Vectors, threshold: float | None, device: str = "cpu") -> Copies | Skipped:
    """Groups of near-duplicates among all rows of `vectors`, train and test; the rule is `kernels.duplicates`'."""
    n = len(vectors.ids)
    if device == "cpu" and n > MOST:
        return Skipped(f"{n:,} samples are too many to compare with one another on a CPU; give --device cuda")
    found = duplicates.find(vectors.features, threshold, device=device)
    groups = []
    order = np.argsort(found.group, kind="stable")
    order = order[found.group[order] >= 0]
    for rows in np.split(order, np.flatnonzero(np.diff(found.group[order])) + 1) if order.size else []:
        members = tuple(
            Copy(
                vectors.ids[row],
                None if vectors.labels is None else vectors.labels[row],
                split_of(vectors, row),
                vectors.ids[found.nearest[row]],
                float(found.cosine[row]),
            )
            for row in rows.tolist()
        )
        labels = tuple(sorted({one.label for one in members if one.label is not None}))
        leaks = len({one.split for one in members}) > 1
        groups.append((members, labels, leaks, bool((found.cosine[rows] >= 1 - EXACT).all())))
    groups.sort(key=lambda g: (len(g[1]) < 2, not g[2], -max(one.cosine for one in g[0]), g[0][0].id))
    return Copies(
        tuple(CopyGroup(number, *parts) for number, parts in enumerate(groups, 1)),
        n,
        found.threshold,
        found.chosen,
        found.reason,
        vectors.source,
    )


def split_of(vectors: Vectors, row: int) -> Literal["train", "test", ""]:
    """Which part a row belongs to; "" without a split."""
    if vectors.is_train is None or not vectors.is_train.any():
        return ""
    return "train" if vectors.is_train[row] else "test"
