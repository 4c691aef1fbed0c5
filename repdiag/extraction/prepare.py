"""From a picture to the network's input: as a `Preprocessing` says, or as the user's own function does."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from PIL import Image, ImageOps

from repdiag.encoders import Preprocessing
from repdiag.errors import UsageError
from repdiag.extraction.images import AUGMENTATION, Pixels, augment, decode, preprocess

ViewTransform = Callable[[Any], Any]


def encoded(image: Image.Image) -> bytes:
    """A picture as a file that loses nothing of what is seen: the decoder of files is then the only one."""
    upright = ImageOps.exif_transpose(image)
    plain = upright.mode in ("RGB", "L") and "transparency" not in upright.info
    form = (
        "PPM" if plain else "PNG" if upright.mode in ("RGBA", "LA", "P", "1", "I;16", "RGB", "L") else "TIFF"
    )
    buffer = io.BytesIO()
    upright.save(buffer, form, **({"compress_level": 1} if form == "PNG" else {}))
    return buffer.getvalue()


def rgb(image: Image.Image) -> Image.Image:
    """A picture as a person sees it, by the rules for files."""
    return decode(encoded(image))


class Prepare(Protocol):
    """Pictures (RGB) to inputs (C, H, W) float32."""

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """The input that the picture itself is."""
        ...

    def view(self, image: Image.Image, rng: np.random.Generator) -> torch.Tensor:
        """The input that a random view of the picture is."""
        ...

    def describe(self) -> dict[str, Any]:
        """What a report says of it, ready for JSON."""
        ...


@dataclass(frozen=True)
class Standard:
    """As `how` says, to the bit what the extraction from files does."""

    how: Preprocessing

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """Resize, crop and normalize."""
        return self._normalized(preprocess(image, self.how))

    def view(self, image: Image.Image, rng: np.random.Generator) -> torch.Tensor:
        """A random view, as `AUGMENTATION` says."""
        return self._normalized(augment(image, self.how, rng))

    def describe(self) -> dict[str, Any]:
        """As for an encoder from a file."""
        return self.how.describe()

    def _normalized(self, pixels: Pixels) -> torch.Tensor:
        scale = torch.tensor([1 / (255 * std) for std in self.how.std]).view(-1, 1, 1)
        pairs = zip(self.how.mean, self.how.std, strict=True)
        shift = torch.tensor([mean / std for mean, std in pairs]).view(-1, 1, 1)
        return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float().mul_(scale).sub_(shift).contiguous()


@dataclass(frozen=True)
class Custom:
    """By the user's function of a PIL image; views are drawn before it, as squares of the shorter side."""

    function: Callable[[Image.Image], Any]

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """What the function gives; raises UsageError unless that is a (C, H, W) tensor or array of floats."""
        try:
            found = self.function(image)
        except Exception as error:  # the user's code may fail in any way
            text = (str(error).strip() or "-").splitlines()[0][:200]
            raise UsageError(f"preprocessing= failed: {type(error).__name__}: {text}") from error
        tensor = torch.as_tensor(found) if isinstance(found, np.ndarray) else found
        if not isinstance(tensor, torch.Tensor) or tensor.dim() != 3 or not tensor.is_floating_point():
            kind = type(found).__name__
            shape = f" {tuple(tensor.shape)} {tensor.dtype}" if isinstance(tensor, torch.Tensor) else ""
            raise UsageError(
                f"preprocessing= gives a {kind}{shape}", do="It must give floats of shape (C, H, W)"
            )
        return tensor

    def view(self, image: Image.Image, rng: np.random.Generator) -> torch.Tensor:
        """The function of a random view."""
        side = min(image.size)
        whole = Preprocessing(side, side, "bilinear", (0.0,) * 3, (1.0,) * 3, 3, "a view")
        return self(Image.fromarray(augment(image, whole, rng)))

    def describe(self) -> dict[str, Any]:
        """The function's name: what it does is not known here."""
        name = getattr(self.function, "__qualname__", type(self.function).__qualname__)
        return {"summary": f"a function of the user's own: {name}"}


def view_of(
    sample: Image.Image | torch.Tensor,
    prepare: Prepare | None,
    transform: ViewTransform | None,
    rng: np.random.Generator,
) -> torch.Tensor:
    """One random view of a sample: by `transform` where there is one, else as `prepare` draws it."""
    if transform is None:
        assert prepare is not None
        assert isinstance(sample, Image.Image)
        return prepare.view(sample, rng)
    found = transform(sample)
    if isinstance(found, Image.Image) and prepare is not None:
        return prepare(found.convert("RGB"))
    if not isinstance(found, torch.Tensor):
        raise UsageError(
            f"view_transform= gives a {type(found).__name__}", do="It must give an input tensor (C, H, W)"
        )
    return found


def described(transform: ViewTransform | None) -> str:
    """How the views were drawn."""
    if transform is None:
        return AUGMENTATION
    return f"view_transform {getattr(transform, '__qualname__', type(transform).__qualname__)}"
