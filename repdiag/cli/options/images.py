"""How images become embeddings: device, precision, batches, views."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from repdiag.extraction import EmbedConfig

PANEL = "Images and device"


class Precision(enum.StrEnum):
    """Arithmetic of the forward pass; auto is bfloat16 autocast on CUDA and float32 elsewhere."""

    auto = "auto"
    float32 = "float32"
    bfloat16 = "bfloat16"


@dataclass(frozen=True)
class ImageOptions:
    """The fields of `EmbedConfig`, but for the seed."""

    device: Annotated[str, typer.Option(help="auto, cpu, cuda or mps.", rich_help_panel=PANEL)] = "auto"
    precision: Annotated[
        Precision, typer.Option(help="auto is bfloat16 on CUDA, else float32.", rich_help_panel=PANEL)
    ] = Precision.auto
    batch_size: Annotated[
        int | None,
        typer.Option(help="Images per forward pass; automatic by default.", rich_help_panel=PANEL, min=1),
    ] = None
    workers: Annotated[
        int | None,
        typer.Option(help="Decoding threads; one per core by default.", rich_help_panel=PANEL, min=1),
    ] = None
    views: Annotated[
        int, typer.Option(help="Augmented views per sample; 0 for none.", rich_help_panel=PANEL, min=0)
    ] = 2
    view_samples: Annotated[
        int, typer.Option(help="How many samples get augmented views.", rich_help_panel=PANEL, min=4)
    ] = 2048
    max_corrupt: Annotated[
        float,
        typer.Option(
            help="Largest share of unreadable images to leave out.", rich_help_panel=PANEL, min=0, max=1
        ),
    ] = 0.01

    def config(self, seed: int) -> EmbedConfig:
        """As the extraction takes it; raises UsageError when it makes no sense."""
        from repdiag.extraction import EmbedConfig

        return EmbedConfig(
            device=self.device,
            batch_size=self.batch_size,
            views=self.views,
            view_samples=self.view_samples,
            seed=seed,
            precision=self.precision.value,
            workers=self.workers,
            max_corrupt=self.max_corrupt,
        )
