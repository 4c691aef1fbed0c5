"""Translations of names: what they do to the releases' real shapes, and when they keep their hands off."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Mapping

import pytest
import torch
from layouts.resnets import Widened
from torch import Tensor

from repdiag.encoders import finding, zoo
from repdiag.encoders.sketch import required
from repdiag.encoders.translations import (
    Shape,
    Source,
    block_chunks,
    convnext,
    dinov2,
    dinov3,
    modules,
    norm_names,
    openmmlab_vit,
    sequential_resnet,
    simclr_v2,
    split_batch_norm,
    views,
    xcit,
)
from repdiag.encoders.wanted import Wanted
from repdiag.errors import CheckpointError

Shapes = dict[str, Shape]


def timm_shapes(name: str) -> Shapes:
    """Those of a network that is never allocated."""
    return required(zoo.on_meta(f"timm:{name}").state_dict())


def renamed(shapes: Mapping[str, Shape], *rules: tuple[str, str]) -> Shapes:
    """Names with the patterns replaced, in order."""
    found = {}
    for name, shape in shapes.items():
        for pattern, replacement in rules:
            name = re.sub(pattern, replacement, name)
        found[name] = shape
    return found


def made(sources: Mapping[str, Source], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The translated tensors; each has the shape that was promised."""
    found = {}
    for name, source in sources.items():
        parts = [tensors[n] for n in source.names]
        found[name] = source.make(*parts) if source.make else parts[0]
        assert tuple(found[name].shape) == source.shape, name
    return found


# --------------------------------------------------------------------------------------------- releases by their shapes


def released_dinov2(name: str) -> Shapes:
    shapes = timm_shapes(name) | {"mask_token": (1, timm_shapes(name)["cls_token"][2])}
    if "reg_token" in shapes:
        shapes["register_tokens"] = shapes.pop("reg_token")
        _, tokens, width = shapes["pos_embed"]
        shapes["pos_embed"] = (1, tokens + 1, width)
    if "giant" in name:
        shapes = renamed(shapes, (r"mlp\.fc1", "mlp.w12"), (r"mlp\.fc2", "mlp.w3"))
    return shapes


def released_dinov3(name: str) -> Shapes:
    shapes = timm_shapes(name)
    width = shapes["cls_token"][2]
    for block in {n.partition(".attn.")[0] for n in shapes if ".attn." in n}:
        if shapes.pop(f"{block}.attn.q_bias", None):
            del shapes[f"{block}.attn.v_bias"]
            shapes |= {f"{block}.attn.qkv.bias{mask}": (3 * width,) for mask in ("", "_mask")}
    shapes |= {"mask_token": (1, width), "rope_embed.periods": (16,)}
    return renamed(
        shapes, (r"reg_token", "storage_tokens"), (r"\.gamma_(\d)", r".ls\1.gamma"), (r"mlp\.fc1_g", "mlp.w1"),
        (r"mlp\.fc1_x", "mlp.w2"),
    )  # fmt: skip


def released_swiglu_dinov3(name: str) -> Shapes:
    return renamed(released_dinov3(name), (r"mlp\.fc2", "mlp.w3"))


def released_convnext(name: str) -> Shapes:
    shapes = renamed(
        timm_shapes(name),
        (r"^stem\.", "downsample_layers.0."),
        (r"^stages\.(\d+)\.downsample\.", r"downsample_layers.\1."),
        (r"\.blocks\.(\d+)\.", r".\1."),
        (r"conv_dw", "dwconv"),
        (r"mlp\.fc", "pwconv"),
        (r"^head\.norm", "norm"),
    )
    return shapes | {"norms.3.weight": shapes["norm.weight"], "norms.3.bias": shapes["norm.bias"]}


def released_xcit(name: str) -> Shapes:
    shapes = renamed(
        timm_shapes(name), (r"^pos_embed\.", "pos_embeder."), (r"(cls_attn.*attn)\.q\.", r"\1.qkv.")
    )
    shapes = {n: s for n, s in shapes.items() if not re.search(r"cls_attn.*attn\.[kv]\.", n)}
    return {n: (3 * s[0], *s[1:]) if re.search(r"cls_attn.*\.qkv\.", n) else s for n, s in shapes.items()}


RELEASES: list[tuple[str, Callable[[str], Shapes]]] = [
    ("vit_small_patch14_dinov2", released_dinov2),
    ("vit_base_patch14_reg4_dinov2", released_dinov2),
    ("vit_large_patch14_dinov2", released_dinov2),
    ("vit_giant_patch14_dinov2", released_dinov2),
    ("vit_giant_patch14_reg4_dinov2", released_dinov2),
    ("vit_small_patch16_dinov3_qkvb", released_dinov3),
    ("vit_small_plus_patch16_dinov3_qkvb", released_swiglu_dinov3),
    ("vit_large_patch16_dinov3_qkvb", released_dinov3),
    ("vit_huge_plus_patch16_dinov3_qkvb", released_swiglu_dinov3),
    ("vit_7b_patch16_dinov3", released_swiglu_dinov3),
    ("convnext_tiny", released_convnext),
    ("convnext_large", released_convnext),
    ("xcit_small_12_p16_224", released_xcit),
    ("xcit_medium_24_p8_224", released_xcit),
    ("vit_small_patch8_224", timm_shapes),
    ("vit_base_patch8_224", timm_shapes),
    ("vit_huge_patch14_gap_224", timm_shapes),
]


@pytest.mark.parametrize(("name", "released"), RELEASES, ids=[name for name, _ in RELEASES])
def test_released_networks_are_recognized_at_full_size(name: str, released: Callable[[str], Shapes]) -> None:
    """From names and shapes alone, up to the seven billion parameters of DINOv3."""
    prefix = "teacher.backbone."
    shapes = {prefix + n: s for n, s in released(name).items()} | {"teacher.dino_head.mlp.0.weight": (64, 64)}
    fit = finding.find(shapes, Wanted("a.pth"))
    assert fit.recipe.name == f"timm:{name}"
    assert fit.prefixes == (prefix,)


@pytest.mark.parametrize(("widen", "widths"), [(2, "128-256-512-1024"), (4, "256-512-1024-2048")])
def test_wide_resnets_are_recognized_at_full_size(widen: int, widths: str) -> None:
    """SwAV's, VICReg's and SimCLR's w2 and w4; torchvision's wide_resnet50_2 is wide inside its blocks only."""
    with torch.device("meta"):
        shapes = {f"module.{n}": s for n, s in required(Widened(widen, [3, 4, 6, 3]).state_dict()).items()}
    fit = finding.find(shapes, Wanted("a.pth"))
    assert fit.recipe.name == f"resnet50 (bottleneck, {widths})"


# --------------------------------------------------------------------------------------------- one by one


def test_a_checkpoint_without_the_pattern_is_left_alone() -> None:
    """torchvision's and timm's own names have nothing to translate, so that there is one view of them."""
    for name in ("timm:resnet18", "timm:vit_tiny_patch16_224", "timm:convnext_atto", "torchvision:resnet50"):
        shapes = {f"state_dict.module.{n}": s for n, s in required(zoo.on_meta(name).state_dict()).items()}
        assert [view.translations for view in views(shapes)] == [()], name


def test_every_translation_has_a_name_for_people() -> None:
    found = [module.NAME for module in modules()]
    assert len(set(found)) == len(found)
    assert all(found)


def test_translations_import_no_torch() -> None:
    """`repdiag inspect` reads shapes alone."""
    code = (
        "import sys; from repdiag.encoders.translations import modules, views;"
        "list(views({'register_tokens': (1, 4, 8), 'cls_token': (1, 1, 8), 'pos_embed': (1, 5, 8)}));"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_the_class_tokens_position_goes_into_the_token() -> None:
    """The other positions stay where they are, and nothing else changes."""
    tensors = {
        "a.cls_token": torch.randn(1, 1, 8),
        "a.pos_embed": torch.randn(1, 10, 8),
        "a.register_tokens": torch.randn(1, 4, 8),
        "a.norm.weight": torch.randn(8),
    }
    sources = dinov2.translate({n: tuple(t.shape) for n, t in tensors.items()})
    assert sources is not None
    found = made(sources, tensors)
    assert torch.equal(
        found["a.cls_token"][0, 0], tensors["a.cls_token"][0, 0] + tensors["a.pos_embed"][0, 0]
    )
    assert torch.equal(found["a.pos_embed"], tensors["a.pos_embed"][:, 1:])
    assert torch.equal(found["a.reg_token"], tensors["a.register_tokens"])
    assert found.keys() == {"a.cls_token", "a.pos_embed", "a.reg_token", "a.norm.weight"}


def test_w3_of_an_unpacked_layer_is_not_dinov2s() -> None:
    """DINOv3's SwiGLU has a w3 too, beside w1 and w2."""
    assert dinov2.translate({f"blocks.0.mlp.{w}.weight": (8, 8) for w in ("w1", "w2", "w3")}) is None


def dinov3_bias(mask: Tensor) -> tuple[dict[str, Source], dict[str, Tensor]]:
    tensors = {
        "storage_tokens": torch.randn(1, 4, 4),
        "blocks.0.attn.qkv.bias": torch.arange(12.0),
        "blocks.0.attn.qkv.bias_mask": mask,
        "head.weight": torch.randn(2, 4),
    }
    sources = dinov3.translate({n: tuple(t.shape) for n, t in tensors.items()})
    assert sources is not None
    return sources, tensors


def test_the_masked_bias_is_taken_apart() -> None:
    """Queries and values keep theirs, as the mask scales it; the mask itself is used up."""
    mask = torch.tensor([1.0] * 4 + [0.0] * 4 + [0.5] * 4)
    found = made(*dinov3_bias(mask))
    assert found["blocks.0.attn.q_bias"].tolist() == [0, 1, 2, 3]
    assert found["blocks.0.attn.v_bias"].tolist() == [4, 4.5, 5, 5.5]
    assert found.keys() == {"reg_token", "blocks.0.attn.q_bias", "blocks.0.attn.v_bias", "head.weight"}


@pytest.mark.parametrize("value", [1.0, torch.nan])
def test_a_bias_of_the_keys_is_not_lost_in_silence(value: float) -> None:
    """timm's network has no place for one; NaN is the mask before its initialization."""
    with pytest.raises(CheckpointError, match="leaves a bias for the keys"):
        made(*dinov3_bias(torch.full((12,), value)))


def test_dinov3s_hints_ask_for_the_class_token() -> None:
    told = dinov3.hints({"storage_tokens": (1, 4, 4)})
    assert told.class_token is not None
    assert told.class_token.value is True


def test_block_chunks_that_would_collide_are_left_alone() -> None:
    """Chunks that count from 0 each would lose half of the network."""
    assert block_chunks.translate({"blocks.0.0.norm1.weight": (4,), "blocks.1.0.norm1.weight": (4,)}) is None
    found = block_chunks.translate({"blocks.0.0.norm1.weight": (4,), "blocks.1.1.norm1.weight": (4,)})
    assert found is not None
    assert list(found) == ["blocks.0.norm1.weight", "blocks.1.norm1.weight"]


def test_norms_are_renamed_only_beside_their_convolution() -> None:
    """A transformer's norm1 and norm2 are no batch norms of conv1 and conv2."""
    block = {"l.conv1.weight": (8, 4, 3, 3), "l.norm1.weight": (8,), "l.norm1.running_mean": (8,)}
    found = norm_names.translate(block)
    assert found is not None
    assert list(found) == ["l.conv1.weight", "l.bn1.weight", "l.bn1.running_mean"]
    assert norm_names.translate({"blocks.0.norm1.weight": (8,), "blocks.0.attn.qkv.weight": (24, 8)}) is None
    assert norm_names.translate(block | {"l.bn1.weight": (8,)}) is None


def sequential(first: int, start: str = "f.") -> Shapes:
    shapes: Shapes = {
        f"{start}0.weight": (8, 3, 3, 3),
        f"{start}1.weight": (8,),
        f"{start}1.running_mean": (8,),
    }
    return shapes | {f"{start}{first + i}.0.conv1.weight": (8 * 2**i, 8, 3, 3) for i in range(4)}


@pytest.mark.parametrize(("first", "pool", "relu"), [(4, None, None), (3, False, None), (2, False, False)])
def test_the_stages_numbers_tell_the_stem(first: int, pool: bool | None, relu: bool | None) -> None:
    """Of a list of a ResNet's children: 4 with max-pooling, 3 without, 2 without a ReLU."""
    shapes = sequential(first)
    found, told = sequential_resnet.translate(shapes), sequential_resnet.hints(shapes)
    assert found is not None
    assert {
        "f.conv1.weight",
        "f.bn1.running_mean",
        "f.layer1.0.conv1.weight",
        "f.layer4.0.conv1.weight",
    } <= set(found)
    assert (told.max_pool and told.max_pool.value) == pool
    assert (told.stem_relu and told.stem_relu.value) == relu


@pytest.mark.parametrize(
    "shapes",
    [
        sequential(5),
        {n: s for n, s in sequential(4).items() if not n.startswith("f.5.")},
        {n: s for n, s in sequential(4).items() if n != "f.1.running_mean"},
    ],
    ids=["too late", "a stage is missing", "no norm"],
)
def test_other_sequences_are_no_resnets(shapes: Shapes) -> None:
    assert sequential_resnet.translate(shapes) is None


def test_the_splits_of_a_batch_norm_are_averaged() -> None:
    """As lightly does before it evaluates; other vectors beside a weight stay."""
    tensors = {
        "1.weight": torch.ones(2),
        "1.bias": torch.ones(2),
        "1.running_mean": torch.tensor([1.0, 2.0, 3.0, 6.0]),
    }
    sources = split_batch_norm.translate({n: tuple(t.shape) for n, t in tensors.items()})
    assert sources is not None
    assert made(sources, tensors)["1.running_mean"].tolist() == [2.0, 4.0]
    assert split_batch_norm.translate({"1.weight": (2,), "1.running_mean": (3,)}) is None


def test_simclrs_selective_kernels_are_not_taken_for_plain_blocks() -> None:
    """torchvision has no such network: they stay under their own names and are refused."""
    start = "resnet.net.1.blocks.0."
    plain: Shapes = {
        f"{start}projection.shortcut.weight": (256, 64, 1, 1),
        f"{start}net.4.weight": (256, 64, 1, 1),
    }
    selective: Shapes = {
        f"{start}projection.shortcut.weight": (256, 64, 1, 1),
        f"{start}net.2.main_conv.0.weight": (128, 64, 3, 3),
    }
    found = simclr_v2.translate(plain)
    assert found is not None
    assert list(found) == ["resnet.layer1.0.downsample.0.weight", "resnet.layer1.0.conv3.weight"]
    assert simclr_v2.translate(selective) is None


def test_openmmlabs_layer_scale_has_two_names() -> None:
    """The attention's and the FFN's."""
    shapes: Shapes = {
        "backbone.patch_embed.projection.weight": (8, 3, 4, 4),
        "backbone.layers.0.ffn.layers.0.0.weight": (32, 8),
        "backbone.layers.0.attn.gamma1.weight": (8,),
        "backbone.layers.0.ffn.gamma2.weight": (8,),
        "backbone.ln1.weight": (8,),
        "neck.ln1.weight": (8,),
    }
    found = openmmlab_vit.translate(shapes)
    assert found is not None
    assert set(found) == {
        "backbone.patch_embed.proj.weight",
        "backbone.blocks.0.mlp.fc1.weight",
        "backbone.blocks.0.ls1.gamma",
        "backbone.blocks.0.ls2.gamma",
        "backbone.norm.weight",
        "neck.ln1.weight",
    }


def test_convnext_v2s_response_norm_becomes_a_vector() -> None:
    """The authors keep it as (1, 1, 1, C)."""
    tensors = {
        "downsample_layers.0.0.weight": torch.randn(4, 3, 4, 4),
        "stages.0.0.grn.gamma": torch.randn(1, 1, 1, 8),
    }
    sources = convnext.translate({n: tuple(t.shape) for n, t in tensors.items()})
    assert sources is not None
    found = made(sources, tensors)
    assert torch.equal(found["stages.0.blocks.0.mlp.grn.weight"], tensors["stages.0.0.grn.gamma"].flatten())


def test_xcits_class_attention_is_taken_apart_in_order() -> None:
    tensors = {
        "cls_attn_blocks.0.attn.qkv.bias": torch.arange(6.0),
        "blocks.0.attn.qkv.bias": torch.arange(6.0),
    }
    sources = xcit.translate({n: tuple(t.shape) for n, t in tensors.items()})
    assert sources is not None
    found = made(sources, tensors)
    assert [found[f"cls_attn_blocks.0.attn.{letter}.bias"].tolist() for letter in "qkv"] == [
        [0, 1],
        [2, 3],
        [4, 5],
    ]
    assert torch.equal(found["blocks.0.attn.qkv.bias"], tensors["blocks.0.attn.qkv.bias"])


def test_translations_build_on_one_another() -> None:
    """A DINOv2 giant in training: chunks of blocks, packed layers and registers at once."""
    shapes = {
        (f"blocks.{int(n.split('.')[1]) // 10}.{n[7:]}" if n.startswith("blocks.") else n): s
        for n, s in released_dinov2("vit_giant_patch14_reg4_dinov2").items()
    }
    fit = finding.find({f"teacher.backbone.{n}": s for n, s in shapes.items()}, Wanted("a.pth"))
    assert fit.recipe.name == "timm:vit_giant_patch14_reg4_dinov2"
    assert fit.view.translations == (block_chunks.NAME, dinov2.NAME)
