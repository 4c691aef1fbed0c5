"""What a Hugging Face model folder holds, without transformers, torch or a weight: for inspection."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from repdiag.checkpoints import Layout, TensorInfo, read_layout
from repdiag.errors import CheckpointError

CONFIG = "config.json"
WEIGHTS = ("model*.safetensors", "pytorch_model*.bin")
"""What transformers prefers first."""
MAX_FACTS = 100


def is_model_folder(path: Path) -> bool:
    """Whether `path` is a folder in Hugging Face's layout."""
    return (path / CONFIG).is_file()


def read_folder_layout(folder: Path) -> Layout:
    """The weights of all files as one layout, the config's plain values as facts.

    Raises CheckpointError when the config is no JSON object or there are no weights.
    """
    where = str(folder)
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{CONFIG} holds no JSON object", where=where) from error
    files = next((found for glob in WEIGHTS if (found := sorted(folder.glob(glob)))), [])
    if not files:
        raise CheckpointError(
            f"The folder has a {CONFIG} but no weights", where=where, do="Download model.safetensors too"
        )
    layouts = {file.name: read_layout(file) for file in files}
    tensors: dict[str, TensorInfo] = {}
    for layout in layouts.values():
        tensors |= layout.tensors
    digest = hashlib.sha256("".join(f"{n} {each.sha256}\n" for n, each in layouts.items()).encode())
    facts = {k: v for k, v in config.items() if isinstance(v, str | int | float)}
    lists = {k: v for k, v in config.items() if isinstance(v, list)}
    facts |= {k: ", ".join(v) for k, v in lists.items() if v and all(isinstance(x, str) for x in v)}
    first = layouts[files[0].name]
    return Layout(
        container=f"Hugging Face folder ({len(files)} x {first.container})",
        tensors=tensors,
        sha256=digest.hexdigest(),
        size=sum(each.size for each in layouts.values()),
        facts=dict(list(facts.items())[:MAX_FACTS]),
        keys=tuple(config)[:MAX_FACTS],
        globals=tuple(dict.fromkeys(name for each in layouts.values() for name in each.globals)),
        stubbed=tuple(dict.fromkeys(name for each in layouts.values() for name in each.stubbed)),
        warnings=tuple(note for each in layouts.values() for note in each.warnings),
    )
