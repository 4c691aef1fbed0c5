"""torch.save files before torch 1.6: the storages lie behind the pickles, one after the other."""

from __future__ import annotations

from repdiag.checkpoints.checkpoint import Source
from repdiag.checkpoints.containers.torch_legacy import TorchLegacy
from repdiag.checkpoints.rewrite.place import FAMILIES, Home, Window, Windows


class TorchLegacyPlaces:
    """See `Family`."""

    name = TorchLegacy.name

    def windows(self, source: Source) -> Windows:
        """See `Family.windows`."""
        pickled, places = TorchLegacy().survey(source)
        homes = {key: Home(source.path, place.begin, place.size) for key, place in places.items()}
        nowhere = Home(source.path, 0, 0)  # of tensors without elements
        return {name: (Window(homes.get(ref.storage, nowhere), ref),) for name, ref in pickled.refs.items()}


FAMILIES.add(TorchLegacyPlaces.name, TorchLegacyPlaces(), __name__)
