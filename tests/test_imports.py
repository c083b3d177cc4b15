"""What is imported when, and in which direction."""

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "convlstm"
ENGINE = sorted(PACKAGE.glob("*.py"))

# What a part must know nothing of, beside the page.
FORBIDDEN = {
    "checks": {"data", "model", "training", "runs"},
    "data": {"model", "losses", "metrics", "training", "runs"},
    "losses": {"data", "model", "metrics", "training", "runs"},
    "metrics": {"data", "model", "training", "runs"},
    "model": {"data", "losses", "metrics", "training", "runs"},
    "training": {"checkpoint", "presets", "render", "runs", "script"},
    "checkpoint": {"presets", "render", "runs", "script"},
    "render": {"checkpoint", "runs", "script", "training"},
    "forecast_config": {"forecasting", "presets", "runs", "systems"},
    "forecasting": {"forecast_checkpoint", "forecast_view", "presets", "runs", "study", "systems"},
    "forecast_checkpoint": {"forecast_view", "presets", "runs", "study", "systems"},
    "forecast_view": {"forecast_checkpoint", "forecast_render", "runs", "systems"},
    "squares_view": {"checkpoint", "render", "runs", "systems"},
    "systems": {"budget", "render", "runs", "scheduler", "script"},
    "budget": {"runs", "scheduler"},
    "runs": {"checkpoint", "presets", "render", "scheduler", "script"},
    "scheduler": {"presets", "render", "script"},
}


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout


def imported(path: Path) -> set[str]:
    """Every module that a file imports, except those for type checkers only."""
    names: set[str] = set()
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name} imports relatively"
            names.add(node.module)
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def test_neither_the_page_nor_the_plots_are_loaded_before_they_are_needed():
    code = """
import sys

def loaded():
    print([name for name in ("gradio", "matplotlib", "matplotlib.pyplot") if name in sys.modules])

import convlstm
loaded()
import convlstm.render, convlstm.scheduler, numpy
loaded()
convlstm.render.frame_figure(numpy.zeros((4, 4)), "title")
loaded()
"""
    # Drawing keeps off pyplot, whose state is global.
    assert run(code).splitlines() == ["[]", "[]", "['matplotlib']"]


@pytest.mark.parametrize("path", ENGINE, ids=lambda path: path.stem)
def test_nothing_below_the_page_imports_it(path):
    names = imported(path)
    assert not [name for name in names if name.split(".")[0] == "gradio"]
    assert not [name for name in names if name.startswith("convlstm.ui")]


def imported_of_ours(path: Path) -> set[str]:
    names = {name.split(".")[1] for name in imported(path) if name.startswith("convlstm.")}
    return names & {path.stem for path in ENGINE}


def test_imports_go_round_in_no_circle():
    known = {path.stem: imported_of_ours(path) for path in ENGINE}
    TopologicalSorter(known).prepare()  # raises CycleError, which names the circle
    assert known["training"] >= {"costs", "data", "losses", "metrics", "predictor"}


@pytest.mark.parametrize("name", FORBIDDEN)
def test_imports_point_one_way(name):
    assert not imported_of_ours(PACKAGE / f"{name}.py") & FORBIDDEN[name]


def test_every_public_name_is_there_and_described():
    import convlstm

    for name in convlstm.__all__:
        value = getattr(convlstm, name)
        assert name == "PRESETS" or value.__doc__
