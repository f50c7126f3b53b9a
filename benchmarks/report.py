"""The report of a results folder: `python benchmarks/report.py results/NAME`."""

import argparse
import base64
import io
import json
import shutil
import sys
from pathlib import Path

import jinja2
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from benchmarks import plots, store

FALSE_DISCOVERIES = 0.01


def load(folder: str | Path) -> pd.DataFrame:
    """A results folder as one tidy frame, one row a cell and parameter group, with a `verdict` on bias.

    The verdict is `biased` where the test of zero bias rejects at a false discovery rate of 1 % over the whole
    frame (Benjamini and Hochberg 1995), else `no bias found`.

    Raises store.NotAResultsFolder if there is nothing to load.
    """
    folder = Path(folder)
    parquet = folder / "results.parquet"
    frame = store.gather(folder) if (folder / "cells").is_dir() or not parquet.exists() else pd.read_parquet(parquet)
    tested = frame["bias_p"].notna()
    frame["verdict"] = ""
    if tested.any():
        biased = false_discovery_control(frame.loc[tested, "bias_p"].astype(float)) < FALSE_DISCOVERIES
        frame.loc[tested, "verdict"] = np.where(biased, "biased", "no bias found")
    return frame


def with_interval(rows: pd.DataFrame, column: str) -> pd.Series:
    """A number and its interval as text: 1.31 [1.29, 1.34]."""
    return pd.Series(
        [
            f"{value:.3g} [{low:.3g}, {high:.3g}]" if pd.notna(value) else ""
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
    table["seconds"] = [f"{s:.2g}" if pd.notna(s) else "" for s in frame["seconds"]]
    table["variance x seconds"] = with_interval(frame, "work_variance_time")
    table["status"] = frame["status"]
    return caption, table


def write(folder: str | Path) -> pd.DataFrame:
    """Gather a results folder, write its summary, figures and page, and print a table. Returns the frame."""
    folder = Path(folder)
    frame = load(folder)
    caption, table = compact(frame)
    store.write_atomically(folder / "summary.csv", frame.drop(columns="key").to_csv(index=False).encode())
    images = []
    shutil.rmtree(folder / "figures", ignore_errors=True)
    for name, text, figure in plots.figures(frame):
        for suffix in ("png", "svg"):
            buffer = io.BytesIO()
            figure.savefig(buffer, format=suffix, dpi=200, metadata={"Date": None} if suffix == "svg" else None)
            store.write_atomically(folder / "figures" / f"{name}.{suffix}", buffer.getvalue())
        images.append((text, base64.b64encode(buffer.getvalue()).decode()))
        plt.close(figure)
    template = jinja2.Environment(autoescape=True).from_string(Path(__file__).with_name("report.html.j2").read_text())
    about = json.loads(path.read_text()) if (path := folder / "gradiometer.json").exists() else {}
    odd = frame[~frame["status"].isin(["ok"])].drop_duplicates(store.CELL)[[*store.CELL, "status", "reason"]]
    page = template.render(
        name=folder.resolve().name,
        caption=caption,
        about=about,
        counts=frame.drop_duplicates(store.CELL)["status"].value_counts().to_dict(),
        table=table.to_html(index=False, border=0),
        odd=odd.to_html(index=False, border=0) if len(odd) else "",
        images=images,
    )
    store.write_atomically(folder / "report.html", page.encode())
    whole = table[frame["group"] == "all"].drop(columns="group")
    print(f"\n{caption}\n\n{whole.to_markdown(index=False, disable_numparse=True)}\n")
    for row in frame[~frame["status"].isin(store.MEASURED)].itertuples():
        print(f"{row.status}: {row.estimator} on {row.problem} D={row.latent_dim} S={row.num_samples}: {row.reason}")
    print(f"report: {folder / 'report.html'}")
    return frame


def main() -> int:
    """Command line; returns its exit status."""
    parser = argparse.ArgumentParser(description="Gather a results folder and write its table, figures and page.")
    parser.add_argument("folder", type=Path, help="the `out` of a run")
    try:
        write(parser.parse_args().folder)
    except store.NotAResultsFolder as error:
        print(f"report.py: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
