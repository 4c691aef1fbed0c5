"""Real Trainer runs of a tiny SimCLR: scored while it trains, and none the different for it."""

from __future__ import annotations

import csv
import signal
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import FIXTURES
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

pl = pytest.importorskip("pytorch_lightning")
pytest.importorskip("lightly")

from lightly.loss import NTXentLoss  # noqa: E402
from lightly.models.modules import SimCLRProjectionHead  # noqa: E402

from repdiag import lightning  # noqa: E402
from repdiag.errors import UsageError  # noqa: E402
from repdiag.lightning import ScoreCallback  # noqa: E402


def digits(part: str, per_class: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(N, 3, 8, 8) inputs in [-1, 1] and labels of the fixtures' images."""
    found = [
        (np.asarray(Image.open(path).convert("RGB")), label)
        for label in range(10)
        for path in sorted((FIXTURES / "digits" / part / str(label)).iterdir())[:per_class]
    ]
    images = torch.from_numpy(np.stack([image for image, _ in found])).permute(0, 3, 1, 2).float()
    return images / 127.5 - 1, torch.tensor([label for _, label in found])


TRAIN, TEST = digits("train", 12), digits("test", 6)


class SimCLR(pl.LightningModule):  # type: ignore[misc]
    """Noise as augmentation, batch norm and dropout as state."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(3, 16, 3),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(0.1),
        )
        self.head = SimCLRProjectionHead(16, 16, 8)
        self.criterion = NTXentLoss()

    def training_step(self, batch: Any, _index: int) -> torch.Tensor:
        x, _ = batch
        z = [self.head(self.backbone(x + 0.2 * torch.randn_like(x))) for _ in range(2)]
        return self.criterion(*z)

    def validation_step(self, batch: Any, _index: int) -> None:
        self.log("loss/validation", self.training_step(batch, _index))

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), 1e-2)


def fit(root: Path, *callbacks: Any, validate: bool = True, **more: Any) -> tuple[SimCLR, Any]:
    """Two epochs on the fixtures' digits; the model and its Trainer."""
    pl.seed_everything(7, verbose=False)
    model = SimCLR()
    trainer = pl.Trainer(
        max_epochs=2,
        accelerator="cpu",
        logger=pl.loggers.CSVLogger(root),
        callbacks=list(callbacks),
        enable_checkpointing=bool(more.pop("checkpoint", False)),
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        **more,
    )
    train = DataLoader(TensorDataset(*TRAIN), batch_size=40, shuffle=True, drop_last=True)
    trainer.fit(model, train, DataLoader(TensorDataset(*TEST), batch_size=30) if validate else None)
    return model, trainer


@pytest.fixture(autouse=True)
def quiet() -> Any:
    """Lightning's advice about workers and the like is not what is tested."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"(pytorch_lightning|lightning_fabric)\.")
        warnings.filterwarnings("ignore", category=FutureWarning)
        yield


def test_scores_are_logged_written_and_can_be_monitored(tmp_path: Path) -> None:
    stop = pl.callbacks.EarlyStopping("repdiag/knn_accuracy", mode="max", patience=5)
    callback = ScoreCallback(TEST, out=tmp_path / "scores", bootstrap=50, permutations=5)
    _, trainer = fit(tmp_path, callback, stop)
    rows = list(csv.DictReader((Path(trainer.logger.log_dir) / "metrics.csv").open()))
    logged = [float(row["repdiag/knn_accuracy"]) for row in rows if row["repdiag/knn_accuracy"]]
    assert len(logged) == 2
    assert "repdiag/rankme" in rows[0]
    trajectory = list(csv.DictReader((tmp_path / "scores" / "trajectory.csv").open()))
    assert [row["epoch"] for row in trajectory] == ["0", "1"]
    assert [row["step"] for row in trajectory] == ["3", "6"]
    np.testing.assert_allclose([float(row["knn_accuracy"]) for row in trajectory], logged, rtol=1e-5)
    for epoch in ("epoch=000", "epoch=001"):
        assert (tmp_path / "scores" / epoch / "report.html").is_file()
    assert float(stop.best_score) == pytest.approx(max(logged))


@pytest.mark.parametrize("on", ["validation_end", "train_epoch_end"])
def test_weights_with_and_without_the_callback_are_bit_equal(tmp_path: Path, on: Any) -> None:
    plain, _ = fit(tmp_path)
    callback = ScoreCallback(
        TEST, on=on, bootstrap=50, permutations=5, metrics=["linear_probe_accuracy", "rankme"]
    )
    scored, _ = fit(tmp_path, callback)
    assert len(callback.trajectory) == 2
    torch.testing.assert_close(scored.state_dict(), plain.state_dict(), rtol=0, atol=0)


def test_every_n_epochs_and_no_validation(tmp_path: Path) -> None:
    callback = ScoreCallback(
        TEST,
        every_n_epochs=2,
        on="train_epoch_end",
        module=lambda m: m.backbone[0],
        metrics=["rankme"],
        bootstrap=50,
    )
    _, trainer = fit(tmp_path, callback, validate=False)
    assert [row["epoch"] for row in callback.trajectory] == [1]
    assert trainer.callback_metrics["repdiag/rankme"] > 0


def test_a_failure_is_one_warning_and_training_goes_on(tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="SimCLR has no module 'backbon'. Did you mean 'backbone'") as caught:
        _, trainer = fit(tmp_path, ScoreCallback(TEST, module="backbon"))
    assert trainer.current_epoch == 2
    assert sum("repdiag could not score" in str(warning.message) for warning in caught) == 1


def test_a_failure_stops_training_when_that_is_wanted(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no metric or family 'nonsense'"):
        fit(tmp_path, ScoreCallback(TEST, metrics=["nonsense"], fail=True))


def test_a_callback_that_would_never_be_called_says_so(tmp_path: Path) -> None:
    warnings.filterwarnings("ignore", message="You defined a `validation_step`")
    with pytest.warns(UserWarning, match="The Trainer never validates"):
        fit(tmp_path, ScoreCallback(TEST), validate=False)


def test_a_resumed_training_goes_on_with_its_trajectory() -> None:
    first, second = ScoreCallback(TEST), ScoreCallback(TEST)
    first.trajectory.append({"epoch": 0, "step": 3, "rankme": 2.0})
    second.load_state_dict(first.state_dict())
    assert second.trajectory == first.trajectory


def test_one_process_of_two_scores_and_both_log(tmp_path: Path) -> None:
    callback = ScoreCallback(TEST, out=tmp_path / "scores", metrics=["rankme"], bootstrap=50)
    stop = pl.callbacks.EarlyStopping("repdiag/rankme", patience=5)  # fails in a process that has no value
    signal.alarm(120)  # two processes that wait for one another would wait forever
    try:
        fit(tmp_path, callback, stop, strategy="ddp_fork", devices=2)
    finally:
        signal.alarm(0)
    trajectory = list(csv.DictReader((tmp_path / "scores" / "trajectory.csv").open()))
    assert [row["epoch"] for row in trajectory] == ["0", "1"]


def test_the_callback_is_one_of_whichever_lightning_is_in_use(monkeypatch: pytest.MonkeyPatch) -> None:
    other = types.ModuleType("lightning.pytorch")
    other.Callback = type("Callback", (), {})  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "lightning.pytorch", other)
    assert lightning._bases() == (other.Callback, pl.Callback)
    for name in ("lightning.pytorch", "pytorch_lightning"):
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(lightning.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"not installed\. pip install 'repdiag\[lightning\]'"):
        lightning._bases()


@pytest.mark.parametrize("wrong", [{"every_n_epochs": 0}, {"on": "train_end"}])
def test_settings_are_checked_where_they_are_made(wrong: Any) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        ScoreCallback(TEST, **wrong)
