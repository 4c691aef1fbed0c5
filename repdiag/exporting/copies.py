"""A copy of a file or folder that is changed beside its place and gets its name when it is whole."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from repdiag.errors import OutputError, UsageError
from repdiag.files import atomic, output_errors

LEFT_OUT = frozenset({".git", ".cache"})
"""Folders inside a model's folder that are not copied: there git and the hub's client keep the weights again."""


def refuse_place(source: Path, out: Path) -> None:
    """Raises UsageError when writing to `out` could touch `source`, OutputError when it would replace other things."""
    if out.exists() and source.exists() and source.samefile(out):
        raise UsageError("OUT is the checkpoint itself", where=str(out), do="Name another place")
    inner, outer = out.resolve(), source.resolve()
    if outer in inner.parents or inner in outer.parents:
        raise UsageError(
            "OUT and the checkpoint lie inside one another", where=str(out), do="Name another place"
        )
    if not out.exists():
        return
    if out.is_dir() != source.is_dir():
        raise OutputError(f"There is a {'folder' if out.is_dir() else 'file'} of that name", where=str(out))
    if out.is_dir() and (others := {p.name for p in out.iterdir()} - {p.name for p in source.iterdir()}):
        raise OutputError(
            f"The folder holds other things, which would be lost (such as {min(others)})",
            where=str(out),
            do="Name another one",
        )


@contextlib.contextmanager
def copied(source: Path, out: Path) -> Iterator[Path]:
    """A copy of `source` beside `out`, ordinary files whatever the originals' permissions, to be changed.

    It becomes `out` when the block ends well and is removed when it does not. Links to files are followed, those to
    folders left out. Raises OutputError.
    """
    if not source.is_dir():
        with atomic(out) as temporary:
            shutil.copyfile(source, temporary)
            yield temporary
        return
    with output_errors(out):
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.", suffix=".part"))
        try:
            temporary = folder / out.name  # a model's folder tells its name
            _copy_folder(source, temporary)
            yield temporary
            before = folder / "before"
            if out.exists():
                out.replace(before)
            try:
                temporary.replace(out)
            except OSError:
                if before.exists():
                    before.replace(out)
                raise
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _copy_folder(source: Path, to: Path) -> None:
    for at, folders, files in os.walk(source):
        folders[:] = sorted(set(folders) - LEFT_OUT)
        here = to / Path(at).relative_to(source)
        here.mkdir()
        for name in files:
            if (Path(at) / name).is_file():  # not the links that lead nowhere
                shutil.copyfile(Path(at) / name, here / name)
