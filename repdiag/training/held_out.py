"""A label-free signal on images that are not trained on."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from repdiag.objectives import processes
from repdiag.objectives.contract import Heads, Outputs
from repdiag.training.draws import draw
from repdiag.training.seeds import reseed, seed_of
from repdiag.training.step import Stepper, everyones


@torch.no_grad()
def held_out(steps: Stepper) -> float:
    """The base's loss, without the regularizer, of the encoder that would be kept on fixed views of the validation
    images, in eval mode: the mean over full parts of a batch. NaN without validation images.

    A copy of the base is asked, whose queues and centers do not learn from it. Of an average of weights the heads are
    those of the trained encoder. It is no measure of quality: losses with a queue or with moving targets
    change their meaning while they train, and a base's loss can fall while what is learned gets worse.
    """
    job, plan, nets, sight = steps.job, steps.plan, steps.nets, steps.sight
    images, count = job.validation, processes.count()
    size = 0 if images is None else min(plan.part, len(images) // count * count)
    if images is None or size < 2:
        return float("nan")
    base, labels = copy.deepcopy(nets.base).eval(), images.labels
    own = slice(processes.rank() * size // count, (processes.rank() + 1) * size // count)
    places = torch.arange(len(images) // size * size).view(-1, size)
    total = torch.zeros((), device=job.device, dtype=torch.float64)
    batches = images.batches(part[own] for part in places)
    for number, (rows, squares) in enumerate(zip(places, batches, strict=True)):
        generator = torch.Generator().manual_seed(seed_of(job.config.seed, "held-out views", number))
        draws = [draw(size, how, generator).rows(own) for how in steps.feed.how]
        views = sight.views(squares, draws, steps.feed.how)
        features = sight.encode(nets.result, views)
        slow: tuple[Tensor, ...] = ()
        if nets.slow is not None and base.momentum is not None:
            slow = sight.encode(nets.slow, views[:2])
        reseed(job.device, seed_of(job.config.seed, "held-out loss", number))
        heads = base.heads(features, slow)
        outputs = Outputs(
            features=everyones(features),
            heads=Heads(everyones(heads.projections), everyones(heads.predictions), everyones(heads.targets)),
            rows=rows.to(job.device),
            labels=None if labels is None else labels[rows].to(job.device),
            momentum=everyones(slow),
        )
        total += base.loss(outputs).double()
    return float(total / len(places))
