"""Scores every encoder of the study once; what is there already, under the same arguments and code, stays.

    python -m benchmarks.evidence.score [--only PART] [--jobs N] [--fresh | --any-code] [--metrics NAMES]

Each run is a process of its own, `repdiag score ... --no-map`, that writes into a folder under out/evidence,
which gets
its name only when all of it is written: after a kill at any moment the next call goes on. Code is the same when its
statements are: comments and docstrings do not count. `--any-code` keeps runs of other code as well.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import cache
from pathlib import Path

from benchmarks.catalog import ROOT
from benchmarks.evidence.study import OUT, STUDY, Run, Study

STAMP = "run.json"
NO_NUMBERS = ("cli", "exporting", "inspection.py", "lightning.py", "report")
"""Parts of repdiag in which no number of a report is made."""


@cache
def code_version() -> str:
    """SHA-256 of the statements of repdiag that numbers depend on."""
    digest = hashlib.sha256()
    for path in sorted((ROOT / "repdiag").rglob("*.py")):
        name = path.relative_to(ROOT / "repdiag")
        if name.parts[0] not in NO_NUMBERS:
            digest.update(str(name).encode() + ast.dump(_without_docstrings(path.read_text())).encode())
    return digest.hexdigest()


def _without_docstrings(source: str) -> ast.Module:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        body = getattr(node, "body", None)
        if isinstance(body, list):
            node.body = [s for s in body if not _is_text(s)]  # type: ignore[attr-defined]
    return tree


def _is_text(statement: ast.stmt) -> bool:
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)


def stamp(arguments: Sequence[str]) -> dict[str, object]:
    """What a run depends on; paths as they are seen from the checkout."""
    return {"arguments": [_from_root(a) for a in arguments], "code": code_version()}


def _from_root(argument: str) -> str:
    return os.path.relpath(argument, ROOT) if Path(argument).is_absolute() else argument


def is_done(folder: Path, wanted: dict[str, object], any_code: bool) -> bool:
    """Whether `folder` holds a whole run that `wanted` describes."""
    try:
        found = json.loads((folder / STAMP).read_text())
    except (FileNotFoundError, ValueError):
        return False
    parts = ("arguments",) if any_code else ("arguments", "code")
    return all(found.get(part) == wanted[part] for part in parts)


def score(arguments: Sequence[str], folder: Path, threads: int) -> float:
    """Run `repdiag score` into `folder`, which appears when it is whole; the seconds it took."""
    began, wanted = time.perf_counter(), stamp(arguments)
    part = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "repdiag", "score", *arguments, "--out", str(part), "--quiet"],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
            capture_output=True,
            text=True,
        )
        if done.returncode:
            raise RuntimeError(done.stderr.strip())
        (part / STAMP).write_text(json.dumps(wanted, indent=1) + "\n")
        part.chmod(0o755)
        shutil.rmtree(folder, ignore_errors=True)
        part.rename(folder)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return time.perf_counter() - began


@contextlib.contextmanager
def alone(out: Path) -> Iterator[None]:
    """Hold `out` against a second scoring, and clear away what a killed one left."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / "lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        for left in out.glob(".*--*"):
            shutil.rmtree(left, ignore_errors=True)
        yield


def score_all(
    study: Study,
    out: Path,
    *,
    only: str = "",
    jobs: int = 1,
    fresh: bool = False,
    any_code: bool = False,
    more: Sequence[str] = (),
) -> list[str]:
    """Score what is missing, `jobs` at once; the names of the runs that failed."""
    failed: list[str] = []
    with alone(out):
        study.prepare(out)
        todo: list[tuple[Run, list[str]]] = []
        for run in study.runs:
            if only not in run.name:
                continue
            arguments = [*study.arguments(run, out), *more]
            if fresh or not is_done(out / run.name, stamp(arguments), any_code):
                todo.append((run, arguments))
        print(f"{len(todo)} of {len(study.runs)} runs to do", flush=True)
        threads = max(1, (os.cpu_count() or 1) // jobs)
        pool = ThreadPoolExecutor(jobs)
        try:
            futures = {pool.submit(score, a, out / run.name, threads): run.name for run, a in todo}
            for n, future in enumerate(as_completed(futures), 1):
                name = futures[future]
                try:
                    print(f"{n}/{len(todo)} {name}: {future.result():.0f} s", flush=True)
                except (RuntimeError, OSError) as error:
                    failed.append(name)
                    print(f"{n}/{len(todo)} {name} failed:\n{error}", file=sys.stderr, flush=True)
        finally:
            pool.shutdown(cancel_futures=True)  # when interrupted: begin none of those that wait
    return failed


def main() -> int:
    """Score the study."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="only the runs whose name contains this")
    parser.add_argument("--jobs", type=int, default=min(4, os.cpu_count() or 1), help="runs at once")
    parser.add_argument("--fresh", action="store_true", help="score again what is there")
    parser.add_argument("--any-code", action="store_true", help="keep runs that other code has made")
    parser.add_argument("--metrics", help="only these metrics; for trying things out")
    given = parser.parse_args()
    if not STUDY.shared.is_dir():
        raise SystemExit("../shared/data is not here")
    more = ("--metrics", given.metrics) if given.metrics else ()
    failed = score_all(
        STUDY, OUT, only=given.only, jobs=given.jobs, fresh=given.fresh, any_code=given.any_code, more=more
    )
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
