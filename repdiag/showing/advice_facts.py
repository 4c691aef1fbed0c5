"""What a report found, in the form that the rules of `advice` look at."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from repdiag.types import Finding, Level, Measurement, MetricResult, Table, Verdict

REPORT = "REPORT"
"""In a command: the folder of the report, which only whoever wrote it knows. The help of the CLI calls it so too."""

_IN_MEMORY = ("a module in memory",)
"""Containers of encoders that no command line can name."""


@dataclass(frozen=True)
class Facts:
    """The parts of a report that advice follows from; `model` and `data` are words of a command.

    `model` and `data` are quoted for a POSIX shell. A name with characters that a terminal would obey, or not show, is
    replaced by MODEL or DATA: a command is there to be copied. None where a command line cannot name it.
    """

    results: Mapping[str, MetricResult]
    verdicts: tuple[Verdict, ...]
    encoder: Mapping[str, Any]
    dataset: Mapping[str, Any]
    warnings: tuple[str, ...] = ()
    pairs: Table = field(default_factory=lambda: Table({}))
    classes: Table = field(default_factory=lambda: Table({}))
    risk: Mapping[str, Any] = field(default_factory=dict)

    def result(self, name: str) -> MetricResult | None:
        """The result of a metric, None where it was skipped or not asked for."""
        return self.results.get(name)

    def finding(self, rule: str) -> Finding | None:
        """What the verdicts' rule of that name found, None where it could not be applied."""
        return next((f for v in self.verdicts for f in v.findings if f.rule == rule), None)

    def level(self, rule: str) -> Level | None:
        """The level of that finding."""
        found = self.finding(rule)
        return None if found is None else found.level

    @property
    def evaluated(self) -> int:
        """Samples that labeled measures are about."""
        said = self.dataset.get("labeled_samples") or self.dataset.get("evaluated") or 0
        return int(said)

    @property
    def model(self) -> str | None:
        """The encoder as MODEL of a command; "-" where embeddings were given."""
        if self.container in _IN_MEMORY:
            return None
        return _word(self.encoder.get("location") or self.encoder.get("name"), "MODEL")

    @property
    def container(self) -> str:
        """What the weights came in; "" where nothing is said."""
        loading = self.encoder.get("loading")
        return str(loading.get("container", "")) if isinstance(loading, Mapping) else ""

    @property
    def data(self) -> str | None:
        """The images as DATASET of a command; None for what was in memory."""
        location = self.dataset.get("location")
        if self.container in _IN_MEMORY or location == "embeddings":
            return None
        return _word(location, "DATA")

    @property
    def images(self) -> str | None:
        """`data` where images were read there: not embeddings."""
        return self.data if self.model not in (None, "-") else None


def gathered(
    found: Sequence[Measurement],
    verdicts: Sequence[Verdict],
    *,
    encoder: Mapping[str, Any],
    dataset: Mapping[str, Any],
    warnings: Sequence[str],
    pairs: Table,
    classes: Table,
    risk: Mapping[str, Any],
) -> Facts:
    """The facts in the parts of a report."""
    results = {m.spec.name: m.outcome for m in found if isinstance(m.outcome, MetricResult)}
    return Facts(results, tuple(verdicts), encoder, dataset, tuple(warnings), pairs, classes, risk)


def _word(value: object, placeholder: str) -> str | None:
    """`value` as one word of a command; a name that begins with a dash must not pass for an option."""
    if not value:
        return None
    text = str(value)
    if not text.isprintable() or (not text.isascii() and any("\udc80" <= c <= "\udcff" for c in text)):
        return placeholder
    return shlex.quote(text if text == "-" or not text.startswith("-") else f"./{text}")
