"""A .zip of an image folder, read in place."""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

from repdiag.errors import DataError
from repdiag.sources.images import MAX_IMAGE_BYTES, Images, Listing, by_folders, clean, is_image, too_large
from repdiag.sources.options import How

_ENCRYPTED = 0x1


def matches(path: Path) -> bool:
    """Whether `path` is named as a zip file."""
    return path.suffix.lower() == ".zip"


def read(path: Path, *, name: str, how: How) -> Images:
    """List the images of the zip file `path`. Raises DataError when it is damaged or encrypted."""
    how.only("a zip file of images", "class_depth")
    members, reader = members_of(path, name)
    listed: Listing[zipfile.ZipInfo] = Listing()
    others = 0
    for cleaned, stamp, member in members:
        if is_image(cleaned):
            listed.add(cleaned, stamp, member)
        else:
            others += 1
    return by_folders(name, listed, others, how=how, reader=reader)


def members_of(
    path: Path, name: str
) -> tuple[list[tuple[str, str, zipfile.ZipInfo]], Callable[[zipfile.ZipInfo], bytes]]:
    """The visible files of the zip file with a stamp each, and what reads one. Raises DataError.

    One open archive serves all threads: zipfile locks around its seeks. The file handle is ours, so that
    zipfile does not count its users (that count is not locked) and close it early.
    """
    try:
        archive = zipfile.ZipFile(path.open("rb"))
        members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as error:
        message = "This is no whole zip file; a download may have been cut off"
        raise DataError(message, where=name, do="Check it with: unzip -t") from error
    except OSError as error:
        raise DataError(f"Cannot read it: {error.strerror}", where=name) from error
    found: list[tuple[str, str, zipfile.ZipInfo]] = []
    for member in members:
        # Some Windows tools write backslashes although the format asks for slashes.
        cleaned = clean(member.filename.replace("\\", "/"))
        if member.is_dir() or cleaned is None:
            continue
        if member.flag_bits & _ENCRYPTED and is_image(cleaned):
            raise DataError("The zip file is encrypted", where=name, do="Unpack it and give the folder")
        found.append((cleaned, f"{member.CRC} {member.file_size}", member))

    def fetch(member: zipfile.ZipInfo) -> bytes:
        if member.file_size > MAX_IMAGE_BYTES:
            raise too_large(member.file_size)
        try:
            return archive.read(member)
        except (
            zipfile.BadZipFile,
            NotImplementedError,
            zlib.error,
            lzma.LZMAError,
            struct.error,
            EOFError,
            RuntimeError,
            ValueError,
        ) as error:
            raise OSError(f"damaged in the zip file ({error})") from error

    return found, fetch
