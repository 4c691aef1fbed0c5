"""Image files as cameras, scanners and scientists write them: what color each pixel becomes, or why it has none."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageFile

from repdiag.extraction.images import Undecodable, decode

LEVELS = np.array([[0, 257, 30000, 65535]], dtype=np.uint16)
SEEN = [0, 1, 117, 255]


def encoded(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels(content: bytes) -> np.ndarray:
    image = decode(content)
    assert image.mode == "RGB"
    return np.asarray(image)


def reason(content: bytes) -> str:
    with pytest.raises(Undecodable) as caught:
        decode(content)
    return str(caught.value)


def png16(values: np.ndarray, kind: int, *, clear: int | None = None) -> bytes:
    """A PNG of 16 bits per channel, which Pillow cannot write: `kind` is PNG's color type."""

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    transparent = b"" if clear is None else chunk(b"tRNS", struct.pack(">H", clear))
    body = chunk(b"IHDR", header) + transparent + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def tiff(values: np.ndarray, photometric: int, sample_format: int = 1, orientation: int = 1) -> bytes:
    """An uncompressed TIFF of any type: one strip, channels together."""
    height, width = values.shape[:2]
    channels = 1 if values.ndim == 2 else values.shape[2]
    bits, data = values.dtype.itemsize * 8, values.tobytes()
    where = 8 + 2 + 12 * 11 + 4
    shorts = struct.pack(f"<{2 * channels}H", *[bits] * channels, *[sample_format] * channels)
    one = channels == 1
    tags = [
        (256, 4, 1, width), (257, 4, 1, height), (258, 3, channels, bits if one else where), (259, 3, 1, 1),
        (262, 3, 1, photometric), (273, 4, 1, where + len(shorts)), (274, 3, 1, orientation),
        (277, 3, 1, channels), (278, 4, 1, height), (279, 4, 1, len(data)),
        (339, 3, channels, sample_format if one else where + 2 * channels),
    ]  # fmt: skip
    entries = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + b"\0\0\0\0" + shorts + data


@pytest.mark.parametrize(
    "content",
    [
        png16(LEVELS, 0),
        png16(np.stack([LEVELS] * 3, -1), 2),
        png16(np.stack([LEVELS, np.full_like(LEVELS, 65535)], -1), 4),
        png16(np.stack([LEVELS] * 3 + [np.full_like(LEVELS, 65535)], -1), 6),
        tiff(LEVELS, 1),
        tiff(np.stack([LEVELS] * 3, -1), 2),
        tiff(LEVELS.astype(np.int32), 1, 2),
        tiff((LEVELS / 65535).astype(np.float32), 1, 3),
        encoded(Image.fromarray(np.tile(LEVELS, (8, 2))), "JPEG2000"),
    ],
    ids=["PNG gray", "PNG color", "PNG gray+alpha", "PNG color+alpha", "TIFF gray", "TIFF color", "TIFF 32-bit",
         "TIFF float", "JPEG 2000"],
)  # fmt: skip
def test_sixteen_bits_become_the_eight_that_a_viewer_shows(content: bytes) -> None:
    assert pixels(content)[0, :4].tolist() == [[level] * 3 for level in SEEN]


def test_where_zero_is_white_it_is_white() -> None:
    assert pixels(tiff(LEVELS, 0))[0, :, 0].tolist() == [255 - level for level in SEEN]
    assert pixels(tiff((LEVELS >> 8).astype(np.uint8), 0))[0, :, 0].tolist() == [255, 254, 138, 0]


def test_transparent_sixteen_bits_lie_on_white() -> None:
    assert pixels(png16(LEVELS, 0, clear=30000))[0, :, 0].tolist() == [0, 1, 255, 255]
    faint = np.stack([LEVELS, np.zeros_like(LEVELS)], -1)
    assert pixels(png16(faint, 4)).min() == 255


def test_cmyk_is_read_with_and_without_adobes_mark() -> None:
    """JPEGs store the inks inverted, as Adobe began to, also where its mark was lost."""
    ink = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    adobe = encoded(ink, "JPEG", quality=100)
    assert adobe[2:4] == b"\xff\xee"
    assert np.abs(pixels(adobe).astype(int) - [0, 255, 255]).max() < 4
    plain = adobe[:2] + adobe[2 + 2 + struct.unpack(">H", adobe[4:6])[0] :]
    assert b"Adobe" not in plain
    np.testing.assert_array_equal(pixels(plain), pixels(adobe))
    assert pixels(encoded(ink, "TIFF"))[0, 0].tolist() == [0, 255, 255]


def test_lab_and_luma_chroma_become_color() -> None:
    lab = pixels(encoded(Image.new("LAB", (2, 1), (255, 128, 128)), "TIFF"))
    assert lab.min() >= 250
    red = Image.new("RGB", (2, 1), (255, 0, 0)).convert("YCbCr")
    assert np.abs(pixels(encoded(red, "TIFF")).astype(int) - [255, 0, 0]).max() < 4


def test_one_bit_is_black_and_white() -> None:
    image = Image.new("1", (2, 1))
    image.putpixel((1, 0), 1)
    for kind in ("PNG", "TIFF", "BMP"):
        assert pixels(encoded(image, kind)).tolist() == [[[0, 0, 0], [255, 255, 255]]]


@pytest.mark.parametrize("kind", ["MPO", "AVIF", "TIFF"])
def test_of_several_pictures_in_a_file_the_first_counts(kind: str) -> None:
    first, second = Image.new("RGB", (8, 8), (250, 0, 0)), Image.new("RGB", (8, 8), (0, 0, 250))
    found = pixels(encoded(first, kind, save_all=True, append_images=[second]))
    assert np.abs(found.astype(int) - [250, 0, 0]).max() < 6


def test_a_tiff_is_turned_as_it_says() -> None:
    upright = np.array([[[9, 0, 0], [0, 9, 0]]], dtype=np.uint8)
    assert pixels(tiff(upright, 2, orientation=6)).tolist() == [[[9, 0, 0]], [[0, 9, 0]]]


def test_lossless_jpeg_2000_and_an_icon_are_read() -> None:
    colors = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    np.testing.assert_array_equal(pixels(encoded(Image.fromarray(colors), "JPEG2000")), colors)
    icon = encoded(Image.new("RGBA", (32, 32), (250, 0, 0, 0)), "ICO")
    assert pixels(icon).shape == (32, 32, 3)
    assert pixels(icon).min() == 255


def test_the_smallest_image_is_one() -> None:
    assert pixels(encoded(Image.new("RGB", (1, 1), (1, 2, 3)), "PNG")).tolist() == [[[1, 2, 3]]]


def test_what_heic_and_avif_need_is_said() -> None:
    heic = struct.pack(">I", 24) + b"ftypheic\0\0\0\0mif1heic" + bytes(100)
    assert "pillow-heif" in reason(heic) or "damaged HEIF" in reason(heic)  # the latter where it is installed
    avif = encoded(Image.new("RGB", (8, 8)), "AVIF")
    assert reason(avif[:60])


def test_a_format_that_starts_another_program_is_no_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow hands EPS to Ghostscript, whatever the file's name says."""
    started: list[object] = []
    monkeypatch.setattr("subprocess.check_call", lambda *a, **k: started.append(a))
    monkeypatch.setattr("subprocess.Popen", lambda *a, **k: started.append(a))
    eps = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n%%EOF\n"
    assert reason(eps) == "not an image of a known format"
    assert not started


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "JPEG2000", "BMP", "GIF"])
def test_half_a_file_is_no_image(kind: str) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    content = encoded(Image.fromarray(noise), kind)
    assert reason(content[: len(content) // 2])
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
