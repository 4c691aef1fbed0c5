"""A Lightning callback that scores the encoder while it trains (extra: lightning)."""

from __future__ import annotations

import csv
import importlib
import importlib.util
import io
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from repdiag.errors import RepdiagError, UsageError
from repdiag.files import write_text
from repdiag.registry import did_you_mean

METRICS = ("knn_accuracy", "knn_purity", "cdnv", "rankme", "uniformity")
"""The default: no probe is trained and nothing is drawn, so that scoring costs little more than embedding."""
_LIBRARIES = ("lightning.pytorch", "pytorch_lightning")


def _bases() -> tuple[Any, ...]:
    """The `Callback` of the Lightning that is in use: of those imported already, else of the one installed.

    With both imported the callback is one of either, so that it fits the Trainer of either.
    """
    used = [name for name in _LIBRARIES if name in sys.modules]
    there = used or [name for name in _LIBRARIES if importlib.util.find_spec(name.partition(".")[0])][:1]
    if not there:
        raise UsageError(
            "repdiag.lightning needs Lightning, which is not installed", do="pip install 'repdiag[lightning]'"
        )
    return tuple(importlib.import_module(name).Callback for name in there)


_Callback: Any = type("_Callback", _bases(), {})


class ScoreCallback(_Callback):  # type: ignore[misc]
    """Scores the encoder every few epochs, logs the values and leaves the training exactly as it was.

    `data` is what `repdiag.score` takes, labels included; the same data are used each time. `module` says where
    the encoder is: an attribute path of the LightningModule, a function of it, or None for the whole. Every
    `every_n_epochs` epochs, after validation (`on="validation_end"`) or the epoch's training steps
    (`"train_epoch_end"`), the `metrics` are measured and logged as `repdiag/<metric>`, where checkpoints and
    early stopping can monitor them. `out` is a folder for a report per epoch (`epoch=003/`) and `trajectory.csv`, a
    row per scoring. `options` are further keywords of `repdiag.score`.

    Only the first process scores, the others wait for its values. A failure becomes one warning and training goes
    on, unless `fail`. Weights, buffers, modes and random numbers of the training are not changed.
    """

    def __init__(
        self,
        data: object,
        *,
        every_n_epochs: int = 1,
        module: str | Callable[[Any], Any] | None = "backbone",
        metrics: Sequence[str] = METRICS,
        log: bool = True,
        out: str | Path | None = None,
        on: Literal["validation_end", "train_epoch_end"] = "validation_end",
        fail: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        if every_n_epochs < 1:
            raise UsageError(f"every_n_epochs must be at least 1, not {every_n_epochs}")
        if on not in ("validation_end", "train_epoch_end"):
            raise UsageError(f"on must be validation_end or train_epoch_end, not {on!r}")
        self.data, self.module, self.metrics = data, module, tuple(metrics)
        self.every_n_epochs, self.on, self.log, self.fail = every_n_epochs, on, log, fail
        self.out = None if out is None else Path(out)
        self.options = {"draw_map": False, **options}
        self.trajectory: list[dict[str, float | int | None]] = []
        self._warned: set[str] = set()

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Say at once when the callback would never be called."""
        if self.on == "validation_end" and not trainer.enable_validation:
            self._failed(UsageError("The Trainer never validates", do="Use on='train_epoch_end'"), "at all")

    def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """After the validation batches: here values can still be logged for what monitors them."""
        if self.on == "validation_end" and not trainer.sanity_checking and trainer.state.fn == "fit":
            self._score(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """After the training batches and the validation among them."""
        if self.on == "train_epoch_end":
            self._score(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint of the training keeps: the trajectory so far."""
        return {"trajectory": self.trajectory}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on with the trajectory of the training that is resumed."""
        self.trajectory = list(state_dict["trajectory"])

    def _score(self, trainer: Any, pl_module: Any) -> None:
        epoch, step = int(trainer.current_epoch), int(trainer.global_step)
        if (epoch + 1) % self.every_n_epochs:
            return
        values: dict[str, float | None] = {}
        error: Exception | None = None
        problem = ""
        if trainer.is_global_zero:
            try:
                values = self._values(pl_module, epoch, step)
            except Exception as caught:  # whatever is wrong here must not cost hours of training
                error, problem = caught, _said(caught)
        # the others wait here, and learn of a failure, so that all go on or all stop
        values, problem = trainer.strategy.broadcast((values, problem), src=0)
        if problem:
            self._failed(error or RepdiagError(problem), f"epoch {epoch}")
        elif self.log:
            known = {f"repdiag/{name}": value for name, value in values.items() if value is not None}
            pl_module.log_dict(known, on_step=False, on_epoch=True, batch_size=1, sync_dist=True)

    def _values(self, pl_module: Any, epoch: int, step: int) -> dict[str, float | None]:
        """The metrics' values by name, None for those that were skipped; written down on the way."""
        from repdiag.api import score

        folder = None if self.out is None else self.out / f"epoch={epoch:03d}"
        report = score(self._encoder(pl_module), self.data, metrics=self.metrics, out=folder, **self.options)
        values: dict[str, float | None] = {}
        for measurement in report.measurements:
            found = report.value(measurement.spec.name)
            values[measurement.spec.name] = None if found is None else found.value
        self.trajectory.append({"epoch": epoch, "step": step, **values})
        if self.out is not None:
            write_text(self.out / "trajectory.csv", self._table())
        return values

    def _encoder(self, pl_module: Any) -> Any:
        if self.module is None:
            return pl_module
        if not isinstance(self.module, str):
            return self.module(pl_module)
        try:
            return pl_module.get_submodule(self.module)
        except AttributeError:
            known = [name for name, _ in pl_module.named_children()]
            raise UsageError(
                f"{type(pl_module).__name__} has no module '{self.module}'",
                do=did_you_mean(self.module, known),
            ) from None

    def _table(self) -> str:
        columns = list(dict.fromkeys(name for row in self.trajectory for name in row))
        text = io.StringIO()
        table = csv.DictWriter(text, columns, lineterminator="\n")
        table.writeheader()
        table.writerows(self.trajectory)
        return text.getvalue()

    def _failed(self, error: Exception, when: str) -> None:
        if self.fail:
            raise error
        said = _said(error)
        if said not in self._warned:  # once, not every epoch
            self._warned.add(said)
            warnings.warn(f"repdiag could not score {when}: {said} Training goes on.", stacklevel=2)


def _said(error: Exception) -> str:
    """An error as a sentence."""
    if isinstance(error, RepdiagError):
        return str(error)
    return f"{type(error).__name__}: {str(error).strip().rstrip('.')}."
