"""Every public checkpoint layout loads without options, and computes what its source computes, bit by bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from layouts import ALL, table
from layouts.resnets import resnet
from layouts.table import INTRO, PAGE, committed_rows, difference, tensor_names
from layouts.vits import vit
from torch import nn

from repdiag.encoders import load_encoder
from repdiag.errors import CheckpointError
from repdiag.inspection import inspect

RESNET = "SimSiam, ResNet-18"
VIT = "DINOv2 in training, narrow giant with SwiGLU and registers"


@pytest.mark.parametrize("name", ALL)
def test_a_public_layout_loads_without_options(name: str, tmp_path: Path) -> None:
    """The right network, all of it, nothing else of the file; the same numbers, and the page in the docs says so."""
    loaded = table.load(ALL[name], tmp_path)
    case, encoder = loaded.case, loaded.encoder
    assert encoder.architecture == case.architecture
    assert encoder.dim == case.dim
    assert encoder.loading.prefix == case.prefix
    assert encoder.loading.missing == ()
    assert encoder.loading.loaded == len(encoder.module.get_submodule("network").state_dict())
    everything = tensor_names(case.contents)
    assert case.backbone <= everything
    assert set(encoder.loading.dropped) | set(encoder.loading.ignored) == everything - case.backbone
    assert loaded.difference <= case.tolerance
    inspected = inspect(loaded.path)
    assert inspected.problem is None
    if inspected.found is not None:  # a Hugging Face folder is taken whole
        assert inspected.found.architecture == encoder.architecture
        assert inspected.found.prefix == encoder.loading.prefix
        assert inspected.found.tensors == encoder.loading.loaded
    if case.other is not None:
        asked = load_encoder(loaded.path, key=case.other.key, prefix=case.other.prefix)
        assert asked.architecture == case.architecture
        assert difference(asked, case.other.source, case.size) <= case.tolerance
        assert difference(asked, case.source, case.size) > 1e-3
    assert committed_rows().get(name) == loaded.row, "run scripts/layout_table.py"


def test_the_page_lists_exactly_the_layouts_that_are_tested() -> None:
    assert PAGE.read_text(encoding="utf-8").startswith(INTRO)
    assert list(committed_rows()) == list(ALL)


@pytest.mark.parametrize("source", [resnet(18), vit(depth=2, scaled=True, size=64)])
@torch.inference_mode()
def test_every_tensor_of_a_random_network_matters(source: nn.Module) -> None:
    """A little more of any one changes the features: else equal features would prove little."""
    images = torch.randn(1, 3, 64, 64)
    before = source(images)
    for name, tensor in source.state_dict().items():
        if tensor.is_floating_point():
            kept = tensor.clone()
            tensor.mul_(1.01).add_(0.001)
            assert not torch.equal(source(images), before), name
            tensor.copy_(kept)
    assert torch.equal(source(images), before)


def test_the_comparison_notices_another_tensor(tmp_path: Path) -> None:
    """It can fail."""
    case = ALL[RESNET].build()
    state = case.contents["state_dict"]
    state["module.encoder.layer4.1.bn2.running_mean"] = state["module.encoder.layer4.1.bn1.running_mean"]
    torch.save(case.contents, tmp_path / "a.pth")
    assert difference(load_encoder(str(tmp_path / "a.pth")), case.source, case.size) > 1e-3


# --------------------------------------------------------------------------------------------- what does not load


def refused(contents: Any, folder: Path, **options: str) -> str:
    """The sentence about a file that has to be refused."""
    torch.save(contents, folder / "a.pth")
    with pytest.raises(CheckpointError) as error:
        load_encoder(str(folder / "a.pth"), **options)
    return str(error.value)


def test_a_missing_batch_norm_buffer_is_named(tmp_path: Path) -> None:
    """strict=False would start it at its initial value."""
    contents = ALL[RESNET].build().contents
    del contents["state_dict"]["module.encoder.layer3.1.bn2.running_var"]
    said = refused(contents, tmp_path)
    assert "resnet18" in said
    assert "lacks 1 of its 100" in said
    assert "state_dict.module.encoder.layer3.1.bn2.running_var" in said


def test_a_tensor_of_another_shape_is_named(tmp_path: Path) -> None:
    contents = ALL[RESNET].build().contents
    contents["state_dict"]["module.encoder.layer2.0.conv2.weight"] = torch.randn(128, 128, 1, 1)
    said = refused(contents, tmp_path)
    assert "module.encoder.layer2.0.conv2.weight" in said


def test_a_translated_checkpoint_with_a_hole_is_refused_by_the_tensors_name(tmp_path: Path) -> None:
    """Also where the backbone's names are not those of the file."""
    contents = ALL[VIT].build().contents
    del contents["teacher"]["backbone.blocks.3.norm2.bias"]
    assert "blocks.3.norm2.bias" in refused(contents, tmp_path)


@pytest.mark.parametrize("options", [{"prefix": "module.encodr."}, {"key": "model"}])
def test_a_place_that_the_file_does_not_have_is_named(options: dict[str, str], tmp_path: Path) -> None:
    said = refused(ALL[RESNET].build().contents, tmp_path, **options)
    assert next(iter(options.values())).rstrip(".") in said
    assert "state_dict" in said


def test_a_place_without_a_backbone_is_not_left_for_another(tmp_path: Path) -> None:
    """The predictor holds tensors, and the encoder beside it was not asked for."""
    said = refused(ALL[RESNET].build().contents, tmp_path, prefix="state_dict.module.predictor.")
    assert "--arch" in said
