"""From preprocessor_config.json to a Preprocessing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from repdiag.encoders.input import Interpolation, Preprocessing, imagenet
from repdiag.encoders.model_folder import read_json
from repdiag.errors import CheckpointError

FILES = ("preprocessor_config.json", "processor_config.json")
RESAMPLE: Mapping[int, Interpolation] = {2: "bilinear", 3: "bicubic"}  # Pillow's numbers
OTHERS = {0: "nearest", 1: "Lanczos", 4: "box", 5: "Hamming"}


def of_folder(folder: Path, size: int, channels: int) -> tuple[Preprocessing, tuple[str, ...]]:
    """What the folder says about its input, and sentences about what of it cannot be followed to the letter.

    Without such a file ImageNet's usual values at the config's `size` are assumed. Raises CheckpointError when
    the file makes no sense.
    """
    for name in FILES:
        if (folder / name).is_file():
            said = read_json(folder / name)
            said = said.get("image_processor", {}) if name == "processor_config.json" else said
            if said:
                try:
                    return _read(said, size, channels, name)
                except (KeyError, TypeError, ValueError, AttributeError, ZeroDivisionError) as error:
                    raise CheckpointError(
                        f"The folder's {name} makes no sense: {type(error).__name__}: {error}",
                        where=str(folder),
                    ) from error
    origin = f"assumed: the folder has no {FILES[0]}; ImageNet's mean and std at the config's size"
    return imagenet(size, size, channels, origin), ()


def _read(
    said: Mapping[str, Any], size: int, channels: int, file: str
) -> tuple[Preprocessing, tuple[str, ...]]:
    notes: list[str] = []
    crop, resize = _sizes(said, size, notes)
    mean, std, assumed = _normalization(said, channels)
    resample = int(said.get("resample", said.get("interpolation", 3)))
    if resample not in RESAMPLE:
        notes.append(
            f"{file} asks for {OTHERS.get(resample, f'filter {resample}')} resampling; bicubic is taken"
        )
    origin = f"the folder's {file}"
    if assumed:
        origin = f"assumed: {file} has no mean and std, ImageNet's are taken"
    known = Preprocessing(crop, resize, RESAMPLE.get(resample, "bicubic"), mean, std, channels, origin)
    return known, tuple(notes)


def _sizes(said: Mapping[str, Any], size: int, notes: list[str]) -> tuple[int, int]:
    """The crop and the shorter side before it."""
    crops = bool(said.get("do_center_crop", False))
    target = said.get("size", size)
    squeezed = False
    if not said.get("do_resize", True):
        resize = size
    elif isinstance(target, Mapping):
        if "shortest_edge" in target:
            resize = int(target["shortest_edge"])
        elif "height" in target:
            resize, squeezed = _square(target, "size"), not crops
        else:
            raise ValueError(f"size {dict(target)} has neither shortest_edge nor height and width")
    else:
        resize = int(target)
        squeezed = not crops and "crop_pct" not in said
    share = said.get("crop_pct")
    if share is not None:  # ConvNeXt's processor: above 384 pixels it squeezes, below it crops
        if resize >= 384:
            squeezed = True
            crop = resize
        else:
            crop, resize = resize, int(resize / float(share))
    elif crops:
        crop = _square(said.get("crop_size", resize), "crop_size")
    else:
        crop = resize
    if crop > resize:
        notes.append(
            f"images are resized to {crop} pixels, not padded from {resize} as the folder's processor does"
        )
        resize = crop
    if squeezed:
        notes.append(
            "the folder's processor squeezes images that are not square; here their center is cropped instead"
        )
    return crop, resize


def _square(value: Any, name: str) -> int:
    if not isinstance(value, Mapping):
        return int(value)
    height, width = int(value["height"]), int(value["width"])
    if height != width:
        raise ValueError(f"{name} is {height}x{width}, and only square inputs are supported")
    return height


def _normalization(
    said: Mapping[str, Any], channels: int
) -> tuple[tuple[float, ...], tuple[float, ...], bool]:
    """Mean and std for values in [0, 1], and whether they had to be assumed.

    The processor computes (v * 255 * factor - offset - mean) / std of a value v in [0, 1].
    """
    scale = 255 * float(said.get("rescale_factor", 1 / 255)) if said.get("do_rescale", True) else 255.0
    offset = 1.0 if said.get("rescale_offset", False) else 0.0
    assumed = False
    if not said.get("do_normalize", True):
        mean, std = (0.0,) * channels, (1.0,) * channels
    elif said.get("image_mean") is None or said.get("image_std") is None:
        usual = imagenet(1, 1, channels, "")
        mean, std, assumed = usual.mean, usual.std, True
    else:
        mean, std = (_per_channel(said[name], channels) for name in ("image_mean", "image_std"))
        efficient = "EfficientNet" in str(said.get("image_processor_type"))
        if said.get("include_top", efficient):  # EfficientNet's processor divides by std a second time
            std = tuple(s * s for s in std)
    if abs(scale - 1) < 1e-6 and not offset:  # 1/255 as decimals
        return mean, std, assumed
    return tuple((m + offset) / scale for m in mean), tuple(s / scale for s in std), assumed


def _per_channel(values: Any, channels: int) -> tuple[float, ...]:
    if isinstance(values, (int, float)):
        return (float(values),) * channels
    found = tuple(map(float, values))
    return found * channels if len(found) == 1 else found
