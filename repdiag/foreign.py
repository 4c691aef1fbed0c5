"""Foreign text made fit to print; apart from the rest, so that it costs no import."""

from __future__ import annotations

import unicodedata

_INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
"""Unicode categories that a terminal obeys instead of showing: controls, text direction, line separators."""


def visible(text: str, encoding: str = "utf-8") -> str:
    r"""`text` on one line with nothing for a terminal to obey: escapes and direction marks become `\x1b` etc.

    Characters that `encoding` does not have are escaped as well, so that printing cannot fail.
    """
    shown = "".join(
        character.encode("unicode_escape").decode()
        if unicodedata.category(character) in _INVISIBLE
        else character
        for character in text
    )
    return shown.encode(encoding, "backslashreplace").decode(encoding)
