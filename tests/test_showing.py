"""What is shown is what was measured: slow literal references, hand-made cases, pictures read once."""

from __future__ import annotations

import dataclasses
import io
import re
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from conftest import blobs
from PIL import Image
from scipy.stats import f_oneway

import repdiag
from repdiag import maps
from repdiag.config import ScoreConfig
from repdiag.errors import UsageError
from repdiag.exhibits import placed_rows, shown_rows
from repdiag.extraction.images import small_pictures
from repdiag.metrics._class_tables import pair_columns
from repdiag.risk import assess
from repdiag.showing import features, matrix, pairs, pictures, riskiest, sprite
from repdiag.tables import sample_columns
from repdiag.types import EmbeddingSet, Manifest, silent
from repdiag.workspace import Workspace

FAST = ScoreConfig(bootstrap=50, permutations=5, kmeans_seeds=2, by_size=False)


def workspace(embeddings: EmbeddingSet, **config: object) -> Workspace:
    return Workspace(embeddings, dataclasses.replace(FAST, **config))


def cross_fitted(ws: Workspace) -> np.ndarray:
    """Distances (N, K) of each row to the class centers without its own fold: the slow way."""
    out = np.full((len(ws), ws.k), np.nan)
    for fold in ws.folds:
        train, y = ws.reference_space[fold.train].astype(np.float64), ws.reference_labels[fold.train]
        for c in range(ws.k):
            if (y == c).any():
                center = train[y == c].mean(0)
                for row in fold.test:
                    out[row, c] = np.linalg.norm(ws.space[row] - center)
    return out


# ------------------------------------------------------------------------------------------ the matrix


@pytest.mark.parametrize("split", [False, True])
def test_the_matrix_is_the_slow_one_in_another_order(split: bool) -> None:
    ws = workspace(blobs(k=5, spread=2.0, split=split))
    found = matrix.class_matrix(ws)
    assert found is not None
    nearest = np.nanargmin(cross_fitted(ws), 1)
    number = {name: c for c, name in enumerate(ws.class_names)}
    for i, a in enumerate(found.classes):
        own = ws.labels == number[a]
        for j, b in enumerate(found.classes):
            assert found.nearer[i, j] == pytest.approx((nearest[own] == number[b]).mean())
            apart = np.linalg.norm(ws.x[own].mean(0) - ws.x[ws.labels == number[b]].mean(0))
            assert found.distance[i, j] == pytest.approx(apart, abs=1e-6)
    assert not found.mass.any()
    assert sorted(found.classes) == sorted(ws.class_names)


def test_of_many_classes_those_that_crowd_most_are_shown_and_the_rest_is_mass() -> None:
    """1,000 classes in 20 groups of 50: rows add to 1 with what lies at classes that are not shown."""
    rng = np.random.default_rng(0)
    label = np.repeat(np.arange(1000), 3)
    center = rng.normal(size=(20, 16))[np.arange(1000) % 20] + 0.1 * rng.normal(size=(1000, 16))
    x = (center[label] + 0.1 * rng.normal(size=(3000, 16))).astype(np.float32)
    names = tuple(f"{c:04d}" for c in range(1000))
    ws = workspace(EmbeddingSet(x, tuple(f"{i:05d}" for i in range(3000)), label, names))
    found = matrix.class_matrix(ws)
    assert found is not None
    assert (len(found.classes), found.of) == (60, 1000)
    np.testing.assert_allclose(found.nearer.sum(1) + found.mass, 1)
    assert found.mass.max() > 0
    nearest, share = matrix.nearest_centers(ws), np.zeros((1000, 1000))
    np.add.at(share, (label, nearest), 1 / 3)
    crowding = np.triu(share + share.T, 1)
    shown, best = [int(name) for name in found.classes], []
    for pair in np.argsort(-crowding, axis=None, kind="stable")[:200]:  # pair by pair, the slow way
        best += [c for c in divmod(int(pair), 1000) if c not in best]
    assert sorted(shown) == sorted(best[:60])
    assert found.mass.mean() < 0.5, "the picture is not empty"
    assert matrix.class_matrix(workspace(blobs(labels=False))) is None


def test_crowding_orders_the_classes_and_distance_only_what_does_not_crowd() -> None:
    """0 crowds 3 and 1 crowds 2, while the centers of 0, 1 and of 2, 3 are close: crowding wins."""
    nearer = np.eye(4)
    nearer[0, 3] = nearer[3, 0] = nearer[1, 2] = nearer[2, 1] = 0.3
    distance = np.array([[0, 0.1, 1, 1], [0.1, 0, 1, 1], [1, 1, 0, 0.1], [1, 1, 0.1, 0]])
    place = np.argsort(matrix.clustered(nearer, distance))
    assert abs(place[0] - place[3]) == abs(place[1] - place[2]) == 1
    place = np.argsort(matrix.clustered(np.eye(4), distance))
    assert abs(place[0] - place[1]) == abs(place[2] - place[3]) == 1


def test_where_few_pairs_crowd_the_classes_most_astray_fill_up() -> None:
    """2 and 3 crowd each other, 1 and 4 nobody, 0 has no samples."""
    counts = np.diag([0, 5, 3, 3, 5])
    counts[2, 3] = 2
    assert matrix.together(counts, 2).tolist() == [2, 3]
    assert matrix.together(counts, 3).tolist() == [1, 2, 3]
    assert matrix.together(counts, 9).tolist() == [0, 1, 2, 3, 4]


def test_crowding_classes_stand_side_by_side_and_absent_ones_last() -> None:
    nearer = np.eye(5)
    nearer[0, 3] = nearer[3, 0] = nearer[2, 4] = 0.3
    nearer[1] = np.nan
    distance = 1 - np.eye(5)
    distance[1] = distance[:, 1] = np.nan
    order = matrix.clustered(nearer, distance).tolist()
    assert order[-1] == 1
    assert abs(order.index(0) - order.index(3)) == abs(order.index(2) - order.index(4)) == 1
    data = blobs(k=4)
    ws = workspace(dataclasses.replace(data, class_names=("z", *data.class_names), labels=data.labels + 1))
    found = matrix.class_matrix(ws)
    assert found is not None
    assert found.classes[-1] == "z"
    assert np.isnan(found.nearer[-1]).all()
    assert np.isnan(found.mass[-1])
    assert np.isfinite(found.nearer[:-1]).all()
    assert not found.nearer[:-1, -1].any()


# ------------------------------------------------------------------------------------------ pairs


@pytest.mark.parametrize("split", [False, True])
def test_border_images_are_the_slow_ones(split: bool) -> None:
    ws = workspace(blobs(n=200, k=4, spread=3.0, split=split))
    columns = pair_columns(ws)
    distance = cross_fitted(ws)
    shown = pairs.pair_pictures(ws, columns)
    assert len(shown) == 6
    crowding = {
        (str(a), str(b)): one + other
        for a, b, one, other in zip(
            *(columns[key] for key in ("class_a", "class_b", "nearer_ab", "nearer_ba")), strict=True
        )
    }
    told = [crowding[pair.class_a, pair.class_b] for pair in shown]
    assert told == sorted(told, reverse=True)
    assert told[0] > 0
    over = 0
    for pair in shown:
        a, b = (ws.class_names.index(name) for name in (pair.class_a, pair.class_b))
        for own, other, ids in ((a, b, pair.a_ids), (b, a, pair.b_ids)):
            rows = np.flatnonzero(ws.labels == own)
            gap = distance[rows, other] - distance[rows, own]
            order = np.argsort(gap, kind="stable")[:4]
            over += int((gap[order] < 0).sum())
            assert ids == tuple(ws.ids[rows[order]])
    assert over > 0


def test_pairs_without_crowding_keep_the_order_of_distance() -> None:
    flat = {"nearer_ab": np.zeros(3), "nearer_ba": np.zeros(3)}
    assert pairs.crowded_first(flat).tolist() == [0, 1, 2]
    flat["nearer_ba"] = np.array([0.0, 0.2, np.nan])
    assert pairs.crowded_first(flat).tolist() == [1, 0, 2]
    assert pairs.crowded_first({}).size == 0


# ------------------------------------------------------------------------------------------ features


def test_eta_squared_is_that_of_a_one_way_anova() -> None:
    ws = workspace(blobs(n=150, dim=10, relu=False))
    found = features.ranked(ws)
    assert sorted(found.features.tolist()) == list(range(10)), "signed features: S is not asked"
    n, k = len(ws), ws.k
    for feature, worth in zip(found.features, found.worth, strict=True):
        parts = [ws.x[ws.labels == c, feature].astype(np.float64) for c in range(k)]
        f = f_oneway(*parts).statistic
        assert worth == pytest.approx(f * (k - 1) / (f * (k - 1) + n - k), rel=1e-6)
    assert (np.diff(found.worth) <= 0).all()


def test_the_null_is_near_its_known_mean_and_far_below_the_features() -> None:
    ws = workspace(blobs(n=400, dim=40, spread=0.2), permutations=30)
    said = features.note(ws)
    assert said is not None
    mean, best = (float(v) for v in re.findall(r"has ([\d.e-]+?)\.?(?= on|$)", said))
    assert mean == pytest.approx((ws.k - 1) / (len(ws) - 1), rel=0.4)
    worth = features.ranked(ws).worth
    assert mean < best < worth.max()
    wrong = dataclasses.replace(
        blobs(n=400, dim=40, spread=0.2), labels=np.random.default_rng(1).permutation(ws.labels)
    )
    assert features.ranked(workspace(wrong)).worth.max() < 0.2 < worth.max()
    assert features.note(workspace(blobs(labels=False))) is None


def test_cards_show_the_images_of_the_highest_activation() -> None:
    data = blobs(n=120, dim=40, spread=0.2)
    x = data.features.copy()
    x[:, 7] = 0
    x[:3, 7] = (1, 9, 5)  # three images only: a card does not fill up with images that do not activate it
    ws = workspace(dataclasses.replace(data, features=x), lower=0, upper=100)
    cards = features.cards(ws, count=40)
    by_feature = {card.feature: card for card in cards}
    assert by_feature[7].ids == ("00001.png", "00002.png", "00000.png")
    assert by_feature[7].activations == (9, 5, 1)
    for card in cards:
        assert card.in_s is True
        order = np.argsort(-ws.raw[:, card.feature], kind="stable")[: len(card.ids)]
        assert card.ids == tuple(ws.ids[order])
        assert card.labels == tuple(ws.class_names[c] for c in ws.labels[order])
        assert len(set(card.ids)) == len(card.ids)
    bare = features.cards(workspace(blobs(labels=False, relu=False)))
    assert all(c.in_s is None and np.isnan(c.frequency) and set(c.labels) == {None} for c in bare)
    assert {c.worth_name for c in bare} == {features.OF_TOTAL}
    assert 0 < sum(c.worth for c in bare) <= 1


# ------------------------------------------------------------------------------------------ the riskiest


def test_every_reason_is_true() -> None:
    """Each sentence is looked up again in the tables: percentages are reached, votes and centers as stated."""
    ws = workspace(blobs(n=300, dim=40, k=4, spread=1.0))
    samples = sample_columns(ws, assess(ws))
    shown = riskiest.risky_samples(ws, samples)
    risk = samples["risk"]
    assert [one.id for one in shown] == ws.ids[np.argsort(-risk, kind="stable")[:24]].tolist()
    nearest = np.nanargmin(cross_fitted(ws), 1)
    graph = np.argsort(-(ws.x @ ws.x.T) + 2 * np.eye(len(ws)), axis=1, kind="stable")[:, :10]
    column = {
        "farther from its": "knn_density",
        "nearer to the border": "kmeans_margin",
        "its embedding is": "feature_norm",
    }
    seen: Counter[str] = Counter()
    for one in shown:
        row = int(np.flatnonzero(ws.ids == one.id)[0])
        assert 1 <= len(one.reasons) <= 3
        votes = Counter(ws.class_names[c] for c in ws.labels[graph[row]])
        for reason in one.reasons:
            quoted = re.findall(r"'(.*?)'", reason)
            if match := re.fullmatch(r"(\d+) of its 10 nearest neighbors are labeled .*", reason):
                assert votes[quoted[0]] == int(match[1]) == max(votes.values())
                assert quoted[1] == samples["prediction"][row] != quoted[0]
                seen["votes"] += 1
            elif match := re.fullmatch(
                r"the probe says .*, but (only \d+|none) of its 10 nearest .*", reason
            ):
                assert quoted[0] == samples["prediction"][row]
                assert votes[quoted[0]] == (0 if match[1] == "none" else int(match[1].split()[1]))
                seen["agree"] += 1
            elif reason.startswith("the nearest class center"):
                assert quoted[0] == ws.class_names[nearest[row]] != quoted[1] == samples["prediction"][row]
                seen["center"] += 1
            for start, name in column.items():
                if reason.startswith(start):
                    above = (samples[name] > samples[name][row]).mean()
                    stated = int(re.search(r"(\d+)%", reason)[1]) / 100
                    assert stated <= above + 1e-9 < stated + 0.011
                    assert above >= 1 - riskiest.UNUSUAL
                    seen[name] += 1
    assert len(seen) >= 4, seen


def test_a_sample_with_nothing_unusual_says_so_and_a_misleading_score_is_no_reason() -> None:
    bare = workspace(blobs(n=300, dim=40, labels=False, views=False))
    samples = dict(sample_columns(bare, assess(bare)))
    calm = np.ones(len(bare), bool)
    for name in riskiest.LOW.keys() & samples.keys():
        values = np.nan_to_num(samples[name].astype(float), nan=-np.inf)
        calm &= (values <= values[:, None]).mean(1) > riskiest.UNUSUAL
    assert 24 < calm.sum() < 290
    samples["risk"] = calm.astype(float)
    assert {one.reasons for one in riskiest.risky_samples(bare, samples)} == {(riskiest.NOTHING,)}
    samples["risk"] = 1 - samples["risk"]
    assert riskiest.NOTHING not in {one.reasons[0] for one in riskiest.risky_samples(bare, samples)}
    ws = workspace(blobs(n=300, k=2))
    values = np.arange(len(ws), dtype=float)
    right = np.where(ws.probe.correct, values + 1000, values)
    assert riskiest._helps(ws, right, False)
    assert not riskiest._helps(ws, -right, False)


def test_half_of_the_labels_or_none_give_reasons_too() -> None:
    data = blobs(n=200, dim=30)
    labels = np.where(np.arange(200) % 3 == 0, -1, data.labels)
    partly = workspace(dataclasses.replace(data, labels=labels))
    samples = sample_columns(partly, assess(partly))
    shown = riskiest.risky_samples(partly, samples)
    assert len(shown) == 24
    names = features.labels_of(partly)
    assert [name is None for name in names] == [i % 3 == 0 for i in range(200)]
    assert {one.id for one in shown} & set(partly.whole.ids[::3])
    bare = workspace(blobs(n=60, labels=False))
    said = riskiest.risky_samples(bare, sample_columns(bare, assess(bare)), "samples")
    assert not any("probe" in reason or "images" in reason for one in said for reason in one.reasons)


# ------------------------------------------------------------------------------------------ pictures


class Reader:
    """Gives a plain color for each id and remembers what it was asked for; "x..." cannot be read."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int]] = []

    def __call__(self, ids: Sequence[str], sides: Sequence[int]) -> Iterator[np.ndarray | None]:
        for name, side in zip(ids, sides, strict=True):
            self.asked.append((name, side))
            color = int(name[1:]) % 200
            yield None if name.startswith("x") else np.full((side // 2, side, 3), color, np.uint8)


def table(names: Sequence[str], placed: int | None = None) -> dict[str, np.ndarray]:
    place = np.arange(len(names), dtype=float)
    if placed is not None:
        place[placed:] = np.nan
    return {"id": np.array(names), "umap_x": place, "umap_y": place}


def test_each_image_is_read_once_for_all_that_shows_it() -> None:
    names = [f"a{i:04d}" for i in range(50)] + ["x0050"]
    read, steps = Reader(), []
    small, made = pictures.read_pictures(
        table(names), ["a0003", "a0004", "a0003", "x0050"], read, 10_000, lambda *step: steps.append(step)
    )
    assert Counter(name for name, _ in read.asked) == Counter(names)
    assert {side for name, side in read.asked if name in small} == {96}
    assert list(small) == ["a0003", "a0004"]
    assert Image.open(io.BytesIO(small["a0003"])).size == (96, 48)
    assert made is not None
    assert (made.ids, made.tile) == (tuple(names), 64)
    sheet = np.asarray(Image.open(io.BytesIO(made.jpeg)).convert("RGB")).astype(int)
    for number, name in enumerate(names):
        row, column = divmod(number, made.columns)
        tile = sheet[row * 64 : row * 64 + 64, column * 64 : column * 64 + 64]
        expected = 128 if name == "x0050" else int(name[1:])
        assert abs(tile[20:44].mean() - expected) < 3, name
        assert abs(tile[[*range(12), *range(52, 64)]].mean() - 128) < 3, "letterboxed on gray"
    assert steps[0] == (pictures.STEP, 0, 51)
    assert steps[-1] == (pictures.STEP, 51, 51)


def test_thumbnails_bound_what_is_shown_and_zero_shows_nothing() -> None:
    names = [f"a{i:04d}" for i in range(40)]
    small, made = pictures.read_pictures(table(names, placed=30), names, Reader(), 7, silent)
    assert list(small) == names[:7]
    assert made is not None
    assert made.ids == tuple(names[i] for i in np.linspace(0, 29, 7).round().astype(int))
    read = Reader()
    assert pictures.read_pictures(table(names), names, read, 0, silent) == ({}, None)
    assert not read.asked
    assert pictures.read_pictures(table(names), names, None, 7, silent) == ({}, None)
    no_map = {"id": np.array(names)}
    small, made = pictures.read_pictures(no_map, names[:3], read, 7, silent)
    assert (len(small), made) == (3, None)
    with pytest.raises(UsageError, match="thumbnails must be at least 0"):
        ScoreConfig(thumbnails=-1)


def test_the_rows_on_the_map_are_evenly_spaced_from_first_to_last() -> None:
    placed = np.arange(25_000) * 2
    rows = shown_rows(placed)
    assert (rows.size, rows[0], rows[-1]) == (10_000, 0, 49_998)
    assert set(np.diff(rows)) == {4, 6}
    assert shown_rows(placed[:10_000]) is not None
    assert np.array_equal(shown_rows(placed[:10_000]), placed[:10_000])
    pca = {"pca_x": np.array([1.0, np.nan, 2]), "pca_y": np.zeros(3)}
    assert placed_rows(pca).tolist() == [0, 2]
    assert placed_rows({**pca, "umap_x": np.array([np.nan, 1, 1]), "umap_y": np.ones(3)}).tolist() == [1, 2]
    assert placed_rows({}).size == 0


def test_noise_stays_below_the_limit_and_equal_pixels_give_equal_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert [sprite.tile_side(n) for n in (1, 1500, 1501, 3000, 3001, 10_000)] == [64, 64, 48, 48, 32, 32]
    monkeypatch.setattr(sprite, "MAX_BYTES", 20_000)
    made = []
    for _ in range(2):
        rng, sheet = np.random.default_rng(0), sprite.Sheet(tuple(f"{i}" for i in range(90)))
        for number in range(90):
            sheet.put(number, rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
        made.append(sheet.finished())
    assert made[0] == made[1]
    assert made[0].tile == 32, "at the worst quality still too large: half of the pixels"
    assert len(made[0].jpeg) <= 20_000
    assert Image.open(io.BytesIO(made[0].jpeg)).size == (made[0].columns * 32, 9 * 32)
    assert sprite.Sheet(()).finished() is None
    heavy = {f"{i}": rng.integers(0, 256, (96, 96, 3), dtype=np.uint8) for i in range(200)}
    assert sum(map(len, pictures._fitting(heavy).values())) <= pictures.MAX_GALLERY_BYTES


class Files:
    """An image source in memory that counts reads."""

    name = "files"
    notes = ()

    def __init__(self, contents: list[bytes]) -> None:
        self.contents = contents
        self.manifest = Manifest(tuple(f"{i}" for i in range(len(contents))), None, (), None, "f")

    def read(self, index: int) -> bytes:
        if not self.contents[index]:
            raise OSError("gone")
        return self.contents[index]


def test_large_photographs_are_decoded_small_and_look_the_same() -> None:
    y, x = np.mgrid[:1200, :1600] / 1600
    photo = Image.fromarray((255 * np.stack([x, y, (x + y) / 2], 2)).astype(np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees
    buffers = [io.BytesIO() for _ in range(3)]
    photo.save(buffers[0], "JPEG", quality=95)
    photo.save(buffers[1], "JPEG", quality=95, exif=exif)
    photo.save(buffers[2], "PNG")
    contents = [b.getvalue() for b in buffers]
    found = list(
        small_pictures(Files([*contents, b"", contents[0][:5000]]), [2, 0, 1, 3, 4], [96] * 5, workers=2)
    )
    assert found[3] is None
    assert found[4] is None
    plain, jpeg, turned = (one.astype(int) for one in found[:3])
    assert plain.shape == jpeg.shape == (72, 96, 3)
    assert np.abs(plain - jpeg).max() <= 6
    assert np.abs(np.rot90(turned, 1) - jpeg).max() <= 6
    (small,) = small_pictures(Files([contents[0]]), [0], [32])
    assert small.shape == (24, 32, 3)


def test_several_reports_on_the_same_images_read_them_once() -> None:
    read = Reader()
    again = pictures.remembering(read)
    names = ["a0001", "x0002", "a0003"]
    first = list(again(names, [32] * 3))
    second = list(again(names[::-1], [32, 32, 96]))
    assert first[1] is None
    assert second[0] is first[2]
    assert read.asked == [("a0001", 32), ("x0002", 32), ("a0003", 32), ("a0001", 96)]


# ------------------------------------------------------------------------------------------ whole reports

CASES = {
    "labeled": {},
    "unlabeled": {"labels": False},
    "one class": {"k": 1},
    "four samples": {"n": 4, "k": 2},
    "signed": {"relu": False},
    "split": {"split": True},
}


@pytest.mark.parametrize("case", CASES)
def test_a_report_of_any_kind_has_the_exhibits_that_it_can_have(
    case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        maps, "umap_map", lambda ws: ws.x[:, :2].astype(float)
    )  # compiling UMAP takes its time
    options = {"n": 80, "dim": 24, **CASES[case]}
    data = blobs(**options)
    if case == "one class":
        data = dataclasses.replace(data, labels=np.zeros(80, np.int64))
    read = [Reader(), Reader()]
    names = dict(zip(data.ids, (f"a{i:04d}" for i in range(len(data))), strict=True))
    data = dataclasses.replace(data, ids=tuple(names.values()))
    reports = [repdiag.diagnose(data, FAST, metrics=["rankme", "crowding"], thumbnails=r) for r in read]
    one, other = (r.exhibits for r in reports)
    assert one.sprite == other.sprite
    for part in ("features", "riskiest", "pairs", "advice", "notes"):
        assert repr(getattr(one, part)) == repr(getattr(other, part))
    assert reports[0].thumbnails == reports[1].thumbnails
    shown = {name for pair in one.pairs for name in pair.a_ids + pair.b_ids}
    shown |= {name for card in one.features for name in card.ids} | {risky.id for risky in one.riskiest}
    assert set(reports[0].thumbnails) == shown
    told = case not in ("unlabeled", "one class")
    assert (one.matrix is not None) == told
    assert bool(one.pairs) == (told and case != "four samples"), "a pair needs two samples of both"
    assert ("features" in one.notes) == told
    assert one.features
    samples = reports[0].samples.columns
    assert one.pca_explained is not None
    assert np.isfinite(samples["pca_x"]).all()
    assert one.sprite is not None
    assert one.sprite.ids == tuple(samples["id"])
    assert list(samples)[-4:] == ["umap_x", "umap_y", "pca_x", "pca_y"]


def test_embeddings_without_images_and_a_report_without_pictures_have_all_else() -> None:
    data, read = blobs(n=60), Reader()
    bare = repdiag.diagnose(data, FAST, metrics=["crowding"], draw_map=False)
    hidden = dataclasses.replace(FAST, thumbnails=0)
    none = repdiag.diagnose(data, hidden, metrics=["crowding"], draw_map=False, thumbnails=read)
    assert not read.asked
    for report in (bare, none):
        assert not report.thumbnails
        assert report.exhibits.sprite is None
        assert "pca_x" not in report.samples.columns
        assert len(report.exhibits.riskiest) == 24
        assert report.exhibits.features
        assert report.exhibits.pairs
