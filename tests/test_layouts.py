"""Every public checkpoint layout loads without flags, and computes what its source computes, bit by bit."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from layouts import ALL, Case, Layout
from torch import Tensor, nn

from repdiag.encoders import Encoder, load_encoder


def tensor_names(value: Any, path: str = "") -> set[str]:
    """Dotted names of all tensors in nested dicts."""
    if isinstance(value, Tensor):
        return {path}
    if not isinstance(value, Mapping):
        return set()
    return {name for k, v in value.items() for name in tensor_names(v, f"{path}.{k}" if path else str(k))}


def saved(layout: Layout, folder: Path) -> tuple[Case, str]:
    case = layout.build()
    torch.save(case.contents, folder / "a.pth")
    return case, str(folder / "a.pth")


def difference(encoder: Encoder, source: nn.Module, size: int) -> float:
    """The largest difference of the features, 0.0 only where all are bit-equal."""
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        wanted, found = source(images), encoder.module(images)
    assert found.shape == wanted.shape
    assert wanted.isfinite().all()
    assert wanted.std() > 0
    return float((found - wanted).abs().max())


@pytest.mark.parametrize("name", ALL)
def test_a_public_layout_loads_without_flags(name: str, tmp_path: Path) -> None:
    case, path = saved(ALL[name], tmp_path)
    encoder = load_encoder(path)
    loading = encoder.loading
    everything = tensor_names(case.contents)
    assert case.backbone <= everything
    assert encoder.architecture == case.architecture
    assert encoder.dim == case.dim
    assert loading.prefix == case.prefix
    assert set(loading.dropped) | set(loading.ignored) == everything - case.backbone
    assert loading.missing == ()
    assert difference(encoder, case.source, case.size) <= case.tolerance
