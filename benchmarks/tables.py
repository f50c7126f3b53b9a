"""Results as tables for reading: on the page, on the terminal, in a paper. No torch, no Hydra."""

import re
from typing import Any

import numpy as np
import pandas as pd

from benchmarks import store
from benchmarks.comparisons import AT, PAIRED
from benchmarks.texts import interval, number, share, times
from benchmarks.verdicts import BIASED, has_norm, measured, rankable

PAPER = {
    "variance": "Total variance of one estimate",
    "bias": "Bias, as a share of the norm of the exact gradient",
    "work_variance": "Variance times evaluations of f",
    "seconds": "Seconds of one estimate",
}
RANKED = ("variance", "work_variance")
STYLES = {"latex": "tex", "markdown": "md"}


def reference(frame: pd.DataFrame, against: str | None = None) -> str:
    """The estimator that others are compared with: `against`, else the score function, where most cells have it.

    Of the estimators with the most cells that can be ranked and have a variance above zero, it is `score`, or
    the first of the alphabet; none is the empty name. Raises ValueError if `against` was not measured.
    """
    names = sorted(set(frame.loc[measured(frame), "estimator"]))
    if against is not None and against not in names:
        raise ValueError(f"against={against}: choose from {', '.join(names)}")
    whole = frame[(frame["group"] == "all") & (frame["variance_low"] > 0)]
    cells = whole.loc[rankable(whole), "estimator"].value_counts()
    return against or min(cells.index, key=lambda name: (-cells[name], name != "score", name), default="")


def relative(pairs: pd.DataFrame, chosen: str) -> pd.DataFrame:
    """The comparisons with one estimator, whichever side of the pair it is on: `against` is always that one."""
    turned = pairs.rename(columns={"estimator": "against", "against": "estimator"}).assign(
        ratio=1 / pairs["ratio"].astype(float),
        ratio_low=1 / pairs["ratio_high"].astype(float),
        ratio_high=1 / pairs["ratio_low"].astype(float),
        verdict=pairs["verdict"].replace({"better": "worse", "worse": "better"}),
    )
    both = pd.concat([pairs, turned], ignore_index=True)
    return both[both["against"] == chosen]


def in_words(rows: pd.DataFrame) -> list[str]:
    """The ratio of each comparison: 738 [716, 761] times less; not distinguishable, 1.01 [0.98, 1.04]."""
    ratios = rows[["ratio", "ratio_low", "ratio_high"]].astype(float).to_numpy()
    apart = rows["verdict"] != "not distinguishable"
    return [times(ratio, low, high, bool(told)) for (ratio, low, high), told in zip(ratios, apart, strict=True)]


def bias_text(frame: pd.DataFrame) -> list[str]:
    """Bias as a percentage of the exact gradient's norm; as it is where that norm is zero within rounding."""
    norms = frame["gradient_norm"].where(has_norm(frame), 0.0).astype(float)
    ends = frame[["bias", "bias_low", "bias_high"]].astype(float).to_numpy()
    return [share(tuple(values), norm) for values, norm in zip(ends, norms, strict=True)]


def text_of(frame: pd.DataFrame, column: str) -> list[str]:
    """A column with its interval as text."""
    ends = frame[[column, f"{column}_low", f"{column}_high"]].astype(float).to_numpy()
    return [interval(*values) for values in ends]


def caption(frame: pd.DataFrame) -> str:
    """What is the same in all cells."""
    same = [name for name in store.SETTING if len(set(frame[name])) == 1]
    return ", ".join(f"{name} {frame[name].iloc[0]}" for name in same)


def differing(frame: pd.DataFrame) -> list[str]:
    """The columns of a cell that tell cells apart, the estimator always among them."""
    return [name for name in store.CELL if len(set(frame[name])) > 1 or name == "estimator"]


def numbers(frame: pd.DataFrame, compared: pd.DataFrame, chosen: str) -> tuple[pd.DataFrame, dict[str, pd.Series]]:
    """The main table, one row a cell and group, as text; and what orders the columns that are not in order as text.

    compared: what `relative` returns for `chosen`.
    """
    columns = list(dict.fromkeys([*differing(frame), "latent_dim", "num_samples", "group"]))
    table = frame[columns].copy()
    order: dict[str, pd.Series] = {}

    def add(name: str, text: list[str], by: pd.Series) -> None:
        table[name], order[name] = text, by.astype(float)

    add("variance", text_of(frame, "variance"), frame["variance"])
    cell = ["estimator", *PAIRED]
    for at in AT:
        found = compared[compared["at"] == at]
        if len(found):
            told = found[cell].assign(text=in_words(found), ratio=found["ratio"].astype(float))
            joined = frame[cell].merge(told, how="left", on=cell).set_index(frame.index)
            add(f"variance vs {chosen}, {at}", list(joined["text"].fillna("")), joined["ratio"])
    norms = frame["gradient_norm"].astype(float)
    add("bias", bias_text(frame), frame["bias"].astype(float) / norms.where(norms > 0))
    table["bias?"] = frame["verdict"]
    least = frame["bias_detectable"].astype(float)
    add("detectable bias", [f"{number(100 * d)} %" if np.isfinite(d) else "" for d in least], least)
    for name, rounded in (("replicates", 7), ("evaluations", 4), ("seconds", 2)):
        add(name, [number(float(x), rounded) for x in frame[name]], frame[name])
    return table.assign(status=frame["status"]), order


def crossing_table(crossed: pd.DataFrame) -> pd.DataFrame:
    """Crossings as a table for reading: where, with its interval, and who has less variance on which side."""
    above = crossed["estimator_a"].where(crossed["below"] == crossed["estimator_b"], crossed["estimator_b"])
    held = ["problem", "point", "latent_dim", "num_samples", "seed", "device", "dtype"]
    columns = [name for name in held if len(set(crossed[name])) > 1 or name == "problem"]
    table = crossed[[*columns, "group", "option"]].copy()
    return table.assign(crossing=text_of(crossed, "value"), below=crossed["below"], above=above)


def growth_table(growth: pd.DataFrame) -> pd.DataFrame:
    """Exponents over all parameters as a table for reading."""
    whole = growth[growth["group"] == "all"]
    held = [name for name in PAIRED[:-1] if len(set(whole[name])) > 1]
    names = {"variance": "variance", "work_variance": "× evaluations", "work_variance_time": "× seconds"}
    rows = whole[["estimator", *held, "x"]].astype("object").fillna("any")
    rows = rows.assign(value=whole["value"].map(names), text=text_of(whole, "exponent"))
    table = rows.pivot_table(index=["estimator", *held, "x"], columns="value", values="text", aggfunc="first")
    return table[[name for name in names.values() if name in table]].fillna("").reset_index().rename_axis(columns=None)


def paper(frame: pd.DataFrame, style: str) -> dict[str, str]:
    """Tables for a paper by name, of each problem and point, over all parameters: S and estimators down, D across.

    † marks estimators whose bias was found; bold is the least among the others (of variances, and of variance times
    evaluations). style: `latex` (booktabs, multirow) or `markdown`.
    """
    rows = frame[(frame["group"] == "all") & measured(frame)]
    made = {}
    for setting, part in rows.groupby(store.SETTING):
        about = dict(zip(store.SETTING, setting, strict=True))
        for value, title in PAPER.items():
            label = store.file_name("-".join(str(x) for x in (value, *about.values())))
            least = "; bold is the least, from which others may not be distinguishable" if value in RANKED else ""
            heading = f"{title}: {about['problem']} at {about['point']}, with 95 % intervals; † is biased{least}."
            made[label] = _typeset(_pivot(part, value, style), style, heading, label)
    return made


def _pivot(part: pd.DataFrame, value: str, style: str) -> pd.DataFrame:
    """One value of one problem and point, as text."""
    dagger, bold = (r"$^\dagger$", "\\textbf{%s}") if style == "latex" else ("†", "**%s**")
    text = pd.Series(bias_text(part) if value == "bias" else text_of(part, value), index=part.index)
    if style == "latex":
        text = text.str.replace("%", r"\%")
    if value in RANKED:
        allowed = part[value].where(rankable(part)).astype(float)
        best = allowed == allowed.groupby([part["latent_dim"], part["num_samples"]]).transform("min")
        text = text.where(~best, text.map(lambda x: bold % x))
    text += np.where(part["verdict"].str.startswith(BIASED), dagger, "")
    return (
        part.assign(text=text)
        .pivot_table(index=["num_samples", "estimator"], columns="latent_dim", values="text", aggfunc="first")
        .fillna("")
        .rename(columns="D = {}".format)
        .rename_axis(index=["S", "estimator"], columns=None)
    )


def _typeset(table: pd.DataFrame, style: str, heading: str, label: str) -> str:
    if style == "markdown":
        return f"{heading}\n\n{table.reset_index().to_markdown(index=False, disable_numparse=True)}\n"
    settings: dict[str, Any] = {"hrules": True, "position": "t", "caption": heading, "label": f"tab:{label}"}
    settings["caption"] = re.sub(r"([%&$#_{}])", r"\\\1", heading).replace("†", r"$^\dagger$")
    styled = table.style.format_index(escape="latex", axis=0).format_index(escape="latex", axis=1)
    return "% needs \\usepackage{booktabs,multirow}\n" + styled.to_latex(**settings)
