"""A gate's outputs: terminal, JSON, JUnit XML and Markdown say the same, in order, without time, whatever the names."""

from __future__ import annotations

import copy
import io
import json
import re
from importlib.resources import files
from typing import Any
from xml.etree import ElementTree

import jsonschema
import pytest
from rich.cells import cell_len
from rich.console import Console
from sample_gate import FAIL, OPEN, PASS, hostile_gate, one, sample_gate
from sample_report import HOSTILE

from repdiag.gate.outputs import json_form, junit, markdown
from repdiag.gate.outputs.terminal import terminal
from repdiag.gate.outputs.words import headline, line, printable
from repdiag.gate.types import GateResult, Kind, Limit, Outcome
from repdiag.report.text import visible


def printed(result: GateResult, width: int = 80, **more: Any) -> str:
    stream = io.TextIOWrapper(io.BytesIO(), encoding=more.pop("encoding", "utf-8"), newline="")
    terminal(result, Console(file=stream, width=width, **more))
    stream.flush()
    stream.seek(0)
    return stream.read()


def validator() -> jsonschema.Draft202012Validator:
    schema = json.loads(files("repdiag.gate.outputs").joinpath("schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def cases(result: GateResult, **more: Any) -> list[ElementTree.Element]:
    return ElementTree.fromstring(junit.text(result, **more).encode()).findall("testsuite/testcase")


# ------------------------------------------------------------------------------------------------ words


@pytest.mark.parametrize(
    ("limit", "value", "ends", "unit", "text"),
    [
        (Limit(Kind.VALUE, True, 0.91), 0.94234, (0.92412, 0.95763), "share", "0.942 [0.924, 0.958]"),
        (Limit(Kind.VALUE, True, 0.91), 0.90996, (0.90981, 0.91012), "share", "0.90996 [0.90981, 0.91012]"),
        (Limit(Kind.VALUE, True, 0.91), 0.91, (0.9, 0.92), "share", "0.910 [0.900, 0.920]"),
        (Limit(Kind.VALUE, False, 5), 7.0, (2.0, 14.0), "samples", "7 [2, 14] samples"),
        (Limit(Kind.VALUE, False, 5), 7.0, None, "samples", "7 samples"),
        (Limit(Kind.VALUE, True, 180), 187.43, (183.2, 190.9), "dimensions", "187.4 [183.2, 190.9] dimensions"),
        (Limit(Kind.VALUE, True, 12345), 12344.7, None, "", "12,344.7"),
        (Limit(Kind.CHANGE, True, 0.0), -0.00004, (-0.0021, 0.002), "", "-0.00004 [-0.00210, +0.00200]"),
        (Limit(Kind.CHANGE, True, 0.0), 0.0, (0.0, 0.0), "share", "0 [0, 0]"),
        (Limit(Kind.VALUE, False, 5), 0.0, (0.0, 2.9883), "samples", "0 [0, 2.988] samples"),
        (Limit(Kind.RELATIVE, True, -0.1), 0.0312, (-0.011, 0.0734), "x", "+3.120 [-1.100, +7.340] %"),
    ],
)  # fmt: skip
def test_numbers_are_those_of_the_rules_file_and_never_look_like_the_limit(
    limit: Limit, value: float, ends: Any, unit: str, text: str
) -> None:
    assert line(one(limit=limit, value=value, ends=ends, unit=unit)).value == text


def test_a_value_just_below_the_limit_is_not_rounded_onto_it() -> None:
    """What prints as the limit is the limit: a reader must see why a rule fails."""
    for power in range(3, 11):
        near = 0.8 - 10.0**-power
        shown = line(one(limit=Limit(Kind.VALUE, True, 0.8), value=near, ends=None)).value
        assert float(shown) < 0.8, shown


def test_a_rule_without_a_name_does_not_say_its_limit_twice() -> None:
    found = one("knn_accuracy: at least 0.91")
    assert (line(found).name, line(found).limit) == ("knn_accuracy", "at least 0.91")
    assert cases(GateResult((found,)))[0].get("name") == "knn_accuracy: at least 0.91"


@pytest.mark.parametrize(
    ("outcomes", "text"),
    [
        ((PASS,), "The rule passes."),
        ((PASS, PASS), "All 2 rules pass."),
        ((FAIL,), "1 of 1 rule fails."),
        ((FAIL, FAIL, PASS, OPEN), "2 of 4 rules fail, 1 is undetermined."),
        ((OPEN, OPEN, PASS), "2 of 3 rules are undetermined."),
    ],
)
def test_the_headline_counts(outcomes: tuple[Outcome, ...], text: str) -> None:
    assert headline(GateResult(tuple(one(str(i), o) for i, o in enumerate(outcomes)))) == text


# ------------------------------------------------------------------------------------------------ terminal


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("make", [sample_gate, hostile_gate])
def test_lines_fit_and_obey_nothing_foreign(make: Any, width: int) -> None:
    text = printed(make(), width, no_color=True)
    lines = text.split("\n")
    assert max(map(cell_len, lines)) <= min(width, 120)
    assert not any(row.endswith(" ") for row in lines)
    assert not set("\x1b\u202e\u2028\x00") & set(text)


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_has_every_rule_with_its_outcome_as_a_word(width: int) -> None:
    """The verdict is the first word; then a row per rule in order, value, limit, and why where it does not pass."""
    result = sample_gate()
    text = printed(result, width, no_color=True)
    flat = " ".join(text.split())
    assert text.startswith("FAIL  2 of 6 rules fail, 1 is undetermined.")
    rows = re.findall(r"^(pass|FAIL|undetermined) +(\S.*)$", text.split("repdiag.toml")[1], re.M)
    assert [word for word, _ in rows] == ["pass", "FAIL", "undetermined", "pass", "pass", "FAIL"]
    for (_, row), found in zip(rows, result.results, strict=True):
        assert row.startswith(found.rule.name[:20])
        shown = line(found)
        assert shown.value in flat
        assert str(found.rule.limit) in flat
        assert (found.reason in flat) is (found.outcome is not PASS)
    assert "one-sided 95 % bounds" in text
    assert "The seeds differ: 0 and 1." in text
    assert "2026" not in text
    assert printed(result, encoding="ascii", no_color=True).isascii()


def test_a_note_is_said_once() -> None:
    """Beside its rule, though the gate lists it among its warnings too."""
    noted = one("a", note="Beware of this.")
    result = GateResult((noted,), warnings=("Other thing.", "a: Beware of this."))
    for text in (printed(result, no_color=True), markdown.text(result), junit.text(result)):
        assert text.count("Beware of this.") == 1
        assert "Other thing." in text
    assert json_form.to_json(result)["warnings"] == ["Other thing.", "a: Beware of this."]


# ------------------------------------------------------------------------------------------------ JSON


@pytest.mark.parametrize("make", [sample_gate, hostile_gate])
def test_the_json_fits_its_schema_and_keeps_the_numbers(make: Any) -> None:
    result = make()
    document = json.loads(json_form.text(result))
    validator().validate(document)
    assert document["outcome"] == "fail"
    assert [r["name"] for r in document["results"]] == [
        r.rule.name.encode("utf-8", "backslashreplace").decode() for r in result.results
    ]
    for row, found in zip(document["results"], result.results, strict=True):
        assert (row["value"], row["margin"]) == (found.value, found.margin)
        assert (row["interval"] is None) is (found.interval is None)
    assert "created" not in document["report"]
    assert sum(document["counts"].values()) == len(result.results)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("outcome",), "great"),
        (("counts", "pass"), -1),
        (("results", 0, "value"), "0.9"),
        (("results", 0, "surprise"), 1),
        (("results", 0, "subject"), {"kind": "metric"}),
        (("results", 0, "limit", "side"), "about"),
        (("results",), []),
    ],
)
def test_the_schema_refuses_what_is_wrong(path: tuple[str | int, ...], value: object) -> None:
    inside = target = copy.deepcopy(json_form.to_json(sample_gate()))
    for step in path[:-1]:
        inside = inside[step]
    inside[path[-1]] = value
    assert not validator().is_valid(target)


def test_the_schema_lists_every_outcome_and_kind() -> None:
    schema: Any = validator().schema
    assert schema["$defs"]["outcome"]["enum"] == [o.value for o in Outcome]
    limit = schema["$defs"]["result"]["properties"]["limit"]
    assert limit["properties"]["kind"]["enum"] == [k.value for k in Kind]


# ------------------------------------------------------------------------------------------------ JUnit


@pytest.mark.parametrize(("skip", "open_is", "counts"), [(False, "failure", "30"), (True, "skipped", "21")])
def test_a_test_case_per_rule(skip: bool, open_is: str, counts: str) -> None:
    """pass: neither; fail: failure; undetermined: as asked. The counts of suite and file agree with the cases."""
    result = sample_gate()
    root = ElementTree.fromstring(junit.text(result, skip).encode())
    suite = root.find("testsuite")
    assert suite is not None
    for element in (root, suite):
        assert element.get("tests") == "6"
        assert f"{element.get('failures')}{element.get('skipped')}" == counts
        assert len(suite.findall("testcase/failure")) == int(counts[0])
        assert len(suite.findall("testcase/skipped")) == int(counts[1])
    found = [
        [child.tag for child in case if child.tag != "system-out"]
        for case in cases(result, skip_undetermined=skip)
    ]
    assert found == [[], ["failure"], [open_is], [], [], ["failure"]]
    failure = cases(result)[2].find("failure")
    assert failure is not None
    assert failure.get("type") == "undetermined"
    assert "limit change at least -0.01" in (failure.text or "")
    assert not re.search(r"time|20\d\d-", junit.text(result))


def test_junit_holds_hostile_names_as_text_and_each_once() -> None:
    """Well-formed, nothing that XML cannot hold, and the names come back as they are shown elsewhere."""
    result = hostile_gate()
    names = [case.get("name") for case in cases(result)]
    assert names[: len(HOSTILE)] == [visible(name) for name in HOSTILE]
    assert len(set(names)) == len(result.results)
    assert names[10] == r"\x00\ufffe\ud800"
    twins = GateResult((one("a\x01"), one("a\\x01", FAIL)))
    assert [case.get("name") for case in cases(twins)] == ["a\\x01", "a\\x01 (2)"]


# ------------------------------------------------------------------------------------------------ Markdown


def rendered(text: str) -> tuple[str, list[list[str]]]:
    """The HTML that a Markdown library makes of `text`, and the texts of its table's cells."""
    parser = pytest.importorskip("markdown_it").MarkdownIt("commonmark", {"html": True}).enable("table")
    page = parser.render(text)
    root = ElementTree.fromstring(f"<div>{page}</div>")
    rows = [["".join(cell.itertext()) for cell in row] for row in root.iter("tr")]
    return page, rows


def test_markdown_is_a_table_with_a_row_per_rule() -> None:
    result = sample_gate()
    page, rows = rendered(markdown.text(result))
    assert page.startswith("<h2>repdiag gate: fail</h2>")
    assert rows[0] == ["outcome", "rule", "value", "limit", "why"]
    assert [row[0] for row in rows[1:]] == ["pass", "FAIL", "undetermined", "pass", "pass", "FAIL"]
    assert [row[1] for row in rows[1:]] == [r.rule.name for r in result.results]
    assert rows[2][2:4] == ["0.600 [0.400, 0.770] (class 8)", "at least 0.8"]
    assert "4,100" not in page  # the reason is the gate's own sentence; nothing is added to it
    assert "2026" not in page


def test_hostile_text_in_markdown_is_text() -> None:
    """Every name comes out letter by letter, in one cell, and the only tags are those of our own table."""
    result = hostile_gate()
    page, rows = rendered(markdown.text(result))
    assert set(re.findall(r"<([a-z0-9]+)", page)) == {
        "h2", "p", "table", "thead", "tbody", "tr", "th", "td", "strong", "ul", "li"
    }  # fmt: skip
    assert [row[1] for row in rows[1:]] == [printable(r.rule.name) for r in result.results]
    assert {len(row) for row in rows} == {5}
    source = markdown.text(result)
    assert "://" not in source  # GitHub makes links of these by itself
    assert "www." not in source


# ------------------------------------------------------------------------------------------------ bytes


def test_equal_results_give_equal_bytes() -> None:
    for write in (json_form.text, junit.text, markdown.text, printed):
        assert write(sample_gate()) == write(sample_gate())
        assert write(sample_gate()) != write(sample_gate(warnings=("Something else.",)))
        later = sample_gate(report={**sample_gate().report, "created": "2027-01-01"})
        assert write(later) == write(sample_gate())
