"""What is said of an explanation, the same on the page and in the terminal."""

from __future__ import annotations

import numpy as np

from repdiag.explaining.types import Explained, Explanation, Overlaps, Quantity, Region, Tile
from repdiag.report.numbers import MISSING, number
from repdiag.types import FloatArray, Skipped

METHODS = {
    "gradcam": "GradCAM (Selvaraju et al. 2017)",
    "hirescam": "HiResCAM (Draelos & Carin 2020)",
}
REGIONS: dict[Region, str] = {
    "core": "on the object",
    "spurious": "on what is spurious",
    "background": "outside of the box",
}
RULES = {
    "q-score": "its discriminative features by Q-Score's rule",
    "adapted": "the features that stand out of it on either side (Q-Score's rule adapted)",
}


def counted(n: int, what: str) -> str:
    """ "1 image", "2,000 images"."""
    return f"{n:,} {what}{'' if n == 1 else 's'}"


def explained(found: Explanation) -> str:
    """What a sample's heat map explains and why, without letters."""
    t = found.target
    none = (
        f" {t.without:,} of {counted(t.evaluated, 'evaluated sample')} have none that stands out, and so no heat map."
        if t.without
        else ""
    )
    return f"A sample's heat map explains {RULES[t.kind]}: {t.why}.{none}"


def target(found: Explanation) -> str:
    """How the target is defined."""
    t = found.target
    return (
        f"The target is {t.formula}; {t.selected:,} of {t.features:,} features are in S, the discriminative ones "
        f"({t.source})."
    )


def chosen(found: Explanation) -> str:
    """Which samples these are."""
    asked = sum(one.asked for one in found.samples)
    rest = len(found.samples) - asked
    title = found.risk.get("title") or found.risk.get("score")
    said = [f"{counted(asked, 'sample')} that {'was' if asked == 1 else 'were'} asked for"] if asked else []
    if rest:
        doubt = "" if found.risk.get("validated") else ", an order that nothing here confirms"
        by = f", by {title}{doubt}" if title else doubt
        said.append(f"the {counted(rest, 'riskiest sample') if rest > 1 else 'riskiest sample'}{by}")
    text = ", and ".join(said)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def place(found: Explanation) -> str:
    """Where in the encoder the heat maps are taken."""
    p = found.place
    at = {
        "convolution": "the last feature map",
        "flattened": "the feature map whose places are the features",
        "tokens": "the tokens that enter the last block",
    }.get(p.kind, p.kind)
    return (
        f"{METHODS[p.method]} at {at}, {p.module or 'the network itself'}: {p.grid[0]} x {p.grid[1]} places, "
        f"{p.channels:,} channels"
    )


def title(q: Quantity) -> str:
    """What a quantity is, in a few words."""
    who = {"all": "all images", "correct": "correct", "misclassified": "misclassified"}[q.group]
    return "random features" if q.features == "random" else who


def heading(measure: str, region: Region) -> str:
    """What the quantities of a measure and a region have in common."""
    return f"{'mIoU' if measure == 'iou' else 'Heat'} {REGIONS[region]}"


def begun(what: str) -> str:
    """`what` as the beginning of a sentence; mIoU stays as it is written."""
    return what if what.startswith("mIoU") else what[0].upper() + what[1:]


def region(which: Region) -> str:
    """ "On the object"."""
    return begun(REGIONS[which])


def masks(found: Explanation) -> str:
    """How many images the masks are about, or why there is nothing to say."""
    o = found.overlaps
    if isinstance(o, Skipped):
        return f"Not measured: {o.reason}."
    return (
        f"{o.masked:,} of {counted(found.target.evaluated, 'evaluated sample')} have a mask, {o.maps:,} of them a heat "
        "map too; the numbers are means over these."
    )


def even(found: Overlaps) -> str:
    """What to keep in mind where objects fill so much of the pictures that an even map would have the higher mIoU."""
    q = found.of("iou_core")
    if q is None or q.uniform is None or q.uniform <= q.value:
        return ""
    return (
        f"A map that is the same everywhere would have the higher mIoU ({number(q.uniform)}): objects fill so much of "
        "these pictures that covering everything pays. Read the differences, not the height."
    )


def where(heat: FloatArray | None) -> str:
    """Where a heat map (h, w) is strongest, in words for people who do not see it; "" without one."""
    if heat is None:
        return ""
    y, x = np.unravel_index(int(heat.argmax()), heat.shape)
    third = (min(2, int(3 * (y + 0.5) / heat.shape[0])), min(2, int(3 * (x + 0.5) / heat.shape[1])))
    rows, columns = ("upper", "middle", "lower"), ("left", "", "right")
    if third == (1, 1):
        return "strongest in the middle"
    if third[1] == 1:
        return f"strongest in the {rows[third[0]]} part"
    return f"strongest in the {rows[third[0]]} {columns[third[1]]}"


def described(tile: Tile) -> str:
    """A tile for people who do not see it."""
    return f"heat map {where(tile.heat)}" if tile.heat is not None else tile.why_none


def summed(one: Explained) -> str:
    """Which features the heat map of a sample sums."""
    if not one.features:
        return "none stands out"
    named = ", ".join(f"{'-' if s.weight < 0 else ''}{s.feature}" for s in one.summed)
    more = one.features - len(one.summed)
    return named + (f" and {more:,} more" if more > 0 else "")


def quantity(q: Quantity) -> str:
    """ "0.412 [0.405, 0.420]"."""
    if q.interval is None:
        return number(q.value)
    return f"{number(q.value)} [{number(q.interval.low)}, {number(q.interval.high)}]"


def null(q: Quantity) -> str:
    """ "0.350 +- 0.002", or a dash."""
    return MISSING if q.null is None else f"{number(q.null.mean)} ± {number(q.null.std)}"
