"""The two sides of a comparison: read from a folder, a table or a pytest-benchmark file, and joined by cell."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import store
from benchmarks.comparisons import SIDES

DERIVED = ("mse", "snr", "kurtosis", "tail", "seconds", "latency", "peak_memory", "work", "key", "deviation_counts")
APART = ("chunk_rows", "compile_seconds")
KEPT = [name for name in store.COLUMNS if not name.startswith((*DERIVED, *APART))]
TEXT = ["estimator", "problem", "point", "device", "dtype", "group", "gradient_source", "variance_source", "status"]
MACHINE = ("platform", "processor", "cpus")
SAME_GRADIENT = 1e-4
BATCHES = 64


class NotComparable(Exception):
    """Two sides that cannot be compared, or one that cannot be read; the message says why in one line."""


@dataclass(frozen=True)
class Side:
    """Results, one row a cell and group, and what is known of where they come from (`store.about`)."""

    name: str
    frame: pd.DataFrame
    about: dict[str, Any]


@dataclass(frozen=True)
class Joined:
    """Rows of two sides side by side: the candidate's columns as they are, the baseline's with `_against`.

    cells: one row a cell of both. pairs: one row a cell and group that both measured. lacking, new: cells that only the
    baseline, only the candidate measured. notes: what a reader must know, a line each; obstacles: why some cells cannot
    be compared.
    """

    cells: pd.DataFrame
    pairs: pd.DataFrame
    lacking: pd.DataFrame
    new: pd.DataFrame
    notes: list[str]
    obstacles: list[str]


def read(place: str | Path) -> Side:
    """A results folder, a folder or file with a `results.parquet` alone, or a pytest-benchmark JSON file.

    Raises NotComparable if it is none of these.
    """
    path = Path(place)
    try:
        if path.suffix == ".json" and path.is_file():
            frame, about = _of_benchmarks(json.loads(path.read_text()))
        elif path.is_dir() and (path / "cells").is_dir():
            frame, about = store.gather(path), store.about(path)
        else:
            table = path / "results.parquet" if path.is_dir() else path
            frame, about = pd.read_parquet(table), store.about(table.parent)
    except FileNotFoundError:
        raise NotComparable(f"{place}: no such folder, file or revision with results") from None
    except store.NotAResultsFolder as error:
        raise NotComparable(str(error)) from error
    except (ValueError, OSError, LookupError, TypeError) as error:
        raise NotComparable(f"{place}: these are no results: {' '.join(str(error).split())}") from error
    if missing := [name for name in store.CELL if name not in frame] or frame.empty:
        raise NotComparable(f"{place}: these are no results" + (f": no {missing[0]}" if missing is not True else ""))
    frame = frame.reindex(columns=list(dict.fromkeys([*KEPT, *frame])))
    return Side(str(place), frame.assign(reason=frame["reason"].fillna("").astype(str)), about)


def _of_benchmarks(saved: dict[str, Any]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The rows that `tests/test_speed.py` left in each benchmark's `extra_info`."""
    rows = [row for benchmark in saved["benchmarks"] for row in benchmark["extra_info"].get("rows", [])]
    machine = saved.get("machine_info", {})
    cpu = machine.get("cpu", {})
    about = {"platform": machine.get("release"), "processor": cpu.get("brand_raw"), "cpus": cpu.get("count")}
    return pd.DataFrame(rows), about


def write(side: Side, folder: Path) -> None:
    """Freeze a side: the columns that a comparison needs, in a table of a few hundred kB, and where they come from."""
    frame = side.frame[KEPT].copy()
    batches = frame["batch_variances"].where(frame["variance_source"] == "sampled", None)
    halved = [None if np.ndim(b) == 0 else np.asarray(b, dtype=np.float32) for b in batches]
    frame["batch_variances"] = pd.Series(halved, index=frame.index, dtype=object)
    frame[TEXT] = frame[TEXT].astype("category")
    store.write_atomically(folder / "results.parquet", frame.to_parquet(index=False, compression="zstd"))
    store.write_atomically(folder / "gradiometer.json", json.dumps(side.about, indent=1).encode())


def join(baseline: Side, candidate: Side) -> Joined:
    """Rows of the same cell and group side by side.

    A seed says which random numbers, not what is measured: with the same seeds on both sides, rows of one seed meet;
    with one seed a side, the two meet whatever they are.

    Raises NotComparable if there is no cell in common, or it is not clear which seeds are to meet.
    """
    seeds = [set(side.frame["seed"]) for side in (candidate, baseline)]
    if seeds[0] != seeds[1] and max(map(len, seeds)) > 1:
        texts = [", ".join(map(str, sorted(found))) for found in seeds]
        raise NotComparable(
            f"baseline has the seeds {texts[1]}, candidate {texts[0]}: they must be the same, or one each"
        )
    keys = [name for name in store.CELL if name != "seed" or seeds[0] == seeds[1]]
    frames = [_plain(side.frame) for side in (candidate, baseline)]
    firsts = [frame.drop_duplicates(keys) for frame in frames]
    cells = firsts[0].merge(firsts[1], on=keys, suffixes=SIDES)
    if cells.empty:
        raise NotComparable("the two have no cell in common")
    measured = [frame[frame["status"].isin(store.MEASURED)] for frame in frames]
    pairs = measured[0].merge(measured[1], on=[*keys, "group"], suffixes=SIDES)
    obstacles, other = _other_gradients(pairs)
    obstacles += [] if len(pairs) else ["No cell was measured on both sides"]
    obstacles += _lost_groups(measured[0], measured[1], keys)
    notes = (
        [] if seeds[0] == seeds[1] else [f"Seeds differ ({seeds[1].pop()}, {seeds[0].pop()}): other random numbers."]
    )
    return Joined(
        cells=cells,
        pairs=pairs[~other].reset_index(drop=True),
        lacking=_without(firsts[1], firsts[0], keys),
        new=_without(firsts[0], firsts[1], keys),
        notes=[*notes, *_machines(baseline.about, candidate.about)],
        obstacles=obstacles,
    )


def _plain(frame: pd.DataFrame) -> pd.DataFrame:
    """Texts as texts, numbers as numbers, whatever they were stored as, and the batches of what has none as nan."""
    numbers = [name for name in KEPT if name not in (*TEXT, "reason", "batch_variances")]
    sizes = ["latent_dim", "num_samples", "seed"]
    kinds = dict.fromkeys(numbers, float) | dict.fromkeys(TEXT, object) | dict.fromkeys(sizes, int)
    frame = frame[KEPT].astype(kinds)
    batches = [b if np.ndim(b) else np.full(BATCHES, np.nan) for b in frame["batch_variances"]]
    return frame.assign(batch_variances=pd.Series(batches, index=frame.index, dtype=object))


def _without(cells: pd.DataFrame, others: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Cells that were measured, or failed, and have no counterpart."""
    both = cells.merge(others[keys], on=keys, how="left", indicator=True)
    return both[(both["_merge"] == "left_only") & (both["status"] != "skipped")]


def _lost_groups(now: pd.DataFrame, before: pd.DataFrame, keys: list[str]) -> list[str]:
    """Parameter groups of the baseline that the candidate's same cells lack, a line a problem."""
    old = before.merge(now[keys].drop_duplicates(), on=keys)
    lost = old.merge(now[[*keys, "group"]], on=[*keys, "group"], how="left", indicator=True).query(
        "_merge == 'left_only'"
    )
    return [
        f"{problem}: the candidate has no parameters called {', '.join(sorted(set(rows['group'])))}"
        for problem, rows in lost.groupby("problem")
    ]


def _other_gradients(pairs: pd.DataFrame) -> tuple[list[str], pd.Series]:
    """Problems whose exact gradient is not the same on both sides, a line each, and which rows are theirs."""
    known = (pairs["gradient_source"] != "reference") & (pairs["gradient_source_against"] != "reference")
    now, before = pairs["gradient_norm"], pairs["gradient_norm_against"]
    other = known & ((now - before).abs() > SAME_GRADIENT * (before + np.sqrt(pairs["variance"])))
    lines = [
        f"{problem}: its exact gradient's norm is {rows['gradient_norm'].iloc[0]:.6g}, in the baseline "
        f"{rows['gradient_norm_against'].iloc[0]:.6g}: it is not the same problem"
        for problem, rows in pairs[other].groupby("problem")
    ]
    return lines, other


def _machines(baseline: dict[str, Any], candidate: dict[str, Any]) -> list[str]:
    """What differs between the machines and versions of two sides."""
    differ = [name for name in MACHINE if name in baseline and name in candidate and baseline[name] != candidate[name]]
    lines = []
    if differ:
        values = f"{differ[0]}: {baseline[differ[0]]}, {candidate[differ[0]]}"
        lines.append(f"The machines differ ({values}): times are compared relative to their common shift.")
    packages = [about.get("packages", {}) for about in (baseline, candidate)]
    other = [name for name in packages[0] if name in packages[1] and packages[0][name] != packages[1][name]]
    versions = ", ".join(f"{name} {packages[0][name]} → {packages[1][name]}" for name in other)
    return [*lines, *([f"Versions differ: {versions}."] if other else [])]
