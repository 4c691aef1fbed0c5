"""Does fine-tuning with a regularizer help? Every regularizer on the fixtures, Q-Score and DSA on a real encoder.

python -m benchmarks.evidence.finetune [--only STUDY] [--tables]

Runs go on where they were stopped; the page docs/evidence/finetune.md is written from what is there.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.catalog import ROOT, SHARED, UNCHANGED, flags
from benchmarks.evidence.reading import flowed, table

OUT = ROOT / "out" / "evidence-finetune"
PAGE = ROOT / "docs" / "evidence" / "finetune.md"
CONV4 = "enc-conv4-ssl-prototransfer/proto_miniimagenet_conv4_euclidean_1supp_3query_50bs_best.pth.tar"
PAPER = 2.15
"""Points that Kalibhat et al. report for SimCLR on ImageNet-100 (arXiv 2203.01881v6)."""
SHOWN = (
    "linear_probe_accuracy", "knn_accuracy", "nearest_center_error", "r2_separation", "cdnv", "qscore_mean",
    "augmentation_ari", "rankme",
)  # fmt: skip


@dataclass(frozen=True)
class Study:
    """One encoder on one data set: each regularizer against one control, on the same seeds."""

    key: str
    title: str
    said: str
    model: Path
    data: Path
    regularizers: tuple[str, ...]
    short: str
    options: Mapping[str, str] = field(default_factory=dict)

    def arguments(self, regularizer: str) -> list[str]:
        """The command, as a user types it."""
        place = OUT / self.key / regularizer
        words = [shown(self.model), shown(self.data), "--regularizer", regularizer, *flags(self.options)]
        return ["finetune", *words, "--out", str(place.relative_to(ROOT))]


STUDIES = (
    Study(
        "fixtures",
        "Every regularizer on the bundled digits",
        "The bundled SimCLR encoder, a small ResNet, and the bundled images: a complete run of each regularizer in"
        " minutes. So few images tell little about any of them; the table shows that all of them run to the end.",
        ROOT / "fixtures" / "encoders" / "simclr.safetensors",
        ROOT / "fixtures" / "digits",
        ("qscore", "dsa", "dsa-literal", "resa", "iccl", "lasso"),
        "the bundled encoder",
        {"preset": "small", "base": "simclr", "seeds": "3"},
    ),
    Study(
        "conv4-cifar",
        "Q-Score and DSA on an SSL encoder and CIFAR-10 images",
        "ProtoCLR's Conv4 (trained without labels on mini-ImageNet), on 10,000 CIFAR-10 images in their own size:"
        " half of them are trained on, the other half is scored.",
        SHARED / CONV4,
        SHARED / "cifar10" / "cifar10-test-png.zip",
        ("qscore", "dsa"),
        "the Conv4",
        {
            **UNCHANGED, "size": "32", "resize": "32", "preset": "cifar", "base": "simclr", "epochs": "6",
            "batch-size": "128", "hold-out": "0.5", "seeds": "3",
        },
    ),
)  # fmt: skip


def shown(path: Path) -> str:
    """A path as it is typed from the project's folder."""
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else f"../{path.relative_to(ROOT.parent)}"


def run(study: Study) -> None:
    """Train and compare what is not there yet; the control's runs are shared, for they depend on no regularizer."""
    first = OUT / study.key / study.regularizers[0]
    for regularizer in study.regularizers:
        out = OUT / study.key / regularizer
        if (out / "comparison.json").exists():
            continue
        if out != first:
            for folder in (first / "runs").glob("control-seed*"):
                if not (target := out / "runs" / folder.name).exists():
                    shutil.copytree(folder, target)
        subprocess.run([sys.executable, "-m", "repdiag", *study.arguments(regularizer)], cwd=ROOT, check=True)


def page() -> str:
    """The page, from the comparisons that are there."""
    parts = [
        "# Does fine-tuning with a regularizer help?\n\n"
        "Kalibhat et al. report up to 5.8 points of linear probe accuracy from 50 more epochs with Q-Score beside the"
        " objective; whether the encoder without it got the same 50 epochs the paper leaves open. Here every"
        " regularizer stands against a control of equal budget, from the same start, on the same seeds.\n"
    ]
    verdicts: list[tuple[Study, str, Mapping[str, Any]]] = []
    for study in STUDIES:
        found = {
            name: json.loads(path.read_text(encoding="utf-8"))
            for name in study.regularizers
            if (path := OUT / study.key / name / "comparison.json").exists()
        }
        if found:
            parts.append(_study(study, found))
            verdicts += [(study, name, comparison) for name, comparison in found.items()]
    parts.insert(1, _summary(verdicts))
    parts.append(
        "## How it was made\n\n    python -m benchmarks.evidence.finetune\n\nDifferences are means over seeds and"
        " images with 95 % intervals that cover both ([how](../explanation/did-it-help.md)); only the linear probe"
        " decides the verdict, and no interval is corrected for the number of measures.\n"
    )
    return flowed("\n".join(parts))


def _summary(verdicts: Sequence[tuple[Study, str, Mapping[str, Any]]]) -> str:
    """What came of it in a few sentences, from the numbers."""
    effects = Counter(comparison["verdict"]["effect"] for _, _, comparison in verdicts)
    counted = ", ".join(f"{effects[word]} {word}" for word in ("helped", "no evidence", "hurt"))
    said = [f"**Of {len(verdicts)} regularizers against their controls: {counted}.**"]
    for study, name, comparison in verdicts:
        if study.key == "fixtures":
            continue
        main, drift = (
            next(
                d for d in comparison["differences"] if d["primary"] and (d["subject"], d["against"]) == pair
            )
            for pair in ((name, "control"), ("control", "before"))
        )
        whole = 100 * (main["delta"] + drift["delta"])
        said.append(
            f"Without a control {name} would have seemed to bring {whole:+.1f} points of linear probe accuracy to"
            f" {study.short}; the control alone brought {100 * drift['delta']:+.1f}."
        )
        low, high = 100 * main["interval"]["low"], 100 * main["interval"]["high"]
        if name == "qscore":
            place = "inside" if low <= PAPER <= high else "outside"
            word = "neither confirmed nor refuted" if place == "inside" else "not what is found here"
            said.append(
                f"The paper's gain for SimCLR on ImageNet-100, {PAPER:+} points, lies {place} the interval of the"
                f" difference [{low:+.1f}, {high:+.1f}]: it is {word}."
            )
    return " ".join(said) + "\n"


def _study(study: Study, found: Mapping[str, Mapping[str, Any]]) -> str:
    rows = []
    for name, comparison in found.items():
        rows += _rows(name, comparison)
    head = ("regularizer", "measure", "before", "control", "with it", "with it - control", "control - before")
    verdicts = "".join(
        f"- **{name}: {c['verdict']['effect']}.** {c['verdict']['reason']}\n" for name, c in found.items()
    )
    commands = "".join(f"    repdiag {' '.join(study.arguments(name))}\n" for name in study.regularizers)
    return f"## {study.title}\n\n{study.said}\n\n{commands}\n{verdicts}\n{table(head, rows, left=2)}\n"


def _rows(name: str, comparison: Mapping[str, Any]) -> list[list[str]]:
    rows = []
    for metric in SHOWN:
        pairs = {(d["subject"], d["against"]): d for d in comparison["differences"] if d["metric"] == metric}
        main, drift = pairs.get((name, "control")), pairs.get(("control", "before"))
        if main and drift:
            cells = [f"{v:.4g}" for v in (drift["other"], main["other"], main["value"])]
            rows.append([name, main["title"], *cells, _change(main), _change(drift)])
    return rows


def _change(difference: Mapping[str, Any]) -> str:
    interval = difference["interval"]
    said = f" [{interval['low']:+.3g}, {interval['high']:+.3g}]" if interval else ""
    return f"{difference['delta']:+.3g}{said}"


def main() -> int:
    """Run what is missing, then write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="only the study of this key")
    parser.add_argument("--tables", action="store_true", help="train nothing, write the page")
    given = parser.parse_args()
    for study in STUDIES:
        if given.only in study.key and not given.tables:
            run(study)
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
