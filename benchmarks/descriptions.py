"""What an experiment says of its figures: checked before it runs, and the rows of a results frame that it means."""

import ast
import re
from typing import Any

import pandas as pd

from benchmarks import store
from benchmarks.labels import LABELLED

Described = list[dict[str, Any]]

FIGURE: dict[str, type] = {"name": str, "caption": str, "panels": list}
PANEL: dict[str, type] = {"title": str, "where": str, "x": str, "y": str, "hue": str, "logx": bool, "logy": bool}
OPTIONAL = ("caption", "hue", "logx", "logy")
DERIVED = ("verdict", "bias_p_adjusted")


def check(described: Any) -> None:
    """Raise ValueError, in one line, where figures are not described as `panels` in an experiment must be.

    Each is {name, caption, panels: [{title, where, x, y, hue, logx, logy}]}: where is a query over the columns of the
    results, `problem.name`, `problem.k` and the like; x, y and hue are columns, y also one over another.
    """
    if not isinstance(described, list):
        raise ValueError("it must be a list of figures")
    for figure in described:
        _check_keys("a figure", figure, FIGURE)
        for panel in figure["panels"]:
            _check_keys(f"a panel of {figure['name']}", panel, PANEL)
            _check_columns(f"{figure['name']}, {panel['title']}", panel)
    names = [figure["name"] for figure in described]
    if twice := {name for name in names if names.count(name) > 1}:
        raise ValueError(f"two figures are called {', '.join(sorted(twice))}")


def _check_keys(what: str, found: Any, keys: dict[str, type]) -> None:
    """Raise ValueError unless it is a dict of these keys, all that are not optional among them."""
    if not isinstance(found, dict) or set(found) - set(keys) or set(keys) - set(found) - set(OPTIONAL):
        raise ValueError(f"{what} has the keys {', '.join(keys)}, of which {', '.join(OPTIONAL)} may be left out")
    if wrong := [name for name, value in found.items() if not isinstance(value, keys[name])]:
        raise ValueError(f"{what}: {wrong[0]}={found[wrong[0]]} is no {keys[wrong[0]].__name__}")


def _check_columns(what: str, panel: dict[str, Any]) -> None:
    """Raise ValueError for a query that does not parse, or a column that no results have."""
    try:
        used = columns(panel["where"])
    except SyntaxError as error:
        raise ValueError(f"{what}: where={panel['where']}: {error.msg}") from error
    used |= {panel["x"], panel.get("hue", "estimator"), *panel["y"].split("/")}
    known = {*store.COLUMNS, *DERIVED}
    if unknown := sorted(name for name in used if name not in known and name.partition(".")[0] not in LABELLED):
        raise ValueError(f"{what}: no column {', '.join(unknown)}")


def columns(where: str) -> set[str]:
    """The columns that a query names, dotted ones with or without backticks: those of `problem.k > 1 and point == 'a'`.

    Raises SyntaxError if it does not parse.
    """
    tree = ast.parse(where.replace("`", "").strip(), mode="eval")
    dotted = {node for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    inner = {node.value for node in dotted}
    return {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Name | ast.Attribute)} - {
        ast.unparse(node) for node in inner
    }


def select(panel: dict[str, Any], frame: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """The rows of a panel, and why it cannot be drawn ("" if it can)."""
    where, hue = panel["where"], panel.get("hue", "estimator")
    for name in sorted((str(name) for name in frame if "." in str(name)), key=len, reverse=True):
        where = re.sub(rf"(?<![\w.`]){re.escape(name)}(?![\w.`])", f"`{name}`", where)
    try:
        rows = frame.query(where, engine="python")
    except Exception as error:  # pandas raises many kinds; the results must outlive them all
        return frame[:0], f"{type(error).__name__}: {' '.join(str(error).split())}"
    if missing := [name for name in (panel["x"], hue, *panel["y"].split("/")) if name not in rows]:
        return rows[:0], f"no column {', '.join(missing)}"
    rows = rows[rows[panel["x"]].notna() & rows[hue].notna() & values_of(panel, rows)[0].notna()]
    if rows.empty:
        return rows, "no rows"
    if again := rows.duplicated([panel["x"], hue]).sum():
        held = [name for name in [*store.CELL, "group"] if name not in (panel["x"], hue)]
        differing = [name for name in held if rows.duplicated([panel["x"], hue, name]).sum() < again]
        return rows[:0], f"rows differ in {', '.join(differing)}: say which in `where`"
    return rows, ""


def left_out(described: Described, frame: pd.DataFrame) -> list[str]:
    """What of the figures described cannot be drawn, and why: one line a panel."""
    frame = frame[frame["status"].isin(store.MEASURED)]
    every = [(figure["name"], panel, select(panel, frame)[1]) for figure in described for panel in figure["panels"]]
    return [f"figure {name}: left out {panel['title']!r} ({reason})" for name, panel, reason in every if reason]


def values_of(panel: dict[str, Any], rows: pd.DataFrame) -> tuple[pd.Series, pd.Series, pd.Series]:
    """y and its interval; a column without one is its own."""
    name, _, over = panel["y"].partition("/")
    scale = rows[over].astype(float) if over else 1.0
    ends = [f"{name}{end}" if f"{name}{end}" in rows else name for end in ("", "_low", "_high")]
    y, low, high = (rows[end].astype(float) / scale for end in ends)
    return y, low, high
