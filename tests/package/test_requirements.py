"""`requirements.txt`, for a checkout, and `pyproject.toml`, for an installation, say the same."""

import re
import sys

import pytest

from tests.package.check_wheel import ROOT, python_blocks

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # pytest brings it

DIRECT = {"torch", "numpy", "safetensors"}  # what the layer and the command line live on


def project() -> dict:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


def requirements() -> list[str]:
    lines = (ROOT / "requirements.txt").read_text("utf-8").splitlines()
    stripped = (line.partition("#")[0].strip() for line in lines)
    return [line for line in stripped if line]


def test_a_checkout_and_an_installation_need_the_same() -> None:
    installed = [*project()["dependencies"], *project()["optional-dependencies"]["playground"]]
    assert sorted(installed) == sorted(requirements())


def test_the_layer_and_the_command_line_need_three_packages() -> None:
    names = {re.match(r"[\w-]+", each)[0] for each in project()["dependencies"]}
    assert names == DIRECT


def test_nothing_that_is_only_for_tests_is_imported() -> None:
    for file in [*(ROOT / "convlstm").rglob("*.py"), ROOT / "playground.py"]:
        text = file.read_text("utf-8")
        assert not re.search(
            r"^\s*(import|from) (skimage|pytest|playwright|onnxruntime)\b", text, re.M
        ), file


@pytest.mark.parametrize("name", ["convlstm", "convlstm-playground"])
def test_a_program_is_a_function_that_is_there(name: str) -> None:
    module, _, function = project()["scripts"][name].partition(":")
    __import__(module)
    assert callable(getattr(sys.modules[module], function))


def test_the_readme_has_lines_of_python_to_run() -> None:
    blocks = python_blocks((ROOT / "README.md").read_text("utf-8"))
    assert len(blocks) >= 2
    for block in blocks:
        compile(block, "README.md", "exec")
