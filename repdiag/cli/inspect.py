"""`repdiag inspect`: what a checkpoint file holds and what would be taken from it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from repdiag.inspection import Found, Inspection
    from repdiag.lines import Writer

SHOWN = 12  # facts, globals and dropped parts on the terminal; --json has all


def command(
    file: Annotated[
        str,
        typer.Argument(
            metavar="FILE",
            help="Checkpoint file, or a folder of Hugging Face's or of torch.distributed.checkpoint.",
        ),
    ],
    *,
    key: Annotated[str | None, typer.Option(help="Entry of the checkpoint that holds the weights.")] = None,
    prefix: Annotated[str | None, typer.Option(help="Prefix of the backbone's tensors.")] = None,
    tensors: Annotated[bool, typer.Option("--tensors", help="List every tensor with its shape.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
) -> None:
    """Say what a checkpoint holds: container, method, encoder, coverage, pickled names. Reads no weight.

    Example: repdiag inspect fixtures/encoders/simclr.pt
    """
    from repdiag.cli.console import ResultConsole, print_json
    from repdiag.inspection import inspect

    found = inspect(file, key=key, prefix=prefix)
    if as_json:
        import json

        said = found.describe()
        if tensors:
            said["shapes"] = {n: [*map(str, (t.dtype,)), *t.shape] for n, t in found.layout.tensors.items()}
        print_json(json.dumps(said, indent=2, ensure_ascii=False))
        return
    if quiet:
        return
    from repdiag.lines import Writer

    writer = Writer(ResultConsole())
    _facts(found, writer)
    if tensors:
        _tensors(found, writer)


def _facts(found: Inspection, writer: Writer) -> None:
    """Each heading once, what is found beside it."""
    from rich.text import Text

    for name, lines in _rows(found):
        for number, line in enumerate(lines):
            if name == "SHA-256":
                writer.path(name, line, at=13)
            else:
                writer.beside("" if number else name, "bold", Text(writer.safe(line)), 13)


def _rows(found: Inspection) -> list[tuple[str, list[str]]]:
    """Each heading with its lines, in the order in which a person asks."""
    layout = found.layout
    rows = [
        ("File", [f"{found.file}  ({_bytes(layout.size)})"]),
        ("Container", [f"{layout.container}, {len(layout.tensors):,} tensors"]),
        ("SHA-256", [layout.sha256]),
    ]
    if found.method is not None:
        rows.append(("Looks like", [f"{found.method.name}: {found.method.because}"]))
    if found.found is not None:
        rows += _encoder(found.found)
    elif found.whole is not None:
        rows.append(("Encoder", [found.whole]))
    if found.input is not None:
        rows.append(("Input", [str(found.input)]))
    if found.found is not None:
        rows += _understood(found.found)
    if found.problem is not None:
        rows.append(("No encoder", [found.problem]))
    if layout.globals:
        names = [f"{name} (left inert)" if name in layout.stubbed else name for name in layout.globals]
        foreign = [name for name in names if name.endswith("(left inert)")]
        rest = len(names) - len(foreign)
        shown = _cut(foreign, "more in --json")
        rows.append(
            (
                "Pickle asks",
                [*shown, f"{rest} names that torch knows"] if foreign else [f"{rest} names that torch knows"],
            )
        )
    if layout.facts:
        rows.append(("Beside", _cut([f"{n} = {v}" for n, v in layout.facts.items()], "more in --json")))
    if layout.warnings:
        rows.append(("Warning", list(layout.warnings)))
    return rows


def _encoder(found: Found) -> list[tuple[str, list[str]]]:
    size = f", {found.dim:,} features" if found.dim else ""
    rows = [("Encoder", [f"{found.architecture}{size}, {found.parameters:,} parameters"])]
    words = {True: "taken", False: "left", None: "which one only the weights can tell: say --prefix"}
    places = [f"{place.prefix.rstrip('.') or 'top level'}" for place in found.places]
    if len(places) == 1:
        rows.append(("Found at", places))
    else:
        rows.append(
            (
                "Candidates",
                [f"{name}: {words[p.taken]}" for name, p in zip(places, found.places, strict=True)],
            )
        )
    dropped = [f"{part} ({count})" for part, count in found.dropped.items()]
    total = sum(found.dropped.values())
    said = (
        f"; {total:,} not part of it: " + ", ".join(_cut(dropped, "more"))
        if total
        else ", which is all there is"
    )
    rows.append(("Coverage", [f"{found.tensors:,} tensors loaded, none missing{said}"]))
    return rows


def _understood(found: Found) -> list[tuple[str, list[str]]]:
    rows = []
    if found.readings:
        rows.append(("Understood", list(found.readings)))
    if found.assumptions:
        rows.append(("Assumed", list(found.assumptions)))
    elif found.alternatives:
        rows.append(("Same as", [", ".join(_cut(list(found.alternatives), "more"))]))
    return rows


def _cut(lines: list[str], rest: str) -> list[str]:
    return lines if len(lines) <= SHOWN else [*lines[:SHOWN], f"{len(lines) - SHOWN} {rest}"]


def _bytes(count: int) -> str:
    steps = ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
    return next((f"{count / step:.1f} {unit}" for step, unit in steps if count >= step), f"{count} bytes")


def _tensors(found: Inspection, writer: Writer) -> None:
    """A line per tensor: shape and type in columns, behind them the name in one piece."""
    from rich.text import Text

    rows = [
        (
            " x ".join(map(str, info.shape)) or "scalar",
            info.dtype,
            name + (f" (= {found.layout.aliases[name]})" if name in found.layout.aliases else ""),
        )
        for name, info in found.layout.tensors.items()
    ]
    if not rows:
        return
    shape, kind = (max(len(row[i]) for row in (*rows, ("shape", "type", ""))) for i in (0, 1))
    writer.blank()
    writer.put(Text(f"{'shape':<{shape}}  {'type':<{kind}}  tensor", "dim"))
    for size, dtype, name in rows:
        writer.put(Text(f"{size:<{shape}}  {dtype:<{kind}}  {writer.exact(name)}"))
