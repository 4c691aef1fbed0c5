"""A folder of images, with symbolic links followed."""

from __future__ import annotations

import os
from pathlib import Path

from repdiag.errors import UsageError
from repdiag.sources import listing_cache
from repdiag.sources.images import MAX_IMAGE_BYTES, Images, Listing, by_folders, too_large
from repdiag.sources.listing import Known, stamp_all, walk
from repdiag.sources.options import How


def matches(path: Path) -> bool:
    """Whether `path` is a folder."""
    return path.is_dir()


def read(path: Path, *, name: str, how: How) -> Images:
    """List the images below `path`; hidden files and folders are passed over. Raises DataError."""
    how.only("a folder of images", "trust_listing", "class_depth")
    root = str(path)
    known: Known = {}
    if how.trust_listing:
        if how.listings is None:
            raise UsageError(
                "--trust-listing needs a cache to keep the listing in", do="Leave out --no-cache"
            )
        kept = listing_cache.place_of(how.listings, root)
        known = listing_cache.load(kept)
    folders = list(walk(root, known))
    new = any(folder is not known.get(folder.path) for folder in folders) or len(folders) < len(known)
    stamp_all(root, folders)
    if how.trust_listing and new:
        listing_cache.save(kept, folders)
    listed: Listing[str] = Listing()
    for folder in folders:
        listed.names += [folder.path + image for image in folder.images]
        # A link to nowhere is kept, so that it is named among the images that cannot be read.
        listed.stamps += folder.stamps
    listed.places = listed.names
    others = sum(folder.others for folder in folders)
    return by_folders(name, listed, others, how=how, reader=lambda image: read_file(f"{root}/{image}"))


def read_file(path: str) -> bytes:
    """The content of an image file; raises OSError."""
    with open(path, "rb") as file:  # noqa: PTH123 -- a Path per image is slow
        size = os.fstat(file.fileno()).st_size
        if size > MAX_IMAGE_BYTES:
            raise too_large(size)
        return file.read()
