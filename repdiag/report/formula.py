"""A metric's formula set for reading: Greek letters, indices, powers and signs in place of their names.

Formulas are declared in plain ASCII (they stand in JSON, CSV and docstrings as well); nothing but their look changes.
"""

from __future__ import annotations

import re

from markupsafe import Markup, escape

from repdiag.report.text import clean

_GREEK = {
    "alpha": "α", "beta": "β", "delta": "δ", "Delta": "Δ", "eps": "ε", "epsilon": "ε", "lambda": "λ", "mu": "μ",
    "sigma": "σ", "Sigma": "Σ", "tau": "τ", "sum": "∑", "sqrt": "√", "inf": "∞",
}  # fmt: skip
_WORDS = frozenset({"Var", "std", "mean", "max", "min", "avg", "risk", "argmax", "argmin", "log", "exp"})
"""Names that may carry an index; any other longer name with an underscore is a name (hungarian_accuracy)."""

_SIGNS = {
    "!=": "≠",
    ">=": "≥",
    "<=": "≤",
    "||": "‖",
    " * ": " · ",
    " & ": " ∩ ",
    " - ": " − ",
    "-": "−",
    "'": "′",
}

_TOKEN = re.compile(
    r"\^(?:\{(?P<braced>[^{}]*)\}|(?P<power>-?[\w/]+))"
    r"|(?<=[)|\]])_(?P<below>\w+)"
    r"|(?P<name>[A-Za-z]+)(?P<prime>'?)(?P<index>(?:_\{[^{}]*\}|_[A-Za-z0-9]+'?)?)(?![A-Za-z_])"
    r"|(?P<sign>!=|>=|<=|\|\|| \* | & | - |(?:^|(?<=[(\[])|(?<== ))-|(?<=\b[A-Za-z])'(?=[A-Z]))"
)
_SUMMED = re.compile(r" (?:[A-Za-z](?![A-Za-z])|lambda\b|\|)")
"""What follows a sum that is a sign; "rows sum to 1" is a sentence."""


def readable(formula: str) -> Markup:
    """The formula as markup with <sub> and <sup>; everything else of it is escaped.

    >>> readable("1/N * sum_i ||mu_c - x||^2 >= eps")
    Markup('1/N · ∑<sub>i</sub> ‖μ<sub>c</sub> − x‖<sup>2</sup> ≥ ε')
    """
    formula = clean(formula)
    union = " & " in formula  # then a lone bar between spaces is its counterpart, not a norm or a condition
    parts: list[Markup] = []
    end = 0
    for found in _TOKEN.finditer(formula):
        parts.append(_plain(formula[end : found.start()], union))
        parts.append(_set(found))
        end = found.end()
    parts.append(_plain(formula[end:], union))
    return Markup("").join(parts)


def _plain(text: str, union: bool) -> Markup:
    return escape(text.replace(" | ", " ∪ ") if union else text)


def _set(found: re.Match[str]) -> Markup:
    if found["sign"]:
        return escape(_SIGNS[found["sign"]])
    if found["below"]:
        return Markup("<sub>{}</sub>").format(found["below"])
    power = found["braced"] or found["power"]
    if power:
        return Markup("<sup>{}</sup>").format(power.replace("-", "−"))
    name, prime, index = found["name"], found["prime"], found["index"]
    if name is None:  # an empty pair of braces
        return escape(found[0])
    if name == "sum" and not index and not _SUMMED.match(found.string, found.end()):
        return escape(found[0])
    shown = _GREEK.get(name, name) + (prime if len(name) > 2 else "′" if prime else "")
    if not index:
        return escape(shown)
    if not (name in _GREEK or name in _WORDS or len(name) <= 2):
        return escape(found[0])
    inside = index[1:].strip("{}").replace("!=", "≠").replace("'", "′")
    return Markup("{}<sub>{}</sub>").format(shown, inside)
