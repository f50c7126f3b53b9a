"""The README's Python runs as it stands."""

import re
import sys
from pathlib import Path

import pandas as pd

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_estimator_in_ten_lines_is_better_and_unbiased(tmp_path, monkeypatch, capsys):
    mine, session = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert len(mine.strip().splitlines()) <= 10
    (tmp_path / "mine.py").write_text(mine)
    monkeypatch.syspath_prepend(tmp_path)
    scope = {}
    exec(session, scope)
    sys.modules.pop("mine")
    rows = scope["rows"]
    assert isinstance(rows, pd.DataFrame)
    assert list(rows["status"]) == ["ok"] * 3
    assert rows["bias_p"].min() > 1e-5
    assert "variance_low" in capsys.readouterr().out


def test_every_choice_is_in_the_readme():
    root = Path(__file__).parents[1]
    for group in ("estimator", "problem"):
        for path in (root / "conf" / group).glob("*.yaml"):
            assert f"`{path.stem}`" in README
