"""`export`: write the backbone, open what was written, compare, and only then put it in its place."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from repdiag.encoders import Encoder, Preprocessing, load_encoder
from repdiag.encoders.chosen import Chosen, choose, kept_by
from repdiag.encoders.features import PROJECTOR
from repdiag.encoders.kept import KEY
from repdiag.encoders.taps import Tapped
from repdiag.encoders.wrap import Guest
from repdiag.errors import OutputError, RepdiagError, UsageError
from repdiag.exporting import check, formats, networks, onnx_file, programs, safetensors_file
from repdiag.exporting.description import Exported, Source, packed, source_of
from repdiag.exporting.kept_list import read_features
from repdiag.files import atomic

FLAGS = ("size", "resize", "interpolation", "mean", "std")
"""The input's description, as keywords of `load_encoder`."""


def export(
    encoder: Encoder | str | Path,
    out: str | Path,
    format: str | None = None,
    *,
    features: Sequence[int] | str | Path | None = None,
    with_normalization: bool = False,
    force: bool = False,
    notes: Mapping[str, str] | None = None,
    **loading: Any,
) -> Exported:
    """Write the backbone of `encoder` (an Encoder, or what `load_encoder` takes) to the file `out`.

    `format` is safetensors, torchscript, torch.export or onnx; by default `out`'s suffix says it. `loading` are
    keywords of `load_encoder`. A program (all but safetensors) maps normalized images (B, C, H, W) float32 of
    any batch size to features (B, D) float32; `with_normalization` makes it take images in [0, 1] instead.
    `features` are the numbers of those that the exported network ends in, in their order, or a file that lists them
    (`kept_features.csv` of a report, .txt, .json, .npy); all by default.
    `out`.json describes the file. What is written is opened afresh and compared with the encoder before it
    gets its name, so that a wrong file never exists under it. Existing files are replaced only with `force`. `notes`
    go into the metadata of a safetensors file as they are.

    Raises UsageError for features that the encoder does not have, and OutputError when the file exists, cannot be
    written, or computes something else than the encoder.
    """
    out = Path(out)
    kind = formats.choose(out, format)
    beside = out.with_name(out.name + ".json")
    _free(out, beside, force)
    if kind == "onnx":
        onnx_file.check_installed()
    if with_normalization and kind == "safetensors":
        raise UsageError("--with-normalization goes with a program; safetensors holds weights only")
    if kind == "safetensors":
        _weights_suffice(encoder, loading)
    if isinstance(encoder, Encoder):
        if isinstance(encoder.module, Guest):
            raise UsageError(
                f"The encoder is somebody's module in memory ({encoder.name}), whose state may change",
                do="Save its state_dict() with torch.save and export that file",
            )
        if loading:
            raise UsageError(f"{', '.join(loading)} tell how to load a file, but an encoder was given")
        source = Source(encoder.name, encoder.loading.container, {})
    else:
        path = Path(encoder)
        if path.exists() and out.exists() and path.samefile(out):
            raise UsageError("OUT is the checkpoint itself", where=str(out), do="Name another file")
        source, encoder = source_of(path, str(encoder)), load_encoder(str(encoder), **loading)
        source = replace(source, container=encoder.loading.container)
    encoder = _at_rest(encoder)
    if features is not None:
        encoder = _cut(encoder, features)
    with ExitStack() as stack:
        temporary = stack.enter_context(atomic(out))
        described = stack.enter_context(atomic(beside))
        metadata = {**(notes or {}), **_metadata(encoder, source, with_normalization)}
        if kind == "safetensors" and (kept := kept_by(encoder)):  # a program does it by itself
            metadata[KEY] = kept.metadata
        code = _write(encoder, kind, temporary, metadata, with_normalization)
        flags, difference = _verify(encoder, kind, temporary, with_normalization, loading)
        exported = Exported(
            path=out,
            format=kind,
            files=(out, beside),
            encoder=encoder,
            source=source,
            normalizes=with_normalization,
            sha256=_digest(temporary),
            size_bytes=temporary.stat().st_size,
            batch_sizes=check.BATCHES,
            max_abs_difference=difference.absolute,
            max_relative_difference=difference.relative,
            tolerance=check.TOLERANCES[kind],
            flags=flags,
            code=tuple(line.replace("FILE", out.name) for line in (*code, *_columns(encoder, kind, code))),
        )
        text = json.dumps(exported.describe(), indent=2, ensure_ascii=False, allow_nan=False)
        described.write_text(text + "\n", encoding="utf-8")
    return exported


def _cut(encoder: Encoder, features: Sequence[int] | str | Path) -> Encoder:
    """The encoder that ends in `features`, given or listed in a file."""
    if isinstance(features, str | Path):
        return choose(encoder, read_features(features), str(features))
    return choose(encoder, list(features))


def _columns(encoder: Encoder, kind: str, code: Sequence[str]) -> tuple[str, ...]:
    """The lines that take the kept columns where weights are opened by a library that does not know of them."""
    if kind != "safetensors" or kept_by(encoder) is None or "load_encoder" in code[-1]:
        return ()
    return (
        "import json",
        'kept = json.load(open("FILE.json"))["features"]["kept"]  # columns of its features',
    )


def _weights_suffice(encoder: Encoder | str | Path, loading: Mapping[str, Any]) -> None:
    """Raises UsageError when the backbone's weights, which is all a safetensors file gets, cannot tell the rest."""
    layers = loading.get("layer") or ()
    names = layers.split(",") if isinstance(layers, str) else layers
    if any(name.strip() == PROJECTOR for name in names):
        raise UsageError(
            "safetensors gets the backbone alone, not its projector", do="Choose another --format: a program"
        )
    module = encoder.module if isinstance(encoder, Encoder) else None
    if isinstance(module.inner if isinstance(module, Chosen) else module, Tapped):
        raise UsageError(
            "safetensors gets the weights, not the choice of features",
            do="Give the file's name with layer=, pool= and l2=, or another format: a program",
        )


def _free(out: Path, beside: Path, force: bool) -> None:
    """Raises OutputError when the results would replace something that they may not."""
    for path in (out, beside):
        if path.is_dir():
            raise OutputError("OUT must be a file, this is a folder", where=str(path))
        if path.exists() and not force:
            raise OutputError(
                "There is such a file already", where=str(path), do="Give --force to replace it"
            )


def _at_rest(encoder: Encoder) -> Encoder:
    """The encoder itself, or a copy where its module lives on another device, or in channels_last as scoring leaves it.

    The written file is compared bit for bit, and convolutions round differently in another memory format.
    """
    tensors = encoder.module.state_dict().values()
    if all(t.device.type == "cpu" and (t.dim() != 4 or t.is_contiguous()) for t in tensors):
        return encoder
    module = copy.deepcopy(encoder.module).cpu().to(memory_format=torch.contiguous_format)
    return replace(encoder, module=module)


def _input(how: Preprocessing, with_normalization: bool) -> dict[str, Any]:
    """What the exported file takes, as `repdiag.preprocessing` says it."""
    said = {name: getattr(how, name) for name in (*FLAGS, "channels")}
    if with_normalization:
        said |= {"mean": (0.0,) * how.channels, "std": (1.0,) * how.channels}
    return said


def _metadata(encoder: Encoder, source: Source, with_normalization: bool) -> dict[str, str]:
    return {
        "repdiag.preprocessing": packed(_input(encoder.preprocessing, with_normalization)),
        "repdiag.source": packed({"name": source.name, "sha256": source.sha256}),
    }


def _write(
    encoder: Encoder, kind: str, path: Path, metadata: Mapping[str, str], with_normalization: bool
) -> tuple[str, ...]:
    """Write the file; returns the Python lines that open it, with FILE for its name."""
    if kind == "safetensors":
        backbone = networks.backbone(encoder)
        named = {"repdiag.architecture": backbone.said} if backbone.said else {}
        with path.open("wb") as file:
            tensors = backbone.network.state_dict()
            safetensors_file.write(file, tensors, {**metadata, **named, **dict(backbone.metadata)})
        return backbone.code
    made, images = programs.program(encoder, with_normalization), programs.example(encoder)
    make = {
        "torchscript": programs.torchscript,
        "torch.export": programs.torch_export,
        "onnx": onnx_file.onnx,
    }[kind]
    path.write_bytes(make(made, images, metadata))  # by Python, whose errors tell a full disk
    return {
        "torchscript": ("import torch", 'net = torch.jit.load("FILE")'),
        "torch.export": ("import torch", 'net = torch.export.load("FILE").module()'),
        "onnx": (
            "import onnxruntime",
            'net = onnxruntime.InferenceSession("FILE")',
            f'features = net.run(["{onnx_file.OUTPUT}"], {{"{onnx_file.INPUT}": images}})[0]',
        ),
    }[kind]


def _verify(
    encoder: Encoder, kind: str, path: Path, with_normalization: bool, loading: Mapping[str, Any]
) -> tuple[dict[str, Any], check.Difference]:
    """Open the file as a user would and compare; returns the keywords of `load_encoder` that it took.

    First without any, then with those that the file itself cannot say. Raises OutputError when none will do.
    """
    if kind == "onnx":
        return {}, check.compare(encoder, onnx_file.Session(path), kind, normalizes=with_normalization)
    wanted = _input(encoder.preprocessing, with_normalization)
    shape = {name: wanted[name] for name in FLAGS}
    choice = {name: loading[name] for name in ("layer", "pool", "l2") if loading.get(name)}
    weights_only = kind == "safetensors"  # a program gives the chosen features by itself
    choice = choice if weights_only else {}
    own = {"arch": encoder.architecture} if weights_only else {}
    attempts = ({}, own, shape, own | shape) if own else ({}, shape)
    refusals: dict[int, RepdiagError] = {}  # by how far it came
    for flags in attempts:
        reached = 0
        try:
            with torch.random.fork_rng(devices=[]):
                found = load_encoder(str(path), **flags, **choice)
            reached = 1
            if _input(found.preprocessing, False) != wanted:
                raise OutputError("The written file does not tell how images are prepared; it was not kept")
            reached = 2
            difference = check.compare(encoder, found.module, kind, normalizes=with_normalization)
        except RepdiagError as error:
            refusals.setdefault(reached, error)
            continue
        return {**flags, **choice}, difference
    refusal = refusals[max(refusals)]
    raise (
        refusal
        if isinstance(refusal, OutputError)
        else OutputError(f"What was written cannot be opened again: {refusal.what}; it was not kept")
    ) from refusal


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
