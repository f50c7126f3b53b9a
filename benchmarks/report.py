"""The report of a results folder: `python benchmarks/report.py results/NAME`."""

import argparse
import base64
import shutil
import sys
from itertools import chain
from pathlib import Path

import jinja2
import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from benchmarks import descriptions, panels, plots, store
from benchmarks.comparisons import AT, FALSE_DISCOVERIES, compare, exponents
from benchmarks.labels import with_options
from benchmarks.overtaking import crossings, swept

EQUIVALENCE = 0.01
NOT_TESTED = "not tested"


def load(folder: str | Path) -> pd.DataFrame:
    """A results folder as one tidy frame, one row a cell and parameter group, with a `verdict` on bias.

    `bias_p_adjusted` is the p-value corrected for the number of rows (Benjamini and Hochberg 1995): below 1 %, the
    verdict is `biased`. Where the whole 95 % interval is below 1 % of the gradient's norm (two one-sided tests, each at
    2.5 %: Schuirmann 1987), it is `within 1 %`, with or without `biased`; else `no bias found`.

    Raises store.NotAResultsFolder if there is nothing to load.
    """
    folder = Path(folder)
    parquet = folder / "results.parquet"
    frame = store.gather(folder) if (folder / "cells").is_dir() or not parquet.exists() else pd.read_parquet(parquet)
    tested = frame["bias_p"].notna()
    frame["bias_p_adjusted"] = np.nan
    if tested.any():
        frame.loc[tested, "bias_p_adjusted"] = false_discovery_control(frame.loc[tested, "bias_p"].astype(float))
    biased = frame["bias_p_adjusted"] < FALSE_DISCOVERIES
    close = frame["bias_high"] <= EQUIVALENCE * frame["gradient_norm"]
    within = f"within {100 * EQUIVALENCE:g} %"
    verdicts = [~tested, biased & close, biased, close]
    frame["verdict"] = np.select(verdicts, ["", f"biased, {within}", "biased", within], "no bias found")
    frame.loc[frame["status"].isin(store.MEASURED) & ~tested, "verdict"] = NOT_TESTED
    return frame


def with_interval(rows: pd.DataFrame, column: str) -> pd.Series:
    """A number and its interval as text: 1.31 [1.29, 1.34]; 30 (exact); infinite; 2.1 [?] where no interval holds."""
    return pd.Series(
        [
            ""
            if pd.isna(value)
            else "infinite"
            if np.isinf(value)
            else f"{value:.3g} [?]"
            if pd.isna(low)
            else f"{value:.3g} [{low:.3g}, {high:.3g}]"
            if low < value * (1 - 1e-6) or high > value * (1 + 1e-6)
            else f"{value:.4g} (exact)"
            for value, low, high in zip(rows[column], rows[f"{column}_low"], rows[f"{column}_high"], strict=True)
        ],
        index=rows.index,
        dtype="str",
    )


def compact(frame: pd.DataFrame) -> tuple[str, pd.DataFrame]:
    """A caption that says what is the same in all cells, and a table of what is not, by cell and group."""
    same = [name for name in plots.SETTING if len(set(frame[name])) == 1]
    caption = ", ".join(f"{name} {frame[name].iloc[0]}" for name in same)
    columns = [name for name in store.CELL if name not in same]
    table = frame[[*columns, "group", "replicates"]].copy()
    table["replicates"] = [f"{n:.0f}" if pd.notna(n) else "" for n in frame["replicates"]]
    table["variance"] = with_interval(frame, "variance")
    table["bias"] = with_interval(frame, "bias")
    table["bias?"] = frame["verdict"]
    table["detectable"] = [f"{100 * d:.3g} %" if np.isfinite(d) else "" for d in frame["bias_detectable"].astype(float)]
    table["seconds"] = [f"{s:.2g}" if pd.notna(s) else "" for s in frame["seconds"]]
    table["variance x seconds"] = with_interval(frame, "work_variance_time")
    table["status"] = frame["status"]
    return caption, table


def compared(frame: pd.DataFrame, pairs: pd.DataFrame, against: str | None) -> tuple[str, pd.DataFrame]:
    """One estimator's name, and how all others compare with it over all parameters: a row a cell and estimator.

    The name is `against`, else that of the estimator with the most cells that are `ok`, with a variance and no bias
    found, the first of the alphabet. Those whose bias was found are marked.
    """
    whole = frame[frame["group"] == "all"]
    sound = (whole["status"] == "ok") & (whole["variance_low"] > 0) & np.isfinite(whole["variance"].astype(float))
    sound &= ~whole["verdict"].str.startswith(("biased", NOT_TESTED))
    cells = whole.loc[sound, "estimator"].value_counts()
    chosen = against or (min(cells.index, key=lambda name: (-cells[name], name)) if len(cells) else "")
    turned = pairs.rename(columns={"estimator": "against", "against": "estimator"}).assign(
        ratio=1 / pairs["ratio"].astype(float),
        ratio_low=1 / pairs["ratio_high"].astype(float),
        ratio_high=1 / pairs["ratio_low"].astype(float),
        verdict=pairs["verdict"].replace({"better": "worse", "worse": "better"}),
    )
    both = pd.concat([pairs, turned], ignore_index=True)
    both = both[(both["against"] == chosen) & (both["group"] == "all")]
    biased = whole.loc[whole["verdict"].str.startswith("biased"), store.CELL].assign(mark=", but biased")
    both = both.merge(biased, how="left", on=store.CELL)
    both["text"] = with_interval(both, "ratio") + ": " + both["verdict"] + both["mark"].fillna("")
    columns = [name for name in store.CELL if len(set(frame[name])) > 1 or name == "estimator"]
    table = (
        both.pivot_table(index=store.CELL, columns="at", values="text", aggfunc="first")
        .reset_index()
        .rename_axis(columns=None)
    )
    return chosen, table[[*columns, *(at for at in AT if at in table)]]


def crossing_table(crossed: pd.DataFrame) -> pd.DataFrame:
    """Crossings as a table for reading: where, with its interval, and who has less variance on which side."""
    above = crossed["estimator_a"].where(crossed["below"] == crossed["estimator_b"], crossed["estimator_b"])
    held = ["problem", "point", "latent_dim", "num_samples", "seed", "device", "dtype"]
    columns = [name for name in held if len(set(crossed[name])) > 1 or name == "problem"]
    table = crossed[[*columns, "group", "option"]].copy()
    return table.assign(crossing=with_interval(crossed, "value"), below=crossed["below"], above=above)


def write(folder: str | Path, against: str | None = None) -> pd.DataFrame:
    """Gather a results folder, write its tables, figures and page, and print a summary. Returns the frame.

    Raises store.NotAResultsFolder if there is nothing to load, ValueError if no cell of `against` was measured.
    """
    folder = Path(folder)
    frame = load(folder)
    about = store.about(folder)
    described, labelled = about.get("panels", []), with_options(frame, about.get("options"))
    pairs, growth, crossed = compare(frame, against), exponents(frame), crossings(labelled)
    chosen, comparisons = compared(frame, pairs, against)
    caption, table = compact(frame)
    frames = {
        "summary": frame.drop(columns=["key", "batch_variances", "deviation_counts"]),
        "comparisons": pairs,
        "exponents": growth,
    }
    frames |= {"crossings": crossed} if len(crossed) else {}
    (folder / "crossings.csv").unlink(missing_ok=True)
    for name, rows in frames.items():
        store.write_atomically(folder / f"{name}.csv", rows.to_csv(index=False).encode())
    images = []
    shutil.rmtree(folder / "figures", ignore_errors=True)
    steps = swept(labelled) if described else set()
    for name, text, figure in chain(panels.figures(described, labelled), plots.figures(frame, without=steps)):
        svg = plots.save(figure, folder / "figures" / name)
        images.append((text, base64.b64encode(svg).decode()))
    template = jinja2.Environment(autoescape=True).from_string(Path(__file__).with_name("report.html.j2").read_text())
    differing = [name for name in store.CELL if len(set(frame[name])) > 1 or name == "estimator"]
    odd = frame[(frame["status"] != "ok") & (frame["group"] == "all")][[*differing, "status", "reason"]]
    tables = {"comparisons": comparisons, "crossings": crossing_table(crossed), "table": table, "odd": odd}
    page = template.render(
        name=folder.resolve().name,
        caption=caption,
        about=about,
        counts=frame.loc[frame["group"] == "all", "status"].value_counts().to_dict(),
        against=chosen,
        images=images,
        **{name: rows.to_html(index=False, border=0) if len(rows) else "" for name, rows in tables.items()},
    )
    store.write_atomically(folder / "report.html", page.encode())
    _print(frame, caption, table, against, chosen, comparisons)
    for line in descriptions.left_out(described, labelled):
        print(line)
    print(f"report: {folder / 'report.html'}")
    return frame


def _print(
    frame: pd.DataFrame, caption: str, table: pd.DataFrame, against: str | None, chosen: str, comparisons: pd.DataFrame
) -> None:
    """The tables of `write` on the terminal, over all parameters, and what was not measured as asked."""
    whole = table[frame["group"] == "all"].drop(columns="group")
    print(f"\n{caption}\n\n{whole.to_markdown(index=False, disable_numparse=True)}\n")
    if len(comparisons):
        print(f"variance relative to {chosen}\n\n{comparisons.to_markdown(index=False, disable_numparse=True)}\n")
    elif against:
        print(f"no cell of {against} has a variance above zero to compare with\n")
    for row in frame[(frame["status"] != "ok") & (frame["group"] == "all")].itertuples():
        print(f"{row.status}: {row.estimator} on {row.problem} D={row.latent_dim} S={row.num_samples}: {row.reason}")


def main() -> int:
    """Command line; returns its exit status."""
    parser = argparse.ArgumentParser(description="Gather a results folder and write its table, figures and page.")
    parser.add_argument("folder", type=Path, help="the `out` of a run")
    parser.add_argument("--against", help="the estimator that all others are compared with")
    options = parser.parse_args()
    try:
        write(options.folder, options.against)
    except (store.NotAResultsFolder, ValueError) as error:
        print(f"report.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
