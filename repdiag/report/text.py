"""Foreign text made fit to print: file names, labels and metadata may hold anything a file name may hold."""

from __future__ import annotations

from repdiag.foreign import visible as visible


def clean(text: str) -> str:
    r"""`text` as valid Unicode: bytes of a file name that are not UTF-8 become visible (`\udcff`)."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def sentence(text: str) -> str:
    """`text` with a capital letter in front and a full stop behind."""
    text = text.strip()
    if not text:
        return text
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


def shortened(text: str, limit: int) -> str:
    """`text`, or its beginning and its end with an ellipsis between when it is longer than `limit`."""
    if len(text) <= limit:
        return text
    tail = limit // 2
    return f"{text[: limit - tail - 1]}…{text[-tail:]}"
