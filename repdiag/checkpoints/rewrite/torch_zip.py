"""torch.save archives: each storage is a record, the pickle another one."""

from __future__ import annotations

from repdiag.checkpoints.checkpoint import Source
from repdiag.checkpoints.containers.torch_zip import TorchZip, survey
from repdiag.checkpoints.rewrite.place import FAMILIES, Windows, in_archive


class TorchZipPlaces:
    """See `Family`."""

    name = TorchZip.name

    def windows(self, source: Source) -> Windows:
        """See `Family.windows`."""
        assert source.archive is not None
        pickled, zipped = survey(source.archive, source.where)
        return in_archive(pickled.refs, zipped)


FAMILIES.add(TorchZipPlaces.name, TorchZipPlaces(), __name__)
