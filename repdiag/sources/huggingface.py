"""Hugging Face data sets: folders written by `save_to_disk`, and `hf:NAME[:CONFIG]` from the hub (extra `hf`)."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

from repdiag.errors import DataError, UsageError
from repdiag.sources import records
from repdiag.sources.images import Images
from repdiag.sources.options import How

HUB = "hf:"


def matches(path: Path) -> bool:
    """Whether `path` is a folder that `Dataset.save_to_disk` or `DatasetDict.save_to_disk` wrote."""
    return any((path / name).is_file() for name in ("state.json", "dataset_dict.json"))


def read(path: Path, *, name: str, how: How) -> Images:
    """The images of a saved Dataset or DatasetDict, its splits by their names. Raises DataError."""
    if not (path / "dataset_dict.json").is_file():
        return records.build(name, _saved(path, ""), how)
    splits = _json(path / "dataset_dict.json").get("splits")
    if not isinstance(splits, list) or not all(isinstance(each, str) and _plain(each) for each in splits):
        raise DataError("dataset_dict.json names no splits", where=name)
    return records.build(name, [part for each in splits for part in _saved(path / each, each)], how)


def _saved(folder: Path, split: str) -> list[records.Part]:
    """The Arrow files of one saved data set, mapped into memory."""
    import pyarrow as pa

    state = _json(folder / "state.json")
    files = state.get("_data_files")
    names = (
        [str(each.get("filename", "")) for each in files if isinstance(each, dict)]
        if isinstance(files, list)
        else []
    )
    if not names or not all(map(_plain, names)):
        raise DataError("state.json names no data files", where=str(folder))
    if state.get("_indices_data_files"):
        do = "Save it again with a newer `datasets`"
        raise DataError(
            "It was saved with an index beside the data, as old versions did", where=str(folder), do=do
        )
    parts = []
    for each in names:
        path = folder / each
        try:
            found = path.stat()
            table = pa.ipc.open_stream(pa.memory_map(str(path))).read_all()
            table.validate(full=True)  # offsets that point elsewhere would be followed
        except (pa.ArrowException, OSError, ValueError) as error:
            raise records.damaged("Arrow", path, error) from error
        parts.append(records.table_part(path, split, table, f"{found.st_size} {found.st_mtime_ns}"))
    return parts


def _plain(name: str) -> bool:
    """Whether a name stays inside its folder."""
    return bool(name) and name not in {".", ".."} and not set(name) & {"/", "\\", "\0"}


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"Cannot read {path.name}", where=str(path.parent)) from error
    if not isinstance(found, dict):
        raise DataError(f"{path.name} is no JSON object", where=str(path.parent))
    return found


def read_hub(name: str, how: How) -> Images:
    """The data set `hf:NAME[:CONFIG]`, fetched or taken from the hub's cache; its code is never run.

    Raises UsageError when `datasets` is not installed, DataError when the hub does not give it.
    """
    try:
        import datasets
    except ImportError as error:
        do = "Install it with: pip install 'repdiag[hf]'"
        raise UsageError("Data sets of the hub need the package datasets", where=name, do=do) from error
    repository, _, config = name.removeprefix(HUB).partition(":")
    if not repository:
        raise UsageError("hf: needs a name, as in hf:uoft-cs/cifar10", where=name)
    refuse_code = {"trust_remote_code": False} if int(datasets.__version__.partition(".")[0]) < 4 else {}
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    talk, before = logging.getLogger("huggingface_hub"), logging.getLogger("huggingface_hub").level
    talk.setLevel(logging.ERROR)  # it reports each of its retries; the failure itself is raised
    try:
        loaded = datasets.load_dataset(repository, config or None, **refuse_code)
    except Exception as error:  # its own, the hub's, the network's: each has a hierarchy of exceptions
        reason = (str(error).splitlines() or [type(error).__name__])[0][:300]
        raise DataError(
            f"The hub gives no such data set: {reason}",
            where=name,
            do="Check the name, the configuration (hf:NAME:CONFIG) and the connection, or give a local copy",
        ) from error
    finally:
        talk.setLevel(before)
    parts = []
    for split, each in loaded.items():
        parts.append(records.table_part(Path(f"{split}.arrow"), split, each.data.table, each._fingerprint))
    return records.build(name, parts, how)
