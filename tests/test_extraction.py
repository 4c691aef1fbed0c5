"""Extraction from data sets as they come: every format and shape of image, damage anywhere, archives."""

from __future__ import annotations

import io
import shutil
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2

from repdiag.encoders import Encoder, Loading, Preprocessing
from repdiag.errors import DataError, ResourceError
from repdiag.extraction import EmbedConfig, embed, thumbnails
from repdiag.extraction.images import Undecodable, augment, bombs_are_errors, decode, preprocess
from repdiag.sources import open_source
from repdiag.store import Store

COLORS = np.random.default_rng(0).integers(0, 256, (30, 45, 3), dtype=np.uint8)
CONFIG = EmbedConfig(device="cpu", batch_size=8, view_samples=6, workers=2)


def how(size: int, resize: int, interpolation: str = "bilinear", channels: int = 3) -> Preprocessing:
    return Preprocessing(size, resize, interpolation, (0.4,) * channels, (0.2,) * channels, channels, "test")


class Net(torch.nn.Module):
    """Remembers what it was given."""

    def __init__(self, channels: int = 3) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.seen = torch.nn.Conv2d(channels, 7, 3, padding=1), 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen += len(x)
        assert not torch.is_grad_enabled()
        return self.conv(x).relu().mean((2, 3))


def encoder(net: torch.nn.Module, channels: int = 3) -> Encoder:
    return Encoder(net.eval(), "net", "net", 7, how(16, 20, channels=channels), "a" * 64, Loading("test"))


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def color(i: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(i).integers(0, 256, (22, 25, 3), dtype=np.uint8))


def folder(root: Path, contents: dict[str, bytes]) -> Path:
    for name, content in contents.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


# ------------------------------------------------------------------------------------------ formats


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "TIFF", "PNG", "MPO"])
def test_orientation_is_applied_wherever_a_format_keeps_it(kind: str) -> None:
    """A photograph taken upright is upright, whichever way its file says so, and turned once only."""
    exif = Image.Exif()
    exif[0x0112] = 6  # turn right by 90 degrees to view
    options: dict[str, object] = {"lossless": True} if kind == "WEBP" else {}
    options |= {"quality": 100, "subsampling": 0} if kind in ("JPEG", "MPO") else {}
    smooth = Image.fromarray(COLORS[:3, :4]).resize((64, 48), Image.Resampling.BICUBIC)
    found = np.asarray(decode(encoded(smooth, kind, exif=exif, **options))).astype(int)
    expected = np.asarray(smooth.transpose(Image.Transpose.ROTATE_270)).astype(int)
    assert found.shape == expected.shape == (64, 48, 3)
    assert np.abs(found - expected).mean() < 3


@pytest.mark.parametrize(
    ("mode", "fill", "kinds", "expected"),
    [
        ("1", 1, ["PNG", "TIFF", "BMP", "GIF", "PPM"], (255, 255, 255)),
        ("L", 77, ["PNG", "TIFF", "BMP", "GIF", "PPM", "WEBP"], (77, 77, 77)),
        ("LA", (0, 0), ["PNG", "TIFF", "WEBP"], (255, 255, 255)),
        ("LA", (0, 51), ["PNG", "TIFF"], (204, 204, 204)),
        ("RGB", (9, 8, 7), ["PNG", "TIFF", "BMP", "PPM"], (9, 8, 7)),
        ("RGBA", (0, 100, 0, 51), ["PNG", "TIFF"], (204, 224, 204)),
        ("PA", 0, ["TIFF"], (255, 255, 255)),
        ("CMYK", (0, 255, 255, 0), ["TIFF"], (255, 0, 0)),
        ("I;16", 257 * 40, ["PNG", "TIFF"], (40, 40, 40)),
        ("I;16B", 257 * 40, ["TIFF"], (40, 40, 40)),
        ("I", 257 * 40, ["TIFF"], (40, 40, 40)),
    ],
)
def test_every_mode_becomes_the_color_that_a_person_sees(
    mode: str, fill: object, kinds: list[str], expected: tuple[int, int, int]
) -> None:
    for kind in kinds:
        options = {"lossless": True} if kind == "WEBP" else {}
        with bombs_are_errors():
            found = decode(encoded(Image.new(mode, (5, 4), fill), kind, **options))
        assert found.mode == "RGB"
        assert np.abs(np.asarray(found).astype(int) - expected).max() <= 1, kind


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM"])
def test_damage_anywhere_gives_an_image_or_a_reason(kind: str) -> None:
    """Cut or changed anywhere: whole as far as can be told, or Undecodable, with words and no address."""
    noise = np.random.default_rng(0)
    content = encoded(Image.fromarray(COLORS), kind)
    reasons = []
    with bombs_are_errors():
        for trial in range(150):
            damaged = bytearray(content)
            if trial % 3 == 0:
                del damaged[noise.integers(len(damaged)) :]
            for place in noise.integers(0, max(1, min(len(damaged), 60 if trial % 3 == 1 else 10**9)), 4):
                damaged[place : place + 1] = noise.bytes(1)
            try:
                assert decode(bytes(damaged)).mode == "RGB"
            except Undecodable as undecodable:
                reasons.append(str(undecodable))
    assert reasons
    assert all(reason and "0x" not in reason for reason in reasons)


# ------------------------------------------------------------------------------------------ shapes


def test_preprocessing_of_any_size_equals_torchvision() -> None:
    """200 random sizes from 1 to 500 pixels a side, to the bit; and a view of each can be made."""
    noise = np.random.default_rng(1)
    for trial in range(200):
        width, height = (int(2 ** noise.uniform(0, 9)) for _ in range(2))
        image = Image.fromarray(noise.integers(0, 256, (height, width, 3), dtype=np.uint8))
        size = int(noise.integers(1, 50))
        one = how(size, size + int(noise.integers(0, 20)), ["bilinear", "bicubic"][trial % 2])
        reference = v2.Compose(
            [v2.Resize(one.resize, v2.InterpolationMode(one.interpolation)), v2.CenterCrop(size)]
        )
        np.testing.assert_array_equal(preprocess(image, one), np.asarray(reference(image)))
        assert augment(image, one, np.random.default_rng(trial)).shape == (size, size, 3)


@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_every_shape_and_mode_in_one_data_set(tmp_path: Path, channels: int) -> None:
    """A single pixel, strips, gray, palette, 16 bits: each row is what the plain loop gives for it alone."""
    images = {
        "pixel.png": Image.new("RGB", (1, 1), (200, 10, 10)),
        "flat.png": Image.fromarray(np.tile(COLORS[:3], (1, 45, 1))[:, :2000]),
        "tall.png": Image.fromarray(np.tile(COLORS[:, :3], (67, 1, 1))[:2000]),
        "gray.png": Image.fromarray(COLORS).convert("L"),
        "palette.gif": Image.fromarray(COLORS).quantize(),
        "alpha.webp": Image.fromarray(COLORS).convert("RGBA"),
        "print.jpg": Image.fromarray(COLORS).convert("CMYK"),
        "deep.tif": Image.fromarray(np.arange(30 * 45, dtype=np.uint16).reshape(30, 45) * 48),
    }
    kinds = {".jpg": "JPEG", ".tif": "TIFF"}
    contents = {
        name: encoded(image, kinds.get(Path(name).suffix, Path(name).suffix[1:].upper()))
        for name, image in images.items()
    }
    root = folder(tmp_path, contents)
    net = Net(channels)
    source = open_source(str(root))
    found = embed(encoder(net, channels), source, replace(CONFIG, batch_size=3), store=None)
    assert found.corrupt == ()
    reference = v2.Compose(
        [
            v2.Resize(20),
            v2.CenterCrop(16),
            v2.Grayscale() if channels == 1 else v2.Identity(),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize((0.4,) * channels, (0.2,) * channels),
        ]
    )
    for row, name in enumerate(found.ids):
        with torch.inference_mode():
            alone = net(reference(decode(source.read(row)))[None])[0].numpy()
        np.testing.assert_allclose(found.features[row], alone, rtol=1e-5, atol=1e-5, err_msg=name)
    assert found.views is not None
    assert found.views.features.shape == (2, 6, 7)


# ------------------------------------------------------------------------------------------ archives


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_an_archive_gives_the_embeddings_of_its_folder(tmp_path: Path, kind: str) -> None:
    root = folder(tmp_path / "data", {f"{'ab'[i % 2]}/{i:02d}.png": encoded(color(i)) for i in range(20)})
    packed = shutil.make_archive(str(root), {"tar.gz": "gztar"}.get(kind, kind), root)
    one, other = (embed(encoder(Net()), open_source(str(p)), CONFIG, store=None) for p in (root, packed))
    np.testing.assert_array_equal(one.features, other.features)
    assert one.views is not None
    assert other.views is not None
    np.testing.assert_array_equal(one.views.features, other.views.features)
    assert one.ids == other.ids


def test_what_an_archive_has_lost_for_good_is_cached_as_lost(tmp_path: Path) -> None:
    """A damaged zip entry will not be better the next time, so its batch is not made again."""
    path = tmp_path / "data.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(16):
            archive.writestr(f"{i:02d}.png", encoded(color(i)))
    content = bytearray(path.read_bytes())
    content[200] ^= 0xFF
    path.write_bytes(content)
    store, second = Store(tmp_path / "cache"), Net()
    first = embed(encoder(Net()), open_source(str(path)), CONFIG, store=store)
    assert [(lost.path, "damaged in the zip" in lost.reason) for lost in first.corrupt] == [("00.png", True)]
    again = embed(encoder(second), open_source(str(path)), CONFIG, store=store)
    assert second.seen == 0
    assert again.corrupt == first.corrupt
    np.testing.assert_array_equal(again.features, first.features)


def test_a_link_to_nowhere_is_tried_again(tmp_path: Path) -> None:
    """What the system cannot read today may be there tomorrow."""
    root = folder(tmp_path / "data", {f"{i:02d}.png": encoded(color(i)) for i in range(16)})
    (root / "03.png").rename(tmp_path / "away.png")
    (root / "03.png").symlink_to(tmp_path / "gone.png")
    store, second = Store(tmp_path / "cache"), Net()
    first = embed(encoder(Net()), open_source(str(root)), CONFIG, store=store)
    assert [lost.reason for lost in first.corrupt] == ["cannot be read: No such file or directory"]
    embed(encoder(second), open_source(str(root)), CONFIG, store=store)
    assert 8 <= second.seen < 32  # one batch of two, with its views


def test_a_file_that_goes_away_during_the_run_is_named(tmp_path: Path) -> None:
    root = folder(tmp_path, {f"{i:02d}.png": encoded(color(i)) for i in range(16)})
    source = open_source(str(root))
    (root / "05.png").unlink()
    found = embed(encoder(Net()), source, CONFIG, store=None)
    assert [lost.path for lost in found.corrupt] == ["05.png"]
    assert len(found) == 15
    assert set(thumbnails(source, [4, 5, 6])) == {"04.png", "06.png"}


def test_a_test_part_that_cannot_be_read_is_refused_though_the_train_part_can(tmp_path: Path) -> None:
    contents = {f"train/a/{i}.png": encoded(color(i)) for i in range(9)}
    contents |= {"test/a/0.png": b"x", "test/a/1.png": encoded(color(9))}
    source = open_source(str(folder(tmp_path, contents)))
    with pytest.raises(DataError, match=r"1 of 11 images cannot be read.*fewer than two are left"):
        embed(encoder(Net()), source, replace(CONFIG, max_corrupt=1.0), store=None)


def test_when_every_view_sample_is_corrupt_there_are_no_views(tmp_path: Path) -> None:
    source = open_source(str(folder(tmp_path, {f"{i}.png": encoded(color(i)) for i in range(9)})))
    config = replace(CONFIG, view_samples=1)
    whole = embed(encoder(Net()), source, config, store=None)
    assert whole.views is not None
    (tmp_path / whole.ids[whole.views.rows[0]]).write_bytes(b"x")
    found = embed(encoder(Net()), source, config, store=None)
    assert len(found) == 8
    assert found.views is None


# ------------------------------------------------------------------------------------------ failures on the way


@pytest.mark.parametrize("fails", ["nan", "memory"])
def test_what_was_done_before_an_encoder_fails_is_kept(tmp_path: Path, fails: str) -> None:
    """The third batch goes wrong; a run with a sound encoder then makes only what is missing."""

    class Failing(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            found = super().forward(x)
            if self.seen > 20:
                if fails == "memory":
                    raise torch.OutOfMemoryError("CUDA out of memory.")
                return found * torch.nan
            return found

    root = folder(tmp_path / "data", {f"{i:02d}.png": encoded(color(i)) for i in range(40)})
    config, store = replace(CONFIG, views=0), Store(tmp_path / "cache")
    with pytest.raises(DataError if fails == "nan" else ResourceError):
        embed(encoder(Failing()), open_source(str(root)), config, store=store)
    net = Net()
    found = embed(encoder(net), open_source(str(root)), config, store=store)
    assert net.seen == 24
    assert found.provenance["run"]["rows_reused"] == 16
    whole = embed(encoder(Net()), open_source(str(root)), config, store=None)
    np.testing.assert_array_equal(found.features, whole.features)


def test_too_little_memory_on_a_cpu_halves_the_batch_too(tmp_path: Path) -> None:
    """There torch raises a plain RuntimeError."""

    class Small(Net):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            if len(x) > 3:
                raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ...")
            return super().forward(x)

    root = folder(tmp_path, {f"{i:02d}.png": encoded(color(i)) for i in range(20)})
    found = embed(encoder(Small()), open_source(str(root)), CONFIG, store=None)
    assert found.provenance["batch_size"] == 2
    whole = embed(encoder(Net()), open_source(str(root)), CONFIG, store=None)
    np.testing.assert_allclose(found.features, whole.features, rtol=1e-5, atol=1e-6)
    assert found.views is not None
    assert whole.views is not None
    np.testing.assert_allclose(found.views.features, whole.views.features, rtol=1e-5, atol=1e-6)
