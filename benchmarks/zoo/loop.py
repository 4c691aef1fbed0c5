"""One loop for all methods: seeded, resumable, and with nothing in it that belongs to one of them."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor, nn

from benchmarks.zoo import methods
from benchmarks.zoo.backbone import HINTS, PREPROCESSING, ResNet18, normalize
from benchmarks.zoo.images import Pool
from benchmarks.zoo.methods import Method
from benchmarks.zoo.views import view
from repdiag.errors import InputError, UsageError
from repdiag.exporting.safetensors_file import write
from repdiag.files import atomic

COLLAPSED = 0.05
WARMUP = 0.05
"""Share of the steps in which the learning rate rises."""

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Settings:
    """What an encoder depends on besides its method, the images and the versions of the libraries."""

    epochs: int
    batch_size: int = 128
    width: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch_size - 1, self.width) < 1:
            raise UsageError("Epochs and width are at least 1, batches at least 2")


@dataclass
class Run:
    """A method in training: its networks, the optimizer, and how many epochs are done."""

    method: Method
    optimizer: torch.optim.Optimizer
    done: int = 0

    def save(self, path: Path, identity: str) -> None:
        """Write everything that the next epoch depends on, atomically."""
        state = {
            "identity": identity,
            "done": self.done,
            "tensors": self.method.state_dict(),
            "optimizer": self.optimizer.state_dict(),
        }
        with atomic(path) as temporary:
            torch.save(state, temporary)

    def resume(self, path: Path, identity: str, device: torch.device) -> None:
        """Go on from `path`; raises UsageError when it belongs to another run."""
        state = torch.load(path, map_location=device, weights_only=True)
        if state["identity"] != identity:
            raise other_run(path)
        if self.method.state_dict().keys() != state["tensors"].keys():
            raise InputError("The checkpoint holds other networks", where=str(path), do="Remove it")
        self.method.load_state_dict(state["tensors"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.done = state["done"]


def other_run(path: Path) -> UsageError:
    """What there is comes from other images or settings."""
    return UsageError("This is of another run", where=str(path), do="Give another --out, or remove it")


def train(
    name: str,
    pool: Pool,
    settings: Settings,
    out: Path,
    device: torch.device,
    tell: Tell,
    pause: float = 30.0,
) -> Path:
    """Train the method called `name` and write `out`/<name>.safetensors; what is there already is left alone.

    A checkpoint is written whenever `pause` seconds have passed at the end of an epoch, and the same call goes on
    from it; on the CPU the weights are then equal, bit for bit, to those of a run that was not stopped. Raises
    UsageError when the files there are of another run, InputError when training diverges.
    """
    target, checkpoint = out / f"{name}.safetensors", out / f"{name}.checkpoint"
    identity = describe(name, pool, settings)
    if target.exists():
        if of_file(target) != identity:
            raise other_run(target)
        tell(f"{name}: {target} is there already")
        return target
    torch.manual_seed(settings.seed)
    backbone = ResNet18(settings.width)
    images = pool.images.to(device)
    if name == methods.RANDOM:
        return save(backbone.to(device), target, identity, spread(backbone, images))
    method = methods.make(name, backbone, pool.classes).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    run = Run(method, optimizer_of(method))
    if checkpoint.exists():
        run.resume(checkpoint, identity, device)
        tell(f"{name}: goes on after epoch {run.done}")
    labels, kept, width = pool.labels.to(device), time.monotonic(), spread(backbone, images)
    for epoch in range(run.done, settings.epochs):
        began = time.monotonic()
        loss = one_epoch(run, images, labels, epoch, settings)
        rate, width = len(images) / (time.monotonic() - began), spread(backbone, images)
        where = f"{name}: epoch {epoch + 1}/{settings.epochs}"
        tell(f"{where}, loss {loss:.4f}, spread {width:.3f}, {rate:.0f} images/s")
        run.done = epoch + 1
        if time.monotonic() - kept > pause and run.done < settings.epochs:
            run.save(checkpoint, identity)
            kept = time.monotonic()
    if width < COLLAPSED:
        tell(f"{name}: COLLAPSED: all images have nearly the same features (spread {width:.3f})")
    save(backbone, target, identity, width)
    checkpoint.unlink(missing_ok=True)
    return target


def one_epoch(run: Run, images: Tensor, labels: Tensor, epoch: int, settings: Settings) -> float:
    """Train once on every full batch: the mean loss. Raises InputError when it is not finite.

    Order and views are drawn anew from the seed and the epoch, so that a checkpoint needs no random state.
    """
    from lightly.utils.scheduler import cosine_warmup_schedule

    method = run.method
    draws = torch.Generator(images.device).manual_seed(1_000_003 * settings.seed + epoch)
    size = min(settings.batch_size, len(images))
    per_epoch = len(images) // size
    steps = settings.epochs * per_epoch
    total = torch.zeros((), device=images.device)
    method.train()
    for step, rows in enumerate(batches(len(images), size, draws), epoch * per_epoch):
        factor = cosine_warmup_schedule(step, steps, 1.0, 0.0, round(WARMUP * steps), 0.0)
        for group in run.optimizer.param_groups:
            group["lr"] = factor * method.recipe.learning_rate * size / 256
        views = [normalize(view(images[rows], draws)) for _ in range(method.views)]
        loss = method.loss(views, labels[rows])
        run.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        run.optimizer.step()
        method.follow((step + 1) / steps)
        total += loss.detach()
    if not total.isfinite():
        raise InputError(f"Training diverged in epoch {epoch + 1}: the loss is {float(total)}")
    return float(total) / per_epoch


def batches(n: int, size: int, draws: torch.Generator) -> Iterator[Tensor]:
    """Shuffled rows in full batches: a last, smaller one would upset batch norm and the number of negatives."""
    order = torch.randperm(n, generator=draws, device=draws.device)
    return iter(order[: n - n % size].view(-1, size))


def optimizer_of(method: Method) -> torch.optim.Optimizer:
    """SGD or LARS with momentum 0.9, as the method's recipe says; biases and norms do not decay, nor adapt."""
    recipe = method.recipe
    learned = [p for p in method.parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for p in learned if p.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in learned if p.ndim <= 1], "weight_decay": 0.0},
    ]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=0.9)
    from lightly.utils.lars import LARS

    return LARS(groups, lr=recipe.learning_rate, momentum=0.9)


def spread(backbone: nn.Module, images: Tensor, most: int = 512) -> float:
    """sqrt(D) times the mean standard deviation of unit-length features: 0 where all are alike, 1 at most.

    SimSiam's check for collapse, on the first images as they are, in evaluation mode.
    """
    was = backbone.training
    backbone.eval()
    with torch.inference_mode():
        unit = nn.functional.normalize(backbone(normalize(images[:most].float() / 255)))
    backbone.train(was)
    return float(unit.std(0, correction=0).mean()) * unit.shape[1] ** 0.5


def describe(name: str, pool: Pool, settings: Settings) -> str:
    """All that decides the weights, as JSON."""
    said = {"method": name, "images": len(pool.images), "pool": pool.fingerprint}
    if name == methods.RANDOM:
        return json.dumps(said | {"width": settings.width, "seed": settings.seed}, sort_keys=True)
    recipe = dataclasses.asdict(methods.RECIPES[name])
    return json.dumps(said | dataclasses.asdict(settings) | {"recipe": recipe}, sort_keys=True)


def save(backbone: nn.Module, target: Path, identity: str, width: float) -> Path:
    """Write the backbone with what `repdiag` needs to load it without an option."""
    metadata = {
        "format": "pt",
        "repdiag.hints": json.dumps(HINTS),
        "repdiag.preprocessing": json.dumps(PREPROCESSING),
        "zoo.run": identity,
        "zoo.spread": f"{width:.4f}",
    }
    with atomic(target) as temporary, temporary.open("wb") as file:
        write(file, backbone.state_dict(), metadata)
    return target


def of_file(path: Path) -> str | None:
    """The run that an encoder of the zoo comes from; None for another file."""
    with safe_open(str(path), "pt") as file:
        return (file.metadata() or {}).get("zoo.run")
