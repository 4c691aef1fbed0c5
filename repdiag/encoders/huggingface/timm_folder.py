"""Folders in timm's form: config.json names an architecture of timm and how images are prepared."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from repdiag.encoders import prefixes, weights, zoo
from repdiag.encoders.assemble import assemble
from repdiag.encoders.huggingface.folder import halves, read_weights
from repdiag.encoders.input import Preprocessing, doubt
from repdiag.encoders.origin import Origin, direct
from repdiag.encoders.preprocessing import of_library
from repdiag.encoders.sketch import Shape, is_computed, required
from repdiag.encoders.types import Encoder, Loading
from repdiag.errors import CheckpointError
from repdiag.quiet import quiet

FORBIDDEN = frozenset(
    {"pretrained", "pretrained_cfg", "pretrained_cfg_overlay", "checkpoint_path", "cache_dir", "num_classes"}
    | {"features_only", "scriptable", "exportable", "no_jit", "model_name"}
)
"""Arguments that would make timm fetch or open something, or build something else than the network."""


def matches(config: Mapping[str, Any]) -> bool:
    """Whether the config is timm's."""
    return isinstance(config.get("architecture"), str) and config.get("model_type") in (None, "timm_wrapper")


def load(folder: Path, config: Mapping[str, Any], wishes: Mapping[str, Any], **choices: Any) -> Encoder:
    """The encoder; CheckpointError when the weights are not those of the architecture."""
    where = str(folder)
    said = config["architecture"].partition(".")[0]  # what follows names a set of weights
    if said not in zoo.names("timm"):
        raise CheckpointError(
            f"The folder's architecture '{said[:80]}' is none that the installed timm knows",
            where=where,
            do="Update timm, if the model is newer",
        )
    arguments = config.get("model_args") or {}
    if not isinstance(arguments, Mapping) or FORBIDDEN & arguments.keys():
        raise CheckpointError("The folder's model_args are none of an architecture", where=where)
    build = functools.partial(_build, said, arguments, where)
    read = read_weights(folder)
    _demand_all(required(build().state_dict()), read.tensors, said, where)
    network = weights.filled(build, read.tensors, "")
    full = f"timm:{said}"
    known = _preprocessing(config, where) or of_library(full, network)
    state = network.state_dict()
    rest = [name for name in read.tensors if name not in state]
    loading = Loading(
        container=read.container,
        loaded=len(state.keys() & read.tensors.keys()),
        parameters=weights.count(network),
        dropped=tuple(name for name in rest if not is_computed(name)),
        missing=tuple(name for name in state if name not in read.tensors),
        ignored=tuple(name for name in rest if is_computed(name)),
        readings=(*read.notes, *halves(read.tensors)),
        stubbed=read.stubbed,
        warnings=(*read.warnings, *doubt(known, wishes["mean"])),
    )
    identity = f"{full} {json.dumps(arguments, sort_keys=True)}" if arguments else ""
    encoder = assemble(folder.resolve().name, full, network, known, loading, wishes, identity, **choices)
    sources = direct({name: name for name in state}, read.tensors)
    origin = Origin(where, read.container, read.sha256, lambda: sources)
    return dataclasses.replace(encoder, origin=origin)


def _build(architecture: str, arguments: Mapping[str, Any], where: str) -> nn.Module:
    import timm

    try:
        with quiet():
            network: nn.Module = timm.create_model(architecture, num_classes=0, **arguments)
    except Exception as error:  # the folder's arguments may be anything
        raise CheckpointError(
            f"timm cannot build {architecture} with the folder's model_args: {str(error)[:200]}", where=where
        ) from error
    return network.eval()


def _demand_all(
    wanted: Mapping[str, Shape], tensors: Mapping[str, torch.Tensor], name: str, where: str
) -> None:
    """Raises CheckpointError when a tensor is missing, of another shape, or too many."""
    shapes = {key: tuple(tensor.shape) for key, tensor in tensors.items()}
    gone, more = prefixes.lacking("", wanted, shapes), prefixes.overhang("", wanted, shapes)
    if gone:
        problem = f"lack {len(gone)} of its {len(wanted)} tensors (first: {', '.join(gone[:3])})"
    elif more:
        problem = f"have {len(more)} tensors that it has no place for (first: {', '.join(more[:3])})"
    else:
        return
    raise CheckpointError(f"timm:{name}: the folder's weights {problem}", where=where)


def _preprocessing(config: Mapping[str, Any], where: str) -> Preprocessing | None:
    """What the folder says, None when it says nothing."""
    said = config.get("pretrained_cfg") or config
    if "mean" not in said or "input_size" not in said:
        return None
    try:
        channels, _, size = map(int, said["input_size"])
        share = float(said.get("crop_pct") or 1)
        return Preprocessing(
            size,
            max(size, math.floor(size / share)),
            "bilinear" if said.get("interpolation") == "bilinear" else "bicubic",
            tuple(map(float, said["mean"])),
            tuple(map(float, said["std"])),
            channels,
            "the folder's config.json",
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"The folder's pretrained_cfg makes no sense: {error}", where=where) from error
