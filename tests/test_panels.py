"""Figures that experiments describe: what is drawn, what is left out, and what is refused."""

import re
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import yaml

from benchmarks import descriptions, panels, plots, report, store
from benchmarks.labels import with_options
from tests.test_report import row

ROOT = Path(__file__).parents[1]
EXPERIMENTS = sorted((ROOT / "conf" / "experiment").glob("*.yaml"))
PANEL = {"title": "Cost", "where": "problem.name == 'cost' and group == 'all'", "x": "problem.k", "y": "variance"}
K = [0.5, 1.0, 2.0, 4.0]


def figure_of(*panels, name="one", caption="What it is."):
    return [{"name": name, "caption": caption, "panels": [PANEL | panel for panel in panels]}]


def rows_of(estimators=("score", "reparam"), groups=("loc", "all"), **values):
    """Variance k for score, k^2 for reparam, over problems cost(k=...)."""
    return [
        row(name, 1, 1, group, problem=f"cost(k={k})", key=f"{name}{k}")
        | {"variance": k**power, "variance_low": 0.8 * k**power, "variance_high": 1.3 * k**power}
        | values
        for power, name in enumerate(estimators, 1)
        for k in K
        for group in groups
    ]


def drawn(described, rows):
    """(caption, figure, axes) of the one figure described."""
    ((_, caption, figure),) = panels.figures(described, with_options(pd.DataFrame(rows)))
    return caption, figure, figure.axes


@pytest.fixture(autouse=True)
def _closed():
    yield
    plt.close("all")


def test_lines_and_bands_are_the_values_and_their_intervals():
    caption, figure, (ax,) = drawn(figure_of({}), rows_of())
    colours = plots.looks_of(["score", "reparam"])
    lines = {line.get_color(): line for line in ax.lines}
    for power, name in ((1, "score"), (2, "reparam")):
        line = lines[colours[name]["color"]]
        assert list(line.get_xdata()) == K
        assert list(line.get_ydata()) == [k**power for k in K]
        assert line.get_marker() == colours[name]["marker"]
    bands = [band.get_paths()[0].vertices[:, 1] for band in ax.collections]
    assert min(map(min, bands)) == pytest.approx(0.8 * 0.25)
    assert max(map(max, bands)) == pytest.approx(1.3 * 16)
    assert (ax.get_xscale(), ax.get_yscale(), ax.get_title()) == ("log", "log", "Cost")
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("$k$", "total variance")
    assert caption == "What it is. Bands and bars are 95 % intervals."
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["reparam", "score"]
    assert ax.get_legend() is None


def test_the_legend_covers_no_panel_and_no_panel_another():
    _, figure, axes = drawn(figure_of({}, {"title": "B"}, {"title": "C"}, {"title": "D"}), rows_of())
    figure.canvas.draw()
    boxes = [ax.get_tightbbox() for ax in axes] + [figure.legends[0].get_window_extent()]
    assert not [(i, j) for j in range(len(boxes)) for i in range(j) if boxes[i].overlaps(boxes[j])]


def test_scales_follow_the_spacing_and_what_is_asked_for():
    _, _, (ax, plain) = drawn(figure_of({}, {"logx": False, "logy": False}), rows_of())
    assert (plain.get_xscale(), plain.get_yscale()) == ("linear", "linear")
    _, _, (ax,) = drawn(figure_of({"y": "bias/gradient_norm"}), rows_of(bias=0.5, gradient_norm=2.0, bias_high=0.6))
    assert ax.get_yscale() == "linear"
    assert list(ax.lines[0].get_ydata()) == [0.25] * 4


def test_a_logarithmic_axis_spans_a_decade():
    _, _, (ax,) = drawn(figure_of({}), rows_of(variance=5.0, variance_low=4.9, variance_high=5.1))
    low, high = ax.get_ylim()
    assert high / low == pytest.approx(10)
    assert low < 4.9 < 5.1 < high


def test_categories_have_dots_side_by_side_and_bars():
    _, _, (ax,) = drawn(figure_of({"x": "group", "where": "problem.k == 2"}), rows_of())
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["loc", "all"]
    xs = sorted(x for line in ax.lines for x in line.get_xdata())
    assert xs == pytest.approx([-0.15, 0.15, 0.85, 1.15])
    bars = sorted(tuple(segment[:, 1]) for c in ax.collections for segment in c.get_segments())
    assert bars[0] == pytest.approx((1.6, 2.6))
    assert bars[-1] == pytest.approx((3.2, 5.2))


def test_estimators_as_categories_need_no_legend():
    _, figure, (ax,) = drawn(figure_of({"x": "estimator", "where": "problem.k == 2 and group == 'loc'"}), rows_of())
    assert not figure.legends
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["reparam", "score"]
    assert [line.get_xdata()[0] for line in ax.lines] == [0, 1]


def test_zero_and_infinite_variances_are_on_the_edge_and_said_to_be():
    rows = rows_of(("score",)) + rows_of(("reparam",), variance=1e-31, variance_low=0.0, variance_high=1e-9)
    rows += rows_of(("odd",), variance=np.inf, variance_low=np.inf, variance_high=np.inf)
    caption, _, (ax,) = drawn(figure_of({}), rows)
    assert "Hollow, on the edge of an axis: infinite; zero within rounding, or below 1e-10 of the panel's" in caption
    hollow = {line.get_ydata()[0]: line for line in ax.lines if line.get_markerfacecolor() == "white"}
    assert set(hollow) == {0.0, 1.0}
    assert all(line.get_transform() == ax.get_xaxis_transform() for line in hollow.values())
    assert ax.get_ylim()[0] > 0.1


def test_names_that_are_no_estimators_have_no_estimators_colour():
    panel = {"where": "estimator == 'score'", "hue": "group"}
    _, figure, (ax,) = drawn(figure_of(panel), rows_of())
    colours = {plots.looks_of(["score", "reparam"])[name]["color"] for name in ("score", "reparam")}
    assert len({line.get_color() for line in ax.lines}) == 2
    assert not {line.get_color() for line in ax.lines} & colours
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["all", "loc"]


def test_a_line_is_parted_where_it_goes_to_the_edge():
    rows = rows_of(("score",))
    for found in rows[4:6]:
        found |= {"variance": 0.0, "variance_low": 0.0, "variance_high": 0.0}
    _, _, (ax,) = drawn(figure_of({}), rows)
    (line,) = [line for line in ax.lines if line.get_markerfacecolor() != "white"]
    assert [k for k, y in zip(K, line.get_ydata(), strict=True) if np.isnan(y)] == [2.0]


def test_an_estimator_keeps_its_colour_where_others_are_not_drawn():
    rows = rows_of(("a", "b", "score"))
    _, _, (ax,) = drawn(figure_of({"where": "estimator == 'score' and group == 'all'"}), rows)
    assert ax.lines[0].get_color() == plots.looks_of(["a", "b", "score"])["score"]["color"]


@pytest.mark.parametrize(
    ("panel", "reason"),
    [
        ({"where": "problem.k > 100"}, "no rows"),
        ({"where": "problem.nope > 1"}, "nope"),
        ({"where": "group.str.nope()"}, "nope"),
        ({"where": "problem.name == 'cost'"}, "rows differ in group: say which in `where`"),
        ({"y": "variance/estimator.nope"}, "no column estimator.nope"),
        ({"y": "latency"}, "no column latency"),
    ],
)
def test_what_cannot_be_drawn_is_left_out_and_named(panel, reason, tmp_path, capsys):
    described = figure_of({}, panel | {"title": "Odd one"})
    caption, _, axes = drawn(described, rows_of())
    assert len(axes) == 1
    assert re.search(rf"Left out: Odd one \(.*{re.escape(reason)}.*\)\.", caption)
    (line,) = descriptions.left_out(described, with_options(pd.DataFrame(rows_of())))
    assert line.startswith("figure one: left out 'Odd one' (")
    assert not list(panels.figures(figure_of(panel), with_options(pd.DataFrame(rows_of()))))


def test_failed_cells_are_in_no_panel():
    rows = rows_of()
    rows[0]["status"] = rows[1]["status"] = "failed"
    _, _, (ax,) = drawn(figure_of({}), rows)
    assert [len(line.get_xdata()) for line in ax.lines] == [4, 3]


@pytest.mark.parametrize(
    ("described", "said"),
    [
        ("no list", "it must be a list of figures"),
        ([{"name": "x"}], "a figure has the keys name, caption, panels"),
        (figure_of({"nope": 1}), "a panel of one has the keys title, where, x, y, hue, logx, logy"),
        (figure_of({"logx": "yes"}), "a panel of one: logx=yes is no bool"),
        (figure_of({"where": "problem.k >"}), "one, Cost: where=problem.k >: invalid syntax"),
        (figure_of({"where": "esimator == 'score'"}), "one, Cost: no column esimator"),
        (figure_of({"y": "varience"}), "one, Cost: no column varience"),
        (figure_of({}) * 2, "two figures are called one"),
    ],
)
def test_a_description_that_is_wrong_is_said_to_be_in_one_line(described, said):
    with pytest.raises(ValueError, match=re.escape(said)) as error:
        descriptions.check(described)
    assert "\n" not in str(error.value)


def test_columns_of_a_query():
    where = "`problem.k` > 1 and problem.name == 'a' and group in ('loc', 'all') and not estimator == 'b.c'"
    assert descriptions.columns(where) == {"problem.k", "problem.name", "group", "estimator"}


@pytest.mark.parametrize("path", EXPERIMENTS, ids=lambda path: path.stem)
def test_every_experiment_describes_figures_over_options_that_its_problems_have(path):
    config = yaml.safe_load(path.read_text())
    described = config.get("panels", [])
    descriptions.check(described)
    swept = config["hydra"]["sweeper"]["params"]
    names = swept.get("problem", "linear_vae").split(",")
    problems = [yaml.safe_load((ROOT / "conf" / "problem" / f"{name}.yaml").read_text()) for name in names]
    options = {"problem.name", *(f"problem.{name}" for problem in problems for name in problem)}
    options |= {name for name in swept if name.startswith("problem.")}
    for panel in (panel for figure in described for panel in figure["panels"]):
        used = {panel["x"], *panel["y"].split("/"), *descriptions.columns(panel["where"])}
        assert {name for name in used if name.startswith("problem.")} <= options
    for name in re.sub(r"glob\(.*\)", "score", swept["estimator"]).split(","):
        assert (ROOT / "conf" / "estimator" / f"{name}.yaml").exists()


def test_the_report_finds_figures_and_options_in_the_folder(tmp_path, capsys):
    """cost is cost(k=1.0), whose label leaves k out; a sweep's steps have no automatic figures of their own."""
    recorded = {f"cost(k={k})": {"k": k} for k in K} | {"cost": {"k": 1.0}}
    described = figure_of({}, {"title": "None", "where": "estimator == 'nobody'"})
    store.begin(tmp_path, [], ["run.py"], described, recorded)
    rows = [found | {"problem": found["problem"].replace("(k=1.0)", "")} for found in rows_of()]
    for key in {found["key"] for found in rows}:
        store.save(tmp_path, key, [found for found in rows if found["key"] == key])
    report.write(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert [path.stem for path in (tmp_path / "figures").glob("*.svg")] == ["one"]
    assert page.index("What it is.") < page.index('id="crossings"')
    crossed = pd.read_csv(tmp_path / "crossings.csv")
    assert set(crossed["group"]) == {"loc", "all"}
    assert list(crossed["value"]) == pytest.approx([1.0, 1.0])
    assert "figure one: left out 'None' (no rows)" in capsys.readouterr().out
    store.begin(tmp_path, [], ["run.py"], figure_of({}, caption="Another."))
    report.write(tmp_path)
    assert "Another." in (tmp_path / "report.html").read_text()
    assert "problem.k" not in pd.read_parquet(tmp_path / "results.parquet")
