"""The docs cannot lie: generated pages are fresh, every option and metric is named, every link leads somewhere."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from repdiag.metrics import all_metrics

PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "fixtures").glob("*.md")),
]


def test_generated_reference_is_fresh() -> None:
    done = subprocess.run(
        [sys.executable, "scripts/build_docs.py", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, f"run `make docs`:\n{done.stderr}"


def test_every_metric_is_in_the_reference() -> None:
    page = (ROOT / "docs/reference/metrics.md").read_text()
    for metric in all_metrics():
        assert f"### `{metric.spec.name}`" in page


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", page.read_text()):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"


@pytest.mark.parametrize("page", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_options_that_pages_name_exist(page: Path) -> None:
    known = set(re.findall(r"`(--[a-z0-9-]+)`", (ROOT / "docs/reference/cli.md").read_text()))
    known |= {"--help", "--check", "--only", "--epochs-scale", "--out", "--json"}  # of the scripts
    for line in re.findall(r"repdiag (?:score|metrics|inspect|export)[^\n`]*", page.read_text()):
        for option in re.findall(r"(?<!\S)--[a-z0-9-]+", line):
            assert option in known, f"{page.name}: {option}"


def test_make_targets_that_the_readme_names_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"make ([a-z]+)", (ROOT / "README.md").read_text()):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_ci_runs_the_readmes_test_command() -> None:
    assert "make test" in (ROOT / ".ci/run").read_text()
    assert "make test" in (ROOT / "README.md").read_text()


def test_nothing_of_this_machine_is_written_down() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True
    ).stdout.split("\0")
    names = [
        n
        for n in tracked
        if n.endswith((".py", ".md", ".toml", ".yml", ".sh", ".json", ".j2")) or n == "Makefile"
    ]
    assert len(names) > 50
    for name in names:
        text = (ROOT / name).read_text(encoding="utf-8")
        assert str(ROOT) not in text or str(ROOT) == "/", name
