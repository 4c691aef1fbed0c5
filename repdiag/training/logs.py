"""Where a run's rows go: log.csv, and the watchers that were asked for."""

from __future__ import annotations

import csv
import hashlib
import importlib
import io
import math
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from repdiag.errors import UsageError
from repdiag.files import output_errors, write_text
from repdiag.registry import did_you_mean
from repdiag.training.course import Value, table

LOG = "log.csv"
NAMES = ("csv", "tensorboard", "wandb", "mlflow")
"""What --log takes."""


class Logger(Protocol):
    """Something that wants to know each row of the log once."""

    def write(self, rows: Sequence[Mapping[str, Value]]) -> None:
        """All rows so far; the last one is new."""
        ...

    def close(self) -> None:
        """There will be no more."""
        ...


def open_loggers(
    names: Sequence[str], folder: Path, title: str, about: Mapping[str, Any], done: int
) -> list[Logger]:
    """The loggers called `names`, for a run of which `done` rows are known to them already.

    log.csv is always written. Raises UsageError for an unknown name, or one whose package is not installed.
    """
    for name in names:
        if name not in NAMES:
            raise UsageError(f"There is no logger '{name}'", do=did_you_mean(name, list(NAMES)))
    kinds: dict[str, Callable[..., Logger]] = {"tensorboard": TensorBoard, "wandb": WandB, "mlflow": MLflow}
    made: list[Logger] = [CsvLog(folder / LOG)]
    for name in dict.fromkeys(names):
        if name in kinds:
            made.append(kinds[name](folder, title, about, done))
    return made


def write_csv(path: Path, rows: Sequence[Mapping[str, Value]]) -> None:
    """All rows, whole: a kill leaves the old file or the new one, and nothing twice. What is not known is empty."""
    columns = table([dict(row) for row in rows]).columns
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for number in range(len(rows)):
        cells = [column[number].item() for column in columns.values()]
        writer.writerow(["" if isinstance(c, float) and math.isnan(c) else c for c in cells])
    write_text(path, text.getvalue())


class CsvLog:
    """log.csv in the run's folder."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, rows: Sequence[Mapping[str, Value]]) -> None:
        """As `Logger.write`."""
        write_csv(self._path, rows)

    def close(self) -> None:
        """Nothing is open."""


class TensorBoard:
    """Event files in the run's folder, under `tensorboard`; steps after the one that a run goes on from are purged."""

    def __init__(self, folder: Path, title: str, about: Mapping[str, Any], done: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise _missing("tensorboard", "tune") from error
        with output_errors(folder):
            self._writer: Any = SummaryWriter(str(folder / "tensorboard"), purge_step=done if done else None)

    def write(self, rows: Sequence[Mapping[str, Value]]) -> None:
        """As `Logger.write`; by epoch."""
        row = rows[-1]
        for name, value in _numbers(row).items():
            self._writer.add_scalar(name, value, int(row["epoch"]))
        self._writer.flush()

    def close(self) -> None:
        """As `Logger.close`."""
        self._writer.close()


class WandB:
    """Weights & Biases. Offline, in the run's folder, unless WANDB_MODE says otherwise: nothing is sent unasked.

    `wandb sync` uploads it later. The run's id follows from its folder, so that a resumed one is the same run.
    """

    def __init__(self, folder: Path, title: str, about: Mapping[str, Any], done: int) -> None:
        try:
            wandb: Any = importlib.import_module("wandb")  # which mypy need not have
        except ImportError as error:
            raise _missing("wandb", "wandb") from error
        with output_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "repdiag"),
            name=title,
            id=_mark(folder),
            resume="allow",
            dir=str(folder),
            config=dict(about),
            mode=os.environ.get("WANDB_MODE", "offline"),
        )

    def write(self, rows: Sequence[Mapping[str, Value]]) -> None:
        """As `Logger.write`; by epoch."""
        self._run.log(_numbers(rows[-1]), step=int(rows[-1]["epoch"]))

    def close(self) -> None:
        """As `Logger.close`."""
        self._run.finish()


class MLflow:
    """MLflow, at MLFLOW_TRACKING_URI or else in files in the run's folder; a resumed run is the same run."""

    def __init__(self, folder: Path, title: str, about: Mapping[str, Any], done: int) -> None:
        try:
            mlflow: Any = importlib.import_module("mlflow.tracking")
        except ImportError as error:
            raise _missing("mlflow", "mlflow") from error
        uri = os.environ.get("MLFLOW_TRACKING_URI") or (folder / "mlflow").resolve().as_uri()
        self._client: Any = mlflow.MlflowClient(tracking_uri=uri)
        self._id = self._known(folder, title, about)

    def _known(self, folder: Path, title: str, about: Mapping[str, Any]) -> str:
        """The run's id, which is kept in its folder."""
        place = folder / "mlflow-run.txt"
        if place.exists():
            return place.read_text(encoding="utf-8").strip()
        name = os.environ.get("MLFLOW_EXPERIMENT_NAME", "repdiag")
        experiment = self._client.get_experiment_by_name(name)
        number = experiment.experiment_id if experiment else self._client.create_experiment(name)
        made = str(self._client.create_run(number, run_name=title).info.run_id)
        for key, value in about.items():
            self._client.log_param(made, key, value)
        write_text(place, made + "\n")
        return made

    def write(self, rows: Sequence[Mapping[str, Value]]) -> None:
        """As `Logger.write`; by epoch."""
        for name, value in _numbers(rows[-1]).items():
            self._client.log_metric(self._id, name, value, step=int(rows[-1]["epoch"]))

    def close(self) -> None:
        """As `Logger.close`."""
        self._client.set_terminated(self._id)


def _numbers(row: Mapping[str, Value]) -> dict[str, float]:
    """What a chart can show."""
    return {k: float(v) for k, v in row.items() if k != "epoch" and math.isfinite(v)}


def _mark(folder: Path) -> str:
    return hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]


def _missing(package: str, extra: str) -> UsageError:
    return UsageError(f"The logger {package} is not installed", do=f"pip install 'repdiag[{extra}]'")
