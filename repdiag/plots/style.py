"""How figures for papers look: sizes, one typeface, few colors; set here once and never in the user's matplotlib.

matplotlib's settings are global. `styled` sets ours and puts the user's back, under a lock of ours: figures may be
drawn from several threads, but a thread that draws with matplotlib by itself in that moment would see ours.
"""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager
from matplotlib.lines import Line2D
from matplotlib.text import Text

from repdiag.report.palette import OKABE_ITO
from repdiag.report.text import clean, shortened, visible

Width = Literal["column", "page"]
WIDTHS: dict[str, float] = {"column": 3.25, "page": 6.75}
"""Inches: one column of a two-column paper, and both."""

DPI = 300
"""Of PNG files, and of what is drawn as pixels inside vector files."""

ACCENT, ERROR = OKABE_ITO[0], OKABE_ITO[3]
"""Blue for what is measured, vermillion for errors and nothing else."""
GREEN, PURPLE = OKABE_ITO[2], OKABE_ITO[5]
INK, SOFT, LINE, FAINT = "#1b1e22", "#5c646e", "#d9dbd6", "#efefeb"
RAMP = ("#e7f2fc", "#c7e0f8", "#a5ccf2", "#83b8eb", "#5ea1df", "#297abe", "#115f9c", "#07426f")
"""Magnitudes, least to most: the page's ramp on a light background."""

SIZE, SMALL, TINY = 8.0, 7.0, 6.0
"""Points of titles, of names, ticks and keys, and of what stands below or at the ends of a scale."""

CHARACTERS = 23
"""Of TINY text in an inch; about."""

FALLBACKS = (
    "Noto Sans CJK SC", "Noto Sans CJK JP", "Noto Sans SC", "Noto Sans JP", "Microsoft YaHei", "PingFang SC",
    "Hiragino Sans", "Yu Gothic", "Malgun Gothic", "Noto Sans Devanagari", "Noto Sans Thai", "Noto Emoji",
)  # fmt: skip
"""Typefaces that are asked for the letters that ours lacks, those of them that are installed."""

RC: dict[str, Any] = {
    "font.size": SIZE,
    "font.sans-serif": ["DejaVu Sans", "Arial", "Helvetica", "sans-serif"],  # the first comes with matplotlib
    "text.parse_math": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": SOFT,
    "axes.linewidth": 0.6,
    "axes.labelsize": SMALL,
    "axes.labelpad": 3.0,
    "axes.titlesize": SMALL,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": LINE,
    "grid.linewidth": 0.4,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelsize": SMALL,
    "ytick.labelsize": SMALL,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.2,
    "lines.solid_capstyle": "butt",
    "legend.frameon": False,
    "legend.fontsize": SMALL,
    "legend.handlelength": 2.2,
    "legend.labelspacing": 0.3,
    "legend.borderaxespad": 0.2,
    "figure.constrained_layout.h_pad": 0.03,
    "figure.constrained_layout.w_pad": 0.03,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
    "savefig.dpi": DPI,
    "svg.fonttype": "none",  # text stays text: it can be edited, searched and read aloud
    "svg.hashsalt": "repdiag",  # else ids are drawn anew each time
    "pdf.fonttype": 42,  # TrueType, which publishers ask for
}

Entries = Sequence[tuple[str, Line2D]]
"""A key: words and the mark that they explain."""

_LOCK = threading.RLock()


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """Our settings and none of the user's inside the block, the user's again behind it."""
    with _LOCK, matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        matplotlib.rcdefaults()
        installed = {font.name for font in fontManager.ttflist}
        family = ["sans-serif", *(name for name in FALLBACKS if name in installed)]
        settings: Any = {**RC, "font.family": family}
        matplotlib.rcParams.update(settings)
        yield


def sheet(width: Width, height: float, title: str = "") -> Figure:
    """An empty figure of a width in which its parts make room for one another; the title stands at the left."""
    figure = Figure(figsize=(WIDTHS[width], height), layout="constrained")
    FigureCanvasAgg(figure)
    if title:
        figure.suptitle(title, x=0.01, ha="left", fontsize=SIZE, fontweight="bold")
    return figure


def foot(figure: Figure, width: Width, entries: Entries = (), words: str = "", columns: int = 1) -> None:
    """The key below the axes, and under it small gray text: how to read the figure, what was left out.

    The figure grows by what they need. The key's words are put in at last: matplotlib leaves out an entry whose text
    begins with an underscore, which is a class name like any other.
    """
    said = wrapped(words, int(WIDTHS[width] * CHARACTERS)) if words else ""
    lines = 1 + said.count("\n") if said else 0
    rows = -(-len(entries) // columns)
    small = lines * 1.35 * TINY / 72 + (0.04 if lines else 0.0)
    key = (rows * 1.45 * SMALL + 6) / 72 if rows else 0.0
    height = figure.get_figheight() + small + key
    figure.set_figheight(height)
    share = (small + key) / height
    engine = figure.get_layout_engine()
    assert engine is not None
    engine.set(rect=(0, share, 1, 1 - share))  # type: ignore[call-arg]
    if said:
        figure.text(
            0.01,
            0.02 / height,
            said,
            fontsize=TINY,
            color=SOFT,
            va="bottom",
            linespacing=1.25,
            in_layout=False,
        )
    if entries:
        legend = figure.legend(
            [handle for _, handle in entries],
            [str(i) for i in range(len(entries))],
            loc="lower left",
            bbox_to_anchor=(0, small / height),
            ncols=columns,
        )
        legend.set_in_layout(False)
        for text, (name, _) in zip(legend.get_texts(), entries, strict=True):
            text.set_text(name)


def plain(figure: Figure) -> Figure:
    """The same figure, in which no text is taken for a formula, whoever draws it later and under which settings."""
    for text in figure.findobj(Text):
        text.set_parse_math(False)
        text.set_usetex(False)
    return figure


def label(value: Any, limit: int = 28) -> str:
    """Foreign text on one line, with nothing in it that a drawing or XML cannot hold, and not longer than `limit`."""
    text = visible(clean(str(value)))
    text = "".join(
        f"\\u{ord(c):04x}" if ord(c) & 0xFFFE == 0xFFFE else c for c in text
    )  # no characters at all
    return shortened(text, limit)


def wrapped(text: str, characters: int) -> str:
    """Words of ours on lines of at most so many characters."""
    import textwrap

    return "\n".join(textwrap.wrap(text, characters, break_long_words=False, break_on_hyphens=False))
