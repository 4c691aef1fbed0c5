"""What is random in views of images: what it is drawn from, and the numbers drawn, one of each for every view."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor

JITTERED = 0.8
"""Share of the views whose colors are jittered."""
BRIGHTNESS, CONTRAST, SATURATION, HUE = 0.8, 0.8, 0.8, 0.2
"""Jitter at strength 1: factors in 1 +- 0.8, hue in +- 0.2 turns."""
GRAYED = 0.2
"""Share of gray views, where there is color jitter."""
_TRIES = 10


@dataclass(frozen=True)
class Augmentation:
    """What views of `size` pixels are drawn from.

    `crop` bounds the box's share of the square's area, `aspect` its width over its height. `flip`, `gray`, `blur` and
    `solarize` are the shares of views to which that happens. `color` is the strength of the jitter, of which 80 %
    of the views get one: brightness, contrast and saturation by factors in 1 +- 0.8 color, hue by +- 0.2 color turns.
    Of a gray encoder's images only brightness and contrast are jittered.
    """

    size: int
    crop: tuple[float, float] = (0.2, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    flip: float = 0.5
    color: float = 0.5
    gray: float = GRAYED
    blur: float = 0.5
    solarize: float = 0.0

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"views have at least one pixel, not {self.size}")
        if not 0 < self.crop[0] <= self.crop[1] <= 1:
            raise ValueError(f"crop bounds a share of the area, not {self.crop}")
        if not 0 < self.aspect[0] <= self.aspect[1] < math.inf:
            raise ValueError(f"aspect bounds a ratio, not {self.aspect}")
        for name in ("flip", "gray", "blur", "solarize"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a share from 0 to 1, not {getattr(self, name)}")
        if not 0 <= self.color < math.inf:
            raise ValueError(f"color must be at least 0, not {self.color}")

    @property
    def radius(self) -> int:
        """Pixels on either side that a blur looks at: a kernel of a tenth of the side as in SimCLR, at least 5."""
        return min(max(2, round(self.size / 20)), self.size - 1)

    @property
    def sigma(self) -> tuple[float, float]:
        """Bounds of the blur's standard deviation in pixels: SimCLR's 0.1-2 from 80 pixels on, less below."""
        return 0.1, min(2.0, max(2, round(self.size / 20)) / 2)


@dataclass(frozen=True)
class Draws:
    """What is random in n views, (n,) float32 each; the fields' neutral values leave an image as it is.

    `width` and `height` are the box's sides as shares of the square's, `left` and `top` in [0, 1) its place among
    those it can have. `flip`, `gray` and `solarize` are 0 or 1, `hue` turns, `sigma` pixels (0: no blur).
    """

    width: Tensor  # 1
    height: Tensor  # 1
    left: Tensor
    top: Tensor
    flip: Tensor  # 0
    brightness: Tensor  # 1
    contrast: Tensor  # 1
    saturation: Tensor  # 1
    hue: Tensor  # 0
    gray: Tensor  # 0
    sigma: Tensor  # 0
    solarize: Tensor  # 0

    def __len__(self) -> int:
        return len(self.width)

    def rows(self, part: slice) -> Draws:
        """Those of some of the views."""
        return Draws(*(one[part] for one in self._columns()))

    def to(self, device: torch.device | str) -> Draws:
        """The same on `device`, in one transfer."""
        if self.width.device == torch.device(device):
            return self
        return Draws(*torch.stack(self._columns()).to(device, non_blocking=True).unbind())

    def _columns(self) -> list[Tensor]:
        return [getattr(self, one.name) for one in dataclasses.fields(self)]


def draw(n: int, how: Augmentation, generator: torch.Generator) -> Draws:
    """What n views are, as `how` says, drawn on `generator`'s device (the CPU, for runs that are to be the same
    whatever the device and the number of processes).

    As many numbers are taken from the generator whatever `how` says. Boxes are drawn as torchvision's
    RandomResizedCrop does: area uniform, log of the aspect uniform, drawn again up to 9 times where the box would leave
    the square, which then is taken whole.
    """  # fmt: skip
    device = generator.device
    u = torch.rand(2 * _TRIES + 12, n, generator=generator, device=device)
    area = _between(u[:_TRIES], *how.crop)
    aspect = _between(u[_TRIES : 2 * _TRIES], *map(math.log, how.aspect)).exp()
    width, height = (area * aspect).sqrt(), (area / aspect).sqrt()
    fits = (width <= 1) & (height <= 1)
    first = fits.float().argmax(0, keepdim=True)  # the first that is true, 0 where none is
    found = fits.any(0)
    width, height = (torch.where(found, one.gather(0, first)[0], 1.0) for one in (width, height))
    left, top, flip, jitter, brightness, contrast, saturation, hue, gray, blur, sigma, solarize = u[
        2 * _TRIES :
    ]
    jittered = jitter < (JITTERED if how.color else 0.0)

    def factor(share: Tensor, most: float, neutral: float = 1.0) -> Tensor:
        low = neutral - most * how.color
        drawn = _between(share, max(low, 0.0) if neutral else low, neutral + most * how.color)
        return torch.where(jittered, drawn, neutral)

    return Draws(
        width=width,
        height=height,
        left=left,
        top=top,
        flip=(flip < how.flip).float(),
        brightness=factor(brightness, BRIGHTNESS),
        contrast=factor(contrast, CONTRAST),
        saturation=factor(saturation, SATURATION),
        hue=factor(hue, HUE, 0.0),
        gray=(gray < how.gray).float(),
        sigma=torch.where(blur < how.blur, _between(sigma, *how.sigma), 0.0),
        solarize=(solarize < how.solarize).float(),
    )


def _between(share: Tensor, low: float, high: float) -> Tensor:
    return low + (high - low) * share
