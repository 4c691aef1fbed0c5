"""All samples as a parquet file for Embedding Atlas: `embedding-atlas FILE --x x --y y --neighbors neighbors`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from repdiag.audits.samples import Samples, samples_of
from repdiag.audits.types import Audit, Copies, Suspects
from repdiag.audits.vectors import Vectors
from repdiag.files import atomic
from repdiag.kernels import neighbors
from repdiag.kernels.rows import unit
from repdiag.report.text import clean
from repdiag.types import DoubleArray, IntArray

NEIGHBORS = 10


def write_atlas(audit: Audit, path: Path, vectors: Vectors | None = None, device: str = "cpu") -> list[str]:
    """Write one row per sample of the report, in its order, to `path`; returns the columns.

    id, path, label, prediction, correct, confidence, risk, q_score, cluster, review_rank (empty for those that are not
    on the list), duplicate_group, label_error; x and y of the report's map where it has one (for looking only); with
    `vectors`, neighbors: {ids, distances} of the 10 nearest other samples, ids being row numbers from 0 and
    distances 1 - cosine. Raises OutputError.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    samples = samples_of(audit.report)
    rank = np.full(len(samples), np.nan)
    rank[[one.row for one in audit.reviewed]] = [one.rank for one in audit.reviewed]
    place = samples.place()
    group = np.full(len(samples), np.nan)
    if isinstance(audit.copies, Copies):
        for found in audit.copies.groups:
            for member in found.members:
                if member.id in place:
                    group[place[member.id]] = found.number
    suspected = {one.id for one in audit.suspects.found} if isinstance(audit.suspects, Suspects) else set()
    text = {
        "id": samples.ids,
        "path": samples.paths,
        "label": samples.label,
        "prediction": samples.prediction,
    }
    columns = {
        name: pa.array([None if v is None else clean(v) for v in values.tolist()], pa.string())
        for name, values in text.items()
    }
    columns["correct"] = pa.array([bool(v) if np.isfinite(v) else None for v in samples.correct], pa.bool_())
    numbers = {"confidence": samples.confidence, "risk": samples.risk, "q_score": samples.q_score}
    columns |= {name: _floats(values) for name, values in numbers.items()}
    wholes = {"cluster": samples.cluster, "review_rank": rank, "duplicate_group": group}
    columns |= {name: _floats(values).cast(pa.int64()) for name, values in wholes.items()}
    columns["label_error"] = pa.array([str(name) in suspected for name in samples.ids.tolist()], pa.bool_())
    if np.isfinite(samples.x).any() and np.isfinite(samples.y).any():
        columns |= {"x": _floats(samples.x), "y": _floats(samples.y)}
    if vectors is not None and len(samples) > 1:
        index, distance = nearest(samples, vectors, device)
        columns["neighbors"] = pa.StructArray.from_arrays(
            [
                pa.array(index.tolist(), pa.list_(pa.int64())),
                pa.array(distance.tolist(), pa.list_(pa.float64())),
            ],
            ["ids", "distances"],
        )
    with atomic(path) as temporary:
        pq.write_table(pa.table(columns), temporary, compression="zstd")
    return list(columns)


def _floats(values: DoubleArray):  # type: ignore[no-untyped-def]  # pyarrow is untyped
    import pyarrow as pa

    return pa.array(values, pa.float64(), mask=~np.isfinite(values))


def nearest(samples: Samples, vectors: Vectors, device: str) -> tuple[IntArray, DoubleArray]:
    """Rows of the nearest other samples (N, k) and 1 - cosine, among the report's samples alone."""
    row = {name: i for i, name in enumerate(vectors.ids)}
    x = unit(np.asarray(vectors.features[[row[str(name)] for name in samples.ids.tolist()]]))
    similarity, index = neighbors.others(x, min(NEIGHBORS, len(x) - 1), device)
    return index, np.maximum(1 - similarity.astype(np.float64), 0)
