"""What the folders of a data set mean: classes, a split, or nothing.

In this order:

1. Folders that merely wrap everything (`cifar/test/...`, one folder in each) are looked through, down to the
   first one whose name is that of a split. Images that end up in no folder are unlabeled.
2. `train/` beside `test/` (or `val/`, `valid/`, `validation/`) is a split. Of several evaluation folders the
   first in that order that has class folders counts. Other folders beside them are left out, and named.
   Where only such names occur but no `train/`, the same choice is made and there is no split. A folder called
   `train` among others that are no splits is a class, like any other. Folders that --train-split and
   --eval-split name are splits whatever they are called.
3. The folders of the first level below are the classes; deeper folders are only places inside a class. With
   `class_depth` 2 or more so many levels name a class ("Greek/character01"), and the first is its coarse class.
4. Images both directly there and in class folders contradict: refused, unless `labeled` is False.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from repdiag.errors import DataError
from repdiag.sources.splits import EVALUATION, TRAIN, Split, choose, is_split
from repdiag.types import BoolArray, IntArray

_AS_UNLABELED = "Move them into class folders or elsewhere, or read everything as unlabeled (--unlabeled)"

Parts = tuple[str, ...]
"""The folders that an image lies in, from the outermost."""


@dataclass(frozen=True)
class Layout:
    """The images that count, sorted by name, with their labels and split; `notes` are for the person."""

    names: tuple[str, ...]
    labels: IntArray | None
    class_names: tuple[str, ...]
    is_train: BoolArray | None
    notes: tuple[str, ...]
    parents: tuple[str, ...] = ()


def arrange(
    names: Sequence[str],
    *,
    labeled: bool,
    where: str,
    train_split: str | None = None,
    eval_split: str | None = None,
    class_depth: int | None = None,
) -> Layout:
    """Labels and split of the images `names` (sorted, with "/"); raises DataError where they contradict.

    Everything is decided per folder: there are few of them, and there may be a million images.
    """
    homes = [name.rpartition("/")[0] for name in names]
    folders: dict[str, Parts] = {
        home: tuple(home.split("/")) if home else () for home in dict.fromkeys(homes)
    }
    asked = tuple(name for name in (train_split, eval_split) if name is not None)
    depth = _wrappers(folders.values(), asked)
    split, notes = _split(folders.values(), depth, asked, train_split, eval_split, labeled, where)
    is_train, kept = None, list(names)
    if split is not None:
        part = {home: _part(parts, depth) for home, parts in folders.items()}
        chosen = {
            home for home, top in part.items() if top is not None and top in {split.train, split.evaluation}
        }
        if len(chosen) < len(folders):
            kept = [name for name, home in zip(names, homes, strict=True) if home in chosen]
            homes = [home for home in homes if home in chosen]
        if split.train is not None:
            train = {home for home in chosen if part[home] == split.train}
            is_train = np.fromiter((home in train for home in homes), dtype=np.bool_, count=len(homes))
        depth += 1
    if not labeled:
        return Layout(tuple(kept), None, (), is_train, tuple(notes))
    levels = class_depth or 1
    label = {home: _class(folders[home], depth, levels) for home in dict.fromkeys(homes)}
    if all(folder is None for folder in label.values()) and levels == 1:
        return Layout(tuple(kept), None, (), is_train, tuple(notes))
    if None in label.values():
        strays = [name for name, home in zip(kept, homes, strict=True) if label[home] is None]
        more = f" and {len(strays) - 3} more" if len(strays) > 3 else ""
        outside = "outside the class folders" if levels == 1 else f"less than {levels} folders deep"
        raise DataError(
            f"{len(strays)} of {len(kept)} images lie {outside}: {', '.join(strays[:3])}{more}",
            where=where,
            do=_AS_UNLABELED if levels == 1 else "Give a smaller --class-depth",
        )
    class_names = tuple(sorted({folder for folder in label.values() if folder is not None}))
    number = {name: index for index, name in enumerate(class_names)}
    of_home = {home: number[folder] for home, folder in label.items() if folder is not None}
    labels = np.fromiter((of_home[home] for home in homes), dtype=np.int64, count=len(homes))
    if is_train is not None and split is not None and not set(labels[is_train]) & set(labels[~is_train]):
        notes.append(f"{split.train}/ and {split.evaluation}/ have no class in common.")
    parents = () if levels == 1 else tuple(name.partition("/")[0] for name in class_names)
    return Layout(tuple(kept), labels, class_names, is_train, tuple(notes), parents)


def _class(parts: Parts, depth: int, levels: int) -> str | None:
    """The `levels` folders from `depth` on that name a class; None when the images lie less deep."""
    return "/".join(parts[depth : depth + levels]) if len(parts) >= depth + levels else None


def _part(parts: Parts, depth: int) -> str | None:
    """The folder at `depth`; None when the images lie directly there."""
    return parts[depth] if len(parts) > depth else None


def _tops(folders: Iterable[Parts], depth: int) -> list[str | None]:
    """The folders at `depth` in order of appearance; None stands for images directly there."""
    return list(dict.fromkeys(_part(parts, depth) for parts in folders))


def _wrappers(folders: Collection[Parts], asked: Sequence[str]) -> int:
    """How many folders, one inside the other, hold everything and are no split."""
    depth = 0
    while True:
        tops = _tops(folders, depth)
        if len(tops) != 1 or tops[0] is None or is_split(tops[0]) or tops[0] in asked:
            return depth
        depth += 1


def _split(
    folders: Collection[Parts],
    depth: int,
    asked: Sequence[str],
    train_split: str | None,
    eval_split: str | None,
    labeled: bool,
    where: str,
) -> tuple[Split | None, list[str]]:
    """The folders of the train and of the evaluated part (None: these are no splits), and what to say."""
    tops = _tops(folders, depth)
    named = [top for top in tops if top is not None]
    usual = [top for top in named if is_split(top)]
    trains = any(top.lower() in TRAIN for top in usual)
    evaluations = any(top.lower() in EVALUATION for top in usual)
    if not asked and (not usual or (len(usual) < len(tops) and not (trains and evaluations))):
        return None, []
    classed = {_part(parts, depth) for parts in folders if len(parts) > depth + 1}
    split = choose(
        named if asked else usual,
        train=train_split,
        evaluation=eval_split,
        where=where,
        labeled=(lambda top: top in classed) if labeled else (lambda top: True),
    )
    left = [
        f"{top}/" if top is not None else "images outside them"
        for top in tops
        if top is None or top not in {split.train, split.evaluation}
    ]
    kept = " and ".join(f"{top}/" for top in (split.train, split.evaluation) if top is not None)
    return split, [f"{kept} are read; left out: {', '.join(left)}."] if left else []
