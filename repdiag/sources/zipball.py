"""A .zip of an image folder, read in place."""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from pathlib import Path

from repdiag.errors import DataError
from repdiag.sources.images import MAX_IMAGE_BYTES, Images, Listed, build, clean, is_image, too_large

_ENCRYPTED = 0x1


def matches(path: Path) -> bool:
    """Whether `path` is named as a zip file."""
    return path.suffix.lower() == ".zip"


def read(path: Path, *, name: str, labeled: bool) -> Images:
    """List the images of the zip file `path`. Raises DataError when it is damaged or encrypted.

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
    listed: list[Listed[zipfile.ZipInfo]] = []
    others = 0
    for member in members:
        # Some Windows tools write backslashes although the format asks for slashes.
        cleaned = clean(member.filename.replace("\\", "/"))
        if member.is_dir() or cleaned is None:
            continue
        if not is_image(cleaned):
            others += 1
            continue
        if member.flag_bits & _ENCRYPTED:
            raise DataError("The zip file is encrypted", where=name, do="Unpack it and give the folder")
        listed.append(Listed(cleaned, f"{member.CRC} {member.file_size}", member))

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

    return build(name, listed, others, labeled=labeled, reader=fetch)
