"""Tables and figures of a results folder, without torch or Hydra."""

import re
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from benchmarks import plots, report, store

ROOT = Path(__file__).parents[1]


def row(estimator="score", latent_dim=2, num_samples=1, group="all", **values):
    """A row whose variance is latent_dim^2 / num_samples."""
    variance = latent_dim**2 / num_samples
    base = {
        "estimator": estimator,
        "problem": "quadratic",
        "point": "init",
        "latent_dim": latent_dim,
        "num_samples": num_samples,
        "seed": 0,
        "device": "cpu",
        "dtype": "float32",
        "group": group,
        "replicates": 1000,
        "gradient_norm": 1.0,
        "variance": variance,
        "variance_low": 0.9 * variance,
        "variance_high": 1.1 * variance,
        "bias": 0.0,
        "bias_low": 0.0,
        "bias_high": 0.1,
        "bias_p": 0.5,
        "bias_detectable": 0.2,
        "variance_source": "sampled",
        "seconds": 1e-6,
        "seconds_low": 0.9e-6,
        "evaluations": num_samples,
        "relative_seconds": 2.0,
        "relative_seconds_low": 1.9,
        "relative_seconds_high": 2.1,
        "seconds_high": 1.1e-6,
        "work_variance": variance * num_samples,
        "work_variance_low": 0.9 * variance * num_samples,
        "work_variance_high": 1.1 * variance * num_samples,
        "batch_variances": list(variance * np.random.default_rng(latent_dim).gamma(50, 0.02, 64)),
        "work_variance_time": variance * 1e-6,
        "work_variance_time_low": 0.8 * variance * 1e-6,
        "work_variance_time_high": 1.2 * variance * 1e-6,
        "status": "ok",
        "reason": "",
        "key": f"{estimator}{latent_dim}{num_samples}",
    }
    return base | values


@pytest.fixture
def folder(tmp_path):
    store.begin(tmp_path, [], ["run.py"])
    biased = {"bias": 0.5, "bias_low": 0.4, "bias_high": 0.6, "bias_p": 1e-9}
    for estimator in ("score", "naive"):
        for latent_dim in (2, 8):
            for num_samples in (1, 4):
                values = biased if estimator == "naive" else {}
                rows = [row(estimator, latent_dim, num_samples, g, **values) for g in ("loc", "all")]
                store.save(tmp_path, rows[0]["key"], rows)
    failed = {name: row("broken")[name] for name in (*store.CELL, "group", "key")}
    store.save(tmp_path, "broken", [failed | {"status": "failed", "reason": "RuntimeError: <boom>"}])
    return tmp_path


def test_load_is_tidy_and_says_what_is_biased(folder):
    frame = report.load(folder)
    assert len(frame) == 17
    assert set(frame.loc[frame["estimator"] == "naive", "verdict"]) == {"biased"}
    assert set(frame.loc[frame["estimator"] == "score", "verdict"]) == {"no bias found"}
    assert set(frame.loc[frame["estimator"] == "broken", "verdict"]) == {""}


def test_verdicts_are_corrected_for_their_number(tmp_path):
    """One p of 0.005 among 100 is no finding; alone it is."""
    store.begin(tmp_path, [], [])
    store.save(tmp_path, "0", [row(seed=0, bias_p=0.005)])
    assert list(report.load(tmp_path)["verdict"]) == ["biased"]
    for seed in range(1, 100):
        store.save(tmp_path, str(seed), [row(seed=seed)])
    assert set(report.load(tmp_path)["verdict"]) == {"no bias found"}


def test_what_was_asked_for_last_stands_and_the_other_is_kept(tmp_path):
    store.begin(tmp_path, [], [])
    store.save(tmp_path, "one", [row(variance=1.0)])
    store.save(tmp_path, "two", [row(variance=2.0)])
    assert list(store.gather(tmp_path)["variance"]) == [2.0]
    store.reuse(tmp_path, "one")
    assert list(store.gather(tmp_path)["variance"]) == [1.0]
    assert len(list((tmp_path / "cells").iterdir())) == 2


def test_gathering_does_not_read_half_a_cell(tmp_path):
    store.begin(tmp_path, [], [])
    store.save(tmp_path, "a", [row()])
    (tmp_path / "cells" / "b.json.123.part").write_text('{"rows": [')
    (tmp_path / "cells" / "c.json").write_text("")
    assert len(store.gather(tmp_path)) == 1


def test_the_page_is_one_file_with_every_figure_failure_and_number(folder, capsys):
    report.write(folder)
    page = (folder / "report.html").read_text()
    assert not re.search(r"""(src|href)=["'](?!data:)""", page)
    assert page.count("<figure>") == len(list((folder / "figures").glob("*.svg"))) == 5
    assert "RuntimeError: &lt;boom&gt;" in page
    assert "64 [57.6, 70.4]" in page
    printed = capsys.readouterr().out
    assert "| naive" in printed
    assert "failed: broken on quadratic D=2 S=1: RuntimeError: <boom>" in printed
    assert len(pd.read_csv(folder / "summary.csv")) == 17


def test_a_page_of_failures_alone(tmp_path):
    store.begin(tmp_path, [], [])
    failed = {name: row()[name] for name in (*store.CELL, "group", "key")}
    store.save(tmp_path, "x", [failed | {"status": "failed", "reason": "why"}])
    report.write(tmp_path)
    assert "why" in (tmp_path / "report.html").read_text()
    assert not (tmp_path / "figures").exists()


def test_the_legend_has_the_fitted_slope_and_the_axes_are_logarithmic():
    frame = pd.DataFrame([row(latent_dim=d) for d in (2, 4, 8)])
    ax = plots.scaling(frame, plt.figure().add_subplot(), plots.looks_of(["score"]), "latent_dim", "variance")
    assert ax.get_legend().get_texts()[0].get_text() == "score, $D$$^{2.00}$ ± 0.1"
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    plt.close("all")


def test_an_estimator_looks_the_same_in_every_panel_and_unlike_the_others():
    looks = plots.looks_of([f"f{i}" for i in range(24)])
    assert list(looks)[:3] == ["f0", "f1", "f2"]
    assert len({(look["color"], look["marker"], look["ls"]) for look in looks.values()}) == 24
    frame = pd.DataFrame([row(name, d) for name in ("f7", "f9") for d in (2, 4)])
    ax = plots.scaling(frame, plt.figure().add_subplot(), looks, "latent_dim", "variance")
    assert [line.get_color() for line in ax.lines] == [looks[name]["color"] for name in ("f7", "f9")]
    plt.close("all")


def test_a_variance_within_rounding_of_zero_has_no_exponent():
    frame = pd.DataFrame([row(latent_dim=d, variance=1e-30 * d, variance_low=0.0, variance_high=1e-9) for d in (2, 4)])
    ax = plots.scaling(frame, plt.figure().add_subplot(), plots.looks_of(["score"]), "latent_dim", "variance")
    assert ax.get_legend().get_texts()[0].get_text() == "score (0 within rounding)"
    plt.close("all")


def test_variance_is_drawn_at_a_size_where_all_estimators_have_some():
    """score_loo has no S = 1, the smallest; naive has no variance, and the caption says so."""
    rows = [row("score", d, s) for d in (2, 4) for s in (1, 2)] + [row("score_loo", d, 2) for d in (2, 4)]
    rows += [row("naive", d, 2, variance=0.0) for d in (2, 4)]
    made = {name: (text, figure) for name, text, figure in plots.figures(pd.DataFrame(rows))}
    text, figure = made["variance-latent_dim-quadratic-init-0-cpu-float32"]
    assert "S = 2" in text
    assert "for want of a variance: naive" in text
    assert len(figure.axes[0].lines) == 2
    plt.close("all")


def test_bias_is_absolute_where_the_gradient_is_nothing_but_rounding():
    for norm, label in ((1.0, "bias / norm of the exact gradient"), (1e-12, "norm of the bias")):
        frame = pd.DataFrame([row(gradient_norm=norm)])
        (figure,) = [figure for name, _, figure in plots.figures(frame) if name.startswith("bias")]
        assert figure.axes[0].get_xlabel() == label
    plt.close("all")


def test_a_label_with_a_path_in_it_is_no_path():
    (name,) = [name for name, _, _ in plots.figures(pd.DataFrame([row(problem="p(path=/a/b c)")]))]
    assert name == "bias-p_path=_a_b_c_-init-0-cpu-float32"
    plt.close("all")


def test_one_cell_has_no_scaling_figure():
    names = [name for name, _, figure in plots.figures(pd.DataFrame([row()])) if plt.close(figure) is None]
    assert names == ["bias-quadratic-init-0-cpu-float32"]


def test_report_alone(folder):
    command = [sys.executable, str(ROOT / "benchmarks" / "report.py")]
    made = subprocess.run([*command, str(folder)], capture_output=True, text=True)
    assert (made.returncode, made.stderr) == (0, "")
    missing = subprocess.run([*command, str(folder / "nothing")], capture_output=True, text=True)
    assert missing.returncode == 2
    assert "holds no results of Gradiometer" in missing.stderr


def test_the_report_compares_with_an_estimator_that_is_sound(folder):
    frame = report.write(folder)
    pairs = pd.read_csv(folder / "comparisons.csv")
    assert set(pairs["at"]) == {"one estimate", "equal evaluations", "equal seconds"}
    chosen, table = report.compared(frame, pairs, None)
    assert chosen == "score"
    assert set(table["estimator"]) == {"naive"}
    assert "not distinguishable" in table["one estimate"].iloc[0]
    assert "Compared with score" in (folder / "report.html").read_text()
    exponents = pd.read_csv(folder / "exponents.csv")
    assert exponents.query("value == 'variance' and x == 'latent_dim'")["exponent"].to_numpy() == pytest.approx(2)
    with pytest.raises(ValueError, match="against=foo: choose from naive, score"):
        report.write(folder, against="foo")


def test_a_bias_that_is_small_for_certain_is_said_to_be(tmp_path):
    store.begin(tmp_path, [], ["run.py"])
    for name, high, p in (("a", 0.009, 0.5), ("b", 0.009, 1e-9), ("c", 0.5, 1e-9), ("d", 0.5, 0.5)):
        save = row(name, bias=0.005, bias_high=high, bias_p=p)
        store.save(tmp_path, save["key"], [save])
    verdicts = report.load(tmp_path).set_index("estimator")["verdict"]
    assert list(verdicts["a":"d"]) == ["within 1 %", "biased, within 1 %", "biased", "no bias found"]


def test_a_variance_that_does_not_exist_is_in_the_table_and_in_no_figure(tmp_path):
    store.begin(tmp_path, [], ["run.py"])
    infinite = {
        name: np.inf for name in row() if name.startswith(("variance", "work_variance")) and name != "variance_source"
    }
    for d in (2, 8):
        odd = row("odd", d, bias=np.nan, bias_low=np.nan, bias_high=np.nan, bias_p=np.nan, status="budget", **infinite)
        store.save(tmp_path, odd["key"], [odd])
        store.save(tmp_path, row(latent_dim=d)["key"], [row(latent_dim=d)])
    report.write(tmp_path)
    assert "inf" in (tmp_path / "summary.csv").read_text()
    assert "infinite" in (tmp_path / "report.html").read_text()
    frame = report.load(tmp_path)
    assert set(frame.loc[frame["estimator"] == "odd", "verdict"]) == {"not tested"}
    assert all("odd" in text for name, text, figure in plots.figures(frame) if name.startswith("variance"))
    plt.close("all")
