"""The report of a results folder as one HTML file that needs no network. No torch, no Hydra."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import itables
import itables.options
import jinja2
import pandas as pd
from itables.javascript import generate_init_offline_itables_html

from benchmarks import store, tables
from benchmarks.advice import advice_table
from benchmarks.findings import Results, Text
from benchmarks.intervals import EQUIVALENCE
from benchmarks.texts import listed

ROWS = 25
Images = list[tuple[str, bool, str]]


def render(name: str, about: Mapping[str, Any], results: Results, text: Text, images: Images, notes: list[str]) -> str:
    """The page.

    about: what `store.begin` wrote. images: captions, whether they are page-wide, and SVG files in base64. notes: what
    could not be drawn, and why.
    """
    frame = results.frame
    whole = frame["group"] == "all"
    odd = frame.loc[whole & (frame["status"] != "ok"), [*tables.differing(frame), "status", "reason"]]
    plain = {
        "advice": advice_table(frame),
        "growth": tables.growth_table(results.growth),
        "crossings": tables.crossing_table(results.crossed),
    }
    template = jinja2.Environment(autoescape=True).from_string(Path(__file__).with_name("report.html.j2").read_text())
    return template.render(
        name=name,
        summary=summary(frame),
        counts=frame.loc[whole, "status"].value_counts().to_dict(),
        findings=text.findings,
        images=images,
        notes=notes,
        about=about,
        commands=[(made["date"], f"python {shlex.join(made['command'])}") for made in about.get("commands", [])],
        equivalence=100 * EQUIVALENCE,
        scripts=generate_init_offline_itables_html(Path(itables.options.dt_bundle)),
        table=interactive(text.table, text.order, "results") if len(text.table) else "",
        odd=interactive(odd, {}, "odd") if len(odd) else "",
        **{key: made.to_html(index=False, border=0) if len(made) else "" for key, made in plain.items()},
    )


def summary(frame: pd.DataFrame) -> str:
    """What was run on what, in a sentence."""
    sets = {column: sorted(set(frame[column])) for column in store.CELL}

    def some(column: str, noun: str) -> str:
        names = [str(value) for value in sets[column]]
        return names[0] if len(names) == 1 else f"{len(names)} {noun} ({listed(names, most=8)})"

    sizes = ", ".join(
        f"{symbol} = {listed([*map(str, sets[column])], most=8)}"
        for symbol, column in (("D", "latent_dim"), ("S", "num_samples"))
    )
    held = f"seed {listed([*map(str, sets['seed'])])}, {listed(sets['dtype'])}, {listed(sets['device'])}"
    points = some("point", "points")
    return f"{some('estimator', 'estimators')} on {some('problem', 'problems')}, at {points}; {sizes}; {held}"


def interactive(table: pd.DataFrame, order: Mapping[str, pd.Series], name: str) -> str:
    """A table that sorts by a click on its header and filters by the boxes under it, in the browser.

    order: of columns whose text is not in order, the numbers that are; they go along hidden.
    """
    hidden = pd.DataFrame({f"{column} (number)": values for column, values in order.items()}, index=table.index)
    columns = [*table, *hidden]
    by = [{"targets": columns.index(column), "orderData": columns.index(f"{column} (number)")} for column in order]
    unseen = {"targets": [columns.index(column) for column in hidden], "visible": False, "searchable": False}
    shown = pd.concat([table, hidden], axis=1).astype({c: "str" for c in table if table[c].dtype == object})
    return itables.to_html_datatable(
        shown,
        connected=False,
        table_id=name,
        showIndex=False,
        maxBytes=0,
        columnDefs=[*by, unseen] if len(hidden.columns) else [],
        columnControl=[{"target": 1, "content": ["search"]}],
        classes="display compact nowrap",
        style="width:100%",
        scrollX=True,
        autoWidth=False,
        order=[],
        pageLength=ROWS,
        lengthMenu=[ROWS, 100, 1000],
        layout={"topStart": "pageLength", "topEnd": "search", "bottomStart": "info", "bottomEnd": "paging"},
        allow_html=False,
        display_logo_when_loading=False,
    )
