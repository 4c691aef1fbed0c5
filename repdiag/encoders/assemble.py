"""The last step of every way to an encoder: freeze the network, pool its output, try it, describe it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from repdiag.encoders import features, weights
from repdiag.encoders.input import Preprocessing, override
from repdiag.encoders.types import Encoder, Loading, Output


def assemble(
    name: str,
    architecture: str,
    network: nn.Module,
    known: Preprocessing,
    loading: Loading,
    wishes: Mapping[str, Any],
    identity: str = "",
    *,
    layer: str | Sequence[str] | None = None,
    pool: str | None = None,
    l2: bool | None = None,
    tensors: Mapping[str, torch.Tensor] | None = None,
) -> Encoder:
    """Freeze, pool, try on one image, describe, and take the features that are asked for (`features.select`).

    `tensors` are the checkpoint's, in which a projector may be.
    """
    chosen = override(known, **wishes)
    weights.frozen(network)
    with torch.random.fork_rng(devices=[]):
        image = torch.zeros(1, chosen.channels, chosen.size, chosen.size)
        module, dim = weights.pooled(network, image)
        channels_last = weights.runs_channels_last(network, image)
    mark = weights.fingerprint(network.state_dict(), identity or architecture, module.pooling)
    readings = loading.readings
    if module.pooling == weights.FIRST_TOKEN:
        readings += ("the output is a sequence of tokens; the first one is taken",)
    plain = Encoder(
        module=module.eval(),
        name=name,
        architecture=architecture,
        dim=dim,
        preprocessing=chosen,
        fingerprint=mark,
        loading=dataclasses.replace(loading, readings=readings),
        channels_last=channels_last,
        outputs=(Output(features.OUTPUT, 0, dim, module.pooling),),
    )
    return features.select(plain, layer, pool, l2, tensors)
