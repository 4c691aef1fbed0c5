"""One encoder scored again and again with what must not matter, and the gate's command run twice."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.catalog import IMAGENET, ROOT, flags
from benchmarks.evidence.gate_ladder import right
from benchmarks.evidence.score import STAMP, is_done, score, stamp
from benchmarks.evidence.study import OUT as RUNS
from repdiag.gate.evaluate import evaluate
from repdiag.gate.init import rules_from
from repdiag.gate.rules import parse_rules
from repdiag.gate.types import GateResult
from repdiag.report.reading import read_report
from repdiag.types import Report

OUT = ROOT / "out" / "evidence-gate"
TABLES = ("samples.csv", "classes.csv")
STRICT = """\
[[rule]]
name = "probe"
metric = "linear_probe_accuracy"
change_at_least = 0

[[rule]]
name = "kNN"
metric = "knn_accuracy"
change_at_least = 0

[[rule]]
name = "nearest center"
metric = "nearest_center_error"
change_at_most = 0
"""


@dataclass(frozen=True)
class Subject:
    """An encoder that is scored again and again; `more` is scored for `others`: unequal ones, by title, and where."""

    key: str
    title: str
    model: str
    data: str
    options: Mapping[str, str] = field(default_factory=dict)
    more: tuple[Variant, ...] = ()
    others: Mapping[str, Path] = field(default_factory=dict)

    def arguments(self, variant: Variant) -> list[str]:
        """Those of `repdiag score`; embeddings are made anew unless only the seed differs."""
        model = variant.model or (str(self.script.relative_to(ROOT)) if variant.script else self.model)
        kept = ["--cache", str((OUT / "cache").relative_to(ROOT))] if variant.cached else ["--no-cache"]
        words = flags({**self.options, "metrics": "probes,crowding,rankme", **variant.options})
        return [model, self.data, *words, "--no-map", "--no-by-size", *kept]

    @property
    def script(self) -> Path:
        """The same weights as TorchScript."""
        return OUT / f"{self.key}.ts"


@dataclass(frozen=True)
class Variant:
    """What differs from the first run, and must not matter."""

    key: str
    title: str
    options: Mapping[str, str] = field(default_factory=dict)
    cached: bool = False
    script: bool = False
    model: str = ""


SUBJECTS = (
    Subject(
        "simclr",
        "SimCLR, bundled digits",
        "fixtures/encoders/simclr.safetensors",
        "fixtures/digits",
        more=(Variant("untrained", "untrained", model="fixtures/encoders/random.safetensors"),),
        others={"the untrained encoder": OUT / "simclr--untrained"},
    ),
    Subject(
        "resnet20",
        "ResNet-20, CIFAR-10 test",
        "../shared/data/enc-cifar10-resnet-akamaster/resnet20-12fca82f.th",
        "../shared/data/cifar10/cifar10-test-png.zip",
        IMAGENET,
        others={
            "ResNet-32": RUNS / "cifar--resnet32",
            "UvA ResNet": RUNS / "cifar--uva-resnet",
            "UvA DenseNet": RUNS / "cifar--uva-densenet",
        },
    ),
)
FIRST = Variant("first", "the baseline", cached=True)
VARIANTS = (
    Variant("again", "scored again"),
    *(Variant(f"seed{n}", f"seed {n}", {"seed": str(n)}, cached=True) for n in (1, 2, 3)),
    Variant("batch", "batches of 33", {"batch-size": "33"}),
    Variant("bfloat16", "bfloat16", {"precision": "bfloat16"}),
    Variant("torchscript", "as TorchScript", script=True),
)


def make(subject: Subject, fresh: bool) -> None:
    """Score what is not there; all of one encoder's runs by the same code."""
    OUT.mkdir(parents=True, exist_ok=True)
    todo = [
        (OUT / f"{subject.key}--{v.key}", subject.arguments(v)) for v in (FIRST, *VARIANTS, *subject.more)
    ]
    there = [is_done(folder, stamp(words), any_code=True) for folder, words in todo]
    codes = {
        json.loads((f / STAMP).read_text())["code"] for (f, _), is_ in zip(todo, there, strict=True) if is_
    }
    if all(there) and len(codes) == 1 and not fresh:
        return
    _repdiag("export", subject.model, str(subject.script), "--force", "--quiet")
    for folder, words in todo:
        if fresh or not is_done(folder, stamp(words), any_code=False):
            print(f"{folder.name}: {score(words, folder, threads=1):.0f} s", flush=True)


@dataclass(frozen=True)
class Equal:
    """A run against the first one of the same encoder: by the rules of `gate --init` with its rules of change, by those
    that allow no change at all, and how many images the probe gained and lost.
    """

    title: str
    usual: GateResult
    strict: GateResult
    gained: int
    lost: int

    @property
    def change(self) -> float:
        """Of the probe's accuracy, as the strict rule has it."""
        return self.strict.results[0].value or 0.0


def equal(title: str, report: Report, first: Report) -> Equal:
    """Hold `report` against `first`."""
    now, before = right(report), right(first)
    changes = [now[key] - before[key] for key in now.keys() & before.keys()]
    usual, strict = (evaluate(report, parse_rules(rules), first) for rules in (init_rules(first), STRICT))
    return Equal(title, usual, strict, sum(c > 0 for c in changes), sum(c < 0 for c in changes))


def equals(subject: Subject) -> list[Equal]:
    """Every variant against the first run."""
    return _against(subject, {v.title: OUT / f"{subject.key}--{v.key}" for v in VARIANTS})


def unequals(subject: Subject) -> list[Equal]:
    """Other encoders against the first run by the same rules: that these can fail."""
    return _against(subject, subject.others)


def _against(subject: Subject, folders: Mapping[str, Path]) -> list[Equal]:
    first = read_report(OUT / f"{subject.key}--first", tables=TABLES)
    return [equal(title, read_report(path, tables=TABLES), first) for title, path in folders.items()]


def init_rules(report: Report) -> str:
    """What `gate --init` writes, with the rules of change switched on as the file says: # without a blank goes."""
    return re.sub(r"^#(?=\S)", "", rules_from(report), flags=re.MULTILINE)


def _repdiag(*words: str, codes: Sequence[int] = (0,), **environment: str) -> int:
    done = subprocess.run(
        [sys.executable, "-m", "repdiag", *words],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
    )
    if done.returncode not in codes:
        raise RuntimeError(f"repdiag {' '.join(words)}: {done.stderr.strip()}")
    return done.returncode


@dataclass(frozen=True)
class Twice:
    """The gate's exit code, and by output its bytes and whether a second process wrote the same."""

    code: int
    written: Mapping[str, tuple[int, bool]]


def twice(report: Path, baseline: Path, rules: str) -> Twice:
    """Run the command twice, with different seeds of Python's hashes."""
    file = OUT / "rules.toml"
    file.write_text(rules, encoding="utf-8")
    kinds = ("json", "junit", "markdown")
    written, codes = [], []
    for run in (1, 2):
        paths = {kind: OUT / f"gate-{run}.{kind}" for kind in kinds}
        options = [word for kind in kinds for word in (f"--{kind}", str(paths[kind]))]
        subject, rules_file, before = (os.path.relpath(path, ROOT) for path in (report, file, baseline))
        words = ("gate", subject, "--rules", rules_file, "--baseline", before, *options)
        codes.append(_repdiag(*words, "-q", "--no-summary", codes=(0, 1, 4), PYTHONHASHSEED=str(run)))
        written.append([paths[kind].read_bytes() for kind in kinds])
    if codes[0] != codes[1]:
        raise RuntimeError(f"exit codes {codes} of the same gate")
    return Twice(codes[0], {k: (len(a), a == b) for k, a, b in zip(kinds, *written, strict=True)})
