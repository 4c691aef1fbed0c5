"""Putting tensors into a network, pooling what it gives, and telling networks apart by their weights."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

import torch
from torch import nn

from repdiag.encoders.sketch import OPTIONAL, required
from repdiag.errors import CheckpointError


def filled(build: Callable[[], nn.Module], tensors: Mapping[str, torch.Tensor], prefix: str) -> nn.Module:
    """A network with the checkpoint's tensors under `prefix`, in float32; every name must be there.

    Optional buffers that the checkpoint lacks keep their initial value. Raises CheckpointError when a tensor
    is not finite or quantized.
    """
    with torch.random.fork_rng(devices=[]):  # the initialization that is overwritten must not draw for others
        network = build()
    state = network.state_dict()
    for name in state:
        tensor = tensors.get(prefix + name)
        if tensor is not None:
            _check(prefix + name, tensor, state[name])
            state[name] = tensor.float() if tensor.is_floating_point() else tensor
    network.load_state_dict(state, strict=True)
    return network


def _check(name: str, tensor: torch.Tensor, wanted: torch.Tensor) -> None:
    if wanted.is_floating_point() and not tensor.is_floating_point():
        raise CheckpointError(
            f"The tensor {name} holds {tensor.dtype} numbers (a quantized model?), not floats"
        )
    if tensor.is_floating_point() and not bool(tensor.isfinite().all()):
        raise CheckpointError(
            f"The tensor {name} holds NaN or infinite values",
            do="The training diverged or the file is damaged; use another checkpoint",
        )


def frozen(network: nn.Module) -> nn.Module:
    """The network without gradients, in eval mode."""
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return network.eval()


class Pooled(nn.Module):
    """A network whose output is brought to (B, D) as `pooling` says."""

    def __init__(self, network: nn.Module, pooling: str) -> None:
        super().__init__()
        self.network, self.pooling = network, pooling

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) float32 -> (B, D) float32."""
        features: torch.Tensor = self.network(images)
        if self.pooling == GLOBAL_AVERAGE:
            features = features.mean(dim=(2, 3))
        elif self.pooling == FIRST_TOKEN:
            features = features[:, 0]
        return features.float()


OWN = "the network's own"
GLOBAL_AVERAGE = "global average"
FIRST_TOKEN = "first token"  # noqa: S105 - no password


def pooled(network: nn.Module, images: torch.Tensor) -> tuple[Pooled, int]:
    """The network with the pooling that its output asks for, and D, learned from one batch.

    (B, D) stays, (B, C, H, W) is averaged over the image, of (B, T, D) the first token is taken. Raises
    CheckpointError when the network cannot take the images or gives something else.
    """
    size = "x".join(map(str, images.shape[1:]))
    try:
        with torch.inference_mode():
            out = network(images)
    except Exception as error:  # any layer may refuse
        text = (str(error).strip() or type(error).__name__).splitlines()[-1][:200]
        raise CheckpointError(
            f"The encoder cannot take an image of {size}: {text}",
            do="Set the image size it was made for with --size (and --mean, --std of as many channels)",
        ) from error
    if not isinstance(out, torch.Tensor):
        raise CheckpointError(
            f"The encoder gives a {type(out).__name__}, not one tensor of features",
            do="Wrap it so that it returns (B, D) or (B, C, H, W)",
        )
    kind = {2: OWN, 3: FIRST_TOKEN, 4: GLOBAL_AVERAGE}.get(out.dim())
    if kind is None or len(out) != len(images) or not out.is_floating_point() or out[0].numel() == 0:
        raise CheckpointError(
            f"The encoder gives {tuple(out.shape)} {out.dtype} for {len(images)} image(s)",
            do="It must return (B, D) or (B, C, H, W) floats",
        )
    module = Pooled(network, kind)
    with torch.inference_mode():
        features = module(images)
    if not bool(features.isfinite().all()):
        raise CheckpointError("The encoder gives NaN or infinite features", do="Use another checkpoint")
    return module, int(features.shape[1])


@torch.no_grad()  # in inference mode the turned weights would refuse gradients for ever, and heat maps need them
def runs_channels_last(network: nn.Module, images: torch.Tensor) -> bool:
    """Whether the network computes with channels_last weights and images too; it is left as it was."""
    try:
        network.to(memory_format=torch.channels_last)
        network(images.contiguous(memory_format=torch.channels_last))
    except Exception:  # user's code and exported graphs refuse in their own ways
        return False
    finally:
        network.to(memory_format=torch.contiguous_format)
    return True


def fingerprint(tensors: Mapping[str, torch.Tensor], *parts: str) -> str:
    """SHA-256 over the weights' names, shapes and bytes, and the `parts` (architecture, pooling, ...)."""
    digest = hashlib.sha256("\n".join(parts).encode())
    for name in sorted(tensors):
        if name.rpartition(".")[2] in OPTIONAL:
            continue
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"\n{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(memoryview(tensor.reshape(-1).view(torch.uint8).numpy()))  # type: ignore[arg-type]
    return digest.hexdigest()


def count(network: nn.Module) -> int:
    """How many numbers the weights and buffers that matter hold."""
    state = network.state_dict()
    return sum(state[name].numel() for name in required(state))
