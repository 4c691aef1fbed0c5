"""Decoding as a person sees an image, preprocessing as torchvision does it, and seeded views."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps
from torchvision.transforms import v2

from repdiag.encoders import Preprocessing
from repdiag.extraction.images import Undecodable, augment, bombs_are_errors, decode, preprocess, thumbnails
from repdiag.types import Manifest

RNG = np.random.default_rng(0)
COLORS = RNG.integers(0, 256, (6, 9, 3), dtype=np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(content: bytes) -> np.ndarray:
    image = decode(content)
    assert image.mode == "RGB"
    return np.asarray(image)


def how(
    size: int, resize: int | None = None, interpolation: str = "bilinear", channels: int = 3
) -> Preprocessing:
    return Preprocessing(
        size, resize or size, interpolation, (0.5,) * channels, (0.25,) * channels, channels, "test"
    )


# ------------------------------------------------------------------------------------------ decoding


def test_color_stays() -> None:
    np.testing.assert_array_equal(pixels(encoded(Image.fromarray(COLORS))), COLORS)


@pytest.mark.parametrize("mode", ["L", "1"])
def test_gray_is_repeated(mode: str) -> None:
    gray = Image.fromarray(COLORS).convert(mode)
    expected = np.repeat(np.asarray(gray.convert("L"))[:, :, None], 3, axis=2)
    np.testing.assert_array_equal(pixels(encoded(gray)), expected)


def test_transparency_lies_on_white() -> None:
    half = Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    half.putpixel((1, 0), (200, 0, 0, 255))
    assert pixels(encoded(half)).tolist() == [[[255, 255, 255], [200, 0, 0]]]
    gray = Image.new("LA", (1, 1), (0, 0))
    assert pixels(encoded(gray)).tolist() == [[[255, 255, 255]]]


def test_a_transparent_palette_color_lies_on_white() -> None:
    palette = Image.new("P", (2, 1), 0)
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    assert pixels(encoded(palette)).tolist() == [[[10, 20, 30], [40, 50, 60]]]
    assert pixels(encoded(palette, transparency=0)).tolist() == [[[255, 255, 255], [40, 50, 60]]]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_not_clipped(kind: str) -> None:
    values = np.array([[0, 257, 30000, 65535]], dtype=np.uint16)
    found = pixels(encoded(Image.fromarray(values), kind))
    assert found[0, :, 0].tolist() == [0, 1, 117, 255]


def test_floats_from_zero_to_one_are_scaled_and_others_refused() -> None:
    values = np.array([[0, 0.5, 1]], dtype=np.float32)
    assert pixels(encoded(Image.fromarray(values), "TIFF"))[0, :, 0].tolist() == [0, 128, 255]
    with pytest.raises(Undecodable, match="gray values outside 0-1"):
        decode(encoded(Image.fromarray(values * 9), "TIFF"))


def test_cmyk_becomes_color() -> None:
    cyan = Image.new("CMYK", (8, 8), (255, 0, 0, 0))
    assert np.abs(pixels(encoded(cyan, "JPEG", quality=100)).astype(int) - [0, 255, 255]).max() < 8


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_the_exif_orientation_is_applied(orientation: int, mode: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(COLORS).convert(mode)
    stored = image.copy()
    stored.getexif()[0x0112] = orientation
    expected = ImageOps.exif_transpose(stored)
    assert (expected.size == (6, 9)) is (orientation > 4)
    np.testing.assert_array_equal(pixels(encoded(image, exif=exif)), np.asarray(expected.convert("RGB")))


def test_damaged_exif_does_not_lose_the_image() -> None:
    content = encoded(Image.fromarray(COLORS), exif=b"Exif\0\0MM\0*garbage")
    with bombs_are_errors():  # which keeps Pillow's warnings to itself
        np.testing.assert_array_equal(pixels(content), COLORS)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_counts(kind: str) -> None:
    first, second = Image.new("RGB", (4, 4), "red"), Image.new("RGB", (4, 4), "blue")
    options = {"lossless": True} if kind == "WEBP" else {}
    found = pixels(encoded(first, kind, save_all=True, append_images=[second], **options))
    np.testing.assert_array_equal(found, np.asarray(first))


def bomb(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(b"\0" * 99))
        + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"GIF", "known format"),
        (b"<html>not found</html>", "known format"),
        (encoded(Image.fromarray(COLORS))[:90], "truncated"),
        (encoded(Image.fromarray(np.tile(COLORS, (9, 9, 1))), "JPEG")[:-200], "truncated"),
        (bomb(100_000, 100_000), "bomb"),
        (bomb(12_000, 12_000), "bomb"),
    ],
    ids=["nothing", "letters", "a page", "half a PNG", "half a JPEG", "a bomb", "a small bomb"],
)
def test_what_cannot_be_decoded_says_why(content: bytes, reason: str) -> None:
    with bombs_are_errors(), pytest.raises(Undecodable, match=reason) as caught:
        decode(content)
    assert str(caught.value)
    assert "0x" not in str(caught.value)  # an address would make two reports differ


# ------------------------------------------------------------------------------------------ preprocessing


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("shape", [(33, 47), (47, 33), (32, 32), (200, 31), (20, 20), (36, 41)])
@pytest.mark.parametrize(("size", "resize"), [(32, 32), (28, 36), (27, 36)])
def test_preprocessing_equals_torchvision(
    shape: tuple[int, int], size: int, resize: int, interpolation: str
) -> None:
    image = Image.fromarray(RNG.integers(0, 256, (*shape, 3), dtype=np.uint8))
    reference = v2.Compose([v2.Resize(resize, v2.InterpolationMode(interpolation)), v2.CenterCrop(size)])
    np.testing.assert_array_equal(
        preprocess(image, how(size, resize, interpolation)), np.asarray(reference(image))
    )


def test_one_channel_is_luminance() -> None:
    image = Image.fromarray(np.tile(COLORS, (2, 1, 1))[:9])
    found = preprocess(image, how(9, channels=1))
    np.testing.assert_array_equal(found[:, :, 0], np.asarray(image.convert("L")))


def test_sides_too_unequal_to_resize_are_refused() -> None:
    with pytest.raises(Undecodable, match="too unequal"):
        preprocess(Image.new("RGB", (1, 60_000)), how(224))


# ------------------------------------------------------------------------------------------ views


def test_views_follow_their_seed() -> None:
    image = Image.fromarray(RNG.integers(0, 256, (40, 40, 3), dtype=np.uint8))
    one, same, other = (augment(image, how(32), np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, same)
    assert one.shape == (32, 32, 3)
    assert np.abs(one.astype(int) - other).mean() > 5


def test_views_are_crops_flips_and_moderate_jitter() -> None:
    """On a horizontal ramp, half the views run backwards, and none shows less than half of the range."""
    ramp = Image.fromarray(np.tile(np.arange(50, 178, dtype=np.uint8)[None, :, None], (128, 1, 3)))
    views = [augment(ramp, how(32), np.random.default_rng(seed)).astype(float) for seed in range(300)]
    slopes = np.array([view[:, -1].mean() - view[:, 0].mean() for view in views])
    assert 110 < (slopes < 0).sum() < 190
    # area >= 0.5 and aspect >= 3/4 make a width of at least 0.61; contrast and brightness >= 0.8 each
    assert np.abs(slopes).min() > 0.61 * 128 * 0.8 * 0.8 - 6
    assert np.abs(slopes).max() < 128 * 1.2 * 1.2 + 1


def test_a_view_of_an_image_too_long_for_any_box_is_whole() -> None:
    strip = Image.fromarray(RNG.integers(0, 256, (4, 400, 3), dtype=np.uint8))
    assert augment(strip, how(16), np.random.default_rng(0)).shape == (16, 16, 3)


# ------------------------------------------------------------------------------------------ thumbnails


class Fake:
    name = "fake"

    def __init__(self, contents: list[bytes]) -> None:
        self.contents = contents
        self.manifest = Manifest(tuple(f"{i}.png" for i in range(len(contents))), None, (), None, "f")

    def read(self, index: int) -> bytes:
        if not self.contents[index]:
            raise OSError("gone")
        return self.contents[index]


def test_thumbnails_are_small_jpegs_by_path() -> None:
    source = Fake([encoded(Image.new("RGBA", (300, 150))), b"broken", b"", encoded(Image.fromarray(COLORS))])
    made = thumbnails(source, [0, 1, 2, 3])
    sizes = {path: Image.open(io.BytesIO(content)).size for path, content in made.items()}
    assert sizes == {"0.png": (64, 32), "3.png": (9, 6)}
    assert all(content.startswith(b"\xff\xd8") for content in made.values())
