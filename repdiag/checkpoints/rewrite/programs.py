"""TorchScript and torch.export archives: the program stays, its state's records change.

Weights that the export made constants of the program are no part of its state and are not found here.
"""

from __future__ import annotations

from repdiag.checkpoints.checkpoint import Source
from repdiag.checkpoints.containers.torch_export import TorchExport
from repdiag.checkpoints.containers.torchscript import TorchScript
from repdiag.checkpoints.rewrite.place import FAMILIES, Windows, in_archive


class TorchScriptPlaces:
    """See `Family`."""

    name = TorchScript.name

    def windows(self, source: Source) -> Windows:
        """See `Family.windows`."""
        refs, zipped, _ = TorchScript().survey(source)
        return in_archive(refs, zipped)


class TorchExportPlaces:
    """See `Family`."""

    name = TorchExport.name

    def windows(self, source: Source) -> Windows:
        """See `Family.windows`."""
        refs, zipped, _ = TorchExport().survey(source)
        return in_archive(refs, zipped)


FAMILIES.add(TorchScriptPlaces.name, TorchScriptPlaces(), __name__)
FAMILIES.add(TorchExportPlaces.name, TorchExportPlaces(), __name__)
