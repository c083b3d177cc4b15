"""Small runs of several scenes, for the tests of the commands."""

import io
import json
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from convlstm.commands.main import main
from convlstm.files import save_checkpoint
from convlstm.scenes.digits import Digits
from convlstm.scenes.squares import Squares
from convlstm.training import TrainConfig, Trainer

ROOT = Path(__file__).parents[2]
RUN, NETWORK = "checkpoint.safetensors", "network.safetensors"
_SMALL = "--hidden-channels 2 --num-layers 1 --precision float32 --device cpu "
# Flags of a training that takes a moment, by scene.
TINY = {
    "squares": (_SMALL + "--canvas 16 --square-size 4 --batch-size 2").split(),
    "digits": (
        _SMALL + "--preset moving-mnist-compact --canvas 32 --no-residual --batch-size 1"
    ).split(),
    "storm": (
        _SMALL + "--preset blizzard-pressure --no-residual --batch-size 1 --horizon 4"
    ).split(),
}


def parse(output: str) -> list[dict]:
    """Read JSON lines, strictly."""
    return [json.loads(line, parse_constant=_refuse_constant) for line in output.splitlines()]


def _refuse_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


@pytest.fixture
def few_sequences(monkeypatch: pytest.MonkeyPatch) -> None:
    """Digits are judged by two sequences."""
    monkeypatch.setattr(Digits, "validation_sequences", 2)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folder of a finished run of each scene: what `train` leaves there but the pictures."""
    folders = {}
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(io.StringIO()):
        patch.setattr(Digits, "validation_sequences", 2)
        patch.setattr("convlstm.commands.train.picture_files", lambda *_: {})
        for scene, flags in TINY.items():
            folders[scene] = tmp_path_factory.mktemp(scene)
            flags = [*flags, "--epochs", "2", "--out", str(folders[scene])]
            assert main(["train", *flags]) == 0
    return folders


@pytest.fixture(scope="session")
def unfinished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a run that is under way."""
    trainer = Trainer(TrainConfig(Squares(canvas=16), batch_size=1))
    pieces = trainer.pieces()
    while trainer.step == 0:
        next(pieces)
    pieces.close()
    path = tmp_path_factory.mktemp("unfinished") / RUN
    save_checkpoint(trainer, path)
    return path
