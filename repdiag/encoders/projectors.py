"""The projector of an encoder's checkpoint, to train on with, and where its tensors are in the file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from repdiag.checkpoints import read_checkpoint
from repdiag.encoders.chosen import Chosen
from repdiag.encoders.heads import Projector, require_projector
from repdiag.encoders.huggingface.folder import read_weights
from repdiag.encoders.model_folder import is_model_folder
from repdiag.encoders.origin import Origin
from repdiag.encoders.taps import Tapped
from repdiag.encoders.types import Encoder
from repdiag.errors import CheckpointError, UnsafeCheckpointError, UsageError


@dataclass(frozen=True)
class TrainableProjector:
    """A projector (B, in_dim) -> (B, out_dim) with weights of its own, float32, in train mode, with gradients.

    `files` are the names of its tensors in the checkpoint, by their names in `network.state_dict()`. `notes` say what
    it was read as, and what was assumed of layers that have no tensors.
    """

    network: nn.Sequential
    in_dim: int
    out_dim: int
    files: Mapping[str, str]
    notes: tuple[str, ...]


def find_projector(encoder: Encoder) -> TrainableProjector | None:
    """The projector beside the encoder's weights that takes what the encoder gives; read from its file again.

    None where there is none that can be read (`encoders.heads` says what can), where the encoder came from no file or
    one that only its own code could tell about, and where only some features or other layers of it were chosen.
    Raises CheckpointError when the file has changed or its tensors are not finite.
    """
    origin = encoder.origin
    if origin is None or isinstance(encoder.module, (Tapped, Chosen)):
        return None
    try:
        tensors = tensors_of(origin)
    except UnsafeCheckpointError:  # its code was trusted once, for loading
        return None
    return projector_of(tensors, origin.prefix, encoder.dim)


def projector_of(tensors: Mapping[str, Tensor], prefix: str, dim: int) -> TrainableProjector | None:
    """The projector for `dim` features that belongs to the backbone under `prefix`; None where there is none."""
    try:
        found = require_projector(tensors, prefix, dim)
    except UsageError:
        return None
    network = found.module
    assert isinstance(network, nn.Sequential)
    files = _files(found, network)
    own = network.state_dict()
    for name, file in files.items():
        own[name].copy_(tensors[file])  # the batch norms' counters too, which reading leaves out
    return TrainableProjector(
        network.requires_grad_(True).train(), found.in_dim, found.out_dim, files, found.notes
    )


def tensors_of(origin: Origin, path: str | None = None) -> Mapping[str, Tensor]:
    """The tensors of the encoder's file (or of another one that should be equal), mapped, not copied.

    Raises CheckpointError when it is not the file that the encoder was loaded from, and UnsafeCheckpointError when
    only its own code could tell.
    """
    where = origin.path if path is None else path
    found = read_weights(Path(where)) if is_model_folder(Path(where)) else read_checkpoint(where)
    if found.sha256 != origin.sha256:
        raise CheckpointError(
            "The checkpoint has changed since the encoder was loaded", where=where, do="Load it again"
        )
    return found.tensors


def _files(found: Projector, network: nn.Sequential) -> dict[str, str]:
    """The name in the network -> the name in the file: layers with tensors stand in the same order in both."""
    paths = dict.fromkeys(name.rpartition(".")[0] for name in found.tensors)
    layers = [place for place, part in network.named_children() if part.state_dict()]
    given = set(found.tensors)
    return {
        f"{place}.{end}": f"{path}.{end}"
        for place, path in zip(layers, paths, strict=True)
        for end in network.get_submodule(place).state_dict()
        if f"{path}.{end}" in given
    }
