"""`repdiag metrics`: every metric with its formula, direction and source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from repdiag.types import MetricSpec

ARROWS = {"higher": "higher is better", "lower": "lower is better", "neither": "for description"}


def command(
    name: Annotated[str | None, typer.Argument(help="Only this metric or this family.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the declarations as JSON.")] = False,
) -> None:
    """List every metric: formula, direction, source and status."""
    from repdiag.diagnosis import choose_metrics

    specs = [m.spec for m in choose_metrics([name] if name else None)]
    if as_json:
        import dataclasses
        import json

        from repdiag.report.json_form import plain

        typer.echo(json.dumps([plain(dataclasses.asdict(s)) for s in specs], indent=2))
        return
    from repdiag.cli.console import ResultConsole

    _print(specs, ResultConsole())


def _print(specs: list[MetricSpec], console: Console) -> None:
    from rich.markup import escape
    from rich.padding import Padding

    family = None
    for spec in specs:
        if spec.family != family:
            family = spec.family
            console.print(f"\n[bold reverse] {family} [/]")
        unit = f", {spec.unit}" if spec.unit else ""
        console.print(f"\n[bold]{spec.name}[/]  [dim]{escape(spec.title)}[/]")
        lines = [
            f"{escape(spec.meaning[:1].upper() + spec.meaning[1:])}.",
            f"= {escape(spec.formula)}",
            f"{ARROWS[spec.direction.value]}, range {spec.low:g} to {spec.high:g}{unit}; cost {escape(spec.cost)}",
        ]
        if spec.needs:
            lines.append("needs " + "; ".join(sorted(n.value for n in spec.needs)))
        lines.append(f"[dim]{escape(spec.source)} \\[{spec.status.value}][/]")
        for line in lines:
            console.print(Padding(line, (0, 0, 0, 2)))
