"""Inspects and scores every real encoder beside the checkout, and prints a Markdown table.

    python benchmarks/real_encoders.py [--only PART]

One row an encoder: what `repdiag inspect` finds and how long it takes, then kNN and linear-probe accuracy from
`repdiag score` on images of the kind that the encoder was made for. Normalization is given where its source names
it; `--arch` only where no public layout has the file's names.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from catalog import ENCODERS, ROOT, SHARED, Encoder, flags

METRICS = "knn_accuracy,linear_probe_accuracy"


def row(encoder: Encoder) -> str:
    """The table's row of one encoder."""
    path, data = SHARED / encoder.file, encoder.images
    began = time.perf_counter()
    said = json.loads(repdiag("inspect", str(path), "--json"))
    seconds = time.perf_counter() - began
    with tempfile.TemporaryDirectory() as folder:
        arguments = [
            str(path),
            str(SHARED / data.path),
            *flags(encoder.options),
            "--metrics",
            METRICS,
            "--no-map",
        ]
        repdiag("score", *arguments, "--views", "0", "--no-cache", "--out", folder, "--quiet")
        report = json.loads((Path(folder) / "report.json").read_text())
    loading = report["encoder"]["loading"]
    found = said["encoder"]
    values = {m["name"]: m["outcome"] for m in report["measurements"]}
    cells = [
        path.name,
        said["container"],
        report["encoder"]["architecture"] + ("" if found else " (by --arch)"),
        str(report["encoder"]["dim"]),
        f"{loading['loaded']} of {said['tensors']}",
        f"{seconds:.2f} s",
        data.path.partition("/")[0],
        *(accuracy(values[name]) for name in METRICS.split(",")),
    ]
    return "| " + " | ".join(cells) + " |"


def accuracy(metric: dict[str, object]) -> str:
    """A value with its interval, in percent."""
    low, high = metric["interval"]["low"], metric["interval"]["high"]  # type: ignore[index]
    return f"{metric['value']:.1%} [{low:.1%}, {high:.1%}]"


def repdiag(*arguments: str) -> str:
    """What a command prints; stops with its own sentence where it fails."""
    command = [sys.executable, "-m", "repdiag", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(arguments)}\n{done.stderr}")
    return done.stdout


def main() -> int:
    """Print the table, row by row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="only files whose name contains this")
    only = parser.parse_args().only
    if not SHARED.is_dir():
        raise SystemExit("../shared/data is not here")
    heads = ("file", "container", "architecture", "D", "loaded", "inspect", "images", "kNN", "linear probe")
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads), flush=True)
    for encoder in ENCODERS:
        if only in Path(encoder.file).name:
            print(row(encoder), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
