"""What a person sees when something is wrong: one sentence, and an exit code that a script can test.

A `RepdiagError` says what is wrong, where, and what to do. The command line prints exactly that and no
traceback (unless `--debug`). The exit codes are listed in docs/reference/exit-codes.md.
"""

from __future__ import annotations

from typing import ClassVar


class RepdiagError(Exception):
    """Base of all expected errors: `what` is wrong, `where`, and what to `do` about it."""

    exit_code: ClassVar[int] = 5

    def __init__(self, what: str, *, where: str | None = None, do: str | None = None) -> None:
        self.what, self.where, self.do = what.rstrip("."), where, do
        super().__init__(str(self))

    def __str__(self) -> str:
        place = f" ({self.where})" if self.where else ""
        advice = ""
        if self.do:
            advice = f" {self.do}" if self.do.endswith(("?", "!")) else f" {self.do.rstrip('.')}."
        return f"{self.what}{place}.{advice}"


class UsageError(RepdiagError):
    """The command line or the arguments do not fit together."""

    exit_code = 2


class InputError(RepdiagError):
    """A file or folder that was given cannot be read or does not hold what it should."""

    exit_code = 3


class CheckpointError(InputError):
    """The checkpoint cannot be read, or no architecture fits its tensors."""

    exit_code = 3


class DataError(InputError):
    """The data set cannot be read, is empty, or has too many corrupt images."""

    exit_code = 3


class OutputError(RepdiagError):
    """The results cannot be written: no permission, no space, not a folder."""

    exit_code = 6


class UnsafeCheckpointError(RepdiagError):
    """The checkpoint can only be opened by running code it brings along; repdiag never does that."""

    exit_code = 7


class ResourceError(RepdiagError):
    """Memory or another resource of the machine ran out."""

    exit_code = 8


class Interrupted(RepdiagError):
    """Stopped by the user (Ctrl-C). Finished embeddings are cached; the same command goes on from there."""

    exit_code = 130
