"""Explanations on an encoder whose heat maps are known: a channel lights where an object of its color is."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import blobs
from PIL import Image
from torch import nn

import repdiag.explaining.measuring as measuring
from repdiag.config import ScoreConfig
from repdiag.encoders import Encoder, Preprocessing
from repdiag.encoders.types import Loading, Output
from repdiag.errors import DataError, UsageError
from repdiag.explaining import api, targets
from repdiag.explaining.explanation import explain
from repdiag.explaining.heating import Heater
from repdiag.explaining.outputs.json_form import to_json
from repdiag.explaining.request import Wanted, rows_of
from repdiag.explaining.shown import NO_FEATURE
from repdiag.explaining.statistics import Judge, PerImage
from repdiag.explaining.types import Explanation, Overlaps
from repdiag.extraction import EmbedConfig
from repdiag.heatmaps.masks import open_masks
from repdiag.heatmaps.overlap import overlap
from repdiag.scores import BY_NAME
from repdiag.sources.images import Images
from repdiag.store import Store
from repdiag.types import EmbeddingSet, Manifest, Skipped, silent
from repdiag.workspace import Workspace

SIDE, OBJECT, N, D = 16, 5, 120, 32
COLORS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "white": (255, 255, 255)}
CONFIG = ScoreConfig(upper=100.0, bootstrap=200)
QUICK = EmbedConfig(views=0, device="cpu")


class Colors(nn.Module):
    """(B, 3, S, S) -> (B, D): how much of each color there is, and `D` - 4 features that are everywhere the same."""

    def __init__(self) -> None:
        super().__init__()
        self.look = nn.Conv2d(3, D, 1)
        self.bend = nn.ReLU()
        self.pool = nn.AdaptiveAvgPool2d(1)
        with torch.no_grad():
            self.look.weight.zero_()
            self.look.bias.fill_(0.01)
            for row, (weights, bias) in enumerate(
                [((1, -1, -1), 0), ((-1, 1, -1), 0), ((-1, -1, 1), 0), ((1, 1, 1), -2)]
            ):
                self.look.weight[row] = torch.tensor(weights, dtype=torch.float32).view(3, 1, 1)
                self.look.bias[row] = bias

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.pool(self.bend(self.look(images))).flatten(1)


def encoder(**more: Any) -> Encoder:
    how = Preprocessing(SIDE, SIDE, "bilinear", (0.0,) * 3, (1.0,) * 3, 3, "test")
    module = Colors().eval().requires_grad_(False)
    return Encoder(module, "colors", "colors", D, how, "f" * 64, Loading("test"), **more)


def corners(i: int) -> tuple[int, int]:
    """The upper left corner (x, y) of the object in image i."""
    return (7 * i) % (SIDE - OBJECT), (3 * i) % (SIDE - OBJECT)


@pytest.fixture(scope="module")
def source() -> Images:
    """Black pictures with one object each; every eighth label is that of another color."""
    names = tuple(COLORS)
    contents, paths, labels = [], [], []
    for i in range(N):
        pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
        x, y = corners(i)
        pixels[y : y + OBJECT, x : x + OBJECT] = COLORS[names[i % 4]]
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        contents.append(buffer.getvalue())
        paths.append(f"{names[i % 4]}/{i:03d}.png")
        labels.append((i % 4 + (i % 8 == 5)) % 4)
    manifest = Manifest(tuple(paths), np.array(labels, np.int64), names, None, "0" * 64)
    return Images("pictures", manifest, (), lambda index: contents[index])


def box_file(path: Path, source: Images, shift: int = 0, only: int = N) -> Path:
    """Boxes around the objects; `shift` gives each image those of another."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "x0", "y0", "x1", "y1"])
        for i in range(only):
            x, y = corners((i + shift) % N)
            rows.writerow([source.manifest.paths[i], x, y, x + OBJECT - 1, y + OBJECT - 1])
    return path


@pytest.fixture(scope="module")
def boxes(source: Images, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return box_file(tmp_path_factory.mktemp("boxes") / "boxes.csv", source)


Explain = Callable[..., Explanation]


@pytest.fixture(scope="module")
def explained(source: Images) -> Explain:
    def run(encoder: Encoder, labels: bool = True, **wanted: Any) -> Explanation:
        return explain(
            encoder, source, Wanted(**wanted), config=CONFIG, embed_config=QUICK, use_labels=labels
        )

    return run


# ------------------------------------------------------------------------------------ the whole line


def test_a_heat_map_that_is_the_object_has_mass_and_iou_1(explained: Explain, boxes: Path) -> None:
    """Every number is known: the object's channel lights on it alone, the other features everywhere alike."""
    found = explained(encoder(), masks=boxes, riskiest=3, features=2)
    assert (found.target.kind, found.target.without, found.target.selected) == ("q-score", 0, 4)
    assert found.place.grid == (SIDE, SIDE)
    o = found.overlaps
    assert isinstance(o, Overlaps)
    assert (o.masked, o.maps, o.regions) == (N, N, ("core", "background"))
    area = OBJECT**2 / SIDE**2
    assert _value(o, "iou_core") == _value(o, "mass_core") == pytest.approx(1, abs=1e-6)
    assert _value(o, "mass_background") == pytest.approx(0, abs=1e-6)
    assert _value(o, "mass_core_random") == pytest.approx(area, abs=1e-6)  # an even map: the area's share
    assert o.of("mass_core").uniform == o.of("iou_core").uniform == pytest.approx(area)
    null = o.of("iou_core").null
    assert null is not None
    assert 0 < null.mean < 0.5
    words = {c.key: c.word for c in o.claims}
    assert words["above-other-masks"] == words["above-random-features"] == "holds"
    assert words["core-above-spurious"] == "not tested"
    assert words["correct-above-misclassified"] == "not decided"  # 1 and 1: the interval is [0, 0]
    by_group = [o.of(f"iou_core_{g}").n for g in ("correct", "misclassified")]
    assert sum(by_group) == N
    assert min(by_group) >= 10
    table = found.table.columns
    assert np.allclose(table["iou_core"], 1, atol=1e-6)
    assert (table["n_features"] == 1).all()


def _value(found: Overlaps, name: str) -> float:
    quantity = found.of(name)
    assert quantity is not None
    return quantity.value


def test_masks_of_other_images_decide_the_other_way(
    explained: Explain, source: Images, tmp_path: Path
) -> None:
    """The same maps against boxes that belong elsewhere: no claim holds that held before."""
    found = explained(
        encoder(), masks=box_file(tmp_path / "moved.csv", source, shift=17), riskiest=0, features=0
    )
    assert isinstance(found.overlaps, Overlaps)
    assert _value(found.overlaps, "mass_core") < 0.3
    words = {c.key: c.word for c in found.overlaps.claims}
    assert "holds" not in (words["above-other-masks"], words["above-random-features"])


def test_masks_in_a_folder_have_a_spurious_side(explained: Explain, source: Images, tmp_path: Path) -> None:
    """With core and spurious masks the paper's first claim is tested; swapped, it does not hold."""
    for swapped in (False, True):
        root = tmp_path / str(swapped)
        for i, path in enumerate(source.manifest.paths[:40]):
            x, y = corners(i)
            core = np.zeros((SIDE, SIDE), np.uint8)
            core[y : y + OBJECT, x : x + OBJECT] = 255
            for region, mask in (("core", core), ("spurious", 255 - core)):
                name = {"core": "spurious", "spurious": "core"}[region] if swapped else region
                place = root / name / path
                place.parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(mask).save(place)
        found = explained(encoder(), masks=root, riskiest=0, features=0)
        o = found.overlaps
        assert isinstance(o, Overlaps)
        assert (o.masked, o.regions) == (40, ("core", "spurious"))
        claim = next(c for c in o.claims if c.key == "core-above-spurious")
        assert claim.word == ("does not hold" if swapped else "holds")
        assert claim.value == pytest.approx(-1 if swapped else 1, abs=1e-6)


def test_what_is_shown(explained: Explain, source: Images, boxes: Path) -> None:
    """Named samples first and in their order, then the riskiest; pictures, maps, masks and features are theirs."""
    asked = (source.manifest.paths[9], source.manifest.paths[2], source.manifest.paths[9])
    found = explained(encoder(), samples=asked, riskiest=4, features=3, masks=boxes)
    ids = [one.id for one in found.samples]
    assert ids[:2] == [asked[0], asked[1]]
    assert len(set(ids)) == len(ids) in (4, 5, 6)
    assert [one.asked for one in found.samples[:3]] == [True, True, False]
    ranks = [one.rank for one in found.samples[2:]]
    assert ranks == sorted(r for r in ranks if r is not None)
    one = found.samples[1]
    x, y = corners(2)
    inside = np.zeros((SIDE, SIDE), bool)
    inside[y : y + OBJECT, x : x + OBJECT] = True
    assert one.tile.picture is not None
    assert ((one.tile.picture.sum(-1) > 0) == inside).all()
    assert one.tile.heat is not None
    assert ((one.tile.heat > 0) == inside).all()
    assert one.tile.core is not None
    assert (one.tile.core == inside).all()
    assert [(s.feature, s.weight) for s in one.summed] == [(2, 1)]
    assert one.overlap["iou_core"] == pytest.approx(1, abs=1e-6)
    assert all(one.reasons for one in found.samples)
    assert len(found.features) == 3
    for feature in found.features:
        assert feature.card.feature < 4
        for tile in feature.tiles:
            assert tile.heat is not None
            assert tile.id.startswith(tuple(COLORS)[feature.card.feature])


def test_no_feature_is_said_and_not_filled_in(explained: Explain) -> None:
    """Where Q-Score's rule finds nothing there is no map; auto goes over to the adapted rule and says why."""
    class_less = encoder()
    with torch.no_grad():
        class_less.module.look.weight[4:] = torch.rand(
            D - 4, 3, 1, 1, generator=torch.Generator().manual_seed(0)
        )
    found = explained(class_less, target="q-score", riskiest=2, features=0)
    assert found.target.without > N / 2
    assert found.target.asked
    empty = [one for one in found.samples if not one.features]
    assert all(one.tile.heat is None and one.tile.why_none == NO_FEATURE for one in empty)
    auto = explained(class_less, riskiest=2, features=0)
    assert auto.target.kind == "adapted"
    assert "of the samples have a Q-Score, fewer than 50%" in auto.target.why
    assert np.isnan(found.table.columns["q_score"]).sum() == found.target.without


def test_without_labels_nothing_is_judged(explained: Explain, boxes: Path) -> None:
    """No correct and no misclassified, a risk that is no probability; what needs no label is there."""
    found = explained(encoder(), labels=False, masks=boxes, riskiest=2, features=1)
    assert isinstance(found.overlaps, Overlaps)
    assert {q.group for q in found.overlaps.quantities} == {"all"}
    assert next(c for c in found.overlaps.claims if c.key.startswith("correct")).word == "not tested"
    assert found.risk["validated"] is False
    assert all(one.prediction is None and one.label is None for one in found.samples)
    assert len(found.features) == 1


def test_a_cached_run_gives_the_same(source: Images, boxes: Path, tmp_path: Path) -> None:
    """Equal seeds give equal explanations, whether the images were embedded just now or before."""
    wanted = Wanted(masks=boxes, riskiest=2, features=1)
    made = []
    for _ in range(2):
        found = explain(encoder(), source, wanted, config=CONFIG, embed_config=QUICK, store=Store(tmp_path))
        document = to_json(found)
        del document["created"], document["timing"]
        made.append(document)
    assert made[0] == made[1]


def test_a_sample_of_the_train_part_is_explained_but_not_judged(source: Images) -> None:
    split = np.arange(N) % 2 == 0
    divided = Images("pictures", Manifest(source.manifest.paths, source.manifest.labels, source.manifest.class_names,
                                          split, "1" * 64), (), source.read)  # fmt: skip
    name = source.manifest.paths[4]
    found = explain(
        encoder(), divided, Wanted(samples=(name,), features=0), config=CONFIG, embed_config=QUICK
    )
    (one,) = found.samples
    assert (one.id, one.evaluated, one.prediction, one.rank) == (name, False, None, None)
    assert one.label == "red"
    assert np.isnan(one.risk)
    assert one.tile.heat is not None
    assert len(found.table) == N // 2 + 1
    assert found.table.columns["evaluated"].tolist()[-1] is False


def test_refusals(explained: Explain, source: Images, tmp_path: Path) -> None:
    """One sentence each: what, where, and what to do."""
    with pytest.raises(UsageError, match=r"no sample 'red/00.png'.*Did you mean 'red/.00.png'"):
        explained(encoder(), samples=("red/00.png",))
    with pytest.raises(UsageError, match="heat maps of their own"):
        explained(encoder(outputs=(Output("a", 0, 4), Output("b", 4, D))))
    stray = tmp_path / "stray.csv"
    stray.write_text("path,x0,y0,x1,y1\nnowhere.png,0,0,3,3\n")
    with pytest.raises(DataError, match="No mask belongs to an evaluated sample"):
        explained(encoder(), masks=stray)
    with pytest.raises(UsageError, match="either sign"):
        targets.choose(Workspace(blobs(relu=False), CONFIG), "q-score")
    for wrong in ({"threshold": 0}, {"riskiest": -1}, {"features": 1000}, {"target": "qscore"}, {"draws": 1}):
        with pytest.raises(UsageError):
            Wanted(**wrong)  # type: ignore[arg-type]
    assert rows_of(["b", "a", "b"], ["a", "b"], {}) == [1, 0]
    with pytest.raises(UsageError, match="cannot be read: torn"):
        rows_of(["c"], ["a"], {"c": "torn"})
    with pytest.raises(UsageError, match="no pixels"):
        api.explain(None, np.zeros((20, 8), np.float32))


def test_from_python_with_a_module(source: Images, boxes: Path, tmp_path: Path) -> None:
    """A module in memory comes back as it was, and the files are written."""
    module = Colors().train()
    pictures = [Image.open(io.BytesIO(source.read(i))) for i in range(40)]
    found = api.explain(
        module, pictures, preprocessing=encoder().preprocessing, riskiest=2, features=1, out=tmp_path / "out",
        config=CONFIG, embed=QUICK, save_maps=True,
    )  # fmt: skip
    assert module.training
    assert module.look.weight.requires_grad
    assert isinstance(found.overlaps, Skipped)
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert names == {"explain.html", "explain.json", "samples.csv", "quantities.csv", "heatmaps"}
    assert len(list((tmp_path / "out" / "heatmaps").iterdir())) == 2 * (2 + len(found.features[0].tiles))


# ------------------------------------------------------------------------------------ targets


@pytest.mark.parametrize("kind", ["q-score", "adapted"])
def test_targets_are_the_features_of_the_scores(kind: Any) -> None:
    """The mean height over the chosen features is the score itself, undefined for the same samples."""
    ws = Workspace(blobs(n=300, dim=64, spread=0.6), ScoreConfig(eps=2.0 if kind == "q-score" else 4.0))
    w = targets.weights(kind, ws, ws.x)
    if kind == "q-score":
        height = ws.x.astype(np.float64) - ws.x.mean(1, keepdims=True, dtype=np.float64)
        score = BY_NAME["q_score"].values(ws)
        assert set(np.unique(w)) == {0, 1}
    else:
        center = ws.reference.mean(0, dtype=np.float64)
        height = ws.x - center
        height -= height.mean(1, keepdims=True)
        score = BY_NAME["q_score_signed"].values(ws)
        assert set(np.unique(w)) <= {-1, 0, 1}
    size = np.abs(w).sum(1)
    assert (np.isnan(score) == (size == 0)).all()
    assert (size > 0).sum() > 0
    np.testing.assert_allclose((height * w).sum(1)[size > 0] / size[size > 0], score[size > 0], rtol=1e-5)
    assert targets.counts(kind, ws).tolist() == size.tolist()


def test_a_feature_that_is_unusually_low_has_weight_minus_1() -> None:
    """By hand: one feature far below the mean over the data, one far above it."""
    x = np.random.default_rng(0).normal(scale=0.01, size=(200, 40)).astype(np.float32)
    x[::2, 3] -= 1
    x[1::2, 5] += 1
    found = Workspace(EmbeddingSet(x, tuple(f"{i:03d}" for i in range(200))), ScoreConfig(upper=100.0))
    w = targets.weights("adapted", found, found.x[:2])
    assert w[0, 3] == -1
    assert w[1, 5] == 1
    assert targets.choose(found, "auto").kind == "adapted"


def test_random_features_are_as_many_and_others() -> None:
    ws = Workspace(blobs(n=100, dim=64), ScoreConfig(eps=2.0))
    x = ws.x.copy()
    x[:, 10:20] = 0
    w = targets.weights("q-score", ws, x)
    seeds = np.arange(100)
    r = targets.random_weights(w, x, seeds, "q-score", ws)
    assert ((r != 0).sum(1) == np.minimum((w != 0).sum(1), ((w == 0) & (x != 0)).sum(1))).all()
    assert not (r * w).any()
    assert not r[:, 10:20].any()
    again = targets.random_weights(w[50:], x[50:], seeds[50:], "q-score", ws)
    assert (again == r[50:]).all()  # whatever batch a row is in
    assert (targets.random_weights(w, x, seeds + 1, "q-score", ws) != r).any()


# ------------------------------------------------------------------------------------ the null, and statistics


def test_other_masks_are_the_shifts_of_one_order(source: Images, boxes: Path) -> None:
    """Against a plain loop over all pairs, at batches that end anywhere; each draw uses every mask once."""
    heater = Heater(encoder(), source, torch.device("cpu"))
    heater.limit = 7
    some = [i for i in range(N) if i % 3]
    ids = [source.manifest.paths[i] for i in some]
    masks = open_masks(boxes).among(ids)

    def weigh(at: Any) -> tuple[Any, Any]:
        w = np.zeros((at.size, D), np.float32)
        w[np.arange(at.size), [some[a] % 4 for a in at]] = 1
        return w, np.roll(w, 1, 1)

    draws, judged = 5, np.full(len(ids), np.nan)
    per, failed = measuring.per_image(
        heater, masks, ids, some, weigh, judged, 0.5, draws, np.random.default_rng(3), silent
    )
    assert not failed
    order = np.random.default_rng(3).permutation(len(ids))
    inside = np.zeros((len(ids), SIDE, SIDE))
    for k, i in enumerate(some):
        x, y = corners(i)
        inside[k, y : y + OBJECT, x : x + OBJECT] = 1
    for d in range(1, draws + 1):
        partner = np.empty(len(ids), int)
        partner[order] = order[np.arange(len(ids)) - d]
        assert sorted(partner) == list(range(len(ids)))
        expected = overlap(inside, inside[partner])
        np.testing.assert_allclose(per.others["iou", "core"][d - 1], expected.iou, atol=1e-6)
        np.testing.assert_allclose(per.others["mass", "core"][d - 1], expected.mass, atol=1e-6)
    after = [order[(np.arange(len(ids)) + d) % len(ids)] for d in range(1, draws + 1)]
    by_mask = np.mean([overlap(inside[a], inside[order]).iou for a in after], 0)
    np.testing.assert_allclose(per.swapped["iou", "core"][order], by_mask, atol=1e-6)


def per_image(core: list[float], spurious: list[float], correct: list[float]) -> PerImage:
    values = {("iou", "core"): np.array(core), ("iou", "spurious"): np.array(spurious)}
    others = {("iou", "core"): np.array([core, core[::-1]]) / 2}
    swapped = {("iou", "core"): np.where(np.array(correct) == 1, 0.5, 0.3)}
    flat = {key: np.full(len(core), 0.2) for key in values}
    return PerImage(values, {("iou", "core"): np.array(core) / 4}, others, swapped, flat, np.array(correct))  # type: ignore[arg-type]


def test_statistics_by_hand() -> None:
    core = [0.8, 0.6, 0.4, np.nan] * 10
    judge = Judge.of(
        per_image(core, [0.1, 0.2, 0.9, 0.3] * 10, [1, 0, 1, 0] * 10), 400, np.random.default_rng(0)
    )
    q = judge.quantity("iou", "core", "all", "discriminative")
    assert q is not None
    assert (q.value, q.n, q.uniform) == (pytest.approx(0.6), 30, pytest.approx(0.2))
    assert q.null is not None
    # halves: .3 in the first draw; in the second, of .8, .6 and .4 the reverse order leaves (nan, .4, .6) / 2
    assert (q.null.mean, q.null.n) == (pytest.approx((0.3 + 0.25) / 2), 2)
    assert q.interval is not None
    assert q.interval.low < 0.6 < q.interval.high
    right = judge.quantity("iou", "core", "correct", "discriminative")
    wrong = judge.quantity("iou", "core", "misclassified", "discriminative")
    assert right is not None
    assert wrong is not None
    assert (right.value, right.n, wrong.value, wrong.n) == (pytest.approx(0.6), 20, pytest.approx(0.6), 10)
    control = judge.quantity("iou", "core", "all", "random")
    assert control is not None
    assert control.value == pytest.approx(0.15)
    claims = {c.key: c for c in judge.claims()}
    assert claims["core-above-spurious"].value == pytest.approx((0.7 + 0.4 - 0.5) / 3)
    assert claims["above-random-features"].word == "holds"
    assert claims["above-random-features"].value == pytest.approx(0.45)
    assert claims["correct-above-misclassified"].word == "not decided"
    assert claims["correct-above-misclassified"].value == pytest.approx(0)
    equal = claims["correct-above-misclassified-at-equal-objects"]
    assert (equal.word, equal.value) == ("does not hold", pytest.approx(-0.2))  # theirs are easier to hit


def test_verdicts_follow_the_interval_alone() -> None:
    """Swapping the groups turns "holds" around; nine images decide nothing; absent groups are not tested."""
    rng = np.random.default_rng(0)
    core = np.concatenate([rng.uniform(0.5, 0.7, 30), rng.uniform(0.3, 0.5, 30)]).tolist()
    spurious, groups = [0.0] * 60, [1.0] * 30 + [0.0] * 30

    def word(correct: list[float], values: list[float] = core) -> str:
        judge = Judge.of(per_image(values, spurious[: len(values)], correct), 200, np.random.default_rng(0))
        return next(c.word for c in judge.claims() if c.key == "correct-above-misclassified")

    assert word(groups) == "holds"
    assert word(groups[::-1]) == "does not hold"
    assert word([1.0, 0.0] * 30) == "not decided"
    assert word([1.0] * 60) == "not tested"
    assert word([1.0] * 9 + [0.0] * 9, core[:9] + core[-9:]) == "not decided"
