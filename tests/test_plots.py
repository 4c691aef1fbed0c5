"""Figures for papers: they hold the report's numbers, look the same everywhere, and are files that one can keep."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from conftest import FIXTURES
from matplotlib.collections import PathCollection, QuadMesh
from matplotlib.figure import Figure
from matplotlib.text import Text
from sample_comparison import hostile_comparison, sample_comparison
from sample_report import HOSTILE, sample_report

from repdiag import plots
from repdiag.comparison.side_by_side import Fall, SideBySide, Trajectory
from repdiag.errors import OutputError, UsageError
from repdiag.exhibits import Exhibits, placed_rows, shown_rows
from repdiag.plots import series
from repdiag.plots.style import ERROR, WIDTHS, label
from repdiag.report import curves
from repdiag.report.cluster_figures import MAX_DOTS
from repdiag.types import Interval, MetricResult, Report, Table

Run = Callable[..., "subprocess.CompletedProcess[str]"]
SVG = "{http://www.w3.org/2000/svg}"


def with_table(report: Report, name: str, table: tuple[Any, ...], **more: Any) -> Report:
    """The report with another table of one metric."""
    found = [
        dataclasses.replace(m, outcome=dataclasses.replace(m.outcome, table=table, **more))
        if m.spec.name == name and isinstance(m.outcome, MetricResult)
        else m
        for m in report.measurements
    ]
    return dataclasses.replace(report, measurements=tuple(found))


SPECTRUM = tuple(
    {"rank": 2**i, "singular_value": 2.0 ** (-1.3 * i), "share_so_far": 0.5 + 0.05 * i} for i in range(9)
)


@pytest.fixture(scope="module")
def report() -> Report:
    made = with_table(sample_report(n=800), "rankme", SPECTRUM)
    jaccard = dataclasses.replace(
        next(m for m in made.measurements if m.spec.name == "seed_ari"),
        spec=dataclasses.replace(made.measurement("seed_ari").spec, name="cluster_jaccard"),  # type: ignore[union-attr]
    )
    return dataclasses.replace(made, measurements=(*made.measurements, jaccard))


@pytest.fixture(scope="module")
def drawn(report: Report) -> dict[str, Figure]:
    return plots.draw(report)


def texts(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def line(figure: Figure, said: str) -> tuple[np.ndarray, np.ndarray]:
    """The points of the line with this entry in the key."""
    found = [one for one in figure.axes[0].get_lines() if one.get_label() == said]
    assert len(found) == 1, said
    return np.asarray(found[0].get_xdata()), np.asarray(found[0].get_ydata())


def test_a_full_report_fills_every_figure(report: Report, drawn: dict[str, Figure]) -> None:
    assert tuple(drawn) == plots.names(report)
    widths = {name: figure.get_figwidth() for name, figure in drawn.items()}
    assert widths == {name: WIDTHS["page" if name == "map" else "column"] for name in drawn}
    for name, figure in drawn.items():
        assert figure.get_suptitle(), name
        assert 1.0 < figure.get_figheight() < 9.5, name


@pytest.mark.parametrize(
    ("name", "metric", "x", "columns"),
    [("compression", "compression", "kept", series.COMPRESSION),
     ("selective", "selective_accuracy", "set_aside", series.SELECTIVE)],
)  # fmt: skip
def test_curves_hold_the_numbers_of_the_tables(
    name: str, metric: str, x: str, columns: Any, report: Report, drawn: dict[str, Figure]
) -> None:
    table = sorted(report.value(metric).table, key=lambda row: row[x])  # type: ignore[union-attr]
    begin = (
        1 if name == "selective" else 0
    )  # where nothing is set aside all lines begin at the plain accuracy
    for column, said, _ in columns:
        xs, ys = line(drawn[name], said)
        known = [row for row in table if column in row]
        assert xs[begin:].tolist() == [row[x] for row in known]
        assert ys[begin:].tolist() == [row[column] for row in known]
        if begin:
            assert (xs[0], ys[0]) == (0.0, table[0]["random"])
    page = getattr(curves, name)(report)
    assert [said for _, said, _ in columns] == [said for _, said in page.legend]
    assert drawn[name].get_suptitle() == page.title


def test_the_interval_is_the_area_that_is_shaded(report: Report, drawn: dict[str, Figure]) -> None:
    table = sorted(report.value("compression").table, key=lambda row: row["kept"])  # type: ignore[union-attr]
    areas = [one.get_paths()[0].vertices for one in drawn["compression"].axes[0].collections]
    wanted = {(row["kept"], row["low"]) for row in table} | {(row["kept"], row["high"]) for row in table}
    assert any(wanted <= {tuple(point) for point in area.tolist()} for area in areas)
    wrong = {(row["kept"], row["high"] + 0.01) for row in table}
    assert not any(wrong <= {tuple(point) for point in area.tolist()} for area in areas)


def test_reliability_and_spectrum_hold_their_points(report: Report, drawn: dict[str, Figure]) -> None:
    rows = report.value("risk_brier").table  # type: ignore[union-attr]
    points = [np.column_stack(one.get_data()) for one in drawn["reliability"].axes[0].get_lines()]
    wanted = np.array([(row["predicted"], row["observed"]) for row in rows])
    assert any(one.shape == wanted.shape and np.array_equal(one, wanted) for one in points)
    xs, ys = line(drawn["spectrum"], "singular values")
    assert xs.tolist() == [row["rank"] for row in SPECTRUM]
    assert ys.tolist() == [row["singular_value"] for row in SPECTRUM]


def dots(figure: Figure) -> list[float]:
    """Places of the single dots of a forest, from top to bottom."""
    found = [
        one for one in figure.axes[0].get_lines() if one.get_marker() == "o" and len(one.get_xdata()) == 1
    ]  # type: ignore[arg-type]
    return [float(one.get_xdata()[0]) for one in sorted(found, key=lambda one: float(one.get_ydata()[0]))]  # type: ignore[index]


def test_forests_hold_values_in_order_with_their_intervals(report: Report, drawn: dict[str, Figure]) -> None:
    rows = sorted(report.value("score_comparison").table, key=lambda row: -row["auroc"])  # type: ignore[union-attr]
    assert dots(drawn["predictors"]) == [row["auroc"] for row in rows]
    bars = sorted((p for p in drawn["predictors"].axes[0].patches), key=lambda p: p.get_y())  # type: ignore[attr-defined]
    got = [(p.get_x(), p.get_x() + p.get_width()) for p in bars]  # type: ignore[attr-defined]
    assert np.allclose(got, [(row["low"], row["high"]) for row in rows])
    shown = ["seed_ari", "subsample_ari", "cluster_jaccard"]
    assert dots(drawn["stability"]) == [report.value(name).value for name in shown]  # type: ignore[union-attr]
    jaccard = np.sort(report.clusters.columns["jaccard"])
    assert dots(drawn["clusters"]) == jaccard.tolist()
    bold = [
        t.get_text() for t in drawn["predictors"].axes[0].get_yticklabels() if t.get_fontweight() == "bold"
    ]
    assert bold == ["Neighborhood consistency"]


def test_the_headline_says_value_and_interval_as_the_page(drawn: dict[str, Figure]) -> None:
    found = texts(drawn["headline"])
    assert "Linear probe accuracy ↑" in found
    assert "87.1% [85.8, 88.3]" in found
    assert "Nearest-center error ↓" in found
    place = 0.8714 * 100  # a share's own scale runs from 0 to 1, drawn from 0 to 100
    assert any(np.isclose(x, place) for x in dots(drawn["headline"]))


def test_the_matrix_is_the_exhibits(report: Report, drawn: dict[str, Figure]) -> None:
    matrix = report.exhibits.matrix
    assert matrix is not None
    axes = drawn["crowding"].axes[0]
    (mesh,) = (one for one in axes.collections if isinstance(one, QuadMesh))
    shown = np.ma.asarray(mesh.get_array()).reshape(matrix.nearer.shape)
    off = ~np.eye(len(matrix.classes), dtype=bool)
    assert np.array_equal(shown[off & ~shown.mask], matrix.nearer[off & ~shown.mask])
    assert shown.mask.diagonal().all()
    assert tuple(t.get_text() for t in axes.get_yticklabels()) == matrix.classes
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first class is on top
    assert f"{100 * matrix.nearer[0, 0]:.1f}" in texts(drawn["crowding"])


def test_the_map_has_every_image_where_the_report_has_it(report: Report, drawn: dict[str, Figure]) -> None:
    columns = report.samples.columns
    panels = drawn["map"].axes
    assert [axes.get_title(loc="left") for axes in panels] == [
        "UMAP, by class", "PCA, by class", "UMAP, by correctness", "PCA, by correctness"
    ]  # fmt: skip
    for axes, key in zip(panels, ("umap", "pca", "umap", "pca"), strict=True):
        (cloud,) = (one for one in axes.collections if isinstance(one, PathCollection))
        wanted = np.column_stack([columns[f"{key}_x"], columns[f"{key}_y"]]).astype(np.float64)
        got = np.asarray(cloud.get_offsets())
        assert np.array_equal(got[np.lexsort(got.T)], wanted[np.lexsort(wanted.T)])
        assert axes.get_aspect() == 1.0
    colors = panels[2].collections[0].get_facecolors()[:, :3]  # type: ignore[attr-defined]
    wrong = np.isclose(colors, matplotlib.colors.to_rgb(ERROR)).all(1)
    assert wrong.sum() == (~columns["correct"]).sum()
    assert not wrong[: -wrong.sum()].any()  # errors are drawn last, on top


def test_many_images_become_one_picture_inside_the_axes(tmp_path: Path) -> None:
    big = sample_report(n=3200, thumbnails=0)
    clouds = [axes.collections[0].get_rasterized() for axes in plots.maps(big).axes]  # type: ignore[union-attr]
    assert clouds == [True] * 4
    small = sample_report(n=300, thumbnails=0)
    assert not any(axes.collections[0].get_rasterized() for axes in plots.maps(small).axes)  # type: ignore[union-attr]
    assert shown_rows(placed_rows(big.samples.columns)).size == 3200


def test_histograms_and_bars_are_the_pages(report: Report, drawn: dict[str, Figure]) -> None:
    from repdiag.report.figures import q_score_histogram

    page = q_score_histogram(report)
    assert page is not None
    stairs = {
        p.get_label(): p.get_data() for p in drawn["q_score"].axes[0].patches if p.get_label()[:1] != "_"
    }  # type: ignore[attr-defined]
    for _, said in page.legend:
        assert stairs[said].values.tolist() == [row[said] for row in page.rows]
    widths = [bar.get_width() for bar in drawn["classes"].axes[0].patches]  # type: ignore[attr-defined]
    assert widths == sorted(report.classes.columns["accuracy"].tolist(), reverse=True)
    curve = drawn["activation"].axes[0].get_lines()[0].get_ydata()
    assert np.array_equal(curve, np.sort(report.features.columns["activation_frequency"])[::-1])


def test_many_classes_and_clusters_are_cut_and_it_is_said() -> None:
    many = sample_report(n=2400, k=120, thumbnails=0)
    found = plots.draw(many, ["crowding", "map", "clusters", "classes"])
    assert any("40 of 120 classes" in words for words in texts(found["crowding"]))
    assert found["crowding"].get_figwidth() == WIDTHS["page"]
    assert any("120 classes are too many" in words.replace("\n", " ") for words in texts(found["map"]))
    assert any(
        "The 20 highest and the 20 lowest of 120 classes" in words.replace("\n", " ")
        for words in texts(found["classes"])
    )
    widths = [bar.get_width() for bar in found["classes"].axes[0].patches]  # type: ignore[attr-defined]
    accuracy = sorted(many.classes.columns["accuracy"].tolist(), reverse=True)
    assert widths == accuracy[:20] + accuracy[-20:]
    heights = [bar.get_height() for bar in found["clusters"].axes[0].containers[0]]
    assert sum(heights) == 120 > MAX_DOTS


def svg_texts(path: Path) -> list[str]:
    return ["".join(one.itertext()).strip() for one in ET.parse(path).iter(f"{SVG}text")]


def test_svg_is_xml_that_keeps_text_and_runs_nothing(report: Report, tmp_path: Path) -> None:
    paths = plots.save(report, tmp_path)
    for name, path in paths.items():
        root = ET.parse(path).getroot()
        tags = {one.tag.removeprefix(SVG) for one in root.iter()}
        assert not tags & {"script", "foreignObject", "a"}, name
        assert not any(key.lower().startswith("on") for one in root.iter() for key in one.attrib), name
        assert root.attrib["width"] == f"{72 * WIDTHS['page' if name == 'map' else 'column']:g}pt"
    found = svg_texts(paths["classes"])
    assert {"airplane", "truck", "Accuracy by class", "accuracy"} <= set(found)
    assert "Which center lies nearest" in svg_texts(paths["crowding"])
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("format", plots.FORMATS)
def test_equal_reports_give_equal_bytes(format: str, tmp_path: Path) -> None:
    wanted = ["headline", "map"] if format == "svg" else ["headline"]
    small = sample_report(n=200, thumbnails=0)
    a, b = (plots.save(small, tmp_path / str(i), format, wanted) for i in range(2))
    for name, path in a.items():
        assert path.suffix == f".{format}"
        assert path.read_bytes() == b[name].read_bytes()
    moved = dataclasses.replace(small, measurements=small.measurements[1:])
    other = plots.save(moved, tmp_path / "other", format, ["headline"])
    assert other["headline"].read_bytes() != a["headline"].read_bytes()


def test_formats_are_what_they_say(tmp_path: Path) -> None:
    from PIL import Image

    small = sample_report(n=300)
    png = plots.save(small, tmp_path, "png", ["classes"])["classes"]
    with Image.open(png) as picture:
        assert picture.width == round(300 * WIDTHS["column"])
        assert np.allclose(picture.info["dpi"], 300, atol=0.1)
    pdf = plots.save(small, tmp_path, "pdf", ["classes"])["classes"].read_bytes()
    assert pdf.startswith(b"%PDF")
    assert b"/Type42" in pdf or b"/CIDFontType2" in pdf  # TrueType: letters, no outlines
    assert b"CreationDate" not in pdf
    with pytest.raises(UsageError, match="svg, png, pdf"):
        plots.save(small, tmp_path, "gif")
    with pytest.raises(UsageError, match="no figure 'crowdin'"):
        plots.save(small, tmp_path, only=["crowdin"])
    with pytest.raises(UsageError, match="no figures of a dict"):
        plots.draw({})  # type: ignore[arg-type]


BAD = (*HOSTILE, "$\\frac{a}{b}$ costs $5", "_hidden", "\ufffe\uffff\x00", "x" * 400, "", "$")


def test_hostile_names_are_inert_and_short(tmp_path: Path) -> None:
    with matplotlib.rc_context({"text.parse_math": True}):
        named = ["map", "crowding", "clusters", "classes"]  # those that show foreign names
        paths = plots.save(sample_report(n=300, names=BAD, thumbnails=0), tmp_path, only=named)
    for name, path in paths.items():
        tags = {one.tag.removeprefix(SVG) for one in ET.parse(path).iter()}
        assert not tags & {"script", "img", "a"}, name
    found = svg_texts(paths["classes"])
    assert "$\\frac{a}{b}$ costs $5" in found
    assert "_hidden" in found
    assert "<script>doc…le='owned'</" not in found
    assert max(map(len, found)) < 120
    assert "_hidden" in svg_texts(paths["map"])  # in the key, where matplotlib would drop it
    assert label("a\x1b[31m\u202eb\n\ufffe") == "a\\x1b[31m\\u202eb\\n\\ufffe"
    for figure in plots.draw(sample_report(n=300, names=BAD, thumbnails=0), ["classes", "map"]).values():
        assert not any(text.get_parse_math() for text in figure.findobj(Text))


def test_what_the_report_does_not_hold_is_left_out() -> None:
    unlabeled = plots.draw(sample_report(n=300, labelled=False))
    assert {"headline", "map", "stability", "clusters", "activation", "q_score"} == set(unlabeled)
    assert [axes.get_title(loc="left") for axes in unlabeled["map"].axes] == ["UMAP", "PCA"]
    nothing = Table({})
    empty = sample_report(
        n=100, samples=nothing, classes=nothing, features=nothing, pairs=nothing, clusters=nothing,
        measurements=(), exhibits=Exhibits(), risk={},
    )  # fmt: skip
    assert plots.draw(empty) == {}


def test_degenerate_tables_are_drawn_or_left_out() -> None:
    small = sample_report(n=300)
    flat = ({"kept": 0.5, "features": 5, "accuracy": 1.0}, {"kept": 1.0, "features": 9, "accuracy": 1.0})
    assert plots.compression(with_table(small, "compression", flat)) is not None
    assert plots.compression(with_table(small, "compression", flat[:1])) is None
    only = ({"predicted": 0.0, "observed": 0.0},)
    assert plots.reliability(with_table(small, "risk_brier", only)) is not None
    one = ({"score": "a", "title": "a", "auroc": 0.5, "labelled": False},)
    assert plots.predictors(with_table(small, "score_comparison", one)) is not None
    matrix = small.exhibits.matrix
    assert matrix is not None
    apart = dataclasses.replace(matrix, nearer=np.eye(len(matrix.classes)))
    assert plots.crowding(dataclasses.replace(small, exhibits=Exhibits(matrix=apart))) is None
    columns = dict(small.samples.columns)
    columns |= {f"{key}_{axis}": np.zeros(300) for key in ("umap", "pca") for axis in "xy"}
    assert plots.maps(dataclasses.replace(small, samples=Table(columns)), width="column") is not None


def test_the_users_settings_are_left_as_they_are(report: Report) -> None:
    with matplotlib.rc_context({"font.size": 21.0, "svg.fonttype": "path", "axes.facecolor": "red"}):
        before = dict(matplotlib.rcParams)
        figure = plots.classes(report)
        assert dict(matplotlib.rcParams) == before
    assert figure is not None
    assert figure.axes[0].get_facecolor()[:3] == (1.0, 1.0, 1.0)
    assert "matplotlib.pyplot" not in sys.modules or not matplotlib.pyplot.get_fignums()


def test_files_are_all_there_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small, folder = sample_report(n=300), tmp_path / "figures"
    kept = plots.save(small, folder, only=["classes", "headline"])
    before = {name: path.read_bytes() for name, path in kept.items()}
    from repdiag.plots import saving

    real, calls = saving.write, []

    def full(figure: Figure, path: Path, format: str) -> None:
        calls.append(path)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        real(figure, path, format)

    monkeypatch.setattr(saving, "write", full)
    with pytest.raises(OutputError, match="No space left"):
        plots.save(sample_report(n=300, seed=5), folder, only=["classes", "headline"])
    assert {name: path.read_bytes() for name, path in kept.items()} == before
    assert sorted(p.name for p in folder.iterdir()) == ["classes.svg", "headline.svg"]
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        plots.save(small, tmp_path / "file" / "figures")


def test_comparisons_have_forests_and_training_curves(tmp_path: Path) -> None:
    made = sample_comparison(n=200, ablations=1, thumbnails=0)
    paths = plots.save(made, tmp_path)
    assert set(paths) == {"differences", "training", "classes"}
    figure = plots.draw(made, ["differences"])["differences"]
    found = texts(figure)
    judged = next(d for d in made.differences if d.primary and d.against == "control")
    from repdiag.report.comparison_words import said

    assert said(judged) in found
    bold = [t.get_text() for t in figure.axes[0].texts if t.get_fontweight() == "bold"]
    assert bold == ["Linear probe accuracy ↑"]
    assert isinstance(judged.interval, Interval)
    curves_of = plots.training(made)
    assert curves_of is not None
    columns = made.curves.columns
    rank = next(axes for axes in curves_of.axes if axes.get_title(loc="left") == "RankMe of training images")
    drawn = sorted(y for one in rank.get_lines() for y in np.asarray(one.get_ydata()).tolist())
    assert drawn == sorted(columns["rank"].tolist())
    changed = plots.changed_classes(made)
    assert changed is not None
    delta = made.classes.columns["delta"]
    assert set(dots(changed)) <= set(delta.tolist())
    assert dots(changed)[0] == delta.min()
    bad = plots.save(
        hostile_comparison(n=200, thumbnails=0), tmp_path / "bad", only=["differences", "classes"]
    )
    assert all(ET.parse(path) is not None for path in bad.values())
    assert set(plots.draw(sample_comparison(n=200, labelled=False, thumbnails=0))) == {
        "differences",
        "training",
    }


def test_checkpoints_of_a_run_have_their_course() -> None:
    made = sample_comparison(n=200, thumbnails=0)
    metric = made.arms[0].report.measurement("linear_probe_accuracy")
    assert metric is not None
    values = [0.7, 0.8, 0.75]
    rows = Table({
        "encoder": np.array(["a", "b", "c"], dtype=object), "epoch": np.array([1.0, 10.0, 20.0]),
        "metric": np.array([metric.spec.name] * 3, dtype=object), "value": np.array(values),
        "low": np.array([0.68, np.nan, 0.74]), "high": np.array([0.72, np.nan, 0.76]),
    })  # fmt: skip
    worse = dataclasses.replace(
        next(d for d in made.differences if d.primary), other=0.8, value=0.75, delta=-0.05
    )
    course = Trajectory(
        ("a", "b", "c"), (1.0, 10.0, 20.0), False, rows, Table({}), (), (Fall(worse, 10.0, 20.0, None),),
        (metric.spec.name,),
    )  # fmt: skip
    nothing = Table({})
    beside = SideBySide(made, (made,), nothing, nothing, nothing, trajectory=course)
    found = plots.draw(beside)
    assert set(found) == {"differences", "training", "trajectory", "classes"}
    lines = found["trajectory"].axes[0].get_lines()
    assert np.asarray(lines[0].get_ydata()).tolist() == values
    assert [np.asarray(one.get_xdata()).tolist() for one in lines[1:]] == [[20.0]]  # the ring
    assert "checkpoint" in texts(found["trajectory"])
    assert "trajectory" not in plots.draw(dataclasses.replace(beside, trajectory=None))


def test_from_the_command_line(cli: Run, tmp_path: Path) -> None:
    out = tmp_path / "out"
    fast = ("--metrics", "linear_probe_accuracy,rankme", "--no-map", "--no-by-size", "--permutations", "5")
    done = cli(
        "score",
        FIXTURES / "encoders/simclr.safetensors",
        FIXTURES / "digits",
        "--out",
        out,
        "--figures",
        *fast,
    )
    said = done.stdout.replace("\n", "")
    names = {path.stem for path in (out / "figures").iterdir()}
    assert {"headline", "spectrum", "classes"} <= names
    assert f"{len(names)} figures are in {out / 'figures'}; nothing to draw for map, " in said
    assert done.stderr.count("Warning") == 0


def test_nothing_but_figures_loads_matplotlib() -> None:
    code = "import sys, repdiag.cli.options, repdiag.report.html; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
