"""The same file with other weights: a tuned backbone in the layout it came in.

The file (or folder) is copied, and in the copy only the numbers of the backbone's tensors are replaced: their names,
types, shapes and order, the pickle around them, what an optimizer or a Namespace left beside them stay as they are,
and no code of the file is run. What was written is opened as the original was and compared before it gets its name.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from repdiag.checkpoints import read_checkpoint, read_layout
from repdiag.checkpoints.rewrite import Replaced, replace_tensors
from repdiag.checkpoints.storages import same_bits
from repdiag.encoders import Encoder, load_encoder
from repdiag.encoders.features import network_of
from repdiag.encoders.huggingface.folder import read_weights
from repdiag.encoders.model_folder import is_model_folder, weight_files
from repdiag.encoders.origin import Origin, Returned, Sources, direct, returned
from repdiag.encoders.prefixes import show
from repdiag.encoders.projectors import projector_of, tensors_of
from repdiag.encoders.sketch import is_computed
from repdiag.errors import CheckpointError, RepdiagError, UnsafeCheckpointError, UsageError
from repdiag.exporting import rewritten_notes as notes
from repdiag.exporting.copies import copied, refuse_place

INSTEAD = "Write safetensors, which holds the weights of every encoder"
HEAD = "projector: "
"""Begins the projector's names among those of the network."""
FEATURES = ("layer", "pool", "l2", "trust_pickle", "pretrained")
"""Keywords of `load_encoder` that opening the result again does without."""


@dataclass(frozen=True)
class Rewritten:
    """A file or folder with other weights. `replaced` counts the file's tensors that were written.

    `kept` says which others are as they were, by the parts of the file that they belong to. `notes` are sentences on
    what rounding cost, what changed along because it shares numbers, and what is out of step now.
    """

    path: Path
    replaced: int
    kept: tuple[str, ...]
    notes: tuple[str, ...]


def write(
    encoder: Encoder,
    model: str,
    state: Mapping[str, Tensor],
    projector: Mapping[str, Tensor] | None,
    out: Path,
    **loading: Any,
) -> Rewritten:
    """Write `model` with the tensors `state` in the backbone's places to `out`; `model` itself is never changed.

    `encoder` is the one that `model` was loaded as, or that one with other weights. `state` are the network's
    tensors by its own names (`network_of(encoder.module).state_dict()`); they are rounded to the type that the file
    stores. `projector` are those of `encoders.projectors.find_projector(encoder).network`; those of another head are
    not written, and a note says so. `loading` are the keywords of `load_encoder` that opened `model` (by default
    those that `encoder` remembers). A file at `out` is replaced, a folder only where all in it is written anew.

    Raises UsageError, and leaves nothing behind, when the layout cannot be written back (a whole pickled module,
    quantized weights, weights that were resampled), when `model` has changed since it was loaded, or `out` is
    `model`; OutputError when `out` cannot be written.
    """
    origin, source, out = encoder.origin, Path(model), Path(out)
    if origin is None:
        raise UsageError(f"{encoder.name} came from no file that could be written back", do=INSTEAD)
    refuse_place(source, out)
    with _refusals(model):
        tensors = tensors_of(origin, model)
        sources = _sources(origin, network_of(encoder.module).state_dict(), state)
        head, unused = _head(projector, tensors, origin, encoder.dim)
        whole = {**state, **{name: tensor for name, (tensor, _) in head.items()}}
        sources = {**sources, **direct({name: file for name, (_, file) in head.items()}, tensors)}
        back = returned(whole, sources, tensors)
    options = {k: v for k, v in {**origin.options, **loading}.items() if k not in FEATURES}
    with copied(source, out) as temporary, _refusals(model):
        replaced = _replace(temporary, back.tensors)
        _compare_file(temporary, tensors, back.tensors, replaced)
        opened_with = _compare_network(temporary, state, back, origin, options)
    rest = sorted(set(tensors) - set(replaced.names) - set(replaced.along))
    largest = max(back.tensors, key=lambda name: back.tensors[name].numel())
    said = (
        *notes.rounding(whole, back, sources),
        *notes.indirect(back.indirect),
        *notes.along(replaced.along),
        *unused,
        *notes.copies({name: tensors[name] for name in rest}, largest, tensors[largest]),
        *notes.optimizer(rest),
        *opened_with,
    )
    return Rewritten(out, len(replaced.names), notes.parts(rest, origin.prefix), said)


@contextlib.contextmanager
def _refusals(model: str) -> Iterator[None]:
    """Whatever keeps the file from being read and taken apart is why its layout cannot be written back."""
    try:
        yield
    except (CheckpointError, UnsafeCheckpointError, UsageError) as error:
        raise UsageError(
            f"The layout cannot be written back: {error.what}", where=model, do=INSTEAD
        ) from error


def _sources(origin: Origin, network: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> Sources:
    """Where the network's tensors came from; UsageError when `state` is not that of this network."""
    if odd := sorted(network.keys() ^ state.keys()):
        raise UsageError(
            f"The weights are not those of the encoder's network: {len(odd)} names differ (first: {odd[0]})"
        )
    sources = origin.sources()
    if not sources.keys() & state.keys():
        raise UsageError("The program holds its weights as constants, no tensor of its state can be replaced")
    return sources


def _head(
    projector: Mapping[str, Tensor] | None, tensors: Mapping[str, Tensor], origin: Origin, dim: int
) -> tuple[dict[str, tuple[Tensor, str]], tuple[str, ...]]:
    """The projector's tensors and their names in the file, or a sentence on why they are not written."""
    if projector is None:
        return {}, ()
    found = projector_of(tensors, origin.prefix, dim)
    if found is None:
        return {}, ("The file has no projector, so that the trained one was not written",)
    own = found.network.state_dict()
    if {n: t.shape for n, t in own.items()} != {n: t.shape for n, t in projector.items()}:
        return {}, ("The file's projector is as it was: training had another one",)
    return {HEAD + name: (projector[name], file) for name, file in found.files.items()}, ()


def _replace(copy: Path, tensors: Mapping[str, Tensor]) -> Replaced:
    if not is_model_folder(copy):
        return replace_tensors(copy, tensors)
    names: list[str] = []
    along: list[str] = []
    for file in weight_files(copy).names:
        inside = read_layout(copy / file).tensors
        done = replace_tensors(copy / file, {n: tensor for n, tensor in tensors.items() if n in inside})
        names += done.names
        along += done.along
    return Replaced(tuple(names), tuple(along))


# --------------------------------------------------------------------------------------------- looking again


def _compare_file(
    copy: Path, before: Mapping[str, Tensor], new: Mapping[str, Tensor], replaced: Replaced
) -> None:
    """Raises UsageError unless exactly the tensors that should have changed did."""
    found = (read_weights(copy) if is_model_folder(copy) else read_checkpoint(copy)).tensors
    changed = set(replaced.along)
    wrong = [n for n in before if n not in changed and not same_bits(found[n], new.get(n, before[n]))]
    if wrong or set(replaced.names) != set(new):
        raise UsageError(f"{len(wrong)} tensors are not as they should be in what was written")


def _compare_network(
    copy: Path, state: Mapping[str, Tensor], back: Returned, origin: Origin, options: Mapping[str, Any]
) -> tuple[str, ...]:
    """Open the copy as the original was opened and compare the network; a sentence if that takes another keyword."""
    program = origin.prefix == "" and not origin.container.startswith(("torch.save", "safetensors"))
    attempts = (
        [dict(options)] if program else [dict(options), {**options, "key": None, "prefix": origin.prefix}]
    )
    refusal: RepdiagError | None = None
    for number, keywords in enumerate(attempts):
        try:
            with torch.random.fork_rng(devices=[]):
                found = network_of(load_encoder(str(copy), **keywords).module).state_dict()
        except RepdiagError as error:
            refusal = refusal or error
            continue
        if not all(same_bits(found[n], made) for n, made in back.made.items() if n in state):
            continue
        _refuse_loss(back.absent, state, found)
        place = show(origin.prefix)
        again = f"The file's encoders differ now; this one is opened with --prefix {origin.prefix} ({place})"
        return (again,) if number else ()
    raise UsageError(
        "What was written gives another network when it is opened" + (f" ({refusal.what})" if refusal else "")
    ) from refusal


def _refuse_loss(absent: tuple[str, ...], state: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> None:
    """Raises UsageError when training changed a tensor that the file has no place for, counters and the like aside."""
    for name in absent:
        if not is_computed(name) and not torch.equal(state[name].detach().cpu(), found[name]):
            raise UsageError(f"The file has no place for the tensor {name}, which training changed")
