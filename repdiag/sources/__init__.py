"""Data sets: images by index from whatever holds them, or embeddings that are ready in a file.

Another form of images is one more file with `matches(path)` and `read(path, *, name, how)`, and its name in the
tuple here; forms that can tell more come before those that take what is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from repdiag.errors import DataError, UsageError
from repdiag.sources import (
    arrays,
    cifar,
    folder,
    huggingface,
    idx,
    image_arrays,
    manifest,
    parquet,
    parquet_images,
    shards,
    tarball,
    zipball,
)
from repdiag.sources.hierarchy import at_level, read_hierarchy, rename
from repdiag.sources.images import Images
from repdiag.sources.options import How
from repdiag.types import EmbeddingSet

__all__ = ["Images", "is_embeddings", "open_source", "read_embeddings"]

_IMAGES = (
    huggingface,
    cifar,
    idx,
    shards,
    parquet_images,
    image_arrays,
    manifest,
    folder,
    zipball,
    tarball,
)
_EMBEDDINGS = (arrays, parquet)
_KNOWN = (
    "a folder, .zip or .tar of images, a list (.csv, .tsv, .txt, .jsonl, .parquet), webdataset shards, a Hugging "
    "Face data set, arrays (.npz, .npy, IDX, CIFAR), or embeddings as .npz, .npy or .parquet"
)


def is_embeddings(path: str) -> bool:
    """Whether `path` is a file of ready embeddings (.npz, .npy, .parquet) by its name and, if it exists, content.

    Arrays of three or four axes and tables with bytes or paths of images are images. Raises DataError for a
    damaged file.
    """
    place = _place(path)
    if path.startswith(huggingface.HUB) or not any(form.matches(place) for form in _EMBEDDINGS):
        return False
    try:
        if place.is_dir():
            return False
    except (OSError, ValueError):  # a name that no file can have: what opens it says so
        return True
    return not (image_arrays.holds_images(place) or parquet_images.holds_images(place))


def open_source(
    path: str,
    *,
    labeled: bool = True,
    root: str | None = None,
    path_column: str | None = None,
    label_column: str | None = None,
    train_split: str | None = None,
    eval_split: str | None = None,
    hierarchy: str | None = None,
    hierarchy_columns: Sequence[str] | None = None,
    level: str = "fine",
    class_names_file: str | None = None,
    trust_listing: bool = False,
    listings: Path | None = None,
    class_depth: int | None = None,
) -> Images:
    """List the images of a data set in any of the forms that docs/how-to/data.md names; nothing is decoded yet.

    `layout.arrange` says how folders become labels and a split. With `labeled=False` class folders are only
    places, and every image counts. `root`, `path_column` and `label_column` belong to lists and tables,
    `train_split` and `eval_split` name the parts. `hierarchy` is a table of fine and coarse classes
    (`hierarchy_columns` its columns), `level` "coarse" labels by the latter; `class_names_file` is a table of
    classes and better names. `class_depth` is how many folders name a class; from 2 on the first is the coarse
    class. `trust_listing` takes the listing of an unchanged folder from the folder `listings`.

    Raises DataError when there is nothing to read or no way to read it, UsageError for an option that means
    nothing here.
    """
    how = How(
        labeled,
        root,
        path_column,
        label_column,
        train_split,
        eval_split,
        trust_listing,
        listings,
        class_depth,
    )
    images = _open(path, how)
    if hierarchy is not None:
        images = read_hierarchy(images, hierarchy, hierarchy_columns)
    elif hierarchy_columns is not None:
        raise UsageError("--hierarchy-columns needs --hierarchy")
    images = at_level(images, level)
    return images if class_names_file is None else rename(images, class_names_file)


def _open(path: str, how: How) -> Images:
    if path.startswith(huggingface.HUB):
        return huggingface.read_hub(path, how)
    if "{" in path and shards.matches(_place(path)):
        return shards.read(_place(path), name=path, how=how)
    place = _existing(path)
    for form in _IMAGES:
        if form.matches(place):
            images: Images = form.read(place, name=path, how=how)
            return images
    if is_embeddings(path):
        raise DataError("This holds embeddings, not images", where=path, do="Give - as the model for it")
    raise DataError("This is no data set that repdiag reads", where=path, do=f"Give {_KNOWN}")


def read_embeddings(path: str) -> EmbeddingSet:
    """Read and check ready embeddings: `arrays` and `parquet` say which keys and columns are known.

    Raises DataError when the file is damaged, has no (N, D) numbers, or rows that are not finite.
    """
    place = _existing(path)
    for form in _EMBEDDINGS:
        if form.matches(place) and not place.is_dir():
            embeddings: EmbeddingSet = form.read(place)
            return embeddings
    raise DataError("This is no file of embeddings", where=path, do="Give a .npz, .npy or .parquet")


def _place(path: str) -> Path:
    try:
        return Path(path).expanduser()
    except RuntimeError:  # an unknown ~user
        return Path(path)


def _existing(path: str) -> Path:
    try:
        if not path:  # which pathlib takes for the current folder
            raise FileNotFoundError
        place = Path(path).expanduser()
        place.stat()
    except (FileNotFoundError, RuntimeError, ValueError):  # an unknown ~user; a name that no file can have
        raise DataError("There is no such file or folder", where=path, do=f"Give {_KNOWN}") from None
    except OSError as error:
        raise DataError(f"Cannot read it: {error.strerror}", where=path) from error
    return place
