"""The whole report in the terminal (`--full`): complete, within the width, harmless, readable in a plain log."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console
from sample_report import HOSTILE, sample_report

from repdiag.report.terminal import render
from repdiag.report.terminal_full import MARKS
from repdiag.types import MetricResult, Report, Skipped, Table


def printed(report: Report, width: int = 80, encoding: str = "utf-8", **files: Path) -> str:
    """What a log without color holds."""
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding=encoding, write_through=True)
    render(report, Console(file=stream, width=width, color_system=None, legacy_windows=False), files, True)
    return buffer.getvalue().decode(encoding)


def squeezed(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("width", [60, 80, 120, 200])
@pytest.mark.parametrize("options", [{}, {"labelled": False}, {"names": HOSTILE}])
def test_lines_fit_the_width(width: int, options: dict[str, Any]) -> None:
    """No line is longer than the console, nor than 120 columns."""
    lines = printed(sample_report(100, 16, **options), width).splitlines()
    assert max(map(cell_len, lines)) <= min(width, 120)
    assert not any(line.endswith(" ") for line in lines)


@pytest.mark.parametrize("width", [80, 120])
def test_every_metric_is_there_with_value_and_interval(width: int) -> None:
    """Each computed metric shows its numbers, a headline one its meaning; each skipped one its reason."""
    report = sample_report(100, 16)
    text = squeezed(printed(report, width))
    assert "87.1% [85.8, 88.3]" in text
    assert "187.4 [184.6, 190.0] dimensions" in text
    assert "RankMe (dimensions): 187.4 [184.6, 190.0]" in text
    assert "0.391 [0.385, 0.396]" in text
    for measurement in report.measurements:
        assert measurement.spec.title in text
        if isinstance(measurement.outcome, MetricResult) and measurement.spec.headline:
            assert measurement.spec.meaning in text
    assert "skipped: Alignment (needs augmented views of the images, and this run has none)" in text
    assert "One class has fewer than 5 images" not in text, (
        "notes of other than headline metrics: in the report"
    )
    assert "* ↓ Class-distance normalized variance" in text
    assert "* has a note in the report" in text


def test_a_note_on_a_headline_number_is_said_in_full() -> None:
    """What limits one of the numbers that everybody reads stands below it."""
    report = sample_report(100, 16)
    noted = dataclasses.replace(
        report.measurements[0], outcome=MetricResult(value=0.5, note="Only 3 classes count.")
    )
    text = squeezed(printed(dataclasses.replace(report, measurements=(noted,))))
    assert "Linear probe accuracy: Only 3 classes count." in text
    assert "has a note" not in text


def test_verdicts_come_first_as_words_with_their_reasons() -> None:
    """Each family's level is a word, not a color alone; the reason hangs beside it."""
    report = sample_report(100, 16)
    text = printed(report)
    assert text.index("Verdicts") < text.index("Headline") < text.index("kNN accuracy")
    lines = text.splitlines()
    for verdict in report.verdicts:
        mark = MARKS[False][verdict.level]
        said = f"  {mark} {verdict.level.value:<14}{verdict.family.capitalize()}: "
        assert any(line.startswith(said) for line in lines), said
        assert verdict.reason in squeezed(text)
    assert "Verdicts" not in printed(sample_report(100, 16, verdicts=()))


def test_the_nearest_pair_has_one_line() -> None:
    """Only the closest pair of classes is named; a table without shares still names it."""
    report = sample_report(100, 16)
    pairs = report.pairs.columns
    text = squeezed(printed(report))
    assert f"nearest classes: {pairs['class_a'][0]} and {pairs['class_b'][0]} (centers" in text
    assert text.count("nearest classes") == 1
    bare = Table({name: pairs[name] for name in ("class_a", "class_b")})
    line = next(
        s for s in printed(dataclasses.replace(report, pairs=bare)).splitlines() if "nearest classes" in s
    )
    assert line == f"    nearest classes: {pairs['class_a'][0]} and {pairs['class_b'][0]}"
    assert "nearest classes" not in printed(sample_report(100, 16, labelled=False))


def test_that_numbers_move_with_n_is_one_line() -> None:
    """How many do, and where to look; nothing when none was measured on fewer samples."""
    report = sample_report(100, 16)
    moving = sum(bool(m.by_size) for m in report.measurements)
    assert f"{moving} of these numbers move with N: compare at equal N" in printed(report)
    still = [dataclasses.replace(m, by_size=()) for m in report.measurements]
    assert "move with N" not in printed(dataclasses.replace(report, measurements=still))


def test_many_skipped_for_one_reason_are_counted() -> None:
    """Four are named, the others counted, so that eighty metrics stay readable."""
    report = sample_report(100, 16, labelled=False)
    skipped = [dataclasses.replace(m, outcome=Skipped("no labels")) for m in report.measurements]
    family = [m for m in skipped if m.spec.family == "risk"]
    text = squeezed(printed(dataclasses.replace(report, measurements=family)))
    named = ", ".join(m.spec.title for m in family[:4])
    assert f"skipped: {named} and {len(family) - 4} more (no labels)" in text


def test_eighty_metrics_stay_within_two_screens_of_lines() -> None:
    """A line per metric and little else, whatever their notes say."""
    report = sample_report(100, 16)
    many = [
        dataclasses.replace(
            m, spec=dataclasses.replace(m.spec, headline=False), outcome=MetricResult(0.5, note="Long. " * 60)
        )
        for m in report.measurements * 3
    ]
    assert len(many) > 80
    lines = printed(dataclasses.replace(report, measurements=tuple(many))).splitlines()
    assert len(lines) < len(many) + 70


def test_loading_warnings_risk_and_files_are_said(tmp_path: Path) -> None:
    """Encoder, data and preprocessing lines, warnings, what the risk rests on, and the written files."""
    report = sample_report(100, 16)
    text = squeezed(printed(report, 200, html=tmp_path / "report.html"))
    assert "encoder simclr_resnet18.safetensors; architecture resnet18" in text
    assert "loaded 120 tensors; dropped 2 (projection_head.layers.0" in text
    assert "missing 0" in text
    assert "data cifar10-images; kind image folder; samples 100" in text
    assert "preprocessing resize 256; crop 224; mean 0.485, 0.456, 0.406" in text
    assert "test/cat/broken.png (truncated PNG)" in text
    assert "rests on: Neighborhood consistency, AUROC 0.739 [0.725, 0.752]" in text
    assert str(tmp_path / "report.html") in text.replace(" ", "")
    assert "Not validated" not in text


def test_a_summary_of_the_producer_is_taken_as_it_is() -> None:
    """An encoder or data set that brings its own `summary` line is shown by that line."""
    report = sample_report(50, 16, encoder={"summary": "ResNet-18 from a.pt, 120 tensors", "name": "hidden"})
    text = printed(report)
    assert "encoder        ResNet-18 from a.pt, 120 tensors" in text
    assert "hidden" not in text


def test_an_unlabelled_run_says_what_it_could_not_measure() -> None:
    """Skipped headline numbers are named, and the risk is called not validated."""
    text = squeezed(printed(sample_report(100, 16, labelled=False)))
    assert "Not measured here: Linear probe accuracy" in text
    assert "Not validated." in text
    assert "87.1%" not in text


@pytest.mark.parametrize(
    "hostile", [*HOSTILE, "[bold red]x[/] [link=file:///etc]y", "\x1b]0;owned\x07", "\u202e"]
)
@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "cp1252"])
def test_foreign_text_cannot_steer_the_terminal(hostile: str, encoding: str) -> None:
    """Escape sequences, direction marks and rich's own markup are shown, not obeyed, in any encoding."""
    report = sample_report(20, 16, names=(hostile, "b"), warnings=(hostile,), encoder={"name": hostile})
    measurement = dataclasses.replace(report.measurements[0], outcome=MetricResult(value=0.5, note=hostile))
    text = printed(dataclasses.replace(report, measurements=(measurement,)), 400, encoding)
    assert not {"\x1b", "\x07", "\u202e", "\u2028", "\r"} & set(text)
    if "[bold" in hostile:
        assert hostile in squeezed(text)


def test_plain_ascii_consoles_get_ascii() -> None:
    """On a console without Unicode arrows become ^ and v, marks + and x, and nothing fails."""
    text = squeezed(printed(sample_report(50, 16), encoding="ascii"))
    assert "^ Linear probe accuracy" in text
    assert "v Nearest-center error" in text
    assert "10.0 +- 0.6" in text
    assert "\\u" not in text


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_long_title_takes_lines_and_its_number_stays_where_numbers_are(encoding: str) -> None:
    """Nothing of a title is cut: the end may be what it means."""
    report = sample_report(50, 16)
    first = report.measurements[1]
    long = dataclasses.replace(
        first, spec=dataclasses.replace(first.spec, title="A title " * 9 + "without labels")
    )
    text = printed(dataclasses.replace(report, measurements=(long,)), encoding=encoding)
    line = next(s for s in text.splitlines() if "A title" in s)
    assert line.index("84.5%") == 42
    assert "without labels" in squeezed(text)
