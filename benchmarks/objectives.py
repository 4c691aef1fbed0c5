"""Times each regularizer's terms against one training step of its encoder, and prints a Markdown table.

    python -m benchmarks.objectives [--device cpu|cuda] [--batch N] [--models half@32,resnet18@32,resnet18@224]
                                    [--dims 2048] [--regularizers qscore,dsa]

A step is that of the base SimCLR: two views through the encoder, projector, loss, backward. A regularizer's time is
that of its terms, forward and backward down to the features, with all that it needs (momentum, weak and reference
features) given; "new passes" names what the loop must run the encoder for besides. Each time is the
least of --repeats, in turns, with the spread to the median. --dims adds rows of other widths D without an encoder.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torchvision.models import resnet18

from benchmarks.zoo.backbone import ResNet18
from repdiag.objectives.contract import BASES, REGULARIZERS, Base, Heads, Loss, Outputs, Regularizer

Work = Callable[[], object]


@dataclass(frozen=True)
class Timed:
    """Milliseconds: the least of all repeats, and their median."""

    least: float
    median: float

    def __str__(self) -> str:
        return f"{self.least:.1f} (+{100 * (self.median / self.least - 1):.0f} %)"


def timed(work: Sequence[Work], repeats: int, device: torch.device) -> list[Timed]:
    """Each of `work` once to warm up, then all in turns, so that a busy machine is busy for all.

    Quick ones are called ten times in a turn.
    """

    def once(one: Work) -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        one()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return 1000 * (time.perf_counter() - began)

    for one in work:
        one()
    times = [[once(one)] for one in work]
    calls = [10 if first[0] < 100 else 1 for first in times]
    for _ in range(repeats - 1):
        for one, found, count in zip(work, times, calls, strict=True):
            found.extend(once(one) for _ in range(count))
    return [Timed(min(found), statistics.median(found)) for found in times]


def encoder(name: str) -> tuple[nn.Module, int]:
    """A network by its name: "half" is the zoo's narrow ResNet-18 for small images, "resnet18" torchvision's."""
    if name == "half":
        return ResNet18(32), 256
    if name == "resnet18":
        network = resnet18()
        network.fc = nn.Identity()
        return network, 512
    raise SystemExit(f"There is no model '{name}': half or resnet18")


def training_step(name: str, size: int, batch: int, device: torch.device) -> tuple[Work, int]:
    """One step without the optimizer, bfloat16 on CUDA; and D."""
    network, dim = encoder(name)
    network = network.to(device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    base: Base = BASES.get("simclr")(dim).to(device)
    views = [
        torch.randn(batch, 3, size, size, device=device).contiguous(memory_format=torch.channels_last)
        for _ in range(2)
    ]
    rows = torch.arange(batch, device=device)

    def step() -> None:
        network.zero_grad(set_to_none=True)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            features = tuple(network(view).float() for view in views)
            heads = base.heads(features)
        base.loss(Outputs(features, heads, rows)).backward()

    return step, dim


def regularizing(
    kind: type[Regularizer], dim: int, batch: int, device: torch.device
) -> tuple[Work, Regularizer]:
    """Forward and backward of one regularizer's terms on features like an encoder's, after ReLU."""
    draws = torch.Generator().manual_seed(0)

    def features() -> Tensor:
        return torch.randn(batch, dim, generator=draws).exp().to(device)

    regularizer, base = kind(), BASES.get("simclr")(dim).to(device)
    views = tuple(features().requires_grad_() for _ in range(2))
    with torch.no_grad():
        projections = base.heads(views).projections
    heads = Heads(tuple(z.float().requires_grad_() for z in projections))
    regularizer.attach(dim, heads, 10)
    regularizer.to(device).train()
    if regularizer.needs.images:
        regularizer.begin_epoch(0, [view.detach() for view in views])
    given = Outputs(
        views,
        heads,
        torch.arange(batch, device=device),
        momentum=(features(), features()),
        weak=features(),
        reference=(features(), features()),
    )

    def work() -> None:
        regularizer.zero_grad(set_to_none=True)
        for leaf in (*views, *heads.projections):
            leaf.grad = None
        terms = regularizer.terms(given)
        if terms:
            Loss(torch.zeros((), device=device), terms).total.backward()

    return work, regularizer


def passes(regularizer: Regularizer) -> str:
    """The passes of an encoder that a step needs besides."""
    needs = regularizer.needs
    named = {
        "slow encoder, 2 views": needs.momentum is not None,
        "weak view": needs.weak_view,
        "start encoder, 2 views": needs.reference == "views",
        "clean images, once": needs.reference == "images",
        "clean images, per epoch": needs.images,
    }
    return ", ".join(what for what, needed in named.items() if needed) or "none"


def main(argv: Sequence[str] | None = None) -> int:
    """Time and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--batch", type=int, help="images per step (default: 64, on CUDA 256)")
    parser.add_argument("--models", default="half@32,resnet18@32,resnet18@224")
    parser.add_argument("--dims", default="2048", help="other widths D, without an encoder")
    parser.add_argument("--regularizers", default="", help="which, with commas (default: all)")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args(argv)
    device, batch = (
        torch.device(arguments.device),
        arguments.batch or (256 if arguments.device != "cpu" else 64),
    )
    chosen = [name for name in arguments.regularizers.split(",") if name]
    kinds = [
        kind for kind in REGULARIZERS if kind.kind.name != "none" and (not chosen or kind.kind.name in chosen)
    ]
    where = (
        torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    )
    print(
        f"N = {batch}, {where}, torch {torch.__version__}; milliseconds: least (and how far above it the median lies)\n"
    )
    print(
        "| step | its ms | regularizer | ms | share of the step | new passes |\n|---|---|---|---|---|---|",
        flush=True,
    )
    models = [tuple(model.split("@")) for model in arguments.models.split(",") if model]
    for name, size in [*models, *((dim, "") for dim in arguments.dims.split(",") if dim)]:
        torch.manual_seed(0)
        steps: list[Work] = []
        dim = int(name) if not size else 0
        if size:
            step, dim = training_step(name, int(size), batch, device)
            steps = [step]
        made = [regularizing(kind, dim, batch, device) for kind in kinds]
        repeats = (
            max(2, arguments.repeats // 2) if size == "224" and device.type == "cpu" else arguments.repeats
        )
        found = timed([*steps, *(work for work, _ in made)], repeats, device)
        whole, rest = (found[0], found[1:]) if steps else (None, found)
        for (_, regularizer), took in zip(made, rest, strict=True):
            share = f"{100 * took.least / whole.least:.1f} %" if whole else "-"
            title = f"{name} at {size}, D = {dim}" if size else f"D = {dim}"
            row = (title, whole or "-", regularizer.kind.name, took, share, passes(regularizer))
            print("| " + " | ".join(map(str, row)) + " |", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
