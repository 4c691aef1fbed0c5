"""What `repdiag compare` is asked: encoders as reports, models or embeddings, and what they are called."""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from repdiag.comparison.compare import PRIMARY
from repdiag.errors import UsageError
from repdiag.pipeline import Request as Scoring
from repdiag.sources import is_embeddings


class Kind(enum.Enum):
    """What an argument is."""

    REPORT = "report"
    EMBEDDINGS = "embeddings"
    MODEL = "model"


@dataclass(frozen=True)
class Request:
    """What is compared with what, and how.

    `scoring` is how models and embeddings are scored; its model (and, for embeddings, its dataset) is put in for each
    one. `has_data` says whether it names images. `out` is where the reports of what was scored go.
    """

    encoders: tuple[str, ...]
    scoring: Scoring
    has_data: bool
    out: Path
    names: tuple[str, ...] = ()
    against: str | None = None
    primary: str = PRIMARY
    confidence: float = 0.95
    bootstrap: int = 2000
    trajectory: bool = False
    epochs: tuple[float, ...] | None = None
    crowding: bool = False

    def __post_init__(self) -> None:
        if len(self.encoders) < 2:
            raise UsageError("One encoder alone cannot be compared", do="Name two or more reports or models")
        if self.names and len(self.names) != len(self.encoders):
            raise UsageError(
                f"--names has {len(self.names)} names for {len(self.encoders)} encoders",
                do="Give one for each",
            )
        if self.epochs is not None and len(self.epochs) != len(self.encoders):
            raise UsageError(
                f"--epochs has {len(self.epochs)} numbers for {len(self.encoders)} checkpoints",
                do="Give one for each",
            )
        if not 0 < self.confidence < 1:
            raise UsageError(f"confidence must be between 0 and 1, not {self.confidence:g}")

    @property
    def kinds(self) -> tuple[Kind, ...]:
        """What each argument is; UsageError for a model without images to score it on."""
        kinds = tuple(map(kind_of, self.encoders))
        for name, kind in zip(self.encoders, kinds, strict=True):
            if kind is Kind.MODEL and not self.has_data:
                raise UsageError(
                    f"'{name}' is no report, and a model needs images to be scored on",
                    do="Name a folder that `repdiag score --out` wrote, or give --data DATASET",
                )
        if self.has_data and Kind.MODEL not in kinds:
            raise UsageError(
                "--data is for models, and none was given", do="Leave it out: reports are only read"
            )
        return kinds

    @property
    def called(self) -> tuple[str, ...]:
        """A name for each encoder: those given, else the shortest ends of the paths that tell them apart."""
        names = self.names or default_names(self.encoders)
        if twice := [name for name, n in Counter(names).items() if n > 1]:
            raise UsageError(
                f"Two encoders are called '{twice[0]}'", do="Give each a name of its own with --names"
            )
        return names


def kind_of(argument: str) -> Kind:
    """A folder with a report.json or a .json file is a report, a file of embeddings is that, all else a model."""
    path = Path(argument)
    try:
        if (path.is_dir() and (path / "report.json").is_file()) or (
            path.suffix == ".json" and path.is_file()
        ):
            return Kind.REPORT
    except (OSError, ValueError):
        return Kind.MODEL
    return Kind.EMBEDDINGS if is_embeddings(argument) else Kind.MODEL


def default_names(arguments: Sequence[str]) -> tuple[str, ...]:
    """The last part of each path (of a report.json its folder's), with as many folders before it as tell all apart.

    What all names begin with, up to a separator, is left out: run-10 and run-20 are 10 and 20. What cannot be told
    apart, the same path twice, is numbered.
    """
    parts = [_parts(argument) for argument in arguments]
    names: list[str] = []
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(p[-depth:]) for p in parts]
        if len(set(names)) == len(names):
            return _without_common_start(names)
    seen: Counter[str] = Counter()
    out = []
    for name in names:
        seen[name] += 1
        out.append(name if seen[name] == 1 else f"{name}-{seen[name]}")
    return tuple(out)


def _without_common_start(names: Sequence[str]) -> tuple[str, ...]:
    first, last = min(names), max(names)
    start = first[
        : next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    ]
    cut = max(start.rfind(sign) for sign in "-_./") + 1
    return tuple(name[cut:] for name in names) if all(name[cut:] for name in names) else tuple(names)


def _parts(argument: str) -> tuple[str, ...]:
    path = Path(argument)
    if ":" in argument and not path.exists():  # timm:resnet18
        return (argument,)
    found = [part for part in path.parts if part not in ("/", ".", "..")]
    if not found:
        return (argument,)
    if path.name == "report.json" and len(found) > 1:
        return tuple(found[:-1])
    if path.suffix and path.is_file():
        found[-1] = path.stem
    return tuple(found)
