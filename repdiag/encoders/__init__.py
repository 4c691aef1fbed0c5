"""From a checkpoint file or a model's name to an `Encoder`, its architecture found from the tensors."""

from repdiag.encoders.load import load_encoder
from repdiag.encoders.types import Encoder, Interpolation, Loading, Preprocessing

__all__ = ["Encoder", "Interpolation", "Loading", "Preprocessing", "load_encoder"]
