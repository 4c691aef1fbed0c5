"""Reports are read back from their files: nothing is lost, and what is wrong is said in one sentence."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sample_report import HOSTILE, sample_report

from repdiag.comparison.align import values_of
from repdiag.config import ScoreConfig
from repdiag.diagnosis import diagnose
from repdiag.errors import DataError
from repdiag.report import write_report
from repdiag.report.json_form import csv_tables, dumps, to_json
from repdiag.report.reading import TABLES, measurement, read_report
from repdiag.report.reading_csv import TEXT_COLUMNS, read_csv
from repdiag.report.tables import write_csv
from repdiag.types import (
    Direction,
    EmbeddingSet,
    Level,
    MetricResult,
    Need,
    Report,
    Skipped,
    Status,
    Table,
)


@pytest.fixture(scope="module")
def measured() -> Report:
    """A real report on 90 blobs, of which a tenth has no label, in classes that are called like numbers."""
    rng = np.random.default_rng(3)
    labels = np.arange(90) % 3
    features = np.abs(rng.normal(size=(90, 12)) + 1.2 * np.eye(12)[labels]).astype(np.float32)
    known = np.where(np.arange(90) % 10 == 9, -1, labels)
    data = EmbeddingSet(features, tuple(f"{i:03d}.png" for i in range(90)), known, ("7", "true", "=cmd"))
    config = ScoreConfig(
        bootstrap=50, permutations=3, null_draws=2, kmeans_seeds=2, by_size=False, eps=1.5, probe_l2=(1e-2,)
    )
    chosen = ["linear_probe_accuracy", "knn_accuracy", "nearest_center_accuracy", "knn_purity", "qscore_mean"]
    return diagnose(data, config, metrics=chosen, draw_map=False)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A synthetic report in a folder; tests copy what they change."""
    folder = tmp_path_factory.mktemp("report")
    write_report(sample_report(60, 16, k=4, thumbnails=0), folder)
    return folder


def changed(written: Path, out: Path, change: Any) -> Path:
    """The report with its document changed by `change`, which may return another one; without tables."""
    document = json.loads((written / "report.json").read_text("utf-8"))
    document = change(document) or document
    file = out / "report.json"
    file.write_text(json.dumps(document), "utf-8")
    return file


def complaint(path: Path, **options: Any) -> str:
    """The one sentence with which reading fails."""
    with pytest.raises(DataError) as caught:
        read_report(path, **options)
    said = str(caught.value)
    assert caught.value.exit_code == 3
    assert "\n" not in said
    assert len(said) < 600
    return said


# ------------------------------------------------------------------------------------ round trip


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"labelled": False},
        {"names": HOSTILE},
        {"k": 60},
        {"risk": {}, "measurements": (), "verdicts": ()},
    ],
)
def test_written_again_a_report_has_the_same_bytes(tmp_path: Path, options: dict[str, Any]) -> None:
    """report.json lists the SHA-256 of every table, so that equal documents mean equal CSV files."""
    report = sample_report(150, 24, thumbnails=0, **options)
    write_report(report, tmp_path)
    found = read_report(str(tmp_path))
    assert dumps(to_json(found)) == (tmp_path / "report.json").read_text("utf-8")
    assert dumps(to_json(report)) == dumps(to_json(found))
    assert found.thumbnails == {}


def test_a_measured_report_comes_back_whole(measured: Report, tmp_path: Path) -> None:
    """Of a real run too, with labels of some samples; names such as `7` and `=cmd` stay names."""
    write_report(measured, tmp_path)
    found = read_report(tmp_path / "report.json")
    assert dumps(to_json(found)) == (tmp_path / "report.json").read_text("utf-8")
    assert set(found.samples.columns["label"].tolist()) == {"7", "true", "=cmd", None}
    assert found.samples.columns["correct"][:10].tolist() == measured.samples.columns["correct"][:10].tolist()
    assert found.classes.columns["class"].tolist() == ["7", "true", "=cmd"]
    for mine, theirs in zip(found.measurements, measured.measurements, strict=True):
        assert dataclasses.replace(mine.spec, by_size=False) == dataclasses.replace(
            theirs.spec, by_size=False
        )
        assert mine.seconds == theirs.seconds
        if isinstance(theirs.outcome, MetricResult) and theirs.outcome.per_class is not None:
            assert isinstance(mine.outcome, MetricResult)
            np.testing.assert_array_equal(mine.outcome.per_class, theirs.outcome.per_class)


def test_text_columns_are_the_ones_that_repdiag_writes(measured: Report) -> None:
    """A column of text that the list does not name would come back as numbers where all of it looks so."""
    report = sample_report(40, 16, k=4, thumbnails=0)
    for table in (*csv_tables(measured).items(), *csv_tables(report).items()):
        if table[0] in TABLES:
            text = {n for n, c in table[1].columns.items() if c.dtype.kind in "U"}
            text |= {n for n, c in table[1].columns.items() if any(isinstance(v, str) for v in c)}
            assert text <= TEXT_COLUMNS


@pytest.mark.parametrize(
    "metric", ["linear_probe_accuracy", "knn_accuracy", "nearest_center_accuracy", "qscore_mean"]
)
def test_values_by_sample_survive_the_files(measured: Report, tmp_path: Path, metric: str) -> None:
    """What a comparison pairs is the same before and after, and its mean is the metric; NaN without a label."""
    write_report(measured, tmp_path)
    before, after = values_of(measured, metric), values_of(read_report(tmp_path), metric)
    assert before is not None
    assert after is not None
    np.testing.assert_array_equal(np.isnan(before), np.isnan(after))
    np.testing.assert_allclose(before, after, rtol=1e-12)
    result = measured.value(metric)
    assert result is not None
    assert np.nanmean(after) == pytest.approx(result.value)
    if metric != "qscore_mean":
        assert np.isnan(after).sum() == 9


def test_one_flipped_answer_is_noticed(measured: Report, tmp_path: Path) -> None:
    """`values_of` refuses a column whose mean is not the metric: the test above can fail."""
    column = measured.samples.columns["knn_correct"].copy()
    column[0] = not column[0]
    found = measured.measurement("knn_accuracy")
    assert found is not None
    assert isinstance(found.outcome, MetricResult)
    bare = dataclasses.replace(found, outcome=dataclasses.replace(found.outcome, per_sample=None))
    report = dataclasses.replace(
        measured, measurements=(bare,), samples=Table({**measured.samples.columns, "knn_correct": column})
    )
    assert values_of(report, "knn_accuracy") is None


# ------------------------------------------------------------------------------------ tables


def test_cells_come_back_with_their_types(tmp_path: Path) -> None:
    """Numbers, missing ones, float32, truth with gaps, formulas, quotes, line ends, empty text and dates."""
    columns: dict[str, Any] = {
        "id": np.array(["=1+1", "'=x", "a\r\nb", 'q"q', "", None, "12"], dtype=object),
        "n": np.arange(7),
        "value": np.array([1.0, np.nan, 1e20, -0.5, 1e-7, np.inf, 3.0]),
        "small": np.array([0.1, 1e-7, 16777216, 3.1415927, np.nan, 2, 1e20], dtype=np.float32),
        "correct": np.array([True, None, False, True, True, True, None], dtype=object),
        "in_s": np.arange(7) > 2,
        "nothing": np.full(7, np.nan),
        "day": np.array(["2020-01-01", "'2021-01-02", "2020-01-03", "", None, "x", "y"], dtype=object),
    }
    with (tmp_path / "t.csv").open("wb") as file:
        said = write_csv(Table(columns), file)
    found = read_csv(tmp_path / "t.csv", said).columns
    assert found["id"].tolist() == columns["id"].tolist()
    assert found["day"].tolist() == columns["day"].tolist()
    assert found["n"].dtype == np.int64
    assert found["in_s"].dtype == np.bool_
    assert found["correct"].tolist() == columns["correct"].tolist()
    np.testing.assert_array_equal(found["value"], [1, np.nan, 1e20, -0.5, 1e-7, np.nan, 3])
    np.testing.assert_array_equal(found["small"].astype(np.float32), columns["small"])
    assert found["small"][0] == 0.1
    assert np.isnan(found["nothing"]).all()
    assert write_csv(Table(found), None).sha256 == said.sha256


def test_which_tables_are_read(written: Path, tmp_path: Path) -> None:
    """All, some or none; without them the classes' names are still known from the metrics."""
    for name in ("report.json", "samples.csv", "classes.csv"):
        (tmp_path / name).write_bytes((written / name).read_bytes())
    assert "features.csv is missing" in complaint(tmp_path)
    some = read_report(tmp_path, tables=("samples.csv", "classes.csv"))
    assert len(some.samples) == 60
    assert len(some.classes) == 4
    assert not some.features.columns
    none = read_report(tmp_path, tables=False)
    assert not none.samples.columns
    assert list(none.classes.columns) == ["class"]
    assert none.classes.columns["class"].tolist() == some.classes.columns["class"].tolist()
    for one in (some, none):
        (per_class,) = (m.outcome.per_class for m in one.measurements if m.spec.name == "cdnv")  # type: ignore[union-attr]
        assert per_class is not None
        assert per_class.shape == (4,)
    with pytest.raises(ValueError, match="tables are"):
        read_report(tmp_path, tables=("maps.csv",))


def test_a_changed_table_is_refused_but_line_ends_may_change(written: Path, tmp_path: Path) -> None:
    """A spreadsheet that saved the file, another report's table; a checkout on Windows is fine."""
    for file in written.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    samples = (tmp_path / "samples.csv").read_bytes()
    (tmp_path / "samples.csv").write_bytes(samples.replace(b"\n", b"\r\n"))
    assert len(read_report(tmp_path).samples) == 60
    (tmp_path / "samples.csv").write_bytes(samples.replace(b"true", b"false", 1))
    assert "samples.csv is not the file that report.json was written with" in complaint(tmp_path)
    (tmp_path / "samples.csv").unlink()
    assert "samples.csv is missing" in complaint(tmp_path)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "no table"),
        (b'"id","n"\n"a"\n', "no table"),
        (b'"id","id"\n"a","b"\n', "two columns called 'id'"),
        (b'"id"\n"\xff\xfe"\n', "no table"),
        (b'"id","n"\n"a,1\n', "no table"),
        (b'"id"\n"a"\n"b"\n', "2 rows and report.json says 1"),
    ],
)
def test_tables_that_are_none(written: Path, tmp_path: Path, data: bytes, said: str) -> None:
    """Without a SHA-256 in report.json (an older form) the table itself is looked at."""
    (tmp_path / "samples.csv").write_bytes(data)
    file = changed(written, tmp_path, lambda d: d.update(tables={"samples.csv": {"rows": 1}}))
    assert said in complaint(file)


# ------------------------------------------------------------------------------------ other versions


def test_an_older_report_loads_with_defaults(written: Path, tmp_path: Path) -> None:
    """Schema 0, synthetic: no verdicts, risk, values by size, timing, list of tables, pairs or clusters."""
    for name in ("samples.csv", "classes.csv", "features.csv"):
        (tmp_path / name).write_bytes((written / name).read_bytes())

    def older(document: dict[str, Any]) -> None:
        document["schema_version"] = 0
        for name in ("verdicts", "risk", "timing", "tables", "warnings"):
            del document[name]
        for one in document["measurements"]:
            for name in ("by_size", "needs", "laws", "cost", "headline", "low", "status"):
                del one[name]
            if one["outcome"].get("interval"):
                del one["outcome"]["interval"]["level"]

    found = read_report(changed(written, tmp_path, older))
    assert len(found.samples) == 60
    assert len(found.classes) == 4
    assert len(found.features) == 16
    assert (found.verdicts, found.risk, found.timing, found.warnings) == ((), {}, {}, ())
    assert not found.pairs.columns
    assert not found.clusters.columns
    first = found.measurements[0]
    assert first.by_size == ()
    assert first.seconds == 0
    assert first.spec.low == -math.inf
    assert first.spec.status is Status.OURS, "never higher than what is said"
    assert isinstance(first.outcome, MetricResult)
    assert first.outcome.interval is not None
    assert first.outcome.interval.level == 0.95


def test_what_this_version_does_not_know_is_tolerated(written: Path, tmp_path: Path) -> None:
    """A metric that was removed, a family, a status, a need, a level and fields that came later."""

    def odd(document: dict[str, Any]) -> None:
        document["later"] = {"x": [1]}
        one = document["measurements"][0]
        one |= {"name": "gone", "family": "new family", "status": "proven", "direction": "sideways"}
        one |= {"needs": ["labels", "telepathy"], "laws": ["gravity"], "later": 1}
        one["outcome"]["later"] = None
        document["verdicts"] = [{"family": "f", "level": "superb", "reason": "r", "extra": 1}]

    found = read_report(changed(written, tmp_path, odd), tables=False)
    spec = found.measurements[0].spec
    assert (spec.name, spec.family, spec.status) == ("gone", "new family", Status.OURS)
    assert spec.direction is Direction.NEITHER
    assert spec.needs == {Need.LABELS}
    assert spec.laws == frozenset()
    assert found.verdicts[0].level is Level.UNDETERMINED


def test_a_newer_schema_asks_for_an_update(written: Path, tmp_path: Path) -> None:
    """Before anything else is looked at: the rest of the document may mean something else."""
    file = changed(written, tmp_path, lambda d: {"schema_version": 2})
    assert "made by a newer repdiag" in complaint(file)
    assert "Update" in complaint(file)


# ------------------------------------------------------------------------------------ what is wrong


def put(path: str, value: Any) -> Any:
    """A change that puts `value` at `path`, or takes away what is there for `...`."""

    def change(document: dict[str, Any]) -> None:
        *steps, last = (int(step) if step.isdigit() else step for step in path.split("."))
        inside: Any = document
        for step in steps:
            inside = inside[step]
        if value is ...:
            del inside[last]
        else:
            inside[last] = copy.deepcopy(value)

    return change


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("schema_version", ..., "schema_version is missing"),
        ("schema_version", "1", "schema_version must be a number, not text"),
        ("schema_version", True, "schema_version must be a number, not true or false"),
        ("schema_version", 0.5, "schema_version must be a whole number"),
        ("created", 3, "created must be text, not a number"),
        ("encoder", ..., "encoder is missing"),
        ("dataset", [], "dataset must be an object, not a list"),
        ("config", "x", "config must be an object, not text"),
        ("measurements", {}, "measurements must be a list, not an object"),
        ("measurements", ..., "measurements is missing"),
        ("measurements.2", 1, "measurements[2] must be an object, not a number"),
        ("measurements.0.name", ..., "measurements[0].name is missing"),
        ("measurements.0.direction", None, "measurements[0].direction is missing"),
        ("measurements.0.headline", 1, "measurements[0].headline must be true or false"),
        ("measurements.0.needs", "labels", "needs must be a list"),
        ("measurements.0.needs", [1], "needs[0] must be text"),
        ("measurements.1.name", "linear_probe_accuracy", "a second 'linear_probe_accuracy'"),
        ("measurements.0.outcome", [], "outcome must be an object"),
        ("measurements.0.outcome.value", None, "measurements[0].outcome.value is missing"),
        ("measurements.0.outcome.value", [0.5], "outcome.value must be a number, not a list"),
        ("measurements.0.outcome.value", 10**400, "outcome.value is too large a number"),
        ("measurements.0.outcome.interval.low", 7.0, "interval.low is above high"),
        ("measurements.0.outcome.interval.level", 2, "level must lie between 0 and 1"),
        ("measurements.0.outcome.null.std", -1, "std must not be negative"),
        ("measurements.0.outcome.null.n", 1.5, "n must be a whole number"),
        (
            "measurements.0.outcome.per_class",
            {"airplane": "x"},
            "per_class.airplane must be a number, not text",
        ),
        ("measurements.0.outcome.table", [{"x": []}], "table[0].x must be a plain value, not a list"),
        (
            "measurements.0.by_size",
            [{"samples": 0, "value": 1, "parts": 1}],
            "by_size[0].samples must be a whole",
        ),
        ("warnings", [None], "warnings[0] must be text, not null"),
        ("verdicts.0.reason", ..., "verdicts[0].reason is missing"),
        ("timing.metrics", {"x": "fast"}, "timing.metrics.x must be a number"),
    ],
)
def test_a_broken_field_is_named(written: Path, tmp_path: Path, path: str, value: Any, said: str) -> None:
    """Each in one sentence, with the field's place."""
    assert said in complaint(changed(written, tmp_path, put(path, value)), tables=False)


def test_values_of_a_class_that_is_not_there_are_refused(written: Path, tmp_path: Path) -> None:
    """They would be lost without a word."""
    (tmp_path / "classes.csv").write_bytes((written / "classes.csv").read_bytes())
    row = next(
        i
        for i, m in enumerate(json.loads((written / "report.json").read_text())["measurements"])
        if m["name"] == "cdnv"
    )
    file = changed(written, tmp_path, put(f"measurements.{row}.outcome.per_class", {"dragon": 1.0}))
    assert "a class 'dragon' that classes.csv does not have" in complaint(file, tables=("classes.csv",))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "Not valid JSON"),
        (b'{"schema_version": 1, "created"', "Not valid JSON"),
        (b'{"schema_version": NaN}', "NaN is no number"),
        (b'{"schema_version": -Infinity}', "-Infinity is no number"),
        (b"[1, 2]", "holds a list, not an object"),
        (b"null", "holds null, not an object"),
        (b"[" * 300_000, "nested too deeply"),
        (b'{"a":' * 100 + b"1" + b"}" * 100, "nested too deeply"),
        (b"[" + b"[]," * 2_100_000 + b"1]", "millions of lists"),
        (b'{"schema_version": ' + b"9" * 10_000 + b"}", "Not valid JSON"),
        (b'{"schema_version": 1e999}', "schema_version is missing"),
        (b"\xff\xfe{}", "no UTF-8"),
        (b"PK\x03\x04", "Not valid JSON"),
    ],
)
def test_hostile_files_get_one_sentence(tmp_path: Path, text: bytes, said: str) -> None:
    """Truncated, nested, not JSON at all."""
    (tmp_path / "report.json").write_bytes(text)
    assert said in complaint(tmp_path)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    """200 MB are refused after 64 MiB, whatever they hold."""
    with (tmp_path / "report.json").open("wb") as file:
        file.truncate(200 * 10**6)
    assert "over 64 MiB" in complaint(tmp_path)


def test_paths_that_hold_no_report(tmp_path: Path) -> None:
    """A missing file, an empty folder, a folder in the file's place, a null byte."""
    assert "There is no such report" in complaint(tmp_path / "nowhere")
    assert "no report.json in this folder" in complaint(tmp_path)
    (tmp_path / "report.json").mkdir()
    assert "no report.json in this folder" in complaint(tmp_path)
    complaint(Path("a\0b"))


def test_one_measurement_of_a_document() -> None:
    """What benchmarks read: the entry alone, its classes in the file's order."""
    report = sample_report(60, 16, k=3, thumbnails=0)
    entries = {m["name"]: m for m in to_json(report)["measurements"]}
    found = measurement(entries["cdnv"])
    assert isinstance(found.outcome, MetricResult)
    assert found.outcome.per_class is not None
    expected = report.value("cdnv")
    assert expected is not None
    assert expected.per_class is not None
    np.testing.assert_array_equal(found.outcome.per_class, expected.per_class)
    assert found.outcome.interval == expected.interval
    assert found.outcome.null == expected.null
    skipped = next(name for name, entry in entries.items() if "skipped" in entry["outcome"])
    assert isinstance(measurement(entries[skipped]).outcome, Skipped)
    other = measurement(entries["cdnv"], ("bird", "airplane", "automobile", "new")).outcome
    assert isinstance(other, MetricResult)
    assert other.per_class is not None
    np.testing.assert_array_equal(other.per_class[[1, 2, 0]], expected.per_class)
    assert np.isnan(other.per_class[3])


def test_reading_loads_nothing_heavy(written: Path) -> None:
    """A gate on two reports starts at once: no torch, pandas, scikit-learn or SciPy."""
    code = (
        "import sys; from repdiag.report.reading import read_report; import repdiag.baselines; "
        f"read_report({str(written)!r}); "
        "print([m for m in ('torch', 'pandas', 'sklearn', 'scipy', 'faiss', 'typer') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
