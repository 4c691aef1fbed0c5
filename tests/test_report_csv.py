"""The CSV files: exact numbers, safe text, whole files or none."""

from __future__ import annotations

import csv
import hashlib
import io
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_report import HOSTILE, sample_report

from repdiag.errors import OutputError
from repdiag.report import write_report
from repdiag.report.tables import metrics_table, unescaped, write_csv
from repdiag.types import Table

NAMES = {
    "report.html",
    "report.json",
    "metrics.csv",
    "classes.csv",
    "pairs.csv",
    "clusters.csv",
    "features.csv",
    "samples.csv",
}


def read(table: Table, header: tuple[str, ...] = ()) -> list[dict[str, str]]:
    buffer = io.BytesIO()
    write_csv(table, buffer, header)
    return list(csv.DictReader(io.StringIO(buffer.getvalue().decode("utf-8"), newline="")))


def test_all_files_are_written_and_described(tmp_path: Path) -> None:
    """The returned paths exist, nothing else is left, and report.json has each table's rows and SHA-256."""
    paths = write_report(sample_report(200, 32), tmp_path / "new" / "folder")
    assert set(paths) == NAMES
    assert {path.name for path in (tmp_path / "new" / "folder").iterdir()} == NAMES
    tables = json.loads(paths["report.json"].read_text("utf-8"))["tables"]
    for name, said in tables.items():
        data = paths[name].read_bytes()
        assert said["sha256"] == hashlib.sha256(data).hexdigest()
        assert said["rows"] == len(pd.read_csv(io.BytesIO(data)))
    assert tables["samples.csv"]["rows"] == 200


def test_hashes_are_the_same_without_writing(tmp_path: Path) -> None:
    """`--json` without a folder names the same hashes as the written files."""
    from repdiag.report import to_json

    report = sample_report(100, 16, names=HOSTILE)
    written = json.loads(write_report(report, tmp_path)["report.json"].read_text("utf-8"))
    assert to_json(report)["tables"] == written["tables"]


def test_an_unlabelled_report_has_an_empty_class_table(tmp_path: Path) -> None:
    """classes.csv and pairs.csv are then headers without rows, so that no earlier run's classes stay behind."""
    write_report(sample_report(100, 16), tmp_path)
    paths = write_report(sample_report(100, 16, labelled=False, clusters=Table({})), tmp_path)
    for name, column in (("classes", "accuracy"), ("pairs", "nearer_ab"), ("clusters", "jaccard")):
        frame = pd.read_csv(paths[f"{name}.csv"])
        assert len(frame) == 0
        assert column in frame.columns


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=1, max_size=30),
    st.sampled_from([np.float64, np.float32]),
)
def test_numbers_read_back_exactly_and_missing_ones_are_empty(values: list[float], kind: type) -> None:
    """Every finite float reads back bit for bit; NaN and infinities are empty cells."""
    with np.errstate(over="ignore"):
        column = np.array(values, dtype=kind)
    cells = [row["x"] for row in read(Table({"x": column, "i": np.arange(len(values))}))]
    for value, cell in zip(column, cells, strict=True):
        assert (cell == "") if not np.isfinite(value) else kind(cell) == value


texts = st.text(max_size=12) | st.sampled_from(
    [
        "=1+1",
        "+x",
        "-x",
        "@a",
        "\tq",
        "'=1",
        "''-1",
        "'",
        "-1",
        "+1e5",
        "-.5",
        "",
        'a"b',
        "a\nb",
        "a,b",
        *HOSTILE,
    ]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(texts, min_size=1, max_size=20))
def test_text_comes_back_and_no_cell_is_a_formula(values: list[str]) -> None:
    """Any text survives writing and `unescaped`, and no cell but a plain number begins like a formula."""
    # A carriage return or NUL alone is a matter of the reader, not of the file.
    values = [value.replace("\r", " ").replace("\x00", " ") for value in values]
    cells = [row["name"] for row in read(Table({"name": np.array(values, dtype=object)}))]
    assert [unescaped(cell) for cell in cells] == values
    for cell in cells:
        if cell[:1] in tuple("=+-@\t＝＋－＠"):
            assert cell[:1] in "+-"
            float(cell)


def test_ordinary_text_and_numeric_labels_are_left_alone() -> None:
    """Only would-be formulas get an apostrophe; labels -1 and +1 stay as they are."""
    values = ["cat", "-1", "+1", "a=b", "test/x-1.png", "-x", "=A1"]
    cells = [row["name"] for row in read(Table({"name": np.array(values, dtype=object)}))]
    assert cells == ["cat", "-1", "+1", "a=b", "test/x-1.png", "'-x", "'=A1"]


def test_missing_text_booleans_and_batches() -> None:
    """None is empty, booleans are true/false, and tables longer than a batch are whole."""
    n = 70_000
    label = np.array(["a", None] * (n // 2), dtype=object)
    rows = read(Table({"label": label, "ok": np.arange(n) % 2 == 0, "row": np.arange(n)}))
    assert len(rows) == n
    assert rows[0] == {"label": "a", "ok": "true", "row": "0"}
    assert rows[-1] == {"label": "", "ok": "false", "row": str(n - 1)}


def test_metrics_table_has_values_or_reasons() -> None:
    """A computed metric has a value and no reason, a skipped one a reason and no value."""
    report = sample_report(60, 16, labelled=False)
    rows = read(metrics_table(report.measurements))
    assert [row["name"] for row in rows] == [m.spec.name for m in report.measurements]
    assert all((row["value"] == "") == (row["skipped"] != "") for row in rows)
    rankme = next(row for row in rows if row["name"] == "rankme")
    assert float(rankme["value"]) == 187.43
    assert float(rankme["low"]) < float(rankme["value"]) < float(rankme["high"])


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    """A file where the folder should be gives an OutputError that names the place."""
    (tmp_path / "taken").write_text("not a folder")
    with pytest.raises(OutputError, match="taken"):
        write_report(sample_report(20, 16), tmp_path / "taken")


def test_a_failure_leaves_the_earlier_report_whole(tmp_path: Path) -> None:
    """When rendering fails, all files of the earlier report are still there and no half files remain."""
    paths = write_report(sample_report(50, 16, seed=1), tmp_path)
    before = {name: path.read_bytes() for name, path in paths.items()}
    with pytest.raises(TypeError):
        write_report(sample_report(50, 16, seed=2, config={"bad": object()}), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
