"""The report's page: what it says, and that its table sorts and filters in a browser."""

import html
import math
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

NUMBER = r"-?\d[\d.,]*(?:e-?\d+)?"


def written(folder, rows):
    """The page of a results folder of rows, and what it shows, without figures."""
    store.begin(folder, [], ["benchmarks/run.py", "out=a b"], oracles=["oracle"])
    for made in rows:
        store.save(folder, made["key"], [made])
    shown = results(report.load(folder))
    return page.render(folder.name, store.about(folder), shown, findings.told(shown), [], []), shown


def results(rows):
    frame = pd.DataFrame(rows)
    chosen = tables.reference(frame)
    return Results(frame, compare(frame), exponents(frame), crossings(frame), chosen)


def test_the_findings_say_who_has_the_least_variance_by_how_much():
    rows = [gaussian("score", d, scale=40.0) for d in (2, 8, 32)]
    rows += [gaussian("reparam", d, seed=1, relative_seconds=4.0) for d in (2, 8, 32)]
    ((title, said),) = findings.sentences(results(rows))
    assert title == "quadratic at init"
    least = "reparam has the least variance, 32 [31.4, 32.6], of 2 estimators that can be ranked at D = 32, S = 1."
    assert said[0] == least
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
    assert re.match(r"[ab] has the least variance, .*, of 3 estimators .*; [ab] cannot be told from it\.", said[0])
    assert any("Bias was found" in text and "naive 50 % [40, 60] (D = 4, S = 1)" in text for text in said)
    flipped = [gaussian("a", 4, point="near", scale=3.0), gaussian("c", 4, point="near", seed=3)]
    *_, (_, between) = findings.sentences(results([rows[0], rows[2], *flipped]))
    assert between == ["On quadratic at D = 4, S = 1, a has less variance than c at init, and more at near."]


def test_the_findings_name_the_largest_bias_and_the_widest_interval():
    biased = {"bias_p": 1e-9, "verdict": "biased"}
    rows = [gaussian("naive", 2, bias=0.2, bias_low=0.1, bias_high=0.3, **biased)]
    rows += [gaussian("naive", 4, bias=0.5, bias_low=0.4, bias_high=0.6, **biased)]
    rows += [gaussian("a", d, bias_high=high) for d, high in ((2, 0.004), (4, 0.3), (8, 0.02))]
    ((_, said),) = findings.sentences(results(rows))
    norm = "exact gradient's norm"
    assert f"Bias was found, at its largest as a share of the {norm}: naive 50 % [40, 60] (D = 4, S = 1)." in said
    widest = "the widest interval ends at 30 % (a at D = 4, S = 1)"
    assert f"No bias was found in 3 cells (a). In 1 it is within 1 % of the {norm} for certain; {widest}." in said


def test_the_findings_of_a_single_cell_read_like_one():
    said = findings.sentences(results([gaussian("a", 4, bias_high=0.3)]))[0][1]
    assert said[1] == "No bias of a was found: its interval ends at 30 % of the exact gradient's norm."
    both = findings.sentences(results([gaussian(name, 4, bias_high=0.3) for name in "ab"]))[0][1]
    assert any("(a and b). In none it is within 1 %" in text for text in both)


def test_the_reference_is_the_score_function_even_where_its_budget_ended():
    rows = [gaussian(name, d) for name in ("score", "reparam") for d in (2, 4)]
    assert tables.reference(pd.DataFrame([rows[0] | {"status": "budget"}, *rows[1:]])) == "score"


def test_the_findings_say_who_has_no_variance_left():
    nothing = {"variance": 0.0, "variance_low": 0.0, "variance_high": 1e-30, "batch_variances": [0.0] * 64}
    rows = [gaussian("stl", 4, **nothing), gaussian("a", 4), gaussian("c", 4, scale=2.0, seed=1)]
    rows += [gaussian("odd", 4, reason="the tail is too heavy")]
    ((_, said),) = findings.sentences(results(rows))
    assert said[0] == "No variance is left of stl at D = 4, S = 1: zero, within rounding."
    assert said[1].startswith("a has the least variance above zero, 4 [3.92, 4.08], of 2 estimators that can be ranked")
    assert "The tail of odd allows no verdict on the variance there." in said


def test_the_findings_tell_the_ranges_between_crossings():
    """b below 1 and above 3, a between; the same at two D, which the sentences name."""
    rows = [gaussian(name, d, problem=f"cost(k={k})", key=f"{name}{d}{k}", scale=scale, seed=int(10 * k) + seed)
            for d in (2, 4) for k in (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5, 4.0)
            for seed, name, scale in ((1, "a", 4.0), (2, "b", 4 * math.exp(2 - (k - 2) ** 2 * 2)))]  # fmt: skip
    *_, (_, between) = findings.sentences(results(rows))
    crossed = [said for said in between if "the less variance of two has" in said]
    assert len(crossed) == 2
    pattern = r"On cost, latent_dim 2, .* has b below k = (1|0.99).*, then a below k = (3|2.99).*, then b\."
    assert re.match(pattern, crossed[0]), crossed


def test_every_measured_number_of_the_findings_stands_in_a_table(tmp_path):
    rows = [gaussian(name, d, s, scale=f / s, seed=s + 10 * i) for i, (name, f) in enumerate((("score", 30), ("b", 1)))
            for d in (2, 8) for s in (1, 4)]  # fmt: skip
    biased = {"bias": 0.5, "bias_low": 0.4, "bias_high": 0.6, "bias_p": 1e-9}
    rows += [gaussian("naive", 8, scale=0.1, **biased)]
    exact = {"variance": 5.25, "variance_low": 5.25, "variance_high": 5.25, "variance_source": "exact"}
    rows += [gaussian("known", d, **exact) for d in (2, 8)]
    text, shown = written(tmp_path, rows)
    text = html.unescape(text)
    after = text[text.index('id="numbers"') :]
    said = [sentence for _, sentences in findings.sentences(shown) for sentence in sentences]
    assert all(sentence in text for sentence in said)
    numbers = [
        number
        for s in said
        for number in re.findall(rf"{NUMBER}(?: %)? (?:\[[^]]+\]|\(exact\))|{NUMBER} %(?! of the)", s)
    ]
    assert len(numbers) > 8
    assert "5.25 (exact)" in numbers
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
    table, order = tables.numbers(rows, pd.DataFrame(columns=["estimator", "against", "at", *tables.PAIRED]), "")
    made = page.interactive(table, order, "results")
    assert made.count("<tr") < 100
    assert made.count("p99") == 100
