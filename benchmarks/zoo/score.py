"""Score the encoders that `benchmarks.zoo.train` made, and print a Markdown table.

    python -m benchmarks.zoo.score out/zoo --data ../shared/data/cifar10/cifar10-test-png.zip

One row an encoder, 95 % intervals in brackets; the reports go to <zoo>/scores/. Images that were trained on are
refused. `--all` runs every metric for the reports, not only the table's.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.zoo import methods
from benchmarks.zoo.images import trained_on
from benchmarks.zoo.train import POOL
from repdiag import score
from repdiag.errors import InputError, RepdiagError, UsageError
from repdiag.types import MetricResult, Report

MOST_SHARED = 0.01
"""More scored images than this share among those trained on are no accident of two data sets."""


@dataclass(frozen=True)
class Column:
    """A column of the table: its heading, the metric, and how its cell is read."""

    heading: str
    metric: str
    cell: Callable[[MetricResult], str]


def number(form: str) -> Callable[[MetricResult], str]:
    """A cell with the value and its interval in the format `form`."""

    def cell(found: MetricResult) -> str:
        ends = found.interval
        return form.format(found.value) + (f" {bracket(form, ends.low, ends.high)}" if ends else "")

    return cell


def bracket(form: str, low: float, high: float) -> str:
    """An interval."""
    return f"[{form.format(low)}, {form.format(high)}]"


def gain(found: MetricResult) -> str:
    """What the middle 60 % of the features are worth beyond a random 60 %, in points of accuracy."""
    row = next(r for r in found.table if r["kept"] == found.parameters["kept"])
    value, low, high = (100 * float(row[name] or 0) for name in ("gain", "gain_low", "gain_high"))
    return f"{value:+.1f} {bracket('{:+.1f}', low, high)}"


COLUMNS = (
    Column("linear probe", "linear_probe_accuracy", number("{:.1%}")),
    Column("kNN", "knn_accuracy", number("{:.1%}")),
    Column("R²", "r2_separation", number("{:.3f}")),
    Column("CDNV", "cdnv", number("{:.2f}")),
    Column("center error", "nearest_center_error", number("{:.1%}")),
    Column("seed ARI", "seed_ari", number("{:.2f}")),
    Column("RankMe", "rankme", number("{:.1f}")),
    Column("Q AUROC", "qscore_auroc", number("{:.3f}")),
    Column("best label-free AUROC", "score_comparison", number("{:.3f}")),
    Column("gain at 40 % cut", "compression", gain),
)


def encoders(zoo: Path) -> list[tuple[str, Path]]:
    """The zoo's encoders in the table's order; raises InputError where there are none."""
    names = (*methods.RECIPES, methods.RANDOM)
    found = [(name, zoo / f"{name}.safetensors") for name in names]
    found = [(name, path) for name, path in found if path.exists()]
    if not found:
        raise InputError("There are no encoders", where=str(zoo), do="Run benchmarks.zoo.train first")
    return found


def rows(reports: Iterator[tuple[str, Report]]) -> Iterator[str]:
    """The table line by line, and below it why a cell is empty."""
    yield "| encoder | " + " | ".join(c.heading for c in COLUMNS) + " |"
    yield "|---" * (len(COLUMNS) + 1) + "|"
    reasons: dict[str, None] = {}
    for name, report in reports:
        cells = [name]
        for column in COLUMNS:
            found = report.value(column.metric)
            cells.append("" if found is None else column.cell(found))
            if found is None:
                measured = report.measurement(column.metric)
                reason = getattr(measured.outcome, "reason", "") if measured else "not measured"
                reasons[f"{name}, {column.heading}: {reason}."] = None
        yield "| " + " | ".join(cells) + " |"
    if reasons:
        yield ""
        yield from reasons


def check_apart(zoo: Path, data: str, root: str | None) -> float:
    """The share of scored images that were trained on; raises UsageError where they are more than a few."""
    known = frozenset(json.loads((zoo / POOL).read_text())["digests"])
    share = trained_on(data, root, known)
    if share > MOST_SHARED:
        raise UsageError(f"The encoders were trained on {share:.0%} of these images", where=data)
    return share


def run(arguments: argparse.Namespace) -> None:
    """Score and print."""
    zoo, data, root = Path(arguments.zoo), arguments.data, arguments.root
    found = encoders(zoo)
    share = check_apart(zoo, data, root)
    metrics = () if arguments.all else [column.metric for column in COLUMNS]

    def reports() -> Iterator[tuple[str, Report]]:
        for name, path in found:
            out = zoo / "scores" / Path(data).stem / name
            more = {} if root is None else {"root": root}
            yield name, score(str(path), data, metrics=metrics, out=out, draw_map=False, **more)

    pool = json.loads((zoo / POOL).read_text())
    print(
        f"Trained on {pool['images']} images of {pool['data']}; scored on {Path(data).name}, of whose images",
        end="",
    )
    print(f" {share:.2%} were trained on.\n")
    for line in rows(reports()):
        print(line, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("zoo", nargs="?", default="out/zoo", help="folder of the encoders")
    parser.add_argument("--data", required=True, help="labeled images that were not trained on")
    parser.add_argument("--root", help="where the paths of a list begin")
    parser.add_argument("--all", action="store_true", help="run every metric")
    try:
        run(parser.parse_args(argv))
    except RepdiagError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
