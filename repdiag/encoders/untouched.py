"""Running a network that somebody is training, and leaving no trace of it."""

from __future__ import annotations

import contextlib
import random
import sys
from collections.abc import Iterable, Iterator, Mapping

import numpy as np
import torch
from torch import nn


@contextlib.contextmanager
def untouched(*networks: nn.Module) -> Iterator[None]:
    """Eval mode inside the block; afterwards the networks are as they were.

    The `training` flag of every submodule is set and set back directly: `train()` and `eval()` of a network may
    do more than that (merge adapters, thaw batch norms). Buffers that the forward pass replaced or wrote to
    get their tensors and values back. What a forward pass keeps in plain attributes is its own affair.
    """
    parts = list(dict.fromkeys(part for network in networks for part in network.modules()))
    flags = [(part, part.training) for part in parts]
    # the buffers of a TorchScript program cannot be replaced, only written to
    tables = [
        (part._buffers, dict(part._buffers)) for part in parts if not isinstance(part, torch.jit.ScriptModule)
    ]
    with torch.inference_mode(False), torch.no_grad():
        values = [(buffer, buffer.clone()) for network in networks for buffer in network.buffers()]
    try:
        for part in parts:
            part.training = False
        yield
    finally:
        for part, flag in flags:
            part.training = flag
        for table, before in tables:
            if _identities(table) != _identities(before):
                table.clear()
                table.update(before)
        for buffer, value in values:
            with torch.inference_mode(buffer.is_inference()), torch.no_grad():
                if not torch.equal(buffer, value):
                    buffer.copy_(value)


def _identities(table: Mapping[str, torch.Tensor | None]) -> list[tuple[str, int]]:
    return [(name, id(buffer)) for name, buffer in table.items()]


@contextlib.contextmanager
def own_randomness(seed: int) -> Iterator[None]:
    """Random numbers from `seed` inside the block; everyone else's go on after it as if it had not been.

    Covers Python, NumPy's global state, torch on the CPU and on the accelerators in use.
    """
    python, arrays = random.getstate(), np.random.get_state()  # noqa: NPY002 - what others use is kept
    cpu = torch.get_rng_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None  # type: ignore[no-untyped-call]
    mps = torch.mps.get_rng_state() if torch.backends.mps.is_available() else None
    try:
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        torch.default_generator.manual_seed(seed)
        if cuda is not None:  # seeding CUDA before its first use would outlast the block
            torch.cuda.manual_seed_all(seed)
        if mps is not None:
            torch.mps.manual_seed(seed)
        yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)  # noqa: NPY002
        torch.set_rng_state(cpu)
        if cuda is not None:
            torch.cuda.set_rng_state_all(cuda)
        if mps is not None:
            torch.mps.set_rng_state(mps)


@contextlib.contextmanager
def undrawn(generators: Iterable[torch.Generator]) -> Iterator[None]:
    """Afterwards the generators (a loader's own, say) are as if nothing had been drawn inside the block."""
    states = [(generator, generator.get_state()) for generator in generators]
    try:
        yield
    finally:
        for generator, state in states:
            generator.set_state(state)


@contextlib.contextmanager
def plain_torch() -> Iterator[None]:
    """Inside, torch computes as in a fresh program: with gradients, without autocast, float32 by default.

    The caller may be inside `inference_mode`, `no_grad` or `autocast`; numbers must not depend on that.
    """
    dtype = torch.get_default_dtype()
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        for device in ("cpu", "cuda"):
            if torch.is_autocast_enabled(device):
                stack.enter_context(torch.autocast(device, enabled=False))
        torch.set_default_dtype(torch.float32)
        try:
            yield
        finally:
            torch.set_default_dtype(dtype)


def eager() -> contextlib.AbstractContextManager[object]:
    """Inside, compiled modules run uncompiled: eval mode would make them compile again, and others after that."""
    if "torch._dynamo" not in sys.modules:  # nothing is compiled, and importing it takes seconds
        return contextlib.nullcontext()
    return torch.compiler.set_stance("force_eager")  # type: ignore[no-any-return]
