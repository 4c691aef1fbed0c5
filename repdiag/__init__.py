"""How good is a self-supervised image encoder really? `repdiag score model.pt dataset/` tells.

The same from Python: `repdiag.score(repdiag.Request("model.pt", "dataset/"))` returns a `Report`, which
`repdiag.write_report(report, Path("out"))` writes. Importing this package loads no torch and no pandas; the
names below load what they need when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from repdiag.config import ScoreConfig
    from repdiag.diagnosis import diagnose
    from repdiag.pipeline import Request, score
    from repdiag.report import write_report
    from repdiag.types import EmbeddingSet, Report

__version__ = "0.1.0"
__all__ = ["EmbeddingSet", "Report", "Request", "ScoreConfig", "diagnose", "score", "write_report"]

_HOME = {
    "EmbeddingSet": "types",
    "Report": "types",
    "Request": "pipeline",
    "ScoreConfig": "config",
    "diagnose": "diagnosis",
    "score": "pipeline",
    "write_report": "report",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'repdiag' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"repdiag.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
