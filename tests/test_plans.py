"""Networks read off shapes: their plan says exactly what is built, and what shapes cannot tell is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck, ResNet

from repdiag.encoders import load_encoder
from repdiag.encoders.hints import Hint, Hints
from repdiag.encoders.plan import read_plans
from repdiag.encoders.sketch import required
from repdiag.errors import UsageError


def resnet(layers: list[int], block: type[BasicBlock | Bottleneck] = BasicBlock, **options: int) -> nn.Module:
    torch.manual_seed(0)
    network = ResNet(block, layers, **options)
    network.fc = nn.Identity()
    return scrambled(network)


def scrambled(network: nn.Module) -> nn.Module:
    """Every tensor random, so that none can be swapped or forgotten unseen."""
    torch.manual_seed(1)
    for name, tensor in network.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand_like(tensor) * 0.5 + (0.5 if name.endswith("var") else -0.25))
    return network.eval()


def vit(**options: object) -> nn.Module:
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 128, "depth": 2, "num_heads": 2, "num_classes": 0}
    return scrambled(timm.models.vision_transformer.VisionTransformer(**(sizes | options)))  # type: ignore[arg-type]


VITS = {
    "plain": {},
    "registers": {"reg_tokens": 4, "no_embed_class": True, "init_values": 0.1},
    "registers in the position embedding": {"reg_tokens": 4},
    "no class token": {"class_token": False, "global_pool": "avg", "fc_norm": False},
    "averaged behind the class token": {"global_pool": "avg"},
    "norm before the blocks": {"pre_norm": True},
    "norm inside the heads": {"qk_norm": True, "num_heads": 4},
    "no bias in qkv": {"qkv_bias": False},
    "gated": {"mlp_layer": timm.layers.SwiGLUPacked, "act_layer": nn.SiLU, "mlp_ratio": 2.66667 * 2},
    "gray": {"in_chans": 1},
}


@pytest.mark.parametrize("name", VITS)
def test_a_vit_of_any_size_is_read_off_its_shapes_and_computes_the_same(name: str, tmp_path: Path) -> None:
    network = vit(**VITS[name])
    torch.save({"model": {f"backbone.{k}": v for k, v in network.state_dict().items()}}, tmp_path / "a.pt")
    encoder = load_encoder(str(tmp_path / "a.pt"))
    channels = 1 if name == "gray" else 3
    assert (encoder.preprocessing.size, encoder.preprocessing.channels) == (32, channels)
    assert encoder.loading.prefix == "model.backbone."
    assert not encoder.loading.dropped
    images = torch.randn(3, channels, 32, 32)
    with torch.no_grad():
        assert torch.equal(encoder.module(images), network(images))


def test_the_number_of_heads_is_said_to_be_assumed_until_the_user_sets_it(tmp_path: Path) -> None:
    network = vit(num_heads=4)
    torch.save(network.state_dict(), tmp_path / "a.pt")
    images = torch.randn(2, 3, 32, 32)
    assumed, told = load_encoder(str(tmp_path / "a.pt")), load_encoder(str(tmp_path / "a.pt"), heads=4)
    assert any("2 attention heads of 64 channels are assumed" in text for text in assumed.loading.warnings)
    assert "4 attention heads: set by the user" in told.loading.readings
    with torch.no_grad():
        assert torch.equal(told.module(images), network(images))
        assert not torch.allclose(assumed.module(images), network(images))
    assert assumed.fingerprint != told.fingerprint


@pytest.mark.parametrize("padding", [1, 2])
@pytest.mark.parametrize("max_pool", [True, False])
def test_a_small_stem_is_padded_and_pooled_as_the_user_says(
    padding: int, max_pool: bool, tmp_path: Path
) -> None:
    network = resnet([1, 1, 1, 1])
    network.conv1 = nn.Conv2d(3, 64, 3, padding=padding, bias=False)
    if not max_pool:
        network.maxpool = nn.Identity()
    torch.save(scrambled(network).state_dict(), tmp_path / "a.pt")
    encoder = load_encoder(str(tmp_path / "a.pt"), stem_padding=padding, max_pool=max_pool)
    assert not any("assumed, which shapes" in text for text in encoder.loading.warnings)
    images = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        assert torch.equal(encoder.module(images), network(images))
    assert f"padding {padding} of the 3x3 stem: set by the user" in encoder.loading.readings


def test_equal_weights_with_another_stem_are_another_encoder(tmp_path: Path) -> None:
    network = resnet([1, 1, 1, 1])
    network.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    torch.save(network.state_dict(), tmp_path / "a.pt")
    marks = {
        load_encoder(str(tmp_path / "a.pt"), stem_padding=p, max_pool=False).fingerprint for p in (0, 1, 2)
    }
    assert len(marks) == 3


@pytest.mark.parametrize(
    "network",
    [
        resnet([1, 2, 1, 1]),
        resnet([1, 1, 1, 1], Bottleneck, width_per_group=128),
        resnet([1, 1, 1, 1], Bottleneck, groups=2),
    ],
    ids=["basic", "wide", "grouped"],
)
def test_a_plan_names_exactly_the_tensors_of_the_network_it_builds(network: nn.Module) -> None:
    shapes = required(network.state_dict())
    (plan,) = read_plans(shapes, Hints())
    assert plan.shapes() == shapes == required(plan.build().state_dict())


@pytest.mark.parametrize("name", VITS)
def test_a_vits_plan_names_exactly_the_tensors_of_the_network_it_builds(name: str) -> None:
    shapes = required(vit(**VITS[name]).state_dict())
    (plan,) = read_plans(shapes, Hints())
    assert plan.shapes() == shapes == required(plan.build().state_dict())


def test_swavs_wider_resnets_are_read_with_every_layer_widened(tmp_path: Path) -> None:
    """RN50w2 widens the stem and the outputs too, which torchvision's wide_resnet50_2 does not."""
    network = resnet([1, 1, 1, 1], Bottleneck)
    network.conv1 = nn.Conv2d(3, 128, 7, 2, 3, bias=False)
    network.bn1 = nn.BatchNorm2d(128)
    network.inplanes = 128
    for number, planes in enumerate((128, 256, 512, 1024), start=1):
        stage = network._make_layer(Bottleneck, planes, 1, stride=1 if number == 1 else 2)  # type: ignore[operator]
        setattr(network, f"layer{number}", stage)
    scrambled(network)
    torch.save({f"module.{k}": v for k, v in network.state_dict().items()}, tmp_path / "w2.pth.tar")
    encoder = load_encoder(str(tmp_path / "w2.pth.tar"))
    assert encoder.dim == 4096
    images = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(encoder.module(images), network(images))


def test_options_that_an_architecture_does_not_heed_are_refused(tmp_path: Path) -> None:
    network = timm.create_model("resnet18", num_classes=0)
    torch.save(network.state_dict(), tmp_path / "a.pt")
    with pytest.raises(UsageError, match="--heads cannot be set for"):
        load_encoder(str(tmp_path / "a.pt"), heads=3)


def test_a_hint_for_a_small_stem_leaves_a_large_one_alone() -> None:
    shapes = required(resnet([1, 1, 1, 1]).state_dict())
    hints = Hints(stem_padding=Hint(2, "a project's habit", kernel=3))
    (plan,) = read_plans(shapes, hints)
    assert plan.usual
    assert not plan.readings


def test_a_vit_takes_another_image_size_and_says_that_positions_were_resampled(tmp_path: Path) -> None:
    torch.save(vit().state_dict(), tmp_path / "a.pt")
    encoder = load_encoder(str(tmp_path / "a.pt"), size=48)
    assert any("resampled (bicubic) to 48" in text for text in encoder.loading.readings)
    with torch.no_grad():
        assert encoder.module(torch.randn(2, 3, 48, 48)).shape == (2, 128)
    with pytest.raises(UsageError, match="45 pixels cannot be cut into the network's patches of 8"):
        load_encoder(str(tmp_path / "a.pt"), size=45)


@pytest.mark.parametrize("naming", ["numbers", "names", "twice"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_few_shot_convnet_is_read_off_its_shapes(naming: str, channels: int, tmp_path: Path) -> None:
    """The usual names of Conv-4; what has no tensors is said to be assumed."""
    blocks = []
    for inputs, outputs in ((channels, 8), (8, 8), (8, 16)):
        layers = [
            nn.Conv2d(inputs, outputs, 3, padding=1),
            nn.BatchNorm2d(outputs),
            nn.ReLU(),
            nn.MaxPool2d(2),
        ]
        blocks.append(nn.Sequential(*layers))
    network = scrambled(nn.Sequential(*blocks, nn.Flatten()))
    state = {f"encoder.{k}": v for k, v in network.state_dict().items()}
    if naming != "numbers":
        copies = state
        state = {_named(k): v for k, v in copies.items()}
        if naming == "twice":
            state |= {_twice(k): v for k, v in copies.items()}
    torch.save({"state": state, "classifier.weight": torch.zeros(2, 2)}, tmp_path / "a.tar")
    encoder = load_encoder(str(tmp_path / "a.tar"))
    assert encoder.architecture == "conv3 (8-8-16)"
    assert encoder.loading.prefix == "state.encoder."
    assert encoder.loading.dropped == ("classifier.weight",)
    size = encoder.preprocessing.size
    assert (size, encoder.preprocessing.channels) == (84 if channels == 3 else 28, channels)
    assert any("max-pool behind every convolution" in text for text in encoder.loading.warnings)
    images = torch.randn(2, channels, size, size)
    with torch.no_grad():
        assert torch.equal(encoder.module(images), network(images))


def _named(key: str) -> str:
    head, block, layer, rest = key.split(".", 3)
    return f"{head}.{block}.{'C' if layer == '0' else 'BN'}.{rest}"


def _twice(key: str) -> str:
    head, block, rest = key.split(".", 2)
    return f"{head}.{block}.trunk.{rest}"
