"""log.csv, TensorBoard, and stand-ins for W&B and MLflow, also over a stop."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sample_training import QSCORE, job
from test_training_resume import dying

from repdiag.errors import Interrupted, OutputError, UsageError
from repdiag.training.course import Sums, table
from repdiag.training.logs import LOG, open_loggers, write_csv
from repdiag.training.loop import train
from repdiag.training.step import Took


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def stopped_and_resumed(folder: Path, monkeypatch: pytest.MonkeyPatch, **changed: Any) -> Any:
    """A run of epochs 0-3 that died in epoch 3, after its state was saved within it."""
    chosen = job(folder, QSCORE, epochs=3, **changed)
    with monkeypatch.context() as patch:
        dying(patch, 11)
        with pytest.raises(Interrupted):
            train(chosen)
    return train(chosen)


def test_the_csv_is_the_log_without_a_row_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = stopped_and_resumed(tmp_path, monkeypatch)
    rows = read(tmp_path / LOG)
    assert [row["epoch"] for row in rows] == ["0", "1", "2", "3"]
    assert list(rows[0]) == list(found.log.columns)
    for name, column in found.log.columns.items():
        np.testing.assert_array_equal([float(row[name] or "nan") for row in rows], column)


def test_columns_that_come_late_or_are_unknown_are_empty(tmp_path: Path) -> None:
    write_csv(tmp_path / LOG, [{"epoch": 0, "loss": float("nan")}, {"epoch": 1, "loss": 2.5, "term.x": 1.0}])
    assert (tmp_path / LOG).read_text() == "epoch,loss,term.x\n0,,\n1,2.5,1.0\n"
    made = table([{"epoch": 0, "fact.a": 1.0, "seconds": 2.0}]).columns
    assert list(made) == ["epoch", "seconds", "fact.a"]
    assert made["epoch"].dtype == np.int64


def test_an_epochs_row_is_the_mean_over_its_steps() -> None:
    sums = Sums()
    assert sums.row(8) == {}
    sums.add(Took({"base": 1.0, "term.a": 0.5}, 2.0, 0.1, False), 0.5)
    sums.add(Took({"base": 3.0, "term.a": -0.5}, 4.0, 0.2, False), 1.5)
    row = sums.row(8)
    assert row == {
        "loss": 2.0, "base": 2.0, "term.a": 0.0, "lr": 0.2, "gradient_norm": 3.0, "images_per_second": 8.0,
    }  # fmt: skip


def test_tensorboard_shows_each_epoch_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = stopped_and_resumed(tmp_path, monkeypatch, loggers=("csv", "tensorboard"))
    seen = events.EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert {"loss", "base", "term.lambda1", "held_out", "rank", "lr"} <= set(seen.Tags()["scalars"])
    loss = seen.Scalars("loss")
    assert [one.step for one in loss] == [0, 1, 2, 3]
    np.testing.assert_allclose([one.value for one in loss], found.log.columns["loss"], rtol=1e-6)


def test_wandb_is_offline_unless_told_and_goes_on_in_the_same_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[dict[str, Any]] = []
    told: dict[int, dict[str, float]] = {}
    ended: list[bool] = []
    fake: Any = ModuleType("wandb")

    def init(**how: Any) -> Any:
        begun.append(how)
        return SimpleNamespace(
            log=lambda row, step: told.update({step: row}), finish=lambda: ended.append(True)
        )

    fake.init = init
    monkeypatch.setitem(sys.modules, "wandb", fake)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    found = stopped_and_resumed(tmp_path, monkeypatch, loggers=("wandb",))
    assert len(begun) == len(ended) == 2
    assert begun[0]["mode"] == "offline"
    assert begun[0]["id"] == begun[1]["id"]
    assert begun[0]["config"]["qscore.eps"] == 1.5
    assert begun[0]["config"]["batch_size"] == 8
    assert list(told) == [0, 1, 2, 3]
    assert told[2]["loss"] == found.log.columns["loss"][2]
    monkeypatch.setenv("WANDB_MODE", "online")
    open_loggers(("wandb",), tmp_path, "x", {}, 0)
    assert begun[-1]["mode"] == "online"


def test_mlflow_writes_to_files_and_goes_on_in_the_same_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: dict[str, list[Any]] = {"uri": [], "runs": [], "params": [], "metrics": [], "ended": []}

    class Client:
        def __init__(self, tracking_uri: str) -> None:
            said["uri"].append(tracking_uri)

        def get_experiment_by_name(self, name: str) -> None:
            return None

        def create_experiment(self, name: str) -> str:
            return "7"

        def create_run(self, experiment: str, run_name: str) -> Any:
            said["runs"].append((experiment, run_name))
            return SimpleNamespace(info=SimpleNamespace(run_id=f"run{len(said['runs'])}"))

        def log_param(self, run: str, key: str, value: Any) -> None:
            said["params"].append((run, key, value))

        def log_metric(self, run: str, key: str, value: float, step: int) -> None:
            said["metrics"].append((run, key, value, step))

        def set_terminated(self, run: str) -> None:
            said["ended"].append(run)

    tracking: Any = ModuleType("mlflow.tracking")
    tracking.MlflowClient = Client
    monkeypatch.setitem(sys.modules, "mlflow", ModuleType("mlflow"))
    monkeypatch.setitem(sys.modules, "mlflow.tracking", tracking)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    found = stopped_and_resumed(tmp_path, monkeypatch, loggers=("mlflow",), name="qscore, seed 0")
    assert said["runs"] == [("7", "qscore, seed 0")]
    assert set(said["uri"]) == {(tmp_path / "mlflow").as_uri()}
    assert ("run1", "qscore.eps", 1.5) in said["params"]
    losses = [(value, step) for run, key, value, step in said["metrics"] if key == "loss"]
    assert losses == [(value, i) for i, value in enumerate(found.log.columns["loss"])]
    assert said["ended"] == ["run1", "run1"]


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("tensorboard", "torch.utils.tensorboard", "tune"),
        ("wandb", "wandb", "wandb"),
        ("mlflow", "mlflow.tracking", "mlflow"),
    ],
)
def test_a_missing_package_is_told_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UsageError, match=rf"{name} is not installed. pip install 'repdiag\[{extra}\]'"):
        train(job(tmp_path, loggers=("csv", name)))


def test_an_unknown_logger_and_a_folder_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="Did you mean 'tensorboard'"):
        train(job(tmp_path, loggers=("tensorbord",)))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="Cannot write"):
        train(job(tmp_path / "file" / "run"))
