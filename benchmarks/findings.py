"""What results say, in plain sentences; each number in them stands in the report's tables too. No torch, no Hydra."""

from collections.abc import Iterator
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmarks import tables
from benchmarks.comparisons import AT
from benchmarks.intervals import EQUIVALENCE
from benchmarks.store import SETTING
from benchmarks.texts import listed, number
from benchmarks.verdicts import BIASED, finite, has_norm, measured, noiseless, rankable, trusted, unbiased, usable

SIZES = ["latent_dim", "num_samples"]
MOST_SETTINGS = 12
MOST_BETWEEN = 10


class Results(NamedTuple):
    """A results folder and what was worked out from it.

    frame: see `benchmarks.report.load`. pairs, growth, crossed: of `benchmarks.comparisons.compare`, `exponents` and
    `benchmarks.overtaking.crossings`. chosen: the estimator that others are compared with.
    """

    frame: pd.DataFrame
    pairs: pd.DataFrame
    growth: pd.DataFrame
    crossed: pd.DataFrame
    chosen: str


class Text(NamedTuple):
    """What is said of results, on the page and on the terminal: sentences under titles, and the main table.

    table: one row a cell and group that was measured. order: what orders its columns that are not in order as text.
    """

    findings: list[tuple[str, list[str]]]
    table: pd.DataFrame
    order: dict[str, pd.Series]


def told(results: Results) -> Text:
    """The sentences and the main table of results."""
    rows = results.frame[measured(results.frame)]
    table, order = tables.numbers(rows, tables.relative(results.pairs, results.chosen), results.chosen)
    return Text(sentences(results), table, order)


def sentences(results: Results) -> list[tuple[str, list[str]]]:
    """Of each problem and point: its name, and sentences on variance, bias and growth over all parameters.

    Of more than MOST_SETTINGS the first ones only; then a last entry says so.
    """
    whole = results.frame[(results.frame["group"] == "all") & measured(results.frame)]
    settings = list(whole.groupby(SETTING, sort=True))
    varying = [name for name in SETTING[2:] if len(set(whole[name])) > 1]
    said = []
    for setting, part in settings[:MOST_SETTINGS]:
        where = dict(zip(SETTING, setting, strict=True))
        title = f"{where['problem']} at {where['point']}"
        title += "".join(f", {name} {where[name]}" for name in varying)
        pairs, growth = _within(results.pairs, where), _within(results.growth, where)
        held = results._replace(frame=part, pairs=pairs, growth=growth)
        said.append((title, [*_variance(held), *_bias(part), *_growth(held)]))
    crossed = results.crossed[results.crossed["group"] == "all"]
    between = [*_flips(whole, results.pairs), *_crossings(crossed)]
    more = (
        [f"And {len(between) - MOST_BETWEEN} more: see the figures and tables."] if len(between) > MOST_BETWEEN else []
    )
    said += [("Between points, and along options", between[:MOST_BETWEEN] + more)] if between else []
    if len(settings) > MOST_SETTINGS:
        said.append((f"And {len(settings) - MOST_SETTINGS} more", ["They are in the tables and figures below."]))
    return said


def _within(table: pd.DataFrame, where: dict[str, Any]) -> pd.DataFrame:
    """The rows over all parameters of one problem and point."""
    kept = table["group"] == "all"
    for name, value in where.items():
        kept &= table[name] == value if name in table else True
    return table[kept]


def hardest(part: pd.DataFrame) -> pd.DataFrame:
    """The cells of which a finding speaks: of the (D, S) with most estimators those at the largest D, then least S."""
    count = part.groupby(SIZES)["estimator"].transform("nunique")
    full = part[count == count.max()]
    widest = full[full["latent_dim"] == full["latent_dim"].max()]
    return widest[widest["num_samples"] == widest["num_samples"].min()]


def _at(row: Any) -> str:
    return f"D = {row.latent_dim}, S = {row.num_samples}"


def _rows(frame: pd.DataFrame) -> list[Any]:
    return list(frame.itertuples())


def _least(part: pd.DataFrame) -> pd.DataFrame:
    """Where it is hardest, the estimators that may be ranked and have a variance, the least first."""
    here = hardest(part)
    return here[rankable(here) & ~noiseless(here)].sort_values("variance")


def _variance(held: Results) -> Iterator[str]:
    """Who has the least variance where it is hardest, and how much less than the reference."""
    here = hardest(held.frame)
    where = _at(_rows(here)[0])
    nothing = sorted(here.loc[rankable(here) & noiseless(here), "estimator"])
    if nothing:
        yield f"No variance is left of {listed(nothing)} at {where}: zero, within rounding."
    ranked = _least(held.frame)
    variances = tables.text_of(ranked, "variance")
    if len(ranked) == 1:
        yield f"{ranked['estimator'].iloc[0]} has a variance of {variances[0]} at {where}."
    elif len(ranked):
        yield from _best(held, ranked, where, "least variance above zero" if nothing else "least variance")
    unknown = sorted(here.loc[unbiased(here) & usable(here) & ~(finite(here) & trusted(here)), "estimator"])
    if unknown:
        yield f"The tail of {listed(unknown)} allows no verdict on the variance there."


def _best(held: Results, ranked: pd.DataFrame, where: str, what: str) -> Iterator[str]:
    """Who comes first of several, who ties, and the comparison with the reference, which the table has too."""
    best = str(ranked["estimator"].iloc[0])
    there = held.pairs.merge(ranked[SIZES].drop_duplicates())
    told = tables.relative(there, best)
    told = told[told["estimator"].isin(ranked["estimator"])]
    tied = told[(told["at"] == "one estimate") & (told["verdict"] == "not distinguishable")]["estimator"]
    also = f"; {listed(sorted(tied))} cannot be told from it" if len(tied) else ""
    variance = tables.text_of(ranked, "variance")[0]
    yield f"{best} has the {what}, {variance}, of {len(ranked)} estimators that can be ranked at {where}{also}."
    against = tables.relative(there, held.chosen)
    against = against[against["estimator"] == best]
    words = dict(zip(against["at"], tables.in_words(against), strict=True))
    said = [f"{words[at]} ({at})" for at in AT if at in words]
    if said:
        yield f"Its variance relative to {held.chosen}'s there: {'; '.join(said)}."


def _bias(part: pd.DataFrame) -> Iterator[str]:
    """Whose bias was found and how large it is; how large it may be of the others."""
    tested = part[part["bias_p"].notna()]
    tested = tested.assign(text=tables.bias_text(tested), share=tested["bias_high"] / tested["gradient_norm"])
    tested = tested[has_norm(tested)]
    found = tested["verdict"].str.startswith(BIASED)
    largest = tested[found].assign(size=lambda rows: rows["bias"] / rows["gradient_norm"])
    largest = largest.sort_values("size", ascending=False).drop_duplicates("estimator")
    said = [f"{row.estimator} {row.text} ({_at(row)})" for row in _rows(largest)]
    if said:
        yield f"Bias was found, at its largest as a share of the exact gradient's norm: {listed(said, most=40)}."
    yield from _no_bias(tested[~found])


def _no_bias(rest: pd.DataFrame) -> Iterator[str]:
    """How large a bias may be where none was found."""
    if len(rest):
        worst = _rows(rest.sort_values("share", ascending=False))[0]
        ends = f"{number(100 * worst.share)} %"
        if len(rest) == 1:
            yield f"No bias of {worst.estimator} was found: its interval ends at {ends} of the exact gradient's norm."
            return
        close = int((rest["share"] <= EQUIVALENCE).sum())
        within = f"In {close or 'none'} it is within {100 * EQUIVALENCE:g} % of the exact gradient's norm for certain"
        names = listed(sorted(set(rest["estimator"])))
        widest = f"the widest interval ends at {ends} ({worst.estimator} at {_at(worst)})"
        yield f"No bias was found in {len(rest)} cells ({names}). {within}; {widest}."


def _growth(held: Results) -> Iterator[str]:
    """How the variance grows with D and S: of the reference, and of who has the least."""
    rows = held.growth[(held.growth["value"] == "variance") & np.isfinite(held.growth["exponent_low"].astype(float))]
    spoken = [held.chosen, *_least(held.frame)["estimator"].iloc[:1]]
    cell = hardest(held.frame)[SIZES].iloc[0]
    for x, symbol, other in (("latent_dim", "D", "num_samples"), ("num_samples", "S", "latent_dim")):
        lines = rows[(rows["x"] == x) & (rows[other] == cell[other])]
        words = dict(zip(lines["estimator"], tables.text_of(lines, "exponent"), strict=True))
        said = [f"{name}'s as {symbol} to the power {words[name]}" for name in dict.fromkeys(spoken) if name in words]
        if said:
            held_at = f"{'S' if symbol == 'D' else 'D'} = {cell[other]}"
            yield f"With {symbol}, at {held_at}, variance changes: {listed(said)}."


def _flips(whole: pd.DataFrame, pairs: pd.DataFrame) -> Iterator[str]:
    """Where the least variance is another estimator's at another point, beyond doubt."""
    pairs = pairs[(pairs["group"] == "all") & (pairs["at"] == "one estimate")]
    held = [name for name in (*SETTING, *SIZES) if name != "point"]
    for _, part in whole[rankable(whole) & ~noiseless(whole)].groupby(held):
        here = pairs.merge(part[held].drop_duplicates())
        best = _rows(part.sort_values("variance").drop_duplicates("point").sort_values("point"))
        for one, two in combinations(best, 2):
            told = tables.relative(here[here["point"].isin([one.point, two.point])], two.estimator)
            told = told[told["estimator"] == one.estimator].set_index("point")["verdict"]
            if told.get(one.point) == "better" and told.get(two.point) == "worse":
                where = f"On {one.problem} at {_at(one)}, {one.estimator} has less variance than {two.estimator}"
                yield f"{where} at {one.point}, and more at {two.point}."


def _crossings(crossed: pd.DataFrame) -> Iterator[str]:
    """Where one estimator's variance overtakes another's along an option: each pair's ranges, in order."""
    held = ["point", "latent_dim", "num_samples", "seed", "device", "dtype"]
    varying = [name for name in held if len(set(crossed[name])) > 1]
    ordered = crossed.assign(text=tables.text_of(crossed, "value")).sort_values("value")
    for _, pair in ordered.groupby(["problem", "option", *held, "estimator_a", "estimator_b"]):
        rows = _rows(pair)
        first = rows[0]
        ends = [f"{row.below} below {row.option} = {row.text}" for row in rows]
        last = first.estimator_a if rows[-1].below == first.estimator_b else first.estimator_b
        where = "".join(f", {name} {getattr(first, name)}" for name in varying)
        yield f"On {first.problem}{where}, the less variance of two has {', then '.join(ends)}, then {last}."
