"""The files that the program brings with it."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from convlstm.files.checkpoint import load_checkpoint, start_from
from convlstm.files.reading import read_checkpoint
from convlstm.files.shipped import shipped_file
from convlstm.scenes.catalogue import CATALOGUE
from convlstm.server.facts import Facts
from convlstm.server.keeping import content_of, note_of
from convlstm.server.lessons import LESSONS
from convlstm.server.opening import restored, trainer_of
from convlstm.server.run import Run

ROOT = Path(__file__).parents[2]
SHIPPED = {entry.shipped: name for name, entry in CATALOGUE.items()}
SHIPPED |= {lesson.shipped: lesson.scene for lesson in LESSONS.values() if lesson.shipped}


def test_every_shipped_file_is_a_scene_s_or_a_lesson_s():
    assert set(SHIPPED) == {path.name for path in shipped_file("x").parent.glob("*.safetensors")}


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_file_opens_in_its_scene_and_can_be_shown(name):
    checkpoint = read_checkpoint(shipped_file(name))
    assert checkpoint.config.scene.name == SHIPPED[name]
    trainer = start_from(checkpoint, checkpoint.config)
    assert trainer.config == checkpoint.config
    run = Run(trainer, shipped=True)
    run.draw_picture()
    assert [scores.mse < 1 for scores in run.picture.scores] == [True] * len(run.picture.truth)
    network = load_checkpoint(shipped_file(name))
    assert all((a == b).all() for a, b in zip(
        network.parameters(), trainer.network.parameters(), strict=True
    ))  # fmt: skip


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads as Linux does")
def test_reading_a_file_leaves_openmp_to_the_thread_that_trains():
    # A second thread with an OpenMP team of its own made training in the first half as fast.
    code = """if True:
        import os, sys
        from convlstm.files.reading import read_checkpoint
        before = len(os.listdir("/proc/self/task"))
        for path in sys.argv[1:]:
            read_checkpoint(path)
        print(len(os.listdir("/proc/self/task")) - before)
    """
    files = [str(shipped_file(name)) for name in SHIPPED]
    job = subprocess.run(
        [sys.executable, "-c", code, *files], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert job.stdout.strip() == "0"


def test_a_lesson_comes_back_with_the_network_that_it_began_with():
    lesson, device = LESSONS["blur"], torch.device("cpu")
    checkpoint = read_checkpoint(shipped_file(lesson.shipped))
    run = Run(trainer_of(checkpoint, device), shipped=True, facts=Facts(lesson))
    assert not content_of(run)  # so that its note alone has to say which file it was
    again = restored(note_of(run), None, device)
    assert again.facts.lesson is lesson
    assert again.trainer.network.config == checkpoint.config.network
    assert checkpoint.config.network != read_checkpoint(
        shipped_file(CATALOGUE[lesson.scene].shipped)
    ).config.network  # fmt: skip
