"""`repdiag audit`: the samples of a report that a person should look at, in order, with reasons."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from repdiag.cli.options import DataOptions, grouped

if TYPE_CHECKING:
    from repdiag.audits.vectors import Vectors
    from repdiag.sources.images import Images
    from repdiag.types import Report, Skipped

OUTPUTS, VECTORS = "Outputs", "Embeddings, for near-duplicates and cleanlab"


@grouped
def command(
    ctx: typer.Context,
    report: Annotated[
        str,
        typer.Argument(metavar="REPORT", help="A folder that `repdiag score` wrote, or its report.json."),
    ],
    *,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="DATASET",
            help="The images that were scored, read as then: for pictures, and to name the rows of cached embeddings.",
        ),
    ] = None,
    budget: Annotated[int, typer.Option(help="How many samples to review.", min=1)] = 200,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="Folder for the audit.", rich_help_panel=OUTPUTS)
    ] = Path("repdiag-audit"),
    image_prefix: Annotated[
        str | None,
        typer.Option(
            help="What stands before each path in label-studio.json.",
            rich_help_panel=OUTPUTS,
            show_default="/data/local-files/?d=",
        ),
    ] = None,
    fiftyone: Annotated[
        Path | None,
        typer.Option(
            help="Write the list as a data set that FiftyOne imports to this folder, images included.",
            rich_help_panel=OUTPUTS,
        ),
    ] = None,
    atlas: Annotated[
        Path | None,
        typer.Option(help="Write all samples to this .parquet for Embedding Atlas.", rich_help_panel=OUTPUTS),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print audit.json on stdout, not the summary.", rich_help_panel=OUTPUTS),
    ] = False,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="Print nothing but errors.", rich_help_panel=OUTPUTS),
    ] = False,
    embeddings: Annotated[
        str | None,
        typer.Option(
            help="File of embeddings (.npz, .npy, .parquet) with the report's ids.",
            show_default="those in the cache",
            rich_help_panel=VECTORS,
        ),
    ] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Folder of cached embeddings.", rich_help_panel=VECTORS)
    ] = None,
    duplicate_cosine: Annotated[
        float | None,
        typer.Option(
            help="Cosine from which two samples are near-duplicates, in (0, 1].",
            show_default="chosen from the data",
            rich_help_panel=VECTORS,
        ),
    ] = None,
    cleanlab: Annotated[
        bool,
        typer.Option(
            "--cleanlab",
            help="Look for label errors with cleanlab too (pip install 'repdiag[cleanlab]').",
            rich_help_panel=VECTORS,
        ),
    ] = False,
    device: Annotated[
        str, typer.Option(help="Where neighbors are searched: cpu or cuda.", rich_help_panel=VECTORS)
    ] = "cpu",
    reading: DataOptions,
) -> None:
    """List the riskiest samples of a report to review, with reasons; set near-duplicates and label errors apart.

    Reads a report that is there and scores nothing. Writes audit.html, audit.json, review.csv, duplicates.csv,
    label_errors.csv, label-studio.json and label-studio.xml to --out. It judges nothing: 0 means that it could audit.

    Example: repdiag audit repdiag-report --data fixtures/digits --budget 100
    """
    from repdiag.audits import audit
    from repdiag.audits.outputs.label_studio import LOCAL_FILES
    from repdiag.audits.outputs.write import write_audit
    from repdiag.audits.vectors import Vectors
    from repdiag.cli.progress import ConsoleProgress
    from repdiag.cli.score import writable
    from repdiag.report.reading import read_report

    _fits(ctx, data, fiftyone, device, cleanlab)
    found = read_report(report, tables=("samples.csv", "classes.csv", "pairs.csv", "clusters.csv"))
    images = _images(found, data, reading)
    vectors = _vectors(found, images, embeddings, cache)
    writable(out)
    with ConsoleProgress(quiet) as progress:
        made = audit(
            found,
            budget,
            vectors=vectors,
            threshold=duplicate_cosine,
            cleanlab=cleanlab,
            device=device,
            progress=progress,
        )
    written = list(
        write_audit(made, out, images, LOCAL_FILES if image_prefix is None else image_prefix).values()
    )
    if fiftyone is not None:
        from repdiag.audits.outputs.fiftyone import write_fiftyone

        assert images is not None
        write_fiftyone(made, images, fiftyone)
        written.append(fiftyone / "labels.json")
    if atlas is not None:
        from repdiag.audits.outputs.atlas import write_atlas

        write_atlas(made, atlas, vectors if isinstance(vectors, Vectors) else None, device)
        written.append(atlas)
    if as_json:
        from repdiag.cli.console import print_json

        print_json((out / "audit.json").read_text(encoding="utf-8"))
    elif not quiet:
        from repdiag.audits.outputs.terminal import terminal
        from repdiag.cli.console import ResultConsole

        terminal(made, ResultConsole(), written)


def _fits(ctx: typer.Context, data: str | None, fiftyone: Path | None, device: str, cleanlab: bool) -> None:
    """Raises UsageError for options that would do nothing, or cannot do what they say, before any work."""
    from repdiag.errors import UsageError

    if data is None:
        names = {field.name for field in fields(DataOptions)}
        for name, option in ((p.name, p.opts[0]) for p in ctx.command.params if p.name in names):
            source = ctx.get_parameter_source(str(name))
            if source is not None and source.name == "COMMANDLINE":
                raise UsageError(f"{option} tells how --data is read", do="Give --data, or leave it out")
        if fiftyone is not None:
            raise UsageError("--fiftyone copies the images", do="Name the data set with --data")
    if device != "cpu":
        import torch

        if not device.startswith("cuda") or not torch.cuda.is_available():
            raise UsageError(
                f"Neighbors cannot be searched on '{device}' here", do="Use cpu, or cuda with a GPU"
            )
    if cleanlab:
        from repdiag.audits.confident import load

        load()


def _images(report: Report, data: str | None, reading: DataOptions) -> Images | None:
    """The data set, which must hold at least one of the report's samples."""
    if data is None:
        return None
    from repdiag.errors import DataError
    from repdiag.sources import is_embeddings, open_source
    from repdiag.store import default_root

    if is_embeddings(data):
        raise DataError("This holds embeddings, not images", where=data, do="Give it as --embeddings")
    images = open_source(
        data, labeled=report.dataset.get("labels_used") is not False, **reading.keywords(default_root())
    )
    known = set(images.manifest.paths)
    if not any(str(name) in known for name in report.samples.columns.get("id", ())):
        raise DataError(
            "None of the report's samples is in this data set", where=data, do="Give the data that was scored"
        )
    return images


def _vectors(
    report: Report, images: Images | None, embeddings: str | None, cache: Path | None
) -> Vectors | Skipped:
    """The embeddings from the file, else from the cache, else why there are none."""
    from repdiag.audits.samples import samples_of
    from repdiag.audits.vectors import from_cache, from_file

    samples = samples_of(report)
    return (
        from_file(embeddings, samples, report) if embeddings else from_cache(report, samples, images, cache)
    )
