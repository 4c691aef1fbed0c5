"""Tables as CSV, streamed: RFC 4180 quoting, numbers in their shortest exact form, empty where missing
(NaN, infinite or unknown).

A spreadsheet takes a cell that begins with `=`, `+`, `-` or `@` for a formula, and file names and labels are
foreign text. Such a *text* cell gets an apostrophe in front, unless it is a plain number such as a label
`-1`. Numbers are never touched. The rule can be undone (`unescaped`): a cell that already begins with
apostrophes before such a sign gets one more. Ordinary names are written as they are.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, replace
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from repdiag.report.enclosed import Enclosed, Packer, budget_of, cut_name, of_rows, some_rows
from repdiag.report.numbers import z_score
from repdiag.report.text import clean
from repdiag.types import Measurement, MetricResult, Table

if TYPE_CHECKING:
    import pyarrow as pa

BATCH = 65_536  # rows that are in memory a second time while they are written
_FORMULA = "^'*[=+\\-@\t\r\n＝＋－＠]"
_NUMBER = r"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$"


@dataclass(frozen=True)
class TableFile:
    """What was written: rows (without the header), the SHA-256 of the bytes, and what of it goes into the page."""

    rows: int
    sha256: str
    enclosed: Enclosed | None = None


class _Hashing:
    """A file for pyarrow to write to that hashes what passes (and packs it), and drops it when there is no target."""

    closed = False

    def __init__(self, target: IO[bytes] | None, packer: Packer | None) -> None:
        self._target, self._packer, self.digest = target, packer, hashlib.sha256()

    def write(self, data: Any) -> int:
        self.digest.update(data)
        if self._packer is not None:
            self._packer.write(data)
        return len(data) if self._target is None else self._target.write(data)

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass  # the target's owner closes it


def unescaped(cell: str) -> str:
    """The text that was written as `cell`: undoes the apostrophe in front of would-be formulas."""
    return cell[1:] if cell.startswith("'") and re.match(_FORMULA, cell) else cell


def _missing(value: Any) -> bool:
    return value is None or value != value


def _arrow_type(values: npt.NDArray[Any]) -> pa.DataType:
    import pyarrow as pa

    if values.dtype.kind == "O":
        found = pa.infer_type(values.tolist(), from_pandas=True)
        return pa.string() if pa.types.is_null(found) else found
    return pa.string() if values.dtype.kind in "US" else pa.from_numpy_dtype(values.dtype)


def _arrow(values: npt.NDArray[Any], kind: pa.DataType) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    if values.dtype.kind == "f":
        return pa.array(values, type=kind, mask=~np.isfinite(values))
    if not pa.types.is_string(kind):
        return pa.array(values, type=kind, from_pandas=True)
    texts = pa.array([None if _missing(v) else clean(str(v)) for v in values.tolist()], type=kind)
    formula = pc.and_not(pc.match_substring_regex(texts, _FORMULA), pc.match_substring_regex(texts, _NUMBER))
    if not pc.any(formula).as_py():
        return texts
    return pc.if_else(formula, pc.binary_join_element_wise("'", texts, ""), texts)


def write_csv(
    table: Table,
    target: IO[bytes] | None,
    empty_header: tuple[str, ...] = (),
    packer: Packer | None = None,
) -> TableFile:
    """Write `table` to `target` (None: only count and hash), `empty_header` when it has no columns.

    The bytes pass `packer` too, where there is one. Memory: that of BATCH rows.
    """
    import pyarrow as pa
    import pyarrow.csv as csv

    columns = dict(table.columns) or {name: np.empty(0, dtype=object) for name in empty_header}
    schema = pa.schema([(name, _arrow_type(values)) for name, values in columns.items()])
    sink = _Hashing(target, packer)
    with csv.CSVWriter(sink, schema, write_options=csv.WriteOptions(quoting_style="needed")) as writer:
        for start in range(0, len(table), BATCH):
            part = [
                _arrow(values[start : start + BATCH], field.type)
                for values, field in zip(columns.values(), schema, strict=True)
            ]
            writer.write_batch(pa.record_batch(part, schema=schema))
    return TableFile(len(table), sink.digest.hexdigest())


def write_and_enclose(
    name: str, table: Table, target: IO[bytes], empty_header: tuple[str, ...] = ()
) -> TableFile:
    """As `write_csv`, and `enclosed` is the same file for the page: whole, or some rows where it would be too large.

    Columns are never cut. A table whose rows are so wide that not even one fits is not enclosed.
    """
    packer = Packer(budget_of(name))
    written = write_csv(table, target, empty_header, packer)
    return replace(written, enclosed=packer.done(name, len(table)) or cut(name, table, budget_of(name)))


def cut(name: str, table: Table, budget: int) -> Enclosed | None:
    """As many rows of a table as fit into `budget` bytes, by the size of more of them; None where none do."""
    rows = some_rows(name, table)
    while rows.size:
        packer = Packer(None)
        write_csv(of_rows(table, rows), None, packer=packer)
        found = packer.done(cut_name(name, rows.size, len(table)), int(rows.size), len(table))
        assert found is not None
        if len(found.packed) <= budget:
            return found
        rows = some_rows(name, table, max(0, int(0.97 * rows.size * budget / len(found.packed))))
    return None


def metrics_table(measurements: tuple[Measurement, ...]) -> Table:
    """One row per metric: what metrics.csv holds. A skipped metric has its reason and no value."""
    rows = [_metric_row(m) for m in measurements]
    floats = ("value", "low", "high", "null_mean", "null_std", "z")
    names = (
        ("name", "family", *floats, "direction", "unit", "status", "source", "skipped", "note")
    )  # fmt: skip
    columns: dict[str, npt.NDArray[Any]] = {}
    for name in names:
        values = [row.get(name) for row in rows]
        if name in floats:
            columns[name] = np.array([np.nan if v is None else v for v in values], dtype=np.float64)
        else:
            columns[name] = np.array(values, dtype=object)
    return Table(columns)


def _metric_row(measurement: Measurement) -> dict[str, Any]:
    spec, outcome = measurement.spec, measurement.outcome
    row: dict[str, Any] = {
        "name": spec.name,
        "family": spec.family,
        "direction": spec.direction.value,
        "unit": spec.unit,
        "status": spec.status.value,
        "source": spec.source,
    }
    if not isinstance(outcome, MetricResult):
        return row | {"skipped": outcome.reason}
    row |= {"value": outcome.value, "note": outcome.note, "z": z_score(outcome)}
    if outcome.interval is not None:
        row |= {"low": outcome.interval.low, "high": outcome.interval.high}
    if outcome.null is not None:
        row |= {"null_mean": outcome.null.mean, "null_std": outcome.null.std}
    return row
