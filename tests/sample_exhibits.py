"""Synthetic exhibits for `sample_report`: pictures, reasons and advice that hang together like real ones."""

from __future__ import annotations

import io
import itertools
from typing import Any

import numpy as np

from repdiag.exhibits import (
    Advice,
    ClassMatrix,
    Exhibits,
    FeatureCard,
    PairPictures,
    Risky,
    Sprite,
)
from repdiag.types import Table

SHOWN = 40  # classes of a matrix


def picture(rng: np.random.Generator, size: int = 96) -> bytes:
    """A JPEG of soft color fields."""
    from PIL import Image

    low = rng.integers(0, 255, (5, 5, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(low).resize((size, size), Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def sample_sprite(ids: tuple[str, ...], tile: int = 32, seed: int = 0) -> Sprite:
    """A tile of a color of its own for each of `ids`."""
    from PIL import Image

    columns = max(1, round(len(ids) ** 0.5))
    rows = -(-len(ids) // columns)
    rng = np.random.default_rng(seed)
    flat = rng.integers(40, 215, (rows, columns, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    big = Image.fromarray(flat).resize((columns * tile, rows * tile), Image.Resampling.NEAREST)
    big.save(buffer, "JPEG", quality=60)
    return Sprite(ids, tile, columns, buffer.getvalue())


def sample_exhibits(
    samples: Table, names: tuple[str, ...], d: int, labelled: bool, seed: int = 0
) -> Exhibits:
    """Exhibits on these samples; `names` are the classes."""
    rng = np.random.default_rng(seed)
    ids = [str(i) for i in samples.columns["id"]]
    worst = [ids[i] for i in np.argsort(-samples.columns["risk"], kind="stable")[:24]]
    label: Any = samples.columns.get("label")
    return Exhibits(
        advice=_advice(names) if labelled else _advice(names)[2:],
        matrix=_matrix(rng, names) if labelled else None,
        pairs=_pairs(rng, ids, label, names) if labelled else (),
        features=_features(rng, ids, label, d),
        riskiest=tuple(
            Risky(
                name,
                (
                    "7 of its 10 nearest neighbors are of another class than the prediction",
                    "farther from its neighbors than 98% of the images",
                ),
            )
            for name in worst
        ),
        sprite=sample_sprite(tuple(ids[:10_000])),
        pca_explained=(0.18, 0.11),
    )


def _advice(names: tuple[str, ...]) -> tuple[Advice, ...]:
    pair = f"{names[0]} and {names[-1]}"
    return (
        Advice(
            "crowded pairs",
            "Look at the classes that crowd each other",
            f"In {pair} 41% of the images lie nearer to the other's center.",
            "crowding",
            "repdiag audit MODEL DATA --report out/report.json",
        ),
        Advice(
            "augmentation",
            "Train for more invariance, against a control",
            "Augmented images stay in their cluster only 31% of the way from chance to perfect.",
            "stability",
            "repdiag finetune MODEL DATA --regularizer dsa",
        ),
        Advice(
            "preprocessing",
            "Say how images were normalized",
            "It was assumed, and every number here depends on it.",
            "provenance",
            "repdiag score MODEL DATA --mean 0.5,0.5,0.5 --std 0.5,0.5,0.5",
        ),
    )


def _matrix(rng: np.random.Generator, names: tuple[str, ...]) -> ClassMatrix:
    m = min(len(names), SHOWN)
    near = rng.gamma(0.3, 1.0, (m, m)) * np.exp(-np.abs(np.subtract.outer(np.arange(m), np.arange(m))))
    near[np.arange(m), np.arange(m)] = 0
    near *= 0.3 * rng.random(m)[:, None] / np.maximum(near.sum(1, keepdims=True), 1e-9)
    mass = np.full(m, 0.02 if m < len(names) else 0.0)
    near[np.arange(m), np.arange(m)] = 1 - near.sum(1) - mass
    distance = np.abs(np.subtract.outer(np.arange(m), np.arange(m))) / m + 0.3
    distance[np.arange(m), np.arange(m)] = 0
    return ClassMatrix(names[:m], near, distance, mass, len(names))


def _pairs(
    rng: np.random.Generator, ids: list[str], label: Any, names: tuple[str, ...]
) -> tuple[PairPictures, ...]:
    by_class = {name: [i for i, own in zip(ids, label, strict=True) if own == name][:4] for name in names}
    return tuple(
        PairPictures(a, b, tuple(by_class[a]), tuple(by_class[b]))
        for a, b in list(itertools.pairwise(names))[:10]
    )


def _features(rng: np.random.Generator, ids: list[str], label: Any, d: int) -> tuple[FeatureCard, ...]:
    cards = []
    for rank, feature in enumerate(rng.permutation(d)[:12]):
        rows = rng.choice(len(ids), min(8, len(ids)), replace=False)
        cards.append(
            FeatureCard(
                int(feature),
                0.6 - 0.03 * rank,
                "variance between classes" if label is not None else "share of the variance",
                3.0 + rank,
                rank != 3,
                tuple(ids[i] for i in rows),
                tuple(float(v) for v in np.sort(rng.gamma(4, 1, rows.size))[::-1]),
                tuple(None if label is None else str(label[i]) for i in rows),
            )
        )
    return tuple(cards)


def shown_ids(exhibits: Exhibits) -> list[str]:
    """All samples of which the galleries show a picture of their own, each once."""
    found = [i for pair in exhibits.pairs for i in (*pair.a_ids, *pair.b_ids)]
    found += [i for card in exhibits.features for i in card.ids]
    found += [risky.id for risky in exhibits.riskiest]
    return list(dict.fromkeys(found))
