"""The command line: one file per command, thin, no mathematics. Importing this imports no torch."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from repdiag import __version__
from repdiag.errors import RepdiagError

app = typer.Typer(
    name="repdiag",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="How good is a self-supervised image encoder really? Score a checkpoint on a data set, sample by sample.",
    epilog="Exit codes: 0 done, 2 usage, 3 unreadable input, 5 internal error, 6 output cannot be written, "
    "7 unsafe checkpoint refused, 8 out of memory, 130 interrupted.",
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
    from repdiag.cli import metrics, score

    app.command("score")(score.command)
    app.command("metrics")(metrics.command)


_register()


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; one sentence on stderr and a distinct exit code for each kind of failure."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if "--debug" in arguments:  # accepted anywhere: who needs it has just seen the command fail
        arguments = ["--debug", *(a for a in arguments if a != "--debug")]
    try:
        app(arguments, standalone_mode=True)
    except RepdiagError as error:
        if "--debug" in arguments:
            raise
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        _fail("Interrupted. Finished embeddings are cached: the same command goes on from there.", 130)
    except MemoryError:
        _fail("This machine ran out of memory. Give fewer samples, or a machine with more.", 8)
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(141) from None
    except Exception as error:
        if "--debug" in arguments:
            raise
        kind = type(error).__name__
        _fail(f"Internal error ({kind}: {error}). Run again with --debug and report the traceback.", 5)


def _fail(message: str, code: int) -> None:
    from rich.console import Console

    Console(stderr=True, soft_wrap=True, highlight=False).print(f"[bold red]Error:[/] {_plain(message)}")
    raise SystemExit(code)


def _plain(message: str) -> str:
    from rich.markup import escape

    return escape(message)
