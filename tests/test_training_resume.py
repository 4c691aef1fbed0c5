"""A run that was stopped anywhere, in whatever way, ends as one that was not: same weights, same log."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import ROOT
from sample_training import QSCORE, ProbeParameters, ProbeRegularizer, images, job, probe
from torch import nn

from repdiag.errors import InputError, Interrupted, UsageError
from repdiag.objectives.parameters import DSAParameters, NoneParameters, Parameters, ReSAParameters
from repdiag.training import state, step
from repdiag.training.course import CLOCK
from repdiag.training.job import Trained, TrainJob
from repdiag.training.logs import LOG
from repdiag.training.loop import train

__all__ = ["probe"]

RUNS: dict[str, tuple[Parameters, dict[str, Any]]] = {
    "queue, S, average": (QSCORE, {"base": "moco", "ema": 0.9, "accumulate": 2}),
    "slow networks, heads of its own": (
        ReSAParameters(hidden=8, out=4),
        {"base": "byol", "optimizer": "adamw", "lr": 0.01, "patience": 5},
    ),
    "center, reference": (DSAParameters(eta=2), {"base": "dino", "views": 3, "optimizer": "lars", "lr": 1.0}),
}


def wanted(folder: Path, name: str) -> TrainJob:
    regularizer, changed = RUNS[name]
    return job(folder, regularizer, **changed)


def assert_same(one: Trained, other: Trained) -> None:
    assert one.state.keys() == other.state.keys()
    for name, tensor in one.state.items():
        assert torch.equal(tensor, other.state[name]), name
    assert one.projector is not None
    assert other.projector is not None
    for name, tensor in one.projector.items():
        assert torch.equal(tensor, other.projector[name]), name
    assert list(one.log.columns) == list(other.log.columns)
    for name, column in one.log.columns.items():
        if name not in CLOCK:
            np.testing.assert_array_equal(column, other.log.columns[name], err_msg=name)
    clock = {*CLOCK, "images_per_second"}
    assert {k: v for k, v in one.facts.items() if k not in clock} == {
        k: v for k, v in other.facts.items() if k not in clock
    }
    assert one.encoder.fingerprint == other.encoder.fingerprint


def dying(patch: pytest.MonkeyPatch, at: int, error: type[BaseException] = KeyboardInterrupt) -> None:
    """From now on, step number `at` of the process ends in the middle: after the backward pass, before the move."""
    calls = 0
    follow = step.clipped

    def clipped(gradients: Any, most: float) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == at:
            raise error
        return follow(gradients, most)

    patch.setattr(step, "clipped", clipped)


@pytest.mark.parametrize("name", RUNS)
def test_killed_at_any_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """In the warm-up, in its last step, within epochs and at their ends; twice in one run, too."""
    whole = train(wanted(tmp_path / "whole", name))
    for number, stops in enumerate([(2, 3), (6, 2)]):
        chosen = wanted(tmp_path / str(number), name)
        object.__setattr__(chosen.config, "checkpoint_seconds", 0.0)
        for at in stops:
            with monkeypatch.context() as patch:
                dying(patch, at)
                with pytest.raises(Interrupted, match="was stopped"):
                    train(chosen)
        assert_same(whole, train(chosen))


def test_without_a_state_in_between_it_goes_on_from_the_last_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = wanted(tmp_path / "a", "queue, S, average")
    with monkeypatch.context() as patch:
        dying(patch, 8)
        with pytest.raises(Interrupted):
            train(chosen)
    known = torch.load(chosen.folder / state.STATE, weights_only=True)
    assert (known["course"]["phase"], known["course"]["step"]) == ("train", 3)
    done: list[int] = []
    resumed = train(chosen, lambda name, count, total: done.append(count))
    assert done == [56, 64, 72]
    assert_same(train(wanted(tmp_path / "b", "queue, S, average")), resumed)


@pytest.mark.parametrize("at", [1, 3, 5, 6, 9])
def test_sigterm_is_obeyed_at_the_end_of_the_step(tmp_path: Path, at: int) -> None:
    """Nothing is lost, not even in the last step of an epoch; after the last step of all it just ends."""
    chosen, seen = job(tmp_path / "a", QSCORE), []

    def told(name: str, done: int, total: int) -> None:
        seen.append(done)
        assert (name, total) == ("train qscore", 72)
        if len(seen) == at:
            os.kill(os.getpid(), signal.SIGTERM)

    handler = signal.getsignal(signal.SIGTERM)
    if at < 9:
        with pytest.raises(Interrupted, match=rf"{at + 1} of 9 steps are done and saved"):
            train(chosen, told)
        assert len(seen) == at + 1  # told within step `at`, so the next one is the last
        assert (chosen.folder / state.STATE).exists()
    resumed = train(chosen, told)
    assert signal.getsignal(signal.SIGTERM) is handler
    assert seen == [8 * (i + 1) for i in range(9)]
    assert_same(train(job(tmp_path / "b", QSCORE)), resumed)


SCRIPT = """
import os, signal, sys
sys.path.insert(0, "tests")
from pathlib import Path
from sample_training import QSCORE, job
from repdiag.training.loop import train
seen = []
def told(name, done, total):
    seen.append(done)
    if len(seen) == 5:
        os.kill(os.getpid(), signal.SIGKILL)
train(job(Path(sys.argv[1]), QSCORE, checkpoint_seconds=0.0), told)
"""


def test_a_process_that_was_killed(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "a")], cwd=ROOT, capture_output=True, timeout=120
    )
    assert found.returncode == -signal.SIGKILL, found.stderr.decode()
    assert {one.name for one in (tmp_path / "a").iterdir()} == {state.STATE, LOG}
    resumed = train(job(tmp_path / "a", QSCORE))
    assert_same(train(job(tmp_path / "b", QSCORE)), resumed)


def test_plain_attributes_of_an_objective_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, probe: type[ProbeRegularizer]
) -> None:
    chosen = job(tmp_path, ProbeParameters(weight=0.1), checkpoint_seconds=0.0)
    with monkeypatch.context() as patch:
        dying(patch, 6)
        with pytest.raises(Interrupted):
            train(chosen)
    found = train(chosen)
    assert found.log.columns["fact.calls"].tolist() == [3, 6, 9]


class Odd(nn.Module):
    """Buffers that are in no state_dict, that come later, that grow; values in attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.register_buffer("hidden", torch.zeros(3), persistent=False)
        self.register_buffer("later", None)
        self.register_buffer("queue", torch.zeros(0))
        self.place, self.mask, self.notes = 0, None, {"a": [1.5, torch.zeros(1)]}
        self.made: Any = object()


def test_everything_in_a_module_is_remembered() -> None:
    one, other = Odd(), Odd()
    one.hidden += 1
    one.later = torch.ones(2, 2)
    one.queue = torch.arange(5.0)
    one.place, one.mask, one.notes = 7, torch.tensor([True, False]), {"a": [2.5, torch.ones(1)]}
    kept = other.made
    state.recall(other, state.remembered(one))
    assert torch.equal(other.layer.weight, one.layer.weight)
    assert other.layer.weight is not one.layer.weight
    for name in ("hidden", "later", "queue", "mask"):
        assert torch.equal(getattr(other, name), getattr(one, name)), name
        assert getattr(other, name) is not getattr(one, name), name
    assert other.place == 7
    assert other.notes["a"][0] == 2.5
    assert other.made is kept
    with pytest.raises(RuntimeError):
        state.recall(nn.Linear(2, 3), state.remembered(nn.Linear(2, 2)))


# ------------------------------------------------------------------------------------ foreign folders


@pytest.fixture
def begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the state of a run."""
    with monkeypatch.context() as patch:
        dying(patch, 5)
        with pytest.raises(Interrupted):
            train(job(tmp_path, NoneParameters(), checkpoint_seconds=0.0))
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"seed": 1}, "configuration"),
        ({"images": images(29)}, "training images"),
        ({"validation": None}, "held-out images"),
        ({"regularizer": QSCORE}, "regularizer"),
        ({"classes": 3}, "classes"),
        ({"identity": "x"}, "identity"),
    ],
)
def test_a_state_of_another_run_is_refused(begun: Path, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=f"A training with other {said} was begun here"):
        train(job(begun, **changed))


def test_how_often_it_is_saved_may_change(begun: Path) -> None:
    assert train(job(begun, checkpoint_seconds=7.0)).facts["steps"] == 6


def test_a_damaged_state_is_told(begun: Path) -> None:
    path = begun / state.STATE
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(InputError, match=r"cannot be read .*Remove it to begin again"):
        train(job(begun))
