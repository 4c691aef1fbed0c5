"""Judges every per-sample score of every run, and Q-Score under other features, thresholds and limits.

    python -m benchmarks.evidence.judge [--only PART] [--fresh | --any-code]

From samples.csv: AUROC and both AUPRC with intervals, and each score's AUROC less that of Q-Score. For the encoders
of `Study.variants`, from the embeddings that the scoring left in the cache: flattened maps against their
averages over
the image (as `--pool gap` gives), eps from 1 to 4, and S as the paper has it (percentiles 50 to 95) or all features.
Each kind of features has its own linear probe, whose correct and incorrect answers Q-Score is to tell apart; the
probe depends on neither eps nor S. Writes judged/judged.json in the folder of the run; what is there stays.
"""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.evidence.score import STAMP, alone, is_done, stamp
from benchmarks.evidence.study import OUT, STUDY, Run, Study
from repdiag import embed
from repdiag.config import ScoreConfig
from repdiag.files import write_text
from repdiag.kernels import ranking, resample
from repdiag.scores import BY_NAME, SCORES, as_rank
from repdiag.types import EmbeddingSet
from repdiag.workspace import Workspace

FILE = "judged.json"
EPS = (1.0, 1.5, 2.0, 3.0, 4.0)
LIMITS = ((50.0, 95.0), (0.0, 100.0))
DRAWS = 300


def keywords(options: Mapping[str, str]) -> dict[str, Any]:
    """Options of the command line as `repdiag.embed` takes them."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        if name in ("mean", "std"):
            found[name] = tuple(float(v) for v in value.split(","))
        else:
            found[name.replace("-", "_")] = int(value) if value.isdecimal() else value
    return found


def pooled(embeddings: EmbeddingSet, side: int) -> EmbeddingSet:
    """Maps (N, C side side) flattened channel by channel -> their averages (N, C)."""
    maps = embeddings.features.reshape(len(embeddings), -1, side * side)
    return replace(embeddings, features=np.ascontiguousarray(maps.mean(2)), views=None)


def judged(embeddings: EmbeddingSet, said: str) -> Iterator[dict[str, Any]]:
    """A row for each eps and S: how many samples have a Q-Score, and how well it tells the correct ones."""
    first = Workspace(embeddings, ScoreConfig())
    probe, draws = first.probe, first.draws[:DRAWS]
    for eps in EPS:
        for lower, upper in LIMITS:
            ws = Workspace(embeddings, ScoreConfig(eps=eps, lower=lower, upper=upper))
            values = BY_NAME["q_score"].values(ws)
            known = np.isfinite(values)
            yield {
                "features": said,
                "dim": ws.dim,
                "accuracy": float(probe.correct.mean()),
                "eps": eps,
                "lower": lower,
                "upper": upper,
                "empty": float(1 - known.mean()),
                "active": float(BY_NAME["active_features"].values(ws).mean()),
                "selected": int(ws.activation.selected.sum()),
                "auroc": _auroc(as_rank(values), probe.correct, draws),
                "auroc_defined": _auroc(values[known], probe.correct[known], draws[:, known]),
            }


def _auroc(quality: Any, correct: Any, draws: Any) -> list[float] | None:
    """AUROC with the ends of its bootstrap interval; None where it is undefined."""
    if np.unique(quality).size < 2 or correct.all() or not correct.any():
        return None
    found = ranking.Ranking(quality, correct)
    ends = resample.percentile_interval(np.array([found.auroc(w) for w in draws]))
    return None if ends is None else [found.auroc(), *ends]


def compared(samples: Table) -> list[dict[str, Any]]:
    """A row for each per-sample score in samples.csv: AUROC and both AUPRC with intervals, and against Q-Score.

    A score that is undefined for a sample is ranked lowest, except where only some samples have augmented views:
    those are judged. `over_q` is AUROC less that of Q-Score on the same samples, in the same bootstrap draws.
    """
    correct = samples["correct"] == "true"
    draws = resample.stratified_counts(np.zeros(correct.size, np.int64), DRAWS, np.random.default_rng(0))
    q, rows = numbers(samples, "q_score"), []
    for score in SCORES:
        values = numbers(samples, score.name)
        part = np.isfinite(values) if score.partial else np.ones(values.size, bool)
        if not np.isfinite(values).any() or np.unique(as_rank(values[part])).size < 2:
            continue
        right, some = correct[part], draws[:, part]
        if right.all() or not right.any():
            continue
        up, down = (
            ranking.Ranking(as_rank(values[part]), right),
            ranking.Ranking(-as_rank(values[part]), ~right),
        )
        up_draws, down_draws = up.resample(some), down.resample(some)
        row = {
            "score": score.name,
            "title": score.title,
            "labeled": score.labeled,
            "n": int(part.sum()),
            "auroc": [up.auroc(), *ends(up_draws[:, 0])],
            "auprc_correct": [up.average_precision(), *ends(up_draws[:, 1])],
            "auprc_error": [down.average_precision(), *ends(down_draws[:, 1])],
        }
        if np.isfinite(q).any() and score.name != "q_score":
            beside = ranking.Ranking(as_rank(q[part]), right)
            gaps = up_draws[:, 0] - np.array([beside.auroc(w) for w in some])
            row["over_q"] = [up.auroc() - beside.auroc(), *ends(gaps)]
        rows.append(row)
    return rows


Table = dict[str, np.ndarray]


def read_samples(path: Path) -> Table:
    """The columns of samples.csv, as text."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def numbers(samples: Table, name: str) -> Any:
    """A column as numbers (N,); NaN where it is empty, and throughout where the column is absent."""
    column = samples.get(name, np.full(samples["id"].size, ""))
    return np.where(column == "", "nan", column).astype(np.float64)


def ends(draws: Any) -> tuple[float, float]:
    """The ends of a percentile interval; NaN where too few draws are defined."""
    return resample.percentile_interval(draws) or (float("nan"), float("nan"))


def variants(study: Study, run: Run, out: Path) -> list[dict[str, Any]]:
    """All variants of Q-Score on one run."""
    if run.encoder.key not in study.variants:
        return []
    options = {**run.encoder.options, **run.images.options, **study.options}
    embeddings = embed(
        str(study.shared / run.encoder.file), str(study.data(run.images, out)), views=2, **keywords(options)
    )
    rows = list(judged(embeddings, "as the network gives them"))
    if study.side > 1:
        rows += judged(pooled(embeddings, study.side), "averaged over the image")
    return rows


def judge_all(
    study: Study, out: Path, *, only: str = "", fresh: bool = False, any_code: bool = False
) -> None:
    """Judge what is missing of the runs that have been scored."""
    with alone(out):
        for run in study.runs:
            folder = out / run.name
            if only not in run.name or not (folder / "samples.csv").is_file():
                continue
            wanted = stamp([*study.arguments(run, out), *study.variants, str(study.side)])
            if fresh or not is_done(folder / "judged", wanted, any_code):
                (folder / "judged" / STAMP).unlink(missing_ok=True)
                found = {
                    "scores": compared(read_samples(folder / "samples.csv")),
                    "variants": variants(study, run, out),
                }
                write_text(folder / "judged" / FILE, json.dumps(found, indent=1) + "\n")
                write_text(folder / "judged" / STAMP, json.dumps(wanted, indent=1) + "\n")
                print(
                    f"{run.name}: {len(found['scores'])} scores, {len(found['variants'])} variants",
                    flush=True,
                )


def main() -> int:
    """Judge the study's scores."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="only the runs whose name contains this")
    parser.add_argument("--fresh", action="store_true", help="judge again what is there")
    parser.add_argument("--any-code", action="store_true", help="keep what other code has made")
    given = parser.parse_args()
    judge_all(STUDY, OUT, only=given.only, fresh=given.fresh, any_code=given.any_code)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
