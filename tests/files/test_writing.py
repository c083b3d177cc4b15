"""Files are written whole or not at all."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from convlstm.files.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from convlstm.files.safe_files import write_atomically
from tests.files.runs import trained

ROOT = Path(__file__).parents[2]
KILLS = 50  # of a process that saves


def refuse(error: BaseException) -> Callable[..., None]:
    def raising(*given: object) -> None:
        raise error

    return raising


FULL = OSError(28, "No space left on device")


@pytest.mark.parametrize(
    ("owner", "name", "error", "message"),
    [
        (os, "fsync", FULL, "No space left on device"),
        (Path, "replace", PermissionError(13, "Permission denied"), "Permission denied"),
        (Path, "open", OSError(30, "Read-only file system"), "Read-only file system"),
        (os, "fsync", OSError("quota"), "quota"),
    ],
)
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    monkeypatch, tmp_path, owner, name, error, message
):
    path = tmp_path / "run.safetensors"
    save_checkpoint(trained("squares", 1), path)
    old = path.read_bytes()
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, refuse(error))
        with pytest.raises(CheckpointError) as caught:
            save_checkpoint(trained("squares", 2), path)
    assert str(caught.value) == f"Could not write {path}: {message}."
    assert path.read_bytes() == old
    assert os.listdir(tmp_path) == ["run.safetensors"]


def test_ctrl_c_while_writing_leaves_the_old_file_and_nothing_else(monkeypatch, tmp_path):
    path = tmp_path / "run.safetensors"
    write_atomically(path, b"old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", refuse(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["run.safetensors"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing/run.safetensors", "No such file or directory"),
        ("file/run.safetensors", "Not a directory"),
        ("folder", "Is a directory"),
        ("x" * 300, "File name too long"),
        ("a\0b", "embedded null byte"),
        ("", ""),
        ("..", ""),
    ],
)
def test_a_path_that_cannot_be_written_is_refused(tmp_path, name, message):
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(CheckpointError, match=f"Could not write .*{message}"):
        write_atomically(tmp_path / name, b"content")
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("missing", "No such file or directory"),
        ("", "Is a directory"),
        ("a\0b", "embedded null byte"),
        ("x" * 300, "File name too long"),
    ],
)
def test_a_path_that_cannot_be_read_is_refused(tmp_path, name, message):
    with pytest.raises(CheckpointError, match=f"Could not read .*{message}"):
        load_checkpoint(tmp_path / name)


KILLED_SAVER = """
import os, random, signal, sys, time
import torch
torch.set_num_threads(1)  # a process with threads could not be forked
from convlstm.files import read_checkpoint, save_checkpoint
from convlstm.networks import NetworkConfig
from convlstm.scenes.digits import Digits
from convlstm.scenes.squares import Squares
from convlstm.scenes.squares import Squares
from convlstm.training import TrainConfig, Trainer

path, kills = sys.argv[1], int(sys.argv[2])
network = NetworkConfig(hidden_channels=48, kernel_size=7)
trainers = [
    Trainer(TrainConfig(Squares(canvas=16, square_size=3), network, seed=0)),
    Trainer(TrainConfig(Digits(), network, ema=0.5, seed=1)),
]
save_checkpoint(trainers[0], path)
draw = random.Random(0)
for _ in range(kills):
    saver = os.fork()
    if saver == 0:
        while True:
            for trainer in trainers:
                save_checkpoint(trainer, path)
    time.sleep(draw.uniform(0, 0.1))
    os.kill(saver, signal.SIGKILL)
    os.waitpid(saver, 0)
    print(read_checkpoint(path).config.seed)
"""


def test_a_kill_at_any_moment_of_saving_leaves_a_whole_file(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", KILLED_SAVER, str(tmp_path / "run.safetensors"), str(KILLS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.stderr == ""
    assert set(done.stdout.split()) <= {"0", "1"}
    assert len(done.stdout.split()) == KILLS


def test_what_a_killed_save_has_left_goes_with_a_later_one(tmp_path):
    old, new, other = (tmp_path / f".{name}.12ab34cd.tmp" for name in ("run", "run", "walk"))
    new = tmp_path / ".run.56ef7890.tmp"
    for path in (old, new, other):
        path.write_bytes(b"half")
    for path in (old, other):
        os.utime(path, (0, 0))
    write_atomically(tmp_path / "run", b"whole")
    assert sorted(tmp_path.iterdir()) == sorted([new, other, tmp_path / "run"])
