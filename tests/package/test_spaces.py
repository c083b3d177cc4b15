"""What a Hugging Face Space reads before the program starts."""

import re

from tests.package.check_wheel import ROOT
from tests.package.test_requirements import requirements

# What ZeroGPU has, by the hub's documentation in November 2026.
TORCH = ("2.8.0", "2.9.1", "2.10.0", "2.11.0")
PYTHON = ("3.12", "3.12.12", "3.10", "3.10.13")


def numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def front_matter() -> dict[str, str]:
    _, head, _ = (ROOT / "README.md").read_text("utf-8").split("---\n", 2)
    return dict(re.match(r'(\w+): "?([^"]*)', line).groups() for line in head.splitlines())


def range_of(package: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    line = next(each for each in requirements() if each.startswith(package))
    return tuple(numbers(re.search(rf"{sign}([\d.]+)", line)[1]) for sign in (">=", "<(?!=)"))


def test_the_torch_that_is_installed_first_is_one_that_zero_gpu_and_this_program_take():
    (line,) = (ROOT / "pre-requirements.txt").read_text("utf-8").splitlines()
    name, _, version = line.partition("#")[0].strip().partition("==")
    low, high = range_of("torch")
    assert (name, version in TORCH) == ("torch", True)
    assert low <= numbers(version) < high


def test_the_space_has_a_python_and_a_gradio_that_there_are():
    head = front_matter()
    low, high = range_of("gradio")
    assert head["sdk"] == "gradio"
    assert head["python_version"] in PYTHON
    assert low <= numbers(head["sdk_version"]) < high
    assert (ROOT / head["app_file"]).is_file()


def test_the_package_of_the_spaces_is_required_nowhere():
    assert not [each for each in requirements() if each.startswith("spaces")]
