"""The report of a results folder: `python benchmarks/report.py results/NAME`."""

import argparse
import base64
import shutil
import sys
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from benchmarks import descriptions, page, panels, plots, store, tables, verdicts
from benchmarks.comparisons import FALSE_DISCOVERIES, compare, exponents
from benchmarks.findings import Results, Text, told
from benchmarks.intervals import EQUIVALENCE
from benchmarks.labels import with_options
from benchmarks.overtaking import crossings, swept


def load(folder: str | Path) -> pd.DataFrame:
    """A results folder as one tidy frame, one row a cell and parameter group, with a `verdict` on bias.

    `oracle` marks estimators that know what nobody knows in practice, such as E f.
    `bias_p_adjusted` is the p-value corrected for the number of rows (Benjamini and Hochberg 1995): below 1 %, the
    verdict is `biased`. Where the whole 95 % interval is below 1 % of the gradient's norm (two one-sided tests, each at
    2.5 %: Schuirmann 1987), it is `within 1 %`, with or without `biased`; else `no bias found`.

    Raises store.NotAResultsFolder if there is nothing to load.
    """
    folder = Path(folder)
    parquet = folder / "results.parquet"
    frame = store.gather(folder) if (folder / "cells").is_dir() or not parquet.exists() else pd.read_parquet(parquet)
    frame["oracle"] = frame["estimator"].isin(store.about(folder).get("oracles", []))
    tested = frame["bias_p"].notna()
    frame["bias_p_adjusted"] = np.nan
    if tested.any():
        frame.loc[tested, "bias_p_adjusted"] = false_discovery_control(frame.loc[tested, "bias_p"].astype(float))
    biased = frame["bias_p_adjusted"] < FALSE_DISCOVERIES
    close = frame["bias_high"] <= EQUIVALENCE * frame["gradient_norm"]
    within = f"within {100 * EQUIVALENCE:g} %"
    cases = [~tested, biased & close, biased, close]
    frame["verdict"] = np.select(cases, ["", f"biased, {within}", "biased", within], "no bias found")
    frame.loc[verdicts.measured(frame) & ~tested, "verdict"] = verdicts.NOT_TESTED
    return frame


def write(folder: str | Path, against: str | None = None, styles: Sequence[str] = ()) -> pd.DataFrame:
    """Gather a results folder, write its tables, figures and page, and print a summary. Returns the frame.

    styles: of tables for a paper, in `tables/`: `latex`, `markdown` or both.

    Raises store.NotAResultsFolder if there is nothing to load, ValueError if no cell of `against` was measured.
    """
    folder = Path(folder)
    frame = load(folder)
    about = store.about(folder)
    described, labelled = about.get("panels", []), with_options(frame, about.get("options"))
    chosen = tables.reference(frame, against)
    results = Results(frame, _pairs(frame, chosen), exponents(frame), crossings(labelled), chosen)
    _write_tables(folder, results, styles)
    notes = descriptions.left_out(described, labelled)
    shutil.rmtree(folder / "figures", ignore_errors=True)
    steps = swept(labelled) if described else set()
    images = []
    for name, text, figure in chain(
        panels.figures(described, labelled), plots.figures(frame, without=steps, pairs=results.pairs)
    ):
        svg = plots.save(figure, folder / "figures" / name)
        images.append((text, figure.get_figwidth() > 1.5 * plots.COLUMN, base64.b64encode(svg).decode()))
    said = told(results)
    html = page.render(folder.resolve().name, about, results, said, images, notes)
    store.write_atomically(folder / "report.html", html.encode())
    _print(results, said, against)
    for line in notes:
        print(line)
    print(f"report: {folder / 'report.html'}")
    return frame


def _pairs(frame: pd.DataFrame, chosen: str) -> pd.DataFrame:
    """Comparisons of every pair of estimators over all parameters; in each group with the chosen one only."""
    whole = frame["group"] == "all"
    return pd.concat([compare(frame[whole]), *([compare(frame[~whole], chosen)] if chosen and not whole.all() else [])])


def _write_tables(folder: Path, results: Results, styles: Sequence[str]) -> None:
    """The CSV files, and the tables for a paper."""
    summary = results.frame.drop(columns=["key", "batch_variances", "deviation_counts"], errors="ignore")
    frames = {"summary": summary, "comparisons": results.pairs, "exponents": results.growth}
    frames |= {"crossings": results.crossed} if len(results.crossed) else {}
    (folder / "crossings.csv").unlink(missing_ok=True)
    for name, rows in frames.items():
        store.write_atomically(folder / f"{name}.csv", rows.to_csv(index=False).encode())
    for style in styles:
        for name, text in tables.paper(results.frame, style).items():
            store.write_atomically(folder / "tables" / f"{name}.{tables.STYLES[style]}", text.encode())


def _print(results: Results, text: Text, against: str | None) -> None:
    """What was found and the main table on the terminal, over all parameters, and what was not measured as asked."""
    frame = results.frame
    whole = text.table[text.table["group"] == "all"].drop(columns="group")
    print(f"\n{tables.caption(frame)}\n\n{whole.to_markdown(index=False, disable_numparse=True)}\n")
    if against and tables.relative(results.pairs, results.chosen).empty:
        print(f"no cell of {against} has a variance above zero to compare with\n")
    for title, said in text.findings:
        print(f"{title}:", *(f"  {sentence}" for sentence in said), sep="\n")
    for row in frame[(frame["status"] != "ok") & (frame["group"] == "all")].itertuples():
        print(f"{row.status}: {row.estimator} on {row.problem} D={row.latent_dim} S={row.num_samples}: {row.reason}")


def main() -> int:
    """Command line; returns its exit status."""
    parser = argparse.ArgumentParser(description="Gather a results folder and write its table, figures and page.")
    parser.add_argument("folder", type=Path, help="the `out` of a run")
    parser.add_argument("--against", help="the estimator that all others are compared with")
    parser.add_argument(
        "--tables", choices=tables.STYLES, action="append", help="also tables for a paper; may be repeated"
    )
    options = parser.parse_args()
    try:
        write(options.folder, options.against, options.tables or ())
    except (store.NotAResultsFolder, ValueError) as error:
        print(f"report.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
