"""Train one encoder per method on the images of --data.

    python -m benchmarks.zoo.train --data ../shared/data/tiny-imagenet/tiny-imagenet-train-50.zip

Writes <method>.safetensors for each method to --out, which `repdiag score` takes without an option, and pool.json:
what they were trained on. Stop it and start it again, and it goes on. Score other images: another data set, or with
--hold-out 0.5 those of held-out.csv (`--root` is --data). Progress goes to stderr.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.zoo import methods
from benchmarks.zoo.images import Pool, read_pool
from benchmarks.zoo.loop import Settings, other_run, train
from repdiag.errors import RepdiagError, UsageError
from repdiag.files import write_text

POOL, HELD_OUT = "pool.json", "held-out.csv"


def tell(line: str) -> None:
    """A line for the person who waits."""
    print(line, file=sys.stderr, flush=True)


def names_of(text: str) -> list[str]:
    """The methods in a list with commas; raises UsageError for an unknown one."""
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in (*methods.RECIPES, methods.RANDOM):
            known = ", ".join((*methods.RECIPES, methods.RANDOM))
            raise UsageError(f"There is no method '{name}'", do=f"Choose from {known}")
    return names


def open_pool(arguments: argparse.Namespace, out: Path) -> Pool:
    """The images to train on; what they are is kept in `out`, and one folder has one pool only."""
    pool, listed = read_pool(
        arguments.data, hold_out=arguments.hold_out, seed=arguments.seed, limit=arguments.limit
    )
    path = out / POOL
    said = {
        "data": Path(arguments.data).name,
        "held_out": arguments.hold_out,
        "images": len(pool.images),
        "fingerprint": pool.fingerprint,
        "digests": pool.digests,
    }
    if path.exists() and json.loads(path.read_text())["fingerprint"] != pool.fingerprint:
        raise other_run(path)
    write_text(path, json.dumps(said))
    if listed:
        write_text(out / HELD_OUT, listed)
    return pool


def run(arguments: argparse.Namespace) -> None:
    """Do what the command line says."""
    names, out = names_of(arguments.methods), Path(arguments.out)
    settings = Settings(arguments.epochs, arguments.batch_size, arguments.width, arguments.seed)
    device = torch.device(arguments.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    torch.backends.cudnn.benchmark = True
    pool = open_pool(arguments, out)
    tell(f"{len(pool.images)} images of {pool.classes} classes, {arguments.epochs} epochs, on {device}")
    for name in names:
        train(name, pool, settings, out, device, tell)


def main(argv: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", required=True, help="labeled images, in any form that repdiag reads")
    parser.add_argument(
        "--methods", default=",".join(methods.RECIPES), help="which, with commas (default: all)"
    )
    parser.add_argument("--epochs", type=int, default=200)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument(
        "--width", type=int, default=32, help="channels of the stem; 8 times as many features"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--hold-out", type=float, default=0.0, help="share of each class not trained on")
    parser.add_argument("--limit", type=int, default=0, help="train on so many images at most")
    parser.add_argument("--device", help="cpu or cuda (default: cuda where there is one)")
    parser.add_argument("--out", default="out/zoo", help="folder to write to")
    try:
        run(parser.parse_args(argv))
    except RepdiagError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
