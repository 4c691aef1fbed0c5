"""Data that a program has in memory, in two forms.

Images of which all is known up front become an `ImageSource`, which is embedded like one from disk. What can
only be known by going through it once (a loader, a data set that computes its items) becomes a `Stream`.
"""

from __future__ import annotations

import hashlib
import itertools
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.utils.data import DataLoader, IterableDataset

from repdiag.errors import DataError, UsageError
from repdiag.extraction.images import Undecodable, bombs_are_errors, decode
from repdiag.extraction.labels import class_labels, column, split
from repdiag.extraction.loaders import batches, of_dataset, of_loader
from repdiag.extraction.prepare import encoded
from repdiag.extraction.stream import Piece, Stream, Told
from repdiag.sources import Images
from repdiag.types import CorruptImage, EmbeddingSet, ImageSource, Manifest


def understand(data: Any, told: Told) -> EmbeddingSet | ImageSource | Stream:
    """What `data` is; paths are not looked at here. Raises UsageError or DataError when that is unclear."""
    if isinstance(data, tuple) and len(data) == 2 and not isinstance(data[0], (str, Path, Image.Image)):
        if told.labels is not None and told.labels is not False:
            raise UsageError("The labels are given twice: in the tuple and as labels=")
        data, told = data[0], told if told.labels is False else replace(told, labels=data[1])
    if type(data).__module__.partition(".")[0] == "pandas" and hasattr(data, "columns"):
        data, told = _frame(data, told)
    if isinstance(data, (EmbeddingSet, DataLoader)) or _is_source(data):
        return _labeled(data, told) if not isinstance(data, DataLoader) else of_loader(data, told)
    if isinstance(data, (np.ndarray, torch.Tensor)):
        return _array(data, told)
    if isinstance(data, (list, tuple)):
        return _listed(data, told)
    if isinstance(data, IterableDataset):
        raise UsageError(
            "An IterableDataset has no batches of its own", do="Give a DataLoader around it, as for training"
        )
    if hasattr(data, "__getitem__") and hasattr(data, "__len__") and not isinstance(data, Mapping):
        return of_dataset(data, told)
    if hasattr(data, "__iter__") and not isinstance(data, (Mapping, str, bytes)):
        return Stream(
            type(data).__name__,
            lambda size: batches(data, told.unpack),
            labels=told.labels,
            class_names=told.class_names,
            is_train=told.is_train,
        )
    raise UsageError(
        f"repdiag cannot take data of type {type(data).__name__}",
        do="Give a path, an array, a list of images or paths, a data set, a DataLoader or an EmbeddingSet",
    )


def _is_source(data: object) -> bool:
    return isinstance(getattr(data, "manifest", None), Manifest) and callable(getattr(data, "read", None))


def _labeled(data: Any, told: Told) -> EmbeddingSet | ImageSource:
    """An embedding set or an image source with the labels and the split that the caller gives, if any."""
    found: EmbeddingSet | ImageSource = data
    if told.unpack is not None:
        raise UsageError("unpack= is for the batches of a loader or the items of a data set")
    if told.labels is None and told.is_train is None and told.class_names is None:
        return found
    if told.labels is None and told.class_names is not None:
        raise UsageError("class_names go with labels=")
    manifest = found if isinstance(found, EmbeddingSet) else found.manifest
    changed: dict[str, Any] = {}
    if told.labels is False:
        changed |= {"labels": None, "class_names": ()}
    elif told.labels is not None:
        values = column(told.labels, len(manifest))
        changed["labels"], changed["class_names"] = class_labels(values, told.class_names, _name(found))
    if told.is_train is not None:
        changed["is_train"] = split(told.is_train, len(manifest))
    if "class_names" in changed:
        changed["parents"] = ()  # they belong to the classes before
    if isinstance(found, EmbeddingSet):
        return replace(found, **changed)
    mark = _digest([found.manifest.fingerprint, *(_bytes(changed[name]) for name in sorted(changed))])
    known = replace(found.manifest, **changed, fingerprint=mark)
    return Images(found.name, known, tuple(found.notes), found.read)


def _array(array: npt.NDArray[Any] | torch.Tensor, told: Told) -> EmbeddingSet | ImageSource | Stream:
    """(N, D) floats are embeddings, uint8 of (N, H, W[, C]) images, (N, C, H, W) floats ready inputs."""
    kind = "float" if _is_float(array) else str(array.dtype).removeprefix("torch.")
    shape, n = tuple(array.shape), len(array) if array.ndim else 0
    if kind == "float" and len(shape) == 2:
        return _embeddings(array, told)
    if kind == "float" and len(shape) == 4:
        if shape[3] in (1, 3, 4) and shape[1] not in (1, 3, 4):
            raise UsageError(
                f"Inputs of shape {shape} seem to have their channels last",
                do="Give (N, C, H, W), or uint8 images of (N, H, W, C)",
            )
        return Stream(
            f"{n} ready inputs",
            lambda size: (Piece(_inputs(array[at : at + size])) for at in range(0, n, size)),
            n,
            told.labels,
            told.class_names,
            told.is_train,
        )
    if kind == "uint8" and len(shape) in (3, 4):
        pixels = array.detach().cpu().numpy() if isinstance(array, torch.Tensor) else array
        pixels = _channels_last(pixels)
        blocks = (np.ascontiguousarray(pixels[at : at + 1024]).data for at in range(0, n, 1024))
        mark = _digest(itertools.chain(["array", shape], blocks))

        def picture(index: int) -> Image.Image:
            one = pixels[index]
            return Image.fromarray(np.ascontiguousarray(one[..., 0] if one.shape[-1:] == (1,) else one))

        return _pictures("images in an array", _positions(n), picture, told, mark)
    raise UsageError(
        f"An array of shape {shape} {kind} is neither embeddings nor images",
        do="Give (N, D) floats (embeddings), (N, H, W) or (N, H, W, C) uint8 (images) or (N, C, H, W) floats "
        "(inputs ready for the network)",
    )


def _inputs(block: npt.NDArray[Any] | torch.Tensor) -> torch.Tensor:
    """A block of an array, which may be read-only or of a foreign byte order, as a tensor of its own."""
    if isinstance(block, torch.Tensor):
        return block
    return torch.from_numpy(np.array(block, dtype=block.dtype.newbyteorder("="), order="C"))


def _is_float(array: npt.NDArray[Any] | torch.Tensor) -> bool:
    return array.is_floating_point() if isinstance(array, torch.Tensor) else array.dtype.kind == "f"


def _embeddings(array: npt.NDArray[Any] | torch.Tensor, told: Told) -> EmbeddingSet:
    if isinstance(array, torch.Tensor):
        array = array.detach().cpu().float().numpy()
    with np.errstate(over="ignore"):  # what float32 cannot hold is found as not finite below
        features = np.require(array, np.float32, "C")
    if len(features) < 2 or features.shape[1] < 1:
        raise DataError(f"{features.shape[0]} embeddings of {features.shape[1]} features: two are the least")
    bad = np.flatnonzero(~np.isfinite(features).all(axis=1))
    if bad.size:
        raise DataError(
            f"{bad.size} of {len(features)} embeddings hold NaN or infinity, first in row {bad[0]}",
            do="Leave these rows out",
        )
    found = EmbeddingSet(features, _positions(len(features)), provenance={"inputs": "an array of embeddings"})
    labeled = _labeled(found, replace(told, labels=None if told.labels is False else told.labels))
    assert isinstance(labeled, EmbeddingSet)
    return labeled


def _channels_last(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    if pixels.ndim == 3:
        return pixels
    last, first = pixels.shape[3] in (1, 3, 4), pixels.shape[1] in (1, 3, 4)
    if last == first:
        where = "could be on either side" if last else "are on neither side (1, 3 or 4 of them)"
        raise UsageError(
            f"In uint8 images of shape {pixels.shape} the channels {where}", do="Give (N, H, W, C)"
        )
    return pixels if last else pixels.transpose(0, 2, 3, 1)


def _listed(items: Sequence[Any], told: Told) -> ImageSource:
    """A list of PIL images or of the paths of image files."""
    n = len(items)
    if n and all(isinstance(item, Image.Image) for item in items):
        digest = _digest(encoded(item) for item in items)
        return _pictures("images in a list", _positions(n), lambda index: items[index], told, digest)
    if n and all(isinstance(item, (str, Path)) for item in items):
        paths = [Path(item).expanduser() for item in items]
        names = tuple(str(item) for item in items)
        if len(set(names)) < n:
            twice = next(name for name, count in Counter(names).items() if count > 1)
            raise DataError("The list names a file twice", where=twice)
        stamps = [(name, *_stamp(path)) for name, path in zip(names, paths, strict=True)]
        return _images("a list of files", names, lambda i: paths[i].read_bytes(), told, _digest(stamps))
    kinds = ", ".join(sorted({type(item).__name__ for item in items})) or "nothing"
    raise UsageError(
        f"A list of {kinds} is no data set",
        do="Give a list of PIL images or of paths, or one array with all samples",
    )


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:  # named as unreadable when it is read
        return -1, -1
    return found.st_size, found.st_mtime_ns


def _frame(frame: Any, told: Told) -> tuple[list[str], Told]:
    """The `path` and, if there is one, the `label` column of a pandas DataFrame."""
    names = [str(name) for name in frame.columns]
    if "path" not in names:
        raise UsageError(f"The DataFrame has no column 'path', only {', '.join(names) or 'none'}")
    if told.labels is None and "label" in names:
        told = replace(told, labels=frame["label"].to_numpy())
    return [str(path) for path in frame["path"]], told


def _pictures(
    name: str, ids: tuple[str, ...], picture: Callable[[int], Image.Image], told: Told, mark: str
) -> ImageSource:
    return _images(name, ids, lambda index: encoded(picture(index)), told, mark)


def _images(
    name: str, ids: tuple[str, ...], read: Callable[[int], bytes], told: Told, mark: str
) -> ImageSource:
    if len(ids) < 2:
        raise DataError(f"{len(ids)} images: there is nothing to compare", where=name)
    bare = Images(name, Manifest(ids, None, (), None, mark), (), read)
    found = _labeled(bare, told)
    assert not isinstance(found, EmbeddingSet)
    return found


def of_source(source: ImageSource, told: Told, workers: int) -> Stream:
    """The pictures of a source, decoded in `workers` threads, for a preprocessing that only the user knows."""
    source = cast(ImageSource, _labeled(source, told))
    manifest = source.manifest

    def picture(index: int) -> Image.Image | str:
        try:
            return decode(source.read(index))
        except OSError as error:
            return f"cannot be read: {error.strerror or error}"
        except Undecodable as error:
            return str(error)

    def pieces(size: int) -> Iterator[Piece]:
        with bombs_are_errors(), ThreadPoolExecutor(workers, thread_name_prefix="repdiag-decode") as pool:
            starts = range(0, len(manifest), size)
            ahead = deque(pool.map(picture, range(at, min(at + size, len(manifest)))) for at in starts[:2])
            for at in starts:
                found = dict(enumerate(ahead.popleft(), at))
                if at + 2 * size < len(manifest):
                    after = range(at + 2 * size, min(at + 3 * size, len(manifest)))
                    ahead.append(pool.map(picture, after))
                fine = {row: image for row, image in found.items() if not isinstance(image, str)}
                yield Piece(
                    list(fine.values()),
                    ids=tuple(manifest.paths[row] for row in fine),
                    rows=np.fromiter(fine, np.int64),
                    corrupt=tuple(
                        CorruptImage(manifest.paths[row], why)
                        for row, why in found.items()
                        if isinstance(why, str)
                    ),
                )

    names = None if manifest.labels is None else manifest.class_names
    return Stream(
        source.name,
        pieces,
        len(manifest),
        False if manifest.labels is None else manifest.labels,
        names,
        manifest.is_train,
        parents=manifest.parents,
        notes=tuple(source.notes),
    )


def _name(data: EmbeddingSet | ImageSource) -> str:
    return "embeddings" if isinstance(data, EmbeddingSet) else data.name


def _positions(n: int) -> tuple[str, ...]:
    width = len(str(max(n - 1, 0)))
    return tuple(f"{row:0{width}d}" for row in range(n))


def _digest(parts: Iterable[object]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part if isinstance(part, (bytes, memoryview)) else repr(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()


def _bytes(value: object) -> bytes:
    return value.tobytes() if isinstance(value, np.ndarray) else repr(value).encode()
