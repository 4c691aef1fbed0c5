"""Cells and columns of the table of samples: what is read from the report's, what explanations add."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from repdiag.explaining import targets
from repdiag.explaining.run import Run
from repdiag.explaining.statistics import PerImage, mean_of_draws
from repdiag.kernels.rows import Doubles
from repdiag.tables import Columns
from repdiag.types import FloatArray, Table


def sample_table(run: Run, per: PerImage | None, asked: Sequence[int]) -> Table:
    """samples.csv: a row for each evaluated sample, and for each of the train part that was asked for."""
    keep = ("id", "label", "prediction", "correct", "confidence", "risk", "q_score")
    table: Columns = {name: run.columns[name] for name in keep if name in run.columns}
    n = len(table["id"])
    table["evaluated"] = np.ones(n, bool)
    table["n_features"] = run.counts
    if per is not None:
        table |= overlap_columns(per)
    known = set(table["id"].tolist())
    extra = [row for row in asked if run.embeddings.ids[row] not in known]
    if not extra:
        return Table(table)
    weights = targets.weights(run.target.kind, run.everyone, run.unit(extra))
    return Table(
        {name: extended(name, column, _beside(run, name, extra, weights)) for name, column in table.items()}
    )


def _beside(run: Run, name: str, extra: Sequence[int], weights: FloatArray) -> list[Any]:
    """What a column holds for samples of the train part."""
    if name == "id":
        return [run.embeddings.ids[row] for row in extra]
    if name == "label":
        return [run.label(row) for row in extra]
    if name == "n_features":
        return [int(np.count_nonzero(w)) for w in weights]
    return [False] * len(extra) if name == "evaluated" else [None] * len(extra)


def overlap_columns(per: PerImage) -> Columns:
    """Per image: mIoU's term and mass by region, the control's, the mean with other masks, and the mask's area."""
    out: Columns = {f"{measure}_{region}": v for (measure, region), v in per.chosen.items()}
    out |= {f"area_{region}": v for (measure, region), v in per.uniform.items() if measure == "mass"}
    out |= {f"{measure}_{region}_random": v for (measure, region), v in per.random.items()}
    out |= {f"{measure}_{region}_other_maps": v for (measure, region), v in per.swapped.items()}
    out |= {
        f"{measure}_{region}_other_masks": mean_of_draws(v) for (measure, region), v in per.others.items()
    }
    return out


def judged(columns: Columns, n: int) -> Doubles:
    """1 where the probe is right, 0 where it is wrong, NaN where no label tells (N,)."""
    given = columns.get("correct")
    if given is None:
        return np.full(n, np.nan)
    return np.array([np.nan if value is None else float(bool(value)) for value in given.tolist()])


def extended(name: str, column: Any, more: list[Any]) -> Any:
    """A column with more cells, None where one is missing and the type cannot say so."""
    if column.dtype.kind == "f":
        return np.concatenate([column, np.array([np.nan if v is None else v for v in more], column.dtype)])
    if None in more or column.dtype.kind == "O":
        out = np.empty(len(column) + len(more), dtype=object)
        out[:] = [*column.tolist(), *more]
        return out
    return np.concatenate([column, np.array(more)])


def text(columns: Columns, name: str, at: int) -> str | None:
    """A cell of text, None where there is none."""
    if name not in columns:
        return None
    value = columns[name][at]
    return None if value is None else str(value)


def flag(columns: Columns, at: int) -> bool | None:
    """Whether the probe is right about a sample, None where no label tells."""
    if "correct" not in columns or columns["correct"][at] is None:
        return None
    return bool(columns["correct"][at])


def number(columns: Mapping[str, Any], name: str, at: int | None) -> float:
    """A cell as a number, NaN where there is none."""
    if at is None or name not in columns or columns[name][at] is None:
        return float("nan")
    return float(columns[name][at])
