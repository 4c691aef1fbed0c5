"""`repdiag.compare`: the same from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from repdiag.comparing.request import Request
from repdiag.comparing.run import run
from repdiag.comparison.side_by_side import SideBySide
from repdiag.config import ScoreConfig
from repdiag.pipeline import Request as Scoring
from repdiag.report.side_by_side import write_side_by_side
from repdiag.types import Progress, silent


def compare(
    *encoders: str | Path,
    out: str | Path,
    data: str | None = None,
    names: Sequence[str] = (),
    against: str | None = None,
    metrics: Sequence[str] = (),
    epochs: Sequence[float] | None = None,
    trajectory: bool = False,
    crowding: bool = False,
    confidence: float = 0.95,
    config: ScoreConfig | None = None,
    loading: Mapping[str, Any] | None = None,
    reading: Mapping[str, Any] | None = None,
    progress: Progress = silent,
) -> SideBySide:
    """Hold `encoders` against one another on the same images, write the results to `out`, and return them.

    Each is a folder that a report was written to, a file of embeddings, or a model, which is scored on `data` first
    (`loading`, `reading`: keywords of `load_encoder` and `open_source`; `config`, `metrics` as for `score`). All are
    compared with the first, or with `against`, by `names`. `epochs`, one for each, or `trajectory` treat them as
    checkpoints of one run. Differences are after minus before, paired by image where samples are the same, with
    intervals of `confidence` over images: the question is about these encoders, not about how they were trained.

    Raises UsageError for what does not go together, else as reading, loading, scoring and writing do.
    """
    request = Request(
        encoders=tuple(map(str, encoders)),
        scoring=Scoring(
            model="-",
            dataset=data or "",
            config=config or ScoreConfig(),
            loading=loading or {},
            data=reading or {},
            metrics=tuple(metrics),
            draw_map=False,
        ),
        has_data=data is not None,
        out=Path(out),
        names=tuple(names),
        against=against,
        confidence=confidence,
        trajectory=trajectory or epochs is not None,
        epochs=None if epochs is None else tuple(epochs),
        crowding=crowding,
    )
    made = run(request, progress)
    write_side_by_side(made, request.out)
    return made
