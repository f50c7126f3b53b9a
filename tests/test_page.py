"""The report's page: what it says, and that its table sorts and filters in a browser."""

import html
import re
import shutil
import subprocess

import pandas as pd
import pytest

from benchmarks import findings, page, report, store, tables
from benchmarks.comparisons import compare, exponents
from benchmarks.findings import Results
from benchmarks.overtaking import crossings
from tests.rows import gaussian, row

BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser", "chrome"))), None)
CLICKS = """<script>
const wrapper = "#results_wrapper";
const title = name => [...document.querySelectorAll(wrapper + " .dt-column-title")].find(e => e.textContent === name);
const first = name => {
  const heading = title(name).closest("th");
  const cells = [...document.querySelectorAll("#results tbody tr")];
  return cells.map(tr => tr.children[[...heading.parentElement.children].indexOf(heading)].textContent).join("|");
};
const search = (box, text) => { box.value = text; box.dispatchEvent(new Event("input", {bubbles: true})); };
const found = () => document.querySelector(wrapper + " .dt-info").textContent;
const steps = {
  unsorted: () => first("variance"),
  up: () => { title("variance").click(); },
  ascending: () => first("variance"),
  down: () => { title("variance").click(); },
  descending: () => first("variance"),
  type: () => search(document.querySelector(wrapper + " .dt-search input"), "naive"),
  searched: found,
  clear: () => search(document.querySelector(wrapper + " .dt-search input"), ""),
  filter: () => search(document.querySelectorAll(wrapper + " thead input")[0], "score"),
  filtered: found,
};
addEventListener("load", () => Object.entries(steps).forEach(([name, step], i) =>
  setTimeout(() => { document.body.dataset[name] = step(); }, 1000 + 500 * i)));
</script></body>"""


def written(folder, rows):
    """The page of a results folder of rows, and what it shows, without figures."""
    store.begin(folder, [], ["benchmarks/run.py", "out=a b"], oracles=["oracle"])
    for made in rows:
        store.save(folder, made["key"], [made])
    shown = results(report.load(folder))
    return page.render(folder.name, store.about(folder), shown, [], []), shown


def results(rows):
    frame = pd.DataFrame(rows)
    chosen = tables.reference(frame)
    return Results(frame, compare(frame), exponents(frame), crossings(frame), chosen)


def test_the_findings_say_who_has_the_least_variance_by_how_much():
    rows = [gaussian("score", d, scale=40.0) for d in (2, 8, 32)]
    rows += [gaussian("reparam", d, seed=1, relative_seconds=4.0) for d in (2, 8, 32)]
    ((title, said),) = findings.sentences(results(rows))
    assert title == "quadratic at init"
    assert said[0] == "reparam has the least variance of 2 estimators without bias found, at D = 32, S = 1."
    assert re.match(
        r"Its variance relative to score's there: 40(\.\d)? \[39.*, 40.*\] times less \(one estimate\)", said[1]
    )
    assert re.search(r"; 20(\.\d)? \[1.*, 2.*\] times less \(equal seconds\)\.$", said[1])
    assert "score's as D to the power 1 [" in said[3]


def test_the_findings_name_ties_biases_and_flips():
    rows = [gaussian(name, 4, seed=i) for i, name in enumerate(("a", "b"))] + [gaussian("c", 4, scale=2.0, seed=5)]
    biased = {"bias": 0.5, "bias_low": 0.4, "bias_high": 0.6, "bias_p": 1e-9, "verdict": "biased"}
    rows += [gaussian("naive", 4, scale=0.1, **biased), gaussian("oracle", 4, scale=0.1, oracle=True)]
    ((_, said),) = findings.sentences(results(rows))
    assert re.match(r"[ab] has the least variance of 3 estimators without .*; [ab] cannot be told from it\.", said[0])
    assert any("Bias was found" in text and "naive 50 % [40, 60] (D = 4, S = 1)" in text for text in said)
    flipped = [gaussian("a", 4, point="near", scale=3.0), gaussian("c", 4, point="near", seed=3)]
    *_, (_, between) = findings.sentences(results([rows[0], rows[2], *flipped]))
    assert between == ["On quadratic at D = 4, S = 1, a has less variance than c at init, and more at near."]


def test_every_measured_number_of_the_findings_stands_in_a_table(tmp_path):
    rows = [gaussian(name, d, s, scale=f / s, seed=s + 10 * i) for i, (name, f) in enumerate((("score", 30), ("b", 1)))
            for d in (2, 8) for s in (1, 4)]  # fmt: skip
    biased = {"bias": 0.5, "bias_low": 0.4, "bias_high": 0.6, "bias_p": 1e-9}
    rows += [gaussian("naive", 8, scale=0.1, **biased)]
    text, shown = written(tmp_path, rows)
    text = html.unescape(text)
    after = text[text.index('id="numbers"') :]
    said = [sentence for _, sentences in findings.sentences(shown) for sentence in sentences]
    assert all(sentence in text for sentence in said)
    numbers = [number for s in said for number in re.findall(r"[\d.,e-]+(?: %)? \[[^]]+\]|[\d.,]+ %(?! of that)", s)]
    assert len(numbers) > 8
    for number in numbers:
        ends = number.removesuffix(" %") + "]"
        assert number in after or ends in after, number


def test_the_page_says_what_was_run_and_how_to_run_it_again(tmp_path):
    text = html.unescape(written(tmp_path, [gaussian("score", 2), gaussian("b", 2, seed=1)])[0])
    assert "2 estimators (b and score) on quadratic, at init; D = 2, S = 1; seed 0, float32, cpu" in text
    assert "python benchmarks/run.py 'out=a b'" in text
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", text)


def test_a_reason_with_markup_in_it_is_shown_as_text(tmp_path):
    failed = {name: row("broken")[name] for name in (*store.CELL, "group", "key")}
    text, _ = written(
        tmp_path, [gaussian("score", 2), failed | {"status": "failed", "reason": "<img src=x onerror=bad>"}]
    )
    assert "<img src=x" not in text


@pytest.mark.skipif(BROWSER is None, reason="needs chromium or chrome")
def test_the_table_sorts_by_number_and_filters_in_a_browser(tmp_path):
    """As text, 0.5 < 1,000 < 30 < 9e6; the search is over all columns, the box over its own."""
    scales = {"score": 15.0, "naive": 500.0, "b": 0.25, "c": 4.5e6}
    rows = [gaussian(name, 2, scale=scale, seed=i) for i, (name, scale) in enumerate(scales.items())]
    rows += [gaussian("bulk", d, scale=1e9) for d in range(3, 33)]
    tested = tmp_path / "clicked.html"
    tested.write_text(written(tmp_path / "sweep", rows)[0].replace("</body>", CLICKS))
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--virtual-time-budget=9000", "--dump-dom", tested.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=120).stdout
    said = dict(re.findall(r'data-(\w+)="([^"]*)"', re.search(r"<body[^>]*>", dom)[0]))
    order = [re.match(r"[\d.,e]+", cell)[0] for cell in said["ascending"].split("|")]
    assert order[:5] == ["0.5", "30", "1,000", "9e6", "3e9"]
    assert said["descending"].startswith("3.2e10 ")
    assert said["unsorted"].startswith("0.5 [0.49, 0.51]|3e9 ")
    assert said["searched"].startswith("Showing 1 to 1 of 1 entry")
    assert said["filtered"].startswith("Showing 1 to 1 of 1 entry")


def test_ten_thousand_rows_are_in_the_page_as_data_not_as_elements():
    """A browser opens a few hundred thousand elements slowly; the table makes those of one page."""
    rows = pd.concat([pd.DataFrame([gaussian("score", d, point=f"p{k}") for d in range(1, 101)]) for k in range(100)])
    rows = rows.reset_index(drop=True)
    table, order = tables.numbers(rows, pd.DataFrame(columns=["estimator", "against", "at", *tables.SETTING]), "")
    made = page.interactive(table, order, "results")
    assert made.count("<tr") < 100
    assert made.count("p99") == 100
