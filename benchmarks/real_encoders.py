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
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"
METRICS = "knn_accuracy,linear_probe_accuracy"


@dataclass(frozen=True)
class Kind:
    """Encoders of one origin: their data set, and what their source says about the input."""

    pattern: str
    data: str
    options: tuple[str, ...]


UNCHANGED = ("--mean", "0,0,0", "--std", "1,1,1")
CIFAR = ("--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225")
IMAGENET = ("--mean", "0.485,0.456,0.406", "--std", "0.229,0.224,0.225")
UVA = "docs/examples/uva_tutorials.py"
CALTECH, CIFAR10, OMNIGLOT = (
    "caltech101/caltech101-20.zip", "cifar10/cifar10-test-png.zip", "omniglot/images_background_small1.zip"
)  # fmt: skip
KINDS = (
    Kind("enc-cifar10-resnet-akamaster/*.th", CIFAR10, CIFAR),
    Kind("enc-cifar10-uvadlc/tutorial5__ResNet.ckpt", CIFAR10, ("--arch", f"{UVA}:resnet")),
    Kind("enc-cifar10-uvadlc/tutorial5__DenseNet.ckpt", CIFAR10, ("--arch", f"{UVA}:densenet")),
    Kind("enc-cifar10-uvadlc/tutorial9__cifar10_64.ckpt", CIFAR10, ("--arch", f"{UVA}:autoencoder_64")),
    Kind("enc-cifar10-uvadlc/tutorial9__cifar10_256.ckpt", CIFAR10, ("--arch", f"{UVA}:autoencoder_256")),
    Kind("enc-conv4-ssl-prototransfer/*mini*", CALTECH, UNCHANGED),
    Kind("enc-conv4-ssl-prototransfer/random*", CALTECH, UNCHANGED),
    Kind(
        "enc-conv4-ssl-prototransfer/*omniglot*",
        OMNIGLOT,
        ("--arch", "docs/examples/conv4.py:conv4_omniglot"),
    ),
    Kind("enc-conv4-supervised-prelinear/*.tar", CALTECH, ("--resize", "96", *IMAGENET)),
    Kind("enc-conv4-supervised-titania/*.pth", CALTECH, IMAGENET),
)


def row(path: Path, kind: Kind) -> str:
    """The table's row of one encoder."""
    began = time.perf_counter()
    said = json.loads(repdiag("inspect", str(path), "--json"))
    seconds = time.perf_counter() - began
    with tempfile.TemporaryDirectory() as folder:
        arguments = [str(path), str(SHARED / kind.data), *kind.options, "--metrics", METRICS, "--no-map"]
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
        kind.data.partition("/")[0],
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
    for kind in KINDS:
        for path in sorted(SHARED.glob(kind.pattern)):
            if only in path.name:
                print(row(path, kind), flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
