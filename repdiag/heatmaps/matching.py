"""Which sample a name means: the same path, else the same file name if only one of them is called so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from repdiag.sources.images import is_image, printable


def plain(path: str) -> str:
    """A path with forward slashes and without empty parts, `.` and `..`: names are compared, never opened."""
    return "/".join(part for part in path.replace("\\", "/").split("/") if part not in ("", ".", ".."))


def stem(path: str) -> str:
    """A path without the ending of an image file; other dots stay."""
    return path[: path.rfind(".")] if is_image(path) else path


_PATH, _TAIL, _NAME = 0, 1, 2
"""How sure a match is: by the whole path, by the file and some folders, by the file alone."""


class Matching:
    """From sample ids to the names of `entries`, with account of what was found how.

    In order: the same path, or the same but for an image's ending; of the names that agree in the file name (else in
    the file name but for the ending) the only one whose folders agree with the sample's as far as both have some; the
    only one at all. A name goes to the sample that it fits best. Where two samples fit equally well without having its
    path, neither gets it; as long as the `samples` are not known, the first that asks does.
    """

    def __init__(self, entries: Iterable[str], samples: Sequence[str] | None = None) -> None:
        self._entries = tuple(entries)
        self._paths: dict[str, list[str]] = {}
        self._names: dict[str, list[str]] = {}
        for entry in self._entries:
            path = plain(entry)
            for key in dict.fromkeys((path, stem(path))):
                self._paths.setdefault(key, []).append(entry)
                self._names.setdefault(_file(key), []).append(entry)
        self._found: dict[str, str | None] = {}
        self._claims: dict[str, list[int]] = {}
        self._by_name: set[str] = set()
        self._doubtful: dict[str, None] = {}
        self._known = samples is not None
        if samples is not None:
            looked = {sample: self._look(sample) for sample in samples}
            for look in looked.values():
                self._claim(*look)
            for sample, look in looked.items():
                self._settle(sample, *look)

    @property
    def matched(self) -> tuple[str, ...]:
        """The samples with an entry, once they are known; the entries before."""
        if not self._known:
            return self._entries
        return tuple(sample for sample, entry in self._found.items() if entry is not None)

    def find(self, sample: str) -> str | None:
        """The entry of one sample; None where there is none, or several might be meant."""
        if sample not in self._found:
            entry, rank = self._look(sample)
            self._claim(entry, rank)
            self._settle(sample, entry, rank)
        return self._found[sample]

    def _claim(self, entry: str | None, rank: int) -> None:
        if entry is not None:
            self._claims.setdefault(entry, []).append(rank)

    def _look(self, sample: str) -> tuple[str | None, int]:
        """The entry that fits a sample best, and how well; none and _NAME where several fit."""
        path = plain(sample)
        for key in dict.fromkeys((path, stem(path))):
            entries = self._paths.get(key, ())
            if len(entries) == 1:
                return entries[0], _PATH
        name = _file(path)
        entries = self._names.get(name) or self._names.get(stem(name)) or []
        close = [entry for entry in entries if _agrees(stem(plain(entry)), stem(path))]
        if len(close) == 1:
            return close[0], _TAIL
        if len(entries) > 1:
            self._doubtful[sample] = None
        return (entries[0] if len(entries) == 1 else None), _NAME

    def _settle(self, sample: str, entry: str | None, rank: int) -> None:
        """Give the entry to the sample, unless it fits another as well or better."""
        if entry is not None and rank != _PATH:
            claims = self._claims[entry]
            if claims.count(rank) > 1:
                self._doubtful[sample] = None
            if claims.count(rank) > 1 or min(claims) < rank:
                entry = None
            elif rank == _NAME:
                self._by_name.add(sample)
        self._found[sample] = entry

    def sentences(self) -> list[str]:
        """How many samples have an entry, how they were matched, and which are in doubt."""
        asked = len(self._found)
        said = []
        if self._by_name:
            said.append(
                f"Samples matched to a mask by their file name alone: {len(self._by_name):,} of {asked:,}."
            )
        if self._doubtful:
            first = printable(next(iter(self._doubtful)))[:200]
            said.append(
                "Samples without a mask because several files have their name, so that it is in doubt whose it is: "
                f"{len(self._doubtful):,} of {asked:,} (first: {first})."
            )
        lacking = [s for s, entry in self._found.items() if entry is None and s not in self._doubtful]
        if lacking:
            first = printable(lacking[0])[:200]
            said.append(f"Samples without a mask: {len(lacking):,} of {asked:,} (first: {first}).")
        return said


def _file(path: str) -> str:
    return path.rpartition("/")[2]


def _agrees(entry: str, sample: str) -> bool:
    """Whether one path is the end of the other, a folder of both included."""
    short, long = sorted((entry, sample), key=len)
    return "/" in short and (long == short or long.endswith(f"/{short}"))
