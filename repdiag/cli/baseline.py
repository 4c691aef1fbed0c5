"""Keep reports as baselines for `repdiag gate` in a plain folder that can be committed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from repdiag.baselines import Baseline

STORE = Path("repdiag-baselines")
"""`repdiag.baselines.STORE`, said again because importing that takes time that `repdiag --help` does not have."""

Store = Annotated[Path, typer.Option(help="Folder of the baselines.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]


def save(
    report: Annotated[Path, typer.Argument(metavar="REPORT", help="A report's folder or its report.json.")],
    name: Annotated[str, typer.Option(help="What to call it: letters, digits, dots, - and _.")],
    store: Store = STORE,
    force: Annotated[bool, typer.Option("--force", help="Replace a baseline of that name.")] = False,
    quiet: Quiet = False,
) -> None:
    """Keep a report under a name: report.json and the tables that gates read, and nothing else.

    Example: repdiag baseline save repdiag-report --name main
    """
    from repdiag import baselines
    from repdiag.cli.console import print_lines

    kept = baselines.save(report, name, store, force=force)
    if not quiet:
        print_lines(str(kept.path))


def list_(store: Store = STORE, as_json: Json = False, quiet: Quiet = False) -> None:
    """List the baselines that are kept, by name.

    Example: repdiag baseline list
    """
    from repdiag import baselines

    kept = baselines.list_baselines(store)
    if as_json:
        _json([_described(one) for one in kept])
        return
    if quiet:
        return
    if not kept:
        typer.echo(
            f"No baselines in {store}. `repdiag baseline save REPORT --name NAME` keeps one.", err=True
        )
    _columns([(one.name, one.problem or _facts(one)) for one in kept])


def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a baseline, or path of a report.")],
    store: Store = STORE,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Say what a baseline holds: encoder, data, when and by what it was made, headline numbers.

    Example: repdiag baseline show main
    """
    from repdiag import baselines

    kept = baselines.show(name, store)
    if as_json:
        _json(_described(kept))
        return
    if quiet:
        return
    said = {
        "name": kept.name,
        "folder": f"{kept.path} ({_size(kept.size)})",
        "encoder": kept.encoder,
        "data": kept.dataset,
        "samples": f"{kept.samples:,}" if kept.samples else "",
        "fingerprint": kept.fingerprint,
        "made": " by repdiag ".join(part for part in (kept.created, kept.repdiag) if part),
        **{metric: f"{value:.6g}" for metric, value in kept.values.items()},
    }
    _columns([(key, text) for key, text in said.items() if text])


def _facts(kept: Baseline) -> str:
    count = f"{kept.samples:,} samples" if kept.samples else ""
    made = kept.created.partition("T")[0]
    return ", ".join(part for part in (kept.encoder, kept.dataset, count, made, _size(kept.size)) if part)


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def _described(kept: Baseline) -> dict[str, object]:
    """All that is known of a baseline; "problem" is null unless its report cannot be read."""
    return {
        "name": kept.name,
        "path": str(kept.path),
        "bytes": kept.size,
        "encoder": kept.encoder,
        "dataset": kept.dataset,
        "samples": kept.samples,
        "fingerprint": kept.fingerprint,
        "created": kept.created,
        "repdiag": kept.repdiag,
        "values": dict(kept.values),
        "problem": kept.problem or None,
    }


def _json(document: object) -> None:
    import json

    from repdiag.cli.console import print_json

    print_json(json.dumps(document, indent=2, ensure_ascii=False))


def _columns(rows: list[tuple[str, str]]) -> None:
    """A name and what is said of it on each line, unbroken: one line, one baseline or one fact."""
    from repdiag.cli.console import print_lines

    width = max((len(name) for name, _ in rows), default=0)
    print_lines(*(f"{name:<{width}}  {said}" for name, said in rows))


COMMANDS: Mapping[str, Callable[..., None]] = {"save": save, "list": list_, "show": show}
"""The commands of `repdiag baseline` by name."""
