"""Labels as people write them (numbers, text, gaps in between) to class numbers and names; -1 where one is missing."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from repdiag.errors import DataError
from repdiag.types import IntArray

_INTEGER = re.compile(r"[+-]?(0|[1-9][0-9]{0,17})(\.0*)?")  # 007 is a name
_NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|[+-]?inf(inity)?", re.IGNORECASE)


def index_labels(
    labels: Sequence[Any], names: Sequence[str] | None, where: str
) -> tuple[IntArray | None, tuple[str, ...]]:
    """Labels of images, in Python's own types, as indices of class names; (None, ()) when all are missing.

    None, NaN, the empty text and -1 are missing, and become -1. Text counts as numbers where all of it is whole
    numbers, so that 10 comes after 9. Raises DataError where a label is none of `names`.
    """
    nested = next((label for label in labels if isinstance(label, list | tuple | dict)), None)
    if nested is not None:
        raise DataError(f"A label is {str(nested)[:60]}, not one class", where=where)
    plain = [_plain(label) for label in labels]
    present = [label for label in plain if label is not None]
    if not present:
        return None, ()
    if all(isinstance(label, int) or _INTEGER.fullmatch(label) for label in present):
        numbers = [-1 if label is None else int(str(label).partition(".")[0]) for label in plain]
        if max(map(abs, numbers)) >= 2**63:
            raise DataError("The labels are larger than 64-bit integers", where=where)
        known = None if names is None else np.array(list(names))
        return number_labels(np.array(numbers, dtype=np.int64), known, where)
    if all(isinstance(label, int) or _NUMBER.fullmatch(label) for label in present):
        raise DataError("The labels are fractions, not classes", where=where)
    # Not as an array of text: one caption among the labels would widen every row.
    texts = [None if label in (None, -1, "-1") else str(label) for label in plain]
    said = [text for text in texts if text is not None]
    classes = _distinct(names, where) if names is not None else tuple(sorted(set(said)))
    index: dict[str | None, int] = {name: number for number, name in enumerate(classes)}
    strange = next((text for text in said if text not in index), None)
    if strange is not None:
        raise DataError(f"The label '{strange}' is none of the class names", where=where)
    index[None] = -1
    return np.fromiter((index[text] for text in texts), dtype=np.int64, count=len(texts)), classes


def _plain(label: Any) -> int | str | None:
    if label is None or isinstance(label, str):
        return (label or "").strip() or None
    if isinstance(label, bytes):
        return label.decode("utf-8", "replace").strip() or None
    if isinstance(label, float | np.floating):
        if math.isnan(label):
            return None
        return int(label) if math.isfinite(label) and label == int(label) else str(label)
    if isinstance(label, bool | int | np.bool_ | np.integer):
        return int(label)
    return str(label)


def _distinct(names: Sequence[str], where: str) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise DataError("The class names are not distinct", where=where)
    return tuple(names)


def number_labels(
    values: npt.NDArray[Any], names: npt.NDArray[Any] | None, where: str
) -> tuple[IntArray | None, tuple[str, ...]]:
    """`values` (integers, floats or text; -1, NaN or "" is missing) as indices of class names, -1 where missing.

    `names`, or else the sorted distinct values, are the classes. (None, ()) when all are missing.
    """
    kind = values.dtype.kind
    if kind == "f":
        missing = np.isnan(values) | (values == -1)
        if not np.all(missing | (np.isfinite(values) & (values == np.round(values)))):
            raise DataError("The labels are fractions, not classes", where=where)
    elif kind in "iub":
        missing = values == -1
    elif kind == "U":
        missing = (values == "") | (values == "-1")
    else:
        raise DataError(f"The labels are of type {values.dtype}, neither integers nor text", where=where)
    if missing.all():
        return None, ()
    found = np.full(values.size, -1, np.int64)
    found[~missing], classes = _numbered(values[~missing], names, where)
    return found, classes


def _numbered(
    values: npt.NDArray[Any], names: npt.NDArray[Any] | None, where: str
) -> tuple[IntArray, tuple[str, ...]]:
    """As `number_labels`, none of `values` being missing."""
    if values.dtype.kind != "U":
        if max(abs(float(values.min())), abs(float(values.max()))) >= 2**63:
            raise DataError("The labels are larger than 64-bit integers", where=where)
        values = values.astype(np.int64)
    if names is None:
        distinct, labels = np.unique(values, return_inverse=True)
        return labels.astype(np.int64), tuple(str(value) for value in distinct)
    known = _distinct(names.astype(str).tolist(), where)
    if values.dtype.kind == "U":
        number = {name: index for index, name in enumerate(known)}
        strange = sorted(set(values.tolist()) - set(known))
        if strange:
            raise DataError(f"The label '{strange[0]}' is none of the class names", where=where)
        return np.array([number[value] for value in values.tolist()], dtype=np.int64), known
    if values.min() < 0 or values.max() >= len(known):
        message = (
            f"The labels run from {values.min()} to {values.max()}, but there are {len(known)} class names"
        )
        raise DataError(message, where=where)
    return values, known
