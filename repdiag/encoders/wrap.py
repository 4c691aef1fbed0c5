"""A network that is already in memory, as an encoder: somebody's own module, perhaps one in training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from repdiag.encoders import preprocessing, weights
from repdiag.encoders.input import Preprocessing
from repdiag.encoders.types import Encoder, Loading
from repdiag.encoders.untouched import eager
from repdiag.errors import ResourceError, UsageError

Pick = Callable[[Any], torch.Tensor]
_SHARDED = frozenset({"FullyShardedDataParallel", "FSDPModule"})
CONTAINER = "a module in memory"


class Guest(nn.Module):
    """Calls somebody's network without gradients and pools what it gives to (B, D) float32.

    The network is kept out of reach of this module's own `to`, `eval` and `state_dict`: it stays where it is
    (`device`) and as it is. Inputs are cast to the number format of its weights. Around a DDP or compiled
    module the plain one inside is run. Raises UsageError for a sharded network, and for one whose layers are
    not built yet.
    """

    def __init__(self, network: nn.Module, output: Pick | None = None) -> None:
        super().__init__()
        network = _inside(network)
        _refuse(network)
        self._held, self._output = (network,), output
        weight = next((p for p in network.parameters() if p.is_floating_point()), None)
        tensors = [*network.parameters(), *network.buffers()]
        first = weight if weight is not None else tensors[0] if tensors else torch.empty(0, device="cpu")
        self.device = first.device
        self._inference = any(tensor.is_inference() for tensor in tensors)
        self._dtype = torch.float32 if weight is None else weight.dtype
        self.name = type(network).__name__

    @property
    def network(self) -> nn.Module:
        """The network itself."""
        return self._held[0]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, ...) of any device -> (B, D) float32, on the network's device."""
        device = self.device.type
        with (
            torch.inference_mode(self._inference),
            torch.no_grad(),
            torch.autocast(
                device,
                dtype=torch.get_autocast_dtype(device),
                enabled=torch.is_autocast_enabled(device),
                cache_enabled=False,  # weights cast without gradients must not serve a later training step
            ),
            eager(),
        ):
            # a tensor made in inference mode may not meet autograd, and the network may keep it
            images = images.clone() if images.is_inference() and not self._inference else images
            if images.is_floating_point():
                images = images.to(self.device, self._dtype)
            answer = self.network(images.to(self.device))
            return pooled(features_of(answer, self._output)).float()

    def fingerprint(self) -> str:
        """SHA-256 of the weights and the type's name; the code behind the name is not part of it."""
        kind = type(self.network)
        state = {name: t for name, t in self.network.state_dict().items() if isinstance(t, torch.Tensor)}
        return weights.fingerprint(state, f"{kind.__module__}.{kind.__qualname__}", "module")

    def loading(self) -> Loading:
        """What a report says about where the weights come from."""
        return Loading(
            container=CONTAINER,
            loaded=len(self.network.state_dict()),
            parameters=sum(p.numel() for p in self.network.parameters()),
            readings=(
                "of a sequence of tokens the first is taken, feature maps are averaged over the image",
            ),
        )


def features_of(answer: object, output: Pick | None = None) -> torch.Tensor:
    """The tensor of features in a network's answer: what `output` picks, or the answer when it is a tensor.

    Of the answers of Hugging Face models it is `last_hidden_state`, and `pooler_output` only where that is
    all there is: poolers are heads, often untrained. Raises UsageError for anything else.
    """
    if output is not None:
        answer = output(answer)
    if isinstance(answer, torch.Tensor):
        return answer
    if output is None:
        for name in ("last_hidden_state", "pooler_output"):
            found = getattr(answer, name, None)
            if isinstance(found, torch.Tensor):
                return found
    if isinstance(answer, Mapping):
        what, how = f"a dict of {', '.join(map(repr, answer))}", "out['features']"
    elif isinstance(answer, (tuple, list)):
        what, how = f"a {type(answer).__name__} of {len(answer)}", "out[0]"
    else:
        what, how = f"a {type(answer).__name__}", "out.features"
    raise UsageError(
        f"The model gives {what}, not one tensor of features",
        do=f"Say which with output=, as in output=lambda out: {how}",
    )


def pooled(features: torch.Tensor) -> torch.Tensor:
    """(B, D) as it is, (B, C, h, w) averaged over the image, the first token of (B, T, D)."""
    if features.is_floating_point():
        if features.dim() == 4:
            features = features.mean((2, 3))
        elif features.dim() == 3:
            features = features[:, 0]
    if features.dim() != 2 or not features.is_floating_point() or features.shape[1] == 0:
        raise UsageError(
            f"The model gives {tuple(features.shape)} {str(features.dtype).removeprefix('torch.')}",
            do="It must give floats of shape (B, D), (B, C, h, w) or (B, T, D)",
        )
    return features


def wrap(guest: Guest, how: Preprocessing) -> Encoder:
    """The encoder that prepares images as `how` says and runs `guest` where it is; tries it on a black image."""
    shape = (1, how.channels, how.size, how.size)
    dim = try_on(guest, torch.zeros(shape, device=guest.device)).shape[1]
    return Encoder(
        module=guest,
        name=guest.name,
        architecture=guest.name,
        dim=int(dim),
        preprocessing=how,
        fingerprint=guest.fingerprint(),
        loading=guest.loading(),
        channels_last=False,  # turning the weights would be a trace
    )


def try_on(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """The features of one batch; raises UsageError with the network's own complaint when it refuses it, and
    ResourceError when the memory of the device is too small.
    """
    try:
        features: torch.Tensor = network(images)
    except UsageError:
        raise
    except torch.OutOfMemoryError as error:
        raise ResourceError(
            f"The memory of {images.device} is too small for a batch of {len(images)}",
            do="Make the batches smaller (batch_size=, or the loader's own)",
        ) from error
    except Exception as error:  # any layer may refuse
        text = (str(error).strip() or type(error).__name__).splitlines()[-1][:200]
        kind = str(images.dtype).removeprefix("torch.")
        raise UsageError(
            f"The model cannot take inputs of shape {tuple(images.shape)} {kind}: {text}",
            do="Give it the inputs it was made for",
        ) from error
    return features


def said_by(network: nn.Module) -> Preprocessing | None:
    """The preprocessing that a module states in attributes `input_size`, `mean` and `std`; all, or it is None."""
    if not all(hasattr(network, name) for name in ("input_size", "mean", "std")):
        return None
    return preprocessing.of_module(network, preprocessing.input_channels(network))


def _inside(network: nn.Module) -> nn.Module:
    """The plain network in a DDP, DataParallel or compiled one: one process alone may run that."""
    while True:
        compiled = getattr(network, "_orig_mod", None)
        if isinstance(compiled, nn.Module):
            network = compiled
        elif isinstance(network, (nn.parallel.DistributedDataParallel, nn.DataParallel)):
            network = network.module
        else:
            return network


def _refuse(network: nn.Module) -> None:
    for part in network.modules():
        if any(kind.__name__ in _SHARDED for kind in type(part).__mro__):
            raise UsageError(
                "The model's weights are sharded over processes (FSDP)",
                do="Gather its state_dict and score that",
            )
    if any(nn.parameter.is_lazy(p) for p in network.parameters()):
        raise UsageError(
            "The model has lazy layers whose shapes are not known yet", do="Run one batch through it first"
        )
