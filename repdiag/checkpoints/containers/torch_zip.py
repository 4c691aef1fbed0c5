"""torch.save files since torch 1.6: a zip archive with the pickle in `NAME/data.pkl`."""

from __future__ import annotations

from repdiag.checkpoints import storages, torch_pickles, trusted
from repdiag.checkpoints.checkpoint import CONTAINERS, Contents, Outline, Source
from repdiag.checkpoints.pickles import MAX_PICKLE, Machine
from repdiag.checkpoints.storages import ZippedStorages
from repdiag.checkpoints.torch_pickles import Pickled
from repdiag.checkpoints.zips import Archive
from repdiag.errors import CheckpointError


class TorchZip:
    """Reads them through a memory map, so that an optimizer's states cost nothing."""

    name = "torch.save (zip)"

    def matches(self, source: Source) -> bool:
        """`data.pkl` without TorchScript's `constants.pkl`."""
        inner = source.inner
        return "data.pkl" in inner and not inner & {"constants.pkl", "archive_format"}

    def outline(self, source: Source) -> Outline:
        """See `Container.outline`."""
        assert source.archive is not None
        return survey(source.archive, source.where)[0].outline

    def read(self, source: Source, *, trust_pickle: bool) -> Contents:
        """See `Container.read`."""
        assert source.archive is not None
        notes = source.archive.verify()
        if trust_pickle:
            return trusted.load(source, lambda: self.outline(source), mmap=True)
        pickled, zipped = survey(source.archive, source.where)
        told = pickled.outline
        tensors = storages.build(pickled.refs, zipped, source.where)
        return Contents(tensors, told.metadata, None, told.stubbed, told.warnings + notes, told.facts)


def survey(archive: Archive, where: str) -> tuple[Pickled, ZippedStorages]:
    """What the archive's pickle describes, each tensor checked against its record, and the storages."""
    pickles = [name for name in archive.records if name.partition("/")[2] == "data.pkl"]
    if len(pickles) > 1:
        raise CheckpointError(f"The archive holds two pickles ({', '.join(pickles[:2])})", where=where)
    machine = Machine(archive.read(pickles[0], MAX_PICKLE), where)
    pickled = torch_pickles.outline(machine.load(), machine)
    zipped = ZippedStorages(archive, pickles[0].removesuffix("data.pkl"))
    zipped.check(pickled.refs)
    return pickled, zipped


CONTAINERS.add(TorchZip.name, TorchZip(), __name__)
