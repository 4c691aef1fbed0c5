"""`--trust-pickle`: the user's word that a file may run its code; and torch's errors as sentences."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator

from repdiag.checkpoints.checkpoint import Contents, Fact, Outline, Source
from repdiag.checkpoints.tree import flatten
from repdiag.errors import CheckpointError, RepdiagError


def load(source: Source, told: Callable[[], Outline], *, mmap: bool) -> Contents:
    """What torch.load makes of the file, its code included; `told` reads what it says of itself safely."""
    import torch

    try:
        with load_errors(source.where):
            # --trust-pickle is the user's word for this very file
            root = torch.load(source.path, map_location="cpu", weights_only=False, mmap=mmap)
    except ModuleNotFoundError as error:
        raise CheckpointError(
            f"The pickle needs the Python module '{error.name}', which is not installed",
            where=source.where,
            do="Install it, or run repdiag in the environment that trained the model",
        ) from error
    module = root if isinstance(root, torch.nn.Module) else None
    note = "the pickle was opened as trusted (--trust-pickle): code from it was run"
    metadata: dict[str, str] = {}
    facts: dict[str, Fact] = {}
    with contextlib.suppress(RepdiagError):  # what can be told only by running code was told by running it
        outline = told()
        metadata, facts = dict(outline.metadata), dict(outline.facts)
    return Contents(flatten(root, source.where), metadata, module, (), (note,), facts)


@contextlib.contextmanager
def load_errors(where: str) -> Iterator[None]:
    """Turn whatever torch raises about a damaged or unusual file into one sentence.

    A damaged file can make the loader fail in any way, hence the wide net; ours pass through.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (RepdiagError, ModuleNotFoundError, KeyboardInterrupt, MemoryError):
        raise
    except Exception as error:
        text = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise CheckpointError(
            f"The checkpoint is damaged or not readable: {text}",
            where=where,
            do="Download or copy the file again",
        ) from error
