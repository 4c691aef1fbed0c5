"""From a model folder (or a safetensors file that was exported from one) to an Encoder."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repdiag.checkpoints import Checkpoint, TensorInfo
from repdiag.encoders.assemble import assemble
from repdiag.encoders.huggingface import processor, timm_folder, transformers_model
from repdiag.encoders.huggingface.folder import Weights, halves, read_weights
from repdiag.encoders.huggingface.learning import learned
from repdiag.encoders.input import Preprocessing, doubt, of_metadata, override
from repdiag.encoders.model_folder import CONFIG, read_json
from repdiag.encoders.origin import Origin
from repdiag.encoders.types import Encoder, Loading
from repdiag.errors import CheckpointError, UnsafeCheckpointError

LIBRARY = "transformers:"
"""Begins the architecture's name of an encoder that transformers builds."""


def is_saved(checkpoint: Checkpoint) -> bool:
    """Whether the file was exported from such a folder and carries its config."""
    return checkpoint.metadata.get("repdiag.architecture", "").startswith(LIBRARY)


def load(model: str, wishes: Mapping[str, Any], **choices: Any) -> Encoder:
    """The encoder in the folder `model`; `wishes` and `choices` are those of `assemble`.

    Raises UnsafeCheckpointError when the folder's network is code of its own, CheckpointError when weights and
    config do not fit together, and UsageError when transformers is not installed.
    """
    folder = Path(model)
    config = read_json(folder / CONFIG)
    _refuse_code(config, folder)
    if timm_folder.matches(config):
        return timm_folder.load(folder, config, wishes, **choices)
    network_class, parsed = transformers_model.parse(config, str(folder))
    weights = read_weights(folder)
    size, channels = transformers_model.input_of(parsed)
    known, notes = processor.of_folder(folder, size, channels)
    name = folder.resolve().name
    return _encoder(name, str(folder), network_class, parsed, weights, known, notes, wishes, choices)


def load_saved(model: str, checkpoint: Checkpoint, wishes: Mapping[str, Any], **choices: Any) -> Encoder:
    """The encoder in a safetensors file that `repdiag export` made of a folder."""
    try:
        config = json.loads(checkpoint.metadata["repdiag.config"])
        known = of_metadata(checkpoint.metadata, model)
        if not isinstance(config, dict) or known is None:
            raise ValueError
    except (KeyError, ValueError, RecursionError) as error:
        raise CheckpointError(
            "The file names an architecture of transformers but lacks its config or preprocessing",
            where=model,
        ) from error
    _refuse_code(config, Path(model))
    network_class, parsed = transformers_model.parse(config, model)
    weights = Weights(
        checkpoint.container, checkpoint.tensors, checkpoint.sha256, (), (), checkpoint.warnings
    )
    return _encoder(Path(model).name, model, network_class, parsed, weights, known, (), wishes, choices)


def _refuse_code(config: Mapping[str, Any], where: Path) -> None:
    auto = config.get("auto_map")
    if auto:
        named = ", ".join(map(str, auto.values())) if isinstance(auto, Mapping) else str(auto)
        raise UnsafeCheckpointError(
            f"The folder's config.json asks to run Python code that comes with the weights ({named[:200]})",
            where=str(where),
            do="Use a version of the model that transformers has built in (no auto_map in its config.json), or"
            " export it to TorchScript where you trust it",
        )
    if config.get("quantization_config"):
        raise CheckpointError(
            "The folder's weights are quantized", where=str(where), do="Use the full-precision weights"
        )


def _encoder(
    name: str,
    where: str,
    network_class: Any,
    config: Any,
    weights: Weights,
    known: Preprocessing,
    notes: tuple[str, ...],
    wishes: Mapping[str, Any],
    choices: Mapping[str, Any],
) -> Encoder:
    size = override(known, **wishes).size
    built = transformers_model.build(network_class, config, weights.tensors, size, where)
    loading = Loading(
        container=weights.container,
        loaded=built.loaded,
        parameters=built.parameters,
        dropped=built.dropped,
        missing=built.missing,
        ignored=built.ignored,
        readings=(
            *built.readings,
            *built.network.resampled(size),
            *weights.notes,
            *halves(weights.tensors),
        ),
        stubbed=weights.stubbed,
        warnings=(*weights.warnings, *notes, *doubt(known, wishes["mean"])),
    )
    architecture = f"{LIBRARY}{network_class.__name__}"
    encoder = assemble(
        name,
        architecture,
        built.network,
        known,
        loading,
        wishes,
        f"{architecture} {built.identity}",
        **choices,
    )
    infos = {
        tensor: TensorInfo(tuple(found.shape), str(found.dtype).removeprefix("torch."))
        for tensor, found in weights.tensors.items()
    }
    origin = Origin(where, weights.container, weights.sha256, lambda: learned(built.fill, infos))
    return dataclasses.replace(encoder, origin=origin)
