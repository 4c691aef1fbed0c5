"""Views are what torchvision makes with the same parameters, are drawn as it draws them, and are each image's own."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from torch import Tensor, nn
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms.v2 import functional as VF

from repdiag.encoders import Preprocessing
from repdiag.training import augment
from repdiag.training.augment import Augmentation, Draws, apply, draw
from repdiag.training.config import TuneConfig

PLAIN = Augmentation(32, (1.0, 1.0), (1.0, 1.0), flip=0.0, color=0.0, gray=0.0, blur=0.0)
EVERYTHING = Augmentation(32, color=0.5, gray=1.0, blur=1.0, solarize=1.0)
"""With all switches on; what happens is in the draws."""


def images(n: int = 8, side: int = 32, channels: int = 3, low: int = 0, high: int = 256) -> Tensor:
    found = torch.randint(low, high, (n, channels, side, side), generator=generator(), dtype=torch.uint8)
    return found


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def neutral(n: int, **changes: float | list[float]) -> Draws:
    ones = ("width", "height", "brightness", "contrast", "saturation")
    values = {f.name: torch.full((n,), float(f.name in ones)) for f in dataclasses.fields(Draws)}
    return Draws(**values | {k: torch.as_tensor(v).float().expand(n).clone() for k, v in changes.items()})


def boxed(n: int, side: int, top: int, left: int, height: int, width: int, **changes: float) -> Draws:
    """Draws of exactly this box of pixels."""
    return neutral(
        n,
        width=width / side,
        height=height / side,
        left=(left + 0.5) / (side - width + 1),
        top=(top + 0.5) / (side - height + 1),
        **changes,
    )


# ------------------------------------------------------------------------------------ one view, given draws


@pytest.mark.parametrize("channels", [1, 3])
def test_neutral_draws_give_the_image_back_exactly(channels: int) -> None:
    x = images(40, channels=channels)
    assert torch.equal(apply(x, neutral(40), EVERYTHING), x / 255)
    assert torch.equal(apply(x, neutral(40, flip=1.0), EVERYTHING), x.flip(-1) / 255)


@pytest.mark.parametrize(
    ("side", "size", "box"),
    [
        (32, 32, (3, 5, 17, 22)),
        (32, 32, (0, 0, 32, 32)),
        (64, 24, (1, 2, 60, 62)),  # shrinks by 2.5: aliases without an antialiasing filter
        (40, 32, (4, 4, 36, 33)),
        (9, 32, (8, 8, 1, 1)),  # one pixel, everywhere
    ],
)
def test_a_crop_is_torchvisions_resized_crop_with_antialiasing(
    side: int, size: int, box: tuple[int, int, int, int]
) -> None:
    x = images(4, side)
    how = dataclasses.replace(PLAIN, size=size)
    found = apply(x, boxed(4, side, *box), how)
    expected = VF.resized_crop(x / 255, *box, [size, size], InterpolationMode.BILINEAR, antialias=True)
    assert torch.allclose(found, expected, atol=1e-5)
    top, left, *sides = box
    if sides != [32, 32]:
        moved = VF.resized_crop(x / 255, top, max(left - 1, 0), *sides, [size, size], antialias=True)
        assert not torch.allclose(found, moved, atol=1e-2)


def test_without_antialiasing_a_shrunk_crop_would_be_another() -> None:
    x = images(4, 64)
    found = apply(x, boxed(4, 64, 0, 0, 64, 64), dataclasses.replace(PLAIN, size=24))
    aliased = VF.resize(x / 255, [24, 24], antialias=False)
    assert (found - aliased).abs().mean() > 0.05


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"brightness": 1.3}, lambda x: VF.adjust_brightness(x, 1.3)),
        ({"brightness": 0.4}, lambda x: VF.adjust_brightness(x, 0.4)),
        ({"contrast": 0.6}, lambda x: VF.adjust_contrast(x, 0.6)),
        ({"contrast": 1.4}, lambda x: VF.adjust_contrast(x, 1.4)),
        ({"saturation": 0.2}, lambda x: VF.adjust_saturation(x, 0.2)),
        ({"gray": 1.0}, lambda x: VF.rgb_to_grayscale(x, 3)),
        ({"solarize": 1.0}, lambda x: VF.solarize(x, 0.5)),
        ({"sigma": 0.9}, lambda x: VF.gaussian_blur(x, [5, 5], [0.9, 0.9])),
    ],
)
def test_each_change_is_torchvisions(changes: dict[str, float], expected: object) -> None:
    x = images()
    found = apply(x, neutral(8, **changes), EVERYTHING)
    assert callable(expected)
    assert torch.allclose(found, expected(x / 255), atol=2e-3)  # torchvision rounds the luma's weights
    assert not torch.allclose(found, x / 255, atol=2e-2)


def test_all_changes_together_are_torchvisions_chain_where_nothing_is_clamped() -> None:
    """Values in the middle: then blur may come before the colors."""
    x = images(6, low=100, high=160)
    draws = boxed(6, 32, 4, 6, 20, 22, brightness=1.1, contrast=0.9, saturation=0.7, sigma=0.8, flip=1.0)
    found = apply(x, draws, EVERYTHING)
    y = VF.horizontal_flip(VF.resized_crop(x / 255, 4, 6, 20, 22, [32, 32], antialias=True))
    y = VF.adjust_saturation(VF.adjust_brightness(VF.adjust_contrast(y, 0.9), 1.1), 0.7)
    y = VF.gaussian_blur(y, [5, 5], [0.8, 0.8])
    assert torch.allclose(found, y, atol=3e-3)


def test_the_large_kernel_is_torchvisions_too() -> None:
    x = images(2, 96)
    how = dataclasses.replace(PLAIN, size=96, blur=1.0)
    assert how.radius == 5
    assert Augmentation(224).radius == 11
    assert Augmentation(224).sigma == (0.1, 2.0)
    found = apply(x, neutral(2, sigma=[1.7, 0.3]), how)
    for one, image, sigma in zip(found, x, (1.7, 0.3), strict=True):
        assert torch.allclose(one, VF.gaussian_blur(image / 255, [11, 11], [sigma, sigma]), atol=1e-5)


def test_hue_keeps_the_luma_of_what_is_not_clamped_and_a_whole_turn_changes_nothing() -> None:
    x = images(4, low=110, high=140)
    turned = apply(x, neutral(4, hue=0.25), EVERYTHING)
    weights = augment._LUMA.view(3, 1, 1)
    assert torch.allclose((weights * turned).sum(1), (weights * x / 255).sum(1), atol=1e-4)
    assert (turned - x / 255).abs().max() > 0.02
    assert torch.allclose(apply(x, neutral(4, hue=1.0), EVERYTHING), x / 255, atol=1e-4)
    opposite = 2 * (weights * x / 255).sum(1, keepdim=True) - x / 255  # half a turn mirrors at the gray axis
    assert torch.allclose(apply(x, neutral(4, hue=0.5), EVERYTHING), opposite, atol=1e-4)


def test_gray_encoders_have_no_colors_but_brightness_and_contrast() -> None:
    x = images(4, channels=1)
    colored = neutral(4, saturation=0.1, hue=0.3, gray=1.0)
    assert torch.equal(apply(x, colored, EVERYTHING), x / 255)
    found = apply(x, neutral(4, brightness=0.5, contrast=0.7), EVERYTHING)
    mean = (x / 255).mean((1, 2, 3), keepdim=True)
    assert torch.allclose(found, 0.5 * (0.7 * x / 255 + 0.3 * mean), atol=1e-5)


def test_a_batch_is_what_its_images_are_alone_and_autocast_changes_nothing() -> None:
    x = images(300, 64)  # more than one part on a CPU
    draws = draw(300, EVERYTHING, generator())
    whole = apply(x, draws, EVERYTHING)
    for i in (0, 65, 299):
        alone = apply(x[i : i + 1], draws.rows(slice(i, i + 1)), EVERYTHING)
        assert torch.allclose(whole[i], alone[0], atol=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(apply(x, draws, EVERYTHING), whole)
    assert whole.dtype == torch.float32
    assert 0 <= float(whole.min()) <= float(whole.max()) <= 1
    assert apply(x[:0], draws.rows(slice(0, 0)), EVERYTHING).shape == (0, 3, 32, 32)


def test_wrong_shapes_and_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        apply(images().float(), neutral(8), PLAIN)
    with pytest.raises(ValueError, match="3 draws for 8 images"):
        apply(images(), neutral(3), PLAIN)
    for wrong in ({"crop": (0.0, 1.0)}, {"flip": 1.5}, {"size": 0}, {"color": -1.0}, {"aspect": (2.0, 1.0)}):
        with pytest.raises(ValueError, match=next(iter(wrong)) if "size" not in wrong else "pixel"):
            dataclasses.replace(PLAIN, **wrong)


# ------------------------------------------------------------------------------------------- what is drawn


def test_shares_and_areas_are_those_asked_for() -> None:
    n = 20_000
    d = draw(n, Augmentation(32, solarize=0.3, flip=0.4), generator())
    tolerance = 4 * math.sqrt(0.25 / n)
    changed = (d.brightness != 1) & (d.contrast != 1)
    for found, share in (
        (d.flip, 0.4), (d.gray, 0.2), (d.solarize, 0.3), ((d.sigma > 0).float(), 0.5), (changed.float(), 0.8),
    ):  # fmt: skip
        assert abs(float(found.mean()) - share) < tolerance
    assert (d.brightness.min(), d.brightness.max()) == (
        pytest.approx(0.6, abs=0.01),
        pytest.approx(1.4, abs=0.01),
    )
    assert d.hue.abs().max() == pytest.approx(0.1, abs=0.002)
    strong = draw(n, Augmentation(32, color=2.0), generator())
    assert float(strong.brightness.min()) >= 0


def test_boxes_are_distributed_as_torchvisions() -> None:
    """Area, width, the share of whole images, and the left edge, against RandomResizedCrop's own draws."""
    n, side, scale = 4000, 1000, (0.2, 1.0)
    torch.manual_seed(1)
    image = torch.empty(3, side, side)
    theirs = torch.tensor(
        [RandomResizedCrop.get_params(image, list(scale), [3 / 4, 4 / 3]) for _ in range(n)]
    )
    d = draw(n, Augmentation(8, scale), generator())
    height, width = d.height * side, d.width * side
    left = d.left * (side - width)
    for ours, other in (
        (height * width / side**2, theirs[:, 2] * theirs[:, 3] / side**2),
        (width / side, theirs[:, 3] / side),
        (left / side, theirs[:, 1] / side),
    ):
        spread = math.sqrt((float(ours.var()) + float(other.float().var())) / n)
        assert abs(float(ours.mean()) - float(other.float().mean())) < 4 * spread
        assert float(ours.std()) == pytest.approx(float(other.float().std()), rel=0.06)
    clamped = (d.height * d.width).mean()  # a box made narrower where it would leave the image, as some do
    area = 0.2 + 0.8 * torch.rand(n, generator=generator(3))
    aspect = (math.log(3 / 4) + math.log(16 / 9) * torch.rand(n, generator=generator(4))).exp()
    narrower = ((area * aspect).sqrt().clamp(max=1) * (area / aspect).sqrt().clamp(max=1)).mean()
    assert abs(float(clamped - narrower)) > 0.005, "this test would not notice the other way to draw"


def test_what_is_drawn_depends_on_the_seed_alone_and_is_cut_for_processes() -> None:
    how = Augmentation(32)
    d = draw(16, how, generator())
    again = draw(16, how, generator())
    other = draw(16, dataclasses.replace(how, blur=0.0, color=0.0), generator())
    for field in dataclasses.fields(Draws):
        one = getattr(d, field.name)
        assert torch.equal(one, getattr(again, field.name))
        assert one.shape == (16,)
        assert one.dtype == torch.float32
        assert torch.equal(getattr(d.rows(slice(8, 16)), field.name), one[8:])
    assert torch.equal(d.width, other.width)
    assert torch.equal(d.flip, other.flip)
    assert not other.sigma.any()
    assert (torch.pdist(torch.stack([d.width, d.left, d.top], 1)) > 1e-4).all(), "views share a box"
    x = images(16)
    halves = [apply(x[part], d.rows(part), how) for part in (slice(0, 8), slice(8, 16))]
    assert torch.allclose(torch.cat(halves), apply(x, d, how), atol=1e-6)


# -------------------------------------------------------------------------------------- of an encoder and a job


def preprocessing(size: int = 224, resize: int = 256, channels: int = 3) -> Preprocessing:
    return Preprocessing(size, resize, "bilinear", (0.4,) * channels, (0.2,) * channels, channels, "test")


def test_the_views_of_a_job() -> None:
    config = TuneConfig(views=4, crop_min=0.3, solarize=0.2, blur=0.4, small_crop_max=0.25)
    first, second, *small = augment.augmentations(config, preprocessing())
    assert (first.size, first.crop, first.solarize, first.blur) == (224, (0.3, 1.0), 0.0, 0.4)
    assert second == dataclasses.replace(first, solarize=0.2)
    assert [(s.size, s.crop) for s in small] == [(96, (0.05, 0.25))] * 2
    assert augment.augmentations(config, preprocessing(32, 32))[2].size == 16
    assert augment.augmentations(config, preprocessing(8, 8))[2].size == 8
    assert augment.augmentations(config, preprocessing(), small=224)[3].size == 224
    plain = augment.augmentations(TuneConfig(color=0.0), preprocessing())[0]
    assert (plain.color, plain.gray) == (0.0, 0.0)
    weak = augment.weak(preprocessing())
    d = draw(500, weak, generator())
    assert (weak.crop, weak.flip) == ((0.5, 1.0), 0.5)
    assert (d.brightness == 1).all()
    assert not any(bool(one.any()) for one in (d.gray, d.sigma, d.solarize))


def test_small_crops_have_a_side_that_the_network_takes() -> None:
    import timm

    how = preprocessing(32, 32)
    convnet = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    convnet.train()
    before = {name: value.clone() for name, value in convnet.state_dict().items()}
    assert augment.small_side(convnet, how) == 16
    assert convnet.training
    assert all(torch.equal(value, before[name]) for name, value in convnet.state_dict().items())
    flat = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())
    assert augment.small_side(flat, how) == 32  # other sides give another number of features
    sizes = {"img_size": 56, "embed_dim": 16, "depth": 1, "num_heads": 2, "num_classes": 0}
    fixed = timm.models.VisionTransformer(patch_size=14, **sizes)
    assert augment.small_side(fixed, preprocessing(56, 56)) == 56
    free = timm.models.VisionTransformer(patch_size=14, dynamic_img_size=True, **sizes)
    assert augment.small_side(free, preprocessing(56, 56)) == 28


def test_normalize_is_what_scoring_does_to_pixels() -> None:
    from repdiag.extraction.prepare import Standard

    how = dataclasses.replace(preprocessing(), mean=(0.1, 0.2, 0.3), std=(0.5, 0.6, 0.7))
    x = images(4)
    found = augment.normalize(x / 255, how)
    assert found.is_contiguous(memory_format=torch.channels_last)
    scored = torch.stack([Standard(how)._normalized(image.permute(1, 2, 0).numpy()) for image in x])
    assert torch.allclose(found, scored, atol=1e-5)
