"""Sentences that the page and the terminal share: what turned, how alike, how crowded, which epoch."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from repdiag.comparison.crowding import LESS, MORE, SAME
from repdiag.comparison.side_by_side import Best, Fall, Likeness, SideBySide, Trajectory
from repdiag.comparison.types import Comparison
from repdiag.comparison.words import change
from repdiag.report.comparison_arms import Reading
from repdiag.report.numbers import interval_text, number
from repdiag.types import Interval

MAX_NAMED = 6


def turned_words(one: Comparison, counts: Mapping[str, int]) -> str:
    """ "Newly right: 12 images, newly wrong: 7 (linear probe)"."""
    return f"Newly right: {counts['right']:,} images, newly wrong: {counts['wrong']:,} ({one.config['classifier']})"


def likeness_words(one: Likeness) -> str:
    """CKA and shared neighbors of two encoders in one line."""
    cka = f"{number(one.cka)}{_with(one.cka_interval, one.cka)}"
    shared = f"{number(one.neighbors, 'share')}%{_with(one.neighbors_interval, one.neighbors, 'share')}"
    return (
        f"{one.encoder} and {one.against}: CKA {cka}; of the {one.k} nearest neighbors {shared} are shared, "
        f"{number(one.chance, 'share')}% by chance ({one.n:,} images)"
    )


def _with(interval: Interval | None, value: float, unit: str = "") -> str:
    return "" if interval is None else f" {interval_text(interval, unit, value)}"


def crowding_counts(made: SideBySide) -> list[str]:
    """For each encoder how many measures call it more and less crowded, as they are and relative to their nulls."""
    lines = []
    for one in made.details:
        rows = [row for row in made.crowding if row.difference.subject == one.subject]
        if not rows:
            continue
        plain = _counts([row.word for row in rows])
        relative = [row.relative_word for row in rows if row.relative_word]
        said = f"; relative to the null of permuted labels: {_counts(relative)}" if relative else ""
        lines.append(f"{one.subject} against {one.against}, of {len(rows)} measures: {plain}{said}")
    return lines


def _counts(words: Sequence[str]) -> str:
    return ", ".join(f"{words.count(word)} {word}" for word in (MORE, LESS, SAME))


def epoch_words(epoch: float, course: Trajectory) -> str:
    """ "epoch 20" where epochs are known, else "checkpoint 2"."""
    return f"{'epoch' if course.numbered else 'checkpoint'} {epoch:g}"


def best_words(best: Best, course: Trajectory) -> str:
    """Which checkpoint a rule prefers, and which it does not tell apart from it."""
    said = f"best by {best.title}: {epoch_words(best.epoch, course)} ({best.encoder})"
    if not best.as_good:
        return said
    more = f" and {len(best.as_good) - MAX_NAMED} more" if len(best.as_good) > MAX_NAMED else ""
    what = "of the same mean rank" if best.rule == "mean_rank" else "not told apart from it"
    return f"{said}; {what}: {', '.join(best.as_good[:MAX_NAMED])}{more}"


def fall_words(fall: Fall) -> str:
    """Where a metric turned down, and whether it came back."""
    d = fall.difference
    back = (
        "and does not come back"
        if fall.back is None
        else f"and is no longer told apart from it at {fall.back:g}"
    )
    return f"{d.title} is worse at {fall.epoch:g} than at its best, {fall.best:g}: {change(d)}, {back}"


def names_of(metrics: Sequence[str], left_out: Collection[str], reading: Reading) -> str:
    """Titles of metrics, without some."""
    return ", ".join(
        reading.specs[name].title if name in reading.specs else name
        for name in metrics
        if name not in left_out
    )
