"""Small pictures of the page: photographs as JPEG, heat maps as PNG that lets them through, outlines as paths."""

from __future__ import annotations

import io
import math
from functools import cache

import numpy as np
from PIL import Image

from repdiag.explaining.types import Pixels
from repdiag.heatmaps.geometry import upsample
from repdiag.types import BoolArray, FloatArray

MOST_PIXELS = 160  # a side of a photograph
OVERLAY = 64  # a side of a heat map: the grids behind are 2 to 16 places wide
LEVELS = 64
MOST_CORNERS = 400  # of an outline
OPACITY = 0.85


@cache
def ramp() -> Pixels:
    """`LEVELS` colors (LEVELS, 3) from dark violet over green to light yellow, ever lighter, so that eyes of any kind
    put them in the same order. An even walk through OKLCH (Ottosson's matrices). Ours."""
    colors = []
    for t in np.linspace(0, 1, LEVELS):
        lightness, hue = 0.27 + 0.66 * t, math.radians(295 - 190 * t)
        chroma = 0.115 + 0.04 * math.sin(math.pi * t)
        a, b = chroma * math.cos(hue), chroma * math.sin(hue)
        cones = (
            (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3,
            (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3,
            (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3,
        )
        linear = (
            4.0767416621 * cones[0] - 3.3077115913 * cones[1] + 0.2309699292 * cones[2],
            -1.2684380046 * cones[0] + 2.6097574011 * cones[1] - 0.3413193965 * cones[2],
            -0.0041960863 * cones[0] - 0.7034186147 * cones[1] + 1.7076147010 * cones[2],
        )
        clipped = (min(max(c, 0.0), 1.0) for c in linear)
        colors.append([12.92 * c if c <= 0.0031308 else 1.055 * c ** (1 / 2.4) - 0.055 for c in clipped])
    found: Pixels = np.rint(255 * np.array(colors)).astype(np.uint8)
    return found


def alpha() -> Pixels:
    """How much of the photograph each level hides (LEVELS,): nothing at 0."""
    t = np.linspace(0, 1, LEVELS)
    found: Pixels = np.rint(255 * OPACITY * t**0.75).astype(np.uint8)
    return found


def leveled(heat: FloatArray, size: int) -> Pixels:
    """A heat map (h, w) at (size, size), bilinear, as levels 0 to LEVELS - 1 of its own maximum."""
    large = upsample(heat, size)
    top = float(large.max())
    found: Pixels = np.rint(large * ((LEVELS - 1) / top if top > 0 else 0)).astype(np.uint8)
    return found


def overlay(heat: FloatArray, size: int = OVERLAY) -> bytes:
    """A heat map (h, w) as a PNG with transparency."""
    image = Image.fromarray(leveled(heat, size))
    image.putpalette(ramp().tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", transparency=alpha().tobytes(), optimize=True)
    return buffer.getvalue()


def photograph(picture: Pixels) -> bytes:
    """A picture (S, S, 3) as a JPEG of at most MOST_PIXELS a side."""
    image = Image.fromarray(picture)
    image.thumbnail((MOST_PIXELS, MOST_PIXELS), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=82)
    return buffer.getvalue()


def composed(picture: Pixels, heat: FloatArray) -> bytes:
    """Photograph and heat map together, (S, S) as a PNG."""
    size = picture.shape[0]
    levels = leveled(heat, size)
    share = alpha()[levels][..., None].astype(np.float64) / 255
    mixed = picture * (1 - share) + ramp()[levels] * share
    buffer = io.BytesIO()
    Image.fromarray(np.rint(mixed).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def gray(heat: FloatArray, size: int) -> bytes:
    """A heat map alone, (size, size) of 8-bit gray scaled to its maximum, as a PNG."""
    large = upsample(heat, size)
    top = float(large.max())
    buffer = io.BytesIO()
    Image.fromarray(np.rint(large * (255 / top if top > 0 else 0)).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def legend(width: int = 128) -> bytes:
    """The ramp as a strip, from no heat to the maximum, as a PNG of one row."""
    levels = np.linspace(0, LEVELS - 1, width).round().astype(np.uint8)[None]
    image = Image.fromarray(levels)
    image.putpalette(ramp().tobytes())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def outline(mask: BoolArray) -> str:
    """The border of a mask (S, S) as an SVG path in units of 1 / 1000 of a side; "" without one.

    Follows the pixels' edges. A mask with very many corners is drawn coarser, until it has no more than MOST_CORNERS.
    """
    size = mask.shape[0]
    while True:
        loops = _loops(mask)
        if sum(map(len, loops)) <= MOST_CORNERS or size <= 8:
            break
        size = max(8, size // 2)
        picked = np.linspace(0, mask.shape[0] - 1, size).round().astype(int)
        mask = mask[np.ix_(picked, picked)]
    unit = 1000 / mask.shape[0]
    return "".join(
        "M" + "L".join(f"{round(x * unit)},{round(y * unit)}" for x, y in loop) + "Z" for loop in loops
    )


Point = tuple[int, int]


def _loops(mask: BoolArray) -> list[list[Point]]:
    """Closed walks along the pixels' edges with the mask on the right hand, corners only."""
    inside = np.pad(mask, 1)
    leads: dict[Point, list[Point]] = {}
    for y, x in np.argwhere(
        inside[:-1, 1:-1] != inside[1:, 1:-1]
    ).tolist():  # edges from (x, y) to (x + 1, y)
        a, b = (x, y), (x + 1, y)
        begin, end = (a, b) if inside[y + 1, x + 1] else (b, a)
        leads.setdefault(begin, []).append(end)
    for y, x in np.argwhere(inside[1:-1, :-1] != inside[1:-1, 1:]).tolist():  # from (x, y) to (x, y + 1)
        a, b = (x, y), (x, y + 1)
        begin, end = (b, a) if inside[y + 1, x + 1] else (a, b)
        leads.setdefault(begin, []).append(end)
    loops = []
    while leads:
        start = next(iter(leads))
        walk, here = [start], _step(leads, start)
        while here != start:
            walk.append(here)
            here = _step(leads, here)
        loops.append([p for i, p in enumerate(walk) if _turns(walk[i - 1], p, walk[(i + 1) % len(walk)])])
    return loops


def _step(leads: dict[Point, list[Point]], at: Point) -> Point:
    ends = leads[at]
    end = ends.pop()
    if not ends:
        del leads[at]
    return end


def _turns(before: Point, at: Point, after: Point) -> bool:
    return (at[0] - before[0]) * (after[1] - at[1]) != (at[1] - before[1]) * (after[0] - at[0])
