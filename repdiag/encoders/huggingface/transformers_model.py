"""Config and tensors to a model of transformers, with every tensor accounted for."""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from repdiag.encoders import weights
from repdiag.encoders.huggingface.folder import floats
from repdiag.encoders.huggingface.vision import Vision
from repdiag.encoders.sketch import is_computed
from repdiag.errors import CheckpointError, UsageError
from repdiag.quiet import quiet
from repdiag.registry import did_you_mean

RUNTIME = frozenset(
    {
        "attn_implementation",  # can name kernels that would be fetched from the hub
        "experts_implementation",
        "torch_dtype",  # tensors are computed in float32 whatever they are stored as
        "dtype",
        "return_dict",
        "use_return_dict",
        "output_attentions",
        "output_hidden_states",
        "use_pretrained_backbone",
    }
)
"""Entries of a config that say how to run it, or would fetch something: they are left out."""

LABELS = frozenset(
    {"transformers_version", "name_or_path", "architectures", "id2label", "label2id", "num_labels"}
    | {"problem_type", "finetuning_task", "mask_ratio"}
)
"""Entries that do not change what the encoder computes (it sees all patches whatever the mask ratio)."""

SPARE = ("mask_token",)
"""Last name components of parameters that a plain forward pass does not use."""


@dataclass(frozen=True)
class Built:
    """The network, what became of the tensors, and a hash of everything in the config that matters.

    `fill` makes another such network's tensors of other tensors of the file, by the network's names; those that the
    file does not give are left out.
    """

    network: Vision
    identity: str
    loaded: int
    parameters: int
    dropped: tuple[str, ...]
    missing: tuple[str, ...]
    ignored: tuple[str, ...]
    readings: tuple[str, ...]
    fill: Callable[[Mapping[str, torch.Tensor]], dict[str, torch.Tensor]]


def library() -> Any:
    """transformers; UsageError with the way out when it is not installed."""
    try:
        import transformers
    except ImportError as error:
        raise UsageError(
            "To open a Hugging Face model folder, transformers must be installed",
            do="Run: pip install 'repdiag[hf]'",
        ) from error
    return transformers


def parse(config: Mapping[str, Any], where: str) -> tuple[Any, Any]:
    """The model's class and its parsed config; of a model for images and text, those of the image tower.

    Raises CheckpointError when transformers does not know the model or it takes no images.
    """
    transformers = library()
    kind = config.get("model_type")
    known = transformers.CONFIG_MAPPING
    if not isinstance(kind, str) or kind not in known:
        names = [name for name in known.keys() if isinstance(name, str)]  # noqa: SIM118 - lazy mapping
        said = "names no model_type" if kind is None else f"has the model_type {str(kind)[:80]!r}"
        close = did_you_mean(str(kind), names)
        raise CheckpointError(
            f"The config.json {said}, which transformers {transformers.__version__} does not know",
            where=where,
            do=close if close.startswith("Did") else "Update transformers, if the model is newer",
        )
    with _silent(), _config_errors(where):
        parsed = known[kind].from_dict(_plain(config))
        network_class = _class_of(transformers, parsed)
        if network_class is None or network_class.main_input_name != "pixel_values":
            tower = getattr(parsed, "vision_config", None)
            found = None if tower is None else _class_of(transformers, tower)
            if found is None or found.main_input_name != "pixel_values":
                name = network_class.__name__ if network_class else kind
                raise CheckpointError(f"The folder's model ({name}) is no image encoder", where=where)
            network_class, parsed = found, tower
    return network_class, parsed


def _class_of(transformers: Any, parsed: Any) -> Any:
    found = transformers.MODEL_MAPPING.get(type(parsed), None)
    return found[0] if isinstance(found, (tuple, list)) else found


def _plain(config: Mapping[str, Any]) -> dict[str, Any]:
    """The config without what says how to run it, its inner configs included."""
    kept = {k: v for k, v in config.items() if k not in RUNTIME and not k.startswith("_")}
    return {k: _plain(v) if isinstance(v, Mapping) else v for k, v in kept.items()}


def input_of(parsed: Any) -> tuple[int, int]:
    """Image size and channels that the config names (224 and 3 where it does not)."""
    size = getattr(parsed, "image_size", None) or 224
    return int(size[-1] if isinstance(size, (list, tuple)) else size), int(
        getattr(parsed, "num_channels", None) or 3
    )


def essence(parsed: Any) -> dict[str, Any]:
    """The config's entries that a network is built from, in plain JSON types."""
    everything = json.loads(json.dumps(parsed.to_dict(), default=str))
    return {k: v for k, v in _plain(everything).items() if k not in LABELS} | {
        "model_type": parsed.model_type
    }


def build(
    network_class: Any, parsed: Any, tensors: Mapping[str, torch.Tensor], size: int, where: str
) -> Built:
    """The model with the folder's tensors in it; CheckpointError when any that matters is missing or left over.

    It is tried on one image of `size` pixels.

    transformers is given the tensors, not the files; it translates the names of its earlier versions.
    """
    state = floats(tensors, where)
    if hasattr(parsed, "mask_ratio"):
        parsed.mask_ratio = 0.0
    options: dict[str, Any] = {}
    model, report = _filled(network_class, parsed, state, options, where)
    poolers = [name for name in report["missing_keys"] if "pooler" in name.split(".")]
    if poolers and "add_pooling_layer" in inspect.signature(network_class.__init__).parameters:
        options["add_pooling_layer"] = False
        model, report = _filled(network_class, parsed, state, options, where)
    own = model.state_dict()
    missing = [name for name in report["missing_keys"] if not is_computed(name)]
    spare = [name for name in missing if name.rpartition(".")[2] in SPARE]
    _demand_all(network_class.__name__, own, [n for n in missing if n not in spare], report, where)
    for name in spare:
        own[name].zero_()
    left = sorted(report["unexpected_keys"])
    dropped = [name for name in left if not is_computed(name) and not name.endswith("position_ids")]
    inside = _inside(dropped, own, getattr(network_class, "base_model_prefix", ""))
    if inside:
        raise CheckpointError(
            f"The weights have {len(inside)} more tensors inside the parts of {network_class.__name__} than its"
            f" config.json describes (first: {inside[0]})",
            where=where,
            do="The config.json belongs to another model; download both from the same place",
        )
    made_for, channels = input_of(parsed)
    patch = getattr(parsed, "patch_size", 1)
    patch = int(patch[0] if isinstance(patch, (list, tuple)) else patch)
    network = Vision(weights.frozen(model), essence(parsed), made_for, patch)
    taken = _choose(network, torch.zeros(1, channels, size, size), where)
    described = json.dumps(network.config, sort_keys=True) + network.takes

    def fill(given: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        filled, told = _filled(network_class, parsed, given, options, where)
        absent = set(told["missing_keys"])
        return {f"model.{name}": t for name, t in filled.state_dict().items() if name not in absent}

    return Built(
        network,
        hashlib.sha256(described.encode()).hexdigest(),
        loaded=len(own) - len(report["missing_keys"]),
        parameters=weights.count(model),
        dropped=tuple(dropped),
        missing=tuple(sorted({*report["missing_keys"], *poolers})),
        ignored=tuple(name for name in left if name not in set(dropped)),
        readings=(taken, *_masking(network)),
        fill=fill,
    )


def _filled(
    network_class: Any, parsed: Any, state: Mapping[str, torch.Tensor], options: Mapping[str, Any], where: str
) -> tuple[torch.nn.Module, Mapping[str, Any]]:
    """The model, and what transformers says about the keys."""
    with _silent(), _all_keys_told(network_class), torch.random.fork_rng(devices=[]), _config_errors(where):
        model, report = network_class.from_pretrained(
            None,
            config=parsed,
            state_dict=dict(state),
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            **options,
        )
    if messages := report.get("error_msgs"):
        raise CheckpointError(
            f"The weights do not fit the config.json: {str(messages[0])[:200]}", where=where
        )
    return model.float(), report


def _demand_all(
    name: str, own: Mapping[str, torch.Tensor], missing: list[str], report: Mapping[str, Any], where: str
) -> None:
    if report["mismatched_keys"]:
        first = min(report["mismatched_keys"])
        key, shapes = (first[0], first[1:]) if isinstance(first, tuple) else (first, ())
        detail = (
            f" is {tuple(shapes[0])}, not {tuple(shapes[1])}" if len(shapes) == 2 else " has another shape"
        )
        raise CheckpointError(
            f"{len(report['mismatched_keys'])} tensors do not fit the config.json: {key}{detail}", where=where
        )
    if missing:
        raise CheckpointError(
            f"{name}: the weights lack {len(missing)} of its {len(own)} tensors"
            f" (first: {', '.join(sorted(missing)[:3])})",
            where=where,
            do="config.json and weights must be of the same model; download both from the same place",
        )


def _inside(dropped: list[str], own: Mapping[str, torch.Tensor], prefix: str) -> list[str]:
    """Left-over tensors that would belong to a larger network of the same kind."""
    parts = {name.partition(".")[0] for name in own if "." in name} - {"pooler", "head"}
    starts = tuple(f"{start}." for start in {prefix, "vision_model"} if start)
    found = []
    for name in dropped:
        bare = next((name[len(start) :] for start in starts if name.startswith(start)), name)
        if bare.partition(".")[0] in parts and bare.rpartition(".")[2] not in SPARE:
            found.append(name)
    return found


def _choose(network: Vision, image: torch.Tensor, where: str) -> str:
    try:
        with torch.random.fork_rng(devices=[]):
            return network.choose(image)
    except Exception as error:  # any model may refuse
        text = (str(error).strip() or type(error).__name__).splitlines()[-1][:200]
        size = "x".join(map(str, image.shape[1:]))
        raise CheckpointError(
            f"The model cannot take an image of {size}: {text}", where=where, do="Set another with --size"
        ) from error


def _masking(network: Vision) -> tuple[str, ...]:
    if not network.masks:
        return ()
    return ("random masking is off: all patches are seen, in their order",)


@contextlib.contextmanager
def _all_keys_told(network_class: Any) -> Iterator[None]:
    """A class can keep some missing keys from the report; not here."""
    names = ("_keys_to_ignore_on_load_missing", "_keys_to_ignore_on_load_unexpected")
    before = {name: network_class.__dict__[name] for name in names if name in network_class.__dict__}
    for name in names:
        setattr(network_class, name, None)
    try:
        yield
    finally:
        for name in names:
            if name in before:
                setattr(network_class, name, before[name])
            else:
                delattr(network_class, name)


@contextlib.contextmanager
def _config_errors(where: str) -> Iterator[None]:
    """A config may be wrong in any way; the libraries then fail in any way."""
    try:
        yield
    except (CheckpointError, UsageError, KeyboardInterrupt, MemoryError):
        raise
    except Exception as error:
        text = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise CheckpointError(
            f"The config.json cannot be used: {type(error).__name__}: {text}", where=where
        ) from error


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Without transformers' progress bars, tables and advice."""
    own = library().utils.logging
    bars = own.is_progress_bar_enabled()
    own.disable_progress_bar()
    try:
        with quiet():
            yield
    finally:
        if bars:
            own.enable_progress_bar()
