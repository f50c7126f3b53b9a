"""The command line as its users meet it; where it is killed, as a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch

import benchmarks.run
from benchmarks import store
from benchmarks.report import load

ROOT = Path(__file__).parents[1]
TIMES = ("seconds", "relative_seconds", "latency", "work_variance_time")
SMALL = ["problem=quadratic", "latent_dim=2", "num_samples=1", "precision=0.3", "min_replicates=100"]

MINE = """
import torch
from torch.distributions import Bernoulli, Independent
from estimators.core import Problem

def nan(problem, params, num_samples=1):
    return params * float("nan")

def shape(problem, params, num_samples=1):
    return params[:, :1]

def boom(problem, params, num_samples=1):
    raise RuntimeError("boom")

def fine(problem, params, num_samples=1, scale=1.0):
    return scale * torch.randn_like(params)

class Remembers(torch.nn.Module):
    def __init__(self, decay=0.9):
        super().__init__()
        self.decay = decay

    def forward(self, problem, params, num_samples=1):
        return torch.randn_like(params)

class Coins(Problem):
    groups = {"logits": slice(0, 2)}
    points = ("init",)

    def __init__(self, latent_dim):
        super().__init__()

    def at(self, point):
        return torch.zeros(2)

    def q(self, params):
        return Independent(Bernoulli(logits=params), 1)

    def f(self, z, q, params):
        return (z.sum(-1) - 0.5).square()

    def value(self, params):
        p = params.sigmoid()
        return (p.sum(-1) - 0.5).square() + (p * (1 - p)).sum(-1)
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "mine.py").write_text(MINE)
    return tmp_path


@pytest.fixture
def run(folder, monkeypatch, capfd):
    """Calls run.py's main in a folder: arguments -> (exit status, standard output, standard error)."""
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    torch.set_default_dtype(torch.float32)
    handler = signal.getsignal(signal.SIGTERM)

    def call(arguments):
        monkeypatch.setattr(sys, "argv", ["run.py", *arguments])
        try:
            status = benchmarks.run.main()
        except SystemExit as exit:
            status = exit.code
        return status, *capfd.readouterr()

    yield call
    signal.signal(signal.SIGTERM, handler)
    sys.modules.pop("mine", None)


def untimed(folder):
    frame = load(folder)
    return frame.drop(columns=[name for name in frame if name.startswith(TIMES)])


def test_a_sweep_leaves_everything_that_the_contract_names(run, folder):
    status, out, err = run(["-m", "experiment=smoke", "problem=linear_vae", "out=o"])
    assert status == 0, err
    assert err == ""
    frame = pd.read_parquet(folder / "o" / "results.parquet")
    assert list(frame.columns) == store.COLUMNS
    assert set(frame["estimator"]) == {"score", "score_loo", "reparam", "stl", "naive"}
    assert len(frame.drop_duplicates(store.CELL)) == 5 * 4
    assert frame["key"].nunique() == 20
    assert {"summary.csv", "report.html", "figures", "configs", "gradiometer.json"} <= set(os.listdir(folder / "o"))
    drawn = {kind: {path.stem for path in (folder / "o" / "figures").glob(f"*.{kind}")} for kind in ("svg", "png")}
    assert drawn["svg"] == drawn["png"]
    kinds = {"winners", "front", "variance", "equal", "cost", "bias", "tails"}
    assert {name.partition("-")[0] for name in drawn["svg"]} == kinds
    assert len(drawn["svg"]) == len(kinds) + 3, "variance, equal and cost against both sizes"
    assert str(folder / "o" / "report.html") in out
    assert "| score_loo" in out
    skipped = frame[frame["status"] == "skipped"]
    assert set(skipped["estimator"]) == {"score_loo"}
    assert set(skipped["num_samples"]) == {1}
    assert set(skipped["reason"]) == {"leave_one_out needs num_samples >= 2"}


def test_one_cell_without_m(run, folder):
    status, out, _ = run(["estimator=reparam", *SMALL, "dtype=float64"])
    assert status == 0
    (made,) = (folder / "results").iterdir()
    frame = load(made)
    assert list(frame["group"]) == ["loc", "log_scale", "all"]
    assert set(frame["dtype"]) == {"float64"}
    assert "1 cell, 0 measured before" in out


def test_killed_and_interrupted_sweeps_go_on_and_end_with_the_same_numbers(run, folder):
    """Killed, interrupted and ended in turn in one folder: each time it goes on, and nothing measured is lost."""
    sweep = ["-m", "estimator=score,reparam", "problem=linear_vae", "latent_dim=[2,3]", "num_samples=[1,2]"]
    sweep += ["precision=0.2", "time_budget=100"]
    assert run([*sweep, "out=whole"])[0] == 0
    done = 0
    for number in (signal.SIGKILL, signal.SIGINT, signal.SIGTERM):
        command = [sys.executable, str(ROOT / "benchmarks" / "run.py"), *sweep, "out=broken"]
        process = subprocess.Popen(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while len(list((folder / "broken").glob("cells/*.json"))) < done + 1:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(number)
        out, err = process.communicate(timeout=100)
        before, done = done, len(list((folder / "broken").glob("cells/*.json")))
        assert before < done < 8
        assert number == signal.SIGKILL or f"8 cells, {before} measured before" in out
        if number != signal.SIGKILL:
            assert process.returncode == 130
            assert "interrupted" in err
            assert (folder / "broken" / "report.html").exists()
    status, out, _ = run([*sweep, "out=broken"])
    assert status == 0
    assert f"8 cells, {done} measured before" in out
    pd.testing.assert_frame_equal(untimed(folder / "broken"), untimed(folder / "whole"))


def test_all_estimators_on_one_problem(run, folder):
    """`all` stands for every YAML; what does not fit is skipped, nothing fails."""
    tiny = ["latent_dim=2", "num_samples=2", "precision=0.5", "min_replicates=64", "max_replicates=64"]
    status, _, err = run(["-m", "estimator=all", "problem=gaussian_target", *tiny, "time_budget=2", "out=o"])
    assert status == 0, err
    frame = load(folder / "o")
    assert set(frame["estimator"]) == {path.stem for path in (ROOT / "conf" / "estimator").glob("*.yaml")}
    skipped = frame.loc[frame["status"] == "skipped"].set_index("estimator")["reason"]
    assert set(skipped.index) >= {"grep", "rsvi", "measure_valued", "score_local"}
    assert skipped["grep"] == "needs a Gamma, Beta or Dirichlet q; this one is MultivariateNormal"
    assert frame.loc[frame["estimator"] == "score_nvil", "tuning_evaluations"].min() >= 400 * 64 * 2


def test_a_problem_of_one_dimension_is_one_cell(run, folder):
    """Whatever the grid: its own size is measured, the others are skipped with the reason."""
    tiny = ["num_samples=1", "precision=0.5", "min_replicates=64", "max_replicates=64", "time_budget=2"]
    assert run(["estimator=reparam", "problem=eight_schools", "latent_dim=[2,8]", *tiny, "out=o"])[0] == 0
    frame = load(folder / "o")
    assert set(frame.loc[frame["status"] != "skipped", "latent_dim"]) == {10}
    assert set(frame.loc[frame["status"] == "skipped", "latent_dim"]) == {2, 8}
    assert set(frame["reason"].dropna()) >= {"eight_schools has latent_dim=10 only"}


@pytest.mark.parametrize("estimator", ["nan", "shape", "boom"])
def test_a_failing_estimator_is_a_row_and_exit_status_1_and_nothing_else_is_lost(run, folder, estimator):
    reason = {"nan": "not finite", "shape": "must return shape", "boom": "RuntimeError: boom"}[estimator]
    assert run(["estimator=reparam", *SMALL, "out=o"])[0] == 0
    status, out, err = run([f"estimator._target_=mine.{estimator}", *SMALL, "latent_dim=[2,3]", "out=o"])
    assert status == 1
    assert "Traceback" in err
    frame = load(folder / "o")
    failed = frame[frame["status"] == "failed"]
    assert list(failed["estimator"]) == [estimator] * 2
    assert failed["reason"].str.contains(reason).all()
    assert out.splitlines()[-2].startswith(f"failed: {estimator}")
    assert (frame["status"] == "ok").sum() == 3
    assert run(["estimator=reparam", *SMALL, "out=o"])[0] == 0


def test_ones_own_estimator_and_problem_need_no_registry(run, folder):
    arguments = ["estimator._target_=mine.fine", "+estimator.scale=2.0", "problem._target_=mine.Coins", *SMALL[1:]]
    status, _, err = run([*arguments, "problem=quadratic", "out=o"])
    assert status == 0, err
    frame = load(folder / "o")
    assert set(frame["estimator"]) == {"fine(scale=2.0)"}
    assert set(frame["problem"]) == {"Coins"}


def test_an_estimator_in_the_current_folder_is_found(run, folder):
    command = [sys.executable, str(ROOT / "benchmarks" / "run.py"), "estimator._target_=mine.fine", *SMALL, "out=o"]
    made = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert (made.returncode, made.stderr) == (0, "")
    assert set(load(folder / "o")["estimator"]) == {"fine"}


def test_an_estimator_may_be_a_class_that_remembers(run, folder):
    status, _, err = run(["estimator._target_=mine.Remembers", *SMALL, "out=o"])
    assert status == 0, err
    assert set(load(folder / "o")["estimator"]) == {"Remembers"}


def test_an_edited_estimator_is_measured_again(run, folder):
    arguments = ["estimator._target_=mine.fine", *SMALL, "out=o"]
    assert "0 measured before" in run(arguments)[1]
    assert "1 measured before" in run(arguments)[1]
    (folder / "mine.py").write_text(MINE.replace("return scale *", "return 2 * scale *"))
    assert "0 measured before" in run(arguments)[1]


def test_the_table_has_what_was_asked_for_last(run, folder):
    sizes = {}
    for low in (100, 5000, 100):
        assert run(["estimator=reparam", *SMALL, f"min_replicates={low}", "out=o"])[0] == 0
        sizes.setdefault(low, set()).add(int(load(folder / "o")["replicates"].iloc[0]))
    assert [len(found) for found in sizes.values()] == [1, 1]
    assert sizes[100] != sizes[5000]


def test_odd_places(run, folder):
    for arguments, place in (
        (["out='it\\'s here'"], "it's here"),
        (["out=deep/er/", "hydra.job.chdir=true"], "deep/er"),
    ):
        status, _, err = run(["estimator=reparam", *SMALL, *arguments])
        assert status == 0, err
        assert (folder / place / "report.html").stat().st_mode & 0o044


def test_a_folder_of_ones_own_yaml(run, folder):
    (folder / "conf" / "estimator").mkdir(parents=True)
    (folder / "conf" / "estimator" / "noise.yaml").write_text("_target_: mine.fine\n_partial_: true\nscale: 1.0\n")
    path = f"hydra.searchpath=[file://{folder}/conf]"
    assert run(["-m", path, "estimator=noise,reparam", "problem.b=null", *SMALL, "out=o"])[0] == 2
    status, _, err = run(["-m", path, "estimator=noise,reparam", *SMALL, "out=o"])
    assert status == 0, err
    assert set(load(folder / "o")["estimator"]) == {"noise", "reparam"}


def test_a_pair_that_does_not_fit_is_skipped_with_its_reason(run, folder):
    for estimator in ("reparam", "score_loo"):
        arguments = [f"estimator={estimator}", "problem._target_=mine.Coins", "problem=quadratic", *SMALL[1:], "out=o"]
        assert run(arguments)[0] == 0
    frame = load(folder / "o")
    assert set(frame["status"]) == {"skipped"}
    assert set(frame["reason"]) == {
        "a pathwise gradient needs a q with rsample; Bernoulli has none",
        "leave_one_out needs num_samples >= 2",
    }


def test_an_option_of_a_problem_is_in_its_name_and_gives_other_numbers(run, folder):
    arguments = ["-m", "estimator=reparam", "problem.kl=analytic,mc", *SMALL[1:], "out=o"]
    assert run(arguments)[0] == 0
    frame = load(folder / "o")
    assert set(frame["problem"]) == {"linear_vae", "linear_vae(kl=mc)"}
    assert frame["key"].nunique() == 2


BAD = {
    "estimator=foo": "unknown estimator 'foo': choose from ar, arm, ",
    "problem=foo": "unknown problem 'foo': choose from adev_flip, arm_toy, ",
    "experiment=foo": "unknown experiment 'foo': choose from arm_toy, blr_breast_cancer, ",
    "-m estimator=score,foo": "unknown estimator 'foo'",
    "latent_dim=0": "latent_dim=0: it must be an integer >= 1",
    "num_samples=-1": "num_samples=-1: it must be an integer >= 1",
    "-m num_samples=1,0": "num_samples=0: it must be an integer >= 1",
    "num_samples=abc": "num_samples=abc: it must be an integer >= 1",
    "precision=2": "precision=2.0: it must be a number between 0 and 1",
    "dtype=float16": "dtype=float16: it must be float32 or float64",
    "seed=x": "Value 'x' of type 'str' could not be converted to Integer",
    "max_replicates=5": "it must be an integer >= min_replicates, 2000",
    "time_budget=0": "it must be seconds > 0",
    "workers=0": "workers=0: it must be an integer >= 1, or null",
    "point=nowhere": "point=nowhere: linear_vae has init, near, optimum",
    "bogus=1": "unknown key 'bogus': choose from estimator, problem, latent_dim",
    "problem.kl=foo": "kl=foo: choose from analytic, mc",
    "estimator._target_=nowhere.fn": "No module named 'nowhere'",
    "latent_dim=[2": "no viable alternative at input '[2'",
    "+estimator.nope=3": "got an unexpected keyword argument 'nope'",
    "estimator._target_=math.sin": "cannot be called as (problem, params, num_samples=S)",
    "-m compile=true,false": "two jobs would fill the same cells of score on linear_vae",
    "problem.noise_variance=-1": "noise_variance=-1: it must be positive",
    "problem=bernoulli estimator=gumbel_softmax estimator.proxy.temperature=0": "temperature=0: it must be above 0",
    "problem=bernoulli estimator=rebar_untuned estimator.surrogate.temperature=-1": "=-1: it must be above 0",
    "problem=bernoulli estimator=rebar estimator.surrogate.temperature=0": "temperature=0: it must be above 0",
    "problem=bernoulli estimator=gumbel_rao estimator.proxy.inner=0": "inner=0: it must be at least 1",
    "problem=bernoulli estimator=rao_blackwell estimator.k=-1": "k=-1: it must be at least 0",
    "out=mine.py": "it is a file; name a folder",
    "out=.": "it is not empty and holds no results of Gradiometer",
    "out=old": "it holds results of version 0.0.1",
}


def test_bad_input_gets_one_line_and_exit_status_2_before_anything_runs(run, folder):
    store.write_atomically(folder / "old" / "gradiometer.json", json.dumps({"version": "0.0.1"}).encode())
    before = sorted(folder.rglob("*"))
    for arguments, said in BAD.items():
        status, out, err = run(arguments.split())
        assert (status, out) == (2, ""), arguments
        assert said in err, arguments
        assert err.count("\n") == 1, err
        assert sorted(folder.rglob("*")) == before, arguments


def test_the_same_seed_gives_the_same_numbers_however_they_are_measured(run, folder, monkeypatch):
    """Twice, in other company and by two processes; also of an estimator that begins with random weights."""
    sweep = ["problem=bernoulli_mixed", "latent_dim=[1,4]", "num_samples=2", "precision=0.2", "exact=false"]
    frames = []
    for estimators, processes in (("rodeo,score", 1), ("score_mean,score,rodeo", 1), ("rodeo,score", 2)):
        out = f"out=o{len(frames)}"
        status, _, err = run(["-m", f"estimator={estimators}", *sweep, f"workers={processes}", out])
        assert status == 0, err
        frames.append(untimed(folder / f"o{len(frames)}").query("estimator != 'score_mean'").reset_index(drop=True))
    unlike = ["bias_p_adjusted"]  # corrected for the number of tests
    for frame in frames[1:]:
        pd.testing.assert_frame_equal(frame.drop(columns=unlike), frames[0].drop(columns=unlike))


def test_a_problem_that_draws_is_the_same_for_all_estimators_seeds_and_processes(run, folder):
    mine = MINE.replace(
        "super().__init__()\n\n    def at", "super().__init__()\n        self.b = torch.randn(())\n\n    def at"
    )
    mine = mine.replace("- 0.5).square() + (p", "- self.b).square() + (p").replace(
        "z.sum(-1) - 0.5", "z.sum(-1) - self.b"
    )
    (folder / "mine.py").write_text(mine)
    arguments = ["-m", "estimator=score,score_mean,ar", "problem=quadratic", "problem._target_=mine.Coins", "seed=0,1"]
    status, _, err = run([*arguments, *SMALL[1:], "num_samples=2", "workers=2", "out=o"])
    assert status == 0, err
    assert len(set(load(folder / "o")["gradient_norm"])) == 1


def test_sizes_may_be_split_into_jobs_but_no_cell_twice(run, folder):
    status, _, err = run(["-m", "estimator=reparam", *SMALL, "latent_dim=2,3", "out=o"])
    assert status == 0, err
    assert set(load(folder / "o")["latent_dim"]) == {2, 3}
    status, out, err = run(["-m", "estimator=reparam", *SMALL, "latent_dim=[2,3],3", "out=o"])
    assert (status, out.splitlines()[0]) == (0, f"2 cells, 2 measured before; results in {folder / 'o'}"), err
    status, _, err = run(["-m", "estimator=reparam", *SMALL, "latent_dim=2,3", "exact=true,false", "out=o"])
    assert status == 2
    assert "two jobs would fill the same cells of reparam on quadratic" in err


def test_a_launcher_that_is_not_there_is_bad_input(run):
    status, _, err = run(["-m", "hydra/launcher=nowhere", *SMALL, "out=o"])
    assert status == 2
    assert "unknown hydra/launcher 'nowhere': choose from basic" in err


def test_cuda_is_refused_where_there_is_none(run, folder):
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    status, _, err = run(["device=cuda"])
    assert status == 2
    assert "no CUDA device" in err


def test_help_explains_itself(run, folder):
    status, out, _ = run(["--help"])
    assert status == 0
    for said in (
        "estimator: ar, arm, ",
        " score_loo, ",
        "experiment=mohamed_fig3",
        "latent_dim",
        "time_budget",
        "Exit status",
    ):
        assert said in out
    assert run(["--cfg", "job"])[0] == 0
    assert sorted(path.name for path in folder.iterdir()) == ["mine.py"]
