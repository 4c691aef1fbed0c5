"""`repdiag gate` and `repdiag baseline`: exit codes, files, what is refused, what is not imported."""

from __future__ import annotations

import inspect
import io
import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import fields
from pathlib import Path
from xml.etree import ElementTree

import pytest
from conftest import ROOT
from sample_report import HOSTILE, sample_report

from repdiag import baselines
from repdiag.cli import app, gate, main, score
from repdiag.cli.baseline import STORE
from repdiag.config import ScoreConfig
from repdiag.errors import RepdiagError
from repdiag.gate.outputs.html import LEVELS
from repdiag.gate.types import Outcome
from repdiag.report import write_report

PASSES = '[[rule]]\nname = "easy"\nmetric = "linear_probe_accuracy"\nat_least = 0.5\n'
FAILS = '[[rule]]\nname = "hard"\nmetric = "linear_probe_accuracy"\nat_least = 0.99\n'
OPEN = '[[rule]]\nname = "close"\nmetric = "linear_probe_accuracy"\nat_least = 0.8714\n'  # its very value
CHANGE = '[[rule]]\nname = "not worse"\nmetric = "linear_probe_accuracy"\nchange_at_least = -0.01\n'

Call = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def reports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two reports on the same 400 samples, the second with a worse probe, and files of rules."""
    folder = tmp_path_factory.mktemp("reports")
    made = sample_report(400, 64, 5, thumbnails=0)
    write_report(made, folder / "good")
    write_report(
        sample_report(400, 64, 5, thumbnails=0, names=(HOSTILE[0], "b", "c", "d", "e")), folder / "odd"
    )
    for name, text in (("pass", PASSES), ("fail", PASSES + FAILS), ("change", CHANGE),
                       ("open", PASSES + OPEN)):  # fmt: skip
        (folder / f"{name}.toml").write_text(text)
    return folder


@pytest.fixture
def call(reports: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Runs the command line in this process, in the folder of reports; no CI variables but those a test sets."""
    monkeypatch.chdir(reports)
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.delenv(gate.SUMMARY, raising=False)

    def run(*arguments: object) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as end:
            main([str(a) for a in arguments])
        code = end.value.code
        assert isinstance(code, int)
        return code, out.getvalue(), err.getvalue()

    return run


# ------------------------------------------------------------------------------------------------ verdicts


@pytest.mark.parametrize(
    ("rules", "code", "word"), [("pass", 0, "PASS"), ("fail", 1, "FAIL"), ("open", 4, "UNDETERMINED")]
)
def test_the_exit_code_is_the_verdict(rules: str, code: int, word: str, call: Call, tmp_path: Path) -> None:
    """Table, JSON, JUnit, Markdown and page say it alike, on stdout and in files; -q prints nothing."""
    written = {form: tmp_path / form for form in ("json", "junit", "markdown", "html")}
    files = [part for form, path in written.items() for part in (f"--{form}", path)]
    got, out, err = call("gate", "good", "--rules", f"{rules}.toml", *files)
    assert (got, err) == (code, "")
    assert out.startswith(f"{word}  ")
    for form, path in written.items():
        got, out, err = call("gate", "good/report.json", "--rules", f"{rules}.toml", "--format", form)
        assert (got, out, err) == (code, path.read_text(), "")
    assert json.loads(written["json"].read_text())["outcome"] == word.lower()
    assert ElementTree.parse(written["junit"]).getroot().get("failures") == str(int(code > 0))
    assert f'class="answer {LEVELS[Outcome(word.lower())]}"' in written["html"].read_text()
    assert call("gate", "good", "--rules", f"{rules}.toml", "-q") == (code, "", "")


def test_codes_of_verdicts_are_no_errors_codes() -> None:
    """0, 1 and 4, whatever happens; no error ends so."""
    assert gate.EXIT_CODES == {"pass": 0, "fail": 1, "undetermined": 4}
    assert set(gate.EXIT_CODES) == {o.value for o in Outcome}

    def below(kind: type[RepdiagError]) -> set[int]:
        return {kind.exit_code}.union(*map(below, kind.__subclasses__()))

    assert not below(RepdiagError) & set(gate.EXIT_CODES.values())


def test_undetermined_can_be_skipped_in_junit(call: Call) -> None:
    for option, tag in (("failure", "failure"), ("skipped", "skipped")):
        arguments = ("--format", "junit", "--junit-undetermined", option)
        code, out, _ = call("gate", "good", "--rules", "open.toml", *arguments)
        assert code == 4
        assert [one.tag for one in ElementTree.fromstring(out.encode()).findall("*/testcase[2]/*")] == [tag]


def test_a_change_is_held_against_a_baseline_by_name_or_path(call: Call, tmp_path: Path) -> None:
    """The same report has changed by nothing; a store elsewhere is named; without a baseline it is a usage error."""
    assert call("baseline", "save", "good", "--name", "main", "--store", tmp_path)[0] == 0
    for baseline in (("main", "--store", tmp_path), ("good",), ("good/report.json",)):
        code, out, _ = call("gate", "good", "--rules", "change.toml", "--baseline", *baseline)
        assert code == 0, out
        assert "0 [0, 0]" in out
    code, out, err = call("gate", "good", "--rules", "change.toml")
    assert (code, out) == (2, "")
    assert "--baseline" in err


def test_confidence_is_for_rules_that_state_none(call: Call) -> None:
    """A bare value decides at 0; the interval is wider at 0.999 than at 0.95."""
    ends = {}
    for confidence in ("0.95", "0.999"):
        _, out, _ = call(
            "gate", "good", "--rules", "pass.toml", "--format", "json", "--confidence", confidence
        )
        one = json.loads(out)["results"][0]
        ends[confidence] = one["interval"]["low"]
        assert one["confidence"] == float(confidence)
    assert ends["0.999"] < ends["0.95"]
    assert call("gate", "good", "--rules", "open.toml", "--confidence", "0")[0] == 0
    assert call("gate", "good", "--rules", "open.toml", "--confidence", "0.3")[0] == 2


def test_the_same_gate_gives_the_same_bytes(reports: Path) -> None:
    """In processes of their own with other seeds of hashing; and importing neither torch nor sklearn nor the like."""
    code = (
        "import sys\nfrom repdiag.cli import main\n"
        "try: main(sys.argv[1:])\nexcept SystemExit as end: print(end.code)\n"
        "print([m for m in ('torch', 'pandas', 'sklearn', 'scipy.stats', 'matplotlib', 'timm') if m in sys.modules])"
    )
    arguments = ["gate", "odd", "--rules", "fail.toml", "--baseline", "odd", "--format"]
    for form in ("table", "json"):
        said = {
            subprocess.run(
                [sys.executable, "-c", code, *arguments, form],
                cwd=reports, env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}, capture_output=True, check=True,
            ).stdout
            for seed in ("1", "2")
        }  # fmt: skip
        assert len(said) == 1
        assert said.pop().endswith(b"1\n[]\n")


# ------------------------------------------------------------------------------------------------ the job's summary


def test_the_summary_of_a_ci_job_gets_the_markdown(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind what is there; not with --no-summary, nor where the variable is empty; a file that cannot be is said."""
    summary = tmp_path / "summary.md"
    summary.write_text("before\n")
    monkeypatch.setenv(gate.SUMMARY, str(summary))
    _, markdown, _ = call("gate", "good", "--rules", "fail.toml", "--format", "markdown", "--no-summary")
    assert summary.read_text() == "before\n"
    assert call("gate", "good", "--rules", "fail.toml", "-q")[0] == 1
    assert summary.read_text() == f"before\n{markdown}\n"
    monkeypatch.setenv(gate.SUMMARY, "")
    assert call("gate", "good", "--rules", "fail.toml")[0] == 1
    monkeypatch.setenv(gate.SUMMARY, str(tmp_path / "no" / "folder"))
    code, _, err = call("gate", "good", "--rules", "fail.toml")
    assert code == 6
    assert "Cannot write" in err


# ------------------------------------------------------------------------------------------------ rules files


def test_init_writes_rules_that_the_report_passes(call: Call, tmp_path: Path) -> None:
    """To stdout, or to a file that is never replaced without --force."""
    code, text, err = call("gate", "good", "--init")
    assert (code, err) == (0, "")
    assert text.startswith("#")
    path = tmp_path / "new" / "rules.toml"
    code, out, err = call("gate", "good", "--init", "--rules", path)
    assert (code, out) == (0, "")
    assert str(path) in err.replace("\n", "")
    assert path.read_text() == text
    assert call("gate", "good", "--rules", path)[0] == 0
    path.write_text("mine")
    code, _, err = call("gate", "good", "--init", "--rules", path)
    assert code == 2
    assert "--force" in err
    assert path.read_text() == "mine"
    assert call("gate", "good", "--init", "--rules", path, "--force", "-q") == (0, "", "")
    assert path.read_text() == text


# ------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("good",), 2, "There is no repdiag.toml here"),
        (("good", "--rules", "absent.toml"), 3, "absent.toml"),
        (("absent", "--rules", "pass.toml"), 3, "absent"),
        (("absent.json", "--rules", "pass.toml"), 3, "absent.json"),
        (("pass.toml", "--rules", "pass.toml"), 2, "is no report"),
        ((".", "--rules", "pass.toml"), 2, "has no report.json"),
        (("broken", "--rules", "pass.toml"), 3, "report.json"),
        (("good", "--rules", "typo.toml"), 2, "linear_probe_accuracy"),
        (("good", "--rules", "broken/report.json"), 3, "report.json"),
        (("good", "--rules", "pass.toml", "--baseline", "absent"), 3, "absent"),
        (("good", "--rules", "pass.toml", "--device", "cpu"), 2, "--device is about scoring"),
        (("good", "--rules", "pass.toml", "--out", "x"), 2, "--out is about scoring"),
        (("good", "--rules", "pass.toml", "--force"), 2, "--force goes with --init"),
        (("good", "--rules", "pass.toml", "--format", "xml"), 2, "xml"),
        (("model.pt", "images", "--rules", "absent.toml"), 3, "absent.toml"),
        (("model.pt", "images", "--rules", "pass.toml"), 3, "images"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    arguments: tuple[str, ...], code: int, said: str, call: Call, reports: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Its own exit code, which is never a verdict's; nothing on stdout; rules are read before anything is scored."""
    (reports / "broken").mkdir(exist_ok=True)
    (reports / "broken/report.json").write_text('{"schema_version": 1, "measure')
    (reports / "typo.toml").write_text(PASSES.replace("linear_probe_accuracy", "linear_prob_accuracy"))
    monkeypatch.setenv("REPDIAG_CACHE", str(tmp_path / "cache"))
    got, out, err = call("gate", *arguments)
    assert (got, out) == (code, ""), err
    assert said in " ".join(err.split())
    assert "Traceback" not in err


def test_a_file_that_cannot_be_written_is_said(call: Call, reports: Path) -> None:
    code, out, err = call("gate", "good", "--rules", "pass.toml", "--junit", "good/report.json/x.xml")
    assert (code, out) == (6, "")
    assert "Cannot write" in err


def test_scoring_is_as_repdiag_score_does_it() -> None:
    """What gate does not offer has the same default in both; what it offers, too."""
    given = inspect.signature(score.command).parameters
    for field in fields(ScoreConfig):
        if field.name in given:
            assert given[field.name].default == field.default, field.name
    own = inspect.signature(gate.command).parameters
    shared = {f.name for f in fields(gate.ScoringOptions)} - {"out"}
    assert shared <= set(given)
    for name in shared:
        assert own[name].default == given[name].default, name


# ------------------------------------------------------------------------------------------------ baselines


def test_baselines_are_saved_listed_and_shown(call: Call, reports: Path, tmp_path: Path) -> None:
    """save prints where; list is by name, with what each is; show has the headline numbers; a name is taken once."""
    store = ("--store", tmp_path / "kept")
    code, out, err = call("baseline", "list", *store)
    assert (code, out) == (0, "")
    assert "repdiag baseline save" in err
    for name in ("zeta", "alpha"):
        code, out, _ = call("baseline", "save", "good", "--name", name, *store)
        assert (code, out.strip()) == (0, str(tmp_path / "kept" / name))
    (tmp_path / "kept" / "broken").mkdir()
    code, out, err = call("baseline", "list", *store)
    assert (code, err) == (0, "")
    assert [row.split()[0] for row in out.splitlines()] == ["alpha", "broken", "zeta"]
    assert "simclr_resnet18.safetensors, cifar10-images, 400 samples, 2026-11-21" in out
    code, out, _ = call("baseline", "show", "alpha", *store)
    shown = dict(row.split(maxsplit=1) for row in out.splitlines())
    assert code == 0
    assert shown["samples"] == "400"
    assert shown["linear_probe_accuracy"] == "0.8714"
    assert shown["made"] == "2026-11-21T06:29:54Z by repdiag 0.1.0"
    code, _, err = call("baseline", "save", "good", "--name", "alpha", *store)
    assert code == 2
    assert "--force" in err
    assert call("baseline", "save", "good", "--name", "alpha", "--force", "-q", *store) == (0, "", "")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("save", "good", "--name", "../escape"), 2),
        (("save", "absent", "--name", "x"), 3),
        (("show", "absent"), 3),
        (("save", "good"), 2),
    ],
)
def test_what_is_wrong_with_a_baseline_is_one_sentence(
    arguments: tuple[str, ...], code: int, call: Call
) -> None:
    got, out, err = call("baseline", *arguments)
    assert (got, out) == (code, "")
    assert err
    assert "Traceback" not in err


def test_names_of_a_baseline_cannot_move_a_terminal(call: Call, tmp_path: Path) -> None:
    """An encoder may be called anything; what is listed is text."""
    report = sample_report(40, 16, 3, thumbnails=0)
    made = dict(report.encoder) | {"name": HOSTILE[7]}
    write_report(sample_report(40, 16, 3, thumbnails=0, encoder=made), tmp_path / "report")
    call("baseline", "save", tmp_path / "report", "--name", "x", "--store", tmp_path / "kept")
    for arguments in (("list",), ("show", "x")):
        _, out, _ = call("baseline", *arguments, "--store", tmp_path / "kept")
        assert "\x1b" not in out
        assert "\\x1b[31mred" in out


def test_help_names_the_commands_and_the_default_store() -> None:
    import typer

    group = typer.main.get_command(app)
    assert set(group.commands["baseline"].commands) == {"save", "list", "show"}  # type: ignore[attr-defined]
    assert "1 a gate fails" in (group.epilog or "")
    assert STORE == baselines.STORE
