"""The images that are trained on: each decoded once and kept as uint8, or decoded again for every batch.

An image becomes a square of `store` pixels as `repdiag score` would make it: shorter side to `store`, center crop,
the encoder's interpolation. `store` is the encoder's `resize`, so that what is scored, the center `size` pixels of
the resized image, is a part of it, and random crops have a little more to choose from. What lies outside that
square, the ends of an oblong image, is never seen in training; nor is detail finer than `store` pixels.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from repdiag.encoders import Preprocessing
from repdiag.errors import DataError, ResourceError, UsageError
from repdiag.extraction.images import Pixels, Undecodable, bombs_are_errors, decode, preprocess
from repdiag.extraction.loader import default_workers
from repdiag.training.ahead import Task, in_order
from repdiag.types import CorruptImage, ImageSource, Progress, silent

_AHEAD_BYTES = 256 * 2**20
"""Pixels that may wait for the training step, all batches together (one batch always may)."""
_CHUNK = 256
"""Images that are read at a time while the data set is opened."""
_TASK = 16
"""Images of one task at most: one each would cost as much in bookkeeping as a small image in decoding."""

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class TrainingImages:
    """N readable images by their place 0 .. N-1, as squares of uint8; made by `training_images`.

    `rows` (N,) are their rows in the source, `labels` (N,) int64 with -1 for unknown (None: unlabeled), `corrupt`
    those that were left out. `held` (M, C, store, store) are the first M <= N images, kept in memory; the others
    are decoded for every batch, to the same bits, by `workers` threads. `offsets` (M, 2) are the top and left of
    the `size` pixels in a held square that are scored.
    """

    source: ImageSource = field(repr=False)
    how: Preprocessing
    rows: Rows = field(repr=False)
    labels: Tensor | None = field(repr=False)
    corrupt: tuple[CorruptImage, ...]
    held: Tensor = field(repr=False)
    offsets: Rows = field(repr=False)
    workers: int

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def size(self) -> int:
        """Pixels per side of what the encoder sees."""
        return self.how.size

    @property
    def store(self) -> int:
        """Pixels per side of a training square."""
        return self.how.resize

    @property
    def streamed(self) -> bool:
        """Whether images are decoded for every batch, because they did not all fit into memory."""
        return len(self.held) < len(self)

    @property
    def paths(self) -> tuple[str, ...]:
        """Each image's id in the data set."""
        paths = self.source.manifest.paths
        return tuple(paths[row] for row in self.rows)

    @property
    def fingerprint(self) -> str:
        """A SHA-256 that changes with the data set, the images chosen from it, and what becomes of their pixels."""
        how = (self.store, self.size, self.how.channels, self.how.interpolation)
        digest = hashlib.sha256(f"{self.source.manifest.fingerprint} {how} ".encode())
        digest.update(self.rows.tobytes())
        return digest.hexdigest()

    def batches(self, order: Iterable[Tensor], *, clean: bool = False) -> Iterator[Tensor]:
        """For each int64 tensor of places (n,) the squares (n, C, store, store) uint8, in that order.

        `clean` gives what `clean` would. On the CPU, in pinned memory where there is CUDA. Some batches are made
        ahead, so `order` is read ahead too. Raises DataError when an image that was readable no longer is, IndexError
        for a place that there is not.
        """
        side = self.size if clean else self.store
        nbytes = self.how.channels * side**2
        pool = ThreadPoolExecutor(self.workers, thread_name_prefix="repdiag-train")
        pinned = torch.cuda.is_available()

        def jobs() -> Iterator[tuple[Tensor, list[Task]]]:
            for places in order:
                shape = (len(places), self.how.channels, side, side)
                batch = torch.empty(shape, dtype=torch.uint8, pin_memory=pinned)
                yield batch, self._tasks(batch.numpy(), self._checked(places), clean)

        try:
            yield from in_order(pool, jobs(), lambda batch: _AHEAD_BYTES // max(1, nbytes * len(batch)))
        finally:
            pool.shutdown(cancel_futures=True)

    def clean(self, places: Tensor) -> Tensor:
        """What `repdiag score` gives the encoder for the images at `places`, to the bit: (n, C, size, size) uint8.

        Raises as `batches` does.
        """
        return next(iter(self.batches([places], clean=True)))

    def _checked(self, places: Tensor) -> Rows:
        found: Rows = places.to("cpu", torch.int64).numpy()
        if found.size and not 0 <= found.min() <= found.max() < len(self):
            raise IndexError(f"places are 0 to {len(self) - 1}, not {found.min()} to {found.max()}")
        return found

    def _tasks(self, batch: Pixels, places: Rows, clean: bool) -> list[Task]:
        """What fills `batch`, in parts: small ones where images must be decoded."""
        most = _TASK if self.streamed else 256
        part = max(1, min(most, len(places) // (2 * self.workers)))
        parts = [slice(start, start + part) for start in range(0, len(places), part)]
        return [lambda cut=cut: self._fill(batch[cut], places[cut], clean) for cut in parts]  # type: ignore[misc]

    def _fill(self, batch: Pixels, places: Rows, clean: bool) -> None:
        there = places < len(self.held)
        if there.all():
            self._copy(batch, places, clean)
            return
        if there.any():
            found = np.empty((int(there.sum()), *batch.shape[1:]), np.uint8)
            self._copy(found, places[there], clean)
            batch[there] = found
        how = self.how if clean else _square(self.how)
        for spot in np.flatnonzero(~there):
            row = int(self.rows[places[spot]])
            try:
                image = decode(self.source.read(row))
                batch[spot] = preprocess(image, how).transpose(2, 0, 1)
            except (OSError, Undecodable) as error:
                raise DataError(
                    f"An image can no longer be read: {_reason(error)}",
                    where=self.source.manifest.paths[row],
                    do="Leave the data set as it is while it is trained on",
                ) from error

    def _copy(self, batch: Pixels, places: Rows, clean: bool) -> None:
        """Fill `batch` from memory. numpy copies without the interpreter lock, and starts no threads of its own."""
        held: Pixels = self.held.numpy()
        if not clean or self.size == self.store:
            np.take(
                held, places, axis=0, out=batch, mode="clip"
            )  # "raise" would copy twice; places are checked
            return
        offsets = self.offsets[places]
        for top, left in np.unique(offsets, axis=0):
            same = np.flatnonzero((offsets == (top, left)).all(1))
            batch[same] = held[places[same], :, top : top + self.size, left : left + self.size]


def training_images(
    source: ImageSource,
    rows: Rows,
    how: Preprocessing,
    *,
    memory: float,
    workers: int | None = None,
    max_corrupt: float = 0.01,
    progress: Progress = silent,
) -> TrainingImages:
    """The images `rows` of `source`, for an encoder that takes them as `how` says.

    Each is decoded once here. As many as fit into `memory` GB (10^9 bytes) are kept, C * resize^2 bytes each: 4 GB
    hold 1.3 million images of 32 pixels, 20,000 of 256. The others are only tried, and decoded again in every
    epoch. Every process of a run with several has a copy of its own. `workers` threads decode (None: as many
    as help here).

    Raises DataError when a share of more than `max_corrupt` cannot be read (one always may, unless it is 0) or fewer
    than two are left, ResourceError when `memory` is more than there is.
    """
    rows = np.asarray(rows, dtype=np.int64)
    manifest = source.manifest
    if rows.ndim != 1 or (rows.size and not 0 <= rows.min() <= rows.max() < len(manifest)):
        raise UsageError(f"The rows to train on are not among the {len(manifest)} images", where=source.name)
    if not memory >= 0:
        raise UsageError(f"The memory for images must be at least 0 GB, not {memory}")
    workers = workers or default_workers(torch.device("cuda" if torch.cuda.is_available() else "cpu"))
    held = _empty(int(min(rows.size, memory * 1e9 // (how.channels * how.resize**2))), how)
    offsets = np.zeros((len(held), 2), np.int64)
    filled, bad = 0, dict[int, str]()
    progress("read training images", 0, rows.size)
    pool = ThreadPoolExecutor(workers, thread_name_prefix="repdiag-read")
    jobs = ((chunk := _Chunk.of(part, how), chunk.tasks(source)) for part in _cut(rows, _CHUNK))
    try:
        with bombs_are_errors():
            done = 0
            for chunk in in_order(pool, jobs, lambda chunk: _AHEAD_BYTES // chunk.squares.nbytes):
                fine = np.array([row not in chunk.bad for row in chunk.rows.tolist()])
                taken = np.flatnonzero(fine)[: len(held) - filled]
                held.numpy()[filled : filled + taken.size] = chunk.squares[taken]
                offsets[filled : filled + taken.size] = chunk.offsets[taken]
                filled, bad = filled + taken.size, bad | chunk.bad
                done += len(chunk.rows)
                progress("read training images", done, rows.size)
    finally:
        pool.shutdown(cancel_futures=True)
    corrupt = tuple(CorruptImage(manifest.paths[row], bad[row]) for row in sorted(bad))
    kept = rows[[row not in bad for row in rows.tolist()]] if bad else rows
    _tolerate(corrupt, rows.size, len(kept), max_corrupt, source.name)
    labels = None if manifest.labels is None else torch.from_numpy(manifest.labels[kept].astype(np.int64))
    return TrainingImages(source, how, kept, labels, corrupt, held[:filled], offsets[:filled], workers)


@dataclass(frozen=True, eq=False)
class _Chunk:
    """Some rows on their way into memory; `bad` says why some could not be read."""

    rows: Rows
    how: Preprocessing
    squares: Pixels
    offsets: Rows
    bad: dict[int, str] = field(default_factory=dict)

    @classmethod
    def of(cls, rows: Rows, how: Preprocessing) -> _Chunk:
        squares = np.empty((len(rows), how.channels, how.resize, how.resize), np.uint8)
        return cls(rows, how, squares, np.zeros((len(rows), 2), np.int64))

    def tasks(self, source: ImageSource) -> list[Task]:
        cuts = [range(i, min(i + _TASK, len(self.rows))) for i in range(0, len(self.rows), _TASK)]
        return [lambda cut=cut: self._read(source, cut) for cut in cuts]  # type: ignore[misc]

    def _read(self, source: ImageSource, cut: range) -> None:
        square = _square(self.how)
        for spot in cut:
            row = int(self.rows[spot])
            try:
                image = decode(source.read(row))
                self.squares[spot] = preprocess(image, square).transpose(2, 0, 1)
                self.offsets[spot] = _offset(image, self.how)
            except (OSError, Undecodable) as error:
                self.bad[row] = _reason(error)


def _square(how: Preprocessing) -> Preprocessing:
    """As `how`, without the last cut from `resize` to `size`."""
    return how if how.size == how.resize else dataclasses.replace(how, size=how.resize)


def _offset(image: Image.Image, how: Preprocessing) -> tuple[int, int]:
    """Where the scored pixels begin in the square: top and left.

    Both crops are of the resized image, each rounded on its own, so it is not always half of what is left.
    """
    short = min(image.size)
    width, height = (how.resize * side // short for side in image.size)
    top, left = (round((side - how.size) / 2) - round((side - how.resize) / 2) for side in (height, width))
    return top, left


def _empty(count: int, how: Preprocessing) -> Tensor:
    try:
        return torch.empty(count, how.channels, how.resize, how.resize, dtype=torch.uint8)
    except RuntimeError as error:  # torch's word for too little memory on the CPU
        gigabytes = count * how.channels * how.resize**2 / 1e9
        raise ResourceError(
            f"There is no memory for {count} images ({gigabytes:.1f} GB)", do="Choose a lower --image-memory"
        ) from error


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"cannot be read: {error.strerror or error}"
    return str(error)


def _tolerate(corrupt: Sequence[CorruptImage], n: int, left: int, share: float, where: str) -> None:
    """Raise DataError when more images are corrupt than accepted, or fewer than two are left."""
    allowed = max(1, int(share * n)) if share else 0
    if len(corrupt) <= allowed and left >= 2:
        return
    if not corrupt:
        raise DataError(f"There are {n} images to train on; at least two are needed", where=where)
    shown = "; ".join(f"{one.path} ({one.reason})" for one in corrupt[:3])
    raise DataError(
        f"{len(corrupt)} of {n} images to train on cannot be read: {shown}{'; ...' if len(corrupt) > 3 else ''}",
        where=where,
        do="Repair them: fewer than two are left to train on"
        if left < 2
        else f"Repair or remove them, or accept more than {share:.3g} of all with --max-corrupt",
    )


def _cut(rows: Rows, size: int) -> Iterator[Rows]:
    return (rows[start : start + size] for start in range(0, len(rows), size))
