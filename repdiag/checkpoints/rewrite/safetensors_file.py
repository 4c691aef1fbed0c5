"""safetensors files: every tensor has bytes of its own, in its own order."""

from __future__ import annotations

import math

from repdiag.checkpoints.checkpoint import Source
from repdiag.checkpoints.containers.safetensors_file import Safetensors
from repdiag.checkpoints.names import ITEM_SIZES
from repdiag.checkpoints.rewrite.place import FAMILIES, Home, Window, Windows
from repdiag.checkpoints.tensor_refs import TensorRef


class SafetensorsPlaces:
    """See `Family`. Header and metadata stay, repdiag's own notes on where the weights came from included."""

    name = Safetensors.name

    def windows(self, source: Source) -> Windows:
        """See `Family.windows`."""
        told, begins = Safetensors().survey(source)
        found: Windows = {}
        for name, (shape, dtype) in told.tensors.items():
            size = math.prod(shape) * ITEM_SIZES[dtype]
            strides = tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))
            ref = TensorRef(name, size, dtype, 0, shape, strides)
            found[name] = (Window(Home(source.path, begins[name], size), ref),)
        return found


FAMILIES.add(SafetensorsPlaces.name, SafetensorsPlaces(), __name__)
