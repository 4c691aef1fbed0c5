"""Random views of a batch, drawn for each image on the device that holds them, without a loop over images."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

AREA, ASPECT, FLIP = (0.2, 1.0), (3 / 4, 4 / 3), 0.5
BRIGHTNESS, CONTRAST, SATURATION, HUE, JITTERED = 0.4, 0.4, 0.4, 0.1, 0.8
GRAY = 0.2
BLURRED, SIGMA, RADIUS = 0.5, (0.1, 1.0), 2

_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_LUMA = _YIQ[:1]
_TURN = torch.linalg.inv(_YIQ) @ torch.tensor([[0.0, 0, 0], [0, 0, -1], [0, 1, 0]]) @ _YIQ
"""A quarter turn of the chroma plane, in RGB."""


def view(images: Tensor, generator: torch.Generator) -> Tensor:
    """One random view of each of (N, 3, H, W) uint8 images: the same shape, float32 in [0, 1].

    SimCLR's family for small images: a crop of 20-100 % of the area resized to the whole, a flip, jitter of
    brightness, contrast, saturation and hue (for 80 % of the images), gray (20 %), Gaussian blur (50 %).
    It differs from torchvision's transforms in that a box that would leave the image is made narrower instead
    of drawn again, that jitter has a fixed order and is clamped once, and that hue turns in YIQ, not HSV.
    """
    x = images.float() / 255
    return blur(color(crop(x, generator), generator), generator)


def crop(x: Tensor, generator: torch.Generator) -> Tensor:
    """Random boxes of each image, resized to its full size, half of them mirrored."""
    n = len(x)
    area = uniform(n, *AREA, generator)
    aspect = uniform(n, math.log(ASPECT[0]), math.log(ASPECT[1]), generator).exp()
    width, height = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    left = (1 - width) * uniform(n, -1, 1, generator)
    top = (1 - height) * uniform(n, -1, 1, generator)
    sign = torch.where(uniform(n, 0, 1, generator) < FLIP, -1.0, 1.0)
    nothing = torch.zeros_like(width)
    rows = [width * sign, nothing, left, nothing, height, top]
    grid = F.affine_grid(torch.stack(rows, 1).view(n, 2, 3), list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def color(x: Tensor, generator: torch.Generator) -> Tensor:
    """Random contrast about the mean luma, then brightness, saturation and hue as one color matrix per image.

    With P the projection onto luma, saturation s and hue angle a make s cos(a) (1 - P) + s sin(a) T + P, T a
    quarter turn of the chroma; a gray image is one of saturation 0.
    """
    n = len(x)
    jittered = uniform(n, 0, 1, generator) < JITTERED

    def factor(strength: float, center: float = 1.0) -> Tensor:
        drawn = uniform(n, center - strength, center + strength, generator)
        return torch.where(jittered, drawn, center).view(n, 1, 1)

    contrast, brightness, saturation = factor(CONTRAST), factor(BRIGHTNESS), factor(SATURATION)
    angle = 2 * math.pi * factor(HUE, 0.0)
    saturation = saturation * (uniform(n, 0, 1, generator) >= GRAY).view(n, 1, 1)
    luma = _LUMA.to(x.device).expand(3, 3)
    rest, turn = torch.eye(3, device=x.device) - luma, _TURN.to(x.device)
    matrix = brightness * (luma + saturation * (angle.cos() * rest + angle.sin() * turn))
    flat = x.flatten(2)
    middle = (_LUMA.to(x.device) @ flat).mean(2, keepdim=True)
    return (matrix @ (contrast * flat + (1 - contrast) * middle)).view_as(x).clamp(0, 1)


def blur(x: Tensor, generator: torch.Generator) -> Tensor:
    """A Gaussian of random width for half of the images, one axis after the other; edges are mirrored."""
    n = len(x)
    sigma = uniform(n, *SIGMA, generator).view(n, 1)
    steps = torch.arange(-RADIUS, RADIUS + 1, device=x.device)
    weights = (-0.5 * (steps / sigma) ** 2).exp()
    weights = weights / weights.sum(1, keepdim=True)
    blurred = uniform(n, 0, 1, generator).view(n, 1) < BLURRED
    weights = torch.where(blurred, weights, (steps == 0).float())
    height, width = x.shape[2:]
    padded = F.pad(x, [RADIUS] * 4, mode="reflect")
    taps = [w.view(n, 1, 1, 1) for w in weights.unbind(1)]
    down = torch.stack([w * padded[:, :, k : k + height] for k, w in enumerate(taps)]).sum(0)
    return torch.stack([w * down[..., k : k + width] for k, w in enumerate(taps)]).sum(0).clamp(0, 1)


def uniform(n: int, low: float, high: float, generator: torch.Generator) -> Tensor:
    """n numbers between `low` and `high`, drawn where the generator lives."""
    return low + (high - low) * torch.rand(n, generator=generator, device=generator.device)
