"""webdataset shards: .tar files in which `key.jpg` stands beside `key.cls`, `key.json` or `key.txt`.

A key is a name up to the first dot of its last part. An image named `key.jpg` is taken before one named
`key.seg.png`. Labels come from .cls (a number or a word), else from .json (a field), else from .txt; texts of
which most occur once are captions, not labels.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from repdiag.errors import DataError
from repdiag.sources.images import Images, Listing, by_columns, is_image, printable, shown
from repdiag.sources.listing import shallow
from repdiag.sources.names import LABELS, pick_column
from repdiag.sources.options import How
from repdiag.sources.splits import split_word
from repdiag.sources.tars import Member, Tar, is_tar, open_tar

_LABELED = ("cls", "json", "txt")
_BRACES = re.compile(r"\{([^{}]*)\}")
_MAX_SHARDS = 100_000
_MAX_LABEL_BYTES = 2**20


class _Place(NamedTuple):
    tar: Tar
    member: Member


@dataclass
class _Sample:
    """The members of one key: images and labels by their endings (all after the first dot)."""

    images: dict[str, Member] = field(default_factory=dict)
    labels: dict[str, Member] = field(default_factory=dict)


def matches(path: Path) -> bool:
    """Whether `path` is a pattern of shards such as `a-{000..009}.tar`, or a folder of nothing else than .tar
    files and files beside them that are no images.
    """
    if not path.is_dir():
        return is_tar(path.name) and bool(_BRACES.search(path.name)) and not path.exists()
    files, folders = shallow(path) or ([], [])
    return not folders and any(map(is_tar, files))


def read(path: Path, *, name: str, how: How) -> Images:
    """The images of all shards, with the label of each. Raises DataError for a shard that is not there."""
    if path.is_dir():
        files = [path / each for each in (shallow(path) or ([], []))[0] if is_tar(each)]
    else:
        files = [path.with_name(each) for each in expand(path.name, name)]
        gone = [each.name for each in files if not each.is_file()]
        if gone:
            raise DataError(f"{len(gone)} of {len(files)} shards are not there: {shown(gone)}", where=name)
    return build(name, [open_tar(file, str(file)) for file in files], how)


def expand(pattern: str, where: str) -> list[str]:
    """The names that `{000..009}` and `{a,b}` stand for, in order; raises DataError for other braces."""
    parts: list[Sequence[str]] = []
    end = 0
    for found in _BRACES.finditer(pattern):
        parts += [(pattern[end : found.start()],), _choices(found[1], where)]
        end = found.end()
    parts.append((pattern[end:],))
    total = 1
    for part in parts:
        total *= len(part)
    if total > _MAX_SHARDS:
        raise DataError(f"The pattern stands for {total:,} files; the limit is {_MAX_SHARDS:,}", where=where)
    return ["".join(words) for words in itertools.product(*parts)]


def _choices(inside: str, where: str) -> Sequence[str]:
    if ends := re.fullmatch(r"([0-9]{1,9})\.\.([0-9]{1,9})", inside):
        low, high = int(ends[1]), int(ends[2])
        if high - low >= _MAX_SHARDS:
            raise DataError(f"The pattern stands for {high - low + 1:,} files", where=where)
        width = len(ends[1]) if ends[1].startswith("0") else 0
        if low <= high:
            return [f"{number:0{width}d}" for number in range(low, high + 1)]
    elif "," in inside:
        return inside.split(",")
    raise DataError(f"'{{{inside}}}' stands for no files", where=where, do="Write {000..009} or {a,b}")


def is_shard(members: Sequence[Member]) -> bool:
    """Whether every image has a label beside it under the same key: .cls, or others where no folders could
    be the classes.
    """
    samples = [sample for sample in _samples(members).values() if sample.images]
    if not samples or not all(sample.labels for sample in samples):
        return False
    folders = {each.name.rpartition("/")[0] for sample in samples for each in sample.images.values()}
    return len(folders) == 1 or all("cls" in sample.labels for sample in samples)


def build(name: str, tars: Sequence[Tar], how: How) -> Images:
    """The source of the shards `tars`; ids are `shard/key.jpg`, or `key.jpg` where there is one shard."""
    how.only("webdataset shards", "label_column")
    listed: Listing[_Place] = Listing()
    labels: dict[str, list[Any]] = {}
    splits: list[str] = []
    notes = list(itertools.chain.from_iterable(tar.notes for tar in tars))
    without = twice = 0
    seen: set[str] = set()
    for tar in tars:
        word = split_word(tar.path.name.partition(".")[0], how.split_names) or ""
        begin = f"{tar.path.name}/" if len(tars) > 1 else ""
        for key, sample in _samples(tar.members).items():
            if not sample.images:
                without += 1
                continue
            member = _image(key, sample, str(tar.path))
            if begin + member.name in seen:
                twice += 1
                continue
            seen.add(begin + member.name)
            row = len(listed)
            listed.add(begin + member.name, member.stamp, _Place(tar, member))
            splits.append(word)
            for kind, place in sample.labels.items():
                column = labels.setdefault(kind, [])
                column += [None] * (row - len(column))
                column.append(_label_text(tar, place))
    for column in labels.values():
        column += [None] * (len(listed) - len(column))
    found, said = _labels(labels, how, name) if how.labeled else (None, [])
    if without:
        said.append(f"Samples without an image were ignored: {without}.")
    if twice:
        said.append(f"Keys that occur twice in a shard, of which the first counts: {twice}.")
    return by_columns(
        name,
        listed,
        how=how,
        reader=lambda place: place.tar.read(place.member),
        labels=found,
        splits=splits if any(splits) else None,
        extra=[f"{tar.path.name} {tar.stamp}" for tar in tars],
        notes=(*notes, *said),
    )


def _samples(members: Sequence[Member]) -> dict[str, _Sample]:
    """The members by key, in the order of the shard."""
    samples: dict[str, _Sample] = {}
    for member in members:
        folder, slash, last = member.name.rpartition("/")
        stem, dot, ending = last.partition(".")
        if not dot:
            continue
        ending = ending.lower()
        if is_image(last):
            samples.setdefault(folder + slash + stem, _Sample()).images.setdefault(ending, member)
        elif ending in _LABELED:
            samples.setdefault(folder + slash + stem, _Sample()).labels.setdefault(ending, member)
    return samples


def _image(key: str, sample: _Sample, where: str) -> Member:
    """The image of a sample: the one with a plain ending, else the only one."""
    plain = [ending for ending in sample.images if "." not in ending]
    candidates = plain or list(sample.images)
    if len(candidates) > 1:
        found = ", ".join(f"{printable(key)}.{ending}" for ending in candidates)
        raise DataError(f"One key has several images: {found}", where=where, do="Keep one image per key")
    return sample.images[candidates[0]]


def _label_text(tar: Tar, member: Member) -> str:
    if member.size > _MAX_LABEL_BYTES:
        message = f"The label {printable(member.name)} is {member.size / 2**20:.0f} MB long"
        raise DataError(message, where=str(tar.path))
    try:
        return tar.read(member).decode("utf-8", "replace").strip()
    except OSError as error:
        raise DataError(
            f"Cannot read the label {printable(member.name)}: {error}", where=str(tar.path)
        ) from error


def _labels(texts: dict[str, list[Any]], how: How, where: str) -> tuple[list[Any] | None, list[str]]:
    """The labels of all samples, and what to say about where they come from."""
    if how.label_column is not None and "json" not in texts:
        raise DataError(
            "There are no .json files to take the label from", where=where, do="Leave out --label-column"
        )
    if "cls" in texts and how.label_column is None:
        return texts["cls"], []
    if "json" in texts:
        fields = [_fields(text, where) for text in texts["json"]]
        names = list(dict.fromkeys(itertools.chain.from_iterable(fields)))
        chosen = pick_column(names, LABELS, how.label_column, "label", where)
        if chosen is not None:
            values = [each.get(chosen) for each in fields]
            strange = next((value for value in values if isinstance(value, list | dict)), None)
            if strange is not None:
                raise DataError(
                    f"The field '{chosen}' holds {json.dumps(strange)[:60]}, not one label", where=where
                )
            return values, [f"Labels are the field '{chosen}' of the .json files."]
    if "txt" in texts:
        distinct = len(set(texts["txt"]))
        if 2 * distinct <= len(texts["txt"]):
            return texts["txt"], ["Labels are the texts of the .txt files."]
        return None, [
            f"The .txt files hold {distinct} different texts: captions, not labels. Read as unlabeled."
        ]
    return None, ["No label stands beside the images: read as unlabeled."]


def _fields(text: str | None, where: str) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"A .json file is damaged: {text[:40]}", where=where) from error
    return found if isinstance(found, dict) else {}
