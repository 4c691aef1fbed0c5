"""Do heat maps lie on the object? Real encoders against Tiny-ImageNet's human boxes; writes docs/evidence/heatmaps.md.

    python -m benchmarks.evidence.heatmaps [--only PART] [--print]

Each encoder is a process of its own, `repdiag explain ... --masks`, that leaves a folder under out/evidence/heatmaps;
what is there stays. A few minutes for each encoder on one core.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.catalog import ENCODERS, ROOT, SHARED, Encoder, Training, flags
from benchmarks.evidence.reading import fixed, fixed_span, flowed, listed, percent, table
from benchmarks.evidence.study import OUT

KEYS = ("random", "protoclr-1images", "protoclr-all", "supervised-all", "resnet20")
IMAGES = "tiny-imagenet/tiny-imagenet-val.zip"
BOXES = "tiny-imagenet/val_annotations.txt"
RUNS = OUT / "heatmaps"
PAGE = ROOT / "docs" / "evidence" / "heatmaps.md"
OPTIONS = ("--views", "0", "--features", "0", "--riskiest", "0", "--quiet")

CHANCE, RIGHT = "above-other-masks", "correct-above-misclassified"
EQUAL, RANDOM = "correct-above-misclassified-at-equal-objects", "above-random-features"
WORDS = {"holds": "holds", "does not hold": "opposite", "not decided": "not decided"}


@dataclass(frozen=True)
class Found:
    """One encoder's explain.json, read."""

    encoder: Encoder
    document: Mapping[str, Any]
    accuracy: float

    @property
    def overlap(self) -> Mapping[str, Any]:
        """What the boxes say."""
        found: Mapping[str, Any] = self.document["overlap"]
        return found

    def quantity(self, name: str) -> Mapping[str, Any] | None:
        """A quantity by name."""
        return next((q for q in self.overlap["quantities"] if q["name"] == name), None)

    def claim(self, key: str) -> Mapping[str, Any]:
        """A claim by key."""
        found: Mapping[str, Any] = next(c for c in self.overlap["claims"] if c["key"] == key)
        return found


def run(encoder: Encoder, out: Path = RUNS) -> Path:
    """Explain `encoder`, unless it is done; the folder with the results."""
    folder = out / encoder.key
    if (folder / "explain.json").is_file():
        return folder
    given = [str(SHARED / encoder.file), str(SHARED / IMAGES), "--masks", str(SHARED / BOXES)]
    command = [sys.executable, "-m", "repdiag", "explain", *given, *flags(encoder.options), *OPTIONS]
    subprocess.run([*command, "--out", str(folder)], check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return folder


def read(encoder: Encoder, folder: Path) -> Found:
    """What a run found, with the accuracy of the probe on all evaluated images."""
    import pandas as pd

    document = json.loads((folder / "explain.json").read_text(encoding="utf-8"))
    correct = pd.read_csv(folder / "samples.csv", usecols=["correct"])["correct"]
    return Found(encoder, document, float(correct.mean()))


# ------------------------------------------------------------------------------------ the page


def page(found: Sequence[Found]) -> str:
    """The page's text; every number and word on what was found is computed."""
    parts = (_summary, _setting, _object, _groups, _random, _limits)
    return flowed(
        "# Do heat maps lie on the object?\n\n"
        "Kalibhat et al. find that the heat maps of discriminative features lie on the core of an image more than on "
        "what is spurious, and more so where the image is classified correctly. `repdiag explain` holds the heat maps "
        "of real encoders against Tiny-ImageNet's human boxes, beside two nulls and a control of random features.\n\n"
        "    python -m benchmarks.evidence.heatmaps\n\n" + "\n".join(part(found) for part in parts)
    )


def _said(found: Sequence[Found], key: str, *words: str) -> list[str]:
    return [f"*{f.encoder.title}*" for f in found if f.claim(key)["found"] in words]


def _of(found: Sequence[Found], key: str) -> str:
    """How often a claim holds, and of whom it does not."""
    tested = [f for f in found if f.claim(key)["found"] != "not tested"]
    holds = _said(tested, key, "holds")
    text = f"holds for {len(holds)} of {len(tested)} encoders"
    open_, opposite = _said(tested, key, "not decided"), _said(tested, key, "does not hold")
    text += f"; not decided for {listed(open_)}" if open_ else ""
    return text + (f"; the opposite for {listed(opposite)}" if opposite else "")


def _summary(found: Sequence[Found]) -> str:
    below = [f"*{f.encoder.title}*" for f in found if _uniform_wins(f)]
    return (
        f"- **More on the own object than on others':** {_of(found, CHANCE)}.{_untrained(found, CHANCE)}\n"
        f"- **More on the object where the probe is right (the paper's second claim):** {_of(found, RIGHT)}.\n"
        f"- **The same at equal objects** (each image's value less what other images' maps get on its box):"
        f" {_of(found, EQUAL)}.\n"
        f"- **Discriminative features more than random ones:** {_of(found, RANDOM)}.{_untrained(found, RANDOM)}\n"
        f"- **An even map would score higher (mIoU):** for {listed(below)}.\n"
        "- **Core above spurious (the paper's first claim): not tested.** Boxes know no spurious region.\n"
    )


def _untrained(found: Sequence[Found], key: str) -> str:
    """What it means where a claim holds for untrained weights as well."""
    there = any(f.encoder.training is Training.NONE and f.claim(key)["found"] == "holds" for f in found)
    return " Untrained weights are among them: it takes no training." if there else ""


def _uniform_wins(f: Found) -> bool:
    q = f.quantity("iou_core")
    return q is not None and q["uniform"] > q["value"]


def _setting(found: Sequence[Found]) -> str:
    first = found[0].document
    return (
        "## What was measured\n\n"
        f"All {first['dataset']['evaluated']:,} validation images of Tiny-ImageNet (64 x 64 pixels, 200 classes) with "
        f"the box of the object, resized as each encoder wants them: the pictures are small and the Conv4 "
        f"encoders enlarge them to 84 pixels, ResNet-20 shrinks them to 32. The linear probe is cross-fitted over the "
        "same images. A map explains the sum of a sample's discriminative features (Q-Score's, or the rule "
        "adapted to either sign where fewer than half of the samples have one). mIoU is the paper's, weighted by heat, "
        f"at a threshold of {found[0].overlap['threshold']:g} of a map's maximum (ours); *inside* is the share of the "
        "heat in the box. *Other boxes* is each map against another image's box, *even* a map that is the same "
        "everywhere. Intervals are 95 %, over images. An image whose box the center crop cuts off has no mask.\n\n"
        + table(
            ("encoder", "probe", "features from", "in S", "heat maps", "places", "method"),
            [
                [
                    f.encoder.title,
                    percent(f.accuracy),
                    f.document["target"]["kind"],
                    f"{f.document['target']['selected']} of {f.document['target']['features']}",
                    f"{f.overlap['maps']:,} of {f.overlap['masked']:,}",
                    " x ".join(map(str, f.document["place"]["grid"])),
                    f.document["place"]["method"],
                ]
                for f in found
            ],
            left=3,
        )
    )


def _even(f: Found, name: str) -> float | None:
    """What an even map gets: the mean share of the picture that the boxes of these images fill."""
    q = f.quantity(name)
    return None if q is None else q["uniform"]


def _ends(q: Mapping[str, Any] | None, digits: int = 3) -> str:
    if q is None:
        return "-"
    interval = q["interval"] or {}
    return fixed_span((q["value"], interval.get("low"), interval.get("high")), digits)


def _null(q: Mapping[str, Any] | None) -> str:
    return "-" if q is None or q["null"] is None else fixed(q["null"]["mean"], 3)


def _difference(f: Found, key: str) -> list[str]:
    claim = f.claim(key)
    return [_ends(claim) if claim["value"] is not None else "-", WORDS.get(claim["found"], claim["found"])]


def _object(found: Sequence[Found]) -> str:
    rows = []
    for f in found:
        iou, mass = f.quantity("iou_core"), f.quantity("mass_core")
        assert iou is not None
        assert mass is not None
        rows.append(
            [f.encoder.title, _ends(iou), _null(iou), fixed(iou["uniform"], 3), *_difference(f, CHANCE),
             _ends(mass), _null(mass), fixed(mass["uniform"], 3)]
        )  # fmt: skip
    heads = (
        "encoder",
        "mIoU core",
        "other boxes",
        "even",
        "above other boxes",
        "",
        "inside",
        "other boxes",
        "even",
    )
    return (
        "## On the object, or anywhere\n\n"
        f"Boxes fill {percent(_even(found[0], 'mass_core'))} of these pictures on average (the first row's), "
        "so that much heat falls into them whatever an encoder looks at: what counts is the difference to "
        "other images' boxes, which have that bias too.\n\n" + table(heads, rows)
    )


def _groups(found: Sequence[Found]) -> str:
    rows = []
    for f in found:
        right, wrong = f.quantity("iou_core_correct"), f.quantity("iou_core_misclassified")
        rows.append(
            [f.encoder.title, _ends(right), _ends(wrong), *_difference(f, RIGHT), *_difference(f, EQUAL),
             *(f"{0 if q is None else q['n']:,}" for q in (right, wrong))]
        )  # fmt: skip
    larger = sum(
        (_even(f, "mass_core_correct") or 0) > (_even(f, "mass_core_misclassified") or 0) for f in found
    )
    heads = (
        "encoder",
        "correct",
        "misclassified",
        "difference",
        "",
        "at equal objects",
        "",
        "n correct",
        "n wrong",
    )
    return (
        "## Correct and misclassified\n\n"
        f"On a larger object any map scores higher. The images that the probe gets right have the larger boxes for "
        f"{larger} of {len(found)} encoders. At equal objects, what other images' maps get on the same box is taken "
        "off first (ours). Where objects are large there is less left to gain, so that this may err the other way.\n\n"
        + table(heads, rows)
    )


def _random(found: Sequence[Found]) -> str:
    rows = [
        [
            f.encoder.title,
            _ends(f.quantity("iou_core")),
            _ends(f.quantity("iou_core_random")),
            *_difference(f, RANDOM),
            _ends(f.quantity("mass_core")),
            _ends(f.quantity("mass_core_random")),
        ]
        for f in found
    ]
    heads = (
        "encoder",
        "mIoU, discriminative",
        "mIoU, random",
        "difference",
        "",
        "inside, discr.",
        "inside, random",
    )
    return (
        "## Discriminative and random features\n\n"
        "As many features of the same image, drawn from those that are active and not discriminative. mIoU also "
        "depends on how wide a map spreads, which the share inside does less.\n\n" + table(heads, rows)
    )


def _limits(found: Sequence[Found]) -> str:
    return """## What it means

These encoders are small, their grids coarse and the boxes rough: a box holds background in its corners, and one place
of the grid sees a field of the image that is wider than the place. Heat maps are local and linear; they do not
show why a class was predicted. The paper's maps are of a ResNet-50 at 224 pixels against soft masks of core and
spurious
regions (Salient ImageNet), which were not at hand: what is found here neither confirms nor refutes its numbers. Read
differences with their controls, not the height of mIoU.
"""


def main() -> int:
    """Run what is missing and write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="only the encoders whose key contains this")
    parser.add_argument("--print", action="store_true", dest="printed", help="print instead of writing")
    given = parser.parse_args()
    by_key = {encoder.key: encoder for encoder in ENCODERS}
    chosen = [by_key[key] for key in KEYS if given.only in key]
    text = page([read(encoder, run(encoder)) for encoder in chosen])
    if given.printed or given.only:
        print(text)
    else:
        PAGE.write_text(text, encoding="utf-8")
        print(PAGE.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
