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

    Raises DataError for any other shape: of one-hot rows and of several labels per sample repdiag does not
    choose one.
    """
    if isinstance(values, torch.Tensor):
        found = values.detach().cpu().numpy() if values.dtype != torch.bfloat16 else values.float().numpy()
    elif isinstance(values, (list, tuple)) and any(isinstance(v, torch.Tensor) for v in values):
        found = np.asarray(
            [v.item() if isinstance(v, torch.Tensor) and v.numel() == 1 else v for v in values]
        )
    else:
        try:
            found = np.asarray(values)
        except ValueError as error:  # rows of unequal length
            raise DataError(f"The {what} are not one value per sample", do="Give class numbers") from error
    if found.shape == (n, 1):
        found = found[:, 0]
    if found.dtype.kind == "O" and all(isinstance(v, str) for v in found.flat):
        found = found.astype(np.str_)
    if found.ndim == 2 and found.shape[0] == n:
        raise DataError(
            f"The {what} are of shape {found.shape}: one class per sample is needed",
            do="Give class numbers; of one-hot rows these are y.argmax(1)",
        )
    if found.shape != (n,):
        raise DataError(f"The {what} are of shape {found.shape} for {n} samples")
    return found


def class_labels(
    values: Column | None, class_names: Sequence[str] | None, where: str
) -> tuple[IntArray | None, tuple[str, ...]]:
    """Labels that index the names: `class_names`, or the sorted distinct values.

    Integers, whole floats, booleans and text are taken. All -1, NaN or "" means unlabeled; raises DataError
    when some are, and where the labels do not fit `class_names`.
    """
    if values is None:
        return None, ()
    names = None if class_names is None else np.array(list(class_names), dtype=np.str_)
    return number_labels(values, names, where, "Leave these samples out, or give labels=False")


def split(is_train: object, n: int) -> npt.NDArray[np.bool_] | None:
    """`is_train` as booleans, None when all samples are of one part; raises DataError for anything else."""
    if is_train is None:
        return None
    found = column(is_train, n, "entries of is_train")
    if found.dtype.kind not in "biu" or not np.isin(found, (0, 1)).all():
        raise DataError(f"is_train is of type {found.dtype}, not true and false")
    train = found.astype(np.bool_)
    return None if train.all() or not train.any() else train
