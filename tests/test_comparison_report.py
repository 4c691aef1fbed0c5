"""A comparison rendered: one safe page, strict JSON, exact CSV, a terminal summary; nothing computed, nothing lost."""

from __future__ import annotations

import base64
import copy
import csv
import dataclasses
import hashlib
import io
import json
import math
import re
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from markupsafe import escape
from rich.cells import cell_len
from rich.console import Console
from sample_comparison import hostile_comparison, sample_comparison
from sample_report import HOSTILE

from repdiag.comparison.types import Comparison, Difference, Effect
from repdiag.errors import OutputError
from repdiag.report import comparison_html
from repdiag.report.comparison import dumps, to_json, write_comparison
from repdiag.report.comparison_arms import Reading, multiplicity
from repdiag.report.comparison_changes import MAX_CHANGED, changed, classes
from repdiag.report.comparison_curves import curves, q_scores
from repdiag.report.comparison_html import render_comparison
from repdiag.report.comparison_marks import forest, round_up
from repdiag.report.comparison_terminal import terminal
from repdiag.report.comparison_words import EFFECT_WORDS, effect_word, interval_words, said, signed
from repdiag.report.tables import unescaped
from repdiag.types import Direction, Interval, MetricResult, Table

NAMES = {
    "comparison.html", "comparison.json", "differences.csv", "arms.csv", "samples.csv", "classes.csv", "curves.csv",
}  # fmt: skip
VARIANTS: dict[str, Any] = {
    "three arms": {},
    "one seed": {"seeds": 1},
    "unlabeled": {"labelled": False},
    "ablations": {"seeds": 5, "ablations": 4, "collapsed": "M=0"},
    "many classes": {"k": 200, "n": 1000, "gain": -1.0},
}


def difference(**changes: Any) -> Difference:
    """A difference of 0.3 points, whose parts may be replaced."""
    made: dict[str, Any] = {
        "metric": "m", "title": "M", "unit": "share", "direction": Direction.HIGHER, "subject": "qscore",
        "against": "control", "value": 0.603, "other": 0.6, "delta": 0.003,
        "interval": Interval(-0.004, 0.01, "paired", 2000), "by_seed": (0.002, 0.004), "effect": Effect.NO_EVIDENCE,
    }  # fmt: skip
    return Difference(**{**made, **changes})


def printed(comparison: Comparison, width: int = 80, encoding: str = "utf-8", out: Path | None = None) -> str:
    """What a log without color holds."""
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding=encoding, write_through=True)
    terminal(comparison, Console(file=stream, width=width, color_system=None, legacy_windows=False), out)
    return buffer.getvalue().decode(encoding)


def accuracies(comparison: Comparison) -> list[str]:
    """The probe's accuracy before, in the control and after, as the differences have it."""
    pairs = (("control", "before"), ("qscore", "control"))
    first, second = (comparison.difference("linear_probe_accuracy", *pair) for pair in pairs)
    assert first is not None
    assert second is not None
    return [f"{100 * value:.1f}%" for value in (first.other, second.other, second.value)]


def read(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file as text."""
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def schema_validator() -> jsonschema.Draft202012Validator:
    schema = json.loads(files("repdiag.report").joinpath("comparison_schema.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


# ------------------------------------------------------------------------------------------------ words


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "+0.3 points [-0.4, +1.0]"),
        ({"delta": -0.003}, "-0.3 points [-0.4, +1.0]"),
        ({"delta": 0.00001}, "0.0 points [-0.4, +1.0]"),
        ({"interval": None}, "+0.3 points"),
        ({"unit": ""}, "+0.003 [-0.004, +0.010]"),
        ({"unit": "dimensions", "delta": 12.34, "interval": Interval(1.0, 24.0, "", 0)},
         "+12.34 dimensions [+1.00, +24.00]"),
        # An end that rounds to zero keeps its first digit where the interval excludes zero.
        ({"interval": Interval(0.0004, 0.01, "", 0)}, "+0.3 points [+0.04, +1.0]"),
        ({"delta": -0.02, "unit": "", "interval": Interval(-0.03, -0.000091, "", 0)}, "-0.020 [-0.030, -0.00009]"),
        ({"delta": 0.0, "interval": Interval(0.0, 0.0, "", 0)}, "0.0 points [0.0, 0.0]"),
    ],
)  # fmt: skip
def test_a_difference_is_written_with_sign_unit_and_matching_decimals(
    changes: dict[str, Any], text: str
) -> None:
    """Shares differ by points; value and interval have the same decimals."""
    assert said(difference(**changes)) == text


def test_signs() -> None:
    """Zero has no sign, whatever its own was; thousands keep their commas."""
    assert [signed(v, "") for v in (-0.0, 1e-9, 0.5, -1234.5)] == ["0.000", "+1.0e-09", "+0.500", "-1,234"]


def test_moved_needs_seeds_and_no_better_direction() -> None:
    """A clear change of a metric without a better direction is "moved"; one seed proves no such thing."""
    clear = {"direction": Direction.NEITHER, "interval": Interval(0.001, 0.01, "", 0)}
    assert effect_word(difference(**clear)) == "moved"
    assert effect_word(difference(**clear, by_seed=(0.003,))) == "no evidence"
    assert effect_word(difference(direction=Direction.NEITHER)) == "no evidence"
    assert effect_word(difference(effect=Effect.HURT)) == "hurt"
    assert set(EFFECT_WORDS) == set(Effect)


def test_what_many_differences_mean_is_said_from_their_level() -> None:
    """95% intervals: 1 in 20; without a primary measure none decides; one seed calls nothing an effect."""
    made = sample_comparison(100)
    assert "about 1 in 20" in multiplicity(Reading(made))
    wider = [d if d.interval is None else dataclasses.replace(d, interval=dataclasses.replace(d.interval, level=0.9))
             for d in made.differences]  # fmt: skip
    assert "about 1 in 10" in multiplicity(Reading(dataclasses.replace(made, differences=tuple(wider))))
    assert multiplicity(Reading(sample_comparison(100, labelled=False))).startswith("None of these decides")
    assert multiplicity(Reading(sample_comparison(100, seeds=1))).startswith("One seed")


# ------------------------------------------------------------------------------------------------ arms


def test_arms_have_roles_and_marks_in_reading_order() -> None:
    """Before, control, subject, then the ablations, whatever the order of the comparison."""
    made = sample_comparison(100, ablations=2)
    shuffled = (made.arms[0], *reversed(made.arms[1:]))
    reading = Reading(dataclasses.replace(made, arms=shuffled))
    assert [(arm.name, arm.role) for arm in reading.arms] == [
        ("before", "before"), ("control", "against"), ("qscore", "subject"), ("lambda2", ""), ("lambda1", ""),
    ]  # fmt: skip
    assert len({arm.mark for arm in reading.arms}) == 5
    assert [len(arm.runs) for arm in reading.arms] == [1, 3, 3, 3, 3]


def test_two_encoders_without_a_before() -> None:
    """`against` may be the first arm: then there is no arm before, and one pair only."""
    made = sample_comparison(100, seeds=1)
    two = dataclasses.replace(made, arms=made.arms[1:])
    reading = Reading(two)
    assert reading.before is None
    assert [arm.role for arm in reading.arms] == ["against", "subject"]
    assert [(d.subject, d.against) for d in reading.pairs("knn_accuracy")] == [("qscore", "control")]
    assert "against before" not in render_comparison(two)


def test_the_numbers_are_those_of_the_differences_before_those_of_the_reports() -> None:
    """Differences are of the images that all arms have; a metric without one falls back to the mean of the reports."""
    made = sample_comparison(100)
    found = made.difference("knn_accuracy", "qscore", "control")
    assert found is not None
    other = dataclasses.replace(found, value=0.123, other=0.1, delta=0.023)
    reading = Reading(dataclasses.replace(made, differences=(other,)))
    after, control = (reading.arm(name) for name in ("qscore", "control"))
    assert after is not None
    assert control is not None
    assert (reading.value(after, "knn_accuracy"), reading.value(control, "knn_accuracy")) == (0.123, 0.1)
    means = [one.report.value("rankme").value for one in made.of("qscore")]  # type: ignore[union-attr]
    assert reading.value(after, "rankme") == pytest.approx(np.mean(means), rel=1e-12)
    assert reading.value(after, "alignment") is None


# ------------------------------------------------------------------------------------------------ drawings


def test_a_forest_has_zero_in_the_middle_and_the_better_side_tinted() -> None:
    """Places are those of the values on a scale that is even around zero; lower-is-better tints the left."""
    reading = Reading(sample_comparison(60))
    up = difference(delta=0.5, interval=Interval(0.25, 0.75, "", 0), unit="", effect=Effect.HELPED)
    text = str(forest([up], reading))  # 1.05 * 0.75 is rounded up to 0.8: from -0.8 to 0.8
    assert round_up(1.05 * 0.75) == 0.8
    assert 'x="65.62%"' in text, "0.25 on it"
    assert 'cx="81.25%"' in text, "0.5 on it"
    assert 'class="effect helped bar"' in text
    assert re.search(r'<rect x="50%"[^>]*class="better-side"', text)
    down = dataclasses.replace(up, direction=Direction.LOWER, effect=Effect.HURT)
    assert re.search(r'<rect x="0%"[^>]*class="better-side"', str(forest([down], reading)))
    neither = dataclasses.replace(up, direction=Direction.NEITHER)
    assert "better-side" not in str(forest([neither], reading))


def test_a_scale_ends_in_a_round_number_above() -> None:
    """The next of a few round steps, of any size."""
    assert [round_up(v) for v in (0, 0.11, 1.0, 2.1, 7, 0.0000093, 81)] == [1, 0.12, 1, 2.5, 8, 0.00001, 100]


def test_curves_leave_out_what_epoch_zero_does_not_mean() -> None:
    """Means over steps begin with epoch 1 (the heads' warm-up has its own rate); states begin with the start."""
    found = {figure.key: figure for figure in curves(Reading(sample_comparison(60, epochs=6)))}
    assert list(found)[:2] == ["curve-loss", "curve-base"]
    assert found["curve-lr"].title == "Learning rate (× 10⁻⁶)", "0.1 of the warm-up would be 10⁻¹"
    assert found["curve-term.low"].title == "Term: low (× 10⁻⁴)"
    points = {key: re.findall(r'd="M([^"]*)"', str(found[key].svg)) for key in ("curve-loss", "curve-rank")}
    assert [len(line.split("L")) for line in points["curve-loss"]] == [6] * 6
    assert [len(line.split("L")) for line in points["curve-rank"]] == [7] * 6
    lines = re.findall(r'class="arm-(\d) curve"', str(found["curve-term.low"].svg))
    assert lines == ["2"] * 3, "the control has no terms"


def test_curves_of_anything() -> None:
    """No rows, no epochs, words and one point per run make no drawing or a dot, and never an error."""
    made = sample_comparison(60)

    def drawn(**columns: Any) -> list[Any]:
        table = Table({name: np.array(values, dtype=object) for name, values in columns.items()})
        return curves(Reading(dataclasses.replace(made, curves=table)))

    assert drawn() == []
    assert drawn(arm=["qscore"], seed=[0], loss=[1.0]) == []
    assert drawn(arm=["qscore"], seed=[0], epoch=[1], loss=[math.nan], phase=["train"]) == []
    (one,) = drawn(arm=["qscore"], seed=[0], epoch=[3], loss=[1.5], said=["word"])
    assert "<circle" in one.svg


def test_q_scores_take_an_arms_seeds_together() -> None:
    """Each line adds up to all images; the mean in the key is the mean of all runs' scores."""
    made = sample_comparison(400)
    figure = q_scores(Reading(made))
    assert figure is not None
    scores = np.concatenate([run.report.samples.columns["q_score"] for run in made.of("control")])
    assert (
        figure.legend[1][1]
        == f"control: mean {np.nanmean(scores):.3f} of {np.isfinite(scores).sum():,} scores"
    )
    missing = sum(int(np.isnan(run.report.samples.columns["q_score"]).sum()) for run in made.arms)
    assert f"{missing} images have no Q-Score" in figure.caption


# ------------------------------------------------------------------------------------------------ who changed


def with_samples(n: int, **columns: Any) -> Comparison:
    made = sample_comparison(40)
    return dataclasses.replace(
        made, samples=Table({"id": np.array([f"{i}.png" for i in range(n)]), **columns})
    )


def test_images_that_turned_most_come_first_and_are_counted_in_all() -> None:
    """Capped on either side, the counts are whole; runs that are right are counted, not averaged."""
    n = 2 * MAX_CHANGED + 50
    share = np.full(n, 1 / 3)
    share[7] = 0.0
    made = with_samples(
        n,
        **{"correct:control": np.ones(n), "correct:qscore": share, "correct:before": np.ones(n),
           "newly_wrong:control": np.ones(n, bool), "newly_right:control": np.zeros(n, bool)},
    )  # fmt: skip
    found = changed(Reading(made))
    assert found is not None
    assert (found.balance[0].wrong, found.balance[0].right, found.total) == (n, 0, n)
    assert len(found.images) == MAX_CHANGED
    assert found.images[0].id == "7.png"
    assert [cell.shown for cell in found.images[0].cells] == ["right", "3 of 3", "0 of 3"]
    assert [cell.shown for cell in found.images[1].cells] == ["right", "3 of 3", "1 of 3"]
    assert found.images[0].label == ""


def test_without_labels_no_image_turned() -> None:
    """There is nothing to be right about."""
    assert changed(Reading(sample_comparison(60, labelled=False))) is None
    assert classes(Reading(sample_comparison(60, labelled=False))) is None


def test_classes_most_hurt_and_most_helped() -> None:
    """By the change, worst first; a class of unknown accuracy is in the table, last, and drawn nowhere."""
    table = Table({
        "class": np.array(["a", "b", "c", "d"], dtype=object), "n": np.array([5, 5, 5, 0]),
        "accuracy:control": np.array([0.5, 0.5, 0.5, np.nan]), "accuracy:qscore": np.array([0.9, 0.1, 0.3, np.nan]),
        "delta": np.array([0.4, -0.4, -0.2, np.nan]), "low": np.array([0.1, -0.6, -0.4, np.nan]),
        "high": np.array([0.7, -0.2, 0.1, np.nan]),
    })  # fmt: skip
    found = classes(Reading(dataclasses.replace(sample_comparison(40), classes=table)))
    assert found is not None
    assert [one.name for one in found.hurt] == ["b", "c"]
    assert [one.name for one in found.helped] == ["a"]
    assert found.decided == (1, 1)
    assert [row[0].shown for row in found.grid.rows] == ["b", "c", "a", "d"]
    assert [column.title for column in found.grid.columns] == [
        "Class", "Images", "control", "after (qscore)", "Change", "from", "to",
    ]  # fmt: skip
    assert [cell.shown for cell in found.grid.rows[0][2:]] == ["50.0%", "10.0%", "-40.0", "-60.0", "-20.0"]


# ------------------------------------------------------------------------------------------------ page


@pytest.mark.parametrize("name", VARIANTS)
def test_the_page_is_one_file_under_a_policy(name: str) -> None:
    """Nothing is fetched, the hashes are those of its own style and script, every id is there once."""
    text = render_comparison(sample_comparison(**{"n": 300, **VARIANTS[name]}))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', text)
    assert policy is not None
    allowed = set(re.findall(r"sha256-([^&']+)", policy.group(1)))
    own = re.findall(r"<(?:style|script)>(.*?)</(?:style|script)>", text, re.S)
    assert {base64.b64encode(hashlib.sha256(code.encode()).digest()).decode() for code in own} == allowed
    assert "unsafe" not in policy.group(1)
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)
    assert not re.search(r"\sstyle=", text), "the policy would drop inline styles"
    targets = re.findall(r'(?:src|href|action|srcset)="([^"]*)"', text)
    beside = NAMES | {"./simclr_resnet18.qscore-0.safetensors"}
    assert all(t.startswith(("data:image/jpeg;base64,", "#")) or t in beside for t in targets)
    ids = re.findall(r'\sid="([^"]*)"', text)
    assert len(ids) == len(set(ids))
    assert {t[1:] for t in targets if t.startswith("#")} <= set(ids)


def test_the_verdict_comes_first_in_plain_words() -> None:
    """The sentence, the reason, and the numbers of all three arms with each difference and its effect."""
    made = sample_comparison(200, seeds=5, gain=-1.0)
    text = render_comparison(made)
    assert (
        text.index("qscore hurt.")
        < text.index(str(escape(made.reason)))
        < text.index("the measure that decides")
    )
    shown = [re.sub("<[^>]*>", "", t) for t in re.findall(r'class="big"[^>]*>(.*?)</data>', text)]
    assert shown == accuracies(made)
    assert shown[0] == "87.1%"
    found = made.difference("linear_probe_accuracy", "qscore", "control")
    assert found is not None
    assert interval_words(found) in text
    assert "No evidence that qscore helped." in render_comparison(sample_comparison(60, seeds=1))


def test_without_labels_no_number_is_put_in_front() -> None:
    """The reason says that nothing can be proved; what changed is listed all the same."""
    text = render_comparison(sample_comparison(60, labelled=False))
    assert "Without labels nothing can prove it" in text
    assert "the measure that decides" not in text
    assert 'id="differences"' in text
    assert 'id="images"' not in text
    assert 'id="classes"' not in text


def test_a_collapsed_arm_is_marked_and_every_skip_has_its_reason() -> None:
    """Nobody reads a collapsed run's numbers without being told."""
    made = sample_comparison(60, ablations=2, collapsed="lambda1")
    text = render_comparison(made)
    assert "collapsed in 3 of 3 runs: <bdi>collapse: RankMe fell to 4 % of what it was</bdi>" in text
    assert text.count('class="flag">collapsed') == 1
    named = dataclasses.replace(made, reason="lambda1 ended early (collapse).")
    assert "collapsed in 3 of 3 runs" not in render_comparison(named), "it is said once"
    assert "measured in only one arm" in text
    assert "needs augmented views of the images, and this run has none" in text


def test_every_metric_is_in_the_table_and_telling_ones_are_open() -> None:
    """All are rows; folded away in the forest are only those that are no headline and show nothing."""
    made = sample_comparison(60)
    text = render_comparison(made)
    reading = Reading(made)
    table = text[text.index('id="metric-table"') :]
    assert len(reading.metrics) == 27
    for metric in reading.metrics:
        assert f'<tr data-metric="{metric}"' in table
    forests = text[text.index('id="differences"') : text.index('id="metrics"')]
    opened = re.sub(r'<details class="more">.*?</details>', "", forests, flags=re.S)
    assert {m for m in reading.metrics if f'data-metric="{m}"' in opened} == set(reading.telling)
    assert {m for m in reading.metrics if f'data-metric="{m}"' in forests} == set(reading.metrics)


def test_hostile_text_never_becomes_markup() -> None:
    """Names, reasons, facts, files and settings are shown letter by letter."""
    text = render_comparison(hostile_comparison(200))
    assert "<script>document" not in text
    assert "<img src=x" not in text
    assert "<!-- {{" not in text
    assert text.count("<script>") == 3
    for name in HOSTILE:
        assert str(escape(name)) in text
    assert 'href="./%3Cscript%3E' in text


@pytest.mark.parametrize(
    "name", ["javascript:alert(1)", "//x.example/y", "../up.bin", "C:\\x", "/etc/passwd"]
)
def test_only_a_file_beside_the_page_is_linked(name: str) -> None:
    """Anything else is shown as text."""
    made = sample_comparison(40, files={name: "words"})
    text = render_comparison(made)
    assert str(escape(name)) in text.split("<footer>")[1]
    links = {link for link in re.findall(r'href="([^"]*)"', text) if not link.startswith("#")}
    assert links == NAMES - {"comparison.html"}


def test_the_page_stays_small(tmp_path: Path) -> None:
    """10,000 images, 200 classes, 7 arms of 5 seeds, 200 epochs: under 3 MB with all the tables in it."""
    made = sample_comparison(10_000, 200, seeds=5, ablations=4, epochs=200)
    paths = write_comparison(made, tmp_path)
    assert paths["comparison.html"].stat().st_size < 2_500_000


def test_what_is_nearly_empty_is_rendered() -> None:
    """No differences, samples, curves or classes; a quantity that is no registered metric; no arms at all."""
    made = sample_comparison(40)
    nothing = Table({})
    bare = dataclasses.replace(
        made, differences=(), samples=nothing, curves=nothing, classes=nothing, skipped={}
    )
    assert "No metric was measured in both arms." in render_comparison(bare)
    assert "NO EVIDENCE" in printed(bare) or "HELPED" in printed(bare)
    own = dataclasses.replace(made, differences=(difference(metric="own", title="Own <b>", primary=True),))
    assert "Own &lt;b&gt;" in render_comparison(own)
    assert "Own <b>" in printed(own)
    empty = dataclasses.replace(bare, arms=())
    assert "qscore against control" in render_comparison(empty)
    schema_validator().validate(json.loads(dumps(to_json(empty))))


# ------------------------------------------------------------------------------------------------ files


@pytest.mark.parametrize("name", VARIANTS)
def test_every_comparison_fits_the_schema(name: str) -> None:
    """Labelled, unlabelled, one seed, ablations, many classes."""
    schema_validator().validate(json.loads(dumps(to_json(sample_comparison(**{"n": 120, **VARIANTS[name]})))))


def test_a_hostile_comparison_fits_the_schema() -> None:
    """Odd names are plain strings there."""
    document = json.loads(dumps(to_json(hostile_comparison(60))))
    schema_validator().validate(document)
    assert document["verdict"]["subject"] == HOSTILE[2]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema_version",), 2),
        (("verdict", "effect"), "great"),
        (("differences", 0, "delta"), None),
        (("differences", 0, "surprise"), 1),
        (("arms", 0, "seed"), "zero"),
        (("arms", 0, "measurements", "rankme"), {"value": 1.0, "skipped": "both"}),
        (("tables", "samples.csv", "sha256"), "abc"),
    ],
)
def test_the_schema_refuses_what_is_wrong(path: tuple[str | int, ...], value: object) -> None:
    """The schema test can fail: each of these documents is refused."""
    inside = target = copy.deepcopy(json.loads(dumps(to_json(sample_comparison(30)))))
    for step in path[:-1]:
        inside = inside[step]
    inside[path[-1]] = value
    assert not schema_validator().is_valid(target)


def test_the_schema_lists_every_effect() -> None:
    """A new effect needs a word everywhere."""
    schema = schema_validator().schema
    assert schema["properties"]["verdict"]["properties"]["effect"]["enum"] == [e.value for e in Effect]


def test_the_tables_hold_exactly_what_the_comparison_does(tmp_path: Path) -> None:
    """Values read back bit by bit; a skipped metric is an empty cell; each seed has its column."""
    made = sample_comparison(80, seeds=2, ablations=1)
    paths = write_comparison(made, tmp_path)
    assert set(paths) == NAMES
    assert {path.name for path in tmp_path.iterdir()} == NAMES
    rows = read(paths["differences.csv"])
    assert len(rows) == len(made.differences)
    for row, d in zip(rows, made.differences, strict=True):
        words = (d.metric, d.subject, d.against, d.effect.value)
        assert (row["metric"], row["subject"], row["against"], row["effect"]) == words
        assert d.interval is not None
        numbers = [float(row[name]) for name in ("delta", "delta_1", "delta_2", "low", "high", "level")]
        assert numbers == [d.delta, *d.by_seed, d.interval.low, d.interval.high, 0.95]
    arms = read(paths["arms.csv"])
    assert [(row["arm"], row["seed"]) for row in arms] == [
        (one.arm, "" if one.seed is None else str(one.seed)) for one in made.arms
    ]
    for row, one in zip(arms, made.arms, strict=True):
        for m in one.report.measurements:
            cell = row[m.spec.name]
            assert cell == "" if not isinstance(m.outcome, MetricResult) else float(cell) == m.outcome.value
    assert float(arms[1]["training.rank_after"]) == 190.1
    document = json.loads(paths["comparison.json"].read_text("utf-8"))
    for name, table in document["tables"].items():
        assert hashlib.sha256(paths[name].read_bytes()).hexdigest() == table["sha256"]
    assert document["tables"]["samples.csv"]["rows"] == 80


def test_a_hostile_name_in_a_table_is_text(tmp_path: Path) -> None:
    """A spreadsheet must not take it for a formula; undoing the escape gives the name back."""
    made = sample_comparison(40, subject="=1+1")
    subject = read(write_comparison(made, tmp_path)["differences.csv"])[0]["subject"]
    assert subject == "'=1+1"
    assert unescaped(subject) == "=1+1"


def test_tables_without_rows_have_their_headings(tmp_path: Path) -> None:
    """An empty table is a file that a reader understands."""
    nothing = Table({})
    made = sample_comparison(30, differences=(), samples=nothing, curves=nothing, classes=nothing)
    paths = write_comparison(made, tmp_path)
    assert paths["classes.csv"].read_text().strip() == '"class","n"'
    assert paths["differences.csv"].read_text().startswith('"metric","family"')


def test_a_failure_leaves_the_earlier_comparison_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing takes its place before all of it is there."""
    write_comparison(sample_comparison(30), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def broken(*_: object) -> str:
        raise RuntimeError("disk on fire")

    monkeypatch.setattr(comparison_html, "render_comparison", broken)
    with pytest.raises(RuntimeError, match="fire"):
        write_comparison(sample_comparison(30, seed=1), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_that_cannot_be_written_is_a_plain_error(tmp_path: Path) -> None:
    """What is wrong, where, and what to do."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="Cannot write"):
        write_comparison(sample_comparison(20), tmp_path / "file" / "out")


def test_rendering_loads_no_heavy_library(tmp_path: Path) -> None:
    """Neither torch nor sklearn nor matplotlib nor lightly is imported to write a comparison."""
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path\n"
        "from sample_comparison import sample_comparison\n"
        "from repdiag.report.comparison import write_comparison\n"
        "from repdiag.report.comparison_terminal import terminal\n"
        "write_comparison(sample_comparison(40), Path(sys.argv[2]))\n"
        "print([m for m in ('torch', 'sklearn', 'matplotlib', 'lightly') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(Path(__file__).parent), str(tmp_path)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


# ------------------------------------------------------------------------------------------------ terminal


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("name", ["three arms", "one seed", "unlabeled", "ablations", "hostile"])
def test_lines_fit_the_width(name: str, width: int) -> None:
    """No line is longer than the console, nor than 120 columns, and none has trailing blanks."""
    made = hostile_comparison(60) if name == "hostile" else sample_comparison(**{"n": 60, **VARIANTS[name]})
    lines = printed(made, width).splitlines()
    assert max(map(cell_len, lines)) <= min(width, 120)
    assert not any(line.endswith(" ") for line in lines)


def test_the_terminal_says_the_verdict_then_the_numbers() -> None:
    """The verdict's word is the first; each row has before, control, after, the difference and its effect."""
    made = sample_comparison(60, seeds=5, gain=-1.0)
    text = printed(made)
    assert text.startswith("HURT  Against an equally long training without it")
    row = next(line for line in text.splitlines() if "Linear probe accuracy" in line)
    found = made.difference("linear_probe_accuracy", "qscore", "control")
    assert found is not None
    assert row.split()[-1] == "hurt"
    before, control, after = accuracies(made)
    assert f"{before}    {control}  {after}  {said(found).replace(' points', '')}" in row
    assert "1 in 20" in " ".join(text.split())


def test_the_terminal_has_every_arm_and_what_stopped() -> None:
    """Ablations have a line each in the primary measure; a stop is said before the numbers."""
    text = printed(sample_comparison(60, ablations=4, collapsed="M=0"))
    assert text.index("M=0 ended early: collapse: RankMe") < text.index("after minus control")
    table = text[text.index("in every arm") :]
    for name in ("before", "control", "qscore", "lambda1", "lambda2", "M=0", "uniformity"):
        assert re.search(rf"^{name}\s+\d\d\.\d%", table, re.M), name


def test_the_terminal_lists_what_was_written(tmp_path: Path) -> None:
    """The folder once, our files in a row, the tuned encoder with what it is."""
    text = printed(sample_comparison(30), out=Path("tuned"))
    assert "Written to tuned\n  comparison.html, comparison.json" in text
    assert "simclr_resnet18.qscore-0.safetensors: the tuned encoder" in " ".join(text.split())
    assert "Written" not in printed(sample_comparison(30))


def test_the_terminal_obeys_nothing_that_is_foreign() -> None:
    """Escapes are shown, markup is not markup, and an ASCII log holds ASCII."""
    text = printed(hostile_comparison(60), out=Path("x"))
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\\x1b[31mred" in text
    assert printed(sample_comparison(40, ablations=2), encoding="ascii").isascii()
