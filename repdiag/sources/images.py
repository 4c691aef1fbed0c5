"""What all image sources share: which names are images, and the source that they all build."""

from __future__ import annotations

import hashlib
import itertools
import operator
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np

from repdiag.errors import DataError
from repdiag.sources.labels import index_labels
from repdiag.sources.layout import arrange
from repdiag.sources.options import How
from repdiag.sources.splits import choose
from repdiag.types import BoolArray, IntArray, Manifest

EXTENSIONS = frozenset(
    {
        ".avif", ".bmp", ".dib", ".gif", ".heic", ".heif", ".j2k", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".jpx",
        ".mpo", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp",
    }
)  # fmt: skip
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


@dataclass
class Listing(Generic[Place]):
    """Images in columns of equal length: names, words that change with the content, and how to find each."""

    names: list[str] = field(default_factory=list)
    stamps: list[str] = field(default_factory=list)
    places: list[Place] = field(default_factory=list)

    def add(self, name: str, stamp: str, place: Place) -> None:
        """One more image."""
        self.names.append(name)
        self.stamps.append(stamp)
        self.places.append(place)

    def __len__(self) -> int:
        return len(self.names)

    def take(self, rows: Iterable[int]) -> Listing[Place]:
        """The images `rows`, in that order."""
        chosen = list(rows)
        return Listing(
            [self.names[i] for i in chosen],
            [self.stamps[i] for i in chosen],
            [self.places[i] for i in chosen],
        )


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
    if name.isascii():
        return name
    try:
        return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half a character, as JSON can write it
        return name.encode("utf-8", "backslashreplace").decode("utf-8")


def shown(names: Sequence[str], limit: int = 3) -> str:
    """The first few names, for a sentence."""
    said = ", ".join(printable(name) for name in names[:limit])
    return said if len(names) <= limit else f"{said} and {len(names) - limit} more"


def too_large(size: int) -> OSError:
    """The refusal of an image of `size` bytes."""
    return OSError(f"it says it holds {size / 2**20:.0f} MB; the limit is {MAX_IMAGE_BYTES // 2**20} MB")


def by_folders(
    name: str,
    listed: Listing[Place],
    others: int,
    *,
    how: How,
    reader: Callable[[Place], bytes],
    extra: Iterable[str] = (),
    notes: Iterable[str] = (),
) -> Images:
    """The source of the images `listed`, whose folders say the classes and the split.

    `others` counts the files that are no images, `extra` goes into the fingerprint, `reader` takes a place.
    Raises DataError when fewer than two images are left or the folders contradict.
    """
    if not listed:
        kinds = " ".join(sorted(EXTENSIONS))
        found = f"only {others} other files" if others else "nothing"
        raise DataError(f"There are no images, {found}", where=name, do=f"Images end in {kinds}")
    names = listed.names
    in_order = all(map(operator.lt, names, itertools.islice(names, 1, None)))  # then nothing occurs twice
    row = {} if in_order else {each: i for i, each in enumerate(names)}  # the last, as in any archive
    layout = arrange(
        names if in_order else sorted(row),
        labeled=how.labeled,
        where=name,
        train_split=how.train_split,
        eval_split=how.eval_split,
        class_depth=how.class_depth,
    )
    said = list(notes)
    if not in_order and len(row) < len(listed):
        said.append(f"Names that occur twice, of which the later file counts: {len(listed) - len(row)}.")
    if others:
        said.append(f"Files that are no images were ignored: {others}.")
    if not in_order:
        listed = listed.take(row[each] for each in layout.names)
    elif len(layout.names) < len(listed):
        kept = set(layout.names)
        listed = listed.take(i for i, each in enumerate(names) if each in kept)
    return _source(
        name,
        listed,
        layout.labels,
        layout.class_names,
        layout.is_train,
        reader,
        extra,
        (*said, *layout.notes),
        layout.parents,
    )


def by_columns(
    name: str,
    listed: Listing[Place],
    *,
    how: How,
    reader: Callable[[Place], bytes],
    labels: Sequence[Any] | None = None,
    class_names: Sequence[str] | None = None,
    splits: Sequence[str] | None = None,
    extra: Iterable[str] = (),
    notes: Iterable[str] = (),
) -> Images:
    """The source of the images `listed` (names distinct), in that order, with a label and a split for each.

    `labels` are integers or text (None: unlabeled); integers index `class_names` where those are given.
    Raises DataError when fewer than two images are left, or the columns contradict.
    """
    said = list(notes)
    is_train: BoolArray | None = None
    labels = labels if how.labeled else None
    if splits is not None and (len(set(splits)) > 1 or any(how.split_names)):
        rows, is_train, note = _parts(splits, labels, how, name)
        said += note
        listed = listed.take(rows)
        labels = None if labels is None else [labels[i] for i in rows]
    elif any(how.split_names):
        asked = next(each for each in how.split_names if each)
        raise DataError(f"It has no splits, so there is no split '{asked}'", where=name)
    numbers: IntArray | None = None
    known: tuple[str, ...] = ()
    if labels is not None:
        numbers, known = index_labels(labels, class_names, name)
        if numbers is None and len(labels):
            said.append("No image has a label: read as unlabeled.")
    return _source(name, listed, numbers, known, is_train, reader, extra, said)


def _parts(
    splits: Sequence[str], labels: Sequence[Any] | None, how: How, where: str
) -> tuple[list[int], BoolArray | None, list[str]]:
    """The rows of the chosen splits, which of them teach, and what was left out."""
    counts = Counter(splits)
    classed = (
        {split for split, label in zip(splits, labels, strict=True) if _known(label)}
        if labels
        else set(counts)
    )
    split = choose(
        list(counts),
        train=how.train_split,
        evaluation=how.eval_split,
        where=where,
        labeled=lambda each: each in classed,
    )
    chosen = {split.train, split.evaluation} - {None}
    rows = [i for i, each in enumerate(splits) if each in chosen]
    is_train = None
    if split.train is not None:
        is_train = np.fromiter((splits[i] == split.train for i in rows), dtype=np.bool_, count=len(rows))
    kept = " and ".join(f"'{each}'" for each in (split.train, split.evaluation) if each is not None)
    left = ", ".join(f"'{each}' ({counts[each]:,} images)" for each in split.left)
    return rows, is_train, [f"Splits that are read: {kept}; left out: {left}."] if left else []


def _known(label: Any) -> bool:
    return label is not None and label != "" and label != -1


def _source(
    name: str,
    listed: Listing[Place],
    labels: IntArray | None,
    class_names: Sequence[str],
    is_train: BoolArray | None,
    reader: Callable[[Place], bytes],
    extra: Iterable[str],
    notes: Iterable[str],
    parents: tuple[str, ...] = (),
) -> Images:
    if not listed:
        raise DataError("There are no images", where=name)
    if len(listed) < 2:
        raise DataError("There is only one image, and nothing to compare it with", where=name)
    words = [f"{word}\n" for word in extra]
    words += [f"{each}\0{stamp}\n" for each, stamp in zip(listed.names, listed.stamps, strict=True)]
    digest = hashlib.sha256("".join(words).encode("utf-8", "surrogatepass"))
    for column in (labels, is_train):
        digest.update(b"-" if column is None else column.tobytes())
    digest.update("\0".join(class_names).encode("utf-8", "surrogatepass"))
    manifest = Manifest(
        tuple(map(printable, listed.names)),
        labels,
        tuple(map(printable, class_names)),
        is_train,
        digest.hexdigest(),
        tuple(map(printable, parents)),
    )
    places = listed.places
    return Images(name, manifest, tuple(notes), lambda index: reader(places[index]))
