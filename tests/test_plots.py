"""Figures: what each shows as data, when it is not drawn, and that it can be read in print at 8 cm."""

import re
from dataclasses import replace
from functools import cache
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure
from matplotlib.text import Text

from benchmarks import plots, verdicts
from benchmarks.intervals import product
from benchmarks.plots import flips, forest, fronts, growth, part, style, tails, winners
from tests.rows import row

LONG = "score_optimal_coordinate_held_out(baseline.number=25)"
COMMON = ["score", "reparam", "naive", "score_loo", "stl", "arm", "disarm", "rebar", "relax", "gumbel_softmax"]
DEVIATIONS = [[-4, 300], [-1, 400], [0, 200], [2, 80], [6, 20]]


def cell(name, dim=2, samples=1, factor=1.0, groups=("loc", "all"), **values):
    """The rows of one cell, whose variance is factor x dim^2 / samples, measured with its own noise."""
    made = []
    for group in groups:
        base = row(name, dim, samples, group, verdict="no bias found", deviation_counts=DEVIATIONS, tail=0.1)
        scaled = {k: v * factor for k, v in base.items() if re.match(r"(work_)?variance(?!_source)", k)}
        seed = sum(map(ord, name)) + dim
        batches = scaled["variance"] * np.random.default_rng(seed).gamma(50, 0.02, 64)
        made.append(base | scaled | {"batch_variances": list(batches), "peak_memory": 1e6 * dim} | values)
    return made


def frame_of(*cells):
    return pd.DataFrame([found for rows in cells for found in rows])


def part_of(frame, pairs=None):
    """All rows as one part."""
    frame = part.with_time(frame)
    looks = plots.looks_of(frame["estimator"])
    return part.Part(frame, "here", "x", looks, verdicts.without_noise(frame), part.Ties(frame, pairs))


DRAWS = {
    "winners": winners.winner_figures,
    "front": fronts.front_figures,
    "variance": growth.growth_figures,
    "equal": growth.growth_figures,
    "cost": growth.growth_figures,
    "bias": forest.forest_figures,
    "tails": tails.tail_figures,
}


def drawn(frame, kind, pairs=None):
    """(caption, figure) of the last figure of a kind; None where there is none."""
    with plots.applied():
        if kind == "flips":
            frame = frame.reset_index(drop=True)
            every = part_of(frame, pairs)
            made = flips.flip_figures([replace(every, rows=rows) for _, rows in every.rows.groupby("point")])
        else:
            made = DRAWS[kind](part_of(frame, pairs))
    found = [figure for figure in made if figure.name.partition("-")[0] == kind]
    return found[-1][1:] if found else None


def grid(names=("score", "reparam", "stl"), dims=(2, 4, 8), samples=(1, 2, 4), **values):
    return [cell(n, d, s, 10.0 ** -(i % 7), **values) for i, n in enumerate(names) for d in dims for s in samples]


BIASED = {"bias": 0.5, "bias_low": 0.4, "bias_high": 0.6, "verdict": "biased"}
NOTHING = dict.fromkeys(["variance", "variance_low", "work_variance", "work_variance_low"], 0.0)
INFINITE = dict.fromkeys(["variance", "variance_low", "variance_high", "work_variance"], np.inf)


def odd_ones():
    """A biased, an exact, an infinite, an untrusted and a failed one, and one with a long name."""
    return [
        *grid(["naive"], **BIASED),
        *grid(["exact"], **NOTHING, variance_high=1e-12),
        *grid(["odd"], **INFINITE, status="budget"),
        *grid(["heavy"], status="budget", reason="all: as far as the tail tells, no interval at the usual rate exists"),
        *grid(["broken"], status="failed", reason="RuntimeError"),
        *grid([LONG]),
    ]


FRAMES = {
    "grid": lambda: frame_of(*grid(), *odd_ones()),
    "points": lambda: frame_of(*(c for p in ("far", "near") for c in grid(dims=(2, 4), samples=(1, 2), point=p))),
    "fifty": lambda: frame_of(
        *grid([f"estimator_{i}" for i in range(50)], (2, 4), (1, 2)), *grid([LONG], (2, 4), (1, 2), **BIASED)
    ),
    "single": lambda: frame_of(cell("score", groups=("loc", "log_scale", "all"))),
}


@cache
def everything_of(name):
    """All figures of one of the frames."""
    return list(plots.figures(FRAMES[name]()))


@pytest.fixture(params=FRAMES)
def everything(request):
    return everything_of(request.param)


def test_every_figure_is_one_column_wide_and_no_text_is_small(everything):
    for name, _, figure in everything:
        assert figure.get_figwidth() == pytest.approx(8 / 2.54), name
        assert figure.get_figheight() < 25 / 2.54, name
        texts = [text for text in figure.findobj(Text) if text.get_visible() and text.get_text()]
        assert texts
        assert min(text.get_fontsize() for text in texts) >= 6, name
        assert not [text.get_text() for text in texts if re.search(r"[\^_]\{", text.get_text())], name


def test_no_text_is_cut_and_nothing_covers_anything(everything):
    for name, _, figure in everything:
        figure.draw_without_rendering()
        boxes = [ax.get_tightbbox() for ax in figure.axes]
        room = figure.bbox.padded(1)
        assert all(room.contains(*box.min) and room.contains(*box.max) for box in boxes), name
        panels = [box.padded(-1) for ax, box in zip(figure.axes, boxes, strict=True) if ax.get_label() != "<colorbar>"]
        assert not [(i, j) for j in range(len(panels)) for i in range(j) if panels[i].overlaps(panels[j])], name
        for ax in figure.axes:
            legend = ax.get_legend()
            if legend is not None:
                assert not legend.get_window_extent().padded(-1).overlaps(ax.xaxis.get_tightbbox()), name
                assert not legend.get_window_extent().overlaps(ax.bbox), name
                handles = [text.get_window_extent() for text in legend.get_texts()]
                assert not [(i, j) for j in range(len(handles)) for i in range(j) if handles[i].overlaps(handles[j])]
        labels = [text for ax in figure.axes for text in ax.get_yticklabels() if text.get_text()]
        shown = [text.get_window_extent() for text in labels if figure.bbox.overlaps(text.get_window_extent())]
        spans = sorted((box.y0, box.y1) for box in shown if len(figure.axes) == 1)
        assert all(above[0] > below[1] - 2 for below, above in pairwise(spans)), name


def test_captions_are_sentences_with_sample_sizes(everything):
    for name, caption, _ in everything:
        assert caption.endswith("."), name
        assert re.search(r"\d replicates each", caption), name
        assert "nan" not in caption
        assert ".." not in caption


def test_which_figures_there_are():
    kinds = {name: list(dict.fromkeys(n.partition("-")[0] for n, _, _ in everything_of(name))) for name in FRAMES}
    sizes = ["variance", "equal", "cost"]
    assert kinds["grid"] == kinds["fifty"] == ["winners", "front", *sizes, "bias", "tails"]
    assert kinds["points"] == ["flips", "winners", "front", *sizes, "bias", "tails"]
    assert kinds["single"] == ["bias", "tails"]
    assert not list(plots.figures(FRAMES["grid"](), without=["quadratic"]))
    assert not list(plots.figures(FRAMES["single"]().assign(status="failed")))
    one_line = frame_of(*grid(dims=(2,)))
    assert drawn(one_line, "winners") is None
    assert drawn(one_line, "variance")[1].axes[0].get_xlabel() == "samples $S$"
    assert drawn(one_line.query("num_samples == 1"), "variance") is None
    assert drawn(frame_of(*grid(["score"])), "winners") is None


def test_the_same_figure_gives_the_same_bytes(tmp_path):
    first, again = (plots.save(drawn(FRAMES["single"](), "tails")[1], tmp_path / name) for name in "ab")
    assert first == again == (tmp_path / "a.svg").read_bytes()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert b"<text" not in first


def test_the_caller_keeps_their_own_settings(tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    made = plots.figures(FRAMES["single"]())
    name, _, figure = next(made)
    assert dict(matplotlib.rcParams) == before
    dpi, kind = figure.dpi, type(figure.canvas)
    plots.save(figure, tmp_path / name)
    assert dict(matplotlib.rcParams) == before
    assert (figure.dpi, type(figure.canvas)) == (dpi, kind)


# Looks


def test_looks_all_differ_and_ten_common_names_have_ten_colours():
    looks = plots.looks_of([f"f{i}" for i in range(24)])
    assert list(looks)[:3] == ["f0", "f1", "f2"]
    for count in (10, 88, 400):
        looks = plots.looks_of([f"estimator_{i}" for i in range(count)])
        assert len({(look["color"], look["marker"], look["ls"]) for look in looks.values()}) == count
        assert len({look["color"] for look in looks.values()}) == 10
    assert len({look["color"] for look in plots.looks_of(COMMON).values()}) == 10


def test_a_newcomer_changes_only_the_look_of_whom_it_collides_with():
    names = COMMON[:5]
    before = plots.looks_of(names)
    kept = 0
    for i in range(40):
        newcomer = f"mine_{i}"
        after = plots.looks_of([*names, newcomer])
        if style.home(newcomer) not in {style.home(name) for name in names}:
            assert {name: after[name] for name in names} == before
            kept += 1
        assert sum(after[name] != before[name] for name in names) <= 1
    assert kept > 10


def test_a_name_looks_alike_in_all_figures_of_a_sweep_unless_its_colour_is_met_twice():
    everyone = [f"estimator_{i}" for i in range(24)]
    whole = plots.looks_of(everyone)
    moved = 0
    for start in range(14):
        chosen = everyone[start : start + 10]
        looks = plots.looks_of(chosen, everyone)
        assert len({look["color"] for look in looks.values()}) == 10
        colours = [whole[name]["color"] for name in chosen]
        alike = sum(looks[name] == whole[name] for name in chosen)
        assert alike == len(set(colours))
        moved += 10 - alike
    assert moved > 0


def test_no_two_colours_are_alike_to_the_colour_blind_and_none_is_grey():
    """Machado et al. 2009, severity 1; CIE 1976 difference of the nearest two, 5 being plain side by side."""
    deutan = [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    protan = [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    colours = np.array([to_rgb(colour) for colour in style.PALETTE])
    assert (np.ptp(colours[:-1], axis=1) > 0.1).all()
    linear = np.where(colours > 0.04045, ((colours + 0.055) / 1.055) ** 2.4, colours / 12.92)
    for seen in (linear, linear @ np.transpose(deutan), linear @ np.transpose(protan)):
        f = np.cbrt(np.clip(seen, 0, 1) @ to_xyz.T / [0.9505, 1.0, 1.089])
        lab = np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)
        distances = np.linalg.norm(lab[:, None] - lab, axis=2)
        assert distances[np.triu_indices(len(lab), 1)].min() > 5


def test_an_estimator_looks_the_same_in_every_panel():
    looks = plots.looks_of([f"f{i}" for i in range(24)])
    frame = pd.DataFrame([row(name, d) for name in ("f7", "f9") for d in (2, 4)])
    ax = plots.scaling(frame, style.panels(1)[1][0], looks, "latent_dim", "variance")
    assert [line.get_color() for line in ax.lines] == [looks[name]["color"] for name in ("f7", "f9")]


@pytest.mark.parametrize(
    ("value", "text"), [(0.01, "0.01"), (1e-5, "1e−5"), (2e12, "2e12"), (1000.0, "1000"), (0.0, "0"), (1e4, "1e4")]
)
def test_numbers_on_axes_have_no_small_exponents(value, text):
    assert style.plain(value) == text


def test_a_long_name_loses_its_middle():
    assert style.short("score", 10) == "score"
    assert style.short(LONG, 21) == "score_opti…number=25)"
    assert all(len(style.short(LONG, most)) == most for most in range(5, 50))


# Against the sizes


def test_the_legend_has_the_fitted_slope_and_the_axes_are_logarithmic():
    frame = pd.DataFrame([row(latent_dim=d) for d in (2, 4, 8)])
    ax = plots.scaling(frame, style.panels(1)[1][0], plots.looks_of(["score"]), "latent_dim", "variance")
    legend = ax.get_legend()
    assert legend.get_texts()[0].get_text() == "score: 2.00 ± 0.1"
    assert legend.get_title().get_text() == "estimator: exponent of $D$"
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert list(ax.lines[0].get_ydata()) == [4, 16, 64]
    band = ax.collections[0].get_paths()[0].vertices[:, 1]
    assert (band.min(), band.max()) == pytest.approx((3.6, 70.4))


def test_a_variance_within_rounding_of_zero_has_no_exponent_and_is_on_the_edge():
    zero = {"variance_low": 0.0, "variance_high": 1e-9}
    frame = pd.DataFrame([row(latent_dim=d, variance=1e-30 * d, **zero) for d in (2, 4)])
    frame = pd.concat([frame, pd.DataFrame([row("reparam", d) for d in (2, 4)])], ignore_index=True)
    looks = plots.looks_of(["score", "reparam"])
    ax = plots.scaling(frame, style.panels(1)[1][0], looks, "latent_dim", "variance")
    assert [text.get_text() for text in ax.get_legend().get_texts()][1] == "score (0 within rounding)"
    (hollow,) = [line for line in ax.lines if line.get_markerfacecolor() == "white"]
    assert hollow.get_transform() == ax.get_xaxis_transform()
    assert ax.get_ylim()[0] > 1


def test_variance_is_drawn_at_a_size_where_all_estimators_have_some():
    """score_loo has no S = 1, the smallest; naive has no variance, and the caption says so."""
    rows = [row("score", d, s) for d in (2, 4) for s in (1, 2)] + [row("score_loo", d, 2) for d in (2, 4)]
    rows += [row("naive", d, 2, variance=0.0, variance_low=0.0) for d in (2, 4)]
    made = {name: (text, figure) for name, text, figure in plots.figures(pd.DataFrame(rows))}
    text, figure = made["variance-latent_dim-quadratic-init-0-cpu-float32"]
    assert "S = 2" in text
    assert "for want of a variance above zero: naive" in text
    assert len(figure.axes[0].lines) == 2


def test_beyond_ten_estimators_the_rest_is_grey_and_counted():
    """n0 has the least variance but is biased, n1 has no interval: both give way."""
    names = [f"n{i}" for i in range(13)]
    rows = [
        found
        for i, name in enumerate(names)
        for d in (2, 4)
        for found in cell(name, d, 1, 2.0**i, **({0: BIASED, 1: {"variance_low": np.nan}}.get(i, {})))
    ]
    text, figure = drawn(pd.DataFrame(rows), "variance")
    (ax,) = figure.axes
    assert [line.get_text().partition(":")[0] for line in ax.get_legend().get_texts()] == names[2:12]
    grey = [line for line in ax.lines if line.get_color() == style.GREY]
    assert sorted(line.get_ydata()[0] for line in grey) == [4.0, 8.0, 4.0 * 2**12]
    assert "Grey: 3 more" in text
    assert len({line.get_color() for line in ax.lines}) == 11


def test_an_endless_interval_does_not_decide_what_the_axis_spans():
    rows = [row(latent_dim=d, variance_low=1e-20, variance_high=1e20) for d in (2, 4)]
    ax = plots.scaling(pd.DataFrame(rows), style.panels(1)[1][0], plots.looks_of(["score"]), "latent_dim", "variance")
    low, high = ax.get_ylim()
    assert 0.1 < low < 4 < 16 < high < 200


def test_equal_time_is_variance_times_time_with_both_errors():
    rows = part.with_time(frame_of(cell("score", 4, 2, relative_seconds=3.0, relative_seconds_high=3.3)))
    found = rows.iloc[0]
    assert found["time"] == 3.0 * 4 * 2
    assert found["variance_time"] == pytest.approx(8.0 * 24)
    variance = tuple(found[["variance", "variance_low", "variance_high"]])
    low, high = product(variance, tuple(found[["time", "time_low", "time_high"]]))
    assert (found["variance_time_low"], found["variance_time_high"]) == pytest.approx((low, high))
    (_, figure) = drawn(frame_of(*grid()), "equal")
    work, time = figure.axes
    values = part.with_time(frame_of(*grid())).query("group == 'all' and latent_dim == 8 and estimator == 'stl'")
    look = plots.looks_of(["score", "reparam", "stl"])["stl"]
    for ax, column in ((work, "work_variance"), (time, "variance_time")):
        (line,) = [line for line in ax.lines if line.get_color() == look["color"]]
        assert list(line.get_ydata()) == pytest.approx(list(values[column]))


def test_calls_of_f_are_drawn_only_where_they_differ():
    frame = frame_of(*grid(samples=(1,)))
    labels = [ax.get_ylabel() for ax in drawn(frame, "cost")[1].axes]
    assert labels == ["seconds an estimate", "bytes a chunk, at peak"]
    frame.loc[frame["estimator"] == "stl", "evaluations"] = 7
    assert "calls of f an estimate" in [ax.get_ylabel() for ax in drawn(frame, "cost")[1].axes]


# Bias


def test_bias_is_absolute_where_the_gradient_is_nothing_but_rounding():
    for least, label in ((0.2, "bias / norm of the exact gradient"), (np.inf, "norm of the bias")):
        caption, figure = drawn(pd.DataFrame([row(bias_detectable=least)]), "bias")
        assert figure.axes[0].get_xlabel() == label
        assert ("Shaded: within 1 %" in caption) == (least == 0.2) == bool(figure.axes[0].patches)


def test_the_forest_shows_intervals_bounds_and_verdicts():
    frame = frame_of(cell("good"), cell("bad", **BIASED | {"gradient_norm": 2.0}))
    text, figure = drawn(frame[frame["group"] == "all"], "bias")
    (ax,) = figure.axes
    assert [label.get_text() for label in ax.get_yticklabels()] == ["bad", "good"]
    (lines,) = [found for found in ax.collections if isinstance(found, LineCollection)]
    ends = {
        (round(s[0, 1]), round(s[1, 0], 6)): (s[0, 0], to_hex(c))
        for s, c in zip(lines.get_segments(), lines.get_colors(), strict=True)
    }
    edge = ax.get_xlim()[0]
    assert ends == {
        (0, 0.1): (edge, to_hex(forest.NOT_FOUND)),
        (1, 0.3): (pytest.approx(0.2), to_hex(forest.FOUND)),
    }
    (zone,) = ax.patches
    assert (zone.get_x(), zone.get_x() + zone.get_width()) == pytest.approx((edge, 0.01))
    dots = [tuple(point) for dots in ax.collections if dots is not lines for point in dots.get_offsets()]
    assert dots == [(0.25, 1.0)]
    assert "Shaded" in text


@pytest.mark.parametrize(("count", "panels", "lines"), [(2, 3, 8), (8, 1, 32), (30, 1, 30)])
def test_a_forest_of_many_lines_is_thinned(count, panels, lines):
    """Of n0, the cell with the largest share of bias is D = 2, S = 1."""
    names = [f"n{i}" for i in range(count)]
    frame = frame_of(*grid(names, (2, 4), (1, 2), groups=("loc", "log_scale", "all")))
    worst = (frame["estimator"] == "n0") & (frame["latent_dim"] == 2) & (frame["num_samples"] == 1)
    frame.loc[worst, "bias"] = 0.05
    text, figure = drawn(frame, "bias")
    assert len(figure.axes) == panels
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(labels) == lines
    assert ("Over all parameters." in text) == (panels == 1)
    assert ("the cell with the largest bias" in text) == (lines == 30)
    assert "n0 D=2 S=1" in labels
    assert ("n0 D=4 S=2" in labels) == (lines != 30)


# Winners


def squares(ax):
    """By (latent_dim, num_samples): text, and whether it is hatched."""
    dims, samples = ([int(tick.get_text()) for tick in ticks] for ticks in (ax.get_xticklabels(), ax.get_yticklabels()))
    texts = {(dims[round(t.get_position()[0])], samples[round(t.get_position()[1])]): t.get_text() for t in ax.texts}
    at = [(dims[round(p.get_x() + 0.5)], samples[round(p.get_y() + 0.5)], bool(p.get_hatch())) for p in ax.patches]
    return {(d, s): (texts[d, s], hatched) for d, s, hatched in at}


def test_the_winner_map_names_the_least_variance_of_the_unbiased_and_hatches_ties():
    """a has half b's variance, but for D = 2, S = 1, where they are equal, and D = 4, S = 2, where b has a quarter."""
    factors = {(2, 1): 2.0, (4, 2): 8.0}
    cells = [cell("a", d, s, factors.get((d, s), 1.0)) for d in (2, 4) for s in (1, 2)]
    cells += [cell("b", d, s, 2.0) for d in (2, 4) for s in (1, 2)]
    cells += [cell("biased", d, s, 0.01, **BIASED) for d in (2, 4) for s in (1, 2)]
    cells += [cell("untested", d, s, 0.01, verdict="not tested") for d in (2, 4) for s in (1, 2)]
    cells += [cell("heavy", d, s, 0.01, reason="all: as far as the tail tells, no") for d in (2, 4) for s in (1, 2)]
    cells += [cell("exact", d, s, **NOTHING, variance_high=1e-12) for d in (2, 4) for s in (1, 2)]
    cells += [cell("seer", d, s, 0.01, oracle=True) for d in (2, 4) for s in (1, 2)]
    frame = frame_of(*cells).assign(oracle=lambda found: found["oracle"].eq(True))
    text, figure = drawn(frame, "winners")
    expected = {(2, 1): ("a=b", True), (2, 2): ("a", False), (4, 1): ("a", False), (4, 2): ("b", False)}
    assert [ax.get_title() for ax in figure.axes] == list(part.VALUES)
    assert squares(figure.axes[0]) == expected
    assert squares(figure.axes[1]) == expected
    assert "below 1e-10 of the largest: exact." in text
    assert "no interval: heavy." in text
    assert "what nobody knows: seer." in text
    dear = frame.assign(evaluations=frame["evaluations"] * frame["estimator"].map({"a": 10, "b": 1}).fillna(1))
    ends = ["work_variance", "work_variance_low", "work_variance_high"]
    dear[ends] = dear[ends].mul(frame["estimator"].map({"a": 10, "b": 1}).fillna(1), axis=0)
    assert {found for found, _ in squares(drawn(dear, "winners")[1].axes[1]).values()} == {"b"}


def test_names_that_do_not_fit_are_letters_with_a_legend():
    frame = frame_of(*grid([LONG, "score", "reparam", "stl", "b"], dims=(2, 4, 8, 16, 32)))
    frame["variance"] = frame["latent_dim"] + (frame["estimator"] == "score")
    _, figure = drawn(frame, "winners")
    found = squares(figure.axes[0])[2, 1][0]
    keys = [text.get_text().split("  ") for text in figure.axes[-1].get_legend().get_texts()]
    named = {key[0]: key[1] for key in keys if len(key) == 2}
    assert set(re.findall("[A-Z]", found)) <= set(named)
    assert style.short(LONG) in named.values()
    assert ["not distinguishable"] in keys


@pytest.mark.parametrize(("count", "text"), [(1, "n0"), (2, "n0=n1"), (3, "n0=n1=n2"), (6, "n0=n1=n2+3")])
def test_ties_are_listed_up_to_two(count, text):
    assert winners.lettered([f"n{i}" for i in range(count)]) == text


def test_ties_are_those_of_the_table_that_is_given():
    frame = frame_of(*grid(["a", "b"], (2, 4), (1, 2)))
    table = frame[frame["group"] == "all"].query("estimator == 'a'")
    pairs = pd.concat([table.assign(against="b", at=at, verdict="not distinguishable") for at in part.VALUES])
    for ax in drawn(frame, "winners", pairs)[1].axes:
        assert set(squares(ax).values()) == {("b=a", True)}
    for ax in drawn(frame, "winners", pairs.assign(verdict="worse"))[1].axes:
        assert set(squares(ax).values()) == {("b", False)}


# Fronts


def test_the_front_is_what_nothing_beats():
    draws = np.random.default_rng(0)
    for count in (1, 2, 5, 40):
        for _ in range(30):
            cost, loss = draws.integers(0, 8, (2, count)).astype(float)
            beaten = [
                any(
                    (cost[j] <= cost[i] and loss[j] < loss[i]) or (cost[j] < cost[i] and loss[j] <= loss[i])
                    for j in range(count)
                )
                for i in range(count)
            ]
            assert list(~fronts.pareto(cost, loss)) == beaten


def test_the_trade_off_has_a_point_an_estimator_and_size_and_two_fronts():
    """fast is twice as fast, with 4 times the variance; poor is beaten; naive, biased, beats all."""
    speed = {"fast": 1.0, "slow": 2.0, "poor": 3.0, "naive": 0.9}
    factor = {"fast": 4.0, "slow": 1.0, "poor": 5.0, "naive": 0.1}
    cells = [
        cell(n, d, s, factor[n], **_relative(speed[n]), **(BIASED if n == "naive" else {}))
        for n in speed
        for d in (2, 4)
        for s in (1, 2)
    ]
    points = fronts.points_of(part_of(frame_of(*cells)))
    assert set(points["latent_dim"]) == {4}
    assert len(points) == 8
    at = points.set_index(["estimator", "num_samples"])
    assert at.loc[("slow", 2), "x"] == pytest.approx(2.0 * 2)
    assert at.loc[("slow", 2), "y"] == pytest.approx(16 / 2)
    assert set(at.index[at["first"]]) == {("fast", 1), ("slow", 1), ("slow", 2)}
    assert set(at.index[at["any"]]) == {("naive", 1), ("naive", 2)}
    text, figure = drawn(frame_of(*cells), "front")
    (ax,) = figure.axes
    hollow = {line.get_color() for line in ax.lines if line.get_markerfacecolor() == "white"}
    assert hollow == {plots.looks_of(speed)["naive"]["color"]}
    solid, dashed = ([ln for ln in ax.lines if to_hex(ln.get_color()) == to_hex(grey)] for grey in ("0.2", "0.45"))
    assert list(solid[0].get_xdata())[:-1] == pytest.approx([1.0, 1.0, 2.0, 4.0])
    assert list(solid[0].get_ydata())[1:] == pytest.approx([64.0, 16.0, 8.0, 8.0])
    assert list(dashed[0].get_ydata())[1:] == pytest.approx([1.6, 0.8, 0.8])
    names = [found.get_text() for found in ax.texts]
    assert "naive (50 %)" in names
    assert "fast" in names
    assert "poor" not in names
    legend = [found.get_text() for found in ax.get_legend().get_texts()]
    assert legend == ["fast", "naive: bias 50 %", "poor", "slow", "front, no bias found", "front, bias accepted"]
    assert "D = 4" in text


def _relative(value):
    return {f"relative_seconds{end}": value * by for end, by in (("", 1.0), ("_low", 0.95), ("_high", 1.05))}


def test_where_the_gradient_is_zero_the_variance_itself_is_shown():
    frame = frame_of(*grid(gradient_norm=0.0, bias_detectable=np.inf))
    assert drawn(frame, "front")[1].axes[0].get_ylabel() == "total variance"
    assert drawn(frame_of(cell("score")), "front") is None


# Flips


def test_ranks_flip_over_the_points():
    """a is first at init, b near the optimum, where c has no variance left; there a is biased."""
    by_point = {"init": {"a": 1.0, "b": 4.0, "c": 16.0}, "near": {"a": 9.0, "b": 1.0, "c": 1.0}, "optimum": {"b": 3.0}}
    cells = [
        cell(n, d, s, f, point=p) for p, fs in by_point.items() for n, f in fs.items() for d in (2, 8) for s in (1, 2)
    ]
    cells += [cell("a", d, s, 0.1, point="optimum", **BIASED) for d in (2, 8) for s in (1, 2)]
    cells += [cell("c", d, s, point="optimum", **NOTHING, variance_high=1e-12) for d in (2, 8) for s in (1, 2)]
    cells += [cell("exact", 2, 1, point=p, **NOTHING, variance_high=1e-12) for p in by_point]
    text, figure = drawn(frame_of(*cells), "flips")
    ax, other = figure.axes[:2]
    assert [ax.get_title(), other.get_title()] == ["D = 2, S = 1", "D = 8, S = 1"]
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["init", "near", "optimum"]
    names = [tick.get_text() for tick in ax.get_yticklabels()]
    assert names == ["b", "c", "a"]
    found = {(names[int(t.get_position()[1])], int(t.get_position()[0])): t.get_text() for t in ax.texts}
    assert [found["a", i] for i in range(3)] == ["1", "3", "biased"]
    assert [found["b", i] for i in range(3)] == ["2", "1=", "2"]
    assert [found["c", i] for i in range(3)] == ["3", "1=", "1"]
    framed = {(names[int(p.get_y())], int(p.get_x())) for p in ax.patches}
    assert framed == {("a", 0), ("b", 1), ("c", 1), ("c", 2)}
    colours = np.ma.masked_invalid(ax.collections[0].get_array().reshape(3, 3))
    assert colours[:, 0].filled() == pytest.approx(np.log10([4.0, 16.0, 1.0]))
    assert np.ma.getmaskarray(colours)[2, 2]
    assert "exact" in text


def test_at_most_twenty_rows_and_all_that_are_ever_first():
    names = [f"n{i:02d}" for i in range(30)]
    cells = [cell(n, 2, 1, 2.0**i, point="init") for i, n in enumerate(names)]
    cells += [cell(n, 2, 1, 2.0**-i, point="near") for i, n in enumerate(names)]
    parts = [part_of(frame_of(*(c for c in cells if c[0]["point"] == p))) for p in ("init", "near")]
    ordered = flips.Ranking(parts, 2, 1).ordered()
    assert len(ordered) == 20
    assert {"n00", "n29"} <= set(ordered)


def test_one_point_has_no_flips():
    assert not flips.flip_figures([part_of(FRAMES["grid"]())])
    apart = frame_of(cell("a", point="init"), cell("b", point="near"))
    assert drawn(apart, "flips") is None


# Tails


def test_survival_is_the_share_of_replicates_at_or_above_each_edge():
    deviations = np.append(np.random.default_rng(0).chisquare(1, 5000) ** 2, np.zeros(500))
    edges, counts = np.unique(np.floor(2 * np.log2(deviations[deviations > 0])), return_counts=True)
    d, share = tails.survival([[int(k), int(n)] for k, n in zip(edges, counts, strict=True)], 5500)
    assert share == pytest.approx([(deviations >= edge).mean() for edge in d])
    assert share[0] == pytest.approx(5000 / 5500)


def test_the_tails_of_the_heaviest_ten_with_their_shape():
    frame = frame_of(*(cell(f"n{i}", d, s, tail=i / 10) for i in range(12) for d in (2, 4) for s in (1, 2)))
    text, figure = drawn(frame, "tails")
    (ax,) = figure.axes
    labels = [found.get_text() for found in ax.get_legend().get_texts()]
    assert labels == [f"n{i}: k = {i / 10:.2f}" for i in range(11, 1, -1)] + [tails.REFERENCE]
    assert ax.lines[0].get_xdata()[0] == pytest.approx(2**-2 / 16)
    assert ax.lines[0].get_ydata()[0] == 1.0
    assert "D = 4, S = 1, 1,000 replicates each. The 10 with the heaviest tails of 12." in text


@pytest.mark.parametrize("missing", ["column", "values"])
def test_older_results_have_no_distribution(missing):
    frame = frame_of(*grid())
    frame = frame.drop(columns="deviation_counts") if missing == "column" else frame.assign(deviation_counts=None)
    assert drawn(frame, "tails") is None


def test_a_label_with_a_path_in_it_is_no_path():
    name = next(name for name, _, _ in plots.figures(pd.DataFrame([row(problem="p(path=/a/b c)")])))
    assert name == "bias-p_path=_a_b_c_-init-0-cpu-float32"


def test_one_group_is_not_drawn_twice():
    made = part_of(frame_of(*grid()))
    assert list(made.groups) == ["all parameters"]
    assert list(replace(made, rows=frame_of(cell("a", groups=("loc", "scale", "all")))).groups) == [
        "loc",
        "scale",
        "all",
    ]


def test_the_draws_return_their_axes():
    figure, (ax,) = style.panels(1)
    assert isinstance(figure, Figure)
    frame = frame_of(*grid(groups=("all",)))
    looks = plots.looks_of(frame["estimator"])
    assert growth.scaling(frame.query("num_samples == 1"), ax, looks, "latent_dim", "variance") is ax
