"""From a checkpoint file or a model's name to an `Encoder`, its architecture found from the tensors.

Importing this imports no torch (`repdiag inspect` needs none); `load_encoder` does when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from repdiag.encoders.input import Interpolation, Preprocessing
from repdiag.encoders.types import Encoder, Loading

if TYPE_CHECKING:
    from repdiag.encoders.load import load_encoder

__all__ = ["Encoder", "Interpolation", "Loading", "Preprocessing", "load_encoder"]


def __getattr__(name: str) -> Any:
    if name != "load_encoder":
        raise AttributeError(f"module 'repdiag.encoders' has no attribute '{name}'")
    from repdiag.encoders.load import load_encoder

    return load_encoder
