"""Times the listing of N image files in a folder against a bare walk over the same files in the same run.

    python benchmarks/listing.py [--files 1000000] [--folders 1000]

Makes empty files in a temporary folder (TMPDIR says where) and removes them again. A bare walk is os.scandir over
every folder and nothing else; each line is the best of three, with the ratio to that walk.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from repdiag.sources import open_source

REPEATS = 3


def make(root: Path, files: int, folders: int) -> None:
    """`files` empty files, spread over `folders` class folders that seem to be a day old."""
    for folder in range(folders):
        place = root / f"n{folder:08d}"
        place.mkdir()
        for i in range(folder, files, folders):
            os.close(os.open(f"{place}/n{folder:08d}_{i}.JPEG", os.O_CREAT | os.O_WRONLY))
        os.utime(place, (time.time() - 86400,) * 2)
    os.utime(root, (time.time() - 86400,) * 2)


def walk(root: str) -> int:
    """How many files there are, by names and kinds only."""
    count, folders = 0, [root]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir():
                    folders.append(entry.path)
                else:
                    count += 1
    return count


def ask(root: str) -> int:
    """The bare walk, and each file's size and time: what a listing that notices every change has to do."""
    count, folders = 0, [root]
    while folders:
        with os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir():
                    folders.append(entry.path)
                else:
                    entry.stat()
                    count += 1
    return count


def seconds(step: Callable[[], object]) -> float:
    """The best of a few."""
    best = float("inf")
    for _ in range(REPEATS):
        began = time.perf_counter()
        step()
        best = min(best, time.perf_counter() - began)
    return best


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--files", type=int, default=1_000_000)
    parser.add_argument("--folders", type=int, default=1000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="repdiag-listing-") as temporary:
        root, cache = Path(temporary) / "data", Path(temporary) / "cache"
        root.mkdir()
        make(root, arguments.files, arguments.folders)
        assert walk(str(root)) == arguments.files

        def kept() -> object:
            return open_source(str(root), trust_listing=True, listings=cache)

        first = time.perf_counter()
        kept()
        first = time.perf_counter() - first
        steps = {
            "bare walk": seconds(lambda: walk(str(root))),
            "walk that asks for sizes and times": seconds(lambda: ask(str(root))),
            "repdiag": seconds(lambda: open_source(str(root))),
            "repdiag --trust-listing, first time": first,
            "repdiag --trust-listing": seconds(kept),
        }
    print(f"\n{arguments.files:,} files in {arguments.folders:,} folders\n")
    print("| listing | seconds | of a bare walk |\n|---|---:|---:|")
    for name, took in steps.items():
        print(f"| {name} | {took:.2f} | {took / steps['bare walk']:.1f} |")


if __name__ == "__main__":
    main()
