"""Earlier checkpoints and other layers come beside the rows they belong to, or are refused in one sentence."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from conftest import FIXTURES, Run, blobs

from repdiag import companions
from repdiag.config import ScoreConfig
from repdiag.encoders.types import Output
from repdiag.errors import DataError, UsageError
from repdiag.extraction import EmbedConfig
from repdiag.pipeline import Request, make_plan
from repdiag.types import Companion, EmbeddingSet, silent
from repdiag.workspace import Workspace


def beside(embeddings: EmbeddingSet, *earlier: EmbeddingSet) -> EmbeddingSet:
    names = companions.named(earlier)
    return companions.beside(embeddings, names, earlier, None, EmbedConfig(), None, silent)


def test_earlier_embeddings_are_put_in_the_order_of_the_samples() -> None:
    now = blobs(n=40)
    order = np.random.default_rng(0).permutation(40)
    before = replace(
        now,
        features=now.features[order] + 1,
        ids=tuple(now.ids[i] for i in order),
        labels=None,
        class_names=(),
        views=None,
    )
    (found,) = beside(now, before).companions
    np.testing.assert_array_equal(found.features, now.features + 1)


def test_a_workspace_hands_out_companions_in_its_own_order_of_rows() -> None:
    base = blobs(n=40, split=True, companions=True)
    order = np.random.default_rng(1).permutation(40)
    mixed = replace(
        base,
        features=base.features[order],
        ids=tuple(base.ids[i] for i in order),
        labels=base.labels[order],
        is_train=base.is_train[order],
        views=None,
        companions=tuple(replace(c, features=c.features[order]) for c in base.companions),
    )
    one, two = (Workspace(e, ScoreConfig()) for e in (base, mixed))
    for kind in ("layer", "checkpoint"):
        for (name, a), (other, b) in zip(one.companions(kind), two.companions(kind), strict=True):
            assert name == other
            assert len(a) == len(one)
            np.testing.assert_array_equal(a, b)


def test_an_earlier_checkpoint_that_lacks_samples_is_refused_by_name() -> None:
    now = blobs(n=40)
    fewer = EmbeddingSet(now.features[:30], now.ids[:30])
    with pytest.raises(DataError, match=r"lacks 10 of 40 samples, '00030.png' for one"):
        beside(now, fewer)


def test_layers_stand_beside_each_other_and_earlier_checkpoints_are_cut_alike() -> None:
    both = blobs(n=40, dim=24)
    both = replace(both, companions=(Companion("checkpoint", "early", both.features * 2),))
    outputs = (Output("layer1", 0, 10, "average"), Output("layer2", 10, 24, "average"))
    part = companions.columns(both, outputs[1], outputs)
    assert [(c.kind, c.name, c.features.shape[1]) for c in part.companions] == [
        ("checkpoint", "early", 14),
        ("layer", "layer1", 10),
    ]
    np.testing.assert_array_equal(part.companions[0].features, 2 * part.features)
    narrow = replace(both, companions=(Companion("checkpoint", "early", both.features[:, :5]),))
    with pytest.raises(UsageError, match="'early' has 5 features"):
        companions.columns(narrow, outputs[0], outputs)


def test_names_of_checkpoints_are_distinct() -> None:
    assert companions.named(["a/last.pt", "b/last.pt", blobs(n=8)]) == [
        "last.pt",
        "last.pt (2)",
        "checkpoint 3",
    ]


def test_a_checkpoint_file_beside_ready_embeddings_is_refused() -> None:
    with pytest.raises(UsageError, match="the data are embeddings"):
        make_plan(Request("-", blobs(), earlier=(str(FIXTURES / "encoders" / "random.safetensors"),)))


def test_the_command_line_takes_earlier_checkpoints_in_order(cli: Run) -> None:
    encoders = FIXTURES / "encoders"
    done = cli(
        "score", encoders / "simclr.safetensors", FIXTURES / "digits", "--dry-run",
        "--earlier", encoders / "random.safetensors", "--earlier", encoders / "supervised.safetensors",
    )  # fmt: skip
    assert done.stdout.index("embed random.safetensors") < done.stdout.index("embed supervised.safetensors")
