"""Results as tables for reading."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import store, tables
from benchmarks.comparisons import compare
from tests.rows import gaussian

BIASED = {"bias": 0.5, "bias_low": 0.4, "bias_high": 0.6, "bias_p": 1e-9, "verdict": "biased"}


@pytest.fixture
def frame():
    rows = [gaussian("my_score", d, s, 9.0, seed=1) for d in (2, 8) for s in (1, 4)]
    rows += [gaussian("reparam", d, s) for d in (2, 8) for s in (1, 4)]
    return pd.DataFrame([*rows, gaussian("naive", 2, 1, 0.1, **BIASED)])


def test_a_latex_table_has_booktabs_escapes_the_least_in_bold_and_daggers(frame):
    made = tables.paper(frame, "latex")["variance-quadratic-init-0-cpu-float32"]
    assert [made.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    assert r"my\_score & 18 [17.6, 18.4] & 72 [70.6, 73.4]" in made
    assert r"reparam & \textbf{2 [1.96, 2.04]} & \textbf{8 [7.84, 8.16]}" in made
    assert r"naive & 0.2 [0.196, 0.204]$^\dagger$ &  \\" in made
    assert made.count("{") == made.count("}")
    bias = tables.paper(frame, "latex")["bias-quadratic-init-0-cpu-float32"]
    assert r"50 \% [40, 60]$^\dagger$" in bias


def test_a_markdown_table_has_the_same(frame):
    made = tables.paper(frame, "markdown")["variance-quadratic-init-0-cpu-float32"]
    assert "| S   | estimator   | D = 2" in made
    assert "**2 [1.96, 2.04]**" in made
    assert "0.2 [0.196, 0.204]†" in made


def test_the_command_writes_them(frame, tmp_path):
    store.begin(tmp_path, [], ["run.py"])
    for made in frame.to_dict("records"):
        store.save(tmp_path, made["key"], [made])
    command = [sys.executable, str(Path(__file__).parents[1] / "benchmarks" / "report.py"), str(tmp_path)]
    assert subprocess.run([*command, "--tables", "latex", "--tables", "markdown"], capture_output=True).returncode == 0
    assert {path.suffix for path in (tmp_path / "tables").iterdir()} == {".tex", ".md"}
    assert len(list((tmp_path / "tables").iterdir())) == 2 * len(tables.PAPER)


def test_the_reference_is_the_score_function_where_most_cells_have_it():
    rows = [gaussian(name, d) for name in ("a", "score") for d in (2, 4)]
    assert tables.reference(pd.DataFrame(rows)) == "score"
    assert tables.reference(pd.DataFrame([*rows, gaussian("a", 8)])) == "a"
    assert tables.reference(pd.DataFrame(rows), "a") == "a"
    with pytest.raises(ValueError, match="against=b: choose from a, score"):
        tables.reference(pd.DataFrame(rows), "b")
    assert tables.reference(pd.DataFrame([gaussian("naive", 2, **BIASED)])) == ""


def test_a_comparison_reads_the_same_from_either_side():
    pairs = compare(pd.DataFrame([gaussian("a", 4, scale=4.0), gaussian("b", 4, seed=1)]))
    one, other = (tables.relative(pairs, name).iloc[0] for name in ("a", "b"))
    assert one["ratio"] * other["ratio"] == pytest.approx(1)
    assert one["ratio_low"] * other["ratio_high"] == pytest.approx(1)
    assert (one["verdict"], other["verdict"]) == ("better", "worse")


def test_columns_of_text_are_ordered_by_their_numbers(frame):
    table, order = tables.numbers(frame, tables.relative(compare(frame), "my_score"), "my_score")
    name = "variance vs my_score, one estimate"
    least = table.loc[order[name].idxmin()]
    assert least["estimator"] == "naive"
    assert "times less" in least[name]
    assert set(order) <= set(table)
    assert np.isnan(order[name][table["estimator"] == "my_score"]).all()
