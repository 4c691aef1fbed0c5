"""From a frozen encoder to a network that learns, and back."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import hashlib
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from repdiag.checkpoints.program import Program
from repdiag.encoders import Encoder
from repdiag.encoders.features import network_of
from repdiag.encoders.weights import Pooled, fingerprint, frozen
from repdiag.encoders.wrap import Guest
from repdiag.errors import UsageError

_WEIGHTS = "Give a checkpoint that holds weights by name (a state_dict, safetensors, a model folder)"


def trainable(encoder: Encoder) -> nn.Module:
    """A copy of the encoder's module on the CPU, in train mode, whose float parameters learn.

    All of them do: what an architecture would keep fixed of its own accord (the sine positions of some ViTs are
    parameters without gradient) is no longer told from the rest in a frozen encoder. Buffers stay buffers.
    Raises UsageError for what cannot learn: an exported program, quantized or integer weights, a network that
    gives features without gradient, somebody else's module in memory.
    """
    kind = type(encoder.module).__name__
    if isinstance(network_of(encoder.module), Guest) or isinstance(encoder.module, Guest):
        raise UsageError(f"{encoder.name} is a module in memory, which repdiag does not train", do=_WEIGHTS)
    if any(isinstance(part, Program) for part in encoder.module.modules()):
        raise UsageError(f"{encoder.name} is an exported program, which cannot be trained", do=_WEIGHTS)
    try:
        with torch.inference_mode(False):
            module = copy.deepcopy(encoder.module).cpu()
            learned = [p for p in module.parameters() if p.is_floating_point()]
            for parameter in learned:
                parameter.data = parameter.data.float()
                parameter.requires_grad_(True)
            module.train()
            module.eval()
    except Exception as error:  # exported graphs and users' code refuse in their own ways
        text = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise UsageError(f"{encoder.name} ({kind}) cannot be trained: {text}", do=_WEIGHTS) from error
    if not learned:
        raise UsageError(
            f"{encoder.name} has no weights that could learn (a frozen or quantized program?)", do=_WEIGHTS
        )
    _try(module, encoder)
    return module.train()


def _try(module: nn.Module, encoder: Encoder) -> None:
    """Two black images must give features with a gradient."""
    how = encoder.preprocessing
    try:
        with torch.enable_grad(), torch.inference_mode(False):
            features = module(torch.zeros(2, how.channels, how.size, how.size))
    except Exception as error:  # any layer may refuse
        text = (str(error).strip() or type(error).__name__).splitlines()[-1][:200]
        raise UsageError(f"{encoder.name} cannot be run with gradients: {text}", do=_WEIGHTS) from error
    if not features.requires_grad:
        raise UsageError(f"{encoder.name} gives features without a gradient", do=_WEIGHTS)


def learning(module: nn.Module, frozen_norms: bool = False) -> None:
    """Train mode; with `frozen_norms` batch norms keep their statistics (scale and shift still learn)."""
    module.train()
    if frozen_norms:
        for part in module.modules():
            if isinstance(part, _BatchNorm):
                part.eval()


@contextlib.contextmanager
def still_statistics(module: nn.Module) -> Iterator[None]:
    """Inside, batch norms in train mode normalize by the batch and do not write to their running statistics."""
    norms = [
        p for p in module.modules() if isinstance(p, _BatchNorm) and p.training and p.track_running_stats
    ]
    try:
        for norm in norms:
            norm.track_running_stats = False
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True


def finished(encoder: Encoder, tensors: Mapping[str, Tensor]) -> Encoder:
    """`encoder` with the tensors of a copy of its module: new module and fingerprint, all else as it was."""
    with torch.inference_mode(False):
        module = copy.deepcopy(encoder.module).cpu()
        module.load_state_dict(tensors)
    frozen(module)
    network = network_of(module)
    if isinstance(module, Pooled):  # as the loader makes it: the file that this becomes is the same encoder
        mark = fingerprint(network.state_dict(), encoder.architecture, module.pooling)
    else:
        outputs = [f"{o.name} {o.pooling} {o.start} {o.stop}" for o in encoder.outputs]
        mark = fingerprint(module.state_dict(), encoder.architecture, *outputs, f"l2 {encoder.l2}")
        mark = hashlib.sha256(f"{mark} tuned from {encoder.fingerprint}".encode()).hexdigest()
    return dataclasses.replace(encoder, module=module, fingerprint=mark)


def state_of(module: nn.Module) -> dict[str, Tensor]:
    """A copy of a module's named tensors on the CPU, floats in float32."""
    return {
        name: tensor.detach()
        .to("cpu", torch.float32 if tensor.is_floating_point() else None, copy=True)
        .contiguous()
        for name, tensor in module.state_dict().items()
        if isinstance(tensor, Tensor)
    }
