"""`repdiag metrics`: every metric with its formula, direction and source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from repdiag.types import MetricSpec

ARROWS = {"higher": "higher is better", "lower": "lower is better", "neither": "for description"}


def command(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="Only this metric or this family.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the declarations as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """List every metric: formula, direction, source and status.

    Example: repdiag metrics crowding
    """
    from repdiag.cli.console import ResultConsole, print_json
    from repdiag.diagnosis import choose_metrics

    specs = [m.spec for m in choose_metrics([name] if name else None)]
    if as_json:
        import dataclasses
        import json

        from repdiag.report.json_form import plain

        print_json(json.dumps([plain(dataclasses.asdict(s)) for s in specs], indent=2))
        return
    if not quiet:
        _print(specs, ResultConsole())


def _print(specs: list[MetricSpec], console: Console) -> None:
    from rich.text import Text

    from repdiag.lines import Writer
    from repdiag.report.text import sentence

    writer, family = Writer(console), None
    for spec in specs:
        if spec.family != family:
            if family is not None:
                writer.blank()
            family = spec.family
            writer.line(Text(f" {family} ", "bold reverse"))
        unit = f", {spec.unit}" if spec.unit else ""
        writer.blank()
        writer.line(writer.styled((spec.name, "bold"), (f"  {spec.title}", "dim")), further=2)
        writer.line(sentence(spec.meaning), indent=2, further=2)
        writer.line(f"= {spec.formula}", indent=2, further=4)
        span = f"range {spec.low:g} to {spec.high:g}{unit}; cost {spec.cost}"
        writer.line(f"{ARROWS[spec.direction.value]}, {span}", indent=2, further=2)
        if spec.needs:
            writer.line("needs " + "; ".join(sorted(n.value for n in spec.needs)), indent=2, further=2)
        writer.line(f"{spec.source} [{spec.status.value}]", "dim", indent=2, further=2)
