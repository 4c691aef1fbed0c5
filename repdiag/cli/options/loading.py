"""How a MODEL argument becomes an encoder."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Annotated, Any

import typer

PANEL = "Loading the model"
INPUT = "The encoder's input"


class Interpolation(enum.StrEnum):
    """How images are resized."""

    bilinear = "bilinear"
    bicubic = "bicubic"


@dataclass(frozen=True)
class LoadingOptions:
    """The keywords of `load_encoder`."""

    arch: Annotated[
        str | None,
        typer.Option(
            help="Architecture: a timm or torchvision name, resnet or vit (read off the shapes), or FILE.py:FACTORY.",
            rich_help_panel=PANEL,
        ),
    ] = None
    pretrained: Annotated[
        bool,
        typer.Option(
            "--pretrained", help="With a name: fetch its weights from the hub.", rich_help_panel=PANEL
        ),
    ] = False
    key: Annotated[
        str | None,
        typer.Option(help="Entry of the checkpoint that holds the weights.", rich_help_panel=PANEL),
    ] = None
    prefix: Annotated[
        str | None, typer.Option(help="Prefix of the backbone's tensors.", rich_help_panel=PANEL)
    ] = None
    trust_pickle: Annotated[
        bool,
        typer.Option(
            "--trust-pickle", help="Unpickle the file even if that runs code from it.", rich_help_panel=PANEL
        ),
    ] = False
    stem_padding: Annotated[
        int | None,
        typer.Option(
            help="ResNet read off its shapes: padding of the first convolution.", rich_help_panel=PANEL, min=0
        ),
    ] = None
    max_pool: Annotated[
        bool | None,
        typer.Option(
            "--max-pool/--no-max-pool",
            help="ResNet read off its shapes: whether a max-pool follows the stem.",
            rich_help_panel=PANEL,
        ),
    ] = None
    heads: Annotated[
        int | None,
        typer.Option(help="ViT read off its shapes: attention heads.", rich_help_panel=PANEL, min=1),
    ] = None
    size: Annotated[int | None, typer.Option(help="Input size in pixels.", rich_help_panel=INPUT, min=1)] = (
        None
    )
    resize: Annotated[
        int | None, typer.Option(help="Shorter side before the center crop.", rich_help_panel=INPUT, min=1)
    ] = None
    interpolation: Annotated[
        Interpolation | None, typer.Option(help="How images are resized.", rich_help_panel=INPUT)
    ] = None
    mean: Annotated[
        str | None,
        typer.Option(help="Channel means of inputs in [0, 1], as 0.485,0.456,0.406.", rich_help_panel=INPUT),
    ] = None
    std: Annotated[
        str | None,
        typer.Option(help="Channel standard deviations, as 0.229,0.224,0.225.", rich_help_panel=INPUT),
    ] = None

    def keywords(self) -> dict[str, Any]:
        """What `load_encoder` takes; raises UsageError for what is no list of numbers."""
        return {
            "arch": self.arch,
            "pretrained": self.pretrained,
            "key": self.key,
            "prefix": self.prefix,
            "trust_pickle": self.trust_pickle,
            "stem_padding": self.stem_padding,
            "max_pool": self.max_pool,
            "heads": self.heads,
            "size": self.size,
            "resize": self.resize,
            "interpolation": self.interpolation.value if self.interpolation else None,
            "mean": _numbers(self.mean, "--mean"),
            "std": _numbers(self.std, "--std"),
        }


def _numbers(text: str | None, option: str) -> tuple[float, ...] | None:
    from repdiag.errors import UsageError

    if text is None:
        return None
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(
            f"{option} '{text}' is not a list of numbers", do="Write it as 0.5,0.5,0.5"
        ) from None
    if len(values) not in (1, 3):
        raise UsageError(f"{option} has {len(values)} numbers", do="Give 1 or 3, one per channel")
    return values
