"""The networks of a run: the encoder that learns, the base's heads, the regularizer, and their slow companions."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from repdiag.errors import UsageError
from repdiag.objectives import processes
from repdiag.objectives.contract import BASES, REGULARIZERS, Base, Needs, Regularizer
from repdiag.training.job import TrainJob
from repdiag.training.optim import drift
from repdiag.training.seeds import reseed, seed_of
from repdiag.training.wrap import learning, trainable


@dataclass
class Networks:
    """All modules of a run, on the device.

    `slow` follows the encoder with a momentum, `first` is the encoder as it was (where the regularizer asks for its
    features of the views), `average` the exponential moving average of the weights that becomes the result.
    """

    encoder: nn.Module
    base: Base
    regularizer: Regularizer
    slow: nn.Module | None = None
    first: nn.Module | None = None
    average: nn.Module | None = None

    @property
    def needs(self) -> Needs:
        """What the regularizer asks for."""
        return self.regularizer.needs

    @property
    def result(self) -> nn.Module:
        """The encoder that would be kept now."""
        return self.encoder if self.average is None else self.average

    @property
    def momentum(self) -> float | None:
        """That of the slow encoder at the start: the base's where it has one, else the regularizer's."""
        return self.base.momentum if self.base.momentum is not None else self.needs.momentum

    @property
    def constant(self) -> bool:
        """Whether the momentum stays what it is."""
        return self.base.momentum is not None and self.base.constant

    @property
    def new(self) -> tuple[nn.Module, ...]:
        """What is trained alone first: the base's fresh children and the regularizer's own modules, if any learns."""
        parts = [self.base.get_submodule(name) for name in self.base.fresh]
        return tuple(part for part in (*parts, self.regularizer) if _learns(part))

    def named(self) -> Iterator[tuple[str, nn.Module]]:
        """Those that change, by name: what a state holds. (`first` is the start, which is made again.)"""
        for name in ("encoder", "base", "regularizer", "slow", "average"):
            module = getattr(self, name)
            if module is not None:
                yield name, module

    def parameters(self) -> list[nn.Parameter]:
        """All that learn, each once."""
        found = {id(p): p for m in (self.encoder, self.base, self.regularizer) for p in m.parameters()}
        return [p for p in found.values() if p.requires_grad]

    def learn(self, frozen_norms: bool) -> None:
        """The modes of training: everything learns. Slow networks use batch statistics as the trained one does."""
        for module in (self.encoder, self.slow):
            if module is not None:
                learning(module, frozen_norms)
        self.base.train()
        self.regularizer.train()

    def learn_heads(self) -> None:
        """The modes of the warm-up: new heads learn, all else stands still."""
        for _, module in self.named():
            module.eval()
        for part in self.new:
            part.train()

    def look(self) -> None:
        """The mode of measuring."""
        for _, module in self.named():
            module.eval()

    def follow(self, momentum: float) -> None:
        """After a step of training: the slow networks follow."""
        if self.slow is not None:
            drift(self.slow, self.encoder, momentum)
        self.follow_heads(momentum)

    def follow_heads(self, momentum: float) -> None:
        """The slow heads alone."""
        self.base.follow(momentum)
        self.regularizer.follow(momentum)


def _learns(module: nn.Module) -> bool:
    return any(p.requires_grad for p in module.parameters())


def build(job: TrainJob) -> Networks:
    """The networks of `job` at the start, on its device.

    New heads depend on the seed alone, so that all arms of one seed start with the same; the regularizer's own
    modules come from other draws. Raises UsageError where the encoder cannot learn, or the base takes no small crops.
    """
    config, last = job.config, job.encoder.channels_last and job.device.type != "mps"
    kind, wanted = BASES.get(config.base), REGULARIZERS.get(job.regularizer.name)
    if config.views > 2 and not kind.small_crops:
        raise UsageError(f"{config.base} takes two views, not {config.views}", do="Leave out --views")
    if kind.uses_labels and job.images.labels is None:
        raise UsageError(f"{config.base} needs labels, which these images do not have")
    encoder = trainable(job.encoder)
    projector, cpu = copy.deepcopy(job.projector), torch.device("cpu")  # heads are made there
    if projector is not None:
        projector.float().requires_grad_(True)
    reseed(cpu, seed_of(config.seed, "heads"))
    base = kind(job.encoder.dim, projector)
    reseed(cpu, seed_of(config.seed, "regularizer"))
    regularizer = wanted(job.regularizer)
    _attach(base, regularizer, job)
    if processes.count() > 1:
        from repdiag.objectives.sync_norm import synchronized

        base = synchronized(base)
        if config.batch_norm == "train":
            encoder = synchronized(encoder)
    for module in (encoder, base, regularizer):
        module.to(job.device)
    if last:
        encoder.to(memory_format=torch.channels_last)
    found = Networks(encoder, base, regularizer)
    if found.momentum is not None:
        found.slow = copy.deepcopy(encoder).requires_grad_(False)
    if found.needs.reference == "views":
        found.first = copy.deepcopy(encoder).requires_grad_(False).eval()
    if config.ema:
        found.average = copy.deepcopy(encoder).requires_grad_(False).eval()
    return found


def _attach(base: Base, regularizer: Regularizer, job: TrainJob) -> None:
    """Show the regularizer the heads' widths, on two rows of noise that leave no trace in the base."""
    noise: list[Tensor] = list(torch.randn(2, 2, job.encoder.dim).unbind())
    flags = {part: part.training for part in base.modules()}
    base.eval()
    with torch.no_grad():
        heads = base.heads(noise, noise if base.momentum is not None else ())
    for part, flag in flags.items():
        part.training = flag
    regularizer.attach(job.encoder.dim, heads, job.classes)
