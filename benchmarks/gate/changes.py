"""A comparison of two sides: every finding, what it comes to, and the page of Markdown that says so."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.comparisons import SIDES
from benchmarks.gate import regressions, sides, timing
from benchmarks.texts import counted, listed

WORSE, INCOMPARABLE = 1, 2
MOST_ROWS, MOST_NAMES = 200, 8


@dataclass(frozen=True)
class Comparison:
    """Findings with verdicts (`regressions.judge`), how the two sides join, and what was said of times."""

    table: pd.DataFrame
    joined: sides.Joined
    times: str
    false_alarms: float
    partial: bool

    @property
    def obstacles(self) -> list[str]:
        """Why the two are not comparable, a line each; none if they are."""
        lacking = len(self.joined.lacking)
        names = named(self.joined.lacking["estimator"]) if lacking else ""
        line = (
            f"The candidate lacks {counted(lacking, 'cell')} of the baseline ({names}); `partial=true` leaves them out."
        )
        return [*self.joined.obstacles, *([line] if lacking and not self.partial else [])]

    @property
    def status(self) -> int:
        """Exit status: 1 something is worse, 2 not comparable, 0 neither."""
        if (self.table["verdict"] == "worse").any():
            return WORSE
        return INCOMPARABLE if self.obstacles else 0


def compare(
    baseline: sides.Side,
    candidate: sides.Side,
    false_alarms: float = 0.01,
    partial: bool = False,
    turns: pd.DataFrame | None = None,
) -> Comparison:
    """Everything that a comparison tests; turns: times taken side by side (`lockstep.timed`), which replace the sides'.

    Raises sides.NotComparable if no cell is on both sides, or the seeds do not fit.
    """
    joined = sides.join(baseline, candidate)
    pairs = joined.pairs
    shifts = timing.shifts_of(pairs) if turns is None else timing.shifts_of_turns(turns)
    slower, times = timing.slowdowns(shifts, turns is not None, false_alarms)
    kinds = (regressions.statuses(joined.cells), regressions.counts(pairs), regressions.variances(pairs))
    found = [table for table in (*kinds, regressions.biases(pairs), slower) if len(table)]
    table = pd.concat(found, ignore_index=True) if found else regressions.findings(pairs[:0], "")
    return Comparison(regressions.judge(table, false_alarms), joined, times, false_alarms, partial)


def page(comparison: Comparison, baseline: str, candidate: str) -> str:
    """Markdown: what changed, line by line and as a table, worse first; what was tested; the verdict."""
    table, joined = comparison.table, comparison.joined
    worse, better = (table[table["verdict"] == verdict] for verdict in ("worse", "better"))
    lines = [f"## Gate: {candidate} against {baseline}", ""]
    lines += [f"- **worse**: {sentence(row)}" for _, row in worse[:MOST_ROWS].iterrows()]
    changed = pd.concat([worse, better])
    if len(changed):
        lines += ["", rendered(changed[:MOST_ROWS]), ""]
    else:
        lines += ["No change was found.", ""]
    if len(changed) > MOST_ROWS:
        lines += [f"{counted(len(changed) - MOST_ROWS, 'further change')} not shown.", ""]
    lines += [f"- {line}" for line in (*tested(comparison), *joined.notes)]
    lines += [f"- not comparable: {line}" for line in comparison.obstacles]
    verdict = {
        0: "nothing is worse",
        WORSE: f"{counted(len(worse), 'finding')} of something worse",
        INCOMPARABLE: "not comparable",
    }
    names = named(worse["estimator"]) if len(worse) else ""
    end = f" ({names})" if names else f": {comparison.obstacles[0]}" if comparison.status else ""
    return "\n".join([*lines, "", f"**Verdict: {verdict[comparison.status]}{end}**"])


def sentence(row: pd.Series) -> str:
    """What is worse, where and by how much."""
    where = (
        f"`{row['estimator']}` on {row['problem']} at {row['point']}, D = {row['latent_dim']}, S = {row['num_samples']}"
    )
    group = "" if row["group"] == "all" else f", {row['group']}"
    values = f" {shown(row['baseline'])} → {shown(row['candidate'])}" if pd.notna(row["baseline"]) else ""
    ratio = f" ({interval(row)} times)" if np.isfinite(row["ratio"]) else ""
    p = f", adjusted p = {row['p']:.1g}" if np.isfinite(row["p"]) else ""
    return f"{where}{group}: {row['what']}{values}{ratio}{p}" + (f": {row['why']}" if row["why"] else "")


def named(names: pd.Series) -> str:
    """Each name once, the first few of many."""
    return listed(list(dict.fromkeys(names)), MOST_NAMES)


def interval(row: pd.Series) -> str:
    """A ratio and its interval, where it has one."""
    ends = f" [{row['ratio_low']:.4g}, {row['ratio_high']:.4g}]" if np.isfinite(row["ratio_low"]) else ""
    return f"{row['ratio']:.4g}{ends}"


def shown(value: object) -> str:
    """A number to four digits, or a text; empty where there is none."""
    return str(value) if not isinstance(value, int | float) else f"{value:.4g}" if value == value else ""


def rendered(changed: pd.DataFrame) -> str:
    """Findings as a Markdown table."""
    columns = {
        "": changed["verdict"],
        **{name: changed[name] for name in regressions.WHERE},
        "what": changed["what"],
        "baseline": changed["baseline"].map(shown),
        "candidate": changed["candidate"].map(shown),
        "ratio [95 %]": [interval(row) if np.isfinite(row["ratio"]) else "" for _, row in changed.iterrows()],
        "adjusted p": [f"{p:.1g}" if np.isfinite(p) else "exact" for p in changed["p"]],
    }
    frame = pd.DataFrame(columns).rename(columns={"latent_dim": "D", "num_samples": "S"})
    return frame.to_markdown(index=False, disable_numparse=True)


def tested(comparison: Comparison) -> list[str]:
    """How many tests there were, at which rate, and what was left out, a line each."""
    table, joined = comparison.table, comparison.joined
    chance = int(table["worse"].notna().sum())
    untested = table.loc[table["untested"] != "", "untested"]
    why = "; ".join(f"{count} × {reason}" for reason, count in untested.value_counts().items())
    exactly = len(table) - chance - len(untested)
    compared = ", ".join([counted(chance, "test"), counted(exactly, "exact comparison")])
    rate = f"{100 * comparison.false_alarms:g} %"
    lines = [
        f"{counted(len(joined.cells), 'cell')} on both sides; {compared}. If nothing changed, the chance that anything "
        f"is called worse is at most {rate} (Holm).",
        comparison.times,
    ]
    lines += [f"Not tested: {len(untested)} ({why})."] if len(untested) else []
    failed = int(
        ((joined.cells["status" + SIDES[0]] == "failed") & (joined.cells["status" + SIDES[1]] == "failed")).sum()
    )
    lines += [f"{counted(failed, 'cell')} failed on both sides."] if failed else []
    for name, only in (("baseline", joined.lacking), ("candidate", joined.new)):
        if len(only):
            lines.append(f"{counted(len(only), 'cell')} only in the {name} ({named(only['estimator'])}).")
    return lines
