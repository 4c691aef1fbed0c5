"""Damages small checkpoint files of every container in many ways and counts what reading them comes to.

    python scripts/fuzz_checkpoints.py --count 4800

Each damaged file is read with `read_layout` and `read_checkpoint` in a worker process that has a limit of memory and
time. The last three columns must be zero: CRASH (any error but repdiag's own, or the end of the process), TIMEOUT, and
EXECUTED (a call from the file was run, or a program started); so must "other weights" where a checksum covers them.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import resource
import select
import shutil
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MEMORY = 3 << 30  # bytes beyond what a worker has when torch is loaded
SECONDS = 20.0
CANARY = "canary"
OUTCOMES = ("equal", "warned", "other weights", "exit 3", "exit 7", "exit 8", "CRASH", "TIMEOUT", "EXECUTED")
NEVER = ("CRASH", "TIMEOUT", "EXECUTED")
WATCHED = frozenset(
    {"os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork", "pty.spawn", "socket.connect"}
    | {"pickle.find_class", "ctypes.dlopen", "shutil.rmtree"}
)


@dataclass(frozen=True)
class Seed:
    """A file to damage; `covered` when a checksum covers all of its weights."""

    name: str
    path: Path
    covered: bool


@dataclass(frozen=True)
class Case:
    """A damaged file. `sealed`: its checksums were made right again."""

    seed: Seed
    kind: str
    path: Path
    sealed: bool


# --------------------------------------------------------------------------------------------- whole files


class Touch:
    """Pickles as a command that would create the canary."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.canary}",)


def make_seeds(folder: Path) -> list[Seed]:
    """One small file per container, and hostile ones whose call a damage could uncover."""
    import warnings

    import numpy as np
    import torch
    import torch.distributed.checkpoint as dcp
    from safetensors.torch import save_file
    from torch import nn

    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1)).eval()
    state = network.state_dict()
    root = {
        "epoch": 3,
        "args": argparse.Namespace(arch="tiny", lr=0.1),
        "best": np.float64(0.5),
        "state_dict": state,
        "optimizer": {"state": {0: {"momentum": torch.randn(4, 3)}}, "param_groups": [{"lr": 0.1}]},
    }
    hostile = {**root, "hook": Touch(folder / CANARY)}
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in (("zip", root), ("zip, hostile", hostile)):
        torch.save(value, folder / f"{name}.pt")
    for name, value in (("legacy", root), ("legacy, hostile", hostile)):
        torch.save(value, folder / f"{name}.pt", _use_new_zipfile_serialization=False)
    save_file(state, folder / "safetensors.safetensors", metadata={"repdiag.architecture": "timm:resnet18"})
    torch.jit.script(network).save(str(folder / "TorchScript.pt"))
    with torch.no_grad():
        torch.export.save(torch.export.export(network, (torch.randn(2, 3, 8, 8),)), folder / "export.pt2")
    dcp.save({"model": state, "epoch": 3}, checkpoint_id=folder / "distributed", no_dist=True)
    return [
        Seed("torch.save (zip)", folder / "zip.pt", True),
        Seed("torch.save (zip), hostile", folder / "zip, hostile.pt", True),
        Seed("torch.save (legacy)", folder / "legacy.pt", False),
        Seed("torch.save (legacy), hostile", folder / "legacy, hostile.pt", False),
        Seed("safetensors", folder / "safetensors.safetensors", False),
        Seed("TorchScript", folder / "TorchScript.pt", True),
        Seed("torch.export", folder / "export.pt2", True),
        Seed("torch.distributed.checkpoint", folder / "distributed", True),
    ]


# --------------------------------------------------------------------------------------------- damage


def _place(rng: random.Random, data: bytes) -> int:
    """A position, as likely in the first or last kilobyte (headers, directories) as anywhere."""
    where = rng.random()
    if where < 0.25:
        return rng.randrange(min(len(data), 1024))
    if where < 0.5:
        return rng.randrange(max(0, len(data) - 1024), len(data))
    return rng.randrange(len(data))


def flip_bits(rng: random.Random, data: bytes) -> bytes:
    """One to eight flipped bits."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        changed[_place(rng, data)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def truncate(rng: random.Random, data: bytes) -> bytes:
    """The end is missing."""
    return data[: _place(rng, data)]


def insert(rng: random.Random, data: bytes) -> bytes:
    """Some random bytes more."""
    at = _place(rng, data)
    return data[:at] + rng.randbytes(rng.choice((1, 4, 64))) + data[at:]


def delete(rng: random.Random, data: bytes) -> bytes:
    """Some bytes fewer."""
    at = _place(rng, data)
    return data[:at] + data[at + rng.choice((1, 4, 64)) :]


def zero(rng: random.Random, data: bytes) -> bytes:
    """A block of zeros."""
    at, length = _place(rng, data), rng.choice((4, 32, 512))
    return data[:at] + bytes(min(length, len(data) - at)) + data[at + length :]


def duplicate(rng: random.Random, data: bytes) -> bytes:
    """A block twice."""
    at, length = _place(rng, data), rng.choice((4, 32, 512))
    return data[: at + length] + data[at : at + length] + data[at + length :]


def splice(rng: random.Random, data: bytes) -> bytes:
    """A block over another place of the file."""
    source, target, length = _place(rng, data), _place(rng, data), rng.choice((4, 32, 512))
    block = data[source : source + length]
    return data[:target] + block + data[target + len(block) :]


def number(rng: random.Random, data: bytes) -> bytes:
    """A 32-bit or 64-bit number that lies: nothing, huge, negative."""
    form, values = rng.choice(
        (("<I", (0, 1 << 31, (1 << 32) - 1)), ("<Q", (0, 10 << 30, 1 << 63, (1 << 64) - 1)))
    )
    block = struct.pack(form, rng.choice(values))
    at = _place(rng, data)
    return data[:at] + block + data[at + len(block) :]


def directory(rng: random.Random, data: bytes) -> bytes:
    """A field of the zip's directory changed, or two entries' places swapped."""
    starts = [i for i in range(len(data)) if data.startswith(b"PK\x01\x02", i)]
    if len(starts) < 2:
        return number(rng, data)
    changed = bytearray(data)
    one, two = rng.sample(starts, 2)
    if rng.random() < 0.4:
        changed[one + 42 : one + 46], changed[two + 42 : two + 46] = (
            data[two + 42 : two + 46],
            data[one + 42 : one + 46],
        )
    else:
        at, form = rng.choice(
            ((8, "<H"), (10, "<H"), (16, "<I"), (20, "<I"), (24, "<I"), (28, "<H"), (30, "<H"), (42, "<I"))
        )
        struct.pack_into(
            form, changed, one + at, rng.choice((0, 1, 8, 0xFFFF, 0xFFFF if form == "<H" else 0xFFFFFFFF))
        )
    return bytes(changed)


PLAIN = (flip_bits, truncate, insert, delete, zero, duplicate, splice, number, directory)


def reseal(rng: random.Random, data: bytes) -> bytes:
    """One record damaged and the archive written anew: every checksum is right."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as old, zipfile.ZipFile(out, "w") as new:
        names = [info.filename for info in old.infolist() if info.file_size]
        described = [n for n in names if n.endswith((".pkl", ".json", ".py"))]
        target = rng.choice(described if rng.random() < 0.8 else names)
        order = old.namelist()
        if rng.random() < 0.1:
            rng.shuffle(order)
        for name in order:
            content = old.read(name)
            if name == target:
                content = rng.choice((flip_bits, flip_bits, number, splice, truncate, insert, delete, zero))(
                    rng, content
                )
            new.writestr(name, content)
    return out.getvalue()


def make_cases(seeds: list[Seed], count: int, folder: Path, seed: int) -> Iterator[Case]:
    """`count` damaged files in turn from each seed, every one in the same place: the last is overwritten."""
    for index in range(count):
        rng = random.Random(f"{seed}/{index}")
        origin = seeds[index % len(seeds)]
        target = folder / f"case{origin.path.suffix}"
        if target.is_dir():
            shutil.rmtree(target)
        if origin.path.is_dir():
            target.mkdir()
            for file in origin.path.iterdir():
                shutil.copyfile(file, target / file.name)
            changed = target / rng.choice(sorted(file.name for file in target.iterdir()))
            plain = origin.path / changed.name
        else:
            changed, plain = target, origin.path
        data = plain.read_bytes()
        sealed = changed.name == ".metadata"  # it has no checksum
        if zipfile.is_zipfile(plain) and plain.suffix != ".distcp" and rng.random() < 0.35:
            kind, damage, sealed = "resealed", reseal(rng, data), True
        else:
            change = rng.choice(PLAIN)
            kind, damage = change.__name__, change(rng, data)
        changed.write_bytes(damage)
        yield Case(origin, kind, target, sealed)


# --------------------------------------------------------------------------------------------- reading


def work(canary: str) -> None:
    """The worker: paths come in, outcomes go out, one line of JSON each."""
    import torch

    from repdiag.checkpoints import read_checkpoint, read_layout
    from repdiag.errors import RepdiagError

    torch.set_num_threads(1)
    executed: list[str] = []
    whole: dict[str, Any] = {}
    watching = False

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        if watching and event in WATCHED and not (event == "ctypes.dlopen" and importing()):
            executed.append(event)

    sys.addaudithook(audit)
    limited = False
    for line in sys.stdin:
        task = json.loads(line)
        origin, path = task["origin"], task["path"]
        if origin not in whole:
            try:
                whole[origin] = read_checkpoint(origin)
            except RepdiagError:
                whole[origin] = None
        if not limited and task["last"]:  # after all libraries were loaded
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            most = pages * resource.getpagesize() + MEMORY
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
            limited = True
        executed.clear()
        watching = True
        outcome, detail = "", ""
        try:
            try:
                layout = read_layout(path)
            except RepdiagError:
                layout = None
            found = read_checkpoint(path, trust_pickle=task["trust"])
            outcome = compare(whole[origin], found)
            shapes = {
                n: (tuple(t.shape), str(t.dtype).removeprefix("torch.")) for n, t in found.tensors.items()
            }
            if layout is None or dict(layout.tensors) != shapes:
                outcome, detail = "CRASH", "read_layout and read_checkpoint disagree"
        except RepdiagError as error:
            outcome, detail = f"exit {error.exit_code}", str(error)
        except BaseException as error:
            outcome, detail = "CRASH", f"{type(error).__name__}: {error}"
        watching = False
        if executed or Path(canary).exists():
            outcome, detail = "EXECUTED", ", ".join(executed) or "the canary"
            Path(canary).unlink(missing_ok=True)
        print(json.dumps({"outcome": outcome, "detail": detail}), flush=True)


def importing() -> bool:
    """Whether an installed module is being imported, for the first time: those may open their own libraries."""
    frame = sys._getframe(1)
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back  # type: ignore[assignment]
    return frame is not None


def compare(whole: Any, found: Any) -> str:
    """Whether the weights are those of the undamaged file, and whether a warning says that they may not be."""
    import torch

    if whole is None or list(found.tensors) != list(whole.tensors):
        return "other weights"
    for name, tensor in found.tensors.items():
        other = whole.tensors[name]
        if (tensor.dtype, tensor.shape) != (other.dtype, other.shape) or not torch.equal(tensor, other):
            return "other weights"
    return "warned" if set(found.warnings) - set(whole.warnings) else "equal"


class Worker:
    """A process that reads damaged files, started anew when one kills it. `trust` is for its own test."""

    def __init__(self, canary: Path, warm: list[Path], *, trust: bool = False) -> None:
        self.canary, self.warm, self.trust = canary, warm, trust
        self.process: subprocess.Popen[str] | None = None

    def read(self, case: Case) -> tuple[str, str]:
        """Outcome and detail of one case."""
        if self.process is None:
            self._start()
        return self._ask(case.seed.path, case.path, SECONDS)

    def _start(self) -> None:
        command = [sys.executable, __file__, "--worker", str(self.canary)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        # Lightning sets one that makes torch open NVIDIA's library at every look for a GPU, like a file might
        environment.pop("PYTORCH_NVML_BASED_CUDA_CHECK", None)
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=environment,
        )
        for path in self.warm:  # libraries load with the first file of a kind, and that is no case's time
            outcome, detail = self._ask(path, path, 120.0, last=path == self.warm[-1])
            if outcome not in ("equal", "exit 7"):
                raise RuntimeError(f"The undamaged {path.name} comes to {outcome}: {detail}")

    def _ask(self, origin: Path, path: Path, seconds: float, *, last: bool = True) -> tuple[str, str]:
        assert self.process is not None
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            task = {"origin": str(origin), "path": str(path), "last": last, "trust": self.trust}
            self.process.stdin.write(json.dumps(task) + "\n")
            self.process.stdin.flush()
            ready, _, _ = select.select([self.process.stdout], [], [], seconds)
            if not ready:
                self.stop()
                return "TIMEOUT", f"more than {seconds} s"
            line = self.process.stdout.readline()
            if line:
                answer = json.loads(line)
                return answer["outcome"], answer["detail"]
        except BrokenPipeError:
            pass
        code = self.process.wait()
        self.process = None
        return "CRASH", f"the process ended with {code}"

    def stop(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


def fuzz(
    seeds: list[Seed], count: int, folder: Path, seed: int, keep: Path | None
) -> Iterator[tuple[Case, str, str]]:
    """Each case with its outcome and detail; what must not happen is kept in `keep`."""
    worker = Worker(seeds[0].path.parent / CANARY, [s.path for s in seeds])
    try:
        for index, case in enumerate(make_cases(seeds, count, folder, seed)):
            outcome, detail = worker.read(case)
            if keep is not None and forbidden(case, outcome):
                keep.mkdir(parents=True, exist_ok=True)
                target = keep / f"{index}{case.path.suffix}"
                (shutil.copytree if case.path.is_dir() else shutil.copyfile)(case.path, target)
            yield case, outcome, detail
    finally:
        worker.stop()


def forbidden(case: Case, outcome: str) -> bool:
    """Whether this must not come of the case."""
    return outcome in NEVER or (outcome == "other weights" and case.seed.covered and not case.sealed)


def table(counts: dict[tuple[str, str], Counter[str]]) -> str:
    """Markdown: a row per container and sort of damage."""
    lines = [f"| container | damage | files | {' | '.join(OUTCOMES)} |", "|---" * (len(OUTCOMES) + 3) + "|"]
    total: Counter[str] = Counter()
    for (name, damage), row in sorted(counts.items()):
        total += row
        lines.append(f"| {name} | {damage} | {row.total()} | {' | '.join(str(row[o]) for o in OUTCOMES)} |")
    lines.append(f"| all | | {total.total()} | {' | '.join(str(total[o]) for o in OUTCOMES)} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table; exit 1 when something happened that must not."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=4800)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for the files of forbidden outcomes")
    parser.add_argument("--worker", metavar="CANARY", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.worker)
        return
    began = time.monotonic()
    counts: dict[tuple[str, str], Counter[str]] = {}
    bad: list[str] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        seeds = make_seeds(folder / "seeds")
        for index, (case, outcome, detail) in enumerate(
            fuzz(seeds, options.count, folder, options.seed, options.keep)
        ):
            protected = case.seed.covered and not case.sealed
            damage = (
                "checksums cover it"
                if protected
                else "checksums made right"
                if case.seed.covered
                else "no checksums"
            )
            counts.setdefault((case.seed.name, damage), Counter())[outcome] += 1
            if forbidden(case, outcome):
                bad.append(f"case {index}: {case.seed.name}, {case.kind}: {outcome}, {detail}")
    print(table(counts))
    print(f"\n{options.count} files, seed {options.seed}, {time.monotonic() - began:.0f} s")
    print("\n".join(bad) or "Nothing happened that must not.")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
