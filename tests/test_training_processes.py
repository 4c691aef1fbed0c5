"""Two processes train as one does: same images, same views, same loss, same weights."""

from __future__ import annotations

import dataclasses
import os
import traceback
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as spawning
from sample_training import QSCORE, encoder, job, network
from torch import nn

from repdiag.errors import Interrupted, UsageError
from repdiag.objectives.contract import REGULARIZERS
from repdiag.objectives.parameters import DSAParameters, Parameters, ReSAParameters
from repdiag.training import loop, state
from repdiag.training.job import TrainJob
from repdiag.training.logs import LOG
from repdiag.training.loop import train

pytestmark = pytest.mark.xdist_group("training processes")  # what the processes found is made once

CASES: dict[str, tuple[Parameters, dict[str, Any]]] = {
    "qscore, simclr": (QSCORE, {"accumulate": 2, "clip": 1.0}),
    "resa, byol": (ReSAParameters(hidden=8, out=4), {"base": "byol", "ema": 0.5}),
    "dsa, moco": (DSAParameters(eta=2), {"base": "moco"}),
}


def still() -> nn.Module:
    """The network without dropout, of which two processes draw other masks than one."""
    made = network()
    made[3] = nn.Identity()  # type: ignore[operator]
    return made


def wanted(folder: Path, name: str) -> TrainJob:
    """One epoch of three steps after a warm-up of three."""
    regularizer, changed = CASES[name]
    return job(folder, regularizer, encoder=encoder(still()), epochs=1, lr=0.02, warmup_epochs=0.0, **changed)


def worker(rank: int, folder: Path) -> None:
    try:
        torch.set_num_threads(1)
        store = dist.FileStore(str(folder / "store"), 2)
        dist.init_process_group("gloo", store=store, rank=rank, world_size=2, timeout=timedelta(seconds=60))
        said: dict[str, Any] = {}
        for number, name in enumerate(CASES):
            chosen = wanted(folder / f"run{number}", name)
            found = train(chosen)
            said[name] = {
                "state": dict(found.state),
                "log": dict(found.log.columns),
                "facts": dict(found.facts),
            }
        said["stopped"] = stopped(rank, folder / "stopped")
        own = folder / f"own{rank}"  # as on two machines without a shared disk
        own.mkdir()
        if rank:
            (own / state.STATE).write_bytes(b"")
        with pytest.raises(UsageError, match="Not all processes see the same state"):
            train(dataclasses.replace(chosen, folder=own))
        torch.save(said, folder / f"said{rank}.pt")
        dist.destroy_process_group()
    except BaseException:
        (folder / f"error{rank}").write_text(traceback.format_exc())
        raise


def stopped(rank: int, folder: Path) -> list[str]:
    """Only the second process is told to stop: both do, after the same step; then they go on."""
    chosen = wanted(folder, "qscore, simclr")
    seen, told = [], []
    take = loop.Stepper.take

    def taking(self: Any, phase: Any, step: int, *given: Any) -> Any:
        asked = rank == 1 and (phase, step) == ("train", 1)
        return take(self, phase, step, *given[:-1], asked)

    loop.Stepper.take = taking  # type: ignore[method-assign]
    try:
        train(chosen)
    except Interrupted as error:
        told.append(error.what)
        seen.append(str((folder / state.STATE).exists()))
    finally:
        loop.Stepper.take = take  # type: ignore[method-assign]
    dist.barrier()
    found = train(chosen)
    return [*told, *seen, found.encoder.fingerprint]


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """What two processes found, in one spawn."""
    list(REGULARIZERS)
    folder = tmp_path_factory.mktemp("processes")
    try:
        spawning.spawn(worker, (folder,), nprocs=2)
    except Exception:
        texts = [path.read_text() for path in sorted(folder.glob("error*"))]
        pytest.fail("\n".join(texts) or "the processes ended without a word")
    return folder, [torch.load(folder / f"said{rank}.pt", weights_only=False) for rank in range(2)]


@pytest.mark.parametrize("name", CASES)
def test_two_processes_give_the_weights_of_one(
    both: tuple[Path, list[dict[str, Any]]], tmp_path: Path, name: str
) -> None:
    one = train(wanted(tmp_path, name))
    for said in (of[name] for of in both[1]):
        moved = 0.0
        for key, tensor in one.state.items():
            torch.testing.assert_close(said["state"][key], tensor, rtol=0, atol=1e-5)
            moved = max(moved, float((tensor - still().state_dict()[key]).abs().max()))
        assert moved > 1e-3
        for column in ("loss", "base", "held_out", "rank", "gradient_norm"):
            torch.testing.assert_close(
                torch.tensor(said["log"][column]), torch.tensor(one.log.columns[column]), rtol=2e-4, atol=1e-5
            )
        assert said["facts"]["processes"] == 2
    for key, tensor in both[1][0][name]["state"].items():
        assert torch.equal(tensor, both[1][1][name]["state"][key])


def test_only_the_first_process_writes(both: tuple[Path, list[dict[str, Any]]]) -> None:
    for number in range(len(CASES)):
        assert sorted(os.listdir(both[0] / f"run{number}")) == [state.DONE, LOG]  # noqa: PTH208


def test_they_stop_together_and_go_on(both: tuple[Path, list[dict[str, Any]]]) -> None:
    first, second = (said["stopped"] for said in both[1])
    assert first == second
    assert first[0].endswith("5 of 6 steps are done and saved")
    assert first[1] == "True"
    states = [said["qscore, simclr"]["state"] for said in both[1]]
    resumed = torch.load(both[0] / "stopped" / state.DONE, weights_only=True)["kept"]["encoder"]
    assert all(torch.equal(resumed[f"network.{name}"], tensor) for name, tensor in states[0].items())
