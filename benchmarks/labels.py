"""The numbers in labels: `cost_cos(k=0.5)` has the name `cost_cos` and the option k = 0.5."""

import re
from collections.abc import Mapping
from typing import Any

import pandas as pd

NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
OPTION = re.compile(rf"(?<=[(, ])([\w.]+)=({NUMBER})(?=[,)])")
LABELLED = ("problem", "estimator")
Recorded = Mapping[str, Mapping[str, float]]


def options(labels: pd.Series, recorded: Recorded | None = None) -> pd.DataFrame:
    """Columns `problem.name`, `problem.k` ... of labels called `problem`: the name, and every option that is a number.

    A label names only what differs from the option's YAML. What a sweep was run with says the rest: recorded, by label,
    as `numbers` gives it. Where neither says, the number is nan.

        >>> options(pd.Series(["cost_cos(k=0.5)", "cost_linear"], name="problem"))
          problem.name  problem.k
        0     cost_cos        0.5
        1  cost_linear        NaN
    """
    known = {
        label: {name: float(value) for name, value in OPTION.findall(label)} | dict((recorded or {}).get(label, {}))
        for label in set(labels)
    }
    names = list(dict.fromkeys(name for label in sorted(known) for name in known[label]))
    columns = {"name": [label.partition("(")[0] for label in labels]}
    numbers = {name: [known[label].get(name, float("nan")) for label in labels] for name in names}
    return pd.DataFrame(columns | numbers, index=labels.index).add_prefix(f"{labels.name}.")


def with_options(frame: pd.DataFrame, recorded: Recorded | None = None) -> pd.DataFrame:
    """A frame of results and, beside its own columns, the options in its labels."""
    return pd.concat([frame, *(options(frame[column], recorded) for column in LABELLED)], axis=1)


def numbers(node: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """The options of an estimator's or a problem's configuration that are numbers, nested ones by dotted name."""
    found: dict[str, float] = {}
    for name, value in node.items():
        if isinstance(value, dict):
            found |= numbers(value, f"{prefix}{name}.")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found[f"{prefix}{name}"] = value
    return found


def without(label: str, option: str) -> str:
    """A label without one of its options: cost_cos(k=0.5, offset=1) without k is cost_cos(offset=1)."""
    inner = re.sub(rf"(?<=[(, ]){re.escape(option)}={NUMBER}(?:, ?)?", "", label)
    return re.sub(r",? ?\)$", ")", inner).replace("()", "")
