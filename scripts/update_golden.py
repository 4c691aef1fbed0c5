"""Writes tests/golden/ again from the fixtures. Do it only with a line under "Numbers changed" in CHANGELOG.md."""

from __future__ import annotations

import json
from pathlib import Path

from repdiag import Request, score
from repdiag.types import MetricResult, Report

ROOT = Path(__file__).resolve().parent.parent
ENCODERS = ("simclr", "supervised", "random")


def report(encoder: str) -> Report:
    """The default report of one fixture encoder on the digits, without map and cache."""
    return score(
        Request(
            str(ROOT / "fixtures" / "encoders" / f"{encoder}.safetensors"),
            str(ROOT / "fixtures" / "digits"),
            use_cache=False,
            draw_map=False,
        )
    )


def values(found: Report) -> dict[str, float | None]:
    """Metric values by name; None where a metric is skipped."""
    return {
        m.spec.name: m.outcome.value if isinstance(m.outcome, MetricResult) else None
        for m in found.measurements
    }


def main() -> None:
    """Write one file per encoder."""
    for encoder in ENCODERS:
        path = ROOT / "tests" / "golden" / f"{encoder}.json"
        path.write_text(json.dumps(values(report(encoder)), indent=1) + "\n")


if __name__ == "__main__":
    main()
