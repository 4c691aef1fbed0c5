"""From encoded bytes to pixels: decoding, preprocessing, augmentation, thumbnails.

Every image becomes what a person sees in a viewer: turned by its EXIF orientation, transparency on white, the
first frame of an animation, 16-bit gray scaled (not clipped) to 8 bits. Color profiles are not applied. The content
tells the format, not the name. What cannot be decoded whole, or is a decompression bomb by Pillow's limit, raises
`Undecodable`.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import math
import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageEnhance, ImageOps, UnidentifiedImageError

from repdiag.encoders import Preprocessing
from repdiag.types import ImageSource

Pixels = npt.NDArray[np.uint8]
AUGMENTATION = (
    "random resized crop (area 0.5-1.0, aspect 3/4-4/3), horizontal flip (p = 0.5), "
    "brightness, contrast and saturation jitter (0.8-1.2)"
)
CHUNK = 256
"""Small pictures that are read ahead: 7 MB of 96 pixels a side."""
_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_FORMATS = (
    "JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "PPM", "TIFF", "MPO", "JPEG2000", "AVIF", "HEIF", "ICO",
)  # fmt: skip
"""What Pillow may take a file for: formats of pictures. Of the others some start a program (EPS: Ghostscript)."""
_MISSING = {
    b"avif": ("AVIF", "an AVIF image, which Pillow reads from version 11.3 on"),
    b"avis": ("AVIF", "an AVIF image, which Pillow reads from version 11.3 on"),
} | dict.fromkeys(
    (b"heic", b"heix", b"hevc", b"heim", b"heis", b"mif1", b"msf1"),
    ("HEIF", "a HEIC image, which needs a package: pip install pillow-heif"),
)
"""By the brand of an ISO media file: its format, and what to say where Pillow does not know that."""
_PHOTOMETRIC = 262  # TIFF's tag; 0: zero is white
_WHITE = (255, 255, 255, 255)
_SPECIAL = frozenset({"transparency", "exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"})


class Undecodable(Exception):
    """An image that cannot be decoded; the message is the reason."""


@contextmanager
def bombs_are_errors() -> Iterator[None]:
    """Pillow warns of a decompression bomb from one limit on and refuses at twice that: here it refuses.

    Its other warnings, one per slightly odd file, are not shown.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


def decode(content: bytes, side: int | None = None) -> Image.Image:
    """The image in `content` as RGB; raises Undecodable.

    With `side` a large JPEG is decoded at an eighth, a quarter or a half of its size, so long as neither side falls
    below 2 `side`: for a picture of `side` pixels that is as good, and several times as fast.
    """
    if not content:
        raise Undecodable("the file is empty")
    try:
        with Image.open(io.BytesIO(content), formats=_formats()) as image:
            if side is not None:
                image.draft(None, (2 * side, 2 * side))
            image.load()
            if image.mode == "RGB" and _SPECIAL.isdisjoint(image.info):
                return image
            zero_is_white = getattr(image, "tag_v2", {}).get(_PHOTOMETRIC) == 0
            return _to_rgb(_upright(image), zero_is_white)
    except UnidentifiedImageError:
        raise Undecodable(_unknown(content)) from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise Undecodable("a decompression bomb: far more pixels than any photograph") from None
    except Exception as error:  # Pillow's decoders raise nearly anything on damaged data
        raise Undecodable(str(error) or type(error).__name__) from error


@functools.cache
def _formats() -> tuple[str, ...]:
    """Those of `_FORMATS` that this Pillow knows, HEIF with the package pillow-heif."""
    Image.init()
    with contextlib.suppress(ImportError):
        importlib.import_module("pillow_heif").register_heif_opener()
    return tuple(name for name in _FORMATS if name in Image.OPEN)


def _unknown(content: bytes) -> str:
    """Why Pillow recognizes nothing in `content`."""
    name, reason = _MISSING.get(content[8:12], ("", "")) if content[4:8] == b"ftyp" else ("", "")
    if name:
        return f"a damaged {name} image" if name in _formats() else reason
    return "not an image of a known format"


def _upright(image: Image.Image) -> Image.Image:
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # a damaged EXIF block is no reason to lose the image
        return image


def _to_rgb(image: Image.Image, zero_is_white: bool = False) -> Image.Image:
    if image.mode.startswith("I;16") or image.mode in {"I", "F"}:
        return Image.fromarray(_gray(image, zero_is_white)).convert("RGB")
    if image.mode in {"RGBA", "LA", "PA", "RGBa"} or "transparency" in image.info:
        white = Image.new("RGBA", image.size, _WHITE)
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image.convert("RGB")


def _gray(image: Image.Image, zero_is_white: bool) -> Pixels:
    """The values of a gray image of more than 8 bits, with its transparent value as white."""
    values = np.asarray(image)
    gray = _eight_bits(values)
    if zero_is_white:  # Pillow turns only images of 8 bits around
        gray = 255 - gray
    clear = image.info.get("transparency")
    return np.where(values == clear, 255, gray).astype(np.uint8) if isinstance(clear, int) else gray


def _eight_bits(values: npt.NDArray[np.generic]) -> Pixels:
    """Gray values of 16-bit range (or, for floats, of the range 0-1) scaled to 0-255."""
    numbers = values.astype(np.float64)
    top = 1.0 if values.dtype.kind == "f" else 65535.0
    if not (np.isfinite(numbers).all() and numbers.min() >= 0 and numbers.max() <= top):
        raise Undecodable(f"gray values outside 0-{top:.0f}")
    return np.rint(numbers * (255 / top)).astype(np.uint8)


def preprocess(image: Image.Image, how: Preprocessing) -> Pixels:
    """Shorter side to `how.resize`, center crop to `how.size`: (size, size, channels), values 0-255.

    Raises Undecodable where the sides are so unequal that the resized image would be a bomb.
    """
    width, height = image.size
    short = min(width, height)
    if short != how.resize:
        # The longer side is cut to whole pixels as torchvision's Resize does it.
        width, height = (how.resize * side // short for side in (width, height))
        if width * height > (Image.MAX_IMAGE_PIXELS or math.inf):
            raise Undecodable(f"its sides are too unequal ({image.width} x {image.height})")
        image = image.resize((width, height), _FILTERS[how.interpolation])
    if (width, height) != (how.size, how.size):
        left, top = round((width - how.size) / 2), round((height - how.size) / 2)
        image = image.crop((left, top, left + how.size, top + how.size))
    return _pixels(image, how)


def augment(image: Image.Image, how: Preprocessing, rng: np.random.Generator) -> Pixels:
    """One random view, as `AUGMENTATION` says: (size, size, channels), values 0-255."""
    box = _random_box(*image.size, rng)
    view = image.resize((how.size, how.size), _FILTERS[how.interpolation], box=box)
    if rng.random() < 0.5:
        view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        view = enhance(view).enhance(rng.uniform(0.8, 1.2))
    return _pixels(view, how)


def _random_box(width: int, height: int, rng: np.random.Generator) -> tuple[float, float, float, float]:
    """A box of 0.5-1.0 of the area with an aspect of 3/4-4/3 if one fits in ten draws, else everything."""
    for _ in range(10):
        area = rng.uniform(0.5, 1.0) * width * height
        aspect = np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3)))
        w, h = np.sqrt(area * aspect), np.sqrt(area / aspect)
        if w <= width and h <= height:
            left, top = rng.uniform(0, width - w), rng.uniform(0, height - h)
            return float(left), float(top), float(left + w), float(top + h)
    return 0.0, 0.0, float(width), float(height)


def _pixels(image: Image.Image, how: Preprocessing) -> Pixels:
    return np.asarray(image) if how.channels == 3 else np.asarray(image.convert("L"))[:, :, None]


def small_pictures(
    source: ImageSource, indices: Sequence[int], sides: Sequence[int], workers: int | None = None
) -> Iterator[Pixels | None]:
    """The images `indices` shrunk to at most `sides` pixels a side, each (h, w, 3), in order; None: unreadable.

    Smaller images keep their size. Read and decoded in `workers` threads (None: one for each core that may be used,
    16 at most), CHUNK images ahead of whoever takes them, so that memory stays bounded.
    """

    def one(index: int, side: int) -> Pixels | None:
        try:
            image = decode(source.read(index), side)
        except (OSError, Undecodable):
            return None
        image.thumbnail((side, side), Image.Resampling.BICUBIC)
        return np.asarray(image)

    with ThreadPoolExecutor(workers or _cores(), thread_name_prefix="repdiag-picture") as pool:
        for at in range(0, len(indices), CHUNK):
            some = slice(at, at + CHUNK)
            with bombs_are_errors():
                done = list(pool.map(one, indices[some], sides[some]))
            yield from done


def _cores() -> int:
    return min(16, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def jpeg(pixels: Pixels, quality: int = 85) -> bytes:
    """An image (h, w, 3) as a JPEG: the same bytes for the same pixels."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=quality, optimize=True)
    return buffer.getvalue()


def thumbnails(source: ImageSource, indices: Sequence[int], size: int = 64) -> dict[str, bytes]:
    """JPEGs of at most `size` pixels a side of the images `indices`, by path; unreadable ones are left out.

    Smaller images keep their size.
    """
    found = small_pictures(source, indices, [size] * len(indices))
    paths = (source.manifest.paths[index] for index in indices)
    return {path: jpeg(pixels) for path, pixels in zip(paths, found, strict=True) if pixels is not None}
