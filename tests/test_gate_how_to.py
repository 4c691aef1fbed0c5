"""The how-to of the gate, the action and the CI examples do what they say: their own commands are run."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import FIXTURES, ROOT

import repdiag.cli
from repdiag.gate.outputs import json_form

pytestmark = pytest.mark.xdist_group("gate how-to")  # they share what the page's commands leave

PAGE = ROOT / "docs/how-to/gate.md"
EXAMPLES = ROOT / "docs/examples/ci"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the page's paths exist, and nothing else."""
    folder = tmp_path_factory.mktemp("gate")
    (folder / "fixtures").symlink_to(FIXTURES)
    return folder


@pytest.fixture(scope="module")
def environment(place: Path) -> dict[str, str]:
    """With `repdiag` and `python` on the path, and a cache of its own; no CI variables but those that a test sets."""
    bin_folder = place / "bin"
    bin_folder.mkdir()
    for name, start in (("repdiag", "-m repdiag "), ("python", "")):
        script = bin_folder / name
        script.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} {start}"$@"\n')
        script.chmod(0o755)
    kept = {k: v for k, v in os.environ.items() if not k.startswith("GITHUB_")}
    return {
        **kept,
        "PATH": f"{bin_folder}:{os.environ['PATH']}",
        "REPDIAG_CACHE": str(place / "cache"),
        "COLUMNS": "120",
        "NO_COLOR": "1",
    }


def blocks(page: str) -> list[list[tuple[str, list[str]]]]:
    """The console blocks of a page: in each, commands with the lines of output that the page shows."""
    found = []
    for block in re.findall(r"```console\n(.*?)```", page, re.DOTALL):
        commands: list[tuple[str, list[str]]] = []
        for row in block.splitlines():
            if row.startswith("$ "):
                commands.append((row[2:], []))
            elif row.startswith("> "):
                commands[-1] = (f"{commands[-1][0]}\n{row[2:]}", [])
            else:
                commands[-1][1].append(row)
        found.append(commands)
    return found


def shape(row: str) -> list[str]:
    """A line's words with its numbers left out: another machine may round the last digit otherwise."""
    return re.sub(r"[-+]?\d[\d,]*(\.\d+)?", "#", row).split()


@pytest.fixture(scope="module")
def walked(place: Path, environment: dict[str, str]) -> list[str]:
    """Every command of the page, run in order; what the page shows of their output is compared."""
    code, ran = 0, []
    for commands in blocks(PAGE.read_text()):
        for command, shown in commands:
            ran.append(command)
            if command == "echo $?":
                assert shown == [str(code)], ran[-2]
                continue
            done = subprocess.run(
                ["bash", "-c", command],
                cwd=place,
                env=environment,
                capture_output=True,
                text=True,
                timeout=300,
            )
            code = done.returncode
            assert code in (0, 1, 4), f"{command}\n{done.stderr}"
            got = [shape(row) for row in done.stdout.splitlines()]
            for row in shown:
                assert shape(row) in got, f"{command} does not print {row!r}:\n{done.stdout}{done.stderr}"
    return ran


def test_the_page_goes_from_nothing_to_green_red_and_undetermined(walked: list[str], place: Path) -> None:
    """All of its commands ran, and left what they say they leave."""
    assert len(walked) > 10
    assert [c for c in walked if c.startswith("echo")] == ["echo $?"] * 3
    assert {"report.json", "samples.csv"} < {p.name for p in (place / "repdiag-baselines/main").iterdir()}
    assert "## repdiag gate: fail" in (place / "gate.md").read_text()
    assert '<testsuites name="repdiag.gate" tests="6" failures="3"' in (place / "gate.xml").read_text()
    assert (place / "candidate/report.html").is_file()


def test_the_check_of_the_page_can_fail() -> None:
    """A line that a command does not print is noticed, whatever its numbers."""
    assert shape("FAIL  3 of 6 rules fail.") == shape("FAIL 12 of 70 rules fail.")
    assert shape("pass  r2  0.4 [0.3, 0.5]") != shape("FAIL  r2  0.4 [0.3, 0.5]")


# ------------------------------------------------------------------------------------------------ the action


def action() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "action.yml").read_text())
    return found


def step(name: str) -> dict[str, Any]:
    """A step of the action by its name."""
    return next(one for one in action()["runs"]["steps"] if one["name"] == name)


def run_step(
    name: str, inputs: dict[str, str], place: Path, environment: dict[str, str], folder: Path = ROOT
) -> tuple[subprocess.CompletedProcess[str], dict[str, str], str]:
    """Run a step as GitHub does: inputs substituted in `env`, the script in bash; and its outputs and summary."""
    given = {key: inputs.get(key, one.get("default", "")) for key, one in action()["inputs"].items()}
    told = {
        key: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda m: given[m[1]], value)
        for key, value in step(name)["env"].items()
    }
    output, summary = place / "outputs.txt", place / "summary.md"
    for file in (output, summary):
        file.write_text("")
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step(name)["run"]],
        cwd=place,
        env={
            **environment,
            **told,
            "GITHUB_ACTION_PATH": str(folder),
            "GITHUB_OUTPUT": str(output),
            "GITHUB_STEP_SUMMARY": str(summary),
        },
        capture_output=True,
        text=True,
        timeout=300,
    )
    pairs = dict(row.split("=", 1) for row in output.read_text().splitlines())
    return done, pairs, summary.read_text()


@pytest.mark.parametrize(
    ("inputs", "outcome", "code"),
    [
        ({"model": "report", "baseline": "main"}, "pass", 0),
        ({"model": "candidate", "baseline": "main", "junit": "action.xml"}, "fail", 1),
        ({"model": "candidate", "baseline": "main", "rules": "fine.toml"}, "undetermined", 4),
        ({"model": "$(touch owned)"}, "error", 3),
        ({"model": "report", "args": "--no-such"}, "error", 2),
    ],
)
def test_the_actions_step_runs_the_gate(
    inputs: dict[str, str],
    outcome: str,
    code: int,
    walked: list[str],
    place: Path,
    environment: dict[str, str],
) -> None:
    """Its outputs and exit code say the verdict, the summary has the table, and no input is run by the shell."""
    done, outputs, summary = run_step("Gate", inputs, place, environment)
    assert outputs == {"outcome": outcome, "exit-code": str(code)}, done.stderr
    assert done.returncode == code
    assert summary.startswith(f"## repdiag gate: {outcome}") or outcome == "error"
    assert not (place / "owned").exists()
    assert (place / "action.xml").exists() or "junit" not in inputs


def test_the_actions_step_takes_arguments_by_line(
    walked: list[str], place: Path, environment: dict[str, str]
) -> None:
    """Each line is one argument, blanks and all."""
    args = "--format=json\r\n\n--json=the file.json\n--no-summary\n"
    done, outputs, summary = run_step(
        "Gate", {"model": "candidate", "baseline": "main", "args": args}, place, environment
    )
    assert outputs["outcome"] == "fail", done.stderr
    assert (place / "the file.json").read_text() == done.stdout
    assert f'"schema_version": {json_form.GATE_SCHEMA_VERSION}' in done.stdout
    assert summary == ""


def test_the_action_installs_from_its_own_path(
    tmp_path: Path, place: Path, environment: dict[str, str]
) -> None:
    """The step's own command, on a copy of what git tracks; without dependencies, which are here already."""
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "repdiag", "scripts", "pyproject.toml", "README.md", "LICENSE", "action.yml"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    source = tmp_path / "the action"
    for name in filter(None, tracked.stdout.split("\0")):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    target = tmp_path / "site"
    extra = f"--no-deps\n--no-build-isolation\n--target={target}"
    done, _, _ = run_step("Install repdiag", {"install": extra}, place, environment, source)
    assert done.returncode == 0, done.stderr
    assert (target / "repdiag/gate/outputs/schema.json").is_file()
    said = subprocess.run(
        [sys.executable, "-m", "repdiag", "--version"],
        cwd=tmp_path, env={**environment, "PYTHONPATH": str(target)}, capture_output=True, text=True,
    )  # fmt: skip
    assert said.stdout == f"repdiag {repdiag.__version__}\n"


def test_the_action_says_what_it_takes_and_gives() -> None:
    """Every input reaches a step, through `env` alone: a file's name can never become part of a script."""
    found = action()
    text = (ROOT / "action.yml").read_text()
    assert {"model", "dataset", "rules", "baseline", "args", "python-version"} <= set(found["inputs"])
    assert set(found["outputs"]) == {"outcome", "exit-code"}
    for name in found["inputs"]:
        assert f"inputs.{name}" in text, name
    for one in found["runs"]["steps"]:
        assert "${{" not in one.get("run", "")
        assert "upload" not in str(one.get("uses", ""))


# ------------------------------------------------------------------------------------------------ examples


def scripts() -> list[str]:
    """The gate's command in each example of another CI system."""
    gitlab = yaml.safe_load((EXAMPLES / "gitlab-ci.yml").read_text())["encoder-gate"]["script"]
    hook = yaml.safe_load((EXAMPLES / "pre-commit-config.yaml").read_text())["repos"][0]["hooks"][0]
    return [*gitlab, hook["entry"]]


def test_the_examples_name_options_that_exist(
    walked: list[str], place: Path, environment: dict[str, str]
) -> None:
    """GitLab's and pre-commit's commands run on the fixtures once their files are there; GitHub's inputs exist.

    The first scores a model, the second reads the report of that: they print the same bytes.
    """
    home = place / "examples"
    home.mkdir()
    for name, target in (
        ("model.safetensors", FIXTURES / "encoders/simclr.safetensors"),
        ("dataset", FIXTURES / "digits"),
        ("repdiag.toml", place / "repdiag.toml"),
        ("repdiag-baselines", place / "repdiag-baselines"),
    ):
        (home / name).symlink_to(target)
    printed = []
    for command in scripts():
        assert command.startswith("repdiag gate ")
        done = subprocess.run(
            shlex.split(command), cwd=home, env=environment, capture_output=True, text=True, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        assert done.stdout.startswith("PASS")
        printed.append(done.stdout)
    assert len(printed) == 2
    assert len(set(printed)) == 1
    assert (home / "gate.xml").is_file()
    steps = yaml.safe_load((EXAMPLES / "github.yml").read_text())["jobs"]["gate"]["steps"]
    used = next(one for one in steps if "repdiag" in one.get("uses", ""))
    assert set(used["with"]) <= set(action()["inputs"])
    inline = yaml.safe_load(re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)[0])
    assert set(inline[0]["with"]) <= set(action()["inputs"])
