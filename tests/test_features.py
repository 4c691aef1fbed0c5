"""Which features of an encoder are taken: layers, poolings, unit length, several layers in one pass."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
import torchvision
from conftest import FIXTURES
from torch import nn

from repdiag.encoders import Encoder, Loading, Preprocessing, load_encoder
from repdiag.encoders.assemble import assemble
from repdiag.encoders.features import LayerInfo, layers, layers_of, select
from repdiag.encoders.pools import unit
from repdiag.encoders.types import Output
from repdiag.errors import CheckpointError, UsageError
from repdiag.extraction import EmbedConfig, embed, embedding_key
from repdiag.extraction.config import shape_of
from repdiag.extraction.images import decode, preprocess
from repdiag.sources import Images, open_source
from repdiag.store import Store, disk

SIZE = 32
CONFIG = EmbedConfig(device="cpu", batch_size=16, view_samples=6, workers=2)


def encoder(network: nn.Module, size: int = SIZE, **choices: object) -> Encoder:
    how = Preprocessing(size, size, "bilinear", (0.5,) * 3, (0.5,) * 3, 3, "test")
    wishes = dict.fromkeys(("size", "resize", "interpolation", "mean", "std"))
    return assemble("net", "net", network.eval(), how, Loading("test"), wishes, **choices)  # type: ignore[arg-type]


def vit(**options: object) -> nn.Module:
    torch.manual_seed(0)
    name = "vit_tiny_patch16_224"
    network: nn.Module = timm.create_model(
        name, num_classes=0, img_size=SIZE, patch_size=8, depth=3, **options
    )
    return network.eval()


def resnet(library: str = "timm") -> nn.Module:
    """One block per stage; both libraries call its tensors the same."""
    torch.manual_seed(0)
    if library == "timm":
        from timm.models.resnet import BasicBlock, ResNet

        network: nn.Module = ResNet(BasicBlock, (1, 1, 1, 1), num_classes=0)
        return network.eval()
    network = torchvision.models.ResNet(torchvision.models.resnet.BasicBlock, [1, 1, 1, 1])
    network.fc = nn.Identity()
    return network.eval()


def images(n: int = 3, size: int = SIZE) -> torch.Tensor:
    return torch.randn(n, 3, size, size, generator=torch.Generator().manual_seed(1))


def given(chosen: Encoder, x: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = chosen.module(x)
    assert found.shape == (len(x), chosen.dim)
    assert found.dtype == torch.float32
    return found


# ------------------------------------------------------------------------------------------ poolings

TOKENS: dict[str, Callable[[torch.Tensor, int], torch.Tensor]] = {
    "cls": lambda t, prefix: t[:, 0],
    "mean": lambda t, prefix: t[:, prefix:].mean(1),
    "cls+mean": lambda t, prefix: torch.hstack([t[:, 0], t[:, prefix:].mean(1)]),
    "flatten": lambda t, prefix: t.reshape(len(t), -1),
}
MAPS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "gap": lambda m: nn.functional.adaptive_avg_pool2d(m, 1).flatten(1),
    "gem": lambda m: nn.functional.avg_pool2d(m.clamp(min=1e-6) ** 3, m.shape[-2:]).flatten(1) ** (1 / 3),
    "flatten": lambda m: m.reshape(len(m), -1),
}


@pytest.mark.parametrize("pool", TOKENS)
@pytest.mark.parametrize("registers", [0, 4])
def test_token_poolings_of_a_vit(pool: str, registers: int) -> None:
    network = vit(reg_tokens=registers)
    with torch.inference_mode():
        tokens = network.forward_features(images())  # type: ignore[operator]
        block = network.blocks[:2](network.patch_drop(network._pos_embed(network.patch_embed(images()))))  # type: ignore[index, operator]
    wanted = TOKENS[pool](tokens, 1 + registers)
    torch.testing.assert_close(given(encoder(network, pool=pool), images()), wanted)
    layer = encoder(network, pool=pool, layer="blocks.1")
    torch.testing.assert_close(given(layer, images()), TOKENS[pool](block, 1 + registers))


@pytest.mark.parametrize("pool", MAPS)
@pytest.mark.parametrize("library", ["timm", "torchvision"])
def test_map_poolings_of_a_resnet(pool: str, library: str) -> None:
    network, x = resnet(library), images(size=96)
    with torch.inference_mode():
        middle = resnet().forward_intermediates(x, intermediates_only=True, indices=[2, 4])  # type: ignore[operator]
    network.load_state_dict(resnet().state_dict())
    torch.testing.assert_close(given(encoder(network, 96, pool=pool), x), MAPS[pool](middle[1]))
    layer = encoder(network, 96, pool=pool, layer="layer2")
    torch.testing.assert_close(given(layer, x), MAPS[pool](middle[0]))


def test_maps_with_channels_last_are_pooled_over_the_image() -> None:
    torch.manual_seed(0)
    network = timm.create_model(
        "swin_tiny_patch4_window7_224", num_classes=0, embed_dim=24, depths=(1, 1, 1, 1)
    )
    x = images(2, 224)
    chosen = encoder(network.eval(), 224, layer="layers.1,output", pool="gap")
    with torch.inference_mode():
        final = network.forward_features(x).mean((1, 2))
        second = network.layers[:2](network.patch_embed(x)).mean((1, 2))
    torch.testing.assert_close(given(chosen, x), torch.hstack([second, final]))


def test_torchvisions_vit_and_a_network_that_gives_tokens() -> None:
    torch.manual_seed(0)
    network = torchvision.models.VisionTransformer(SIZE, 8, 2, 2, 16, 32)
    network.heads = nn.Identity()
    x = images()
    with torch.inference_mode():
        own = network.eval()(x)
    cls, mean = given(encoder(network, pool="cls+mean"), x).split(16, 1)
    torch.testing.assert_close(cls, own)
    assert not torch.allclose(mean, own)


class Tokens(nn.Module):
    """Somebody's own: (B, 5, 6) tokens, of which nobody says what they are."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.cut = nn.Conv2d(3, 6, SIZE // 2, SIZE // 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.cut(x).flatten(2).transpose(1, 2)
        return torch.cat([tokens.mean(1, keepdim=True), tokens], 1)


def test_a_network_of_ones_own_says_how_many_tokens_are_no_patches() -> None:
    network = Tokens()
    with pytest.raises(
        UsageError, match=r"--pool mean does not fit.*num_prefix_tokens would.*Use auto or flatten"
    ):
        encoder(network, pool="mean")
    network.num_prefix_tokens = 1  # type: ignore[assignment]
    with torch.inference_mode():
        tokens = network(images())
    torch.testing.assert_close(given(encoder(network, pool="mean"), images()), tokens[:, 1:].mean(1))


@pytest.mark.parametrize(
    ("network", "choice", "message"),
    [
        (vit, {"pool": "gap"}, "--pool gap is for feature maps, and .* 17 tokens of 192. Use cls or mean"),
        (
            resnet,
            {"pool": "cls"},
            "--pool cls is for tokens, and .* feature map of 512 x 1 x 1 .*Use gap or gem",
        ),
        (resnet, {"pool": "mean", "layer": "layer3"}, "layer3 gives a feature map of 256 x 2 x 2"),
        (lambda: vit(class_token=False, global_pool="avg"), {"pool": "cls"}, "no class token there"),
        (resnet, {"layer": "global_pool", "pool": "gem"}, "nothing to pool: global_pool gives 512 features"),
        (resnet, {"pool": "gen"}, "There is no pooling 'gen'. Did you mean 'gem'"),
    ],
)
def test_a_pooling_that_does_not_fit_is_refused_with_what_would(
    network: Callable[[], nn.Module], choice: dict[str, str], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        encoder(network(), **choice)


class Hidden(nn.Module):
    """Pools by itself, where nobody sees it; its attention has an average pooling of its own."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.stages = nn.Sequential(
            *(nn.Sequential(nn.Conv2d(3, 3, 3, 2), nn.ReLU(inplace=True)) for _ in "ab")
        )
        self.attention = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 3, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stages(x)
        return (x * self.attention(x)).mean((2, 3))


def test_a_network_that_pools_where_nobody_sees_it_needs_a_layer() -> None:
    with pytest.raises(
        UsageError, match=r"does not show what it pools.*Name a layer as well: stages.0, stages.1"
    ):
        encoder(Hidden(), pool="gem")
    assert encoder(Hidden(), pool="gem", layer="stages.1").dim == 3


def test_a_layer_before_an_operation_in_place_is_read_before_it() -> None:
    network = Hidden().eval()
    with torch.inference_mode():
        wanted = network.stages[0][0](images()).mean((2, 3))  # type: ignore[index, operator]
    assert (wanted < 0).any()
    torch.testing.assert_close(given(encoder(network, layer="stages.0.0"), images()), wanted)


# ------------------------------------------------------------------------------------------ layers


@pytest.mark.parametrize(
    ("make", "size", "names", "last"),
    [
        (resnet, 64, "layer1 layer2 layer3 layer4", (512, 2, 2)),
        (lambda: resnet("torchvision"), 64, "layer1 layer2 layer3 layer4", (512, 2, 2)),
        (vit, SIZE, "blocks.0 blocks.1 blocks.2", (17, 192)),
        (Hidden, SIZE, "stages.0 stages.1", (3, 7, 7)),
        (torchvision.models.convnext_tiny, 64, "features.1 features.3 features.5 features.7", (768, 2, 2)),
        (
            lambda: torchvision.models.VisionTransformer(SIZE, 8, 2, 2, 16, 32),
            SIZE,
            "encoder.layers.encoder_layer_0 encoder.layers.encoder_layer_1",
            (17, 16),
        ),
        (
            lambda: timm.create_model("xcit_nano_12_p16_224"),
            SIZE,
            " ".join(f"blocks.{i}" for i in range(12)),
            (4, 128),
        ),
    ],
)
def test_the_stages_and_blocks_are_found(
    make: Callable[[], nn.Module], size: int, names: str, last: tuple[int, ...]
) -> None:
    with torch.device("meta"):
        network = make().eval()
    found = layers_of(network, torch.zeros(2, 3, size, size, device="meta"))
    assert " ".join(layer.name for layer in found) == names
    assert found[-1] == LayerInfo(names.split()[-1], last)


def test_layers_by_number_count_from_the_end() -> None:
    plain = load_encoder(str(FIXTURES / "encoders" / "simclr.safetensors"))
    assert [layer.name for layer in layers(plain)] == ["layer1", "layer2", "layer3", "layer4"]
    chosen = select(plain, "-4,-1")
    assert chosen.outputs == (
        Output("layer1", 0, 16, "global average"),
        Output("layer4", 16, 144, "global average"),
    )


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("layer5", r"no layer 'layer5' \(net\). Did you mean 'layer\d'\? It has layer1, layer2"),
        ("nothing_like_it", "It has layer1, layer2, layer3, layer4"),
        ("-5", "There is no layer -5: the encoder has 4. It has layer1"),
        ("layer4,-1", "Two of the layers layer4, -1 are the same one"),
        ("", "The encoder has no layer ''"),
        ("layer1,,layer2", "The encoder has no layer ''"),
    ],
)
def test_a_layer_that_is_not_there_is_answered_with_those_that_are(layer: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        encoder(resnet("torchvision"), layer=layer)


class Listed(nn.Module):
    """Runs its blocks one by one, the last of them twice, and has one that never runs and one of pairs."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.blocks = nn.ModuleList([nn.Sequential(nn.Conv2d(3, 3, 3), nn.Tanh()) for _ in "abc"])
        self.rows = nn.Flatten(0, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.blocks[1](self.blocks[1](self.blocks[0](x)))
        self.rows(x)
        return x.mean((2, 3))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("blocks", "The layer 'blocks' is not run as a whole .*Name one of its parts: blocks.0, blocks.1$"),
        ("blocks.2", "The layer 'blocks.2' is not run as a whole"),
        ("rows", "The layer 'rows' gives 6x26x26 for 2 images, not features of each"),
    ],
)
def test_a_module_that_gives_no_features_of_an_image_is_refused(layer: str, message: str) -> None:
    with pytest.raises(UsageError, match=message.rstrip("$")):
        encoder(Listed(), layer=layer)


def test_of_a_module_that_runs_twice_the_last_output_is_taken_and_that_is_said() -> None:
    network = Listed().eval()
    chosen = encoder(network, layer="blocks.1")
    with torch.inference_mode():
        wanted = network(images())
    torch.testing.assert_close(given(chosen, images()), wanted)
    assert "blocks.1 runs 2 times in one pass; its last output is taken" in chosen.loading.readings


# ------------------------------------------------------------------------------------------ one pass


@pytest.mark.parametrize("make", [vit, resnet])
def test_several_layers_in_one_pass_equal_single_passes_to_the_bit(make: Callable[[], nn.Module]) -> None:
    network = make()
    names = [layer.name for layer in layers(encoder(network))][:3]
    names = [names[2], "output", names[0]]  # in the order that was asked for
    together = encoder(network, layer=names)
    assert [output.name for output in together.outputs] == names
    for output in together.outputs:
        alone = given(encoder(network, layer=output.name), images())
        assert torch.equal(given(together, images())[:, output.start : output.stop], alone)


class Counted(nn.Module):
    """Two stages and a top; counts the passes through each."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(4, 5, 3), nn.ReLU())
        self.third = nn.Sequential(nn.Conv2d(5, 6, 3), nn.ReLU())
        self.seen = {"first": 0, "third": 0}
        for name in self.seen:
            self.get_submodule(name).register_forward_hook(self.count(name))

    def count(self, name: str) -> Callable[..., None]:
        def add(_: nn.Module, given: tuple[torch.Tensor], found: torch.Tensor) -> None:
            self.seen[name] += len(found)

        return add

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.third(self.second(self.first(x))).mean((2, 3))


def dataset(root: Path, n: int = 40) -> Images:
    from PIL import Image

    rng = np.random.default_rng(0)
    for i in range(n):
        path = root / f"class{i % 2}" / f"{i:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(path)
    return open_source(str(root))


def test_each_image_is_read_once_and_passes_once_and_no_further_than_needed(tmp_path: Path) -> None:
    network, source = Counted(), dataset(tmp_path)
    chosen = encoder(network, 12, layer="first,second")
    reads: list[int] = []

    def read(index: int) -> bytes:
        reads.append(index)
        return source.read(index)

    network.seen |= {"first": 0, "third": 0}
    found = embed(chosen, replace(source, reader=read), replace(CONFIG, views=0), store=None)
    assert found.features.shape == (40, 9)
    assert sorted(reads) == list(range(40))
    assert network.seen == {"first": 40, "third": 0}
    assert not any(module._forward_hooks for name, module in network.named_modules() if name == "second")


def test_flattened_maps_are_in_one_order_whatever_the_memory_format(tmp_path: Path) -> None:
    source = dataset(tmp_path, 8)
    chosen = encoder(Counted(), 12, layer="first,second", pool="flatten")
    assert chosen.channels_last  # the extraction runs it so
    found = embed(chosen, source, CONFIG, store=None)
    pixels = [decode(source.read(row)) for row in range(8)]
    batch = torch.from_numpy(np.stack([preprocess(one, chosen.preprocessing) for one in pixels]))
    x = (batch.permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    with torch.inference_mode():
        network = Counted().eval()
        first = network.first(x.contiguous())
        wanted = torch.hstack([first.reshape(8, -1), network.second(first).reshape(8, -1)])
    np.testing.assert_allclose(found.features, wanted.numpy(), rtol=1e-5, atol=1e-6)


class Single(nn.Module):
    """Takes one image at a time, as some exported programs do."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.reshape(1, 3, -1).mean(2)


def test_a_network_that_takes_one_image_at_a_time_keeps_its_own_features() -> None:
    encoder(Single())
    with pytest.raises(UsageError, match="not features of each"):
        encoder(nn.Sequential(Single()), layer="0")


class Fixed(nn.Module):
    """Refuses every batch but one of one image."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.view(1, 3, SIZE, SIZE).mean((2, 3))


def test_a_network_that_refuses_two_images_says_so() -> None:
    with pytest.raises(CheckpointError, match=r"cannot take two images at once.*Leave out --layer"):
        encoder(Fixed(), pool="gap")


def test_an_extraction_of_several_layers_resumes_to_the_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk, "SYNC_SECONDS", 0.0)
    source, store = dataset(tmp_path / "data"), Store(tmp_path / "cache")

    def interrupt(step: str, done: int, total: int) -> None:
        if done >= 16:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embed(
            encoder(Counted(), 12, layer="first,second,output"),
            source,
            CONFIG,
            store=store,
            progress=interrupt,
        )
    network = Counted()
    chosen = encoder(network, 12, layer="first,second,output")
    network.seen["first"] = 0
    resumed = embed(chosen, source, CONFIG, store=store)
    assert resumed.provenance["run"]["rows_reused"] == 16
    rows = shape_of(chosen, source.manifest, CONFIG).view_rows
    assert network.seen["first"] == 24 + 2 * int((rows >= 16).sum())
    whole = embed(chosen, source, CONFIG, store=None)
    np.testing.assert_array_equal(resumed.features, whole.features)
    assert resumed.views is not None
    assert whole.views is not None
    np.testing.assert_array_equal(resumed.views.features, whole.views.features)


def test_the_cache_key_sees_every_choice_and_that_of_a_plain_encoder_is_what_it_was(tmp_path: Path) -> None:
    manifest = dataset(tmp_path).manifest
    network = resnet()
    plain = encoder(network)
    assert select(plain) is plain
    assert select(plain, "output", "auto", False) is plain
    keys = [embedding_key(plain, manifest, CONFIG)] + [
        embedding_key(select(plain, **choice), manifest, CONFIG)  # type: ignore[arg-type]
        for choice in (
            {"l2": True},
            {"pool": "gem"},
            {"pool": "gap"},
            {"layer": "layer3"},
            {"layer": "layer4"},
            {"layer": "layer3,layer4"},
            {"layer": "layer4,layer3"},
            {"layer": "layer3", "l2": True},
        )
    ]
    assert len(set(keys)) == len(keys)
    assert embedding_key(select(encoder(resnet()), "layer3"), manifest, CONFIG) == keys[4]
    # the fingerprint of a plain encoder as every version of repdiag has made it
    old = load_encoder(str(FIXTURES / "encoders" / "simclr.safetensors"))
    assert old.fingerprint.startswith("7446c86e71")


def test_the_encoder_is_left_as_it_was() -> None:
    network = vit()
    before = copy.deepcopy(network.state_dict())
    attributes = set(network.__dict__)
    chosen = encoder(network, layer="blocks.0,output", pool="mean", l2=True)
    given(chosen, images())
    assert set(network.__dict__) == attributes
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


def test_features_are_chosen_once() -> None:
    with pytest.raises(UsageError, match="were chosen before"):
        select(encoder(resnet(), layer="layer1"), "layer2")


def test_a_network_in_training_is_not_looked_at() -> None:
    plain = encoder(resnet())
    plain.module.train()
    with pytest.raises(ValueError, match="eval mode"):
        select(plain, "layer1")


def test_a_program_has_no_layers_but_a_pooling(tmp_path: Path) -> None:
    program = torch.jit.trace(nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU()).eval(), images())
    path = tmp_path / "program.pt"
    program.save(str(path))
    chosen = load_encoder(str(path), size=SIZE, pool="flatten")
    with torch.inference_mode():
        assert torch.equal(given(chosen, images()), program(images()).flatten(1))
    with pytest.raises(UsageError, match=r"does not show its layers|is not run as a whole"):
        load_encoder(str(path), size=SIZE, layer="0")


# ------------------------------------------------------------------------------------------ unit length


def test_each_output_has_unit_length_on_its_own() -> None:
    plain = encoder(resnet(), layer="layer3,output")
    chosen = encoder(resnet(), layer="layer3,output", l2=True)
    assert chosen.l2
    wanted = torch.hstack(
        [nn.functional.normalize(part) for part in given(plain, images()).split([256, 512], 1)]
    )
    torch.testing.assert_close(given(chosen, images()), wanted)


def test_rows_of_zeros_stay_zeros_and_tiny_and_huge_ones_get_unit_length() -> None:
    rows = torch.tensor([[0.0, 0.0], [3e-30, 4e-30], [3e30, 4e30], [1e-45, 0.0]])
    torch.testing.assert_close(unit(rows), torch.tensor([[0.0, 0.0], [0.6, 0.8], [0.6, 0.8], [1.0, 0.0]]))


def test_the_encoder_says_what_it_gives() -> None:
    said = encoder(resnet(), layer="layer3,layer4", pool="gem", l2=True).describe()
    assert said["l2"] is True
    assert [(one["layer"], one["dim"]) for one in said["features"]] == [("layer3", 256), ("layer4", 512)]
    assert all(one["pooling"].startswith("generalized mean, p = 3") for one in said["features"])
    assert "layer4 gives a feature map of 512 x 1 x 1" in " ".join(said["loading"]["readings"])


def test_outputs_cover_the_columns() -> None:
    plain = encoder(resnet())
    assert plain.outputs == (Output("output", 0, 512),)
    with pytest.raises(ValueError, match="do not cover"):
        replace(plain, outputs=(Output("a", 0, 500),))
