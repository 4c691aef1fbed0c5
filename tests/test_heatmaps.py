"""Heat maps: the place they are drawn of, GradCAM and HiResCAM against literal references, geometry, overlap."""

from __future__ import annotations

import copy
import io
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import FIXTURES
from PIL import Image, ImageDraw
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from repdiag.checkpoints.program import Program
from repdiag.encoders import Encoder, Loading, Preprocessing, load_encoder
from repdiag.encoders.assemble import assemble
from repdiag.encoders.chosen import choose
from repdiag.encoders.input import imagenet
from repdiag.encoders.wrap import Guest, wrap
from repdiag.errors import CheckpointError, ResourceError, UsageError
from repdiag.extraction.images import Undecodable, preprocess
from repdiag.extraction.prepare import Standard
from repdiag.heatmaps import cam
from repdiag.heatmaps.geometry import ready, to_input, upsample, view
from repdiag.heatmaps.layers import Spatial, spatial
from repdiag.heatmaps.overlap import overlap

NO_WISHES = dict.fromkeys(("size", "resize", "interpolation", "mean", "std"))


def encoder(network: nn.Module, size: int = 16, **choices: object) -> Encoder:
    torch.manual_seed(0)
    how = imagenet(size, size, 3, "a test")
    return assemble("toy", "toy", network, how, Loading("a test"), NO_WISHES, **choices)  # type: ignore[arg-type]


def images(of: Encoder, n: int = 3, seed: int = 0) -> torch.Tensor:
    how = of.preprocessing
    return torch.randn(n, how.channels, how.size, how.size, generator=torch.Generator().manual_seed(seed))


def weights(of: Encoder, n: int = 3, seed: int = 1) -> torch.Tensor:
    return torch.randn(n, of.dim, generator=torch.Generator().manual_seed(seed))


class Body(nn.Module):
    """A small convolutional network that works in place, with a residual, a max-pool, and BatchNorm that matters."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv1, self.bn1 = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 8, 3, padding=1)
        self.relu, self.pool = nn.ReLU(inplace=True), nn.MaxPool2d(4)
        self.bn1.running_mean += 0.1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.bn1(self.conv1(x)))
        y = self.conv2(x)
        y += x
        return self.pool(self.relu(y))


class Net(nn.Module):
    """`Body` and something behind it."""

    def __init__(self, head: nn.Module) -> None:
        super().__init__()
        self.body, self.head = Body(), head

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x))


def gap() -> Encoder:
    return encoder(Net(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())))


def flat(**choices: object) -> Encoder:
    return encoder(Net(nn.Flatten()), **choices)


def linear() -> Encoder:
    torch.manual_seed(1)
    return encoder(Net(nn.Sequential(nn.Flatten(), nn.Linear(128, 5))))


def vit(**more: object) -> Encoder:
    torch.manual_seed(2)
    options = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "depth": 2, "num_heads": 3, "num_classes": 0}
    return encoder(VisionTransformer(**{**options, **more}), 32)  # type: ignore[arg-type]


# --------------------------------------------------------------------------------------------- places


class Tokens(nn.Module):
    """Patches, and layers of torch's own behind them; the class token is the answer."""

    def __init__(self, first: bool) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.patches, self.token = nn.Conv2d(3, 16, 8, 8), nn.Parameter(torch.randn(1, 1, 16))
        layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=first)
        self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        return self.blocks(torch.cat([self.token.expand(len(x), 1, 16), x], 1))[:, 0]


class Mixer(nn.Module):
    """Tokens without any attention, averaged."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.mix, self.norm = nn.Conv2d(3, 6, 4, 4), nn.Linear(16, 16), nn.LayerNorm(6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = self.norm(x + self.mix(x.transpose(1, 2)).transpose(1, 2))
        return x.mean(1)


class Last(nn.Module):
    """A map with its channels last, as Swin has it."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 6, 4, 4), nn.LayerNorm(6)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.conv(x).permute(0, 2, 3, 1)).mean((1, 2))


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (gap, Spatial("convolution", "body", (4, 4), 8, columns=(0, 8))),
        (flat, Spatial("flattened", "body", (4, 4), 8, columns=(0, 128))),
        (lambda: flat(l2=True), Spatial("flattened", "body", (4, 4), 8, columns=(0, 128))),
        (lambda: choose(flat(), [7, 100, 3]), Spatial("flattened", "body", (4, 4), 8, columns=(0, 3))),
        (linear, Spatial("convolution", "body", (4, 4), 8, columns=(0, 5))),
        (vit, Spatial("tokens", "blocks.1.norm1", (4, 4), 24, 1, columns=(0, 24))),
        (lambda: vit(reg_tokens=3), Spatial("tokens", "blocks.1.norm1", (4, 4), 24, 4, columns=(0, 24))),
        (
            lambda: vit(class_token=False, global_pool="avg"),
            Spatial("tokens", "blocks.1.norm1", (4, 4), 24, 0, columns=(0, 24)),
        ),
        (
            lambda: encoder(Tokens(True), 32),
            Spatial("tokens", "blocks.layers.1.norm1", (4, 4), 16, 1, columns=(0, 16)),
        ),
        (  # the norm comes behind the attention: what goes into that is the block before
            lambda: encoder(Tokens(False), 32),
            Spatial("tokens", "blocks.layers.0", (4, 4), 16, 1, columns=(0, 16)),
        ),
        (lambda: encoder(Mixer()), Spatial("tokens", "norm", (4, 4), 6, 0, columns=(0, 6))),
        (
            lambda: encoder(Last()),
            Spatial("convolution", "norm", (4, 4), 6, channels_last=True, columns=(0, 6)),
        ),
    ],
)
def test_the_place_is_found_by_running_the_network(make: object, expected: Spatial) -> None:
    one = make()  # type: ignore[operator]
    assert spatial(one) == expected
    found = cam.heat(one, expected, images(one), weights(one))
    assert found.shape == (3, *expected.grid)
    assert found.dtype == torch.float32
    assert bool((found >= 0).all())
    assert bool(found.any())


def test_a_chosen_layer_has_its_own_place_and_several_must_be_told_apart() -> None:
    torch.manual_seed(0)
    stages = nn.Sequential(
        *(nn.Sequential(nn.Conv2d(a, b, 2, 2), nn.ReLU()) for a, b in ((3, 4), (4, 6), (6, 8)))
    )
    network = nn.Sequential(stages, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert spatial(encoder(network, layer="0.1")).grid == (4, 4)
    several = encoder(network, layer="0.0,0.1,output")
    found = [spatial(several, name) for name in ("0.0", "0.1", "output")]
    assert [(one.grid, one.columns) for one in found] == [
        ((8, 8), (0, 4)),
        ((4, 4), (4, 10)),
        ((2, 2), (10, 18)),
    ]
    given = weights(several)
    alone = torch.where((torch.arange(18) >= 4) & (torch.arange(18) < 10), given, 0)
    single = encoder(network, layer="0.1")
    expected = cam.heat(single, spatial(single), images(single), given[:, 4:10])
    assert torch.allclose(cam.heat(several, found[1], images(several), alone), expected, atol=1e-7)
    with pytest.raises(ValueError, match="whose place this is"):
        cam.heat(several, found[1], images(several), given)
    with pytest.raises(UsageError, match=r"3 layers: 0\.0, 0\.1, output"):
        spatial(several)
    with pytest.raises(UsageError, match=r"no output 'x'.*It has 0.0"):
        spatial(several, "x")
    with pytest.raises(UsageError, match="no one place"):
        spatial(choose(several, [0, 17]))


def test_what_cannot_be_explained_says_why() -> None:
    one = gap()
    scripted = torch.jit.trace(copy.deepcopy(one.module.network), images(one))  # type: ignore[no-untyped-call]
    for network in (scripted, Program(Net(nn.Flatten()).eval(), None)):
        with pytest.raises(UsageError, match=r"does not show its layers.*checkpoint of weights"):
            spatial(encoder(network))
    with pytest.raises(UsageError, match="No layer of this encoder keeps its place"):
        spatial(encoder(nn.Sequential(nn.Flatten(), nn.Linear(768, 4))))

    class Hard(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = Body()

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.body(x).detach().mean((2, 3))

    with pytest.raises(UsageError, match="No layer of this encoder"):
        spatial(encoder(Hard()))
    place = spatial(one)
    with pytest.raises(UsageError, match=r"body gives \(8, 8, 8\).*Find the place anew"):
        cam.heat(one, place, torch.zeros(1, 3, 32, 32), torch.ones(1, 8))
    with pytest.raises(UsageError, match="no heat map method 'x'"):
        cam.heat(one, place, images(one), weights(one), "x")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="3 images, 8 features"):
        cam.heat(one, place, images(one), torch.ones(3, 9))
    with pytest.raises(CheckpointError, match="NaN"):
        cam.heat(one, place, images(one), weights(one) * torch.inf)
    with torch.inference_mode():
        made = encoder(Net(nn.Flatten()))
    with pytest.raises(UsageError, match="inference_mode"):
        spatial(made)
    one.module.train()
    for call in (lambda: spatial(one), lambda: cam.heat(one, place, images(one), weights(one))):
        with pytest.raises(ValueError, match="eval mode"):
            call()


# --------------------------------------------------------------------------------------------- formulas


def test_of_averaged_features_both_methods_show_the_channel_itself() -> None:
    one = gap()
    place, x = spatial(one), images(one)
    channels = one.module.network.body(x).detach()
    for j in range(8):
        unit = torch.zeros(3, 8)
        unit[:, j] = 1
        expected = channels[:, j].clamp(min=0) / 16
        for method in ("gradcam", "hirescam"):
            assert torch.allclose(cam.heat(one, place, x, unit, method), expected, atol=1e-7)  # type: ignore[arg-type]
    assert not torch.allclose(channels[:, 0], channels[:, 1])


def test_a_flattened_feature_is_hot_in_its_own_place_only() -> None:
    one = flat()
    place, x = spatial(one), images(one, 1)
    features = one.module(x)[0]
    assert cam.method_for(place) == "hirescam"
    for c, i, j in [(0, 0, 0), (3, 1, 2), (7, 3, 3), (5, 2, 0)]:
        column = (c * 4 + i) * 4 + j
        unit = torch.zeros(1, 128)
        unit[0, column] = 1
        expected = torch.zeros(4, 4)
        expected[i, j] = features[column]
        found = cam.heat(one, place, x, unit)[0]
        assert torch.allclose(found, expected, atol=1e-7)
    spread = cam.heat(one, place, x, unit, "gradcam")[
        0
    ]  # what the mean would do, and why it is not the default
    assert int((spread > 0).sum()) > 1


def test_hirescam_of_a_linear_head_adds_up_to_the_target() -> None:
    one = linear()
    place, x, w = spatial(one), images(one), weights(one)
    bias = one.module.network.head[1].bias
    target = (one.module(x) * w).sum(1) - w @ bias
    assert torch.allclose(cam.signed(one, place, x, w, "hirescam").sum((1, 2)), target, atol=1e-5)
    assert not torch.allclose(cam.signed(one, place, x, w, "gradcam").sum((1, 2)), target, atol=1e-2)


def literal(
    activations: torch.Tensor,
    features: object,
    w: torch.Tensor,
    prefix: int,
    grid: tuple[int, int],
    method: str,
) -> torch.Tensor:
    """One image's signed map in float64, place by place and channel by channel; `activations` (channels, places)."""
    leaf = activations.detach().requires_grad_()
    (slope,) = torch.autograd.grad((features(leaf)[0] * w).sum(), leaf)  # type: ignore[operator]
    found = torch.zeros(grid, dtype=torch.float64)
    places = range(prefix, leaf.shape[1])
    for place in places:
        total = 0.0
        for c in range(leaf.shape[0]):
            alpha = float(slope[c, place])
            if method == "gradcam":
                alpha = sum(float(slope[c, p]) for p in places) / len(places)
            total += alpha * float(leaf[c, place].detach())
        found[divmod(place - prefix, grid[1])] = total
    return found


@pytest.mark.parametrize("method", ["gradcam", "hirescam"])
def test_maps_equal_a_literal_loop_in_float64(method: str) -> None:
    one, w = linear(), weights(linear())
    x = images(one)
    network = copy.deepcopy(one.module.network).double()
    maps = network.body(x.double())
    for i in range(3):
        expected = literal(
            maps[i].flatten(1), lambda a: network.head(a.view(1, 8, 4, 4)), w[i].double(), 0, (4, 4), method
        )
        found = cam.signed(one, spatial(one), x, w, method)[i].double()  # type: ignore[arg-type]
        assert torch.allclose(found, expected, rtol=1e-4, atol=1e-6)

    one = vit(reg_tokens=2)
    x, w = images(one), weights(one)
    network = copy.deepcopy(one.module.network).double()

    def behind(before: torch.Tensor, normed: torch.Tensor) -> torch.Tensor:
        block = network.blocks[1]
        before = before + block.attn(normed)
        return network.norm(before + block.mlp(block.norm2(before)))[:, 0]

    for i in range(3):
        before = network.blocks[0](network._pos_embed(network.patch_embed(x[i : i + 1].double())))
        normed = network.blocks[1].norm1(before)
        assert torch.allclose(behind(before, normed), network(x[i : i + 1].double()))
        expected = literal(normed[0].T, lambda a: behind(before, a.T[None]), w[i].double(), 3, (4, 4), method)  # noqa: B023
        found = cam.signed(one, spatial(one), x, w, method)[i].double()  # type: ignore[arg-type]
        assert torch.allclose(found, expected, rtol=1e-3, atol=1e-6)


def test_behind_the_last_attention_a_class_tokens_gradient_reaches_no_patch() -> None:
    """Why tokens are taken before it."""
    one = vit()
    found: list[torch.Tensor] = []
    block = one.module.network.blocks[1]
    block.register_forward_hook(lambda m, given, out: found.append(out.detach().requires_grad_()) or found[0])
    (slope,) = torch.autograd.grad(one.module(images(one)).square().sum(), found[0])
    assert not slope[:, 1:].any()
    assert slope[:, 0].any()


def test_rows_do_not_depend_on_each_other_and_rows_without_weights_are_zero() -> None:
    one = vit()
    place, x, w = spatial(one), images(one, 5), weights(one, 5)
    w[2] = 0
    together = cam.heat(one, place, x, w)
    alone = torch.cat([cam.heat(one, place, x[i : i + 1], w[i : i + 1]) for i in range(5)])
    assert torch.allclose(together, alone, atol=1e-6)
    assert not together[2].any()
    assert torch.allclose(cam.heat(one, place, x, 3 * w), 3 * together, rtol=1e-3, atol=1e-6)
    assert cam.heat(one, place, x[:0], w[:0]).shape == (0, 4, 4)
    against = cam.signed(one, place, x, -w)  # the other sign is the other map
    assert torch.allclose(against.clamp(max=0).neg(), together, atol=1e-6)


def state(network: nn.Module) -> list[object]:
    found: list[object] = [torch.is_grad_enabled(), torch.is_inference_mode_enabled()]
    for part in network.modules():
        found += [
            part.training,
            len(part._forward_hooks),
            len(part._forward_pre_hooks),
            sorted(part.__dict__),
        ]
    return found + [(p.requires_grad, p.grad is None, p.sum().item()) for p in network.parameters()]


def test_the_network_is_afterwards_as_it_was_wherever_it_is_called() -> None:
    for make in (gap, vit):
        one = make()
        before = state(one.module)
        place, x, w = spatial(one), images(one), weights(one)
        expected = cam.heat(one, place, x, w)
        with torch.inference_mode():
            inside = cam.heat(one, place, images(one), weights(one))
            assert torch.is_inference_mode_enabled()
        with torch.no_grad():
            assert torch.equal(cam.heat(one, place, x, w), expected)
            assert spatial(one) == place
            assert not torch.is_grad_enabled()
        assert torch.equal(inside, expected)
        with torch.autocast("cpu", torch.bfloat16):
            half = cam.heat(one, place, x, w)
        assert half.dtype == torch.float32
        assert not torch.equal(half, expected)
        assert torch.allclose(half, expected, atol=0.05 * float(expected.max()))
        with pytest.raises((UsageError, AssertionError)):  # the hook's own, or what timm says
            cam.heat(one, place, torch.zeros(1, 3, 64, 64), torch.ones(1, one.dim))
        assert state(one.module) == before


def test_a_module_in_memory_keeps_its_own_gradients_out_of_it() -> None:
    network = Net(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())).eval()
    frozen = gap()
    before = state(network)
    guest = wrap(Guest(network), frozen.preprocessing)
    x, w = images(frozen), weights(frozen)
    assert spatial(guest) == spatial(frozen)
    assert torch.equal(cam.heat(guest, spatial(guest), x, w), cam.heat(frozen, spatial(frozen), x, w))
    assert state(network) == before


def test_a_batch_that_does_not_fit_is_halved(monkeypatch: pytest.MonkeyPatch) -> None:
    one = gap()
    place, x, w = spatial(one), images(one, 5), weights(one, 5)
    expected = cam.heat(one, place, x, w)
    real, most = cam._signed, 2

    def small(encoder: Encoder, spatial: Spatial, images: torch.Tensor, *rest: object) -> torch.Tensor:
        if len(images) > most:
            raise torch.OutOfMemoryError("out of memory")
        return real(encoder, spatial, images, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(cam, "_signed", small)
    assert torch.allclose(cam.heat(one, place, x, w), expected, atol=1e-7)
    most = 0
    with pytest.raises(ResourceError, match="one image"):
        cam.heat(one, place, x, w)


def test_a_real_encoder_looks_where_its_features_fire() -> None:
    one = load_encoder(str(FIXTURES / "encoders" / "simclr.safetensors"))
    place = spatial(one)
    assert (place.kind, place.module_name, place.grid) == ("convolution", "layer4", (2, 2))
    content = next((FIXTURES / "digits" / "test").rglob("*.png")).read_bytes()
    x = ready(view(content, one.preprocessing)[None], one.preprocessing)
    h = one.module(x)
    found = cam.heat(one, place, x, (h > h.mean()).float())
    assert float(found.sum()) == pytest.approx(float(h[h > h.mean()].sum()), rel=1e-4)  # an average adds up


@pytest.mark.shared
def test_conv4s_flattened_features_keep_their_place(shared: Path) -> None:
    one = load_encoder(str(shared / "enc-conv4-ssl-prototransfer" / "random_init_conv4.pth.tar"))
    place = spatial(one)
    assert (place.kind, place.grid, place.channels) == ("flattened", (5, 5), 64)
    x = torch.rand(2, 3, 84, 84, generator=torch.Generator().manual_seed(0))
    h = one.module(x)
    found = cam.heat(one, place, x, torch.ones(2, 1600))
    assert torch.allclose(found, h.view(2, 64, 5, 5).sum(1), rtol=1e-4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_the_maps_are_the_cpus() -> None:
    for make in (gap, flat, vit):
        one = make()
        place, x, w = spatial(one), images(one), weights(one)
        expected = cam.heat(one, place, x, w)
        one.module.cuda()
        found = cam.heat(one, spatial(one), x, w)
        assert found.device.type == "cpu"
        assert torch.allclose(found, expected, rtol=1e-2, atol=1e-3 * float(expected.max()))
        with torch.autocast("cuda", torch.bfloat16):
            half = cam.heat(one, place, x.cuda(), w.cuda())
        assert torch.allclose(half, expected, atol=0.05 * float(expected.max()))


# --------------------------------------------------------------------------------------------- geometry


@pytest.mark.parametrize(("width", "height"), [(64, 64), (90, 61), (40, 100)])
@pytest.mark.parametrize("how", [(32, 40), (84, 96), (64, 64)])
def test_a_mask_goes_the_way_of_its_image(width: int, height: int, how: tuple[int, int]) -> None:
    plan = Preprocessing(how[0], how[1], "bilinear", (0.0,) * 3, (1.0,) * 3, 3, "a test")
    picture = Image.new("RGB", (width, height))
    box = (width // 5, height // 4, width // 2, height - 9)  # both ends included
    ImageDraw.Draw(picture).rectangle(box, fill=(255, 255, 255))
    mask = np.zeros((height, width), np.float32)
    mask[box[1] : box[3] + 1, box[0] : box[2] + 1] = 1
    found = to_input(mask, plan)
    assert found.shape == (how[0], how[0])
    assert found.dtype == np.float32
    assert np.abs(found - preprocess(picture, plan)[..., 0] / 255).max() <= 1.5 / 255
    bicubic = Preprocessing(how[0], how[1], "bicubic", (0.0,) * 3, (1.0,) * 3, 3, "a test")
    assert np.array_equal(to_input(mask, bicubic), found)
    assert 0 <= found.min() <= found.max() <= 1
    turned = to_input(mask[:, ::-1], plan)
    assert np.abs(turned - found).max() > 0.5


def test_a_heat_map_grows_evenly_and_a_view_is_what_the_encoder_gets() -> None:
    large = upsample(torch.tensor([[0.0, 4.0]]), 4)
    assert large.tolist() == [[0.0, 1.0, 3.0, 4.0]] * 4  # centers of the two halves at 0.5 and 2.5
    assert upsample(np.ones((2, 3, 3)), 7) == pytest.approx(np.ones((2, 7, 7)))
    assert upsample(np.ones((0, 3, 3)), 7).shape == (0, 7, 7)

    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 256, (40, 50, 3), np.uint8))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    for channels in (3, 1):
        plan = imagenet(24, 32, channels, "a test")
        seen = view(buffer.getvalue(), plan)
        assert seen.shape == (24, 24, 3)
        assert seen.dtype == np.uint8
        assert torch.allclose(ready(seen[None], plan)[0], Standard(plan)(picture), atol=1e-5)
    assert (seen[..., 0] == seen[..., 2]).all()
    with pytest.raises(Undecodable):
        view(b"no image", plan)


# --------------------------------------------------------------------------------------------- overlap


def test_overlap_by_hand() -> None:
    heat = np.array([[[4.0, 2.0, 1.0], [0.0, 3.0, 0.0], [0.0, 0.0, 2.0]]])
    mask = np.array([[[1.0, 1.0, 0.6], [0.0, 0.4, 0.0], [0.0, 0.0, 0.0]]])
    # hot (>= 2): 4, 2, 3, 2; in the mask: 4, 2 and the cold 1
    found = overlap(heat, mask)
    assert found.iou[0] == pytest.approx(6 / 12)
    assert found.mass[0] == pytest.approx((4 + 2 + 0.6 + 1.2) / 12)
    assert found.area[0] == pytest.approx(3.0 / 9)
    assert overlap(heat, mask, 0.75).iou[0] == pytest.approx(4 / (4 + 2 + 1 + 3))
    assert overlap(heat, mask, 1.0).iou[0] == pytest.approx(4 / 7)
    assert overlap(heat, 1 - mask).mass[0] == pytest.approx(1 - found.mass[0])


def test_overlap_of_even_empty_and_scaled_heat() -> None:
    rng = np.random.default_rng(0)
    masks = (rng.random((4, 8, 8)) > 0.7).astype(np.float32)
    heat = rng.random((4, 8, 8)).astype(np.float32)
    even = overlap(np.full((4, 8, 8), 0.3), masks)
    assert even.mass == pytest.approx(even.area)
    assert even.iou == pytest.approx(even.area)
    plain, scaled = overlap(heat, masks), overlap(heat.astype(np.float64) * 1e-30, masks)
    assert scaled.iou == pytest.approx(plain.iou)
    assert scaled.mass == pytest.approx(plain.mass)
    assert overlap(masks, masks).iou == pytest.approx(np.ones(4))
    heat[1], masks[2] = 0, 0.4
    found = overlap(torch.from_numpy(heat), torch.from_numpy(masks))
    for values in (found.iou, found.mass, found.area):
        assert np.isnan(values).tolist() == [False, True, True, False]
        assert values.dtype == np.float64
    assert overlap(np.zeros((0, 3, 3)), np.zeros((0, 3, 3))).iou.shape == (0,)
    for bad in (
        lambda: overlap(-heat, masks),
        lambda: overlap(heat, masks * 2),
        lambda: overlap(heat[0], masks[0]),
    ):
        with pytest.raises(ValueError, match="must be"):
            bad()
    with pytest.raises(ValueError, match="threshold"):
        overlap(heat, masks, 0)
