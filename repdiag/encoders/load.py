"""`load_encoder`: the one way from a user's MODEL argument to an Encoder."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from repdiag.checkpoints import Checkpoint, read_checkpoint
from repdiag.encoders import prefixes, preprocessing, recipe, weights, zoo
from repdiag.encoders.assemble import assemble
from repdiag.encoders.sketch import OPTIONAL
from repdiag.encoders.types import Encoder, Loading
from repdiag.errors import CheckpointError, UnsafeCheckpointError, UsageError


def load_encoder(
    model: str,
    *,
    arch: str | None = None,
    pretrained: bool = False,
    key: str | None = None,
    prefix: str | None = None,
    trust_pickle: bool = False,
    size: int | None = None,
    resize: int | None = None,
    interpolation: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Encoder:
    """The encoder that `model` names: `timm:NAME`, `torchvision:NAME` or a checkpoint's path.

    A name gives seeded random weights, or with `pretrained` those of the library's hub. Of a file, the
    architecture is found from the tensors' names and shapes unless `arch` tells it; `key` and `prefix` say
    where in the file the backbone is. `trust_pickle` lets a pickle run its code. `size`, `resize` (pixels),
    `interpolation`, `mean` and `std` (per channel, for values in [0, 1]) override what is known of the input.
    Raises UsageError, CheckpointError or UnsafeCheckpointError.
    """
    wishes: dict[str, Any] = {
        "size": size, "resize": resize, "interpolation": interpolation, "mean": mean, "std": std
    }  # fmt: skip
    if model.partition(":")[0] in zoo.LIBRARIES and ":" in model:
        given = {"--arch": arch, "--key": key, "--prefix": prefix, "--trust-pickle": trust_pickle or None}
        if wrong := [flag for flag, value in given.items() if value is not None]:
            raise UsageError(f"{', '.join(wrong)} tell about a checkpoint file, but {model} is a name")
        return _named(model, pretrained, wishes)
    if pretrained:
        raise UsageError("--pretrained goes with timm:NAME or torchvision:NAME, not with a file")
    checkpoint = _read(model, trust_pickle)
    if arch is None:
        arch, checkpoint = _said_architecture(checkpoint)
    if checkpoint.module is None or arch is not None:
        return _network(model, checkpoint, arch, key, prefix, wishes)
    if checkpoint.container.startswith("torch.save"):  # a trusted pickle of a whole module, its head included
        with contextlib.suppress(CheckpointError):
            return _network(model, checkpoint, None, key, prefix, wishes)
    if key is not None or prefix is not None:
        raise UsageError(f"--key and --prefix do not go with a {checkpoint.container} program", where=model)
    return _program(model, checkpoint, wishes)


def _said_architecture(checkpoint: Checkpoint) -> tuple[str | None, Checkpoint]:
    """The architecture that the file's metadata name, if the installed libraries have it.

    The file's word is a hint (the tensors must fit all the same) and never a path of code to run.
    """
    said = checkpoint.metadata.get("repdiag.architecture")
    if said is None or said == "cifar-resnet":
        return said, checkpoint
    try:
        zoo.split(said)
    except UsageError:
        note = (
            f"the file names an architecture that is not known here ({said[:80]}); it was looked for instead"
        )
        return None, dataclasses.replace(checkpoint, warnings=(*checkpoint.warnings, note))
    return said, checkpoint


def _read(model: str, trust_pickle: bool) -> Checkpoint:
    try:
        return read_checkpoint(model, trust_pickle=trust_pickle)
    except CheckpointError:
        if "/" not in model and not Path(model).exists():
            for library in zoo.LIBRARIES:
                if model in zoo.names(library):
                    do = f"For the architecture of that name write {library}:{model}"
                    raise CheckpointError("There is no such file", where=model, do=do) from None
        raise


def _named(model: str, pretrained: bool, wishes: Mapping[str, Any]) -> Encoder:
    plan = recipe.from_zoo(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # untrained weights are the same in every run
        network = zoo.build(plan.name, pretrained=pretrained)
    state = network.state_dict()
    warning = (
        "untrained weights: the features are those of a random network (--pretrained loads trained ones)"
    )
    loading = Loading(
        container="timm's or torchvision's hub" if pretrained else "none (random weights)",
        loaded=len(state),
        parameters=weights.count(network),
        warnings=() if pretrained else (warning,),
    )
    known = plan.preprocessing(network)
    return assemble(model, plan.name, network, known, loading, wishes)


def _network(
    model: str,
    checkpoint: Checkpoint,
    arch: str | None,
    key: str | None,
    prefix: str | None,
    wishes: Mapping[str, Any],
) -> Encoder:
    """The encoder of a file of tensors."""
    tensors = checkpoint.tensors
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    try:
        if arch is not None:
            fit = recipe.given(arch, shapes, key, prefix, model)
        else:
            fit = recipe.find(shapes, key, prefix, model)
    except CheckpointError as error:
        modules = [name for name in checkpoint.stubbed if name.startswith("torch.nn.modules.")]
        if not modules:
            raise
        raise UnsafeCheckpointError(
            f"The file holds whole pickled modules ({modules[0]}, ...), which cannot be opened without running"
            " its code, and no encoder beside them",
            where=model,
            do="Save the model's state_dict(), or pass --trust-pickle if you trust whoever made the file",
        ) from error
    start, readings = prefixes.settle(fit.prefixes, fit.required, tensors)
    network = weights.filled(fit.recipe.build, tensors, start)
    said = preprocessing.of_metadata(checkpoint.metadata, model)
    known = said or fit.recipe.preprocessing(network)
    warnings = fit.recipe.warnings + preprocessing.doubt(known, wishes["mean"])
    loading = _account(checkpoint, network, start, readings, fit.recipe.alternatives, warnings)
    return assemble(Path(model).name, fit.recipe.name, network, known, loading, wishes, fit.recipe.identity)


def _account(
    checkpoint: Checkpoint,
    network: nn.Module,
    start: str,
    readings: tuple[str, ...],
    alternatives: tuple[str, ...],
    warnings: tuple[str, ...],
) -> Loading:
    """What became of every tensor of the file."""
    state = network.state_dict()
    used = {start + name for name in state}
    rest = [name for name in checkpoint.tensors if name not in used]
    ignored = [n for n in rest if n.startswith(start) and n.rpartition(".")[2] in prefixes.IGNORED]
    half = {str(checkpoint.tensors[n].dtype) for n in used & checkpoint.tensors.keys()} & {
        "torch.float16",
        "torch.bfloat16",
    }
    notes = tuple(f"weights stored as {dtype} are computed in float32" for dtype in sorted(half))
    return Loading(
        container=checkpoint.container,
        prefix=start,
        loaded=len(used & checkpoint.tensors.keys()),
        parameters=weights.count(network),
        dropped=tuple(n for n in rest if n not in set(ignored)),
        missing=tuple(
            n for n in state if start + n not in checkpoint.tensors and n.rpartition(".")[2] in OPTIONAL
        ),
        ignored=tuple(ignored),
        alternatives=alternatives,
        readings=readings + notes,
        stubbed=checkpoint.stubbed,
        warnings=checkpoint.warnings + warnings,
    )


def _program(model: str, checkpoint: Checkpoint, wishes: Mapping[str, Any]) -> Encoder:
    """The encoder of a file that brings its own forward pass."""
    network = checkpoint.module
    assert network is not None
    shape = [int(n) for n in checkpoint.metadata.get("input_shape", "").split(",") if n.isdigit()]
    known = preprocessing.of_metadata(checkpoint.metadata, model)
    warnings: tuple[str, ...] = checkpoint.warnings
    if known is None:
        size = shape[-1] if len(shape) >= 2 and shape[-1] == shape[-2] else 224
        channels = shape[-3] if len(shape) >= 3 and shape[-3] in (1, 3) else 3
        origin = f"assumed for {checkpoint.container}: {size}x{size} pixels, ImageNet's mean and std"
        known = preprocessing.imagenet(size, size if shape else 256, channels, origin)
        warnings += preprocessing.doubt(known, wishes["mean"])
    loading = Loading(
        container=checkpoint.container,
        loaded=len(checkpoint.tensors),
        parameters=sum(tensor.numel() for tensor in checkpoint.tensors.values()),
        readings=("the program's own output is taken as the representation, a head included if it has one",),
        stubbed=checkpoint.stubbed,
        warnings=warnings,
    )
    architecture = f"{checkpoint.container} program"
    # the operations are part of the file, so that equal weights alone do not make equal encoders
    identity = f"{architecture} {checkpoint.sha256}"
    return assemble(Path(model).name, architecture, network, known, loading, wishes, identity)
