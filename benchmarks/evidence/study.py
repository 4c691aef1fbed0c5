"""What is scored, and which encoders belong together. Tables know studies, not files."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.catalog import (
    CALTECH,
    CIFAR,
    CIFAR10,
    CONV4,
    CONV4_OMNIGLOT,
    MATCHED,
    OMNIGLOT,
    ROOT,
    SHARED,
    Encoder,
    Images,
    Training,
    flags,
)

OUT = ROOT / "out" / "evidence"
SAME = {"view-samples": "1000"}  # for all runs; every other choice is the default
LEFT_OUT = ("--no-map", "--no-by-size")  # what no table here shows
TINY_CLASSES = 30


@dataclass(frozen=True)
class Run:
    """One encoder on one data set, scored once."""

    encoder: Encoder
    images: Images

    @property
    def name(self) -> str:
        """The folder of the run."""
        return f"{self.images.key}--{self.encoder.key}"


@dataclass(frozen=True)
class Ladder:
    """Encoders of one architecture that differ in how good they are: same N, D and images for all."""

    title: str
    encoders: tuple[str, ...]


@dataclass(frozen=True)
class Pair:
    """A self-supervised encoder and a supervised one of like architecture, by their keys."""

    title: str
    ours: str
    supervised: str


@dataclass(frozen=True)
class Study:
    """All runs, and the tables' questions about them.

    `ladders`, `pairs` and `variants` name encoders; each holds on every data set of which runs exist. Maps of
    the encoders in `variants` are `side` x `side` behind each channel, so that they can be pooled.
    """

    runs: tuple[Run, ...]
    ladders: tuple[Ladder, ...]
    pairs: tuple[Pair, ...]
    variants: tuple[str, ...]
    side: int
    prepare: Callable[[Path], None] = lambda out: None
    shared: Path = SHARED
    options: Mapping[str, str] = field(default_factory=lambda: SAME)

    def data(self, images: Images, out: Path) -> Path:
        """Where images are: beside the checkout, or made by `prepare`."""
        return out / images.path if (out / images.path).exists() else self.shared / images.path

    def arguments(self, run: Run, out: Path) -> list[str]:
        """MODEL, DATASET and options of `repdiag score`."""
        options = {**run.encoder.options, **run.images.options, **self.options}
        return [
            str(self.shared / run.encoder.file), str(self.data(run.images, out)), *flags(options), *LEFT_OUT,
        ]  # fmt: skip


TINY = Images("tiny", f"Tiny-ImageNet, {TINY_CLASSES} classes", f"tiny-imagenet-{TINY_CLASSES}.zip")
CHARACTERS = Images(OMNIGLOT.key, OMNIGLOT.title, OMNIGLOT.path, {"class-depth": "2"})


def tiny_classes() -> list[str]:
    """Classes at equal steps among those that mini-ImageNet's training did not use, by WordNet number."""
    with (SHARED / "tiny-imagenet" / "classes.csv").open(newline="") as file:
        unseen = sorted(r["wnid"] for r in csv.DictReader(file) if r["mini_imagenet_split"] != "train")
    return [unseen[i * len(unseen) // TINY_CLASSES] for i in range(TINY_CLASSES)]


def make_tiny(out: Path) -> None:
    """Pack the images of `tiny_classes` as one archive with train/ and val/: 50 of each class in each."""
    path, chosen = out / TINY.path, set(tiny_classes())
    if path.exists():
        return
    part = path.with_suffix(".part")
    with zipfile.ZipFile(part, "w") as packed:
        for name in ("tiny-imagenet-train-50.zip", "tiny-imagenet-val.zip"):
            with zipfile.ZipFile(SHARED / "tiny-imagenet" / name) as archive:
                for entry in archive.infolist():
                    if not entry.is_dir() and entry.filename.split("/")[1] in chosen:
                        packed.writestr(zipfile.ZipInfo(entry.filename), archive.read(entry))
    part.rename(path)


def _keys(*trainings: Training) -> tuple[str, ...]:
    return tuple(e.key for e in CONV4 if e.training in trainings)


STUDY = Study(
    runs=(
        *(Run(encoder, CIFAR10) for encoder in CIFAR),
        Run(CONV4_OMNIGLOT, CHARACTERS),
        *(Run(encoder, images) for images in (CALTECH, TINY) for encoder in CONV4),
    ),
    ladders=(
        Ladder("self-supervised", _keys(Training.NONE, Training.SELF)),
        Ladder("supervised", tuple(f"supervised-{part or 'all'}" for part in MATCHED)),
        Ladder("all Conv4", tuple(e.key for e in CONV4)),
    ),
    pairs=(
        *(
            Pair(f"Conv4, {title}", f"protoclr-{part or 'all'}", f"supervised-{part or 'all'}")
            for part, title in (
                ("", "all images"),
                ("4800images", "4,800 images"),
                ("600images", "600 images"),
                ("16classes", "16 classes"),
                ("2classes", "2 classes"),
            )
        ),
        Pair("64 features, UvA ResNet", "autoencoder-64", "uva-resnet"),
        Pair("64 features, ResNet-20", "autoencoder-64", "resnet20"),
        Pair("64 features, ResNet-32", "autoencoder-64", "resnet32"),
    ),
    variants=(
        "protoclr-all",
        "protoclr-4800images",
        "protoclr-50images",
        "umtra",
        "supervised-all",
        "titania",
    ),
    side=5,
    prepare=make_tiny,
)
