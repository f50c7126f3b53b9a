"""Is anything worse than it was? `python benchmarks/check.py baseline=A candidate=B`; see --help."""

import os
import signal
import sys
import traceback
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import texts
from benchmarks.gate import changes, revisions, sides

HELP = """Did a change make an estimator biased, noisier, slower or costlier?

  Two folders of results:        python benchmarks/check.py baseline=results/baseline candidate=results/NAME
  Two files of pytest-benchmark: python benchmarks/check.py baseline=A.json candidate=B.json
  The working tree against git:  python benchmarks/check.py baseline=main
  Two revisions, on a grid:      python benchmarks/check.py baseline=v1 candidate=v2 estimator=score problem=quadratic
  Freeze a folder as a baseline: python benchmarks/check.py candidate=results/NAME freeze=results/baseline

Keys:

  baseline      a results folder, a folder or file with results.parquet, a pytest-benchmark JSON file, or a git revision
  candidate     likewise; with a revision as baseline, another one (default: the working tree)
  false_alarms  the chance that anything is called worse if nothing changed, over the whole comparison (0.01)
  partial       true: the candidate may lack cells of the baseline (false)
  rounds        of turns that two revisions take in each cell for their times (15)
  keep          a new folder, to keep what was measured of the candidate when two revisions are compared
  freeze        write the candidate there, as a small baseline

All other arguments go to benchmarks/run.py, for both revisions alike (default: -m experiment=gate).
Prints Markdown. Exit status: 0 nothing worse, 1 something worse, 2 not comparable, or bad input.
"""
KEYS = {
    "baseline": "",
    "candidate": "",
    "false_alarms": "0.01",
    "partial": "false",
    "rounds": "15",
    "keep": "",
    "freeze": "",
}
FROZEN = """# A frozen baseline

What `benchmarks/check.py` compares with: results that are known to be right. Made by

    {command}
    python benchmarks/check.py candidate=FOLDER freeze={folder}

with {packages}; `gradiometer.json` says on which machine. Make it again when a
change of the numbers is meant.
"""


def asked(arguments: list[str]) -> tuple[dict[str, str], list[str]]:
    """The keys of a command line, with their defaults, and the arguments that are for `run.py`."""
    split = [argument.partition("=") for argument in arguments]
    own = {name: value for name, equals, value in split if equals and name in KEYS}
    others = [
        argument for argument, (name, equals, _) in zip(arguments, split, strict=True) if not equals or name not in KEYS
    ]
    return KEYS | own, others


def execute(arguments: list[str]) -> int:
    """Compare what a command line names, and print the page; returns its exit status.

    Raises sides.NotComparable, with one line.
    """
    keys, others = asked(arguments)
    false_alarms, rounds, partial = _checked(keys)
    if not keys["baseline"] and not keys["freeze"]:
        raise sides.NotComparable("baseline=...: name a results folder, a file or a git revision; see --help")
    before = None if keys["freeze"] or Path(keys["baseline"]).exists() else revisions.resolved(keys["baseline"])
    if before:
        now = revisions.resolved(keys["candidate"]) if keys["candidate"] else None
        if keys["candidate"] and not now:
            raise sides.NotComparable(f"candidate={keys['candidate']}: no such revision")
        baseline, candidate, turns = revisions.measured(before, now, others, rounds, keys["keep"])
    else:
        if others:
            raise sides.NotComparable(f"unknown key '{others[0].partition('=')[0]}': choose from {', '.join(KEYS)}")
        if not keys["candidate"]:
            raise sides.NotComparable("candidate=...: name a results folder or a file; see --help")
        if keys["freeze"]:
            return freeze(sides.read(keys["candidate"]), Path(keys["freeze"]))
        baseline, candidate, turns = sides.read(keys["baseline"]), sides.read(keys["candidate"]), None
    comparison = changes.compare(baseline, candidate, false_alarms, partial, turns)
    print(changes.page(comparison, keys["baseline"], keys["candidate"] or "the working tree"))
    return comparison.status


def _checked(keys: dict[str, str]) -> tuple[float, int, bool]:
    """false_alarms, rounds and partial, as what they are."""
    try:
        false_alarms, rounds = float(keys["false_alarms"]), int(keys["rounds"])
    except ValueError as error:
        raise sides.NotComparable(str(error)) from error
    if not 0 < false_alarms < 1:
        raise sides.NotComparable(f"false_alarms={keys['false_alarms']}: it must be between 0 and 1")
    if rounds < 1:
        raise sides.NotComparable(f"rounds={rounds}: it must be an integer >= 1")
    if keys["partial"] not in ("true", "false"):
        raise sides.NotComparable(f"partial={keys['partial']}: it must be true or false")
    return false_alarms, rounds, keys["partial"] == "true"


def placeless(made: dict[str, Any]) -> list[str]:
    """A command of a sweep, whatever folder it wrote to."""
    return ["out=FOLDER" if word.startswith("out=") else word for word in made["command"]]


def freeze(side: sides.Side, folder: Path) -> int:
    """Write a side as a baseline, with a README that says how it was made.

    Raises sides.NotComparable if the folder holds a sweep, or cells of the side failed.
    """
    if (folder / "cells").exists():
        raise sides.NotComparable(f"freeze={folder}: it holds a sweep; name another folder")
    if failed := int((side.frame["status"] == "failed").sum()):
        raise sides.NotComparable(f"{side.name}: {texts.counted(failed, 'cell')} failed; a baseline must be right")
    about = side.about | {"commands": [made | {"command": placeless(made)} for made in side.about.get("commands", [])]}
    side = replace(side, about=about)
    sides.write(side, folder)
    lines = [" ".join(["python", *made["command"]]) for made in side.about.get("commands", [])]
    versions = side.about.get("packages", {})
    text = FROZEN.format(
        command="\n    ".join(lines),
        folder=folder,
        packages=", ".join(f"{name} {versions[name]}" for name in ("torch", "numpy", "scipy") if name in versions),
    )
    (folder / "README.md").write_text(text)
    print(f"{len(side.frame)} rows frozen in {folder}")
    return 0


def main() -> int:
    """Run the command line; returns 0 nothing worse, 1 something worse, 2 not comparable, 130 interrupted."""
    sys.path.append(os.getcwd())
    if any(argument in ("--help", "-h") for argument in sys.argv[1:]):
        print(HELP, end="")
        return 0

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, interrupt)
    try:
        return execute(sys.argv[1:])
    except sides.NotComparable as error:
        print("check.py:", " ".join(str(error).split()), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception:  # status 1 is for what got worse, and a crash says nothing of that
        traceback.print_exc()
        return 2


if __name__ == "__main__":
    sys.exit(main())
