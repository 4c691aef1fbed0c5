"""Self-supervised base losses and regularizers, each usable in anybody's own training loop.

`bases` hold one method each (lightly's losses and heads), `regularizers` one regularizer each; a new one is one file
there. `contract` says what they are. Importing this package loads no torch; the names below load what they need when
they are first used.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from repdiag.objectives.contract import BASES, REGULARIZERS, Heads, Outputs
    from repdiag.objectives.iccl import handover, iccl_terms
    from repdiag.objectives.lasso import lasso_loss
    from repdiag.objectives.qscore import (
        activation_counts,
        activation_mask,
        discriminative,
        q_scores,
        qscore_terms,
    )
    from repdiag.objectives.regularizers.dsa import DSARegularizer
    from repdiag.objectives.regularizers.dsa_literal import DSALiteralRegularizer
    from repdiag.objectives.regularizers.iccl import ICCLRegularizer
    from repdiag.objectives.regularizers.lasso import LassoRegularizer
    from repdiag.objectives.regularizers.qscore import QScoreRegularizer
    from repdiag.objectives.regularizers.resa import ReSARegularizer
    from repdiag.objectives.resa import resa_loss, self_assignment, sinkhorn

__all__ = [
    "BASES",
    "REGULARIZERS",
    "DSALiteralRegularizer",
    "DSARegularizer",
    "Heads",
    "ICCLRegularizer",
    "LassoRegularizer",
    "Outputs",
    "QScoreRegularizer",
    "ReSARegularizer",
    "activation_counts",
    "activation_mask",
    "base_names",
    "discriminative",
    "handover",
    "iccl_terms",
    "lasso_loss",
    "q_scores",
    "qscore_terms",
    "resa_loss",
    "self_assignment",
    "sinkhorn",
]

_HOME = {
    "BASES": "contract",
    "DSALiteralRegularizer": "regularizers.dsa_literal",
    "DSARegularizer": "regularizers.dsa",
    "Heads": "contract",
    "ICCLRegularizer": "regularizers.iccl",
    "LassoRegularizer": "regularizers.lasso",
    "Outputs": "contract",
    "QScoreRegularizer": "regularizers.qscore",
    "REGULARIZERS": "contract",
    "ReSARegularizer": "regularizers.resa",
    "activation_counts": "qscore",
    "activation_mask": "qscore",
    "discriminative": "qscore",
    "handover": "iccl",
    "iccl_terms": "iccl",
    "lasso_loss": "lasso",
    "q_scores": "qscore",
    "qscore_terms": "qscore",
    "resa_loss": "resa",
    "self_assignment": "resa",
    "sinkhorn": "resa",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'repdiag.objectives' has no attribute '{name}'")
    value = getattr(importlib.import_module(f"repdiag.objectives.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


def base_names() -> tuple[str, ...]:
    """What --base takes: the modules of `bases`, found without importing them."""
    import repdiag.objectives.bases as package

    return tuple(sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_")))
