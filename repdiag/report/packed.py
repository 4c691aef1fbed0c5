"""Columns small enough to sit inside a page: 16 bits a value, texts without what they share with the one before."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from repdiag.report.text import shortened

MISSING = 0xFFFF
"""The code of "nothing": no label, no place, no number, no picture, and names beyond the 65,535th."""

STEPS = 0xFFFE
"""A packed magnitude or place is one of the STEPS + 1 evenly spaced values between the least and the greatest."""


def codes(values: npt.NDArray[Any]) -> str:
    """Numbers from 0 to 65,535 as base64 of little-endian 16-bit integers: 2.67 bytes of page each."""
    return base64.b64encode(np.asarray(values).round().astype("<u2").tobytes()).decode("ascii")


def magnitudes(values: npt.NDArray[np.float64]) -> dict[str, Any] | None:
    """`values` (N,) as codes between their least and greatest finite value, or None where none is finite.

    A value comes back as low + code / STEPS * (high - low), at most `(high - low) / (2 STEPS)` (0.0008% of the
    range) from where it was; what is not finite has the code MISSING.
    """
    known = np.isfinite(values)
    if not known.any():
        return None
    low, high = float(values[known].min()), float(values[known].max())
    half = 0.5 * high - 0.5 * low  # the whole range of two huge numbers would overflow
    share = np.zeros(values.shape) if half == 0 else (0.5 * np.where(known, values, low) - 0.5 * low) / half
    return {"low": low, "high": high, "codes": codes(np.where(known, share * STEPS, MISSING))}


def whole_or_shortened(texts: Sequence[str], budget: int, limit: int) -> tuple[list[str], bool]:
    """`texts` as they are, or each cut to `limit` characters where all of them would take more than `budget`
    bytes of the page, and whether they were cut."""
    if sum(map(_cost, texts)) <= budget:
        return list(texts), False
    return [shortened(text, limit) for text in texts], any(len(text) > limit for text in texts)


def front_coded(texts: Sequence[str], budget: int, limit: int) -> dict[str, Any]:
    """Each text as the number of leading characters that it shares with the one before, and the rest of it.

    `shared` counts UTF-16 units, as JavaScript does. Where the rests would take more than `budget` bytes of the
    page, every text is cut to `limit` characters first and `cut` says so.
    """
    shared, rest = _fronts(texts)
    cut = sum(map(_cost, rest)) > budget
    if cut:
        texts = [shortened(text, limit) for text in texts]
        shared, rest = _fronts(texts)
    return {"shared": codes(np.array(shared, dtype=np.int64)), "rest": rest, "cut": cut}


def _fronts(texts: Sequence[str]) -> tuple[list[int], list[str]]:
    shared, rest, before = [], [], ""
    for text in texts:
        most = min(len(before), len(text), STEPS // 2)
        same = next((k for k in range(most) if before[k] != text[k]), most)
        shared.append(same + sum(1 for character in text[:same] if character > "\uffff"))
        rest.append(text[same:])
        before = text
    return shared, rest


def _cost(text: str) -> int:
    """Bytes that a text takes as an item of a JSON list inside a page; at most this, for what must be escaped."""
    if text.isascii() and text.isalnum():
        return len(text) + 3
    inside = json.dumps(text, ensure_ascii=False)
    return len(inside.encode("utf-8")) + 1 + 5 * sum(map(inside.count, "<>&\u2028\u2029"))
