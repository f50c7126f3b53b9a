"""Who imports whom, and that the configuration mirrors the code."""

import ast
import sys
from pathlib import Path

import pytest
from hydra.utils import get_object
from omegaconf import OmegaConf

ROOT = Path(__file__).parents[1]
OURS = {"estimators", "benchmarks", "conf"}
REPORT = {"report", "plots", "panels", "descriptions", "labels", "store", "intervals", "comparisons", "overtaking"}
REPORT |= {"page", "findings", "tables", "texts", "advice", "verdicts"}
STATISTICS = {"sides", "regressions", "timing", "noise", "changes"}
FILES = [path for package in ("estimators", "benchmarks") for path in sorted((ROOT / package).rglob("*.py"))]


def imports(path):
    """Dotted names that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def tops(path):
    return {name.split(".")[0] for name in imports(path)}


def ours(path):
    return {name for name in imports(path) if name.split(".")[0] in OURS}


@pytest.mark.parametrize("path", sorted((ROOT / "estimators").glob("*.py")), ids=lambda path: path.name)
def test_estimators_import_torch_and_themselves(path):
    """And numpy, which has the nodes of quadrature rules."""
    assert tops(path) <= {"torch", "numpy", "estimators", *sys.stdlib_module_names}


@pytest.mark.parametrize("path", sorted((ROOT / "benchmarks" / "problems").glob("*.py")), ids=lambda path: path.name)
def test_problems_import_the_core_and_each_other(path):
    allowed = ("estimators.core", "benchmarks.problems", "benchmarks.cache")
    assert all(name.startswith(allowed) for name in ours(path))


@pytest.mark.parametrize("name", sorted(REPORT | {"bias"}))
def test_the_report_needs_neither_torch_nor_hydra(name):
    module = ROOT / "benchmarks" / f"{name}.py"
    for path in [module] if module.exists() else sorted(module.with_suffix("").glob("*.py")):
        assert not tops(path) & {"torch", "hydra", "omegaconf", "estimators"}, path.name
        assert {name.split(".")[1] for name in ours(path)} <= REPORT, path.name


@pytest.mark.parametrize("name", sorted(STATISTICS))
def test_the_statistics_of_the_gate_need_neither_torch_nor_hydra(name):
    path = ROOT / "benchmarks" / "gate" / f"{name}.py"
    assert not tops(path) & {"torch", "hydra", "omegaconf", "estimators", "subprocess"}
    inside = {found.split(".")[2] for found in ours(path) if found.startswith("benchmarks.gate.")}
    outside = {found.split(".")[1] for found in ours(path) if not found.startswith("benchmarks.gate.")}
    assert inside <= STATISTICS
    assert outside <= REPORT


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_estimators_and_problems_are_reached_by_dotted_name_only(path):
    """But for the reference gradient, a long run."""
    if path.parent.name in ("estimators", "problems"):
        return
    used = {name for name in ours(path) if name.startswith(("estimators.", "benchmarks.problems"))}
    used = {name for name in used if not name.startswith("estimators.core")}
    assert not used or (path.name == "reference.py" and all(name.startswith("estimators.") for name in used))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_has_the_name_of_what_is_in_it(path):
    """Re-exporting it would hide the module, and Hydra could no longer find what else is there."""
    body = ast.parse(path.read_text()).body
    defined = {node.name for node in body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    assert path.stem not in defined or path.stem == "measure"


@pytest.mark.parametrize("folder", ["benchmarks", "benchmarks/gate"])
def test_no_module_hides_one_of_the_standard_library_from_a_script_beside_it(folder):
    assert not {path.stem for path in (ROOT / folder).iterdir()} & set(sys.stdlib_module_names)


@pytest.mark.parametrize("path", sorted((ROOT / "conf").glob("[ep]*/*.yaml")), ids=lambda path: path.name)
def test_every_yaml_names_something_that_is_there(path):
    config = OmegaConf.load(path)
    if path.parent.name != "experiment":
        assert callable(get_object(config["_target_"]))
