"""The whole report in the terminal (`--full`): every number, reason and warning, a line each."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.text import Text

from repdiag.lines import GAP, Writer
from repdiag.report.numbers import WORDS, interval_text, null_text, number, quantity
from repdiag.report.text import sentence, shortened
from repdiag.report.views import words
from repdiag.types import Direction, Interval, Level, Measurement, MetricResult, Report

MAX_NAMED = 4  # metrics that were skipped for one reason; the report names them all
NOTED = "*"
LEVELS = {
    Level.GOOD: "bold green",
    Level.WATCH: "bold yellow",
    Level.POOR: "bold red",
    Level.UNDETERMINED: "dim",
}
MARKS = {
    False: {Level.GOOD: "✓", Level.WATCH: "!", Level.POOR: "✗", Level.UNDETERMINED: "?"},
    True: {Level.GOOD: "+", Level.WATCH: "!", Level.POOR: "x", Level.UNDETERMINED: "?"},
}
"""What stands before a level's word, by whether only ASCII can be printed."""
_VALUE, _NULL = 24, 14  # widths of the columns, in characters; the title has the rest
LEAST_WIDTH = _VALUE + _NULL + 28  # columns from which a family's numbers stand in columns


@dataclass(frozen=True)
class Shown:
    """One number as the terminal shows it."""

    title: str
    value: str  # with "%", but a unit in words stands behind the title
    interval: str
    null: str
    direction: Direction

    @property
    def behind(self) -> str:
        """Interval and null behind the value, where there are no columns."""
        return (f" {self.interval}" if self.interval else "") + (f", null {self.null}" if self.null else "")


def measured(report: Report) -> list[Measurement]:
    """What has a value, in the report's order."""
    return [m for m in report.measurements if isinstance(m.outcome, MetricResult)]


def shown(measurement: Measurement) -> Shown:
    """A measurement that has a value, as text."""
    spec, result = measurement.spec, measurement.outcome
    assert isinstance(result, MetricResult)
    value, interval, unit = _value(measurement, result)
    title = f"{spec.title} ({unit})" if unit else spec.title
    return Shown(title, value, interval, null_text(result.null, spec.unit, result.value), spec.direction)


def everything(report: Report, writer: Writer, files: Mapping[str, Path] | None = None) -> None:
    """Print everything."""
    _loaded(report, writer)
    _verdicts(report, writer)
    _headline(report, writer)
    for family in dict.fromkeys(m.spec.family for m in report.measurements):
        _family(family, [m for m in report.measurements if m.spec.family == family], writer)
        if family == "crowding" and len(report.pairs):
            writer.line(_nearest_pair(report), "dim", indent=4, further=4)
    _legend(report, writer)
    writer.warnings(report.warnings, "report.json")
    _next(report, writer, files)
    writer.written(list((files or {}).values()))


def _loaded(report: Report, writer: Writer) -> None:
    encoder = {key: value for key, value in report.encoder.items() if key != "preprocessing"}
    preprocessing = report.encoder.get("preprocessing") or report.config.get("preprocessing")
    loading = encoder.pop("loading", None)
    said = {
        "encoder": _facts(encoder),
        "loaded": _loading(loading) if isinstance(loading, Mapping) else loading,
        "data": _facts(report.dataset),
        "preprocessing": _facts(preprocessing) if isinstance(preprocessing, Mapping) else preprocessing,
    }
    for name, text in said.items():
        if text:
            writer.beside(name, "bold", writer.styled((text, "")), 15)


def _loading(parts: Mapping[str, Any]) -> str:
    """What became of the checkpoint's tensors; few names are said here, all are in the report."""
    said = [f"{words(parts['loaded'])} tensors"] if "loaded" in parts else []
    for key in ("dropped", "missing", "ignored"):
        if key in parts:
            names = parts[key]
            count = len(names) if isinstance(names, list | tuple) else names
            said.append(
                f"{key} {count}" + (f" ({shortened(words(names), 60)})" if names and count != names else "")
            )
    return "; ".join(said)


def _facts(parts: Mapping[str, Any]) -> str:
    """A mapping on one line: its `summary`, or its name and what is short enough to read in passing."""
    if parts.get("summary"):
        return str(parts["summary"])
    said = [str(parts["name"])] if parts.get("name") else []
    for key, value in parts.items():
        if key == "name" or value is None or isinstance(value, Mapping):
            continue
        if isinstance(value, list | tuple) and value and not isinstance(value[0], int | float):
            said.append(f"{key} {len(value)}")  # their names are in the report
        elif len(words(value)) <= 40:
            said.append(f"{key.replace('_', ' ')} {words(value)}")
    return "; ".join(said)


def _value(measurement: Measurement, result: MetricResult) -> tuple[str, str, str]:
    """The number, its interval, and its unit where that is a word."""
    unit = measurement.spec.unit
    short = unit if unit in ("share", "%", "") else "x"  # any word: a count is written as a count
    text = quantity(result.value, short).removesuffix(" x")
    return text, interval_text(result.interval, unit, result.value), "" if short == unit else unit


def _verdicts(report: Report, writer: Writer) -> None:
    """A line per family: the level as a word, and why."""
    if not report.verdicts:
        return
    writer.blank()
    writer.line("Verdicts", "bold")
    marks = MARKS[writer.ascii]
    for verdict in report.verdicts:
        family = verdict.family.replace("_", " ").capitalize()
        said = writer.styled((f"{family}: ", "bold"), (verdict.reason, ""))
        level = verdict.level
        writer.beside(f"{marks[level]} {level.value}", LEVELS[level], said, 18, indent=2)


def _nearest_pair(report: Report) -> str:
    """One line on the two classes that lie closest; pairs.csv has the others, by distance."""
    first = {name: column[0] for name, column in report.pairs.columns.items()}
    said = f"nearest classes: {words(first.get('class_a'))} and {words(first.get('class_b'))}"
    facts = [f"centers {number(first['distance'])} apart"] if "distance" in first else []
    if "nearer_ab" in first and "nearer_ba" in first:
        shares = " and ".join(quantity(first[name], "share") for name in ("nearer_ab", "nearer_ba"))
        facts.append(f"{shares} of their samples nearer to the other's")
    return f"{said} ({', '.join(facts)}); pairs.csv has more" if facts else said


def _headline(report: Report, writer: Writer) -> None:
    """The numbers to look at first, each with what it means."""
    headline = [m for m in report.measurements if m.spec.headline]
    skipped = [m.spec.title for m in headline if not isinstance(m.outcome, MetricResult)]
    writer.blank()
    writer.line("Headline", "bold")
    for measurement in headline:
        if not isinstance(measurement.outcome, MetricResult):
            continue
        one = shown(measurement)
        line = writer.styled((one.title, "bold"), (": ", ""), (one.value, "bold"), (one.behind, ""))
        writer.line(line, indent=2, further=4)
        writer.line(sentence(measurement.spec.meaning), "dim", indent=4, further=4)
    if skipped:
        writer.line(f"Not measured here: {', '.join(skipped)}", "dim", indent=2, further=4)
    if report.risk:
        writer.blank()
        writer.line(_risk(report.risk, writer))


def _risk(risk: Mapping[str, Any], writer: Writer) -> Text:
    said = f"The risk of an image rests on: {risk.get('title') or risk.get('score')}"
    auroc, low, high = risk.get("auroc"), risk.get("low"), risk.get("high")
    if auroc is not None:
        said += f", AUROC {number(auroc)}"
        if low is not None and high is not None:
            said += " " + interval_text(Interval(low, high, "", 0), "", auroc)
    doubt = "" if risk.get("validated") else "Not validated. "
    return writer.styled((f"{said}. ", "bold"), (doubt, "bold yellow"), (risk.get("explanation") or "", ""))


def _family(family: str, measurements: list[Measurement], writer: Writer) -> None:
    """A line per number, in columns where they fit; then notes on headline numbers, and what was skipped."""
    wide = writer.width >= LEAST_WIDTH
    name = min(48, writer.width - _VALUE - _NULL - 3 - 2 * GAP)
    widths = [3, name, _VALUE - GAP, writer.width - 3 - name - _VALUE - 2 * GAP]
    writer.blank()
    heads = [Text(), Text(writer.safe(family.replace("_", " ").capitalize()), "bold")]
    if wide and any(isinstance(m.outcome, MetricResult) for m in measurements):
        heads += [Text("value [95% interval]", "dim"), Text("null", "dim")]
        line = Text(heads[1].plain, "bold").append(" " * max(1, name + 3 + 2 * GAP - heads[1].cell_len))
        writer.put(line.append(f"{heads[2].plain:<{_VALUE}}null", "dim not bold"))
    else:
        writer.line(heads[1])
    reasons: dict[str, list[str]] = {}
    notes: dict[str, list[str]] = {}
    for measurement in measurements:
        spec, result = measurement.spec, measurement.outcome
        if not isinstance(result, MetricResult):
            reasons.setdefault(result.reason, []).append(spec.title)
            continue
        value, interval, unit = _value(measurement, result)
        behind = "".join(f" {part}" for part in (interval, unit) if part)
        mark = f"{NOTED if result.note and not spec.headline else ' '} {writer.arrows[spec.direction]}"
        null = writer.safe(null_text(result.null, spec.unit, result.value))
        said = Text(writer.safe(value), "bold").append(writer.safe(behind), "not bold")
        if wide:
            over = said.cell_len - widths[2]  # a unit in words may take room where no null stands
            fits = widths if over <= 0 or null else [*widths[:2], said.cell_len, max(1, widths[3] - over)]
            writer.row([Text(mark), Text(writer.safe(spec.title)), said, Text(null, "dim")], fits)
        else:
            writer.line(writer.styled((f"{mark.strip()} {spec.title}", "")), further=2)
            writer.line(said.append(f", null {null}" if null else "", "dim not bold"), indent=2, further=2)
        if result.note and spec.headline:
            notes.setdefault(result.note, []).append(spec.title)
    for note, titles in notes.items():
        writer.line(f"{', '.join(titles)}: {note}", "dim", indent=4, further=4)
    for reason, titles in reasons.items():
        named = ", ".join(titles[:MAX_NAMED])
        more = f" and {len(titles) - MAX_NAMED} more" if len(titles) > MAX_NAMED else ""
        writer.line(f"- skipped: {named}{more} ({reason})", "dim", indent=2, further=4)


def _legend(report: Report, writer: Writer) -> None:
    """What the signs mean, and what is told elsewhere."""
    legend = [f"{writer.arrows[way]} {WORDS[way]}" for way in Direction]
    noted = [m for m in measured(report) if isinstance(m.outcome, MetricResult) and m.outcome.note]
    if any(not m.spec.headline for m in noted):
        legend.append(f"{NOTED} has a note in the report")
    writer.blank()
    writer.line("null: what the measure gives when there is nothing to find; " + ", ".join(legend), "dim")
    moving = sum(bool(m.by_size) for m in report.measurements)
    if moving:
        writer.line(
            f"{moving} of these numbers move with N: compare at equal N (the report has N/4 and N/2)", "dim"
        )
    writer.line("what each measure means: the report, or `repdiag metrics NAME`", "dim")


def _next(report: Report, writer: Writer, files: Mapping[str, Path] | None) -> None:
    """What to do next, with the whole reason."""
    if not report.exhibits.advice:
        return
    writer.blank()
    writer.line("Next", "bold")
    for at, one in enumerate(report.exhibits.advice, start=1):
        title, why = sentence(one.title), sentence(one.reason)
        writer.line(writer.styled((f"{at} ", ""), (title, "bold"), (f" {why}", "")), further=2)
        if one.command:
            writer.command(command_for(one.command, files), indent=4)


def command_for(command: str, files: Mapping[str, Path] | None) -> str:
    """`command` with the report's folder for REPORT, where it is known."""
    if not files or "report.json" not in files:
        return command
    folder = files["report.json"].parent
    return re.sub(
        r"(?<!\S)(['\"]?)REPORT(?=/|\1(?:\s|$))(\S*?)\1(?!\S)",
        lambda found: shlex.quote(f"{folder}{found[2]}"),
        command,
    )
