"""All figures of a report or a comparison, in memory or as files."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal

from matplotlib.figure import Figure

from repdiag.comparison.side_by_side import SideBySide
from repdiag.comparison.types import Comparison
from repdiag.errors import UsageError
from repdiag.files import atomic, output_errors
from repdiag.plots import bars, comparisons, curves, forests, matrix, runs, scatters
from repdiag.plots.style import DPI, styled
from repdiag.registry import did_you_mean
from repdiag.types import Report

Format = Literal["svg", "png", "pdf"]
FORMATS: tuple[Format, ...] = ("svg", "png", "pdf")
Drawable = Report | Comparison | SideBySide
Draw = Callable[..., Figure | None]

OF_REPORT: dict[str, Draw] = {
    "headline": forests.headline,
    "crowding": matrix.crowding,
    "map": scatters.maps,
    "stability": forests.stability,
    "clusters": forests.clusters,
    "activation": curves.activation,
    "compression": curves.compression,
    "spectrum": curves.spectrum,
    "selective": curves.selective,
    "reliability": curves.reliability,
    "predictors": forests.predictors,
    "q_score": curves.q_score,
    "classes": bars.classes,
}
"""Figures of a report by name, in reading order. Each takes the report and `width`, and answers None where the report
does not hold what it shows."""

OF_COMPARISON: dict[str, Draw] = {
    "differences": comparisons.differences,
    "training": runs.training,
    "trajectory": runs.trajectory,
    "classes": comparisons.changed_classes,
}
"""Figures of a comparison (of arms of a training, or of encoders side by side)."""

CREATOR = "repdiag"


def names(made: Drawable) -> tuple[str, ...]:
    """Names of the figures that there are of such a thing, in reading order, whether or not it can fill them."""
    return tuple(_figures(made))


def draw(made: Drawable, only: Collection[str] | None = None) -> dict[str, Figure]:
    """The figures of a `Report`, a `Comparison` (finetune) or a `SideBySide` (compare), by name in reading order.

    `only` limits them to some names. What `made` does not hold is left out. Each is a matplotlib `Figure` of its own
    (no pyplot, no global state) of the width of one or two columns of a paper (3.25 or 6.75 in); it can be changed and
    saved like any other. Raises UsageError for an unknown name.
    """
    found = {name: function(made) for name, function in _chosen(made, only).items()}
    return {name: figure for name, figure in found.items() if figure is not None}


def save(
    made: Drawable, folder: str | Path, format: str = "svg", only: Collection[str] | None = None
) -> dict[str, Path]:
    """As `draw`, and each figure written to `folder`/NAME.FORMAT (folder made when missing); paths by name.

    svg and pdf hold text as text and shapes as shapes (but for the dots of a map of more than 3,000 samples), png has
    300 dots an inch. Equal reports give equal bytes with one version of matplotlib: no date, no random ids. All files
    are complete before the first takes its place. Raises UsageError for an unknown format or name, OutputError when
    the folder cannot be written.
    """
    if format not in FORMATS:
        raise UsageError(f"Figures cannot be written as '{format}'", do=f"Choose {', '.join(FORMATS)}")
    _chosen(made, only)
    folder = Path(folder)
    with output_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    found = draw(made, only)
    paths = {name: folder / f"{name}.{format}" for name in found}
    with ExitStack() as stack:
        files = {name: stack.enter_context(atomic(path)) for name, path in paths.items()}
        for name, figure in found.items():
            write(figure, files[name], format)
    return paths


def write(figure: Figure, path: Path, format: str) -> None:
    """One figure into a file as `save` does it; not atomic."""
    title = figure.get_suptitle().replace("\n", " ")
    metadata: dict[str, Any] = {"Title": title, "Creator": CREATOR}
    if format == "svg":
        metadata |= {"Date": None}
    elif format == "pdf":
        metadata |= {"CreationDate": None, "Producer": None}
    else:
        metadata = {"Title": title.encode("latin-1", "backslashreplace").decode("latin-1"), "Software": None}
    with styled():
        figure.savefig(path, format=format, dpi=DPI, metadata=metadata)


def _figures(made: Drawable) -> dict[str, Draw]:
    if not isinstance(made, Report | Comparison | SideBySide):
        raise UsageError(
            f"There are no figures of a {type(made).__name__}", do="Give a Report or a comparison"
        )
    return OF_REPORT if isinstance(made, Report) else OF_COMPARISON


def _chosen(made: Drawable, only: Collection[str] | None) -> dict[str, Draw]:
    every = _figures(made)
    if only is None:
        return every
    wanted = {only} if isinstance(only, str) else set(only)
    for name in sorted(wanted - set(every)):
        raise UsageError(f"There is no figure '{name}'", do=did_you_mean(name, list(every)))
    return {name: function for name, function in every.items() if name in wanted}
