"""`repdiag.finetune`: the same from Python."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Any

from repdiag.comparison.types import Comparison
from repdiag.errors import UsageError
from repdiag.objectives.parameters import PARAMETERS, Parameters
from repdiag.registry import did_you_mean
from repdiag.training.config import TuneConfig
from repdiag.training.toml_file import resolve
from repdiag.tuning.plan import make_plan
from repdiag.tuning.request import Request
from repdiag.tuning.run import run
from repdiag.types import ImageSource, Progress, silent

if TYPE_CHECKING:
    from repdiag.encoders import Encoder

_OWN = {field.name for field in dataclasses.fields(TuneConfig)}
_REST = {field.name for field in dataclasses.fields(Request)} - {
    "model",
    "dataset",
    "out",
    "config",
    "regularizer",
}


def finetune(
    model: str | Encoder,
    data: str | ImageSource,
    out: str | Path,
    *,
    regularizer: str | Parameters = "qscore",
    preset: str | None = None,
    progress: Progress = silent,
    **options: Any,
) -> Comparison | None:
    """Train `model` with a regularizer and without it, score both and the start, and return the `Comparison`.

    `model` and `data` are paths as for `score`, or an `Encoder` and an `ImageSource`. `regularizer` is a name, or the
    Parameters of one (`repdiag.objectives.parameters`) for other numbers than the defaults. `options` are fields of
    `TuneConfig` (base, epochs, lr, ...; `preset` sets several) and of `tuning.request.Request` (arms, seeds, ablate,
    hold_out, metrics, device, loading, data, ...; `reading` stands for its `data`). Everything is written to the
    folder `out`, and the same call goes on from what is there.

    In several processes (torch.distributed is initialized) the first returns the comparison, the others None. Raises
    UsageError for what does not go together, and what loading, training, scoring and writing raise.
    """
    if isinstance(regularizer, str):
        if regularizer not in PARAMETERS:
            raise UsageError(
                f"There is no regularizer '{regularizer}'", do=did_you_mean(regularizer, list(PARAMETERS))
            )
        regularizer = PARAMETERS[regularizer]()
    if "reading" in options:
        options["data"] = options.pop("reading")
    for name in options:
        if name not in _OWN | _REST:
            raise UsageError(f"There is no keyword '{name}'", do=did_you_mean(name, sorted(_OWN | _REST)))
    config = resolve(preset, {}, {name: value for name, value in options.items() if name in _OWN})
    rest = {name: value for name, value in options.items() if name not in _OWN}
    return run(make_plan(Request(model, data, Path(out), config, regularizer, **rest)), progress)
