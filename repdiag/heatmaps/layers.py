"""The place in an encoder whose activations a heat map is drawn of: found by running it once, not by its name."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn

from repdiag.checkpoints.program import Program
from repdiag.encoders import Encoder
from repdiag.encoders import layers as forms
from repdiag.encoders.chosen import Chosen
from repdiag.encoders.features import network_of
from repdiag.encoders.pools import unit
from repdiag.encoders.taps import Trace
from repdiag.errors import UsageError
from repdiag.heatmaps.passes import IMAGES, Passed, Seen, gradient_of, run
from repdiag.heatmaps.place import Kind, Spatial, device_of, exposed

__all__ = ["Spatial", "spatial"]


def spatial(encoder: Encoder, output: str | None = None) -> Spatial:
    """Where the features of `encoder` come from in the image, found by running two small random images through it.

    Convolutional networks: the last map (B, C, H, W) with H W > 1 that a module gives and the features depend on.
    Networks of tokens: the tokens that go into the last attention (the output of the last block's first norm, as is
    usual (C, pytorch-grad-cam's choice)): behind it, a class token's gradient reaches no other token. `output` names
    one of `encoder.outputs`, and is needed where there are several.

    Raises UsageError for programs (TorchScript, torch.export), for an encoder whose features are of several layers
    at once, and for one in which nothing keeps its place in the image.
    """
    start, stop = _columns(encoder, output)
    network = network_of(encoder.module)
    _refuse(encoder, network)
    how = encoder.preprocessing
    with (
        _explained(encoder),
        torch.random.fork_rng(devices=[]),
        torch.inference_mode(False),
        torch.enable_grad(),
    ):
        shape = (IMAGES, how.channels, how.size, how.size)
        noise = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device_of(encoder))
        seen = run(encoder, network, noise)
        features = seen.answer[:, start:stop]
        for passed in seen.candidates(features):
            for found in _places(encoder, network, seen, passed, (start, stop)):
                if _reaches(encoder, found, noise):
                    return found
    raise UsageError(
        "No layer of this encoder keeps its place in the image, so that there is no heat map to draw",
        where=encoder.name,
        do="Heat maps need a module that gives a map (B, C, H, W) or tokens (B, T, C) behind the first layers",
    )


def _columns(encoder: Encoder, output: str | None) -> tuple[int, int]:
    names = [one.name for one in encoder.outputs]
    if isinstance(encoder.module, Chosen) and len(encoder.module.kept.layers) > 1:
        raise UsageError(
            f"The encoder's features are some of several layers' ({', '.join(encoder.module.kept.layers)}), which "
            "have no one place in the image",
            where=encoder.name,
            do="Explain one layer's features",
        )
    if output is None and len(names) > 1:
        raise UsageError(
            f"The encoder gives the features of {len(names)} layers: {', '.join(names)}",
            where=encoder.name,
            do="Explain one of them: name a single --layer",
        )
    if output is not None and output not in names:
        raise UsageError(
            f"The encoder has no output '{output}'", where=encoder.name, do=f"It has {', '.join(names)}"
        )
    one = encoder.outputs[0 if output is None else names.index(output)]
    return one.start, one.stop


def _refuse(encoder: Encoder, network: nn.Module) -> None:
    """UsageError where there is nothing to hook into; ValueError in training mode, where rows are not apart."""
    if any(isinstance(part, (torch.jit.ScriptModule, Program)) for part in (network, *network.modules())):
        raise UsageError(
            "A program (TorchScript or torch.export) does not show its layers, so that no heat map can be drawn",
            where=encoder.name,
            do="Use the checkpoint of weights that it was made from",
        )
    if any(part.training for part in network.modules()):
        raise ValueError("the network must be in eval mode: a heat map would depend on the other images")
    if any(tensor.is_inference() for tensor in (*network.parameters(), *network.buffers())):
        raise UsageError(
            "The encoder's weights were made in torch.inference_mode, which lets no gradients through, and heat maps "
            "are made of those",
            where=encoder.name,
            do="Load the encoder outside of torch.inference_mode",
        )


@contextlib.contextmanager
def _explained(encoder: Encoder) -> Iterator[None]:
    """Complaints of a network's layers about gradients as one sentence."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        text = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise UsageError(
            f"The encoder lets no gradients through, which heat maps are made of: {text}",
            where=encoder.name,
        ) from error


# --------------------------------------------------------------------------------------------- describing


def _places(
    encoder: Encoder,
    network: nn.Module,
    seen: Seen,
    passed: Passed,
    columns: tuple[int, int],
) -> Iterator[Spatial]:
    """How what passed lies over the image; nothing where that cannot be told."""
    shape = tuple(passed.values.shape[1:])
    where: dict[str, Any] = {"side": passed.side, "call": passed.call, "columns": columns}
    own = next((one.values for one in seen.given if not one.name), None)
    form = forms.form(network, shape, Trace(IMAGES, seen.answer, own, seen.body))
    if passed.tokens:
        grid = _grid(shape[0], form.prefix, [one for one in seen.maps() if one.order < passed.order])
        if grid is not None:
            prefix = shape[0] - grid[0] * grid[1]
            yield Spatial("tokens", passed.name, grid, shape[1], prefix, **where)
        return
    height, width, channels = shape if form.channels_last else (*shape[1:], shape[0])
    if height * width > 1:
        kind: Kind = "flattened" if _is_flat(encoder, seen.answer, passed.values, columns) else "convolution"
        yield Spatial(kind, passed.name, (height, width), channels, 0, form.channels_last, **where)


def _grid(count: int, prefix: int | None, maps: list[Passed]) -> tuple[int, int] | None:
    """How `count` tokens, the first `prefix` of them none of the image's (None: unknown), lie over the image.

    As the last map that they can have been made from, else in a square. None where nothing fits.
    """
    fitting = range(17) if prefix is None else (prefix,)
    for one in reversed(maps):
        for height, width in (one.values.shape[2:], one.values.shape[1:3]):
            if min(height, width) > 1 and count - height * width in fitting:
                return int(height), int(width)
    for spare in (0, 1, 2) if prefix is None else (prefix,):
        side = int((count - spare) ** 0.5)
        if side > 1 and side * side == count - spare:
            return side, side
    return None


def _is_flat(encoder: Encoder, answer: torch.Tensor, values: torch.Tensor, columns: tuple[int, int]) -> bool:
    """Whether the features are the map's own values side by side, at unit length perhaps."""
    flat = values.detach().flatten(1).float()
    if isinstance(encoder.module, Chosen):
        if encoder.module.kept.of != flat.shape[1]:
            return False
        flat = flat.index_select(1, encoder.module.index)
    features = answer.detach()[:, slice(*columns)].float()
    return flat.shape == features.shape and torch.allclose(unit(flat), unit(features), rtol=1e-4, atol=1e-6)


def _reaches(encoder: Encoder, where: Spatial, images: torch.Tensor) -> bool:
    """Whether the features depend on what a hook at `where` puts there; of tokens, on those of the image."""
    with exposed(encoder, where) as found:
        features = encoder.module(images)
        with torch.enable_grad():
            features = features[:, slice(*where.columns)]
    if found.leaf is None or not features.requires_grad:
        return False
    gradient = gradient_of(features, found.leaf)
    if gradient is None:
        return False
    strict = where.kind == "tokens" or len(encoder.outputs) > 1
    return not strict or bool(where.places(gradient).any())
