"""What all image sources share: which names are images, and the source that they all build."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from repdiag.errors import DataError
from repdiag.sources.layout import arrange
from repdiag.types import Manifest

EXTENSIONS = frozenset(
    {
        ".bmp",
        ".dib",
        ".gif",
        ".jfif",
        ".jpe",
        ".jpeg",
        ".jpg",
        ".pbm",
        ".pgm",
        ".png",
        ".ppm",
        ".tif",
        ".tiff",
    }
    | {".webp"}
)
Place = TypeVar("Place")
MAX_IMAGE_BYTES = 256 * 2**20
"""An encoded image that says it is larger is not read: no photograph is, but a zip bomb may be."""


@dataclass(frozen=True)
class Images:
    """An image data set (an `ImageSource`) with what the person should know about how it was read."""

    name: str
    manifest: Manifest
    notes: tuple[str, ...]
    reader: Callable[[int], bytes]

    def read(self, index: int) -> bytes:
        """The encoded bytes of image `index`; thread-safe; raises OSError when they cannot be read."""
        return self.reader(index)


@dataclass(frozen=True)
class Listed(Generic[Place]):
    """One image of a listing: its name, a word that changes with its content, and how to find it."""

    name: str
    stamp: str
    place: Place


def is_hidden(name: str) -> bool:
    """Whether a file or folder name is the system's own, not the data's (.DS_Store, __MACOSX, ._x.png)."""
    return name.startswith(".") or name in {"__MACOSX", "@eaDir", "$RECYCLE.BIN"}


def is_image(name: str) -> bool:
    """Whether a name ends like an image's, in either case."""
    return name[name.rfind(".") :].lower() in EXTENSIONS


def clean(name: str) -> str | None:
    """An archive member's name without `.`, `..` and empty parts; None when a part is hidden.

    Names are only names here: nothing is ever written under them.
    """
    parts = [part for part in name.split("/") if part not in {"", ".", ".."}]
    return None if any(is_hidden(part) for part in parts) else "/".join(parts)


def printable(name: str) -> str:
    """A file name as text that can be written anywhere: bytes that are no UTF-8 become escapes."""
    return (
        name
        if name.isascii()
        else name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    )


def too_large(size: int) -> OSError:
    """The refusal of an image of `size` bytes."""
    return OSError(f"it says it holds {size / 2**20:.0f} MB; the limit is {MAX_IMAGE_BYTES // 2**20} MB")


def build(
    name: str,
    listed: Sequence[Listed[Place]],
    others: int,
    *,
    labeled: bool,
    reader: Callable[[Place], bytes],
    extra: Iterable[str] = (),
    notes: Iterable[str] = (),
) -> Images:
    """The source of the images `listed`, arranged into classes and a split.

    `others` counts the files that are no images, `extra` goes into the fingerprint, `reader` takes a
    `Listed.place`. Raises DataError when fewer than two images are left or the folders contradict.
    """
    byname = {image.name: image for image in listed}  # a repeated name: the last, as in any archive
    if not byname:
        kinds = " ".join(sorted(EXTENSIONS))
        found = f"only {others} other files" if others else "nothing"
        raise DataError(f"There are no images, {found}", where=name, do=f"Images end in {kinds}")
    layout = arrange(sorted(byname), labeled=labeled, where=name)
    if len(layout.names) < 2:
        raise DataError("There is only one image, and nothing to compare it with", where=name)
    kept = [byname[path] for path in layout.names]
    said = list(notes)
    if len(byname) < len(listed):
        said.append(f"Names that occur twice, of which the later file counts: {len(listed) - len(byname)}.")
    if others:
        said.append(f"Files that are no images were ignored: {others}.")
    digest = hashlib.sha256()
    for word in extra:
        digest.update(f"{word}\n".encode())
    for image in kept:
        digest.update(f"{image.name}\0{image.stamp}\n".encode("utf-8", "surrogateescape"))
    for column in (layout.labels, layout.is_train):
        digest.update(b"-" if column is None else column.tobytes())
    digest.update("\0".join(layout.class_names).encode("utf-8", "surrogateescape"))
    manifest = Manifest(
        tuple(printable(path) for path in layout.names),
        layout.labels,
        tuple(printable(known) for known in layout.class_names),
        layout.is_train,
        digest.hexdigest(),
    )
    places = [image.place for image in kept]
    return Images(name, manifest, (*said, *layout.notes), lambda index: reader(places[index]))
