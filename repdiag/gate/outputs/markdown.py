"""A gate's results as Markdown (GitHub's flavor), for a job summary or a comment on a pull request."""

from __future__ import annotations

import html
import re

from repdiag.gate.outputs.words import Line, headline, line, named, printable, warnings
from repdiag.gate.types import GateResult, Outcome

_MARKS = re.compile(r"([\\`*_{}\[\]()#|~!$])")
"""What Markdown obeys inside a line (and `$`, which begins a formula on GitHub)."""


def text(result: GateResult) -> str:
    """`result` as a heading, a sentence and a table with a row per rule; foreign text is shown, never obeyed."""
    said = [headline(result), *_judged(result)]
    parts = [
        f"## repdiag gate: {result.outcome.value}",
        " ".join(said),
        "\n".join(
            [
                "| outcome | rule | value | limit | why |",
                "|---|---|---|---|---|",
                *(_row(line(one)) for one in result.results),
            ]
        ),
    ]
    if beware := warnings(result):
        parts.append("\n".join(f"- {_safe(warning)}" for warning in beware))
    return "\n\n".join(parts) + "\n"


def _judged(result: GateResult) -> list[str]:
    """What was judged and against what."""
    about = [named(result.report), named(result.baseline) if result.baseline is not None else ""]
    said = [f"Judged: {_safe(about[0])}."] if about[0] else []
    if about[1]:
        said.append(f"Baseline: {_safe(about[1])}.")
    return said


def _row(one: Line) -> str:
    word = one.word if one.outcome is Outcome.PASS else f"**{one.word}**"
    cells = (word, *map(_safe, (one.name, one.value or "none", one.limit, one.why)))
    return "| " + " | ".join(cells) + " |"


def _safe(value: str) -> str:
    """`value` as text on one line: no markup, no tag, no link that makes itself."""
    escaped = _MARKS.sub(r"\\\1", html.escape(printable(value.strip()), quote=False))
    escaped = escaped.replace("://", "&#58;//").replace("@", "&#64;")
    return re.sub(r"(?i)(www)\.", r"\1&#46;", escaped)
