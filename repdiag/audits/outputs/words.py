"""What an audit says in sentences, the same on the page and in the terminal."""

from __future__ import annotations

from repdiag.audits.types import Audit, Copies
from repdiag.report.numbers import number, quantity
from repdiag.types import Skipped

DUPLICATE_RULE = {
    "given": "the cosine that was given",
    "data": "nearer than chance explains, by the distances to the nearest neighbor in these data; up to about one "
    "in ten of them may be there by chance (our rule)",
    "equal rows only": "only embeddings that are equal but for rounding",
}


def counted(n: int, one: str, many: str | None = None) -> str:
    """ "1 image", "1,200 images"."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def worth(audit: Audit) -> str:
    """What reviewing the list is worth, in one or two sentences."""
    catch = audit.catch
    said = f"The {counted(catch.samples, 'riskiest image')} of {catch.evaluated:,}."
    if catch.expected is not None and catch.low is not None and catch.high is not None:
        said += f" By their risks {catch.expected:.1f} errors are expected among them"
        said += f" ({catch.low:.0f} to {catch.high:.0f} in 95% of cases, were each risk right)"
        said += "." if catch.found is None else f"; {catch.found:,} are misclassified" + _share(audit) + "."
    elif catch.found is not None:
        said += f" {counted(catch.found, 'is', 'are')} misclassified" + _share(audit) + "."
    if catch.found is None:
        said += " Without labels nothing tells how many of them are wrong."
    elif catch.labeled < catch.samples:
        said += f" {counted(catch.samples - catch.labeled, 'has', 'have')} no label."
    return said


def _share(audit: Audit) -> str:
    """Of how many errors in all; a random list as the yardstick."""
    catch = audit.catch
    if not catch.errors or catch.found is None:
        return ""
    share = quantity(catch.found / catch.errors, "share")
    random = quantity(catch.samples / catch.evaluated, "share")
    return f", {share} of all {counted(catch.errors, 'error')} (as many at random would hold {random})"


def copies(audit: Audit) -> str:
    """What was found of near-duplicates, and by which rule, or why they were not looked for."""
    found = audit.copies
    if isinstance(found, Skipped):
        return f"Near-duplicates were not looked for: {found.reason}."
    conflicts, leaks = (sum(getattr(g, name) for g in found.groups) for name in ("conflict", "leaks"))
    rule = f"cosine at least {least(found)}: {DUPLICATE_RULE[found.chosen]}"
    if found.reason:
        rule += f", since {found.reason}"
    if not found.groups:
        return f"No near-duplicates among {found.searched:,} images ({rule})."
    said = f"{counted(found.samples, 'image')} of {found.searched:,} in {counted(len(found.groups), 'group')}"
    facts = [f"{conflicts:,} with different labels"] if conflicts else []
    facts += [f"{leaks:,} with images in train and in test"] if leaks else []
    return f"{said}{', ' + ' and '.join(facts) if facts else ''} ({rule})."


def least(found: Copies) -> str:
    """The threshold with as many digits as tell it from 1."""
    return f"{found.threshold:.6f}" if found.threshold > 0.9999 else number(found.threshold)


def suspects(audit: Audit) -> str:
    """How many labels are suspect, by whom, or why that was not looked for."""
    found = audit.suspects
    if isinstance(found, Skipped):
        return f"Label errors were not looked for: {found.reason}."
    rules = "; ".join(f"{name}: {rule}" for name, rule in found.rules.items())
    rules += "".join(f"; {name} skipped, {reason}" for name, reason in found.skipped.items())
    if not found.found:
        return f"No suspect labels among {counted(found.judged, 'label')} ({rules})."
    verb = "is" if len(found.found) == 1 else "are"
    doubt = ""
    if audit.catch.errors:
        doubt = (
            f" The probe contradicts {audit.catch.errors:,} labels in all: the weaker an encoder, the more of the"
            " suspects are its mistakes and not the labels'."
        )
    return f"{counted(len(found.found), 'label')} of {found.judged:,} {verb} suspect ({rules}).{doubt}"
