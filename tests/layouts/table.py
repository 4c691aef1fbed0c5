"""What loading a layout's file gave, and the table of it in docs/reference/checkpoints.md."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from layouts.case import Case, Layout
from repdiag.encoders import Encoder, load_encoder

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "checkpoints.md"
INTRO = """<!-- Made by scripts/layout_table.py from what the loader found: do not edit. -->

# Checkpoint layouts

`repdiag score FILE DATA` finds the backbone in each of these layouts without options. The test suite builds a
file with the project's own containers, names and architecture, everything that lies beside the backbone included
and every number random, loads it, and compares the features with those of the network that was saved.

*Loaded* counts the tensors that the encoder took and *dropped* those it left in the file; a file that lacks one of
the backbone's tensors is refused. *Features* tells how they compare on the same images. *Looks like* is the guess of
`repdiag inspect`; several methods leave the same names.

| layout | place in the file | looks like | prefix taken | architecture found | loaded | dropped | features |
|---|---|---|---|---|---|---|---|
"""


@dataclass(frozen=True)
class Loaded:
    """A saved case, opened."""

    layout: Layout
    case: Case
    path: str
    encoder: Encoder
    difference: float

    @property
    def features(self) -> str:
        """How the features compare, in words that do not depend on the machine."""
        if self.difference <= self.case.tolerance:
            return f"within {self.case.tolerance:g}" if self.case.tolerance else "bit-equal"
        return "different"

    @property
    def row(self) -> str:
        """The layout's line in the table."""
        loading = self.encoder.loading
        cells = (
            self.layout.name,
            f"`{self.layout.container}`" if self.layout.container != "bare" else "bare",
            loading.method or "-",
            f"`{loading.prefix}`" if loading.prefix else "none",
            self.encoder.architecture,
            str(loading.loaded),
            str(len(loading.dropped) + len(loading.ignored)),
            self.features,
        )
        return "| " + " | ".join(cells) + " |"


def load(layout: Layout, folder: Path) -> Loaded:
    """Build the layout's file in `folder`, load it without options, and compare."""
    case = layout.build()
    path = folder / "a.pth"
    case.write(case.contents, path)
    encoder = load_encoder(str(path))
    return Loaded(layout, case, str(path), encoder, difference(encoder, case.source, case.size))


@torch.inference_mode()
def difference(encoder: Encoder, source: nn.Module, size: int) -> float:
    """The largest difference of two networks' features of random images; 0 only where all are bit-equal."""
    count = 1 if size > 200 else 2
    images = torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(5))
    wanted, found = source(images), encoder.module(images)
    assert found.shape == wanted.shape
    assert wanted.isfinite().all()
    assert wanted.std() > 0
    return float((found - wanted).abs().max())


def tensor_names(value: Any, path: str = "") -> set[str]:
    """Dotted names of all tensors in nested dicts."""
    if isinstance(value, Tensor):
        return {path}
    if not isinstance(value, Mapping):
        return set()
    return {name for k, v in value.items() for name in tensor_names(v, f"{path}.{k}" if path else str(k))}


def page(rows: Iterable[str]) -> str:
    """The whole page."""
    return INTRO + "\n".join(rows) + "\n"


def committed_rows() -> dict[str, str]:
    """Layout -> its line, as the docs have them."""
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    lines = text.removeprefix(INTRO).splitlines()
    return {found[1]: line for line in lines if (found := re.match(r"\| (.+?) \|", line))}
