"""The folder of baselines: one folder each, written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from repdiag.errors import DataError, RepdiagError, UsageError
from repdiag.files import output_errors
from repdiag.registry import did_you_mean
from repdiag.report.json_form import dumps
from repdiag.report.reading import read_report, report_file
from repdiag.report.reading_fields import read_document
from repdiag.types import MetricResult, Report

STORE = Path("repdiag-baselines")
KEPT = ("samples.csv", "classes.csv")
"""Tables that a baseline keeps."""
LONGEST = 100

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*", re.ASCII)
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # no file's name on Windows


@dataclass(frozen=True)
class Baseline:
    """What a baseline is: its `name`, its folder `path`, `size` in bytes, and what its report says of itself.

    `samples` is how many were evaluated, `values` holds the headline metrics by name. Where the report cannot be read,
    `problem` says why and the rest is empty.
    """

    name: str
    path: Path
    size: int = 0
    created: str = ""
    encoder: str = ""
    dataset: str = ""
    samples: int = 0
    fingerprint: str = ""
    repdiag: str = ""
    values: Mapping[str, float] = field(default_factory=dict)
    problem: str = ""


def save(report: str | Path, name: str, store: str | Path = STORE, *, force: bool = False) -> Baseline:
    """Keep the report in the folder `report` (or whose report.json it is) as the baseline `name` in `store`.

    It is read and checked first, and appears whole or not at all. Fields of report.json that this version does not
    know are kept. Raises UsageError for a name that is not safe or, without `force`, is taken; DataError for a report
    that cannot be read; OutputError when `store` cannot be written.
    """
    check_name(name)
    store, file = Path(store), report_file(report)
    target = store / name
    if os.path.lexists(target) and not force:
        raise _taken(name, store)
    read_report(file, tables=KEPT)
    document = read_document(file)
    listed = document.get("tables")
    if listed is not None:
        document["tables"] = {table: said for table, said in listed.items() if table in KEPT}
    held = KEPT if listed is None else tuple(document["tables"])
    with output_errors(target), _place(target, force, store) as folder:
        for table in held:
            if (file.parent / table).is_file():
                _copy(file.parent / table, folder / table)
        _write(folder / "report.json", dumps(document).encode())
    return show(name, store)


def list_baselines(store: str | Path = STORE) -> tuple[Baseline, ...]:
    """The baselines in `store` by name; none where there is no such folder. One that cannot be read says why."""
    store = Path(store)
    return tuple(_described(store / name) for name in _names(store))


def show(name_or_path: str | Path, store: str | Path = STORE) -> Baseline:
    """What a baseline, or the report at a path, is; DataError where there is none or it cannot be read."""
    folder = report_file(find(name_or_path, store)).parent
    found = _described(folder)
    if found.problem:
        read_report(folder, tables=False)  # raises it
    return found


def load(name_or_path: str | Path, store: str | Path = STORE) -> Report:
    """The report that is kept as the baseline of this name in `store`, or that lies at this path.

    A name in the store comes before a file or folder of that name; `./name` is always a path. DataError where there is
    neither, or it cannot be read. A baseline has the tables `samples` and `classes`, the others are empty.
    """
    place = find(name_or_path, store)
    return read_report(place, tables=KEPT)


def find(name_or_path: str | Path, store: str | Path = STORE) -> Path:
    """Where the report of a baseline's name, or of a path, lies; DataError where there is none."""
    name, store = str(name_or_path), Path(store)
    if is_name(name) and (store / name).is_dir():
        return store / name
    path = Path(name_or_path)
    with contextlib.suppress(OSError, ValueError):
        if name and path.exists():
            return path
    if not is_name(name):
        raise DataError(
            "There is no such report", where=name, do="Give a baseline's name or a report's folder"
        )
    known = _names(store)
    do = did_you_mean(name, known) if known else "Keep one: `repdiag baseline save REPORT --name NAME`"
    raise DataError(f"There is no baseline '{name}', and no file of that name", where=str(store), do=do)


def is_name(name: str) -> bool:
    """Whether a baseline may be called so: letters, digits, `.`, `_`, `-`; a folder's name on any system."""
    plain = _NAME.fullmatch(name) is not None and len(name) <= LONGEST and not name.endswith(".")
    return plain and _DEVICES.fullmatch(name) is None


def check_name(name: str) -> None:
    """Raise UsageError for a name that `is_name` refuses."""
    if not is_name(name):
        raise UsageError(
            f"'{name}' is no name for a baseline",
            do=f"Take up to {LONGEST} letters, digits, '.', '_' and '-', with a letter or digit first",
        )


# ------------------------------------------------------------------------------------ the folder


def _names(store: Path) -> list[str]:
    try:
        if not store.exists():
            return []
        return sorted(p.name for p in store.iterdir() if is_name(p.name) and p.is_dir())
    except OSError as error:
        said = f"Cannot read the baselines: {error.strerror or error}"
        raise DataError(
            said, where=str(store), do="Give the folder that `repdiag baseline save` wrote"
        ) from error


def _described(folder: Path) -> Baseline:
    try:
        report = read_report(folder, tables=False)
    except RepdiagError as error:
        return Baseline(folder.name, folder, problem=str(error))
    dataset, found = report.dataset, report.measurements
    headlines = {
        m.spec.name: float(m.outcome.value)
        for m in found
        if m.spec.headline and isinstance(m.outcome, MetricResult)
    }
    return Baseline(
        name=folder.name,
        path=folder,
        size=sum(p.stat().st_size for n in ("report.json", *KEPT) if (p := folder / n).is_file()),
        created=report.created,
        encoder=str(report.encoder.get("name") or ""),
        dataset=str(dataset.get("name") or ""),
        samples=_count(dataset.get("evaluated", dataset.get("samples"))),
        fingerprint=str(dataset.get("fingerprint") or ""),
        repdiag=str(report.environment.get("repdiag") or ""),
        values=headlines,
    )


def _count(value: Any) -> int:
    return value if isinstance(value, int) and value > 0 else 0


def _taken(name: str, store: Path) -> UsageError:
    do = "Take another name, or --force to replace it"
    return UsageError(f"There is a baseline '{name}' already", where=str(store), do=do)


@contextlib.contextmanager
def _place(target: Path, force: bool, store: Path) -> Iterator[Path]:
    """A hidden folder beside `target` that becomes `target` when the block ends well, and is removed when not.

    With `force` what was there stays whole under a hidden name until the new one is in its place.
    """
    mark = secrets.token_hex(4)
    fresh, old = (target.with_name(f".{target.name}.{mark}.{kind}") for kind in ("part", "old"))
    fresh.mkdir(parents=True)
    moved = False
    try:
        yield fresh
        if force and os.path.lexists(target):
            target.rename(old)
            moved = True
        try:
            fresh.rename(target)
        except OSError:
            if moved:
                old.rename(target)
                moved = False
            elif target.is_dir():  # somebody was faster
                raise _taken(target.name, store) from None
            raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        if moved:
            _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _copy(source: Path, target: Path) -> None:
    with source.open("rb") as read, target.open("wb") as write:
        shutil.copyfileobj(read, write, 2**20)
        write.flush()
        os.fsync(write.fileno())


def _write(target: Path, data: bytes) -> None:
    with target.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
