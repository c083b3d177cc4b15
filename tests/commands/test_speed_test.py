"""`speed-test`, against `evaluate`."""

from pathlib import Path

import pytest

from convlstm.commands.main import main
from convlstm.files import read_checkpoint
from convlstm.files.checkpoint import save_network
from convlstm.scenes.scene import MAX_TEST_SEED
from convlstm.settings import configure
from convlstm.training import Trainer
from tests.commands.conftest import NETWORK, RUN, parse


def output(capsys: pytest.CaptureFixture[str], command: str, path: Path, flags: str) -> str:
    assert main([command, str(path), "--device", "cpu", *flags.split()]) == 0
    printed, errors = capsys.readouterr()
    assert errors == ""
    return printed


@pytest.mark.parametrize("scene", ["squares", "digits"])
def test_its_points_are_what_evaluate_finds_at_those_speeds(
    scene: str, trained: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = trained[scene] / NETWORK
    (data,) = parse(output(capsys, "speed-test", path, "--json --sequences 3"))
    checkpoint = read_checkpoint(path)
    assert (data["sequences"], data["seed"]) == (3, MAX_TEST_SEED)
    assert data["reach"] == checkpoint.config.network.reach
    for found in data["speeds"][::4]:
        exact = {"exact_speed": True} if scene == "squares" else {}
        config = configure({"speed": found["speed"], **exact}, checkpoint.config)
        moving = tmp_path / f"{found['speed']}.safetensors"
        save_network(Trainer(config, weights=checkpoint.weights), moving)
        flags = f"--json --sequences 3 --seed {MAX_TEST_SEED}"
        (expected,) = parse(output(capsys, "evaluate", moving, flags))
        for lead, other in zip(found["lead_times"], expected["lead_times"], strict=True):
            assert lead["model"] == pytest.approx(other["model"], rel=1e-4)
            assert lead["baselines"] == other["baselines"]
        assert found["mean"]["model"] == pytest.approx(expected["mean"]["model"], rel=1e-4)


def test_its_tables_have_a_line_for_each_speed(
    trained: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    printed = output(capsys, "speed-test", trained["squares"] / RUN, "--sequences 1")
    assert "Trained at speed 1 to 2; information travels 2 px a frame." in printed
    rows = [line.split() for line in printed.splitlines() if line[:1].isdigit()]
    speeds = [row[0] for row in rows if "|" in row]
    assert speeds == [str(speed) for speed in range(9)] * 2
    standing = next(row for row in rows if row[0] == "0" and "|" in row)
    assert standing[2] == "0.000000"  # what stands still is copied without an error


def test_a_checkpoint_without_speeds_is_refused_in_one_line(
    trained: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["speed-test", str(trained["storm"] / NETWORK)]) == 2
    printed, errors = capsys.readouterr()
    assert printed == ""
    assert errors == (
        "convlstm: speed is 0: is for a scene in which things move at a speed that one may set.\n"
    )
    assert main(["speed-test", str(trained["squares"] / NETWORK), "--sequences", "0"]) == 2
    assert "sequences is 0: must be a whole number from 1 to 50" in capsys.readouterr().err
