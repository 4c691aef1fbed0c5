"""What an audit finds: the order, what it is worth, label errors, reasons, copies, and where vectors come from."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from sample_report import sample_report

from repdiag.audits import audit, confident, labels
from repdiag.audits.catch import catch, curve
from repdiag.audits.samples import Samples, samples_of
from repdiag.audits.types import Action, Copies, Suspects
from repdiag.audits.vectors import Vectors, from_cache, from_file
from repdiag.errors import DataError, RepdiagError, UsageError
from repdiag.store import Shape, Store
from repdiag.types import Manifest, Report, Skipped, Table

NAN = float("nan")


def report_of(n: int = 300, calibrated: bool = True, **options: Any) -> Report:
    made = sample_report(n, 16, thumbnails=0, **options)
    return dataclasses.replace(made, risk={**made.risk, "brier": 0.09}) if calibrated else made


def with_columns(report: Report, **columns: Any) -> Report:
    kept = {
        name: values for name, values in report.samples.columns.items() if columns.get(name, 0) is not None
    }
    changed = {name: values for name, values in columns.items() if values is not None}
    return dataclasses.replace(report, samples=Table({**kept, **changed}))


def tiny(
    risk: list[float], correct: list[float], label: list[str | None] | None = None, **columns: Any
) -> Samples:
    n = len(risk)
    names = np.array([f"s{i}" for i in range(n)], dtype=object)
    nothing, blank = np.full(n, NAN), np.full(n, None, dtype=object)
    given = np.array(label if label is not None else ["a"] * n, dtype=object)
    fields: dict[str, Any] = {
        "ids": names, "paths": names, "label": given, "prediction": blank, "correct": np.array(correct, float),
        "knn_correct": nothing, "center_correct": nothing, "confidence": nothing, "risk": np.array(risk, float),
        "q_score": nothing, "cluster": nothing, "x": nothing, "y": nothing,
    }  # fmt: skip
    return Samples(**(fields | columns))


# ------------------------------------------------------------------------------------------- the order


def test_the_riskiest_come_first_and_none_without_a_risk() -> None:
    report = report_of(200)
    risk = np.round(report.samples.columns["risk"], 1)
    risk[::7] = np.nan
    found = audit(with_columns(report, risk=risk), 400)
    rows = [one.row for one in found.reviewed]
    assert len(rows) == np.isfinite(risk).sum()
    assert rows == sorted(rows, key=lambda row: (-risk[row], row))
    assert [one.rank for one in found.reviewed] == list(range(1, len(rows) + 1))
    assert "takes in all 171 samples" in found.warnings[0]
    assert not audit(report, 10).warnings


@pytest.mark.parametrize(
    ("columns", "said"),
    [({"risk": None}, "no risk"), ({"risk": np.full(60, NAN)}, "no risk"), ({"id": None}, "no samples")],
)
def test_a_report_without_risk_is_one_sentence(columns: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError, match=said):
        audit(with_columns(report_of(60), **columns))


@pytest.mark.parametrize(
    ("options", "said"), [({"budget": 0}, "at least 1"), ({"threshold": 1.5}, "lies in")]
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        audit(report_of(60), **options)


# ------------------------------------------------------------------------------------------- what it is worth


def test_hand_computed_catch() -> None:
    """0.9 + 0.5 errors expected, variance 0.09 + 0.25; half of the list is known, one of it wrong, two in all."""
    samples = tiny([0.9, 0.5, 0.2, 0.1], [0, NAN, 0, 1])
    got = catch(samples, np.array([0, 1]), True)
    assert got.expected == pytest.approx(1.4)
    assert got.low == pytest.approx(1.4 - 1.959964 * 0.34**0.5)
    assert got.high == 2.0  # no more than are on the list
    assert (got.labeled, got.found, got.errors) == (1, 1, 2)
    rank = catch(samples, np.array([0, 1]), False)
    assert (rank.expected, rank.low, rank.found) == (None, None, 1)


def test_the_interval_holds_where_the_risks_are_right() -> None:
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        risk = rng.beta(1, 4, 400)
        got = catch(
            tiny(risk.tolist(), (rng.random(400) > risk).astype(float).tolist()), np.arange(100), True
        )
        assert got.low is not None
        assert got.high is not None
        assert got.found is not None
        held += got.low <= got.found <= got.high
    assert 0.92 <= held / 300 <= 0.98


def test_hand_computed_curve() -> None:
    table, missing = curve(tiny([0.9, 0.8, 0.2, 0.1], [0, 1, 0, 1]), 2, True)
    assert missing == ""
    got = table.columns
    assert got["reviewed"].tolist() == [0, 1, 2, 3, 4]
    assert got["caught"].tolist() == [0, 0.5, 0.5, 1, 1]
    np.testing.assert_allclose(got["accuracy"], [1 / 2, 2 / 3, 1 / 2, 1, NAN])
    np.testing.assert_allclose(got["expected"], [0, 0.45, 0.85, 0.95, 1])
    assert np.isnan(curve(tiny([0.9, 0.8, 0.2, 0.1], [0, 1, 0, 1]), 2, False)[0].columns["expected"]).all()


def test_equal_risks_count_as_the_mean_over_all_orders() -> None:
    got = curve(tiny([0.5] * 4, [0, 1, 1, 1]), 2, True)[0].columns
    np.testing.assert_allclose(got["caught"], [0, 0.25, 0.5, 0.75, 1])


def test_the_curve_is_a_plain_loops_and_its_bands_hold_it() -> None:
    report = report_of(400)
    samples = samples_of(report)
    got = curve(samples, 50, True)[0].columns
    order = sorted(range(400), key=lambda i: -samples.risk[i])
    wrong = [samples.correct[i] == 0 for i in order]
    for place, n in enumerate(got["reviewed"].tolist()):
        assert got["caught"][place] == pytest.approx(sum(wrong[:n]) / sum(wrong))
        if n < 400:
            assert got["accuracy"][place] == pytest.approx(1 - sum(wrong[n:]) / (400 - n))
    assert 50 in got["reviewed"]
    inside = (got["caught_low"] <= got["caught"] + 1e-9) & (got["caught"] <= got["caught_high"] + 1e-9)
    assert inside.all()
    middle = (got["reviewed"] > 10) & (got["caught"] < 0.9)
    assert (got["caught_high"] > got["caught_low"])[middle].all()
    random = with_columns(report, risk=np.random.default_rng(1).permutation(samples.risk))
    shuffled = curve(samples_of(random), 50, True)[0].columns
    assert shuffled["caught"][20] < got["caught"][20] - 0.1, "a useless risk catches no more than its share"


@pytest.mark.parametrize(
    ("correct", "said"), [([1, 1, 1], "none of the 3"), ([0, 0, 0], "every one"), ([NAN] * 3, "no label")]
)
def test_no_curve_without_both_kinds(correct: list[float], said: str) -> None:
    table, missing = curve(tiny([0.3, 0.2, 0.1], correct), 2, True)
    assert not table.columns
    assert said in missing


# ------------------------------------------------------------------------------------------- label errors


def judged(p: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> Samples:
    """What a report keeps of probabilities (N, K): the prediction and its confidence."""
    n = len(y)
    return tiny(
        [0.5] * n,
        (p.argmax(1) == y).astype(float).tolist(),
        [str(v) for v in y],
        prediction=np.array([str(v) for v in p.argmax(1)], dtype=object),
        confidence=p.max(1),
    )


def literal_confident_learning(p: np.ndarray[Any, Any], y: np.ndarray[Any, Any]) -> set[int]:
    """Off the diagonal of the confident joint, from the whole probabilities."""
    limit = [p[y == j, j].mean() for j in range(p.shape[1])]
    out = set()
    for i in range(len(y)):
        above = [j for j in range(p.shape[1]) if p[i, j] >= limit[j]]
        if above and max(above, key=lambda j: p[i, j]) != y[i]:
            out.add(i)
    return out


@pytest.mark.parametrize("k", [2, 3, 10])
def test_suspects_are_a_subset_of_confident_learnings_and_all_of_it_for_two_classes(k: int) -> None:
    rng = np.random.default_rng(k)
    y = np.arange(600) % k
    logit = rng.normal(size=(600, k)) + 3 * np.eye(k)[y]
    flipped = rng.choice(600, 40, replace=False)
    y[flipped] = (y[flipped] + 1) % k
    p = np.exp(logit) / np.exp(logit).sum(1, keepdims=True)
    got = {int(one.id[1:]) for one in labels.suspects(judged(p, y), "")}
    whole = literal_confident_learning(p, y)
    assert got <= whole
    assert len(got & set(flipped.tolist())) > 20
    if k == 2:
        assert got == whole
    doubtful = p.copy()
    doubtful[flipped] = 1 / k + 1e-3 * p[flipped]
    assert len(labels.suspects(judged(doubtful / doubtful.sum(1, keepdims=True), y), "")) < len(got)


def test_hand_computed_class_limits() -> None:
    """a: 0.9 for a, at most 0.2 for a beside b at 0.8; b: 0.6 for b, at most 0.3 for b beside a at 0.3 of many."""
    samples = tiny(
        [0.1] * 4,
        [1, 0, 1, 0],
        ["a", "a", "b", "b"],
        prediction=np.array(["a", "b", "b", "a"], dtype=object),
        confidence=np.array([0.9, 0.8, 0.6, 0.3]),
    )
    assert labels.class_limits(samples) == pytest.approx({"a": (0.9 + 0.2) / 2, "b": (0.6 + 0.3) / 2})
    (found,) = labels.suspects(samples, "train/test")
    assert (found.id, found.label, found.suggested, found.split, found.others) == (
        "s1",
        "a",
        "b",
        "test",
        None,
    )


def test_cleanlab_finds_flipped_labels_also_in_the_training_part() -> None:
    pytest.importorskip("cleanlab", reason="cleanlab is an optional extra")
    report = report_of(300)
    rng = np.random.default_rng(0)
    truth = np.arange(300) % 10
    x = (4 * np.eye(10, 16)[truth] + rng.normal(size=(300, 16))).astype(np.float32)
    names = report.samples.columns["label"]
    train = tuple(f"train/{i}" for i in range(300))
    given = names.copy()
    given[:12] = np.roll(names, 1)[:12]
    vectors = Vectors(
        np.concatenate([x, x + rng.normal(size=x.shape).astype(np.float32) / 9]),
        (*report.samples.columns["id"], *train),
        (*names, *given),
        np.arange(600) >= 300,
        "x.npz",
    )
    got = audit(report, 20, vectors=vectors, cleanlab=True).suspects
    assert isinstance(got, Suspects)
    found = {one.id: one for one in got.found if "cleanlab" in one.by}
    hits = [i for i in range(12) if f"train/{i}" in found]
    assert len(hits) >= 10
    assert len(found) <= 15
    for i in hits:
        flipped = found[f"train/{i}"]
        assert (flipped.split, flipped.suggested, flipped.others) == ("train", names[i], None)
        assert flipped.self_confidence < 0.5
    assert got.judged == 600


def test_cleanlab_needs_its_package_vectors_and_labels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cleanlab.filter", None)
    with pytest.raises(UsageError, match=r"pip install 'repdiag\[cleanlab\]'"):
        confident.load()
    with pytest.raises(UsageError, match="needs the embeddings"):
        audit(report_of(60), cleanlab=True)
    bare = Vectors(np.eye(60, dtype=np.float32), tuple(report_of(60).samples.columns["id"]), None, None, "x")
    with pytest.raises(UsageError, match="needs labels"):
        audit(report_of(60), vectors=bare, cleanlab=True)


def test_out_of_fold_probabilities_know_no_label_of_their_own() -> None:
    """Random labels are told no better than chance; a probe that had seen them would name nearly all."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(120, 60)).astype(np.float32), rng.integers(0, 2, 120)
    p = confident.out_of_fold(x, y, 2, "cpu", 0)
    np.testing.assert_allclose(p.sum(1), 1)
    assert 0.35 < (p.argmax(1) == y).mean() < 0.65


# ------------------------------------------------------------------------------------------- reasons and groups


def test_reasons_actions_and_groups() -> None:
    """One sample of each kind; the first action that applies is the one that is asked for."""
    base = report_of(100)
    ids = base.samples.columns["id"]
    label = np.array(["cat", "dog", "cat", "dog", "cat"] * 20, dtype=object)
    prediction = label.copy()
    prediction[[0, 1, 2]] = ["dog", "cat", "dog"]
    label[3] = None
    confidence = np.full(100, 0.8)
    confidence[[0, 1, 2]] = [0.99, 0.7, 0.4]
    correct = np.array(
        [None if one is None else one == other for one, other in zip(label, prediction, strict=True)]
    )
    risk = np.concatenate([[0.9, 0.85, 0.8, 0.75, 0.7, 0.65], np.linspace(0.5, 0.1, 94)])
    density = np.linspace(0, 1, 100)
    density[5] = -1
    report = dataclasses.replace(
        with_columns(
            base, label=label, prediction=prediction, confidence=confidence, correct=correct, risk=risk,
            knn_density=density, knn_correct=correct, q_score=np.full(100, NAN),
        ),
        pairs=Table(
            {
                "class_a": np.array(["cow", "cat"], dtype=object),
                "class_b": np.array(["cat", "dog"], dtype=object),
                "distance": np.array([0.9, 0.2]),
            }
        ),
        clusters=Table({"cluster": np.arange(10), "majority_class": np.array(["dog"] * 10, dtype=object),
                        "purity": np.full(10, 0.61)}),
    )  # fmt: skip
    x = np.random.default_rng(0).normal(size=(100, 8)).astype(np.float32)
    x[50], x[54] = x[1], x[4]
    split = np.arange(100) >= 51
    got = audit(report, 6, vectors=Vectors(x, tuple(ids), tuple(label), split, "x"))
    first, second, third, fourth, fifth, sixth = got.reviewed
    assert [one.action for one in got.reviewed] == [
        Action.CHECK_LABEL, Action.SETTLE_COPIES, Action.INSPECT, Action.ADD_LABEL, Action.MOVE_COPIES, Action.CONFIRM,
    ]  # fmt: skip
    assert first.reasons[0] == "predicted dog with confidence 0.99, labeled cat"
    assert "kNN did not give the label either" in first.reasons
    assert "the label is suspect: perhaps dog (says repdiag)" in first.reasons
    assert "pair 1 of 2 by closeness of the classes" in first.reasons
    assert any(r == f"equal to {ids[50]}; their labels differ" for r in second.reasons)
    assert any(r.startswith("low: Closeness to its neighbors (lowest") for r in sixth.reasons)
    assert not any("Q-Score" in r for one in got.reviewed for r in one.reasons), (
        "missing for all is low for none"
    )
    assert "in cluster" in " ".join(third.reasons)
    assert f"in cluster {first.cluster}, mostly dog (61%)" in first.reasons
    assert fourth.reasons[0] == "predicted dog with confidence 0.80, without a label"
    assert any("in train and in test" in r for r in fifth.reasons)
    assert "the class nearest to dog is cat" in fourth.reasons
    assert [g.name for g in got.pairs] == [
        "cat -> dog", "dog -> cat", "no label -> dog", "cat, as labeled",
    ]  # fmt: skip
    assert got.pairs[0].ids == (ids[0], ids[2])
    assert got.pairs[0].expected == pytest.approx(1.7)
    assert got.pairs[0].wrong == 2
    assert got.pairs[3].evaluated == 58
    assert sum(g.samples for g in got.clusters) == 6
    assert isinstance(got.copies, Copies)
    assert [(g.conflict, g.leaks, g.equal) for g in got.copies.groups] == [
        (True, False, True),
        (False, True, True),
    ]
    assert got.copies.groups[1].members[0].split == "test"


def test_an_unlabeled_report_is_a_ranking_with_near_duplicates() -> None:
    report = report_of(120, False, labelled=False)
    x = np.random.default_rng(0).normal(size=(120, 8)).astype(np.float32)
    x[7] = x[3]
    got = audit(report, 30, vectors=Vectors(x, tuple(report.samples.columns["id"]), None, None, "x"))
    assert got.catch.expected is None
    assert got.catch.found is None
    assert got.pairs == ()
    assert got.clusters
    assert isinstance(got.suspects, Skipped)
    assert "no label tells" in got.no_curve
    assert isinstance(got.copies, Copies)
    assert [m.id for m in got.copies.groups[0].members] == [report.samples.columns["id"][i] for i in (3, 7)]
    assert "no probability" in got.warnings[0]
    assert {one.action for one in got.reviewed} == {Action.ADD_LABEL}


def test_a_risk_that_ranks_no_better_than_chance_is_said() -> None:
    report = report_of(120)
    weak = dataclasses.replace(report, risk={**report.risk, "auroc": 0.52, "low": 0.47})
    assert any("no better than a random one" in w for w in audit(weak, 10).warnings)


# ------------------------------------------------------------------------------------------- vectors


def cached(tmp_path: Path, features: np.ndarray[Any, Any], **dataset: Any) -> tuple[Report, str]:
    """A report on the last 60 of the rows, and the cache that holds them."""
    key = "ab" * 32
    shape = Shape(len(features), features.shape[1], 0, np.empty(0, np.int64))
    with Store(tmp_path).open(key, shape, {}) as entry:
        entry.write(0, features, np.zeros((0, 0, features.shape[1]), np.float32), {})
    report = report_of(60)
    norm = np.linalg.norm(features.astype(np.float64), axis=1)[-60:]
    facts = {**report.dataset, "embedding": {"key": key, "made_of": {}}, "features": features.shape[1],
             "fingerprint": "f", "corrupt": []}  # fmt: skip
    return dataclasses.replace(with_columns(report, feature_norm=norm), dataset={**facts, **dataset}), key


def source(ids: list[str], train: int, fingerprint: str = "f") -> Any:
    manifest = Manifest(
        tuple(ids), np.zeros(len(ids), np.int64), ("cat",), np.arange(len(ids)) < train, fingerprint
    )
    return SimpleNamespace(manifest=manifest, name="pets", notes=())


def test_vectors_of_the_cache_are_named_by_the_data_set(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(100, 8)).astype(np.float32)
    report, _ = cached(tmp_path, x)
    samples = samples_of(report)
    ids = [f"train/{i}" for i in range(40)] + list(report.samples.columns["id"])
    got = from_cache(report, samples, source(ids, 40), tmp_path)
    assert isinstance(got, Vectors)
    np.testing.assert_array_equal(got.features, x)
    assert got.ids == tuple(ids)
    assert got.labels == ("cat",) * 100
    assert got.is_train is not None
    assert got.is_train.sum() == 40
    for images, said in ((None, "does not name its rows"), (source(ids, 40, "g"), "not as it was")):
        refused = from_cache(report, samples, images, tmp_path)
        assert isinstance(refused, Skipped)
        assert said in refused.reason
    unused = dataclasses.replace(report, dataset={**report.dataset, "labels_used": False})
    blind = from_cache(unused, samples, source(ids, 40), tmp_path)
    assert isinstance(blind, Vectors)
    assert blind.labels is None


def test_vectors_without_a_split_need_no_data_set_and_their_lengths_are_checked(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    report, _ = cached(tmp_path, x)
    got = from_cache(report, samples_of(report), None, tmp_path)
    assert isinstance(got, Vectors)
    assert got.ids == tuple(report.samples.columns["id"])
    other = with_columns(report, feature_norm=report.samples.columns["feature_norm"][::-1])
    assert isinstance(from_cache(other, samples_of(other), None, tmp_path), Skipped)


def test_left_out_images_and_other_layers_are_cut_away(tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(size=(61, 8)).astype(np.float32)
    report, key = cached(tmp_path, x)
    ids = ["broken.png", *report.samples.columns["id"]]
    made = {"features": [{"layer": "layer3", "dim": 3}, {"layer": "layer4", "dim": 5}]}
    facts = {**report.dataset, "corrupt": [{"path": "broken.png", "reason": "truncated"}], "features": 5,
             "embedding": {"key": key, "made_of": made}}  # fmt: skip
    one = dataclasses.replace(report, dataset=facts, encoder={**report.encoder, "layer": "layer4"})
    got = from_cache(one, samples_of(one), source(ids, 0), tmp_path)
    assert isinstance(got, Vectors)
    np.testing.assert_array_equal(got.features, x[1:, 3:])
    unknown = dataclasses.replace(one, encoder={**report.encoder, "layer": "layer9"})
    assert isinstance(from_cache(unknown, samples_of(one), source(ids, 0), tmp_path), Skipped)


def test_a_cache_that_is_not_there_or_a_key_that_is_none_is_said(tmp_path: Path) -> None:
    x = np.zeros((60, 4), np.float32)
    report, key = cached(tmp_path / "full", x)
    samples = samples_of(report)
    for wrong, said in (
        ("../../etc", "names no embeddings"),
        (None, "names no embeddings"),
        ("cd" * 32, "not in the"),
    ):
        other = dataclasses.replace(report, dataset={**report.dataset, "embedding": {"key": wrong}})
        got = from_cache(other, samples, None, tmp_path / "full")
        assert isinstance(got, Skipped)
        assert said in got.reason
    (Store(tmp_path / "full").folder(key) / "features.npy").write_bytes(b"no array")
    got = from_cache(report, samples, None, tmp_path / "full")
    assert isinstance(got, Skipped)
    assert "damaged" in got.reason


def test_vectors_of_a_file_must_have_every_sample(tmp_path: Path) -> None:
    report = report_of(60)
    ids = report.samples.columns["id"].astype(str)
    x = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    np.savez(tmp_path / "x.npz", embeddings=x, ids=ids, labels=report.samples.columns["label"].astype(str))
    got = from_file(str(tmp_path / "x.npz"), samples_of(report), report)
    assert got.ids == tuple(ids)
    assert got.labels == tuple(report.samples.columns["label"])
    np.savez(tmp_path / "y.npz", embeddings=x[2:], ids=ids[2:])
    with pytest.raises(RepdiagError, match="lack 2 of the report's 60 samples"):
        from_file(str(tmp_path / "y.npz"), samples_of(report), report)
