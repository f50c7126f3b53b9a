"""The calibration itself: that it counts rightly, resumes, and would notice."""

import numpy as np
import pandas as pd
import pytest

from benchmarks import calibrate, plots
from benchmarks.bias import Difference

CASES = """
coin:
  problem: {_target_: benchmarks.problems.bernoulli.BernoulliCost, latent_dim: 2}
  estimator: {_target_: estimators.score_function.score}
  against:
    _target_: estimators.score_function.score
    baseline: {_target_: estimators.baselines.constant, _partial_: true, value: 0.2}
wrong:
  problem: {_target_: benchmarks.problems.linear_vae.LinearVAE, latent_dim: 1, batch_size: 1, kl: mc}
  estimator: {_target_: estimators.score_function.naive}
  against: {_target_: estimators.pathwise.reparam}
"""


@pytest.fixture
def cases(tmp_path):
    path = tmp_path / "cases.yaml"
    path.write_text(CASES)
    return path


def test_a_short_calibration_counts_every_claim_and_resumes(cases, tmp_path, capsys, monkeypatch):
    arguments = ["calibrate.py", "--cases", str(cases), "--out", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", [*arguments, "--repetitions", "4", "--tests", "6", "--workers", "2"])
    assert calibrate.main() == 0
    frame = pd.read_csv(tmp_path / "out" / "calibration.csv")
    assert set(frame["claim"]) == set(calibrate.CLAIMS)
    assert set(frame.loc[frame["claim"] == "variance covered", "repetitions"]) == {4}
    assert set(frame.loc[frame["claim"] == "zero bias rejected at 5 %", "repetitions"]) == {6}
    wrong = frame[(frame["case"] == "wrong") & (frame["group"] == "encoder")]
    assert not any(claim.startswith(("zero", "planted")) for claim in wrong["claim"])
    assert (tmp_path / "out" / "calibration.svg").stat().st_size > 1000
    capsys.readouterr()
    monkeypatch.setattr(calibrate, "block", None)
    assert calibrate.main() == 0
    assert "0 contradict" in capsys.readouterr().out


def test_a_claim_that_does_not_hold_is_seen():
    """90 of 100 where 93 % are the least is no contradiction, 70 are; 12 rejections at 5 % neither, 30 are."""

    def rows(claim, hits):
        hit = np.arange(100) < hits
        return pd.DataFrame(
            {"case": "a", "group": claim + str(hits), "claim": claim, "hit": hit, "width": 0.1, "replicates": 1}
        )

    rejected = "zero bias rejected at 5 %"
    parts = [rows("variance covered", 90), rows("variance covered", 70), rows(rejected, 12), rows(rejected, 30)]
    frame = calibrate.table(pd.concat(parts))
    assert list(frame["contradicted"]) == [False, True, False, True]
    assert not frame["shown"].any()
    assert list(frame["rate"]) == [0.9, 0.7, 0.12, 0.3]
    assert (frame["rate_low"] < frame["rate"]).all()
    assert len(plots.calibration(frame).axes) == 2


def test_a_planted_bias_is_where_it_is_said_to_be(monkeypatch):
    seen = []
    monkeypatch.setattr(Difference, "p_value", lambda self: seen.append(self.value) or 0.0)
    monkeypatch.setattr(Difference, "detectable", lambda self: 2.0)
    zeros = np.zeros(4)
    batches = np.random.default_rng(0).normal(size=(64, 4))
    list(calibrate.planted(Difference(zeros, zeros + 1, zeros, zeros + 1e9, 1e9, batches, zeros), noisiest=2))
    np.testing.assert_allclose(seen, [[0, 0, 2, 0], [0, 0, -2, 0], [1, 1, 1, 1]])


def test_bad_input(monkeypatch, capsys, tmp_path):
    texts = {
        "broken": "a: [",
        "empty": "",
        "list": "- a",
        "parts": "a: {problem: {_target_: benchmarks.problems.quadratic.Quadratic, latent_dim: 1}}",
        "large": CASES.replace("latent_dim: 2", "latent_dim: 40"),
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    files = [["--cases", str(tmp_path / f"{name}.yaml")] for name in [*texts, "nowhere"]]
    for arguments in (["--repetitions", "0"], *files):
        monkeypatch.setattr("sys.argv", ["calibrate.py", *arguments])
        assert calibrate.main() == 2, arguments
        said = capsys.readouterr().err
        assert said.startswith("calibrate.py: ")
        assert said.count("\n") == 1
