"""Labels that come with data in memory: what they may look like, and the class numbers they become."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from repdiag.errors import DataError
from repdiag.sources.labels import number_labels
from repdiag.types import IntArray

Column = npt.NDArray[Any]


def column(values: object, n: int, what: str = "labels") -> Column:
    """One value per sample of a tensor, an array or a sequence of n; (n, 1) is taken as (n,).

    Among objects None, NaN and pandas' NA are missing: -1 among integers, NaN among floats, "" among text.
    Raises DataError for any other shape: of one-hot rows and of several labels per sample repdiag does not
    choose one.
    """
    if isinstance(values, torch.Tensor):
        found = values.detach().cpu().numpy() if values.dtype != torch.bfloat16 else values.float().numpy()
    elif isinstance(values, (list, tuple)) and any(isinstance(v, torch.Tensor) for v in values):
        found = np.asarray(
            [v.item() if isinstance(v, torch.Tensor) and v.numel() == 1 else v for v in values]
        )
    elif isinstance(values, (list, tuple)) and len({isinstance(v, str) for v in values}) == 2:
        found = np.array(values, dtype=object)  # as text, a missing one would be the class "nan"
    else:
        try:
            found = np.asarray(values)
        except ValueError as error:  # rows of unequal length
            raise DataError(f"The {what} are not one value per sample", do="Give class numbers") from error
    if found.shape == (n, 1):
        found = found[:, 0]
    if found.dtype.kind == "O" and found.ndim == 1:
        found = _filled(found)
    if found.ndim == 2 and found.shape[0] == n:
        raise DataError(
            f"The {what} are of shape {found.shape}: one class per sample is needed",
            do="Give class numbers; of one-hot rows these are y.argmax(1)",
        )
    if found.shape != (n,):
        raise DataError(f"The {what} are of shape {found.shape} for {n} samples")
    return found


def _filled(values: Column) -> Column:
    """Objects (n,) as an array of numbers or text with a mark where one is missing; as they are where that fails."""
    missing = np.array([v is None or type(v).__name__ == "NAType" or bool(v != v) for v in values], np.bool_)
    there = values[~missing]
    for kind, dtype, mark in (
        ((bool, int, np.bool_, np.integer), np.int64, -1),
        ((int, float, np.integer, np.floating), np.float64, np.nan),
        ((str,), np.str_, ""),
    ):
        if all(isinstance(v, kind) for v in there):
            return np.array([mark if gone else v for v, gone in zip(values, missing, strict=True)], dtype)
    return values


def class_labels(
    values: Column | None, class_names: Sequence[str] | None, where: str
) -> tuple[IntArray | None, tuple[str, ...]]:
    """Labels that index the names: `class_names`, or the sorted distinct values.

    Integers, whole floats, booleans and text are taken; -1, NaN, None or "" is a missing one and becomes -1. Where all
    are missing there are none. Raises DataError where the labels do not fit `class_names`.
    """
    if values is None:
        return None, ()
    names = None if class_names is None else np.array(list(class_names), dtype=np.str_)
    return number_labels(values, names, where)


def split(is_train: object, n: int) -> npt.NDArray[np.bool_] | None:
    """`is_train` as booleans, None when all samples are of one part; raises DataError for anything else."""
    if is_train is None:
        return None
    found = column(is_train, n, "entries of is_train")
    if found.dtype.kind not in "biu" or not np.isin(found, (0, 1)).all():
        raise DataError(f"is_train is of type {found.dtype}, not true and false")
    train = found.astype(np.bool_)
    return None if train.all() or not train.any() else train
