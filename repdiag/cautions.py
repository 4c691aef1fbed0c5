"""What a careful reader should know before the first number: labels that are missing, copies, few samples."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from repdiag.types import EmbeddingSet
from repdiag.workspace import Workspace

FEWEST_LABELED = 20
"""Labeled samples below which a partly labeled data set counts as unlabeled."""


def with_enough_labels(embeddings: EmbeddingSet) -> tuple[EmbeddingSet, list[str]]:
    """`embeddings` fit to be measured where some labels are missing, and what to say about it.

    Labeled measures need FEWEST_LABELED labeled samples of two classes in the evaluated part. Where that part has too
    few the split is set aside, so that all labeled samples are cross-fitted and the others get what they learned;
    where all together are too few no label is used.
    """
    labels, split = embeddings.labels, embeddings.is_train
    if labels is None or (labels >= 0).all():
        return embeddings, []
    known = labels >= 0

    def enough(part: npt.NDArray[np.bool_]) -> bool:
        return int(part.sum()) >= FEWEST_LABELED and np.unique(labels[part]).size >= 2

    counted = f"Labels are known for {known.sum():,} of {known.size:,} samples"
    if not enough(known):
        bare = replace(embeddings, labels=None, class_names=(), parents=())
        return bare, [
            f"{counted}, fewer than {FEWEST_LABELED} or of one class only: they are not used, all count as unlabeled."
        ]
    said = [
        f"{counted} (-1, NaN and blank are none). Labeled measures are about those, the others about everyone; a "
        "sample without a label has the prediction of a probe that learned from the labeled, and the risk that these "
        "teach."
    ]
    if split is not None and split.any() and not split.all():
        if not enough(known & ~split):
            said.append(
                f"The test part has {(known & ~split).sum():,} labels, too few to evaluate: the split is set aside. "
                "Labeled measures are cross-fitted over all labeled samples, and what the risk learned there, mostly "
                "on training samples, is carried over to the test part: that holds if both are alike."
            )
            return replace(embeddings, is_train=None), said
        if not (known & split).any():
            said.append("The train part has no labels: labeled measures are cross-fitted over the test part.")
    return embeddings, said


def cautions(ws: Workspace) -> list[str]:
    """What a careful reader of this report should know before the first number."""
    notes = []
    zero = int((ws.lengths == 0).sum())
    if zero:
        notes.append(f"{zero} embeddings are all zeros and point nowhere; they count as they are.")
    copies = len(ws) - np.unique(np.ascontiguousarray(ws.x).view(np.dtype((np.void, ws.dim * 4)))).size
    if copies:
        notes.append(
            f"{copies} of {len(ws)} embeddings are exact copies of another: duplicates flatter neighbor and "
            "cross-fitted measures."
        )
    if not ws.labeled:
        notes.append(
            "No labels: labeled measures are skipped and the risk column is not validated."
            if ws.k < 2
            else "All evaluated samples are of one class: labeled measures are skipped."
        )
        if ws.config.clusters is None:
            notes.append("k = 10 clusters is a guess; set --clusters to what you expect.")
    else:
        counts = np.bincount(ws.labels, minlength=ws.k)
        present = counts[counts > 0]
        if present.min() < 10:
            notes.append(
                f"{int((present < 10).sum())} of {present.size} classes have fewer than 10 evaluated samples: "
                "their per-class numbers are noise."
            )
        if present.max() > 10 * present.min():
            notes.append(
                f"Classes are unbalanced ({present.min()} to {present.max()} samples): accuracies follow the "
                "large ones, crowding measures weigh classes alike."
            )
    if len(ws) < 200:
        notes.append(f"Only {len(ws)} samples are evaluated: expect wide intervals.")
    return notes
