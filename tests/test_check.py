"""The regression gate: what is planted is found and named, the rest is green, at the stated false-alarm rate."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import benchmarks.check
import benchmarks.run
from benchmarks import store
from benchmarks.gate import changes, regressions, revisions, sides, timing, trials
from benchmarks.gate.regressions import holm

ROOT = Path(__file__).parents[1]
BATCHES = 64
GROUPS = ("loc", "log_scale", "all")
KURTOSIS = {"light": 2.0, "heavy": 60.0}
REPLICATES = 20_000
ESTIMATORS = tuple(f"e{i}" for i in range(12))
TIME_SCATTER = 0.28  # of the log of one cell's relative_seconds between two runs, measured on two busy cores


def draws(rng, tails):
    """Variances in 64 batches of squared deviations with mean 1: those of a Gaussian's, or of a log-normal's."""
    if tails == "light":
        count = REPLICATES // BATCHES
        return rng.gamma(count / (KURTOSIS[tails] - 1), size=BATCHES) / (count / (KURTOSIS[tails] - 1))
    spread = 1.0
    values = rng.lognormal(-(spread**2) / 2, spread, size=(BATCHES, REPLICATES // BATCHES))
    return values.mean(1)


def row(estimator, rng, tails="light", **values):
    """A row of an unbiased estimator with total variance 4, as a run of REPLICATES gives it."""
    batches = 4 * draws(rng, tails)
    variance = float(batches.mean())
    half = 2 * batches.std(ddof=1) / np.sqrt(BATCHES)
    seconds = float(20 * np.exp(TIME_SCATTER / np.sqrt(2) * rng.standard_t(6) / np.sqrt(1.5)))
    base = {
        "estimator": estimator,
        "problem": "quadratic",
        "point": "init",
        "latent_dim": 2,
        "num_samples": 2,
        "seed": 0,
        "device": "cpu",
        "dtype": "float32",
        "group": "all",
        "replicates": REPLICATES,
        "evaluations": 2.0,
        "gradient_evaluations": 2.0,
        "tuning_evaluations": 0.0,
        "gradient_norm": 1.0,
        "gradient_source": "exact",
        "variance": variance,
        "variance_low": variance - half,
        "variance_high": variance + half,
        "variance_source": "sampled",
        "bias": 0.01,
        "bias_low": 0.0,
        "bias_high": 0.03,
        "bias_p": rng.uniform(),
        "bias_detectable": 0.05,
        "relative_seconds": seconds,
        "relative_seconds_low": 0.99 * seconds,
        "relative_seconds_high": 1.01 * seconds,
        "status": "ok",
        "reason": "",
        "batch_variances": list(batches),
    }
    return base | values


def grid(rng, tails="light", estimators=ESTIMATORS, **values):
    """Rows of twelve estimators in four cells of three groups."""
    cells = [{"latent_dim": d, "num_samples": s} for d in (2, 4) for s in (2, 4)]
    rows = []
    for name in estimators:
        for cell in cells:
            of_cell = [row(name, rng, tails, **cell, group=group) | values for group in GROUPS]
            same = {key: of_cell[0][key] for key in of_cell[0] if key.startswith("relative_seconds")}
            rows += [one | same for one in of_cell]
    return pd.DataFrame(rows)


def side(frame, **about):
    return sides.Side("side", frame.copy(), about)


def compared(baseline, candidate, **options):
    return changes.compare(side(baseline), side(candidate), **options)


def worse(comparison):
    return comparison.table[comparison.table["verdict"] == "worse"]


@pytest.mark.parametrize("tails", ["light", "heavy"])
def test_the_chance_of_any_false_alarm_is_what_is_stated(tails):
    """100 comparisons of independent runs each, both ways of 50 pairs, at 5 %: by a binomial test at 1e-4."""
    rng = np.random.default_rng(0)
    red = 0
    for _ in range(50):
        pair = grid(rng, tails), grid(rng, tails, seed=1)
        red += sum(compared(*ways, false_alarms=0.05).status for ways in (pair, pair[::-1]))
    assert stats.binomtest(red, 100, 0.05, alternative="greater").pvalue > 1e-4


def test_a_run_does_not_differ_from_itself():
    frame = grid(np.random.default_rng(0))
    comparison = compared(frame, frame)
    assert comparison.status == 0
    assert not comparison.table["verdict"].any()
    text = changes.page(comparison, "A", "B")
    assert "No change was found." in text
    assert text.endswith("**Verdict: nothing is worse**")


def test_rounding_is_no_change():
    """Every number off by 3e-6 the same way: on another machine, or with another order of a sum."""
    rng = np.random.default_rng(0)
    exact = {"variance": 3.0, "variance_low": 3.0, "variance_high": 3.0, "variance_source": "exact"}
    exact |= {"bias": 0.5, "bias_low": 0.5, "bias_high": 0.5, "bias_p": 0.0}
    frame = pd.concat([grid(rng), grid(rng, estimators=("exact",), **exact)], ignore_index=True)
    noise = ["variance", "variance_low", "variance_high", "bias", "bias_low", "bias_high", "gradient_norm"]
    other = frame.assign(**{name: frame[name] * (1 + 3e-6) for name in noise})
    other["batch_variances"] = [np.float32(batches) for batches in other["batch_variances"]]
    assert not compared(frame, other).table["verdict"].any()
    assert not compared(other, frame).table["verdict"].any()


def planted(frame, name, where=None, **values):
    """A frame with one estimator's columns changed: by a number, or what a function makes of them."""
    frame = frame.copy()
    chosen = frame["estimator"] == name
    chosen &= True if where is None else where(frame)
    for column, value in values.items():
        new = [value(old) for old in frame.loc[chosen, column]] if callable(value) else value
        frame.loc[chosen, column] = pd.Series(new, index=frame.index[chosen], dtype=frame[column].dtype)
    return frame


def noisier(frame, name, factor):
    scaled = {c: lambda v: factor * v for c in ("variance", "variance_low", "variance_high")}
    return planted(frame, name, **scaled, batch_variances=lambda b: [factor * v for v in b])


@pytest.mark.parametrize("common", [True, False])
def test_ten_percent_more_variance_is_found_and_named(common):
    """Independent runs know their ratio to 1 %, in 10 of 10 comparisons; with common draws no error is left."""
    rng = np.random.default_rng(0)
    for _ in range(10):
        before = grid(rng)
        now = noisier(before if common else grid(rng, seed=1), "e3", 1.1)
        found = worse(compared(before, now))
        assert set(found["estimator"]) == {"e3"}
        assert "variance, cells together" in set(found["what"])
    assert found["ratio"].dropna().astype(float).between(1.09 if common else 1.03, 1.11 if common else 1.2).all()
    text = changes.page(compared(before, now), "A", "B")
    assert "- **worse**: `e3` on quadratic at init, D = 2, 4, S = 2, 4: variance, cells together" in text
    assert "(e3)**" in text.splitlines()[-1]


def test_less_variance_is_better_and_green():
    before = grid(np.random.default_rng(0))
    comparison = compared(before, noisier(before, "e3", 0.8))
    assert comparison.status == 0
    assert set(comparison.table.query("verdict == 'better'")["estimator"]) == {"e3"}
    assert "| better" in changes.page(comparison, "A", "B")


def test_pooling_finds_what_no_cell_shows():
    """3 % more, where a cell's ratio is known to 1 %: in the four cells together, in most of 10 comparisons."""
    rng = np.random.default_rng(1)
    single, together = 0, 0
    for _ in range(10):
        found = worse(compared(grid(rng), noisier(grid(rng, seed=1), "e3", 1.03)))
        single += (found["what"] == "variance").any()
        together += (found["what"] == "variance, cells together").any()
    assert together >= 8
    assert single < together


def test_exact_variances_are_compared_exactly():
    rng = np.random.default_rng(0)
    values = {"variance": 3.0, "variance_low": 3.0, "variance_high": 3.0, "variance_source": "exact"}
    before = pd.DataFrame([row("a", rng, **values), row("b", rng, **values)])
    now = planted(before, "a", **dict.fromkeys(("variance", "variance_low", "variance_high"), 3.003))
    found = worse(compared(before, now))
    assert list(found["estimator"]) == ["a"]
    assert found["ratio"].iloc[0] == pytest.approx(1.001)
    assert compared(now, before).status == 0


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        ({"variance": 1e-13, "variance_low": 0.0, "variance_high": 4e-13}, {}, "worse"),
        ({}, {"variance": 1e-13, "variance_low": 0.0, "variance_high": 4e-13}, "better"),
        ({}, dict.fromkeys(("variance", "variance_low", "variance_high"), np.inf), "worse"),
        ({}, {"variance": 40.0, "reason": "the tail is too heavy to trust the interval"}, ""),
        ({"evaluations": 2.0}, {"evaluations": 3.0}, "worse"),
        ({"gradient_evaluations": 2.0}, {"gradient_evaluations": 1.0}, "better"),
        ({"tuning_evaluations": 2.0}, {"tuning_evaluations": 2.5}, "worse"),
        ({}, {"status": "failed", "reason": "RuntimeError: boom"}, "worse"),
        ({}, {"status": "skipped", "reason": "needs a Gaussian"}, "worse"),
        ({"status": "failed"}, {}, "better"),
        ({"status": "skipped"}, {"status": "failed"}, "worse"),
        ({"status": "failed"}, {"status": "failed"}, ""),
        ({}, {"status": "budget", "reason": "interval's relative half-width is 0.06, not 0.05"}, ""),
    ],
)
def test_what_needs_no_test(before, now, expected):
    rng = np.random.default_rng(0)
    base = row("a", rng)
    comparison = compared(pd.DataFrame([base | before, row("b", rng)]), pd.DataFrame([base | now, row("b", rng)]))
    found = comparison.table.query("verdict != '' and estimator == 'a'")
    assert set(found["verdict"]) == ({expected} if expected else set())
    assert comparison.status == (expected == "worse")
    if expected == "worse" and "reason" in now:
        assert now["reason"] in changes.page(comparison, "A", "B")


def test_a_variance_that_no_tail_is_sure_of_is_no_change_on_other_random_numbers():
    """Infinite in one run of four, as of `lax` on the quadratic: 4 of 210 comparisons of seeds were red for it."""
    rng = np.random.default_rng(0)
    before, infinite = row("a", rng), dict.fromkeys(("variance", "variance_low", "variance_high"), np.inf)
    now = row("a", rng, seed=1, **infinite)
    comparison = compared(pd.DataFrame([before, row("b", rng)]), pd.DataFrame([now, row("b", rng, seed=1)]))
    assert comparison.status == 0
    assert "Not tested: 1 (1 × the variance does not exist)." in changes.page(comparison, "A", "B")


def test_what_could_not_be_tested_is_counted():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame([row("a", rng, reason="the tail is too heavy"), row("b", rng)])
    assert "Not tested: 1 (1 × the tail forbids an interval)." in changes.page(compared(frame, frame), "A", "B")


def test_what_was_tuned_on_other_numbers_is_not_compared():
    """With the seed's own tuning the same 10 % is found."""
    rng = np.random.default_rng(0)
    before = grid(rng, tuning_evaluations=100.0)
    assert set(worse(compared(before, noisier(before, "e1", 1.1)))["estimator"]) == {"e1"}
    comparison = compared(before, noisier(before.assign(seed=1), "e1", 1.1))
    assert comparison.status == 0
    assert "tuned on other random numbers" in changes.page(comparison, "A", "B")


def test_a_bias_of_an_unbiased_estimator_is_found():
    """By its own test, where the norm's growth, 0.05 with an error of 0.018, would not show it."""
    before = planted(grid(np.random.default_rng(0)), "e5", bias_p=0.5)
    biased = {"bias": 0.06, "bias_low": 0.03, "bias_high": 0.09, "bias_p": 1e-9}
    found = worse(compared(before, planted(before, "e5", where=lambda f: f["latent_dim"] == 2, **biased)))
    assert set(found["estimator"]) == {"e5"}
    assert set(found["what"]) == {"bias"}


def test_a_biased_estimator_must_not_become_more_so():
    """Its own p-values say nothing: it is the increase of the norm that does."""
    biased = {"bias": 0.1, "bias_low": 0.09, "bias_high": 0.11, "bias_p": 1e-12}
    before = planted(grid(np.random.default_rng(0)), "e5", **biased)
    assert compared(before, planted(before, "e5", bias_p=1e-30, bias=0.102)).status == 0
    grown = planted(before, "e5", bias=0.2, bias_low=0.19, bias_high=0.21)
    assert set(worse(compared(before, grown))["estimator"]) == {"e5"}
    assert compared(grown, before).status == 0


def test_a_bias_is_found_where_the_baseline_looked_suspicious_by_chance():
    """One row in ten has a p-value below 0.1: its norm alone grows by 4 errors only, too few among many tests."""
    before = planted(grid(np.random.default_rng(0)), "e5", bias_p=0.07)
    biased = {"bias": 0.12, "bias_low": 0.07, "bias_high": 0.17, "bias_p": 1e-9}
    now = planted(before, "e5", where=lambda f: f["latent_dim"] == 2, **biased)
    assert set(worse(compared(before, now))["estimator"]) == {"e5"}
    little = planted(before, "e5", where=lambda f: f["latent_dim"] == 2, **biased | {"bias": 0.05, "bias_low": 0.0})
    assert compared(before, little).status == 0


def test_an_exact_bias_is_compared_exactly():
    rng = np.random.default_rng(0)
    exact = {"variance": 3.0, "variance_low": 3.0, "variance_high": 3.0, "variance_source": "exact"}
    exact |= {"bias": 0.5, "bias_low": 0.5, "bias_high": 0.5, "bias_p": 0.0}
    before = pd.DataFrame([row("a", rng, **exact)])
    assert compared(before, before).status == 0
    assert set(worse(compared(before, before.assign(bias=0.501, bias_low=0.501, bias_high=0.501)))["what"]) == {"bias"}


def timed(rng, scatter, slow=None, factor=1.0, cells=4):
    """Turns of twelve estimators: the scatter of each turn, and the median's of a cell, which is a tenth of it."""
    rows = []
    for name in ESTIMATORS:
        for k in range(cells):
            base = dict.fromkeys(store.CELL, 0) | {"estimator": name, "problem": "quadratic", "point": "init"}
            noise = rng.normal(size=(2, 30)) * scatter + rng.normal(size=(2, 1)) * scatter / 10
            seconds = 1e-3 * np.exp(noise) * np.array([[factor if name == slow else 1.0], [1.0]])
            rows.append(base | {"latent_dim": k, "seconds": list(seconds[0]), "seconds_against": list(seconds[1])})
    return pd.DataFrame(rows)


def test_a_slowdown_of_thirty_percent_is_found_in_turns():
    """Where cells scatter by 2.5 %, as on two busy cores, in 5 of 5; a common one too; no change in none of 20."""
    rng = np.random.default_rng(0)
    frame = grid(rng)
    for _ in range(5):
        found = worse(compared(frame, frame, turns=timed(rng, 0.07, "e7", 1.3)))
        assert list(found["estimator"]) == ["e7"]
        assert list(found["what"]) == ["time"]
    everything = timed(rng, 0.07).assign(seconds=lambda t: [[1.3 * s for s in own] for own in t["seconds"]])
    assert list(worse(compared(frame, frame, turns=everything))["what"]) == ["time, of all"]
    assert not sum(len(worse(compared(frame, frame, turns=timed(rng, 0.07)))) for _ in range(20))


@pytest.mark.parametrize(("factor", "expected"), [(1.0, set()), (1.3, {"e7"})])
def test_what_seemed_slower_is_judged_by_its_second_look(factor, expected):
    """A burst of the machine that makes an estimator 60 % slower once, in all its cells, is no slowdown."""
    rng = np.random.default_rng(0)
    first = timed(rng, 0.07, "e7", 1.6).assign(run=0)
    assert timing.suspects(timing.shifts_of_turns(first)) == {"e7"}
    again = [timed(rng, 0.07, "e7", factor).query("estimator == 'e7'").assign(run=run) for run in (1, 2, 3)]
    found = worse(compared(grid(rng), grid(rng, seed=1), turns=pd.concat([first, *again], ignore_index=True)))
    assert set(found.loc[found["what"] == "time", "estimator"]) == expected


def test_a_slowdown_is_found_in_folders_of_a_quiet_machine_and_a_common_one_is_no_change():
    rng = np.random.default_rng(0)
    quiet = np.exp(0.04 * rng.normal(size=len(grid(rng))))
    before = grid(rng).assign(relative_seconds=20.0)
    now = before.assign(relative_seconds=2 * 20.0 * quiet)
    assert compared(before, now).status == 0
    slow = planted(now, "e2", relative_seconds=lambda s: 1.3 * s)
    found = worse(compared(before, slow))
    assert list(found["estimator"]) == ["e2"]
    text = changes.page(compared(before, slow), "A", "B")
    assert "times the baseline's (not tested)" in text


def test_few_cells_take_the_scatter_that_was_measured():
    turns = timed(np.random.default_rng(0), 0.0, "e0", 1.3, cells=1)[:4]
    table, line = timing.slowdowns(timing.shifts_of_turns(turns), common=False)
    assert "cells scatter by 30 %" in line
    assert (table["worse"] > 0.01).all()


def test_seeds_meet_where_they_are_the_same_or_one_each():
    rng = np.random.default_rng(0)
    one, other = pd.DataFrame([row("a", rng)]), pd.DataFrame([row("a", rng, seed=5)])
    joined = sides.join(side(one), side(other))
    assert len(joined.pairs) == 1
    assert joined.notes == ["Seeds differ (0, 5): other random numbers."]
    both = pd.concat([one, other])
    assert len(sides.join(side(both), side(both)).pairs) == 2
    with pytest.raises(sides.NotComparable, match="baseline has the seeds 0, 5, candidate 0"):
        sides.join(side(both), side(one))


def test_what_is_missing_is_not_comparable_unless_partial_and_worse_wins():
    rng = np.random.default_rng(0)
    before = grid(rng)
    fewer = before[before["estimator"] != "e0"]
    assert compared(before, fewer).status == 2
    assert compared(before, fewer, partial=True).status == 0
    assert compared(fewer, before).status == 0
    assert compared(before, noisier(fewer, "e1", 1.2)).status == 1
    text = changes.page(compared(before, fewer), "A", "B")
    assert "lacks 4 cells of the baseline (e0); `partial=true` leaves them out" in text
    assert "**Verdict: not comparable" in text
    with pytest.raises(sides.NotComparable, match="no cell in common"):
        compared(before[:3], before[before["estimator"] == "e9"])


def test_what_was_not_measured_on_both_sides_is_not_green():
    """Where everything failed or was skipped on both sides there is nothing to compare."""
    frame = grid(np.random.default_rng(0)).assign(status="failed")
    comparison = compared(frame, frame)
    assert comparison.status == 2
    assert "not comparable: No cell was measured on both sides" in changes.page(comparison, "A", "B")


def test_a_lost_parameter_group_is_not_green():
    frame = grid(np.random.default_rng(0))
    comparison = compared(frame, frame[frame["group"] != "loc"])
    assert comparison.status == 2
    assert "quadratic: the candidate has no parameters called loc" in changes.page(comparison, "A", "B")


def test_a_crash_is_no_regression(check, monkeypatch):
    """Exit status 1 says that something is worse."""
    monkeypatch.setattr(benchmarks.check, "execute", lambda arguments: 1 / 0)
    status, _, err = check()
    assert status == 2
    assert "ZeroDivisionError" in err


def test_another_problem_under_the_same_name_is_not_comparable():
    frame = grid(np.random.default_rng(0))
    comparison = compared(frame, frame.assign(gradient_norm=1.01))
    assert comparison.status == 2
    assert "quadratic: its exact gradient's norm is 1.01, in the baseline 1" in changes.page(comparison, "A", "B")


def test_other_machines_and_versions_are_said():
    frame = grid(np.random.default_rng(0))
    old = side(frame, platform="Linux", cpus=2, packages={"torch": "2.6"})
    new = side(frame, platform="Linux", cpus=4, packages={"torch": "2.7"})
    text = changes.page(changes.compare(old, new), "A", "B")
    assert "The machines differ (cpus: 2, 4)" in text
    assert "Versions differ: torch 2.6 → 2.7." in text


def test_holm():
    assert holm(np.array([0.04, 0.01, 0.03])) == pytest.approx([0.06, 0.03, 0.06])
    assert len(holm(np.array([]))) == 0


SWEEP = ["-m", "estimator=score,reparam", "problem=quadratic", "latent_dim=2", "num_samples=[1,2]"]
SWEEP += ["precision=0.2", "min_replicates=200"]


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory):
    """A results folder, and its copy."""
    folder = tmp_path_factory.mktemp("sweeps")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["run.py", *SWEEP, f"out={folder / 'a'}"])
        assert benchmarks.run.main() == 0
    shutil.copytree(folder / "a", folder / "b")
    return folder


@pytest.fixture
def check(monkeypatch, capsys):
    """Calls check.py's main: arguments -> (exit status, standard output, standard error)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["check.py", *map(str, arguments)])
        status = benchmarks.check.main()
        return status, *capsys.readouterr()

    return run


def test_real_sweeps_freeze_and_compare(sweeps, check, tmp_path):
    assert check(f"baseline={sweeps / 'a'}", f"candidate={sweeps / 'b'}")[0] == 0
    status, out, _ = check(f"candidate={sweeps / 'a'}", f"freeze={tmp_path / 'frozen'}")
    assert (status, out) == (0, f"12 rows frozen in {tmp_path / 'frozen'}\n")
    assert sorted(path.name for path in (tmp_path / "frozen").iterdir()) == [
        "README.md",
        "gradiometer.json",
        "results.parquet",
    ]
    assert "benchmarks/run.py -m estimator=score,reparam" in (tmp_path / "frozen" / "README.md").read_text()
    for place in (tmp_path / "frozen", tmp_path / "frozen" / "results.parquet"):
        status, out, err = check(f"baseline={place}", f"candidate={sweeps / 'b'}")
        assert (status, err) == (0, "")
        assert "No change was found." in out
        assert "4 cells on both sides" in out


def test_a_failing_candidate_is_found(sweeps, check, tmp_path):
    shutil.copytree(sweeps / "b", tmp_path / "c")
    for path in (tmp_path / "c" / "cells").glob("*.json"):
        rows = json.loads(path.read_text())
        if rows[0]["estimator"] == "score":
            bare = {name: rows[0][name] for name in store.CELL}
            failed = bare | {"group": "all", "status": "failed", "reason": "RuntimeError: boom", "key": rows[0]["key"]}
            path.write_text(json.dumps([failed]))
    assert (
        "2 cells failed; a baseline must be right"
        in check(f"candidate={tmp_path / 'c'}", f"freeze={tmp_path / 'd'}")[2]
    )
    status, out, _ = check(f"baseline={sweeps / 'a'}", f"candidate={tmp_path / 'c'}")
    assert status == 1
    assert "- **worse**: `score` on quadratic at init, D = 2, S = 1: status ok → failed: RuntimeError: boom" in out


def test_trials_count_what_is_found(sweeps, monkeypatch, capsys):
    """Of a run and its copy nothing is named unless planted; here, all is exact."""
    monkeypatch.setattr(sys, "argv", ["trials.py", str(sweeps / "a"), str(sweeps / "b"), "--times", "3"])
    assert trials.main() == 0
    out = capsys.readouterr().out
    assert re.search(r"\| nothing +\| +2 \| +\| +0 \|", out)
    for plant in ("10 % more variance", "one more evaluation"):
        assert re.search(rf"\| {plant} +\| +3 \| +3 +\| +0 \|", out), out
    monkeypatch.setattr(sys, "argv", ["trials.py", str(sweeps / "a")])
    assert trials.main() == 2
    assert capsys.readouterr().err == "trials.py: name two folders or more\n"


def test_a_file_of_pytest_benchmark_is_read(check, tmp_path):
    rng = np.random.default_rng(0)
    rows = grid(rng).to_dict("records")
    saved = {"machine_info": {"cpu": {"count": 2}}, "benchmarks": [{"extra_info": {"rows": rows}}, {"extra_info": {}}]}
    (tmp_path / "a.json").write_text(json.dumps(saved))
    for one in rows:
        one["evaluations"] += one["estimator"] == "e4"
    (tmp_path / "b.json").write_text(json.dumps(saved))
    assert check(f"baseline={tmp_path / 'a.json'}", f"candidate={tmp_path / 'a.json'}")[0] == 0
    status, out, _ = check(f"baseline={tmp_path / 'a.json'}", f"candidate={tmp_path / 'b.json'}")
    assert status == 1
    assert "`e4` on quadratic at init, D = 2, S = 2: evaluations 2 → 3" in out


def test_bad_input_gets_one_line_and_exit_status_2(sweeps, check, tmp_path):
    (tmp_path / "no.json").write_text("{}")
    (tmp_path / "empty").mkdir()
    a = f"baseline={sweeps / 'a'}"
    for arguments, said in {
        (): "baseline=...: name a results folder",
        (a,): "candidate=...: name a results folder",
        (a, "candidate=nowhere"): "nowhere: no such folder, file or revision with results",
        ("baseline=nowhere", a.replace("baseline", "candidate")): "nowhere: no such folder, file or revision",
        (a, f"candidate={tmp_path / 'no.json'}"): "these are no results",
        (a, f"candidate={tmp_path / 'empty'}"): "no such folder, file or revision with results",
        (a, f"candidate={ROOT / 'README.md'}"): "these are no results",
        (a, a.replace("baseline", "candidate"), "bogus=1"): "unknown key 'bogus': choose from baseline",
        (a, "false_alarms=2"): "false_alarms=2: it must be between 0 and 1",
        (a, "false_alarms=x"): "could not convert string to float",
        (a, "rounds=0"): "rounds=0: it must be an integer >= 1",
        (a, "partial=maybe"): "partial=maybe: it must be true or false",
        ("baseline", a.replace("baseline", "candidate")): "baseline=...: name a results folder",
        (a, a.replace("baseline", "candidate"), "partial"): "unknown key 'partial'",
        ("freeze=x",): "candidate=...: name a results folder",
        ("freeze=x", a.replace("baseline", "candidate"), "bogus=1"): "unknown key 'bogus'",
        (a.replace("baseline", "candidate"), a.replace("baseline", "freeze")): "it holds a sweep; name another folder",
        ("baseline=HEAD", f"keep={tmp_path}"): "it is there already; name a new folder",
    }.items():
        status, out, err = check(*arguments)
        assert (status, out) == (2, ""), arguments
        assert said in err
        assert err.count("\n") == 1


def test_help_explains_itself(check):
    status, out, _ = check("--help")
    assert status == 0
    for said in (*benchmarks.check.KEYS, "Exit status", "baseline=main"):
        assert said in out


@pytest.fixture
def clone(tmp_path):
    """A repository with one commit: this tree."""
    made = tmp_path / "clone"
    for name in ("benchmarks", "estimators", "conf"):
        shutil.copytree(ROOT / name, made / name, ignore=shutil.ignore_patterns("__pycache__"))
    (made / ".gitignore").write_text("__pycache__/\n")
    for command in ("init -q", "add .", "-c user.name=a -c user.email=a@b.c commit -qm one"):
        subprocess.run(["git", *command.split()], cwd=made, check=True)
    return made


def gate(clone, *arguments):
    command = [sys.executable, str(clone / "benchmarks" / "check.py"), "baseline=HEAD", *arguments]
    environment = {"PYTHONPATH": str(clone)}
    return subprocess.run(
        command, cwd=clone, capture_output=True, text=True, env=revisions.lockstep.os.environ | environment
    )


def test_a_revision_is_compared_with_the_working_tree(clone):
    """One more call of f in one estimator is found and named; the other is left alone, and nothing is left behind."""
    path = clone / "estimators" / "pathwise.py"
    old = "    z = reparametrised(q, sampler(q, num_samples))\n"
    assert path.read_text().count(old) == 1, "the line that is changed here"
    path.write_text(path.read_text().replace(old, f"{old}    problem.f(z, q, params)\n"))
    made = gate(clone, *SWEEP, "rounds=2")
    assert made.returncode == 1, made.stderr
    assert "`reparam` on quadratic at init, D = 2, S = 1: evaluations 1 → 2 (2 times)" in made.stdout
    found = [line for line in made.stdout.splitlines() if line.startswith("- **worse**")]
    assert all("`score`" not in line for line in found)
    listed = subprocess.run(["git", "worktree", "list"], cwd=clone, capture_output=True, text=True, check=True)
    assert len(listed.stdout.splitlines()) == 1


def test_a_revision_that_does_not_run_is_not_comparable(clone):
    path = clone / "benchmarks" / "run.py"
    path.write_text("raise SystemExit('this revision is broken')\n")
    subprocess.run(
        ["git", "-c", "user.name=a", "-c", "user.email=a@b.c", "commit", "-qam", "two"], cwd=clone, check=True
    )
    made = gate(clone, *SWEEP)
    assert made.returncode == 2
    assert made.stderr.startswith(
        "check.py: baseline: it cannot be timed: this revision is broken; perhaps it is older"
    )
    assert made.stderr.count("\n") == 1


def test_a_base_without_the_gate_is_told_before_anything_runs(clone):
    """As of the pull request that brings it."""
    for command in ("rm -q conf/experiment/gate.yaml", "-c user.name=a -c user.email=a@b.c commit -qm two"):
        subprocess.run(["git", *command.split()], cwd=clone, check=True)
    made = gate(clone)
    assert (made.returncode, made.stdout) == (2, "")
    assert made.stderr.startswith("check.py: baseline: it has no conf/experiment/gate.yaml: it is older than the gate")
    assert made.stderr.count("\n") == 1


def test_names_of_revisions(monkeypatch, clone):
    monkeypatch.setattr(revisions, "ROOT", clone)
    assert len(revisions.resolved("HEAD")) == 40
    assert revisions.resolved("nowhere") is None
    assert revisions.resolved("--all") is None
    with revisions.worktree(revisions.resolved("HEAD")) as tree:
        assert (tree / "benchmarks" / "run.py").exists()
    assert not tree.exists()
    assert regressions.spelled(pd.Series([4, 2, 4])) == "2, 4"
