"""The evidence: runs resume after a kill, tables say what the runs found, on toy encoders whose truth is known."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from conftest import FIXTURES, ROOT, blobs

sys.path.insert(0, str(ROOT))

import repdiag
from benchmarks.catalog import Encoder, Images, Training
from benchmarks.evidence import compression, crowding, judge, ladder, qscore, score, stability, tables
from benchmarks.evidence.ranks import spearman
from benchmarks.evidence.reading import Answer, Evidence, difference, number, read
from benchmarks.evidence.study import STUDY, TINY, TINY_CLASSES, Ladder, Pair, Run, Study, tiny_classes

TOY = Images("toy", "Toy images", "digits/test")
SPREADS = {"a": 3.0, "b": 2.0, "c": 1.4, "d": 1.0, "e": 0.7, "f": 0.4}
METRICS = (
    "linear_probe_accuracy", "knn_accuracy", "intra_class_variance", "cdnv", "r2_separation", "uniformity", "rankme",
    "seed_ari", "silhouette_mean", "silhouette_std", "qscore_empty_rate", "qscore_auroc", "score_comparison",
)  # fmt: skip
COMPRESSED = ("c", "f")  # the others go without these 56 probes


def encoder(key: str, training: Training = Training.SELF, images: Images = TOY) -> Encoder:
    return Encoder(key, f"Encoder {key}", f"encoders/{key}.safetensors", training, {}, images)


def study(*encoders: Encoder) -> Study:
    keys = tuple(e.key for e in encoders)
    return Study(
        runs=tuple(Run(e, TOY) for e in encoders),
        ladders=(Ladder("toy", keys),),
        pairs=(Pair("far apart", "a", "f"),),
        variants=("c", "f"),
        side=2,
        shared=FIXTURES,
        options={"views": "0"},
    )


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """Six encoders whose classes are ever less noisy, scored for good."""
    out = tmp_path_factory.mktemp("evidence")
    toy = study(*(encoder(k, Training.SUPERVISED if k == "f" else Training.SELF) for k in SPREADS))
    for run in toy.runs:
        data = blobs(n=240, dim=32, spread=SPREADS[run.encoder.key], seed=3)
        metrics = (*METRICS, *["compression"] * (run.encoder.key in COMPRESSED))
        repdiag.score(None, data, metrics=metrics, draw_map=False, out=out / run.name, bootstrap=60)
        (out / run.name / "run.json").write_text("{}")
        found = {
            "scores": judge.compared(judge.read_samples(out / run.name / "samples.csv")),
            "variants": list(judge.judged(data, "given")) if run.encoder.key in toy.variants else [],
        }
        (out / run.name / "judged").mkdir()
        (out / run.name / "judged" / "judged.json").write_text(json.dumps(found))
    return read(toy, out)


def rank(evidence: Evidence, name: str, label_free: bool) -> str:
    """The word of the ladder's table for one metric."""
    found = ladder.ranked(evidence, evidence.study.ladders[0], [TOY], ladder.PROBE, label_free)
    return ladder.reads(evidence.declared[name], found[name], [TOY])


# ------------------------------------------------------------------------------------ runs


def test_a_run_writes_the_report_and_is_not_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPDIAG_CACHE", str(tmp_path / "cache"))
    toy = study(encoder("random"))
    assert score.score_all(toy, tmp_path, more=("--metrics", "knn_accuracy")) == []
    folder = tmp_path / toy.runs[0].name
    assert json.loads((folder / "report.json").read_text())["dataset"]["samples"] == 600
    written = (folder / "report.json").stat().st_mtime_ns
    assert score.score_all(toy, tmp_path, more=("--metrics", "knn_accuracy")) == []
    assert (folder / "report.json").stat().st_mtime_ns == written
    judge.judge_all(toy, tmp_path)
    assert "feature_norm" in {
        r["score"] for r in json.loads((folder / "judged/judged.json").read_text())["scores"]
    }


@pytest.fixture
def scored(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the models that a stand-in of `repdiag score` was called with; `broken` ones fail or are killed."""
    calls: list[str] = []

    def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
        name = Path(command[4]).stem
        calls.append(name)
        Path(command[command.index("--out") + 1], "report.json").write_text(name)
        if name == "killed" and calls.count("killed") == 1:
            raise KeyboardInterrupt
        return subprocess.CompletedProcess(command, int(name == "broken"), "", "what went wrong")

    monkeypatch.setattr(score.subprocess, "run", run)
    return calls


def test_a_killed_scoring_goes_on_where_it_was(tmp_path: Path, scored: list[str]) -> None:
    toy = study(encoder("first"), encoder("killed"), encoder("last"))
    with pytest.raises(KeyboardInterrupt):
        score.score_all(toy, tmp_path)
    assert (tmp_path / "toy--first").is_dir()
    assert not (tmp_path / "toy--killed").exists()
    (tmp_path / ".toy--killed-left").mkdir()  # what a process that died at once leaves
    assert score.score_all(toy, tmp_path) == []
    assert scored.count("first") == 1
    assert {p.name for p in tmp_path.iterdir()} == {"lock", "toy--first", "toy--killed", "toy--last"}


def test_other_arguments_other_code_or_fresh_score_again(
    tmp_path: Path, scored: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    toy = study(encoder("one"))
    score.score_all(toy, tmp_path)
    score.score_all(replace(toy, options={}), tmp_path)
    assert len(scored) == 2
    score.score_all(replace(toy, options={}), tmp_path, fresh=True)
    assert len(scored) == 3
    monkeypatch.setattr(score, "code_version", lambda: "other")
    score.score_all(replace(toy, options={}), tmp_path, any_code=True)
    assert len(scored) == 3
    score.score_all(replace(toy, options={}), tmp_path)
    assert len(scored) == 4


def test_a_run_that_fails_is_named_and_the_others_go_on(
    tmp_path: Path, scored: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert score.score_all(study(encoder("broken"), encoder("fine")), tmp_path) == ["toy--broken"]
    assert "what went wrong" in capsys.readouterr().err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["lock", "toy--fine"]


def test_comments_and_docstrings_are_not_code() -> None:
    plain, said = "def f():\n    return 1\n", '"""Text."""\ndef f():  # why\n    """Text."""\n    return 1\n'
    dumped = [score.ast.dump(score._without_docstrings(s)) for s in (plain, said, plain.replace("1", "2"))]
    assert dumped[0] == dumped[1] != dumped[2]


# ------------------------------------------------------------------------------------ what tables say


def test_metrics_that_follow_accuracy_rank_rightly_and_those_against_it_wrongly(evidence: Evidence) -> None:
    accuracies = [f.value("linear_probe_accuracy") for f in evidence.found]
    assert accuracies == sorted(accuracies)  # the truth of the toy: less noise, better classes
    assert rank(evidence, "silhouette_mean", True) == "rightly"
    assert rank(evidence, "cdnv", False) == "rightly"
    assert rank(evidence, "rankme", True) == "wrongly"  # noise fills more dimensions
    assert "cdnv" not in ladder.ranked(evidence, evidence.study.ladders[0], [TOY], ladder.PROBE, True)


def test_a_metric_without_relation_is_not_told_apart() -> None:
    few = [Answer(v, v - 0.1, v + 0.1) for v in (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)]
    mixed = [few[i] for i in (3, 0, 5, 1, 4, 2)]
    found = spearman(few, mixed)
    assert found is not None
    assert found.sign == 0
    assert spearman(few[:4], few[:4]) is None
    assert spearman(few, [few[0]] * 6) is None


def test_spearman_is_scipys_and_its_p_the_exact_one() -> None:
    from scipy.stats import spearmanr

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=12), rng.normal(size=12)
    found = spearman([Answer(v) for v in x], [Answer(v) for v in y])
    assert found is not None
    assert found.rho == pytest.approx(spearmanr(x, y).statistic)
    assert found.p == pytest.approx(spearmanr(x, y).pvalue, abs=0.03)
    perfect = spearman([Answer(float(i)) for i in range(5)], [Answer(float(i) ** 2) for i in range(5)])
    assert perfect is not None
    assert perfect.p == pytest.approx(2 / 120)
    assert (perfect.rho, perfect.sign) == (1, 1)


def test_noise_widens_the_interval_of_rho() -> None:
    values = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7]
    sure = spearman([Answer(v) for v in values], [Answer(v) for v in values])
    noisy = spearman([Answer(v, v - 0.4, v + 0.4) for v in values], [Answer(v) for v in values])
    assert sure is not None
    assert noisy is not None
    assert sure.low == 1 > noisy.low
    assert noisy.rho == 1 == noisy.high


def test_crowding_is_told_by_each_metrics_own_direction(evidence: Evidence) -> None:
    (pair,) = crowding._matched(evidence)
    for name in ("cdnv", "r2_separation", "intra_class_variance"):
        assert crowding.word(pair.gap(name), evidence.declared[name]) == "more crowded", name
    other = crowding.Beside("", TOY, pair.supervised, pair.ours)
    assert crowding.word(other.gap("cdnv"), evidence.declared["cdnv"]) == "less crowded"
    same = crowding.Beside("", TOY, pair.ours, pair.ours)
    assert crowding.word(same.gap("cdnv"), evidence.declared["cdnv"]) == "not told apart"
    assert crowding.page(evidence).claims[0].found == "agrees"


def test_a_difference_has_the_errors_of_both() -> None:
    gap = difference(Answer(3, 2, 4), Answer(1, 0, 2))
    assert gap.value == 2
    assert gap.high == pytest.approx(2 + np.sqrt(2))


def test_compression_counts_gains_whose_interval_excludes_zero(evidence: Evidence) -> None:
    above, below, level, mean = compression.counted(evidence.found, 0.6, "gain")
    gains = [compression.rows_of(f)[0.6] for f in evidence.found if compression.rows_of(f)]
    assert above == sum(g["gain_low"] > 0 for g in gains)
    assert above + below + level == len(gains) == len(COMPRESSED)
    assert mean == pytest.approx(100 * np.mean([g["gain"] for g in gains]))


def test_scores_are_judged_as_the_report_judges_them(evidence: Evidence) -> None:
    found = evidence.found[0]
    rows = {row["score"]: row for row in found.answers["score_comparison"].table}
    judged = qscore.scores_of(found)
    assert set(judged) == set(rows)
    for name, row in rows.items():
        for measure in qscore.MEASURES:
            assert judged[name][measure][0] == pytest.approx(row[measure]), (name, measure)
    assert judged["q_score"]["auroc"][0] == pytest.approx(found.value("qscore_auroc"))
    gap = judged["knn_density"]["auroc"][0] - judged["q_score"]["auroc"][0]
    assert judged["knn_density"]["over_q"][0] == pytest.approx(gap)


def test_variants_hold_the_paper_s_q_score_and_pooled_maps_are_averages(evidence: Evidence) -> None:
    found = evidence.found[2]
    row = next(r for r in found.variants if (r["eps"], r["lower"]) == (4.0, 50.0))
    assert row["empty"] == pytest.approx(found.value("qscore_empty_rate"))
    assert row["auroc"][0] == pytest.approx(found.value("qscore_auroc"))
    by_eps = [r["empty"] for r in found.variants if r["lower"] == 0]
    assert by_eps == sorted(by_eps)
    assert by_eps[0] < by_eps[-1]
    data = blobs(n=12, dim=8, k=3)
    assert np.allclose(judge.pooled(data, 2).features[:, 1], data.features[:, 4:].mean(1))


def test_the_trap_is_counted_against_structureless_data(evidence: Evidence) -> None:
    below = {f.encoder.key for f in stability._under_null(evidence.found)}
    for f in evidence.found:
        null = f.answers["silhouette_std"].null_mean
        assert null is not None
        assert (null < f.answers["silhouette_std"].value) == (f.encoder.key in below)
    assert f"{len(below)} of 6" in stability.page(evidence).body


def test_pages_name_their_command_and_hold_every_encoder(evidence: Evidence, tmp_path: Path) -> None:
    written = tables.write(evidence, tmp_path)
    assert [p.name for p in written] == [*(f"{name}.md" for name in tables.PAGES), "README.md"]
    for path in written[:-1]:
        text = path.read_text()
        assert f"python -m benchmarks.evidence.tables --only {path.stem}\n" in text
        assert all(f"Encoder {key}" in text for key in ("c", "f") if path.stem != "supervised_vs_ssl")
        assert not re.search(r"\bnan\b|\bNone\b", text)
    index = written[-1].read_text()
    assert all(f"]({name}.md)" in index for name in tables.PAGES)
    assert index.count("- **") == 4
    again = {p.name: p.read_text() for p in tables.write(evidence, tmp_path)}
    assert again["README.md"] == index


def test_numbers_are_readable() -> None:
    values = (0.5, 0.00312, -12.345, -0.001, 1234.5, 0.0, 1e-7)
    assert [number(v) for v in values] == ["0.500", "0.00312", "-12.3", "-0.00100", "1,234", "0", "1.00e-07"]


@pytest.mark.shared
def test_the_study_names_files_that_exist(tmp_path: Path) -> None:
    for run in STUDY.runs:
        assert (STUDY.shared / run.encoder.file).is_file()
        assert (STUDY.shared / run.images.path).is_file() or run.images.key == "tiny"
    names = [run.name for run in STUDY.runs]
    assert len(set(names)) == len(names)
    keys = {run.encoder.key for run in STUDY.runs}
    for used in (*(p.ours for p in STUDY.pairs), *(p.supervised for p in STUDY.pairs), *STUDY.variants):
        assert used in keys
    assert all(set(ladder.encoders) <= keys for ladder in STUDY.ladders)


@pytest.mark.shared
def test_tiny_has_classes_that_the_encoders_never_saw(tmp_path: Path) -> None:
    import csv
    import zipfile

    chosen = tiny_classes()
    assert len(set(chosen)) == TINY_CLASSES
    with (STUDY.shared / "tiny-imagenet/classes.csv").open() as file:
        assert not {r["wnid"] for r in csv.DictReader(file) if r["mini_imagenet_split"] == "train"} & set(
            chosen
        )
    STUDY.prepare(tmp_path)
    with zipfile.ZipFile(tmp_path / TINY.path) as archive:
        parts = [name.split("/") for name in archive.namelist()]
    assert {p[1] for p in parts} == set(chosen)
    assert [sum(p[0] == split for p in parts) for split in ("train", "val")] == [50 * TINY_CLASSES] * 2
