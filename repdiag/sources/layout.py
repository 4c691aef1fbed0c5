"""What the folders of a data set mean: classes, a split, or nothing.

In this order:

1. Folders that merely wrap everything (`cifar/test/...`, one folder in each) are looked through, down to the
   first one whose name is that of a split. Images that end up in no folder are unlabeled.
2. `train/` beside `test/` (or `val/`, `valid/`, `validation/`) is a split. Of several evaluation folders the
   first in that order that has class folders counts. Other folders beside them are left out, and named.
   Where only such names occur but no `train/`, the same choice is made and there is no split. A folder called
   `train` among others that are no splits is a class, like any other.
3. The folders of the first level below are the classes; deeper folders are only places inside a class.
4. Images both directly there and in class folders contradict: refused, unless `labeled` is False.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from repdiag.errors import DataError
from repdiag.types import BoolArray, IntArray

TRAIN = ("train", "training")
EVALUATION = ("test", "testing", "val", "valid", "validation")
_AS_UNLABELED = "Move them into class folders or elsewhere, or read everything as unlabeled (--unlabeled)"


@dataclass(frozen=True)
class Layout:
    """The images that count, sorted by name, with their labels and split; `notes` are for the person."""

    names: tuple[str, ...]
    labels: IntArray | None
    class_names: tuple[str, ...]
    is_train: BoolArray | None
    notes: tuple[str, ...]


def arrange(names: Sequence[str], *, labeled: bool, where: str) -> Layout:
    """Labels and split of the images `names` (sorted, with "/"); raises DataError where they contradict."""
    depth = _wrappers(names)
    tops = _first_folders(names, depth)
    train, evaluation, notes = _split(names, depth, tops, labeled=labeled)
    if train or evaluation:
        kept = [name for name in names if _part(name, depth) in {train, evaluation}]
        is_train = np.array([_part(name, depth) == train for name in kept]) if train and evaluation else None
        depth += 1
    else:
        kept, is_train = list(names), None
    if not labeled:
        return Layout(tuple(kept), None, (), is_train, tuple(notes))
    folders = [_part(name, depth) for name in kept]
    strays = [name for name, folder in zip(kept, folders, strict=True) if folder is None]
    if len(strays) == len(kept):
        return Layout(tuple(kept), None, (), is_train, tuple(notes))
    if strays:
        shown = ", ".join(strays[:3]) + (", ..." if len(strays) > 3 else "")
        raise DataError(
            f"{len(strays)} of {len(kept)} images lie outside the class folders: {shown}",
            where=where,
            do=_AS_UNLABELED,
        )
    class_names = tuple(sorted({folder for folder in folders if folder is not None}))
    number = {name: index for index, name in enumerate(class_names)}
    labels = np.array([number[folder] for folder in folders if folder is not None], dtype=np.int64)
    if is_train is not None and not set(labels[is_train]) & set(labels[~is_train]):
        notes.append(f"{train}/ and {evaluation}/ have no class in common.")
    return Layout(tuple(kept), labels, class_names, is_train, tuple(notes))


def _part(name: str, depth: int) -> str | None:
    """The folder of `name` at `depth`; None when the image lies directly there."""
    parts = name.split("/", depth + 1)
    return parts[depth] if len(parts) > depth + 1 else None


def _first_folders(names: Sequence[str], depth: int) -> list[str | None]:
    """The folders at `depth` in order of appearance; None stands for images directly there."""
    return list(dict.fromkeys(_part(name, depth) for name in names))


def _wrappers(names: Sequence[str]) -> int:
    """How many folders, one inside the other, hold everything and are no split."""
    depth = 0
    while True:
        tops = _first_folders(names, depth)
        if len(tops) != 1 or tops[0] is None or _is_split(tops[0]):
            return depth
        depth += 1


def _is_split(folder: str | None) -> bool:
    return folder is not None and folder.lower() in TRAIN + EVALUATION


def _split(
    names: Sequence[str], depth: int, tops: Sequence[str | None], *, labeled: bool
) -> tuple[str | None, str | None, list[str]]:
    """The folders of the train and of the evaluated part (None: there is none) and what was left out."""
    order = {name: rank for rank, name in enumerate(TRAIN + EVALUATION)}
    splits = sorted(
        (top for top in tops if top is not None and _is_split(top)), key=lambda t: order[t.lower()]
    )
    trains = [top for top in splits if top.lower() in TRAIN]
    evaluations = [top for top in splits if top.lower() in EVALUATION]
    if not splits or (len(splits) < len(tops) and not (trains and evaluations)):
        return None, None, []
    train = trains[0] if trains else None
    evaluation = evaluations[0] if evaluations else None
    if labeled and len(evaluations) > 1:
        classed = [top for top in evaluations if _has_classes(names, depth, top)]
        evaluation = classed[0] if classed else evaluation
    left = [
        f"{top}/" if top is not None else "images outside them"
        for top in tops
        if top not in {train, evaluation}
    ]
    kept = " and ".join(f"{top}/" for top in (train, evaluation) if top is not None)
    return train, evaluation, [f"{kept} are read; left out: {', '.join(left)}."] if left else []


def _has_classes(names: Sequence[str], depth: int, top: str) -> bool:
    return any(_part(name, depth) == top and _part(name, depth + 1) is not None for name in names)
