"""Self-supervised base losses and regularizers, each usable in anybody's own training loop.

`bases` hold one method each (lightly's losses and heads), `regularizers` one regularizer each; a new one is one file
there. `contract` says what they are.
"""

from __future__ import annotations

import pkgutil


def base_names() -> tuple[str, ...]:
    """What --base takes: the modules of `bases`, found without importing them."""
    import repdiag.objectives.bases as package

    return tuple(sorted(m.name for m in pkgutil.iter_modules(package.__path__) if not m.name.startswith("_")))
