"""Writing files so that a reader sees the old one or the new one whole, never half of one."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

from repdiag.errors import OutputError


@contextlib.contextmanager
def output_errors(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals (no permission, no space) into an OutputError about `path`."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"Cannot write: {error.strerror or error}",
            where=str(path),
            do="Choose another folder, or free space and permissions there",
        ) from error


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, moved onto it when the block ends well, removed when it does not."""
    with output_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            umask = os.umask(0)
            os.umask(umask)
            temporary.chmod(0o666 & ~umask)  # mkstemp makes files private; outputs are ordinary files
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` (UTF-8) to `path` atomically; raises OutputError."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
