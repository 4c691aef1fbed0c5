"""The Python page and the training example do what they say."""

from __future__ import annotations

import importlib.util
import re
import warnings
from pathlib import Path

import pytest
from conftest import FIXTURES, ROOT

import repdiag


def test_every_block_of_the_python_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pytorch_lightning")
    page = (ROOT / "docs/how-to/python.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == page.count("```python") >= 7
    (tmp_path / "fixtures").symlink_to(FIXTURES)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REPDIAG_CACHE", str(tmp_path / "cache"))
    names: dict[str, object] = {"__name__": "page"}
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric|torch)\.")
        for number, block in enumerate(blocks):
            exec(compile(block, f"python.md, block {number}", "exec"), names)
    assert (tmp_path / "report" / "report.html").is_file()
    assert (tmp_path / "scores" / "trajectory.csv").is_file()
    assert (tmp_path / "scores" / "epoch=001" / "report.json").is_file()


def test_the_training_example_learns_and_scores_every_epoch(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = importlib.util.spec_from_file_location(
        "train_and_score", ROOT / "docs/examples/train_and_score.py"
    )
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    history = example.train(FIXTURES / "digits", 2, tmp_path, "cpu")
    assert [set(found) for found in history] == [set(example.METRICS)] * 2
    assert history[-1]["knn_accuracy"] > 0.6
    assert capsys.readouterr().out.count("knn_accuracy") == 2
    assert (tmp_path / "epoch=001" / "report.html").is_file()


def test_everything_public_has_a_docstring_and_a_home() -> None:
    for name in repdiag.__all__:
        found = getattr(repdiag, name)
        assert found.__doc__, name
        assert name in dir(repdiag)
