"""The speed run: what it counts is what it says. Nothing here is about how fast it was."""

import sys
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks import plots, rivals, speed, throughput, whole
from benchmarks.compiled import fused


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr(throughput, "JOBS", [(3, 2)])
    monkeypatch.setattr(throughput, "ROUNDS", 6)
    monkeypatch.setattr(throughput, "ROUND_SECONDS", 1e-4)
    monkeypatch.setattr(rivals, "RIVALS", {"PyTorch, a loop": rivals.torch_loop})  # JAX's threads outlast a test
    torch.set_default_dtype(torch.float32)


def test_a_speed_run_leaves_a_table_and_a_figure(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(sys, "argv", ["speed.py", "throughput", "discrete", "others", "--out", str(tmp_path)])
    assert speed.main() == 0
    frame = pd.read_csv(tmp_path / "speed-cpu.csv")
    assert list(frame.columns) == speed.COLUMNS
    names = {"floor", "score, eager", "score, compiled", "reparam, eager", "reparam, compiled"}
    assert set(frame.loc[frame["section"] == "throughput", "name"]) == names
    assert (frame.loc[frame["name"] == "floor", "low"] > 0).all()
    assert {"coins: disarm, compiled", "three categories: arsm, eager"} <= set(frame["name"])
    assert (frame.loc[frame["section"] == "discrete", "value"] > 0).all()
    shares = frame[frame["unit"] == "of the floor"].set_index(["section", "name"])
    assert (shares.loc[("throughput", "floor"), ["value", "low", "high"]] == 1).all()
    assert {"score: PyTorch, a loop", "reparam: Gradiometer, compiled"} <= set(frame["name"])
    assert (tmp_path / "speed-cpu.png").stat().st_size > 10_000
    assert "score, compiled" in capsys.readouterr().out


def test_shares_are_ratios_of_estimates_in_one_round():
    seconds = {"floor": np.array([1.0, 2.0, 1.0]), "mine": np.array([4.0, 8.0, 4.0])}
    rows = {
        (row["name"], row["unit"]): row["value"]
        for row in throughput._shares("throughput", seconds, 3, 2, 10, {"floor": 10, "mine": 5})
    }
    assert rows["mine", "of the floor"] == pytest.approx(1 / 8)
    assert rows["mine", "estimates a second"] == pytest.approx(5 / 4)


def test_networks_and_roofline(monkeypatch):
    """Shares of what is done at all, and the compiled decoder is the decoder."""
    monkeypatch.setattr(throughput, "NETWORKS", [{"hidden": 8, "batch_size": 2}])
    shares = list(throughput.networks("cpu"))
    assert [row["name"].rpartition(", ")[2] for row in shares] == ["eager", "compiled"]
    assert all(0 < row["low"] <= row["value"] <= row["high"] for row in shares)
    problem = throughput.VAE(3, **throughput.NETWORKS[0]).float()
    params = problem.init.float().expand(4, -1)
    given = problem.q(params).sample((2,)), params
    decoder = partial(throughput._there_and_back, problem.log_likelihood)
    for mine, compiled in zip(decoder(*given), fused(decoder, *given)(*given), strict=True):
        torch.testing.assert_close(mine, compiled, rtol=1e-4, atol=1e-4)
    assert {row["bytes"] for row in throughput.roofline("cpu") if row["name"] in ("randn", "copy")} == {4.0, 8.0}


def test_traffic_is_what_an_operation_reads_and_writes_once():
    x, y = torch.ones(2, 100)
    assert throughput._traffic(lambda: torch.add(x, y)) == 3 * 400
    assert throughput._traffic(lambda: torch.add(x, y, out=y)) == 3 * 400
    assert throughput._traffic(lambda: x.view(10, 10)) == 0


def test_a_rival_that_disagrees_is_found():
    """A mean that is off by half a standard deviation: 64 estimates of 8 coordinates show it in all runs."""
    torch.manual_seed(0)
    right = rivals.torch_loop("reparam", 16, 4, 16)
    assert throughput._agrees("PyTorch, a loop", right, 4) == 16
    with pytest.raises(AssertionError, match="standard errors from the exact gradient"):
        throughput._agrees("PyTorch, a loop", lambda: right() + 0.5 * right().std(), 4)


def test_the_same_seconds_have_exponent_zero_and_proportional_ones_one():
    assert whole._exponent("", [1, 10, 100], [2.0, 2.0, 2.0])["value"] == pytest.approx(0)
    assert whole._exponent("", [1, 10, 100], [2.0, 20.0, 200.0])["value"] == pytest.approx(1)


def test_every_part_of_a_cell_is_one_that_is_there(monkeypatch):
    """A function that was renamed would be reported as no time at all."""
    monkeypatch.setattr(whole, "ESTIMATORS", {"reparam": throughput.ESTIMATORS["reparam"]})
    shares = {row["name"].partition(":")[0] for row in whole.parts("cpu") if row["value"] > 0}
    assert shares == set(whole.PARTS)


@pytest.mark.parametrize("arguments", ["nowhere", "growth --device cuda"])
def test_bad_input(monkeypatch, capsys, arguments):
    monkeypatch.setattr(sys, "argv", ["speed.py", *arguments.split()])
    assert speed.main() == 2
    assert "choose from throughput" in capsys.readouterr().err


def test_the_figure_of_a_run_without_other_libraries_has_one_panel():
    job = {"section": "throughput", "D": 64.0, "S": 16.0, "unit": "of the floor", "value": 0.5, "low": 0.4, "high": 0.6}
    names = ("floor", "score, eager", "score, compiled", "reparam, eager", "reparam, compiled")
    assert len(plots.speeds(pd.DataFrame([job | {"name": name} for name in names])).axes) == 1
