"""From what a layer gives to one vector per image: the poolings, and which of them fits what."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from repdiag.errors import UsageError
from repdiag.registry import did_you_mean

POOLS = ("auto", "cls", "mean", "cls+mean", "gap", "gem", "flatten")
OF_MAPS, OF_TOKENS = ("gap", "gem", "flatten"), ("cls", "mean", "cls+mean", "flatten")
GEM_POWER, GEM_FLOOR = 3.0, 1e-6

_SAID = {
    "rows": "as it is",
    "cls": "class token",
    "first": "first token",
    "mean": "mean of the patch tokens",
    "cls+mean": "class token, then the mean of the patch tokens",
    "gap": "global average",
    "gem": f"generalized mean, p = {GEM_POWER:g}, of values raised to at least {GEM_FLOOR:g}",
    "flatten": "all values",
}


@dataclass(frozen=True)
class Form:
    """What one layer gives for each image: a vector (D), tokens (T, D), or a map (C, h, w) or (h, w, C).

    The first `prefix` tokens are no patches (None: nobody knows how many); the very first is a class token if
    `class_token`. `averages`: the network itself averages its patch tokens.
    """

    shape: tuple[int, ...]
    channels_last: bool = False
    prefix: int | None = None
    class_token: bool = False
    averages: bool = False

    def __str__(self) -> str:
        size = " x ".join(map(str, self.shape))
        if len(self.shape) == 3:
            return f"a feature map of {size} (channels {'last' if self.channels_last else 'first'})"
        return f"{self.shape[0]} tokens of {self.shape[1]}" if len(self.shape) == 2 else f"{size} features"


@dataclass(frozen=True)
class Pooling:
    """One way from what a layer gives, of the stated form, to (B, D) float32."""

    how: str
    form: Form

    def __call__(self, values: torch.Tensor) -> torch.Tensor:
        """(B, *form.shape) of any float type -> (B, D) float32, in memory of its own.

        Averages are accumulated in float32 at least. The layer's memory may be overwritten afterwards.
        """
        form = self.form
        if self.how == "rows":
            return values.float().clone()
        if self.how == "flatten":
            return values.flatten(1).float().clone()
        if self.how in ("gap", "gem"):
            image = (1, 2) if form.channels_last else (2, 3)
            if self.how == "gap":
                return values.mean(image, dtype=torch.float32)
            powers = values.float().clamp(min=GEM_FLOOR).pow(GEM_POWER)
            return powers.mean(image).pow(1 / GEM_POWER)
        first = values[:, 0].float().clone()
        if self.how in ("cls", "first"):
            return first
        mean = values[:, form.prefix or 0 :].mean(1, dtype=torch.float32)
        return mean if self.how == "mean" else torch.cat([first, mean], 1)

    def __str__(self) -> str:
        return _SAID[self.how]


def fitting(form: Form, pool: str, name: str) -> Pooling:
    """The pooling called `pool` for the layer `name`, which gives `form`; "auto" takes what suits it.

    Auto averages maps; of tokens it takes what the network itself would: the class token or the patches' mean.
    Raises UsageError when they do not go together, with what would.
    """
    if pool not in POOLS:
        raise UsageError(f"There is no pooling '{pool}'", do=did_you_mean(pool, list(POOLS)))
    kind = len(form.shape)
    if pool == "auto":
        if kind == 1:
            return Pooling("rows", form)
        return Pooling("gap" if kind == 3 else _own(form), form)
    if kind == 1:
        raise UsageError(f"--pool {pool} has nothing to pool: {name} gives {form}", do="Leave --pool out")
    if pool not in (OF_MAPS if kind == 3 else OF_TOKENS):
        others = OF_MAPS if kind == 3 else _possible(form)
        meant = "tokens" if kind == 3 else "feature maps"
        raise UsageError(
            f"--pool {pool} is for {meant}, and {name} gives {form}", do=f"Use {' or '.join(others)}"
        )
    if pool not in _possible(form) and kind == 2:
        lacking = (
            "does not say how many of its tokens are no patches (an attribute num_prefix_tokens would)"
            if form.prefix is None
            else "has no class token there"
        )
        do = f"Use {' or '.join(_possible(form))}"
        raise UsageError(
            f"--pool {pool} does not fit {name}, which gives {form}: the network {lacking}", do=do
        )
    return Pooling(pool, form)


def _own(form: Form) -> str:
    if form.prefix is None:
        return "first"
    return "cls" if form.class_token and not form.averages else "mean"


def _possible(form: Form) -> tuple[str, ...]:
    """What can be done with a map or with tokens of this form."""
    if len(form.shape) == 3:
        return OF_MAPS
    if form.prefix is None:
        return ("auto", "flatten")
    return OF_TOKENS if form.class_token else ("mean", "flatten")


def unit(values: torch.Tensor) -> torch.Tensor:
    """Rows of (B, D) float32 at length 1; a row of zeros stays one. Neither tiny nor huge rows overflow."""
    largest = values.abs().amax(1, keepdim=True)
    scaled = values / torch.where(largest > 0, largest, 1)
    length = scaled.norm(dim=1, keepdim=True)
    return scaled / torch.where(length > 0, length, 1)
