"""Lists of features in files: kept_features.csv of a report, plain text, JSON, NumPy."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from repdiag.errors import InputError, RepdiagError

LARGEST = 64 * 2**20  # bytes: some million numbers
SUFFIXES = (".csv", ".txt", ".json", ".npy")


def read_features(path: str | Path) -> list[object]:
    """The list in the file `path`, not yet checked against an encoder; raises InputError.

    .csv: the column `feature`; .txt: one number a line, # begins a remark; .json: a list; .npy: numbers in one
    row, or one bool for each feature, as in a mask.
    """
    path = Path(path)
    read = {".csv": _csv, ".txt": _text, ".json": _json, ".npy": _array}.get(path.suffix.lower())
    if read is None:
        raise InputError(
            "A list of features is a file that ends in " + ", ".join(SUFFIXES),
            where=str(path),
            do="Convert it",
        )
    try:
        if path.stat().st_size > LARGEST:
            raise InputError("The list of features is larger than 64 MB", where=str(path))
        return list(read(path))
    except RepdiagError:
        raise
    except OSError as error:
        raise InputError(
            f"Cannot read the list of features: {error.strerror or error}", where=str(path)
        ) from error
    except (ValueError, EOFError, RecursionError, csv.Error) as error:  # of text, JSON or NumPy
        why = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise InputError(f"The list of features cannot be read: {why}", where=str(path)) from error


def _csv(path: Path) -> Sequence[object]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        header, *lines = [line for line in csv.reader(file) if line] or [[]]
    names = [name.strip() for name in header]
    if "feature" not in names:
        raise InputError(
            "The table has no column 'feature'", where=str(path), do=f"It has: {', '.join(names)[:200]}"
        )
    at = names.index("feature")
    return [_number(line[at] if at < len(line) else "") for line in lines]


def _text(path: Path) -> Sequence[object]:
    lines = (line.partition("#")[0].strip() for line in path.read_text(encoding="utf-8-sig").splitlines())
    return [_number(line) for line in lines if line]


def _json(path: Path) -> Sequence[object]:
    found = json.loads(path.read_text(encoding="utf-8-sig"))
    if not isinstance(found, list):
        raise ValueError("it is not a list")
    return found


def _array(path: Path) -> Sequence[object]:
    found = np.load(path, allow_pickle=False)
    if not isinstance(found, np.ndarray) or found.ndim != 1 or found.dtype.kind not in "iub":
        raise ValueError("it is not one row of integers or bools")
    return [int(number) for number in (np.flatnonzero(found) if found.dtype.kind == "b" else found)]


def _number(text: str) -> object:
    """An integer, or the text itself, which the check of the columns refuses by name."""
    return int(text) if text.strip().removeprefix("-").isdecimal() else text.strip()
