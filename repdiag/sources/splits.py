"""Which part of a data set is evaluated and which one teaches, by the names of its splits."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from repdiag.errors import DataError
from repdiag.registry import did_you_mean

TRAIN = ("train", "training")
EVALUATION = ("test", "testing", "val", "valid", "validation")
_RANK = {name: rank for rank, name in enumerate(TRAIN + EVALUATION)}
_WORDS = re.compile(r"[^\W_]+")


@dataclass(frozen=True)
class Split:
    """The chosen train and evaluated parts by name (None: there is none), and the names left out."""

    train: str | None
    evaluation: str | None
    left: tuple[str, ...] = ()


def is_split(name: str) -> bool:
    """Whether `name` is one that splits usually have, in either case."""
    return name.lower() in _RANK


def split_word(stem: str, more: Iterable[str | None] = ()) -> str | None:
    """The first word of a file's name that names a split: "train" of `imagenet-train-0001`.

    `more` are names that count as well, those of --train-split and --eval-split.
    """
    asked = {name for name in more if name}
    return next((word for word in _WORDS.findall(stem) if is_split(word) or word in asked), None)


def choose(
    found: Sequence[str],
    *,
    train: str | None,
    evaluation: str | None,
    where: str,
    labeled: Callable[[str], bool] = lambda name: True,
) -> Split:
    """The parts among the splits `found`: those asked for, else the usual names.

    Of several evaluation splits the first in the order test, val of those that are `labeled` counts. Raises
    DataError for a name that is not there, and where nothing tells which part is to be evaluated.
    """
    for option, name in (("train", train), ("eval", evaluation)):
        if name is not None and name not in found:
            do = did_you_mean(name, [split for split in found if split]) if any(found) else None
            raise DataError(f"There is no split '{name}' (--{option}-split)", where=where, do=do)
    if train is not None and train == evaluation:
        raise DataError(f"'{train}' cannot be both the train and the evaluated split", where=where)
    usual = sorted((name for name in found if is_split(name)), key=lambda name: _RANK[name.lower()])
    trains = [name for name in usual if name.lower() in TRAIN and name != evaluation]
    others = [name for name in usual if name.lower() in EVALUATION and name != train]
    if evaluation is None and others:
        evaluation = next((name for name in others if labeled(name)), others[0])
    if train is None and trains:
        train = trains[0]
    if evaluation is None and (len(found) == 1 or found == [train]):
        train, evaluation = None, found[0]
    if evaluation is None:
        shown = ", ".join(f"'{name}'" for name in found[:8])
        raise DataError(
            f"Nothing tells which of the splits {shown} is to be evaluated",
            where=where,
            do="Name it with --eval-split, and with --train-split the one to learn from",
        )
    return Split(train, evaluation, tuple(name for name in found if name not in {train, evaluation}))
