"""Other embeddings of the same samples beside those that are measured: other layers, earlier checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from repdiag.errors import DataError, UsageError
from repdiag.sources import is_embeddings, read_embeddings
from repdiag.types import Companion, EmbeddingSet, ImageSource, Progress

if TYPE_CHECKING:
    from repdiag.encoders import Encoder
    from repdiag.encoders.types import Output
    from repdiag.extraction import EmbedConfig
    from repdiag.store import Store


def columns(embeddings: EmbeddingSet, output: Output, outputs: Sequence[Output]) -> EmbeddingSet:
    """The embeddings of one of several `outputs`, the others beside them as layers: views of columns, no copy."""
    width = embeddings.dim
    part = slice(output.start, output.stop)
    layers = tuple(
        Companion("layer", other.name, embeddings.features[:, other.start : other.stop])
        for other in outputs
        if other.name != output.name
    )
    earlier = []
    for companion in embeddings.companions:
        if companion.features.shape[1] != width:
            raise UsageError(
                f"'{companion.name}' has {companion.features.shape[1]} features in these layers, MODEL {width}",
                do="Score one layer, or give earlier checkpoints of the same architecture",
            )
        earlier.append(replace(companion, features=companion.features[:, part]))
    views = embeddings.views
    return replace(
        embeddings,
        features=embeddings.features[:, part],
        views=views and replace(views, features=views.features[:, :, part]),
        companions=(*earlier, *layers),
    )


def named(given: Sequence[str | Path | Encoder | EmbeddingSet]) -> list[str]:
    """A name for each earlier checkpoint: its file's, numbered where two are alike."""
    found: list[str] = []
    for number, one in enumerate(given, 1):
        stem = Path(one).name if isinstance(one, str | Path) else getattr(one, "name", f"checkpoint {number}")
        found.append(stem if stem not in found else f"{stem} ({number})")
    return found


def opened(
    given: Sequence[str | Path | Encoder | EmbeddingSet], of_images: bool, loading: dict[str, object]
) -> tuple[Encoder | EmbeddingSet, ...]:
    """Earlier checkpoints, loaded as the model is (`loading`); embeddings where the data are embeddings.

    Raises UsageError for a checkpoint where there are no images to run it on, else as loading does.
    """
    from repdiag.encoders import load_encoder

    found: list[Encoder | EmbeddingSet] = []
    for one in given:
        if isinstance(one, EmbeddingSet):
            found.append(one)
        elif isinstance(one, str | Path) and is_embeddings(str(one)):
            found.append(read_embeddings(str(one)))
        elif not of_images:
            raise UsageError(
                f"'{one if isinstance(one, str | Path) else one.name}' cannot be run: the data are embeddings",
                do="Give the earlier checkpoint's embeddings of the same samples",
            )
        else:
            found.append(load_encoder(str(one), **loading) if isinstance(one, str | Path) else one)  # type: ignore[arg-type]
    return tuple(found)


def beside(
    embeddings: EmbeddingSet,
    names: Sequence[str],
    earlier: Sequence[Encoder | EmbeddingSet],
    source: ImageSource | None,
    config: EmbedConfig,
    store: Store | None,
    progress: Progress,
) -> EmbeddingSet:
    """`embeddings` with those of the earlier checkpoints as companions, from first to last.

    The same images pass through each checkpoint (the cache keeps them as it keeps the model's). Raises DataError
    where a checkpoint's embeddings lack some of the samples.
    """
    found = []
    for name, one in zip(names, earlier, strict=True):
        if not isinstance(one, EmbeddingSet):
            from repdiag.extraction import embed

            assert source is not None

            def told(step: str, done: int, total: int, name: str = name) -> None:
                progress(f"{name}: {step}", done, total)

            one = embed(one, source, config, store=store, progress=told)
        found.append(Companion("checkpoint", name, _aligned(one, embeddings.ids, name)))
    return replace(embeddings, companions=(*embeddings.companions, *found))


def _aligned(
    one: EmbeddingSet, ids: tuple[str, ...], name: str
) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    if one.ids == ids:
        return one.features
    row = {identity: i for i, identity in enumerate(one.ids)}
    missing = [identity for identity in ids if identity not in row]
    if missing:
        raise DataError(
            f"The earlier checkpoint lacks {len(missing)} of {len(ids)} samples, '{missing[0]}' for one",
            where=name,
            do="Embed the same data set with every checkpoint",
        )
    return one.features[np.array([row[identity] for identity in ids], np.int64)]
