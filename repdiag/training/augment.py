"""Random views of a batch on the device that holds it: what is random is drawn first, then applied to all at once.

A view is a crop resized to the encoder's size, a flip, a blur, jitter of brightness, contrast, saturation and hue,
gray, and solarization: SimCLR's family (Chen et al. 2020, appendix A), with BYOL's solarization. Resizing and blur
are linear along each axis, so both are one matrix per image and axis, and all pixels of a batch pass through two
batched matrix products; the colors are a third. The resizing is that of torchvision with antialiasing (triangle
filter, widened where it shrinks): a bilinear `grid_sample` would be 2-3 times as fast on a CPU, and alias where a
crop is larger than the view (small crops; encoders whose `resize` is more than their `size`).

It differs from torchvision's transforms in these points, all ours: jitter has the fixed order contrast, brightness,
saturation, hue, and is clamped to [0, 1] once, at its end; the blur comes before it (the two exchange but for that
clamp and the contrast's mean); hue turns in YIQ, not HSV.
"""

from __future__ import annotations

import dataclasses
import functools
import math

import torch
from torch import Tensor, nn

from repdiag.encoders import Preprocessing
from repdiag.training.config import TuneConfig
from repdiag.training.draws import GRAYED, Augmentation, Draws, draw

__all__ = ["Augmentation", "Draws", "apply", "augmentations", "draw", "normalize", "small_side", "weak"]

SMALL = 96 / 224
"""Side of small crops to that of full ones (SwAV)."""
SMALLEST_AREA = 0.05
_CPU_PIXELS = 64 * 64 * 64
"""Pixels of a channel that a CPU takes at a time, so that they stay in its caches."""

_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
_LUMA = _YIQ[:1]
_TURN = torch.linalg.inv(_YIQ) @ torch.tensor([[0.0, 0, 0], [0, 0, -1], [0, 1, 0]]) @ _YIQ
"""A quarter turn of the chroma plane, in RGB."""


@torch.no_grad()
def apply(images: Tensor, draws: Draws, how: Augmentation) -> Tensor:
    """The views of `images` (n, C, S, S) uint8 that `draws` say: (n, C, size, size) float32 in [0, 1].

    C is 3, or 1: then saturation, hue and gray have nothing to change. Computed in float32 on the images' device,
    also under autocast; neutral draws give the image back exactly where S is `size`. Boxes are rounded to whole
    pixels. Raises ValueError for other shapes and types. Time O(n C S size (S + size)).
    """
    n, channels, side = len(images), images.shape[1], images.shape[-1]
    if images.dtype != torch.uint8 or images.dim() != 4 or channels not in (1, 3) or images.shape[2] != side:
        raise ValueError(f"expected (n, 1 or 3, S, S) uint8, not {tuple(images.shape)} {images.dtype}")
    if len(draws) != n:
        raise ValueError(f"{len(draws)} draws for {n} images")
    draws = draws.to(images.device)
    part = max(1, _CPU_PIXELS // side**2) if images.device.type == "cpu" else max(1, n)
    with torch.autocast(images.device.type, enabled=False):
        views = [
            _view(images[start : start + part], draws.rows(slice(start, start + part)), how)
            for start in range(0, n, part)
        ]
    return (
        torch.cat(views) if views else images.new_zeros(0, channels, how.size, how.size, dtype=torch.float32)
    )


def _view(images: Tensor, draws: Draws, how: Augmentation) -> Tensor:
    n, channels, side, _ = images.shape
    size = how.size
    across = _resizing(draws.width, draws.left, side, size, draws.flip)
    down = _resizing(draws.height, draws.top, side, size)
    if how.blur:
        smooth = _blurring(draws.sigma, size, how.radius)
        across, down = smooth @ across, smooth @ down
    rows = images.transpose(1, 2).to(torch.float32, memory_format=torch.contiguous_format)
    x = down @ rows.view(n, side, channels * side)
    x = x.view(n, size * channels, side) @ across.mT
    x = x.view(n, size, channels, size).transpose(1, 2).reshape(n, channels, size * size)
    if how.color or how.gray:
        x = _colored(x, draws)
    if how.solarize:
        turned = (draws.solarize.view(n, 1, 1) > 0) & (x >= 127.5)
        x = torch.where(turned, 255 - x, x)
    return x.view(n, channels, size, size).div_(255)


def _resizing(share: Tensor, place: Tensor, side: int, size: int, flip: Tensor | None = None) -> Tensor:
    """Weights (n, size, side) of the pixels along an axis: a box of whole pixels, resized with antialiasing.

    Output i looks at c_i = begin + (i + 1/2) s, s = length / size, and pixel j counts with max(0, 1 - |c_i - j - 1/2| /
    max(s, 1)) if it is in the box, normalized to sum 1. `flip` turns the outputs around.
    """
    length = (share * side).round().clamp(1, side)
    begin = (place * (side - length + 1)).floor().clamp(min=0).minimum(side - length)
    output = torch.arange(size, device=share.device) + 0.5
    pixel = torch.arange(side, device=share.device) + 0.5
    steps = output.expand(len(share), -1)
    if flip is not None:
        steps = torch.where(flip.view(-1, 1) > 0, size - steps, steps)
    scale = (length / size).view(-1, 1)
    center = (begin.view(-1, 1) + steps * scale).unsqueeze(2)
    weights = (1 - (center - pixel).abs_() / scale.clamp(min=1).unsqueeze(2)).clamp_(min=0)
    inside = (pixel > begin.view(-1, 1)) & (pixel < (begin + length).view(-1, 1))
    weights *= inside.unsqueeze(1)
    return weights / weights.sum(2, keepdim=True)


def _blurring(sigma: Tensor, size: int, radius: int) -> Tensor:
    """Weights (n, size, size) of a Gaussian along an axis, cut at `radius`, edges mirrored; the identity for 0."""
    steps = torch.arange(radius + 1, device=sigma.device)
    kernel = (-0.5 * (steps / sigma.clamp(min=1e-3).view(-1, 1)) ** 2).exp()
    kernel = kernel / (2 * kernel.sum(1, keepdim=True) - 1)  # both sides, and the middle once
    return (kernel @ _neighbors(size, radius, sigma.device)).view(-1, size, size)


@functools.lru_cache(maxsize=16)
def _neighbors(size: int, radius: int, device: torch.device) -> Tensor:
    """(radius + 1, size^2): for each distance, 1 where pixel j or a mirror image of it is so far from pixel i."""
    pixel = torch.arange(size, device=device)
    i, j, last = pixel.view(-1, 1), pixel, size - 1
    far = [((i - j).abs() == d).float() for d in range(radius + 1)]
    far = [one + ((i + j == d) & (j > 0)) for d, one in enumerate(far)]
    far = [one + ((2 * last - i - j == d) & (j < last)) for d, one in enumerate(far)]
    return torch.stack(far).flatten(1)


def _colored(x: Tensor, draws: Draws) -> Tensor:
    """Contrast about the mean luma, then brightness, saturation and hue as one color matrix per image.

    x (n, C, P) in [0, 255]. With L the projection onto luma, saturation s and hue angle a make s cos(a) (1 - L) +
    s sin(a) T + L, T a quarter turn of the chroma; a gray image is one of saturation 0.
    """
    column = (-1, 1, 1)
    contrast, brightness = draws.contrast.view(column), draws.brightness.view(column)
    if x.shape[1] == 1:
        mean = x.mean(2, keepdim=True)
        return (brightness * (contrast * x + (1 - contrast) * mean)).clamp_(0, 255)
    weights, turn = _LUMA.to(x.device), _TURN.to(x.device)
    luma = weights.expand(3, 3)
    rest = torch.eye(3, device=x.device) - luma
    saturation = (draws.saturation * (1 - draws.gray)).view(column)
    angle = 2 * math.pi * draws.hue.view(column)
    matrix = luma + saturation * (angle.cos() * rest + angle.sin() * turn)
    plain = (saturation == 1) & (angle == 0)
    matrix = torch.where(plain, torch.eye(3, device=x.device), matrix)  # exactly, which the sum is not
    mean = weights @ x.mean(2, keepdim=True)
    shift = brightness * (1 - contrast) * mean  # gray, which the matrix leaves as it is
    return torch.baddbmm(shift, brightness * contrast * matrix, x).clamp_(0, 255)


def normalize(views: Tensor, how: Preprocessing) -> Tensor:
    """(n, C, H, W) in [0, 1] -> the encoder's input, (x - mean) / std per channel, in channels_last."""
    mean, std = (views.new_tensor(values).view(-1, 1, 1) for values in (how.mean, how.std))
    return ((views - mean) / std).contiguous(memory_format=torch.channels_last)


def augmentations(
    config: TuneConfig, how: Preprocessing, small: int | None = None
) -> tuple[Augmentation, ...]:
    """How each of the `config.views` views of an image is drawn: two of full size, then small crops.

    Full views are crops of `config.crop_min` to 1 of the area with jitter of strength `config.color` (and 20 % gray
    views unless that is 0), the second also solarized. Small ones are crops of 0.05 to `config.small_crop_max`
    at `small` pixels; None takes 3/7 of the encoder's size (SwAV's 96 of 224) rounded to a multiple of 8, and an
    encoder of one size only needs `small_side`.
    """
    gray = GRAYED if config.color else 0.0
    first = Augmentation(
        how.size, (config.crop_min, 1.0), color=config.color, gray=gray, blur=config.blur, solarize=0.0
    )
    second = dataclasses.replace(first, solarize=config.solarize)
    largest = config.small_crop_max
    side = small or _rounded(how.size, 8)
    crop = dataclasses.replace(first, size=side, crop=(min(SMALLEST_AREA, largest / 2), largest))
    return first, second, *(crop,) * (config.views - 2)


def weak(how: Preprocessing) -> Augmentation:
    """A weak view: a crop of half the area or more and a flip, nothing else."""
    return Augmentation(how.size, (0.5, 1.0), color=0.0, gray=0.0, blur=0.0)


def _rounded(size: int, multiple: int) -> int:
    """The small crops' side for full views of `size` pixels."""
    return min(size, max(multiple, round(SMALL * size / multiple) * multiple))


@torch.no_grad()
def small_side(network: nn.Module, how: Preprocessing) -> int:
    """The side of small crops that `network` takes: about 3/7 of its size, or its size where it takes no other.

    Multiples of 8, 14 and 32 are tried on black images, in eval mode; a side is taken when as many features come out
    as at full size.
    """
    was = {module: module.training for module in network.modules()}
    one = next(network.parameters(), torch.zeros(()))
    network.eval()

    def features(side: int) -> torch.Size:
        found: Tensor = network(torch.zeros(1, how.channels, side, side, device=one.device, dtype=one.dtype))
        return found.shape

    try:
        whole = features(how.size)
        for multiple in (8, 14, 32):
            side = _rounded(how.size, multiple)
            try:
                if features(side) == whole:
                    return side
            except (RuntimeError, ValueError, AssertionError, IndexError):  # how networks refuse a size
                continue
        return how.size
    finally:
        for module, training in was.items():
            module.training = training
