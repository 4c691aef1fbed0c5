"""Every command's output at every width, in ASCII, without color, quiet and as JSON; progress in a pty and in a log."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import select
import shlex
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from conftest import FIXTURES, ROOT
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text
from sample_comparison import sample_comparison
from sample_gate import sample_gate
from sample_report import HOSTILE, sample_report

from repdiag.audits import audit
from repdiag.audits.outputs.terminal import terminal as audit_terminal
from repdiag.cli import app, main, paragraphs, progress
from repdiag.cli.console import print_json
from repdiag.exhibits import Advice, Exhibits
from repdiag.gate.outputs.terminal import terminal as gate_terminal
from repdiag.lines import Writer
from repdiag.report import write_report
from repdiag.report.comparison_terminal import terminal as comparison_terminal
from repdiag.report.layers import layer_row, render_layers
from repdiag.report.terminal import MAX_LINES, first_sentence, render
from repdiag.report.terminal_full import command_for
from repdiag.types import Report

WIDTHS = (20, 40, 60, 80, 120, 200)
ENCODER = FIXTURES / "encoders/simclr.safetensors"
FILES = {name: Path("out") / name for name in ("report.html", "report.json")}
ODD = ("漢字の名前", "e\u0301te\u0301", "👩‍🚀 crew", "שלום", "\u202ertl", "a\x1b[2Jb", "[red]x[/]", "n" * 90)
"""Wide, combining, joined, right-to-left, steering, markup, and longer than a line."""


def printed(show: Callable[[Console], object], width: int = 80, encoding: str = "utf-8") -> str:
    """What a log holds."""
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding=encoding, write_through=True)
    show(Console(file=stream, width=width, color_system=None, legacy_windows=False))
    return buffer.getvalue().decode(encoding)


def summary(report: Report, width: int = 80, encoding: str = "utf-8", full: bool = False) -> str:
    return printed(lambda console: render(report, console, FILES, full), width, encoding)


def layers(console: Console) -> None:
    report = sample_report(40, 16, warnings=("Only 40 samples.",))
    report = dataclasses.replace(report, dataset={**report.dataset, "features": 16})
    rows = [layer_row(name, name, "gap", report) for name in ("layer1", "backbone.layer2.0.conv1")]
    render_layers(rows, console)


SHOWN: dict[str, Callable[[Console], object]] = {
    "summary": lambda c: render(sample_report(100, 16), c, FILES),
    "full": lambda c: render(sample_report(100, 16), c, FILES, True),
    "hostile": lambda c: render(sample_report(100, 16, names=HOSTILE), c, FILES, True),
    "odd": lambda c: render(sample_report(100, 16, names=ODD, encoder={"name": ODD[0] * 9}), c, FILES, True),
    "unlabeled": lambda c: render(sample_report(100, 16, labelled=False), c, FILES),
    "gate": lambda c: gate_terminal(sample_gate(), c),
    "audit": lambda c: audit_terminal(audit(sample_report(80, 8, thumbnails=0, names=ODD), 10), c, [*FILES.values()]),
    "comparison": lambda c: comparison_terminal(sample_comparison(40, ablations=2), c, Path("out")),
    "layers": layers,
}  # fmt: skip


@pytest.mark.parametrize("name", SHOWN)
def test_every_output_fits_every_width_and_obeys_nothing(name: str) -> None:
    """No line is wider than the terminal but one that holds a path or a command's word alone; intervals are whole."""
    for width in WIDTHS:
        text = printed(SHOWN[name], width)
        assert not {"\x1b", "\r", "\u202e", "\u2028", "\ufdd0"} & set(text)
        for line in text.splitlines():
            alone = len(line.removesuffix("\\").split()) == 1 and ("/" in line or line.startswith(" "))
            assert cell_len(line) <= min(width, 120) or alone, (width, line)
            assert line == line.rstrip()
            assert not re.search(r"\[[-+\d.,]+$", line), f"an interval is broken at {width}: {line}"
            assert not re.match(r"\s*±", line), line
    assert printed(SHOWN[name], 80, "ascii").isascii()
    assert printed(SHOWN[name], 40, "cp1252")


@pytest.mark.parametrize("width", WIDTHS)
def test_every_headline_number_is_there_in_one_piece(width: int) -> None:
    """Value, interval and null of each, whole, at every width: none is cut to make room."""
    report = sample_report(100, 16)
    text = summary(report, width)
    for part in (
        "87.1%",
        "[85.8, 88.3]",
        "10.0 ± 0.6%",
        "0.391",
        "[0.385, 0.396]",
        "187.4",
        "[184.6, 190.0]",
    ):
        assert part in text, (width, part)
    flat = " ".join(text.split())
    for measurement in report.measurements:
        if measurement.spec.headline:
            assert measurement.spec.title in flat


@pytest.mark.parametrize("name", ["full", "gate", "audit", "comparison", "layers"])
def test_no_number_is_cut(name: str) -> None:
    """Every percentage and every interval of a wide terminal is whole on each narrower one."""
    number = r"[-+]?\d[\d.,]*(?:e[-+]\d+)?"
    pieces = set(re.findall(rf"\[{number}, {number}\]|\d+\.\d+%", printed(SHOWN[name], 200)))
    assert pieces
    for width in WIDTHS[:-1]:
        text = printed(SHOWN[name], width)
        assert not [piece for piece in pieces if piece not in text], width


@pytest.mark.parametrize("options", [{}, {"labelled": False}, {"names": HOSTILE}, {"k": 1000}])
@pytest.mark.parametrize("warnings", [1, 40])
def test_the_summary_is_one_screen(options: dict[str, Any], warnings: int) -> None:
    """At most 30 lines from 80 columns on, whatever there is to say, and the last line tells where the rest is."""
    names = options.pop("names", None) or [f"class {i}" for i in range(options.pop("k", 10))]
    said = tuple(f"Warning number {i} is long. " + "It goes on and on. " * 9 for i in range(warnings))
    report = sample_report(len(names) * 20, 16, names=tuple(names), warnings=said, **options)
    for width in (80, 100, 200):
        text = summary(report, width)
        assert text.count("\n") <= MAX_LINES
        assert text.endswith("--full\n")
        assert "out/report.html" in text
    assert len(summary(report, 80, full=True).splitlines()) > MAX_LINES, "the whole report is longer"


def test_the_summary_says_verdicts_numbers_and_what_to_do_in_this_order() -> None:
    """Worst first, as word and mark; each advice's title and command, the report's folder in it; no half sentence."""
    report = dataclasses.replace(sample_report(100, 16), warnings=())
    advice = (
        Advice(
            "a", "Look here", "First. Second part of it.", "risk", "repdiag audit REPORT --data 'my data'"
        ),
        Advice("b", "Do that", "Because.", "risk"),
    )
    report = dataclasses.replace(report, exhibits=Exhibits(advice=advice))
    text = summary(report)
    places = [
        text.index(part) for part in ("✗ poor", "! watch", "✓ good", "95% interval", "Next", "Report  out")
    ]
    assert places == sorted(places)
    assert "1 Look here. First.\n    repdiag audit out --data 'my data'\n2 Do that. Because.\n" in text
    assert "Second part" not in text
    assert "Second part" in summary(report, full=True)
    assert "+ good" in summary(report, encoding="ascii")
    assert "Warning" not in text
    assert "is not validated here." in " ".join(summary(sample_report(100, 16, labelled=False)).split())


def test_sentences_end_where_they_end() -> None:
    """Not at a decimal point, an abbreviation or a file name's dot."""
    assert first_sentence("kept 0.5 [0.4, 0.6]. 60% do") == "Kept 0.5 [0.4, 0.6]."
    assert first_sentence("a file.png (broken) is out; e.g. more") == "A file.png (broken) is out; e.g. more."
    assert first_sentence("Is it? Yes.") == "Is it?"


@pytest.mark.parametrize("width", WIDTHS)
def test_a_broken_command_is_the_same_command(width: int) -> None:
    """What is copied from any terminal means what was advised; the folder is quoted where it must be."""
    files = {"report.json": Path("my out's/report.json")}
    command = command_for(
        "repdiag finetune 'a b.pt' data/x --report REPORT/report.json --regularizer dsa", files
    )
    text = printed(lambda console: Writer(console).command(command, indent=4), width)
    words = shlex.split(text.replace("\\\n", ""))
    assert words == shlex.split(command)
    assert words[5] == "my out's/report.json"
    assert command_for("repdiag score REPORTS 'REPORT'", files).split()[2] == "REPORTS"


def test_numbers_stay_with_their_units() -> None:
    """A line may break between words, not between 600 and samples, nor within an interval, unless it is too narrow."""
    writer = Writer(Console(file=io.StringIO(), width=80, color_system=None))
    said = Text("there were 600 samples at 0.5 [0.4, 0.6] ± 3 % of 10 classes")
    for width in range(16, 60):
        lines = [line.plain for line in writer.lines(said, width)]
        assert " ".join(lines) == said.plain
        for part in ("600 samples", "[0.4, 0.6]", "3 %", "10 classes"):
            assert any(part in line for line in lines), (width, lines)
    assert max(len(line.plain) for line in writer.lines(said, 5)) <= 5


# ------------------------------------------------------------------------------------------- the command line

COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
RESULTS = [*((name,) for name in COMMANDS if name != "baseline"), ("baseline", "list"), ("baseline", "show")]


def _command(path: tuple[str, ...]) -> Any:
    found = COMMANDS[path[0]]
    return found.commands[path[1]] if len(path) > 1 else found


@pytest.mark.parametrize("path", [*RESULTS, ("baseline", "save")], ids=" ".join)
def test_options_that_mean_the_same_are_called_and_said_the_same(path: tuple[str, ...]) -> None:
    """--json and --quiet/-q everywhere; --out is -o; arguments are in capitals; help has whole paragraphs."""
    command = _command(path)
    options = {name: p for p in command.params for name in p.opts}
    assert {"--quiet", "-q"} <= set(options)
    assert options["--quiet"].help == "Print nothing but errors."
    if path != ("baseline", "save"):
        assert "JSON" in options["--json"].help or ".json" in options["--json"].help
    assert "-o" in options or "--out" not in options
    for one in command.params:
        if one.param_type_name == "argument":
            assert one.metavar, f"{path} {one.name} has no name in capitals"
            assert one.metavar.strip("[]").isupper()
    assert "Example: repdiag" in command.help
    assert all(len(part.splitlines()) == 1 for part in command.help.split("\n\n"))


def test_paragraphs_are_joined() -> None:
    """Lines of a docstring are no lines of a terminal."""
    assert paragraphs("One\n    two.\n\n    Three\n    four.\n    ") == "One two.\n\nThree four."
    assert paragraphs(None) == ""


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS", "TERM")}
    return subprocess.run(
        [sys.executable, "-m", "repdiag", *map(str, arguments)],
        capture_output=True, text=True, env={**kept, **environment}, cwd=ROOT, timeout=120,
    )  # fmt: skip


def in_terminal(arguments: list[str], **environment: str) -> tuple[int, str]:
    """Exit code and all that a process prints on a terminal of 80 columns that is its stdout and its stderr."""
    kept = {k: v for k, v in os.environ.items() if k not in ("NO_COLOR", "FORCE_COLOR", "TERM", "COLUMNS")}
    ours, theirs = os.openpty()
    more = {"TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24", **environment}
    process = subprocess.Popen(
        arguments, stdin=theirs, stdout=theirs, stderr=theirs, env={**kept, **more}, cwd=ROOT
    )
    os.close(theirs)
    said, end = b"", time.monotonic() + 100
    while time.monotonic() < end:
        if select.select([ours], [], [], 0.2)[0]:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the other end is closed
                break
            if not part:
                break
            said += part
        elif process.poll() is not None:
            break
    os.close(ours)
    return process.wait(20), said.decode("utf-8", "replace")


SEVERAL = """
import os, sys
from repdiag.cli import main
for arguments in eval(sys.argv[1]):
    try:
        name, _, value = arguments[0].partition("=")
        os.environ[name] = value
        main(arguments[1:])
    except SystemExit as end:
        print("exit", end.code)
    os.environ.pop(name)
"""
"""Several commands in one process, each with a variable of its environment."""


def test_color_is_for_terminals_that_want_it() -> None:
    """In a pty: escapes; none with TERM=dumb or NO_COLOR (help and errors as well), nor in a pipe unless forced."""
    several, inspect = [sys.executable, "-c", SEVERAL], ["inspect", str(ENCODER)]
    assert "\x1b[" in in_terminal([*several, repr([["A=", *inspect]])])[1]
    plain = [
        *(["NO_COLOR=1", *of] for of in (inspect, ["inspect", "--help"], ["inspect", "nowhere\x1b[31m.pt"])),
        ["TERM=dumb", *inspect],
    ]
    said = in_terminal([*several, repr(plain)])[1]
    assert "\x1b" not in said, "nothing is bold either"
    assert said.count("Coverage") == 2
    assert "Usage: " in said
    assert re.search(r"Error: .*\\x1b\[31m", said)
    forced = run("inspect", ENCODER, FORCE_COLOR="1", TERM="xterm-256color")
    assert "\x1b[" in forced.stdout
    piped = run("inspect", ENCODER, TERM="xterm-256color")
    assert "\x1b" not in piped.stdout
    assert re.sub(r"\x1b\[[\d;]*m", "", forced.stdout) == piped.stdout


def test_an_ascii_stdout_is_no_error() -> None:
    """PYTHONIOENCODING=ascii: text, JSON and help come out, in ASCII."""
    commands = [
        ["A=", *of] for of in (["metrics"], ["metrics", "--json"], ["inspect", str(ENCODER)], ["score", "-h"])
    ]
    done = subprocess.run(
        [sys.executable, "-c", SEVERAL, repr(commands)],
        capture_output=True, text=True, cwd=ROOT, timeout=120, env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.isascii()
    assert "Error" not in done.stdout
    assert done.stdout.count("exit 0") == 4


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_json_survives_any_encoding(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Characters beyond an encoding become JSON's escapes, astral ones and lone surrogates as well."""
    buffer = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(buffer, encoding=encoding, write_through=True))
    document = {"é": ["漢", "🦊", "\udcff", "\x1b", '"\\']}
    print_json(json.dumps(document, ensure_ascii=False, indent=2))
    assert json.loads(buffer.getvalue().decode(encoding)) == document


@pytest.fixture
def scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    report = dataclasses.replace(sample_report(80, 16), exhibits=Exhibits(), thumbnails={})
    write_report(report, Path("report"))
    Path("repdiag.toml").write_text('[[rule]]\nmetric = "knn_accuracy"\nat_least = 0.5\n')
    return Path("report")


def call(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = 0
    try:
        main([str(a) for a in arguments])
    except SystemExit as end:
        code = int(end.code or 0)
    said = capsys.readouterr()
    return code, said.out, said.err


def test_json_is_pure_and_quiet_is_silent(scored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """stdout parses as it is with --json; with --quiet both streams are empty and the exit code is the same."""
    code, out, err = call(capsys, "baseline", "save", scored, "--name", "main", "-q")
    assert (code, out, err) == (0, "", "")
    commands: list[tuple[object, ...]] = [
        ("baseline", "list"), ("baseline", "show", "main"), ("audit", scored, "--budget", 5), ("metrics", "crowding"),
        ("inspect", ENCODER),
    ]  # fmt: skip
    for arguments in commands:
        code, out, _ = call(capsys, *arguments, "--json")
        assert code == 0
        assert json.loads(out), arguments
        assert call(capsys, *arguments, "--quiet") == (0, "", ""), arguments
        assert call(capsys, *arguments)[1], arguments
    listed = json.loads(call(capsys, "baseline", "list", "--json")[1])
    assert [(one["name"], one["samples"], one["problem"]) for one in listed] == [("main", 80, None)]
    assert listed[0]["values"]["linear_probe_accuracy"] == pytest.approx(0.8714)
    assert json.loads(call(capsys, "baseline", "list", "--store", "empty", "--json")[1]) == []


def test_a_gate_prints_its_json_alone(scored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--json -` is stdout, `--json FILE` a file as before; both hold the same, and the code is the verdict."""
    code, out, err = call(capsys, "gate", scored, "--json", "-")
    assert (code, err) == (0, "")
    assert json.loads(out)["outcome"] == "pass"
    assert call(capsys, "gate", scored, "--json", "-", "-q") == (0, out, "")
    code, table, _ = call(capsys, "gate", scored, "--json", "gate.json")
    assert code == 0
    assert table.startswith("PASS  ")
    assert Path("gate.json").read_text() == out
    assert not Path("-").exists()


def test_json_and_a_plan_do_not_go_together(capsys: pytest.CaptureFixture[str]) -> None:
    """A plan is no JSON: nothing is printed that a reader of JSON would stumble on."""
    code, out, err = call(capsys, "score", ENCODER, FIXTURES / "digits", "--dry-run", "--json")
    assert (code, out) == (2, "")
    assert "--dry-run has none" in " ".join(err.split())


# ------------------------------------------------------------------------------------------------- progress

WORK = """
import sys, time
from repdiag.cli.progress import ConsoleProgress
with ConsoleProgress() as progress:
    for i in range(6):
        progress("embed [bold]evil[/] \\x1b[2J", i, 5)
        time.sleep(0.12)
print("done")
"""


def test_a_terminal_has_a_bar_that_goes_away() -> None:
    """In a pty the bar is drawn, the cursor comes back, foreign names do nothing, and what stays is the result."""
    code, said = in_terminal([sys.executable, "-c", WORK])
    assert code == 0
    assert "Embedding images" in said
    assert "5/5" in said
    assert "\x1b[2J" not in said
    assert said.rindex("\x1b[?25h") > said.rindex("\x1b[?25l")
    assert "\x1b[2K" in said, "the bar is wiped"
    assert said.rstrip().endswith("done")
    code, narrow = in_terminal([sys.executable, "-c", WORK], COLUMNS="40")
    assert code == 0
    shown = [re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", line) for line in re.split(r"[\r\n]+", narrow)]
    assert max(map(cell_len, shown)) <= 40
    assert "100%" in narrow


def test_a_log_has_plain_lines() -> None:
    """Through a pipe, and on a terminal that cannot redraw: no control character, and what is foreign is shown."""
    kept = {**os.environ, "TERM": "xterm", "FORCE_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, "-c", WORK], capture_output=True, text=True, env=kept, cwd=ROOT, timeout=60
    )
    dumb = in_terminal([sys.executable, "-c", WORK], TERM="dumb")[1].replace("\r\n", "\n")
    for text in (done.stderr, dumb.removesuffix("done\n")):
        assert not {"\x1b", "\r"} & set(text)
        assert text.startswith("Embedding images: 0/5, [bold]evil[/] \\x1b[2J\n")
        assert len(text.splitlines()) == 2
    assert done.stdout == "done\n"


def test_a_log_has_a_line_every_ten_seconds_at_most(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """100 seconds of 1,000 steps: the first line, nine or ten more, the last; quiet: none."""
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    for quiet in (False, True):
        made = progress.ConsoleProgress(quiet)
        made._live = False
        for i in range(1001):
            now[0] += 0.1
            made("embed data", i, 1000)
        lines = capsys.readouterr().err.splitlines()
        assert 10 <= len(lines) <= 12 or (quiet and not lines)
        if lines:
            assert lines[-1].startswith("Embedding images: 1,000/1,000, 10 images/s")
            assert re.fullmatch(
                r"Embedding images: [\d,]+/1,000 \(\d+%\), data, 10 images/s, [\d,]+ s left", lines[5]
            )
