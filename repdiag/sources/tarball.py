"""A .tar of an image folder, read in place."""

from __future__ import annotations

from pathlib import Path

from repdiag.sources import shards
from repdiag.sources.images import Images, Listing, by_folders, is_image
from repdiag.sources.options import How
from repdiag.sources.tars import Member, is_tar, open_tar


def matches(path: Path) -> bool:
    """Whether `path` is a file named as a tar, compressed or not."""
    return is_tar(path.name) and path.is_file()


def read(path: Path, *, name: str, how: How) -> Images:
    """List the images of the tar file `path`, by folders or, in a webdataset shard, by their labels.

    Raises DataError when it is damaged or cut off. Finding what a tar holds means walking through it; a
    compressed one must be unpacked for that, each time it is opened. A plain .tar or a .zip starts faster.
    """
    tar = open_tar(path, name)
    if shards.is_shard(tar.members):
        return shards.build(name, [tar], how)
    how.only("a tar file of images", "class_depth")
    listed: Listing[Member] = Listing()
    others = tar.others
    for member in tar.members:
        if is_image(member.name):
            listed.add(member.name, member.stamp, member)
        else:
            others += 1
    return by_folders(name, listed, others, how=how, reader=tar.read, extra=(tar.stamp,), notes=tar.notes)
