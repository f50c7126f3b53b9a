"""A results folder: one small file a cell, written atomically, gathered into one table. No torch, no Hydra."""

import hashlib
import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Iterable
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

VERSION = version("gradiometer")
SETTING = ["problem", "point", "seed", "device", "dtype"]
CELL = ["estimator", "problem", "point", "latent_dim", "num_samples", "seed", "device", "dtype"]
COLUMNS = [
    *CELL,
    "group",
    "replicates",
    "evaluations",
    "gradient_evaluations",
    "tuning_evaluations",
    "gradient_norm",
    "gradient_source",
    "variance",
    "variance_low",
    "variance_high",
    "variance_source",
    "bias",
    "bias_low",
    "bias_high",
    "bias_p",
    "bias_detectable",
    "mse",
    "snr",
    "kurtosis",
    "tail",
    "seconds",
    "seconds_low",
    "seconds_high",
    "relative_seconds",
    "relative_seconds_low",
    "relative_seconds_high",
    "latency",
    "latency_low",
    "latency_high",
    "peak_memory",
    "chunk_rows",
    "compile_seconds",
    "work_variance",
    "work_variance_low",
    "work_variance_high",
    "work_variance_time",
    "work_variance_time_low",
    "work_variance_time_high",
    "status",
    "reason",
    "key",
    "batch_variances",
    "deviation_counts",
]
MEASURED = ["ok", "budget"]
UNFINISHED = ".part"
PACKAGES = ["torch", "numpy", "scipy", "pandas", "seaborn", "matplotlib", "hydra-core", "scikit-learn"]


class NotAResultsFolder(Exception):
    """A folder that cannot be written to or read as results; the message says why."""


def content_key(parts: Any) -> str:
    """SHA-256 of parts as canonical JSON: the same content gives the same 64 hex digits on every machine."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def file_name(text: str) -> str:
    """A label as the name of a file: what may mean something to a shell or a file system is an underscore."""
    return re.sub(r"[^\w.=+-]+", "_", text)


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that neither a reader nor a crash ever leaves half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{os.getpid()}{UNFINISHED}")
    unfinished.write_bytes(data)
    os.replace(unfinished, path)


def check(folder: Path) -> None:
    """Raise NotAResultsFolder unless the folder is new, empty, or holds results of this version."""
    if folder.exists() and not folder.is_dir():
        raise NotAResultsFolder(f"out={folder}: it is a file; name a folder")
    if not folder.is_dir() or all(path.suffix == UNFINISHED for path in folder.iterdir()):
        return
    try:
        found = json.loads((folder / "gradiometer.json").read_text())["version"]
    except (OSError, ValueError, KeyError):
        raise NotAResultsFolder(f"out={folder}: it is not empty and holds no results of Gradiometer") from None
    if found != VERSION:
        raise NotAResultsFolder(f"out={folder}: it holds results of version {found}, this is {VERSION}; name another")


def begin(
    folder: Path,
    configs: list[str],
    command: list[str],
    panels: list[dict[str, Any]] | None = None,
    options: dict[str, dict[str, float]] | None = None,
    oracles: Iterable[str] = (),
) -> None:
    """Write what a sweep is made with: version, environment, commands so far, and each job's configuration.

    panels: the figures that its report is to draw; a new one replaces an old one of its name. options: the numbers that
    each label of an estimator or a problem stands for. oracles: the estimators that know what nobody knows in practice.
    """
    before = about(folder)
    figures = {figure["name"]: figure for figure in [*before.get("panels", []), *(panels or [])]}
    now = {
        "version": VERSION,
        "revision": _revision(),
        "commands": [*before.get("commands", []), {"date": f"{datetime.now():%Y-%m-%d %H:%M}", "command": command}],
        "panels": list(figures.values()),
        "options": before.get("options", {}) | (options or {}),
        "oracles": sorted({*before.get("oracles", []), *oracles}),
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "packages": {name: version(name) for name in PACKAGES},
    }
    write_atomically(folder / "gradiometer.json", json.dumps(now, indent=1).encode())
    for text in configs:
        write_atomically(folder / "configs" / f"{content_key(text)[:12]}.yaml", text.encode())


def _revision() -> str:
    """The revision that the code is at, as git describes it; empty where it is not in a repository."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _processor() -> str:
    """The processor's name, where the system tells."""
    try:
        names = re.findall(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())
    except OSError:
        names = []
    return names[0] if names else platform.processor()


def about(folder: str | Path) -> dict[str, Any]:
    """What `begin` wrote; nothing if it did not."""
    path = Path(folder) / "gradiometer.json"
    return json.loads(path.read_text()) if path.exists() else {}


def save(folder: Path, key: str, rows: list[dict[str, Any]]) -> None:
    """Write a finished cell."""
    write_atomically(folder / "cells" / f"{key}.json", json.dumps(rows).encode())


def read(folder: Path, key: str) -> list[dict[str, Any]]:
    """The rows of a cell; none if it is not there, or was left unreadable by a crash of the machine."""
    try:
        return json.loads((folder / "cells" / f"{key}.json").read_text())
    except (FileNotFoundError, ValueError):
        return []


def reuse(folder: Path, key: str) -> None:
    """Make a cell the latest one, which stands in the table."""
    (folder / "cells" / f"{key}.json").touch()


def gather(folder: Path) -> pd.DataFrame:
    """All cells of a folder as one tidy frame (one row a cell and group), also written to results.parquet.

    Where a cell was measured with several settings, the one asked for last stands in the table; the others' files stay.

    Raises NotAResultsFolder if there is nothing to gather.
    """
    if not (folder / "gradiometer.json").exists():
        raise NotAResultsFolder(f"{folder} holds no results of Gradiometer")
    paths = sorted((folder / "cells").glob("*.json"), key=lambda path: (path.stat().st_mtime_ns, path.name))
    cells = [rows for path in paths if (rows := read(folder, path.stem))]
    if not cells:
        raise NotAResultsFolder(f"{folder} has no finished cell yet")
    latest = {tuple(rows[0][name] for name in CELL): rows for rows in cells}
    frame = pd.DataFrame([row for rows in latest.values() for row in rows]).reindex(columns=COLUMNS)
    frame = frame.sort_values(CELL, ignore_index=True, kind="stable")
    write_atomically(folder / "results.parquet", frame.to_parquet(index=False))
    return frame
