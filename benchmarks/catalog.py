"""The real encoders and images beside the checkout, with what their sources say about the input.

Scripts in this folder import it as `catalog`, the package `benchmarks.evidence` as `benchmarks.catalog`. Options are
those of `repdiag score` without their dashes. `--arch` only where no public layout has the file's names.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared" / "data"


class Training(enum.Enum):
    """What an encoder learned from."""

    SELF = "self-supervised"
    SUPERVISED = "supervised"
    AUTOENCODER = "autoencoder"
    NONE = "untrained"


@dataclass(frozen=True)
class Images:
    """Images by a short name; `path` begins at `SHARED`, `options` say how they are read."""

    key: str
    title: str
    path: str
    options: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Encoder:
    """An encoder by a short name: its file in `SHARED`, its training, its options, and images of its kind."""

    key: str
    title: str
    file: str
    training: Training
    options: Mapping[str, str]
    images: Images


CALTECH = Images("caltech", "Caltech101-20", "caltech101/caltech101-20.zip")
CIFAR10 = Images("cifar", "CIFAR-10 test", "cifar10/cifar10-test-png.zip")
OMNIGLOT = Images("omniglot", "Omniglot small 1", "omniglot/images_background_small1.zip")

UNCHANGED = {"mean": "0,0,0", "std": "1,1,1"}
IMAGENET = {"mean": "0.485,0.456,0.406", "std": "0.229,0.224,0.225"}
CROPPED = {"resize": "96", **IMAGENET}
UVA = "docs/examples/uva_tutorials.py"
PROTO = "enc-conv4-ssl-prototransfer"
PRELINEAR = "enc-conv4-supervised-prelinear"
LAST, LAST_SUPERVISED = "_best.pth.tar", "__399.tar"


def _protoclr(part: str, title: str) -> Encoder:
    file = f"{PROTO}/proto_miniimagenet_conv4_euclidean_1supp_3query_50bs{part and '_' + part}{LAST}"
    return Encoder(f"protoclr-{part or 'all'}", f"ProtoCLR, {title}", file, Training.SELF, UNCHANGED, CALTECH)


def _baseline(part: str, title: str) -> Encoder:
    file = f"{PRELINEAR}/Conv4_baseline_aug{part and '_' + part}{LAST_SUPERVISED}"
    key, named = f"supervised-{part or 'all'}", f"supervised, {title}"
    return Encoder(key, named, file, Training.SUPERVISED, CROPPED, CALTECH)


AMOUNTS = {
    "1images": "1 image",
    "50images": "50 images",
    "600images": "600 images",
    "4800images": "4,800 images",
    "2classes": "2 classes",
    "16classes": "16 classes",
    "": "all images",
}
MATCHED = ("600images", "4800images", "2classes", "16classes", "")  # what both kinds were trained on

CONV4: tuple[Encoder, ...] = (
    Encoder("random", "untrained", f"{PROTO}/random_init_conv4.pth.tar", Training.NONE, UNCHANGED, CALTECH),
    *(_protoclr(part, title) for part, title in AMOUNTS.items()),
    Encoder(
        "umtra",
        "UMTRA, all images",
        f"{PROTO}/umtra_miniimagenet_conv4_euclidean_1supp_1query_5bs{LAST}",
        Training.SELF,
        UNCHANGED,
        CALTECH,
    ),
    *(_baseline(part, AMOUNTS[part]) for part in MATCHED),
    Encoder(
        "protonet",
        "supervised prototypical network",
        f"{PRELINEAR}/Conv4_protonet_aug_20way_5shot{LAST_SUPERVISED}",
        Training.SUPERVISED,
        CROPPED,
        CALTECH,
    ),
    Encoder(
        "titania",
        "supervised prototypical network with attention",
        "enc-conv4-supervised-titania/best.pth",
        Training.SUPERVISED,
        IMAGENET,
        CALTECH,
    ),
)


def _cifar(key: str, title: str, file: str, training: Training, options: Mapping[str, str]) -> Encoder:
    return Encoder(key, title, file, training, options, CIFAR10)


CIFAR: tuple[Encoder, ...] = (
    _cifar(
        "resnet20",
        "ResNet-20, supervised",
        "enc-cifar10-resnet-akamaster/resnet20-12fca82f.th",
        Training.SUPERVISED,
        IMAGENET,
    ),
    _cifar(
        "resnet32",
        "ResNet-32, supervised",
        "enc-cifar10-resnet-akamaster/resnet32-d509ac18.th",
        Training.SUPERVISED,
        IMAGENET,
    ),
    _cifar(
        "uva-resnet",
        "UvA ResNet, supervised",
        "enc-cifar10-uvadlc/tutorial5__ResNet.ckpt",
        Training.SUPERVISED,
        {"arch": f"{UVA}:resnet"},
    ),
    _cifar(
        "uva-densenet",
        "UvA DenseNet, supervised",
        "enc-cifar10-uvadlc/tutorial5__DenseNet.ckpt",
        Training.SUPERVISED,
        {"arch": f"{UVA}:densenet"},
    ),
    *(
        _cifar(
            f"autoencoder-{size}",
            f"UvA autoencoder, {size} features",
            f"enc-cifar10-uvadlc/tutorial9__cifar10_{size}.ckpt",
            Training.AUTOENCODER,
            {"arch": f"{UVA}:autoencoder_{size}"},
        )
        for size in (64, 256)
    ),
)

CONV4_OMNIGLOT = Encoder(
    "protoclr-omniglot",
    "ProtoCLR, Omniglot",
    f"{PROTO}/proto_omniglot_conv4_euclidean_1supp_3query_50bs{LAST}",
    Training.SELF,
    {"arch": "docs/examples/conv4.py:conv4_omniglot"},
    OMNIGLOT,
)

ENCODERS: tuple[Encoder, ...] = (*CIFAR, *CONV4, CONV4_OMNIGLOT)


def flags(options: Mapping[str, str]) -> list[str]:
    """Options as the command line takes them."""
    return [part for name, value in options.items() for part in (f"--{name}", value)]
