"""`repdiag.explain`: the same from Python."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from repdiag.config import ScoreConfig
from repdiag.encoders import Preprocessing
from repdiag.errors import UsageError
from repdiag.explaining.explanation import explain as explain_encoder
from repdiag.explaining.outputs.write import write_explanation
from repdiag.explaining.request import Wanted
from repdiag.explaining.types import Explanation, Method
from repdiag.extraction import EmbedConfig
from repdiag.extraction.job import Model, Wishes, opened
from repdiag.extraction.stream import Stream, Told
from repdiag.types import EmbeddingSet, Progress, silent


def explain(
    model: Model,
    data: object,
    *,
    out: str | Path | None = None,
    samples: Sequence[str] = (),
    riskiest: int | None = None,
    features: int = 8,
    masks: str | Path | None = None,
    target: Literal["auto", "q-score", "adapted"] = "auto",
    method: Method | None = None,
    threshold: float = 0.5,
    save_maps: bool = False,
    labels: object = None,
    preprocessing: Preprocessing | None = None,
    layer: str | None = None,
    pool: str | None = None,
    config: ScoreConfig | None = None,
    embed: EmbedConfig | None = None,
    loading: Mapping[str, Any] | None = None,
    reading: Mapping[str, Any] | None = None,
    cache: bool | str | Path | None = None,
    progress: Progress = silent,
) -> Explanation:
    """Where in the images the features of `model` look: heat maps of samples and of top features, held against masks.

    `model` and `data` are what `repdiag.score` takes, as long as the model has activations to look at and the data are
    images that can be read twice (a path, lists of paths or pictures, arrays of pictures). `samples` are ids,
    `riskiest` how many of the riskiest to add (20 where no sample is named), `features` how many top features,
    `masks` a folder of masks or a file of boxes: with them the overlap of all evaluated images is measured. `target`,
    `method` and `threshold` as in `repdiag explain`. `out` is a folder to write the page and tables to, with PNG files
    of the maps under `save_maps`. `loading` and `reading` are keywords of `load_encoder` and `open_source`; `embed`,
    `config`, `labels`, `preprocessing`, `layer`, `pool`, `cache` are as for `repdiag.score`.

    Raises UsageError for what does not go together, else as loading, embedding and writing do.
    """
    wanted = Wanted(tuple(samples), riskiest, features, masks, target, method, threshold)
    config = config or ScoreConfig()
    wishes = Wishes(
        told=Told(labels=labels),
        preprocessing=preprocessing,
        features={"layer": layer, "pool": pool},
        config=embed or EmbedConfig(seed=config.seed),
        cache=cache,
        loading=loading or {},
        reading=reading or {},
    )
    with opened(model, data, wishes) as job:
        if isinstance(job.data, EmbeddingSet) or job.encoder is None:
            raise UsageError("Embeddings have no pixels to look at", do="Give the model and its images")
        if isinstance(job.data, Stream):
            raise UsageError(
                f"{job.data.name} can be gone through once only, and heat maps need the images again",
                do="Give files, pictures or an array of them",
            )
        made = explain_encoder(
            job.encoder,
            job.data,
            wanted,
            config=config,
            embed_config=job.config,
            store=job.store,
            use_labels=labels is not False,
            progress=progress,
        )
    if out is not None:
        write_explanation(made, Path(out), save_maps=save_maps)
    return made
