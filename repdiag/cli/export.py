"""`repdiag export`: the clean backbone of a checkpoint, in a format that others read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from repdiag.cli.options import LoadingOptions, grouped
from repdiag.cli.options.features import FeatureOptions

if TYPE_CHECKING:
    from repdiag.exporting import Exported


@grouped
def command(
    model: Annotated[
        str, typer.Argument(metavar="FILE", help="Checkpoint file, model folder, or a name: timm:resnet18.")
    ],
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write; OUT.json describes it.")],
    *,
    kind: Annotated[
        str | None,
        typer.Option(
            "--format",
            help="safetensors, torchscript, torch.export or onnx; by default what OUT's suffix says: "
            ".safetensors, .ts, .pt2, .onnx.",
        ),
    ] = None,
    kept: Annotated[
        Path | None,
        typer.Option(
            "--features",
            help="Make the network end in these features alone: kept_features.csv of a report, or a .txt, .json or "
            ".npy list of numbers from 0.",
        ),
    ] = None,
    with_normalization: Annotated[
        bool,
        typer.Option(
            "--with-normalization", help="Make the program take images in [0, 1] and normalize them itself."
        ),
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace OUT if it exists.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the description as JSON.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")] = False,
    loading: LoadingOptions,
    features: FeatureOptions,
) -> None:
    """Write the backbone alone as safetensors, TorchScript, torch.export or ONNX, verified.

    What was written is opened again and compared with the encoder before it gets its name.

    Example: repdiag export fixtures/encoders/simclr.pt backbone.safetensors
    """
    from repdiag.errors import Interrupted
    from repdiag.exporting import export

    try:
        done = export(
            model,
            out,
            kind,
            features=kept,
            with_normalization=with_normalization,
            force=force,
            **loading.keywords(),
            **features.keywords(),
        )
    except KeyboardInterrupt:
        raise Interrupted("Interrupted; nothing was written") from None
    if as_json:
        import json

        from repdiag.cli.console import print_json

        print_json(json.dumps(done.describe(), indent=2, ensure_ascii=False))
    elif not quiet:
        _print(done)


def _print(done: Exported) -> None:
    from rich.text import Text

    from repdiag.cli.console import ResultConsole
    from repdiag.lines import Writer

    encoder, batches = done.encoder, ", ".join(map(str, done.batch_sizes))
    equal = (
        "bit-equal features"
        if done.max_abs_difference == 0
        else f"largest difference {done.max_abs_difference:.2g}, {done.max_relative_difference:.1e} of the largest"
        f" feature ({done.tolerance:g} accepted)"
    )
    cut = done.features
    lines = [
        ("input", done.input),
        *(
            [("kept", f"{encoder.dim} of {cut['of']} features, listed in {done.files[1].name}")]
            if cut
            else []
        ),
        ("prepared", str(encoder.preprocessing)),
        ("verified", f"opened again, random images in batches of {batches}: {equal}"),
        ("SHA-256", done.sha256),
        ("described", done.files[1].name),
    ]
    if done.command is not None:
        lines.append(("score it", done.command))
    lines += [("in Python" if number == 0 else "", line) for number, line in enumerate(done.code)]
    writer = Writer(ResultConsole())
    size = f"{done.size_bytes / 1e6:,.1f} MB"
    writer.path("", done.path)
    writer.line(f"{done.format}, {size}: {encoder.architecture}, {encoder.dim} features", indent=2, further=2)
    copied = ("SHA-256", "score it", "in Python", "")
    for name, text in lines:
        if name in copied:  # in one piece, to be copied
            writer.put(Text(f"  {name:<10} ", "dim").append(writer.exact(text), "not dim"))
        else:
            writer.beside(name, "dim", Text(writer.safe(text)), 13, indent=2)
    for text in encoder.loading.warnings:
        writer.beside("note", "yellow", Text(writer.safe(text)), 13, indent=2)
