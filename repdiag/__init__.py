"""How good is a self-supervised image encoder really? `repdiag score model.pt dataset/` tells.

The same from Python: `repdiag.score(model, data, out="report")` takes paths, modules, loaders and arrays and
returns a `Report`; `repdiag.embed(model, data)` returns the embeddings. Importing this package loads no torch and
no pandas; the names below load what they need when they are first used.
"""

from __future__ import annotations

import importlib
import random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from repdiag.api import embed, embed_layers, export, score, score_layers
    from repdiag.comparing import compare
    from repdiag.config import ScoreConfig
    from repdiag.diagnosis import diagnose
    from repdiag.encoders import Encoder, Preprocessing, load_encoder
    from repdiag.explaining import explain
    from repdiag.inspection import inspect
    from repdiag.pipeline import Request
    from repdiag.plots import figures
    from repdiag.report import write_report
    from repdiag.tuning import finetune
    from repdiag.types import EmbeddingSet, Report

__version__ = "0.1.0"
__all__ = [
    "EmbeddingSet",
    "Encoder",
    "Preprocessing",
    "Report",
    "Request",
    "ScoreConfig",
    "compare",
    "diagnose",
    "embed",
    "embed_layers",
    "explain",
    "export",
    "figures",
    "finetune",
    "inspect",
    "load_encoder",
    "score",
    "score_layers",
    "write_report",
]

_HOME = {
    "EmbeddingSet": "types",
    "Encoder": "encoders",
    "Preprocessing": "encoders",
    "Report": "types",
    "Request": "pipeline",
    "ScoreConfig": "config",
    "compare": "comparing",
    "diagnose": "diagnosis",
    "embed": "api",
    "embed_layers": "api",
    "explain": "explaining",
    "export": "exporting",
    "figures": "plots",
    "finetune": "tuning",
    "inspect": "inspection",
    "load_encoder": "encoders",
    "score": "api",
    "score_layers": "api",
    "write_report": "report",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'repdiag' has no attribute '{name}'")
    drawn = random.getstate()  # libraries draw while they are imported (rich does); the user's numbers go on
    value = getattr(importlib.import_module(f"repdiag.{_HOME[name]}"), name)
    random.setstate(drawn)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
