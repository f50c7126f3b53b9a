"""Which estimator is recommended, and what is not."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import advice, recommend, store
from tests.rows import gaussian

BIASED = {"bias": 0.5, "bias_low": 0.4, "bias_high": 0.6, "bias_p": 1e-9, "verdict": "biased"}
COMMAND = [sys.executable, str(Path(__file__).parents[1] / "benchmarks" / "recommend.py")]


def frame(*rows):
    return pd.DataFrame(rows)


def test_the_least_variance_times_evaluations_wins_at_its_best_number_of_samples():
    """a: 8 at one evaluation, 3 at four, so 8 and 12; b: 10 and 5 x 2 = 10."""
    a = gaussian("a", 4, 1, 2.0), gaussian("a", 4, 4, 0.75)
    b = gaussian("b", 4, 1, 2.5, 1), gaussian("b", 4, 2, 1.25, 2)
    found = advice.advise(frame(*a, *b))
    assert (found.best["estimator"], found.best["num_samples"]) == ("a", 1)
    (other,) = found.others.itertuples()
    assert (other.estimator, other.verdict) == ("b", "worse")
    assert other.ratio_low < 1.25 < other.ratio_high


def test_equal_seconds_count_the_samples_too():
    """In multiples of drawing all S normals, S = 4 at 2.0 takes four times as long as S = 1 at 2.0."""
    found = advice.advise(frame(gaussian("a", 4, 1, 2.0), gaussian("b", 4, 4, 1.0)), by="seconds")
    assert found.best["estimator"] == "a"
    assert found.others["ratio"].iloc[0] == pytest.approx(2, rel=1e-6)


def test_what_cannot_be_told_from_the_best_is_named():
    """True ratios 1 and 1.5, errors of the log 0.4 %: 1 % false discoveries, power 1."""
    found = advice.advise(frame(gaussian("a", 4), gaussian("b", 4, seed=1), gaussian("c", 4, scale=1.5, seed=2)))
    verdicts = dict(zip(found.others["estimator"], found.others["verdict"], strict=True))
    assert sorted(verdicts.values()) == ["not distinguishable", "worse"]
    assert verdicts["c"] == "worse"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        (BIASED, "biased"),
        ({"verdict": "not tested"}, "its bias was not tested"),
        ({"reason": "the tail is too heavy to trust the interval"}, "its tail is too heavy to trust the variance"),
        ({"variance": np.inf}, "its variance does not exist"),
        ({"status": "failed", "verdict": "", "reason": "RuntimeError: x"}, "failed: RuntimeError: x"),
        ({"oracle": True}, "never calls f, or knows what nobody knows"),
        ({"evaluations": 0.0}, "never calls f, or knows what nobody knows"),
        ({"evaluations": 9.0}, "over the budget"),
    ],
)
def test_what_must_not_be_recommended_is_left_out_with_a_reason(values, reason):
    found = advice.advise(frame(gaussian("a", 4), gaussian("odd", 4, scale=0.1, **values)), budget=8)
    assert found.best["estimator"] == "a"
    assert found.left_out == {"odd": reason}
    with pytest.raises(advice.NothingToRecommend, match=f"odd: {reason}"):
        advice.advise(frame(gaussian("odd", 4, **values)), budget=8)


def test_a_bias_within_what_is_allowed_for_sure_is_no_hindrance():
    """The interval ends at 60 % of the norm."""
    rows = frame(gaussian("a", 4), gaussian("biased", 4, scale=0.1, **BIASED))
    assert advice.advise(rows, bias=0.59).best["estimator"] == "a"
    assert advice.advise(rows, bias=0.6).best["estimator"] == "biased"


def test_an_estimator_without_variance_is_beyond_comparison():
    nothing = {"variance": 0.0, "variance_low": 0.0, "variance_high": 1e-30, "batch_variances": [0.0] * 64}
    silent = [gaussian(name, 4, 2, **nothing, evaluations=n) for name, n in (("leg", 8), ("enumeration", 4))]
    found = advice.advise(frame(*silent, gaussian("a", 4)))
    assert list(found.noiseless["estimator"]) == ["enumeration", "leg"]
    assert found.best["estimator"] == "a"
    table = advice.advice_table(frame(*silent, gaussian("a", 4)))
    assert table["no variance is left of"].iloc[0] == "enumeration (S = 2) and leg (S = 2)"
    assert advice.advise(frame(*silent)).best is None
    assert "no variance is left of enumeration" in advice.in_words(advice.advise(frame(*silent)), "evaluations", np.inf)


def test_a_wide_interval_that_reaches_zero_is_no_zero():
    """3.6 [0, 30] against 4 [3.9, 4.1]: by their batches, which differ by a factor of two, nobody can tell."""
    batches = list(np.r_[np.full(63, 0.1), 220.0])
    wide = gaussian("wide", 4, scale=0.9, variance_low=0.0, variance_high=30.0, batch_variances=batches)
    found = advice.advise(frame(wide, gaussian("score", 4, seed=1)))
    assert len(found.noiseless) == 0
    assert list(found.others["verdict"]) == ["not distinguishable"]


def test_of_numbers_of_samples_that_tie_the_smallest_is_named_and_the_others_too():
    """Variance 1/S at S evaluations: S cannot matter; errors of the log 0.4 % each, seeds fixed."""
    rows = frame(*(gaussian("a", 4, s, 1 / s, seed=s) for s in (1, 2, 4)), gaussian("b", 4, 1, 2.0, seed=9))
    found = advice.advise(rows)
    assert found.best["num_samples"] == 1
    tied = found.others[found.others["verdict"] == "not distinguishable"]
    assert set(zip(tied["estimator"], tied["num_samples"], strict=True)) == {("a", 2), ("a", 4)}


def test_a_budget_buys_whole_estimates():
    """a: 2.5 at S = 4, one estimate for 7 evaluations; b: 11 at S = 1, seven: 11 / 7 = 1.57."""
    rows = frame(gaussian("a", 4, 4, 0.625), gaussian("b", 4, 1, 2.75, seed=1))
    assert advice.advise(rows).best["estimator"] == "a"
    found = advice.advise(rows, budget=7)
    assert found.best["estimator"] == "b"
    assert found.best["work"] == pytest.approx(11 / 7)


def test_the_reason_is_that_of_the_rows_that_were_measured():
    """Leave-one-out is skipped at S = 1, and biased at S = 2."""
    skipped = gaussian("loo", 4, 1, status="skipped", reason="needs two", verdict="", variance=np.nan)
    rows = frame(gaussian("a", 4), skipped, gaussian("loo", 4, 2, **BIASED))
    assert advice.advise(rows).left_out == {"loo": "biased"}
    assert advice.advise(rows.iloc[:2]).left_out == {"loo": "skipped: needs two"}


def test_what_was_not_timed_is_left_out_by_seconds_alone():
    rows = frame(gaussian("a", 4, relative_seconds=np.nan), gaussian("b", 4, scale=2.0))
    assert advice.advise(rows).best["estimator"] == "a"
    assert advice.advise(rows, by="seconds").left_out == {"a": "was not timed"}


@pytest.fixture
def folder(tmp_path):
    store.begin(tmp_path, [], ["run.py"])
    rows = [gaussian(name, d, 2, scale=scale, seed=i)
            for i, (name, scale) in enumerate((("score", 9.0), ("reparam", 1.0))) for d in (2, 8)]  # fmt: skip
    rows += [gaussian("naive", 2, 2, **BIASED)]
    for made in rows:
        store.save(tmp_path, made["key"], [made])
    return tmp_path


def run(*arguments):
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True)


def test_the_command_says_what_a_budget_buys(folder):
    """D = 8 and S = 2: variance 8 at 2 evaluations, so 0.8 with 20."""
    made = run(folder, "problem=quadratic", "latent_dim=8", "budget=20")
    assert (made.returncode, made.stderr) == (0, "")
    assert "## quadratic at init, D = 8\nreparam (S = 2): variance 8 [7.84, 8.16] of one estimate" in made.stdout
    assert "with 20 evaluations: the mean of 10 such estimates, variance 0.8 [0.784, 0.816]" in made.stdout
    assert "its bias: 0 % [0, 10], no bias found" in made.stdout
    assert "| score (S = 2) | 9" in made.stdout
    assert "D = 2" not in made.stdout
    everything = run(folder)
    assert "D = 2" in everything.stdout
    assert "left out, biased: naive" in everything.stdout


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("problem=vae", "problem=vae: choose from quadratic"),
        ("latent_dim=3", "latent_dim=3: choose from 2, 8"),
        ("latent_dim=x", "recommend.py: Value 'x'"),
        ("by=luck", "by=luck: it must be evaluations or seconds"),
        ("budget=0", "budget=0.0: it must be a number > 0"),
        ("colour=red", "the keys are problem, point, latent_dim, seed, budget, by, bias, group"),
    ],
)
def test_bad_input_is_one_line(folder, argument, said, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["recommend.py", str(folder), argument])
    assert recommend.main() == 2
    out, error = capsys.readouterr()
    assert said in error
    assert (out, error.count("\n")) == ("", 1)


def test_no_recommendation_is_no_success(folder, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["recommend.py", str(folder), "budget=1"])
    assert recommend.main() == 2
    assert "none can be recommended: " in capsys.readouterr().out
    monkeypatch.setattr(sys, "argv", ["recommend.py", str(folder / "nothing")])
    assert recommend.main() == 2
    assert "holds no results" in capsys.readouterr().err


def test_rows_of_a_group_can_be_asked_for(folder):
    made = run(folder, "group=loc")
    assert made.returncode == 2
    assert "group=loc: choose from all" in made.stderr
