"""The report in the terminal: the same numbers as the page, readable at 80 columns and in a log without color."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from repdiag.report.numbers import ARROWS, WORDS, interval_text, null_text, number, quantity
from repdiag.report.text import sentence, shortened, visible
from repdiag.report.views import words
from repdiag.types import Direction, Interval, Level, Measurement, MetricResult, Report

MAX_WIDTH = 120  # longer lines are hard to read
MAX_WARNINGS = 20
MAX_NAMED = 4  # metrics that were skipped for one reason; the report names them all
NOTED = "*"
LEVELS = {
    Level.GOOD: "bold green",
    Level.WATCH: "bold yellow",
    Level.POOR: "bold red",
    Level.UNDETERMINED: "dim",
}
_VALUE, _NULL = 24, 14  # widths of the columns, in characters; the title has the rest
_ASCII_ARROWS = {Direction.HIGHER: "^", Direction.LOWER: "v", Direction.NEITHER: "."}
_ASCII = str.maketrans({"–": "-", "±": "+-", "…": "...", "×": "x", "²": "2", "α": "alpha"})


def render(report: Report, console: Console, files: Mapping[str, Path] | None = None) -> None:
    """Print `report` on `console`; `files` (name -> path, from `write_report`) are listed at the end."""
    writer = Writer(console)
    _loaded(report, writer)
    _verdicts(report, writer)
    _headline(report, writer)
    for family in dict.fromkeys(m.spec.family for m in report.measurements):
        _family(family, [m for m in report.measurements if m.spec.family == family], writer)
        if family == "crowding" and len(report.pairs):
            writer.line(_nearest_pair(report), "dim", indent=4, further=4)
    _legend(report, writer)
    writer.warnings(report.warnings, "report.json")
    if files:
        writer.blank()
        writer.line("Written", "bold")
        for path in files.values():
            writer.line(str(path), indent=2, further=2)


def _legend(report: Report, writer: Writer) -> None:
    """What the signs mean, and what is told elsewhere."""
    legend = [f"{writer.arrows[way]} {WORDS[way]}" for way in Direction]
    noted = [m for m in report.measurements if isinstance(m.outcome, MetricResult) and m.outcome.note]
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


class Writer:
    """Prints text as text: no markup, no control characters, nothing that the console's encoding lacks."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.ascii = console.options.ascii_only
        self.width = min(console.width, MAX_WIDTH)
        self.arrows = _ASCII_ARROWS if self.ascii else ARROWS

    def safe(self, value: Any) -> str:
        """Foreign text that can be printed."""
        text = str(value).translate(_ASCII) if self.ascii else str(value)
        return visible(text, self.console.encoding)

    def styled(self, *parts: tuple[str, str]) -> Text:
        """Parts of (text, style) one after the other."""
        return Text.assemble(*((self.safe(text), style) for text, style in parts))

    def hung(self, text: Text, indent: int, further: int, width: int) -> Text:
        """`text` within `width`, its first line indented by `indent`, the others by `further`."""
        lines = text.wrap(self.console, max(20, width - max(indent, further)))
        for line in lines:
            line.rstrip()
        return Text("\n").join(
            Text(" " * (further if i else indent)).append_text(line) for i, line in enumerate(lines)
        )

    def line(self, value: str | Text, style: str = "", indent: int = 0, further: int | None = None) -> None:
        """One paragraph."""
        text = value if isinstance(value, Text) else self.styled((value, style))
        self.console.print(self.hung(text, indent, indent if further is None else further, self.width))

    def beside(self, name: str, style: str, text: Text, at: int, indent: int = 0) -> None:
        """A paragraph that begins in column `at`, with a name to its left."""
        left = Text(" " * indent).append(self.safe(name), style)
        left.append(" " * max(1, at - left.cell_len))
        self.console.print(left.append_text(self.hung(text, at, at, self.width)[at:]))

    def warnings(self, said: Sequence[str], more_in: str) -> None:
        """The first of them under a heading, and where the others are; nothing when there are none."""
        if not said:
            return
        self.blank()
        self.line("Warnings", "bold yellow")
        for warning in said[:MAX_WARNINGS]:
            self.line(f"- {warning}", indent=2, further=4)
        if len(said) > MAX_WARNINGS:
            self.line(f"- and {len(said) - MAX_WARNINGS} more in {more_in}", indent=2)

    def blank(self) -> None:
        """An empty line."""
        self.console.print()


def _loaded(report: Report, writer: Writer) -> None:
    encoder = {key: value for key, value in report.encoder.items() if key != "preprocessing"}
    preprocessing = report.encoder.get("preprocessing") or report.config.get("preprocessing")
    loading = encoder.pop("loading", None)
    shown = {
        "encoder": _facts(encoder),
        "loaded": _loading(loading) if isinstance(loading, Mapping) else loading,
        "data": _facts(report.dataset),
        "preprocessing": _facts(preprocessing) if isinstance(preprocessing, Mapping) else preprocessing,
    }
    for name, said in shown.items():
        if said:
            writer.beside(name, "bold", writer.styled((said, "")), 15)


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
    for verdict in report.verdicts:
        family = verdict.family.replace("_", " ").capitalize()
        said = writer.styled((f"{family}: ", "bold"), (verdict.reason, ""))
        writer.beside(verdict.level.value, LEVELS[verdict.level], said, 16, indent=2)


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
    inside = writer.width - 6
    headline = [m for m in report.measurements if m.spec.headline]
    results = [(m, m.outcome) for m in headline if isinstance(m.outcome, MetricResult)]
    skipped = [m.spec.title for m in headline if not isinstance(m.outcome, MetricResult)]
    width = max((len(_value(*one)[1]) for one in results), default=0)
    parts: list[Text] = []
    for measurement, result in results:
        spec = measurement.spec
        value, interval, unit = _value(measurement, result)
        null = null_text(result.null, spec.unit, result.value)
        title = f"{spec.title} ({unit})" if unit else spec.title
        line = writer.styled((f"{value:>7}", "bold"), (f" {interval:<{width}}  ", ""), (title, "bold"))
        meaning = writer.styled((sentence(spec.meaning) + (f" Null: {null}." if null else ""), "dim"))
        parts += [writer.hung(line, 0, 8, inside), writer.hung(meaning, 8, 8, inside)]
    if skipped:
        parts.append(writer.styled((f"Not measured here: {', '.join(skipped)}", "dim")))
    if report.risk:
        parts += [Text(), _risk(report.risk, writer)]
    writer.blank()
    panel = Panel(Text("\n").join(parts), title="Headline", title_align="left", padding=(1, 2))
    writer.console.print(panel, width=writer.width)


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
    width = min(48, max(24, writer.width - _VALUE - _NULL - 4))
    writer.blank()
    title = _column(writer.safe(family.replace("_", " ").capitalize()), width + 4, writer.console.encoding)
    head = Text(title, "bold")
    if any(isinstance(m.outcome, MetricResult) for m in measurements):
        head.append(f"{'value [95% interval]':<{_VALUE}}null", "dim not bold")
    head.rstrip()
    writer.console.print(head, no_wrap=True, overflow="ellipsis")
    reasons: dict[str, list[str]] = {}
    notes: dict[str, list[str]] = {}
    for measurement in measurements:
        spec, result = measurement.spec, measurement.outcome
        if not isinstance(result, MetricResult):
            reasons.setdefault(result.reason, []).append(spec.title)
            continue
        value, interval, unit = _value(measurement, result)
        behind = "".join(f" {part}" for part in (interval, unit) if part)
        mark = NOTED if result.note and not spec.headline else " "
        line = Text(
            f"{mark} {writer.arrows[spec.direction]} {_column(writer.safe(spec.title), width, writer.console.encoding)}"
        )
        line.append(writer.safe(value), "bold").append(writer.safe(behind))
        null = writer.safe(null_text(result.null, spec.unit, result.value))
        gap = max(1, width + 4 + _VALUE - line.cell_len) if null else 0
        line.append(" " * gap + null, "dim")
        writer.console.print(line, no_wrap=True, overflow="ellipsis")
        if result.note and spec.headline:
            notes.setdefault(result.note, []).append(spec.title)
    for note, titles in notes.items():
        writer.line(f"{', '.join(titles)}: {note}", "dim", indent=4, further=4)
    for reason, titles in reasons.items():
        named = ", ".join(titles[:MAX_NAMED])
        more = f" and {len(titles) - MAX_NAMED} more" if len(titles) > MAX_NAMED else ""
        writer.line(f"- skipped: {named}{more} ({reason})", "dim", indent=2, further=4)


def _column(text: str, width: int, encoding: str) -> str:
    """`text` in exactly `width` cells, with an ellipsis when it is cut and always a space behind it."""
    if cell_len(text) < width:
        return set_cell_size(text, width)
    dots = "…" if "…".encode(encoding, "ignore") else "..."
    return set_cell_size(text, width - 1 - len(dots)) + dots + " "
