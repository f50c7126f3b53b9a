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
from tests.rows import row

ROOT = Path(__file__).parents[1]


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
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)
    assert page.count("<figure>") == len(list((folder / "figures").glob("*.svg"))) == 8
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


def test_report_alone(folder):
    command = [sys.executable, str(ROOT / "benchmarks" / "report.py")]
    made = subprocess.run([*command, str(folder)], capture_output=True, text=True)
    assert (made.returncode, made.stderr) == (0, "")
    missing = subprocess.run([*command, str(folder / "nothing")], capture_output=True, text=True)
    assert missing.returncode == 2
    assert "holds no results of Gradiometer" in missing.stderr


def test_the_report_compares_every_pair(folder):
    report.write(folder)
    pairs = pd.read_csv(folder / "comparisons.csv")
    assert set(pairs["at"]) == {"one estimate", "equal evaluations", "equal seconds"}
    assert set(pairs["group"]) == {"all", "loc"}
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
