"""How fast whole cells and sweeps are: where a cell's time goes, how it grows, memory, processes, what is beside it."""

import cProfile
import pstats
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from hydra.utils import get_object
from scipy import stats

from benchmarks import engine
from benchmarks.engine import chunk_rows
from benchmarks.measure import measure
from benchmarks.throughput import ESTIMATORS, Quadratic, Row, estimates, interleaved

ROOT = Path(__file__).parents[1]
LinearVAE = get_object("benchmarks.problems.linear_vae.LinearVAE")
PARTS = {
    "drawing": ("engine.py", "__call__"),
    "summarising": ("moments.py", "of"),
    "adding up": ("moments.py", "__add__"),
    "timing": ("costs.py", "cost_of"),
    "exact moments": ("exact.py", "exact_moments"),
}
TIMES = ("seconds", "relative_seconds", "latency", "work_variance_time")


def parts(device: str) -> Iterator[Row]:
    """Where the time of a cell goes, as shares of it; the pilot's and the exact moments' draws are in `drawing` too."""
    for problem, S in ((Quadratic(64), 16), (Quadratic(64), 1), (LinearVAE(8), 4)):
        problem.to(device, torch.float32)
        for name, estimator in ESTIMATORS.items():
            profile = cProfile.Profile()
            profile.runcall(measure, estimator, problem, num_samples=S, precision=0.01)
            found: Any = pstats.Stats(profile)
            total = max(row[3] for row in found.stats.values())
            for part, where in PARTS.items():
                # of two methods of one name in a file, one calls the other
                seconds = max(row[3] for key, row in found.stats.items() if (Path(key[0]).name, key[2]) == where)
                what = f"{part}: {name}, {type(problem).__name__}, S = {S}"
                yield {"section": "parts", "name": what, "unit": "of a cell", "value": seconds / total}


def growth(device: str) -> Iterator[Row]:
    """Exponents of seconds an estimate against D and S, and of a whole run against its replicates."""
    jobs = {"D": [(D, 16) for D in (64, 128, 256, 512)], "S": [(64, S) for S in (8, 16, 32, 64, 128)]}
    for along, sizes in jobs.items():
        for name, estimator in ESTIMATORS.items():
            calls, rows = {}, {}
            for D, S in sizes:
                problem = Quadratic(D).to(device, torch.float32)
                rows[f"{D} {S}"] = chunk_rows(problem, problem.at("init"), S)
                calls[f"{D} {S}"] = estimates(estimator, problem, rows[f"{D} {S}"], S)
            seconds = {job: np.median(own) / rows[job] for job, own in interleaved(calls, device).items()}
            x = [D if along == "D" else S for D, S in sizes]
            yield _exponent(f"{name}: seconds against {along}", x, list(seconds.values()))
    counts = [10**5, 10**6, 10**7]
    for name, estimator in ESTIMATORS.items():
        problem = Quadratic(8).to(device, torch.float32)
        fewest, *took = (_took(partial(_of_size, estimator, problem, n)) for n in (2000, *counts))
        yield _exponent(f"{name}: seconds against replicates", [n - 2000 for n in counts], [t - fewest for t in took])


def memory(device: str) -> Iterator[Row]:
    """Peak memory of a process that measures 10^4 to 10^7 replicates, and what of it the run added."""
    program = "import sys; from benchmarks import whole; print(*whole.peak(int(sys.argv[1])))"
    for n in (10**4, 10**5, 10**6, 10**7):
        made = subprocess.run([sys.executable, "-c", program, str(n)], capture_output=True, text=True, check=True)
        for what, value in zip(("peak", "peak beyond what was there before"), made.stdout.split(), strict=True):
            yield {"section": "memory", "name": f"{n:.0e} replicates, {what}", "unit": "MB", "value": float(value)}


def peak(n: int) -> tuple[float, float]:
    """Peak memory of this process after a run of n replicates, and how much the run added, in MB (Linux)."""
    engine.keep_memory()
    problem = Quadratic(8).float()
    _of_size(ESTIMATORS["reparam"], problem, 100)  # what is loaded at the first run
    before = _status("VmRSS")
    _of_size(ESTIMATORS["reparam"], problem, n)
    return _status("VmHWM"), _status("VmHWM") - before


def _status(name: str) -> float:
    """A line of what Linux tells of this process's memory, in MB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def sweeps(device: str) -> Iterator[Row]:
    """Start-up, what a sweep takes beside its measuring, the gain of a second process and whether numbers differ."""
    trivial = ["problem=bernoulli", "precision=0.5", "min_replicates=64", "max_replicates=64", "time_budget=1"]
    heavy = ["-m", "estimator=score,reparam", "problem=quadratic", "latent_dim=[32,64]", "num_samples=[16,64]"]
    heavy += ["precision=0.001", "max_replicates=10000000", "time_budget=300"]
    with tempfile.TemporaryDirectory() as folder:
        first = _swept([*trivial, "latent_dim=2", "num_samples=1"], f"{folder}/first")
        yield _seconds("start to first measured cell", first[1])
        five = ["-m", "estimator=score,score_mean,ar,disarm,st_identity", "num_samples=[1,2,3,4]", "workers=1"]
        swept = {}
        for cells in (20, 100, 300, 1000):
            sizes = ",".join(map(str, range(1, cells // 20 + 1)))
            swept[cells] = _swept([*five, *trivial, f"latent_dim=[{sizes}]"], f"{folder}/{cells}")
        whole, _, measuring = swept[1000]
        yield _seconds("1,000 trivial cells: beside their measuring", whole - measuring)
        yield _seconds("1,000 trivial cells: measuring", measuring)
        few, _, _ = swept.pop(20)
        more = [cells - 20 for cells in swept]
        yield _exponent("seconds against cells beyond 20", more, [seconds - few for seconds, _, _ in swept.values()])
        for workers in (1, 2):  # the same command again measures nothing
            usual = ["-m", "estimator=score,reparam", f"workers={workers}"], f"{folder}/usual{workers}"
            whole, beside = _swept(*usual)[0], _swept(*usual)[0]
            name = f"default sweep, workers={workers}"
            yield _seconds(name, whole)
            share = {"section": "sweeps", "name": f"{name}: beside its measuring", "unit": "of the whole"}
            yield share | {"value": beside / whole}
        took = {n: _swept([*heavy, f"workers={n}"], f"{folder}/{n}") for n in (1, 2)}
        gain = (took[1][0] - first[0]) / (took[2][0] - first[0])  # without start-up and report
        yield {"section": "sweeps", "name": "two processes: times as fast", "unit": "", "value": gain}
        frames = [pd.read_parquet(f"{folder}/{n}/results.parquet") for n in (1, 2)]
        one, two = (frame.loc[:, ~frame.columns.str.startswith(TIMES)] for frame in frames)
        yield {"section": "sweeps", "name": "two processes: same numbers", "unit": "", "value": float(one.equals(two))}


def _swept(arguments: list[str], out: str) -> tuple[float, float, float]:
    """Seconds of a sweep: the whole, to its first finished cell, and from then on to its last."""
    command = [sys.executable, str(ROOT / "benchmarks" / "run.py"), *arguments, f"out={out}"]
    start = time.time()
    subprocess.run(command, check=True, capture_output=True)
    whole = time.time() - start
    written = sorted(path.stat().st_mtime for path in Path(out).glob("cells/*.json"))
    return whole, written[0] - start, written[-1] - written[0]


def _of_size(estimator: Any, problem: Any, n: int) -> object:
    return measure(estimator, problem, exact=False, min_replicates=n, max_replicates=n, time_budget=1e6)


def _took(call: Any) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _exponent(name: str, x: Sequence[int], seconds: list[float]) -> Row:
    fit: Any = stats.linregress(np.log(x), np.log(seconds))
    return {"section": "growth", "name": name, "unit": "exponent", "value": float(fit.slope)}


def _seconds(name: str, value: float) -> Row:
    return {"section": "sweeps", "name": name, "unit": "seconds", "value": value}
