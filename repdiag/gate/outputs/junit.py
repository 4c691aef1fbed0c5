"""A gate's results as JUnit XML, which GitLab, Jenkins and others show beside unit tests: a test case per rule.

Ours: a failing rule is a `failure`. An undetermined one is a `failure` of type "undetermined" by default, since a page
that reads nothing but this file must not show it as good; with `skip_undetermined` it is `skipped`. The file changes no
job's color by itself in GitLab: the exit code does. Test cases keep their names from run to run, and no two share one,
because GitLab shows only the first of those that do.
"""

from __future__ import annotations

from xml.etree import ElementTree

from repdiag.gate.outputs.words import Line, headline, line, named, printable, warnings
from repdiag.gate.types import GateResult, Outcome

SUITE = "repdiag.gate"


def text(result: GateResult, skip_undetermined: bool = False) -> str:
    """`result` as an XML document (UTF-8). Names and reasons are text, whatever they hold; nothing tells the time."""
    fail, undetermined = result.count(Outcome.FAIL), result.count(Outcome.UNDETERMINED)
    counts = {
        "tests": str(len(result.results)),
        "failures": str(fail if skip_undetermined else fail + undetermined),
        "errors": "0",
        "skipped": str(undetermined if skip_undetermined else 0),
    }
    root = ElementTree.Element("testsuites", {"name": SUITE, **counts})
    suite = ElementTree.SubElement(root, "testsuite", {"name": SUITE, **counts})
    facts = {
        "outcome": result.outcome.value,
        "report": named(result.report),
        "baseline": "" if result.baseline is None else named(result.baseline),
        "rules": result.rules_source,
    }
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in facts.items():
        if value:
            ElementTree.SubElement(properties, "property", {"name": name, "value": printable(value)})
    taken: set[str] = set()
    for one in result.results:
        _case(suite, line(one), _unique(printable(one.rule.name), taken), skip_undetermined)
    said = [headline(result), *warnings(result)]
    ElementTree.SubElement(suite, "system-out").text = "\n".join(map(printable, said))
    ElementTree.indent(root)
    body = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{body}\n'


def _case(suite: ElementTree.Element, one: Line, name: str, skip_undetermined: bool) -> None:
    case = ElementTree.SubElement(suite, "testcase", {"classname": SUITE, "name": name})
    facts = "\n".join(printable(part) for part in (one.short, one.why) if part)
    if one.outcome is Outcome.PASS:
        ElementTree.SubElement(case, "system-out").text = facts
        return
    skipped = one.outcome is Outcome.UNDETERMINED and skip_undetermined
    about = {"message": printable(one.why)} | ({} if skipped else {"type": one.outcome.value})
    ElementTree.SubElement(case, "skipped" if skipped else "failure", about).text = facts


def _unique(name: str, taken: set[str]) -> str:
    """`name`, numbered where another test case has it (names that differ may look alike once they can be printed)."""
    free, count = name, 1
    while free in taken:
        count += 1
        free = f"{name} ({count})"
    taken.add(free)
    return free
