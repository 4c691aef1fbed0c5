"""The examples of a regularizer in one's own loop run, train what they say, and need only what they say."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
from conftest import FIXTURES, ROOT

import repdiag
import repdiag.objectives

MODEL = str(FIXTURES / "encoders" / "simclr.safetensors")


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "docs" / "examples" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """26 images of each digit: two batches of 128."""
    folder = tmp_path_factory.mktemp("few")
    for digit in (FIXTURES / "digits" / "train").iterdir():
        (folder / "train" / digit.name).mkdir(parents=True)
        for image in sorted(digit.iterdir())[:26]:
            shutil.copy(image, folder / "train" / digit.name)
    return folder


def moved(saved: Path) -> None:
    """What was saved is an encoder that repdiag loads, of other weights than the first."""
    before, after = repdiag.load_encoder(MODEL).module, repdiag.load_encoder(str(saved)).module
    first, last = (dict(m.named_parameters()) for m in (before, after))
    assert first.keys() == last.keys()
    assert all(last[name].isfinite().all() for name in last)
    assert any(not last[name].equal(first[name]) for name in first)


def test_in_a_plain_loop(few: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, out = example("qscore_pytorch"), tmp_path / "new" / "tuned.pt"
    history = module.tune(MODEL, few, 2, out, "cpu", 3.0)
    assert len(history) == 2
    assert history[1]["loss"] < history[0]["loss"]
    assert 0 < history[1]["below_alpha"] < 1
    moved(out)
    strong = repdiag.objectives.QScoreRegularizer
    monkeypatch.setattr(module, "QScoreRegularizer", lambda eps: strong(eps=eps, lambda2=0.1))
    other = module.tune(MODEL, few, 1, tmp_path / "other.pt", "cpu", 3.0)
    assert other[0]["loss"] > history[0]["loss"] + 1  # the regularizer is in the loss


def test_in_lightning(few: Path, tmp_path: Path) -> None:
    pytest.importorskip("pytorch_lightning", reason="the extra 'lightning' is not installed")
    tuned = example("qscore_lightning").tune(MODEL, few, 1, tmp_path / "tuned.pt", 3.0, "cpu")
    moved(tmp_path / "tuned.pt")
    metrics = tuned.trainer.callback_metrics
    assert 0 < float(metrics["no_q_score"]) < 1
    assert float(metrics["qscore"]) > 0
    state = torch.load(tmp_path / "tuned.ckpt", weights_only=True)["state_dict"]
    assert state["regularizer.selected"].equal(tuned.regularizer.selected)
    assert int(state["regularizer.images"]) == 260


def test_the_facade_names_what_there_is_and_loads_no_torch() -> None:
    for name in repdiag.objectives.__all__:
        assert getattr(repdiag.objectives, name) is not None, name
    assert set(repdiag.objectives.__all__) <= set(dir(repdiag.objectives))
    with pytest.raises(AttributeError, match="no attribute 'QScore'"):
        _ = repdiag.objectives.QScore
    heavy = "{'torch', 'lightly', 'pandas'}"
    code = f"import sys, repdiag.objectives as o; o.base_names(); assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
