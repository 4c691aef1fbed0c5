"""report.json: strict, described by its schema, equal for equal runs."""

from __future__ import annotations

import copy
import dataclasses
import json
from importlib.resources import files
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sample_report import HOSTILE, sample_report

from repdiag.errors import DataError
from repdiag.exhibits import Exhibits
from repdiag.report import to_json, write_report
from repdiag.report.json_form import dumps, plain
from repdiag.report.numbers import ARROWS, WORDS
from repdiag.report.reading import read_report
from repdiag.report.views import STATUS_WORDS
from repdiag.types import Direction, Finding, Level, MetricResult, Null, SizePoint, Skipped, Status, Verdict


def schema_validator() -> jsonschema.Draft202012Validator:
    schema = json.loads(files("repdiag.report").joinpath("schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.mark.parametrize(
    "options", [{}, {"labelled": False}, {"names": HOSTILE}, {"k": 300}, {"risk": {}, "measurements": ()}]
)
def test_every_report_fits_the_schema(options: dict[str, object]) -> None:
    """Labelled, unlabelled, hostile, large and nearly empty reports all have the declared form."""
    document = json.loads(dumps(to_json(sample_report(600, 64, **options))))
    schema_validator().validate(document)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema_version",), 2),
        (("measurements", 0, "outcome", "value"), None),
        (("measurements", 0, "surprise"), 1),
        (("measurements", 0, "by_size"), [{"samples": 50, "value": None, "parts": 4}]),
        (("verdicts", 0, "level"), "excellent"),
        (("verdicts", 0, "findings", 0, "rule"), None),
        (("tables", "samples.csv", "sha256"), "abc"),
        (("next", 0, "reason"), None),
        (("class_matrix", "nearer"), [0.5]),
        (("riskiest", 0, "reasons"), "one"),
        (("top_features", 0, "picture"), "data:"),
        (("pca_explained",), [0.5]),
        (("measurements", 0, "outcome"), {"value": 1.0, "skipped": "both"}),
    ],
)
def test_the_schema_refuses_what_is_wrong(path: tuple[str | int, ...], value: object) -> None:
    """The schema test can fail: each of these documents is refused."""
    document = json.loads(dumps(to_json(sample_report(50, 16))))
    target = copy.deepcopy(document)
    inside = target
    for step in path[:-1]:
        inside = inside[step]
    inside[path[-1]] = value
    assert not schema_validator().is_valid(target)


def test_the_schema_lists_every_status_and_direction() -> None:
    """A new status or direction needs a word in the schema and one on the page."""
    properties = schema_validator().schema["$defs"]["measurement"]["properties"]
    assert properties["status"]["enum"] == [status.value for status in Status]
    levels = schema_validator().schema["$defs"]["verdict"]["properties"]["level"]["enum"]
    assert levels == [level.value for level in Level]
    assert properties["direction"]["enum"] == [direction.value for direction in Direction]
    assert set(STATUS_WORDS) == set(Status)
    assert set(WORDS) == set(ARROWS) == set(Direction)


def test_equal_runs_differ_in_created_and_timing_only() -> None:
    """Two runs of one seed give the same document but for the time stamps, key order included."""
    first = sample_report(300, 32)
    later = [dataclasses.replace(m, seconds=9.0) for m in first.measurements]
    second = sample_report(300, 32, created="2031-01-01T00:00:00Z", timing={"load": 7.0}, measurements=later)
    one, two = to_json(first), to_json(second)
    assert one != two
    for document in (one, two):
        del document["created"], document["timing"]
    assert dumps(one) == dumps(two)


def test_undefined_numbers_are_null_and_no_nan_is_written(tmp_path: Path) -> None:
    """NaN in per-class values, parameters and tables becomes null; strict parsers can read the file."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} in report.json")

    report = sample_report(100, 16, k=4)
    spec = report.measurements[0].spec
    result = MetricResult(
        value=0.5,
        null=Null("constant", 0.5, 0.0, 3),
        per_class=np.array([0.1, np.nan, np.inf, 1.0]),
        table=({"x": float("nan"), "y": None},),
        parameters={"scale": np.float32("nan"), "path": Path("a/b"), "seeds": np.arange(3), "set": {2, 1}},
    )
    measurement = dataclasses.replace(report.measurements[0], outcome=result)
    report = dataclasses.replace(report, measurements=(measurement,))
    text = write_report(report, tmp_path)["report.json"].read_text("utf-8")
    outcome = json.loads(text, parse_constant=refuse)["measurements"][0]["outcome"]
    assert outcome["per_class"] == {"airplane": 0.1, "automobile": None, "bird": None, "cat": 1.0}
    assert outcome["table"] == [{"x": None, "y": None}]
    assert outcome["parameters"] == {"scale": None, "path": "a/b", "seeds": [0, 1, 2], "set": [1, 2]}
    assert outcome["null"]["z"] is None, "a null without spread has no z"
    assert spec.name == "linear_probe_accuracy"


def test_z_is_the_distance_to_the_null_in_its_standard_deviations() -> None:
    """z = (value - mean) / std of the null."""
    report = sample_report(60, 16)
    result = MetricResult(value=0.9, null=Null("labels permuted", 0.1, 0.2, 9))
    measurement = dataclasses.replace(report.measurements[0], outcome=result)
    document = to_json(dataclasses.replace(report, measurements=(measurement,)))
    assert document["measurements"][0]["outcome"]["null"]["z"] == pytest.approx(4.0)


def test_skipped_metrics_have_a_reason_and_no_number() -> None:
    """A skipped metric's outcome is its reason alone."""
    report = sample_report(60, 16, labelled=False)
    skipped = {m.spec.name: m.outcome.reason for m in report.measurements if isinstance(m.outcome, Skipped)}
    found = {m["name"]: m["outcome"] for m in to_json(report)["measurements"] if "skipped" in m["outcome"]}
    assert found == {name: {"skipped": reason} for name, reason in skipped.items()}
    assert len(found) > 5


def test_values_by_number_of_samples_stand_beside_the_metric() -> None:
    """Each point is there with its parts; a metric that was not measured again has none."""
    report = sample_report(400, 16)
    first = dataclasses.replace(
        report.measurements[0], by_size=(SizePoint(100, 0.25, 4), SizePoint(200, 0.5, 2))
    )
    document = to_json(dataclasses.replace(report, measurements=(first, report.measurements[1])))
    assert [m["by_size"] for m in document["measurements"]] == [
        [{"samples": 100, "value": 0.25, "parts": 4}, {"samples": 200, "value": 0.5, "parts": 2}],
        [],
    ]


def test_verdicts_are_written_with_their_findings() -> None:
    """Family, level, reason, and each rule that led there; undecodable text becomes visible."""
    finding = Finding("every class", Level.WATCH, "bad\udcff class")
    report = sample_report(40, 16, verdicts=(Verdict("crowding", Level.POOR, "why", (finding,)),))
    assert to_json(report)["verdicts"] == [
        {
            "family": "crowding",
            "level": "poor",
            "reason": "why",
            "findings": [{"rule": "every class", "level": "watch", "reason": "bad\\udcff class"}],
        }
    ]


def test_what_a_page_shows_beside_numbers_is_there_without_pictures(tmp_path: Path) -> None:
    """Advice, matrix, borders, riskiest and features say which and why, and are read back as they were."""
    report = sample_report(200, 16)
    exhibits = report.exhibits
    assert exhibits.matrix is not None
    nearer = exhibits.matrix.nearer.copy()
    nearer[0] = np.nan  # a class without samples
    exhibits = dataclasses.replace(exhibits, matrix=dataclasses.replace(exhibits.matrix, nearer=nearer))
    report = dataclasses.replace(report, exhibits=exhibits)
    document = json.loads(write_report(report, tmp_path)["report.json"].read_text("utf-8"))
    assert [entry["rule"] for entry in document["next"]] == [a.rule for a in exhibits.advice]
    assert document["next"][0]["command"] == exhibits.advice[0].command
    assert document["class_matrix"]["nearer"][0] == [None] * 10
    assert document["riskiest"][0] == {
        "id": exhibits.riskiest[0].id,
        "reasons": list(exhibits.riskiest[0].reasons),
    }
    assert document["top_features"][3]["in_s"] is False
    assert document["pca_explained"] == [0.18, 0.11]
    assert "jpeg" not in json.dumps(document).lower()
    back = read_report(tmp_path).exhibits
    assert back.matrix is not None
    for name in ("nearer", "distance", "mass"):
        np.testing.assert_array_equal(getattr(back.matrix, name), getattr(exhibits.matrix, name))
    assert dataclasses.replace(back, matrix=None) == dataclasses.replace(exhibits, matrix=None, sprite=None)


def test_a_report_of_before_has_no_exhibits(tmp_path: Path) -> None:
    """Without the new keys a report reads as ever; with a broken one the field is named."""
    file = write_report(sample_report(60, 16), tmp_path)["report.json"]
    document = json.loads(file.read_text("utf-8"))
    schema = schema_validator().schema
    new = set(document) - set(schema["required"])
    assert new == {
        "next", "class_matrix", "class_borders", "riskiest", "top_features", "pca_explained", "notes"
    }  # fmt: skip
    older = {key: value for key, value in document.items() if key not in new}
    schema_validator().validate(older)
    file.write_text(json.dumps(older), encoding="utf-8")
    assert read_report(tmp_path).exhibits == Exhibits()
    for path, value, said in (
        (("class_matrix", "nearer", 0), [1, "x"], r"class_matrix\.nearer\.0\[1\] must be a number"),
        (("class_matrix", "mass"), [0.5], r"class_matrix\.mass must have 10 numbers, not 1"),
        (("top_features", 1, "labels"), [1], r"top_features\[1\]\.labels must be a list of text"),
        (("pca_explained",), [0.5], r"pca_explained must be two numbers"),
        (("next", 0, "title"), 3, r"next\[0\]\.title must be text"),
    ):
        broken = copy.deepcopy(document)
        inside = broken
        for step in path[:-1]:
            inside = inside[step]  # type: ignore[index]
        inside[path[-1]] = value  # type: ignore[index]
        file.write_text(json.dumps(broken), encoding="utf-8")
        with pytest.raises(DataError, match=said):
            read_report(tmp_path)


def test_per_class_values_must_match_the_classes() -> None:
    """Values for another number of classes than the report has are a programming error, not a cut table."""
    report = sample_report(60, 16, k=4)
    measurement = dataclasses.replace(
        report.measurements[0], outcome=MetricResult(value=1.0, per_class=np.ones(3))
    )
    with pytest.raises(ValueError, match="3 values for 4 classes"):
        to_json(dataclasses.replace(report, measurements=(measurement,)))


def test_what_json_cannot_say_is_refused() -> None:
    """An object of unknown kind is named in the error and not turned into some text."""
    with pytest.raises(TypeError, match="object"):
        plain({"encoder": object()})


leaves = st.none() | st.booleans() | st.integers() | st.floats(width=64) | st.text()
trees = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=20)


@settings(max_examples=60, deadline=None)
@given(trees)
def test_any_metadata_becomes_strict_json(tree: object) -> None:
    """Whatever metadata holds, the text is strict JSON that reads back as what `plain` says."""
    text = json.dumps(plain(tree), allow_nan=False)
    assert json.loads(text) == plain(tree)


def test_undecodable_names_become_visible_text(tmp_path: Path) -> None:
    """A file name that is not UTF-8 (a lone surrogate in Python) does not break any of the files."""
    report = sample_report(40, 16, names=("ok", "bad\udcff"), prefix="x\udc80/")
    paths = write_report(report, tmp_path)
    for path in paths.values():
        path.read_text("utf-8")
    assert "bad\\udcff" in paths["report.html"].read_text("utf-8")
    assert "x\\udc80/" in paths["samples.csv"].read_text("utf-8")
