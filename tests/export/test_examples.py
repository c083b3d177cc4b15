"""The scripts of docs/examples, each in a process of its own."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.package.check_wheel import ROOT

FOLDER = ROOT / "docs" / "examples"


def numbers_of(name: str, *arguments: str) -> list[float]:
    """Run an example; return every number that it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", FOLDER / f"{name}.py", *arguments],
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.stderr == ""
    return [float(number) for number in re.findall(r"[\d.]+(?:e-\d+)?", done.stdout)]


def bouncing_disc(frames: int, side: int = 24) -> np.ndarray:
    """Frames of a grey disc on a darker ground that bounces off the walls, (T, H, W)."""
    room = side - 9
    time = np.arange(frames)[:, None] * [2, 1] + [3, 5]
    y, x = (room - abs(time % (2 * room) - room) + 4).T[..., None, None]
    rows, columns = np.mgrid[:side, :side]
    return 20.0 + 180 * ((rows - y) ** 2 + (columns - x) ** 2 <= 16)


def test_the_last_state_says_which_way_a_square_moves():
    accuracy, chance = numbers_of("direction")
    assert accuracy > 0.9 > chance == 0.25


def test_the_prediction_error_says_when_a_square_jumps():
    found, chance, at_the_jump, ordinary = numbers_of("anomaly")
    assert found > 0.9 > chance
    assert at_the_jump > 5 * ordinary


def test_an_array_of_one_s_own_is_continued(tmp_path: Path):
    frames = bouncing_disc(110)
    np.save(tmp_path / "frames.npy", frames[:100])
    error, copied = numbers_of(
        "own_array", *(str(tmp_path / f"{n}.npy") for n in ("frames", "new"))
    )
    assert error < 0.3 * copied
    forecast = np.load(tmp_path / "new.npy")
    truth = frames[100:]
    assert forecast.shape == truth.shape
    assert np.square(forecast - truth)[:3].mean() < 0.5 * np.square(frames[99] - truth)[:3].mean()


def test_every_example_is_short_and_told_of():
    page = (ROOT / "docs" / "examples.md").read_text("utf-8")
    for path in FOLDER.glob("*.py"):
        assert len(path.read_text("utf-8").splitlines()) < 40, path.name
        assert f"(examples/{path.name})" in page


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_there_is_a_test_of_every_example(path: Path):
    assert re.search(rf'numbers_of\(\s*"{path.stem}"', Path(__file__).read_text("utf-8"))
