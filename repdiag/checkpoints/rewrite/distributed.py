"""torch.distributed.checkpoint folders: every part of a tensor is a small torch.save archive inside a file."""

from __future__ import annotations

import dataclasses

from repdiag.checkpoints.checkpoint import Source
from repdiag.checkpoints.containers.distributed import Distributed, Part, index_of, open_part
from repdiag.checkpoints.containers.torch_zip import survey
from repdiag.checkpoints.rewrite.place import FAMILIES, Window, Windows, in_archive
from repdiag.checkpoints.zips import damaged


class DistributedPlaces:
    """See `Family`. `.metadata` stays: no part changes its length."""

    name = Distributed.name

    def windows(self, source: Source) -> Windows:
        """See `Family.windows`."""
        return {
            name: tuple(dataclasses.replace(_window(source, part), box=box) for box, part in sharded.parts)
            for name, sharded in index_of(source).tensors.items()
        }


def _window(source: Source, part: Part) -> Window:
    path = source.path / part.file
    pickled, zipped = survey(open_part(path, part), str(path))
    if set(pickled.refs) != {""}:
        raise damaged("a part is no tensor", path)
    return in_archive(pickled.refs, zipped)[""][0]


FAMILIES.add(DistributedPlaces.name, DistributedPlaces(), __name__)
