"""One step: the views of a global batch, the forward passes, the loss of all processes, its gradient, the move."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from repdiag.errors import UsageError
from repdiag.objectives import processes
from repdiag.objectives.contract import Heads, Loss, Outputs
from repdiag.training.feed import Ahead, Feed, Part
from repdiag.training.gradients import averaged, clipped
from repdiag.training.guards import check_finite
from repdiag.training.job import TrainJob
from repdiag.training.networks import Networks
from repdiag.training.optim import drift, momentum_at, rate, set_rate
from repdiag.training.schedule import Phase, Schedule
from repdiag.training.seeds import reseed, seed_of
from repdiag.training.sight import Sight
from repdiag.training.wrap import still_statistics

HEAD_CLIP = 1.0
"""Norm to which each new head's gradient is clipped in the warm-up, by SGD at `head_lr`: the bases' losses differ by a
factor of 1,000, and so would their steps (ours). Each on its own: a regularizer's heads do not slow the base's."""


@dataclass(frozen=True)
class Took:
    """What one step gave: each part of the loss ("base", "term.x"), the gradient's norm before clipping, the rate.

    `stop`: some process was asked to stop.
    """

    values: Mapping[str, float]
    norm: float
    lr: float
    stop: bool


class Stepper:
    """Takes steps on `nets`. `reference` (N, D) are the start encoder's features of all clean images, or None.

    What is random in a step (views, dropout, drop path) follows from the seed and the step's number.
    """

    def __init__(self, job: TrainJob, nets: Networks, plan: Schedule) -> None:
        self.job, self.nets, self.plan = job, nets, plan
        self.reference: Tensor | None = None
        self.sight = Sight.of(job, max(16, min(256, plan.own)))
        self.feed = Feed(job, self.sight, plan, nets.needs.weak_view)
        self._learned = nets.parameters()
        self._new = [[p for p in part.parameters() if p.requires_grad] for part in nets.new]
        self._warm_up = round(job.config.warmup_epochs * plan.per_epoch)

    # ------------------------------------------------------------------------------------------ a step

    def take(
        self,
        phase: Phase,
        step: int,
        parts: Ahead,
        optimizer: torch.optim.Optimizer,
        asked: bool = False,
    ) -> Took:
        """One step on the next parts of `parts`, as many as a batch has.

        Raises InputError before the step is taken when the loss or its gradient is not finite.
        """
        config, plan = self.job.config, self.plan
        heads_only = phase == "heads"
        groups = self._new if heads_only else [self._learned]
        learned = [p for group in groups for p in group]
        progress = 0.0 if heads_only else step / plan.steps("train")
        optimizer.zero_grad(set_to_none=True)
        names: list[str] = []
        summed: Tensor | None = None
        for number in range(plan.parts):
            seed = seed_of(config.seed, "noise", phase, step, number)
            outputs = self._outputs(next(parts), seed, progress, frozen=heads_only)
            loss = self._loss(outputs, seed_of(config.seed, "loss", phase, step, number), apart=heads_only)
            total = loss.total / plan.parts
            if total.requires_grad:
                total.backward()  # type: ignore[no-untyped-call]
            elif not heads_only:
                raise UsageError(f"The loss of {config.base} does not depend on the encoder")
            names = ["base", *(f"term.{name}" for name in loss.terms)]
            found = (
                torch.stack([loss.base.detach(), *(term.detach() for term in loss.terms.values())])
                / plan.parts
            )
            summed = found if summed is None else summed + found
            del outputs, loss, total
        assert summed is not None
        stop = averaged(learned, asked, self.job.device)
        most = HEAD_CLIP if heads_only else config.clip
        norms = [clipped([p.grad for p in group if p.grad is not None], most) for group in groups]
        norm = torch.linalg.vector_norm(torch.stack([one.to(summed) for one in norms]))
        parts.prepare()  # an accelerator has something to do while its numbers are looked at
        *numbers, size = torch.cat([summed, norm.view(1)]).double().tolist()  # the one wait for the device
        values = dict(zip(names, numbers, strict=True))
        check_finite(values, size, self._place(phase, step), self.job.folder)
        lr = config.head_lr if heads_only else self._rate(step)
        set_rate(optimizer, lr)
        optimizer.step()
        self._follow(heads_only, progress)
        return Took(values, size, lr, stop)

    def _rate(self, step: int) -> float:
        config = self.job.config
        return rate(step, self.plan.steps("train"), self._warm_up, config.lr, config.min_lr)

    def _place(self, phase: Phase, step: int) -> str:
        epoch = step // self.plan.per_epoch + 1
        where = "the warm-up of the heads" if phase == "heads" else f"epoch {epoch} of {self.plan.epochs}"
        return f"{where}, step {step + 1} of {self.plan.steps(phase)}"

    def _follow(self, heads_only: bool, progress: float) -> None:
        nets = self.nets
        start = 1.0 if nets.momentum is None else nets.momentum  # what is not slow may have to follow too
        if heads_only:
            nets.follow_heads(start)
            return
        nets.follow(momentum_at(start, progress, nets.constant))
        if nets.average is not None:
            drift(nets.average, nets.encoder, self.job.config.ema)

    # --------------------------------------------------------------------------------- forward and loss

    def _outputs(self, part: Part, seed: int, progress: float, frozen: bool) -> Outputs:
        """What the objectives see of one part: everything of the global batch."""
        nets, sight, device, rows = self.nets, self.sight, self.job.device, part.rows
        rank = processes.rank()  # each process has other rows, so other dropout
        reseed(self.job.device, seed_of(seed, "encoder", rank))
        with torch.no_grad() if frozen else contextlib.nullcontext():
            features = sight.encode(nets.encoder, part.views)
        slow: tuple[Tensor, ...] = ()
        with torch.no_grad():
            if nets.slow is not None:
                reseed(self.job.device, seed_of(seed, "slow", rank))
                slow = sight.encode(nets.slow, part.views[:2])
        reseed(self.job.device, seed_of(seed, "heads", rank))
        heads = nets.base.heads(features, slow if nets.base.momentum is not None else ())
        more = self._more(part, seed_of(seed, "more", rank))
        labels = self.job.images.labels
        return Outputs(
            features=everyones(features),
            heads=Heads(everyones(heads.projections), everyones(heads.predictions), everyones(heads.targets)),
            rows=rows.to(device),
            labels=None if labels is None else labels[rows].to(device),
            momentum=everyones(slow) if nets.needs.momentum is not None else (),
            weak=more.weak,
            reference=more.reference,
            progress=progress,
        )

    @torch.no_grad()
    def _more(self, part: Part, seed: int) -> _More:
        """What only some regularizers ask for."""
        nets, sight = self.nets, self.sight
        reseed(self.job.device, seed)
        seen: Tensor | None = None
        if part.weak is not None:
            with still_statistics(nets.encoder):  # the control's statistics have not seen this view
                (own,) = sight.encode(nets.encoder, [part.weak])
            seen = processes.gather(own)
        reference: tuple[Tensor, ...] = ()
        if nets.first is not None:
            reference = everyones(sight.encode(nets.first, part.views[:2]))
        elif self.reference is not None:
            known = self.reference[part.rows].to(self.job.device, non_blocking=True)
            reference = (known, known)
        return _More(seen, reference)

    def _loss(self, outputs: Outputs, seed: int, apart: bool) -> Loss:
        """The base's loss and the regularizer's terms.

        `apart`, in the warm-up, the terms do not reach the base's heads: those are trained by the base alone, and all
        arms leave the warm-up with the same.
        """
        reseed(self.job.device, seed)  # equal in all processes, which compute the same loss
        base = self.nets.base.loss(outputs).float()
        if apart:
            outputs = dataclasses.replace(outputs, heads=_detached(outputs.heads))
        reseed(self.job.device, seed_of(seed, "terms"))
        terms = {name: term.float() for name, term in self.nets.regularizer.terms(outputs).items()}
        return Loss(base, terms)


@dataclass(frozen=True)
class _More:
    weak: Tensor | None
    reference: tuple[Tensor, ...]


def everyones(own: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Each with the rows of all processes."""
    return tuple(processes.gather(one) for one in own)


def _detached(heads: Heads) -> Heads:
    def each(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return tuple(tensor.detach() for tensor in tensors)

    return Heads(each(heads.projections), each(heads.predictions), each(heads.targets))
