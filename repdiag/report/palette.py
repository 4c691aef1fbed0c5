"""Colors that people with color-blind eyes tell apart too, on a light and on a dark page."""

from __future__ import annotations

import math

OKABE_ITO = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#b3a700", "#8a8f98")
"""Okabe and Ito's eight colors; yellow is darkened for white pages and gray stands in for black, which a
dark page would swallow."""


def class_colors(k: int) -> tuple[str, ...]:
    """`k` colors as #rrggbb: Okabe-Ito up to eight, beyond that an even walk around the OKLCH color circle.

    The walk takes golden-angle steps in hue and cycles through three lightnesses, so that neighbors in the
    list differ clearly; nobody tells more than about a dozen apart, so figures must not rest on them alone.
    """
    if k <= len(OKABE_ITO):
        return OKABE_ITO[:k]
    return tuple(_oklch((0.62, 0.74, 0.52)[i % 3], 0.13, 2.399963 * i) for i in range(k))


def _oklch(lightness: float, chroma: float, hue: float) -> str:
    """OKLCH to sRGB (Ottosson's matrices), each channel clipped to what a screen can show."""
    a, b = chroma * math.cos(hue), chroma * math.sin(hue)
    long = (lightness + 0.3963377774 * a + 0.2158037573 * b) ** 3
    medium = (lightness - 0.1055613458 * a - 0.0638541728 * b) ** 3
    short = (lightness - 0.0894841775 * a - 1.2914855480 * b) ** 3
    linear = (
        4.0767416621 * long - 3.3077115913 * medium + 0.2309699292 * short,
        -1.2684380046 * long + 2.6097574011 * medium - 0.3413193965 * short,
        -0.0041960863 * long - 0.7034186147 * medium + 1.7076147010 * short,
    )
    return "#" + "".join(f"{round(255 * _gamma(min(max(c, 0.0), 1.0))):02x}" for c in linear)


def _gamma(channel: float) -> float:
    return 12.92 * channel if channel <= 0.0031308 else 1.055 * channel ** (1 / 2.4) - 0.055
