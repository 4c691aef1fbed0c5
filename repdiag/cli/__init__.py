"""The command line: one file per command, thin, no mathematics. Importing this imports no torch."""

from __future__ import annotations

import functools
import os
import re
import sys
import traceback
from collections.abc import Callable
from typing import Annotated, Any, NoReturn

import typer

from repdiag import __version__
from repdiag.errors import Interrupted, RepdiagError

app = typer.Typer(
    name="repdiag",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="How good is a self-supervised image encoder really? Score a checkpoint on a data set, sample by sample.",
    epilog="Exit codes: 0 done, 1 a gate fails, 2 usage, 3 unreadable input, 4 a gate is undetermined, "
    "5 internal error, 6 output cannot be written, 7 unsafe checkpoint refused, 8 out of memory, 130 interrupted.",
)


def _version(show: bool) -> None:
    if show:
        typer.echo(f"repdiag {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="On an error, print the whole traceback.")] = False,
) -> None:
    """Options that belong to every command."""


def _register() -> None:
    from repdiag.cli import audit, baseline, compare, explain, export, finetune, gate, inspect, metrics, score

    commands = {
        "score": score,
        "inspect": inspect,
        "export": export,
        "finetune": finetune,
        "gate": gate,
        "compare": compare,
        "audit": audit,
        "explain": explain,
        "metrics": metrics,
    }
    for name, module in commands.items():
        app.command(name, help=paragraphs(module.command.__doc__))(_guarded(module.command))
    baselines = typer.Typer(no_args_is_help=True, help=baseline.__doc__)
    for name, function in baseline.COMMANDS.items():
        baselines.command(name, help=paragraphs(function.__doc__))(_guarded(function))
    app.add_typer(baselines, name="baseline")


def paragraphs(text: str | None) -> str:
    """A docstring with each paragraph on one line, for a terminal of any width to wrap."""
    return "\n\n".join(" ".join(part.split()) for part in re.split(r"\n\s*\n", text or ""))


def _guarded(command: Callable[..., None]) -> Callable[..., None]:
    """`command`, with the two ends that typer would turn into an exit code of its own."""

    @functools.wraps(command)
    def guarded(*args: Any, **options: Any) -> None:
        try:
            command(*args, **options)
            sys.stdout.flush()
        except KeyboardInterrupt:
            raise Interrupted(
                "Interrupted",
                do="Unless --no-cache was given, the same command goes on from there: embeddings are kept",
            ) from None
        except BrokenPipeError:  # the reader of stdout (head, less) has seen enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(141) from None

    return guarded


_register()


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; one sentence on stderr and a distinct exit code for each kind of failure."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if os.environ.get("NO_COLOR"):  # typer would still print bold and dim
        from typer import rich_utils

        rich_utils.COLOR_SYSTEM = None
    debug = "--debug" in arguments  # accepted anywhere: who needs it has just seen the command fail
    try:
        app([a for a in arguments if a != "--debug"])
    except RepdiagError as error:
        _fail(str(error), error.exit_code, debug)
    except MemoryError:
        _fail("This machine ran out of memory. Give fewer samples, or a machine with more.", 8, debug)
    except Exception as error:
        kind = type(error).__name__
        advice = "Report this." if debug else "Run again with --debug and report the traceback."
        _fail(f"Internal error ({kind}: {error}). {advice}", 5, debug)


def _fail(message: str, code: int, debug: bool) -> NoReturn:
    from rich.console import Console
    from rich.markup import escape

    from repdiag.cli.console import color
    from repdiag.foreign import visible

    if debug:
        traceback.print_exc()
    console = Console(stderr=True, soft_wrap=True, highlight=False, color_system=color())  # type: ignore[arg-type]
    said = "\n".join(visible(line, console.encoding) for line in message.splitlines())
    console.print(f"[bold red]Error:[/] {escape(said)}")
    raise SystemExit(code)
