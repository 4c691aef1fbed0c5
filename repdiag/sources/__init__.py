"""Data sets: images by index from folders and archives, or embeddings that are ready in a file.

Another format is one more file with `matches(path)` and `read(path, ...)`, and its name in the tuples here.
"""

from __future__ import annotations

from pathlib import Path

from repdiag.errors import DataError
from repdiag.sources import arrays, folder, parquet, tarball, zipball
from repdiag.sources.images import Images
from repdiag.types import EmbeddingSet

__all__ = ["Images", "is_embeddings", "open_source", "read_embeddings"]

_IMAGES = (folder, zipball, tarball)
_EMBEDDINGS = (arrays, parquet)
_KNOWN = "a folder of images, a .zip or .tar (also .tar.gz) of one, or embeddings as .npz, .npy or .parquet"


def is_embeddings(path: str) -> bool:
    """Whether `path` is named as a file of ready embeddings (.npz, .npy, .parquet), existing or not."""
    return any(form.matches(Path(path)) for form in _EMBEDDINGS) and not Path(path).is_dir()


def open_source(path: str, *, labeled: bool = True) -> Images:
    """List the images of a folder, .zip or .tar; nothing is decoded yet.

    `layout.arrange` says how folders become labels and a split. With `labeled=False` class folders are only
    places, and every image counts. Raises DataError when there is nothing to read or no way to read it.
    """
    place = _existing(path)
    for form in _IMAGES:
        if form.matches(place):
            images: Images = form.read(place, name=path, labeled=labeled)
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


def _existing(path: str) -> Path:
    try:
        place = Path(path).expanduser()
        place.stat()
    except (FileNotFoundError, RuntimeError, ValueError):  # an unknown ~user; a name that no file can have
        raise DataError("There is no such file or folder", where=path, do=f"Give {_KNOWN}") from None
    except OSError as error:
        raise DataError(f"Cannot read it: {error.strerror}", where=path) from error
    return place
