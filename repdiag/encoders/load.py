"""`load_encoder`: the one way from a user's MODEL argument to an Encoder."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from repdiag.checkpoints import Checkpoint, read_checkpoint
from repdiag.encoders import finding, huggingface, methods, prefixes, recipe, weights, zoo
from repdiag.encoders.assemble import assemble
from repdiag.encoders.chosen import as_the_file_says
from repdiag.encoders.hints import BY_USER, by_user, said_by_file
from repdiag.encoders.input import Preprocessing, doubt, imagenet, of_metadata
from repdiag.encoders.kept import said_by_file as said_kept
from repdiag.encoders.model_folder import is_model_folder
from repdiag.encoders.origin import Origin, direct
from repdiag.encoders.sketch import is_computed
from repdiag.encoders.translations import View
from repdiag.encoders.types import Encoder, Loading
from repdiag.encoders.wanted import Wanted
from repdiag.errors import CheckpointError, UnsafeCheckpointError, UsageError


def load_encoder(
    model: str,
    *,
    arch: str | None = None,
    pretrained: bool = False,
    key: str | None = None,
    prefix: str | None = None,
    trust_pickle: bool = False,
    stem_padding: int | None = None,
    max_pool: bool | None = None,
    heads: int | None = None,
    size: int | None = None,
    resize: int | None = None,
    interpolation: str | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    layer: str | Sequence[str] | None = None,
    pool: str | None = None,
    l2: bool | None = None,
) -> Encoder:
    """The encoder that `model` names: `timm:NAME`, `torchvision:NAME` or a checkpoint's path.

    A name gives seeded random weights, or with `pretrained` those of the library's hub. Of a file, the
    architecture is found from the tensors' names and shapes unless `arch` tells it; `key` and `prefix` say
    where in the file the backbone is. `trust_pickle` lets a pickle run its code. `stem_padding` (pixels) and
    `max_pool` tell what the shapes of a ResNet's stem cannot, `heads` those of a ViT's attention. `size`,
    `resize` (pixels), `interpolation`, `mean` and `std` (per channel, for values in [0, 1]) override what is
    known of the input. `layer`, `pool` and `l2` choose the features (`features.select`).
    Raises UsageError, CheckpointError or UnsafeCheckpointError.
    """
    wishes: dict[str, Any] = {
        "size": size, "resize": resize, "interpolation": interpolation, "mean": mean, "std": std
    }  # fmt: skip
    choices: dict[str, Any] = {"layer": layer, "pool": pool, "l2": l2}
    options = wishes | {
        "arch": arch, "key": key, "prefix": prefix, "trust_pickle": trust_pickle, "stem_padding": stem_padding,
        "max_pool": max_pool, "heads": heads,
    }  # fmt: skip
    about_a_file = {
        "--arch": arch, "--key": key, "--prefix": prefix, "--trust-pickle": trust_pickle or None,
        "--stem-padding": stem_padding, "--max-pool": max_pool, "--heads": heads,
    }  # fmt: skip
    given = ", ".join(flag for flag, value in about_a_file.items() if value is not None)
    if model.partition(":")[0] in zoo.LIBRARIES and ":" in model:
        if given:
            raise UsageError(f"{given} tell about a checkpoint file, but {model} is a name")
        return _named(model, pretrained, wishes, choices)
    if pretrained:
        raise UsageError("--pretrained goes with timm:NAME or torchvision:NAME, not with a file")
    if is_model_folder(Path(model)):
        if given:
            raise UsageError(f"{given} tell about a checkpoint file, but this is a model folder", where=model)
        return _opened_with(huggingface.load(model, wishes, **choices), options)
    try:
        hints = by_user(stem_padding, max_pool, heads)
    except ValueError as error:
        raise UsageError(f"The network makes no sense: {error}") from error
    wanted = Wanted(model, key, prefix, hints)
    checkpoint = _read(model, trust_pickle)
    kept = said_kept(checkpoint.metadata, model)
    found = _opened_with(_of_file(checkpoint, arch, wanted, wishes, choices), options)
    return as_the_file_says(found, kept, model)


def _opened_with(encoder: Encoder, options: Mapping[str, Any]) -> Encoder:
    """The encoder that also knows the keywords that its file was opened with (those about features aside)."""
    assert encoder.origin is not None
    given = {name: value for name, value in options.items() if value is not None}
    return dataclasses.replace(encoder, origin=dataclasses.replace(encoder.origin, options=given))


def _of_file(
    checkpoint: Checkpoint,
    arch: str | None,
    wanted: Wanted,
    wishes: Mapping[str, Any],
    choices: Mapping[str, Any],
) -> Encoder:
    """The encoder in a checkpoint file, with all the features that are asked for."""
    model = wanted.where
    if arch is None and huggingface.is_saved(checkpoint):
        return huggingface.load_saved(model, checkpoint, wishes, **choices)
    if arch is None:
        arch, checkpoint = _said_architecture(checkpoint)
    if checkpoint.module is None or arch is not None:
        return _network(checkpoint, arch, wanted, wishes, choices)
    if checkpoint.container.startswith("torch.save"):  # a trusted pickle of a whole module, its head included
        with contextlib.suppress(CheckpointError):
            return _network(checkpoint, None, wanted, wishes, choices)
    if wanted.key is not None or wanted.prefix is not None:
        raise UsageError(f"--key and --prefix do not go with a {checkpoint.container} program", where=model)
    return _program(model, checkpoint, wishes, choices)


def _said_architecture(checkpoint: Checkpoint) -> tuple[str | None, Checkpoint]:
    """The architecture that the file's metadata name, if the installed libraries have it.

    The file's word is a hint (the tensors must fit all the same) and never a path of code to run.
    """
    said = checkpoint.metadata.get("repdiag.architecture")
    if said is None or said in finding.FROM_SHAPES:
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


def _named(model: str, pretrained: bool, wishes: Mapping[str, Any], choices: Mapping[str, Any]) -> Encoder:
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
    loading = dataclasses.replace(loading, readings=_resized(network, known, wishes))
    return assemble(model, plan.name, network, known, loading, wishes, **choices)


def _network(
    checkpoint: Checkpoint,
    arch: str | None,
    wanted: Wanted,
    wishes: Mapping[str, Any],
    choices: Mapping[str, Any],
) -> Encoder:
    """The encoder of a file of tensors."""
    tensors = checkpoint.tensors
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    wanted = dataclasses.replace(
        wanted, hints=wanted.hints.over(said_by_file(checkpoint.metadata, wanted.where))
    )
    guessed = methods.guess(shapes)
    if guessed is not None:
        wanted = dataclasses.replace(wanted, hints=wanted.hints.over(guessed.hints))
    try:
        fit = finding.find(shapes, wanted) if arch is None else finding.given(arch, shapes, wanted)
    except CheckpointError as error:
        modules = [name for name in checkpoint.stubbed if name.startswith("torch.nn.modules.")]
        if not modules:
            raise
        raise UnsafeCheckpointError(
            f"The file holds whole pickled modules ({modules[0]}, ...), which cannot be opened without running"
            " its code, and no encoder beside them",
            where=wanted.where,
            do="Save the model's state_dict(), or pass --trust-pickle if you trust whoever made the file",
        ) from error
    if unheeded := [option for option in wanted.hints.options(BY_USER) if option not in fit.recipe.heeds]:
        raise UsageError(
            f"{', '.join(unheeded)} cannot be set for {fit.recipe.name}",
            where=wanted.where,
            do="Of networks that are read off the shapes, ResNets take --stem-padding and --max-pool, ViTs --heads",
        )

    def same(a: str, b: str) -> bool:
        first, second = fit.view.tensor(a, tensors), fit.view.tensor(b, tensors)
        return first.dtype == second.dtype and torch.equal(first, second)

    settled = prefixes.settle(fit.prefixes, fit.names, same, guessed.name if guessed else None)
    if settled.prefix is None:
        raise prefixes.undecided(settled)
    network = weights.filled(fit.recipe.build, _Under(fit.view, tensors), settled.prefix)
    said = of_metadata(checkpoint.metadata, wanted.where)
    known = said or fit.recipe.preprocessing(network)
    readings = (*settled.notes, *fit.readings, *_resized(network, known, wishes))
    loading = _account(checkpoint, network, fit, settled.prefix)
    loading = dataclasses.replace(
        loading,
        method=guessed.name if guessed else "",
        readings=readings + loading.readings,
        warnings=(*checkpoint.warnings, *fit.recipe.warnings, *doubt(known, wishes["mean"])),
    )
    name = Path(wanted.where).name
    more = {**choices, "tensors": tensors}
    encoder = assemble(name, fit.recipe.name, network, known, loading, wishes, fit.recipe.identity, **more)
    view, start = fit.view.sources, settled.prefix
    sources = {own: view[start + own] for own in network.state_dict() if start + own in view}
    origin = Origin(wanted.where, checkpoint.container, checkpoint.sha256, lambda: sources, start)
    return dataclasses.replace(encoder, origin=origin)


class _Under(Mapping[str, torch.Tensor]):
    """A view's tensors, each made when it is asked for."""

    def __init__(self, view: View, tensors: Mapping[str, torch.Tensor]) -> None:
        self.view, self.tensors = view, tensors

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.view.tensor(name, self.tensors)

    def __iter__(self) -> Iterator[str]:
        return iter(self.view.sources)

    def __len__(self) -> int:
        return len(self.view.sources)


def _resized(network: nn.Module, known: Preprocessing, wishes: Mapping[str, Any]) -> tuple[str, ...]:
    """Make a network of position embeddings ready for the size that the user wants; a sentence if it was."""
    size = wishes["size"]
    if size is None or size == known.size or not hasattr(network, "set_input_size"):
        return ()
    patch = getattr(getattr(network, "patch_embed", None), "patch_size", None)
    if isinstance(patch, tuple) and any(
        size % side for side in patch
    ):  # timm would cut the rest off silently
        raise UsageError(
            f"Images of {size} pixels cannot be cut into the network's patches of {patch[0]}",
            do=f"Choose a multiple of {patch[0]} for --size",
        )
    try:
        network.set_input_size(img_size=(size, size))  # type: ignore[operator]
    except Exception as error:  # timm asserts what fits its patches and windows
        raise UsageError(
            f"The network cannot take images of {size} pixels: {(str(error) or type(error).__name__)[:200]}",
            do="Choose a multiple of its patch size",
        ) from error
    return (f"position embeddings for {known.size} pixels were resampled (bicubic) to {size}",)


def _account(checkpoint: Checkpoint, network: nn.Module, fit: finding.Fit, start: str) -> Loading:
    """What became of every tensor of the file."""
    state = network.state_dict()
    sources = fit.view.sources
    used = {origin for name in state if start + name in sources for origin in sources[start + name].names}
    rest = [name for name in checkpoint.tensors if name not in used]
    ignored = [n for n in rest if n.startswith(start) and is_computed(n)]
    half = {str(checkpoint.tensors[n].dtype) for n in used} & {"torch.float16", "torch.bfloat16"}
    return Loading(
        container=checkpoint.container,
        prefix=start,
        loaded=sum(start + name in sources for name in state),
        parameters=weights.count(network),
        dropped=tuple(n for n in rest if n not in set(ignored)),
        missing=tuple(n for n in state if start + n not in sources),
        ignored=tuple(ignored),
        alternatives=fit.recipe.alternatives,
        readings=tuple(f"weights stored as {dtype} are computed in float32" for dtype in sorted(half)),
        stubbed=checkpoint.stubbed,
    )


def _program(
    model: str, checkpoint: Checkpoint, wishes: Mapping[str, Any], choices: Mapping[str, Any]
) -> Encoder:
    """The encoder of a file that brings its own forward pass."""
    network = checkpoint.module
    assert network is not None
    shape = [int(n) for n in checkpoint.metadata.get("input_shape", "").split(",") if n.isdigit()]
    known = of_metadata(checkpoint.metadata, model)
    warnings: tuple[str, ...] = checkpoint.warnings
    if known is None:
        size = shape[-1] if len(shape) >= 2 and shape[-1] == shape[-2] else 224
        channels = shape[-3] if len(shape) >= 3 and shape[-3] in (1, 3) else 3
        origin = f"assumed for {checkpoint.container}: {size}x{size} pixels, ImageNet's mean and std"
        known = imagenet(size, size if shape else 256, channels, origin)
        warnings += doubt(known, wishes["mean"])
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
    encoder = assemble(Path(model).name, architecture, network, known, loading, wishes, identity, **choices)
    # torch.export's programs are run by a module around them (`checkpoints.program`)
    names = {own: own.removeprefix("program.") for own in network.state_dict()}
    sources = direct(names, checkpoint.tensors)
    place = Origin(model, checkpoint.container, checkpoint.sha256, lambda: sources)
    return dataclasses.replace(encoder, origin=place)
