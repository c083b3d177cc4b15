"""Files of both systems, opened by what they hold."""

import subprocess
import sys
from pathlib import Path

import pytest

from convlstm.safe_files import CheckpointError
from convlstm.systems import SYSTEMS, open_file
from convlstm.ui.service import SHIPPED

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_shipped_file_opens_in_its_system(name):
    opened = open_file(SHIPPED[name])
    assert opened.system is SYSTEMS[name]
    assert opened.make_trainer("cpu").config == opened.config


def test_a_model_alone_asks_for_no_more_work_than_its_pictures():
    opened = open_file(SHIPPED["digits"])
    assert opened.is_model
    assert (opened.work.steps, opened.work.batch_size) == (1, 1)
    assert open_file(SHIPPED["squares"]).work == open_file(SHIPPED["squares"]).config


def test_what_is_no_checkpoint_is_refused(tmp_path):
    (tmp_path / "rubbish").write_bytes(b"rubbish")
    for name in ("rubbish", "missing"):
        with pytest.raises(CheckpointError):
            open_file(tmp_path / name)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="counts threads as Linux does")
def test_reading_a_file_leaves_openmp_to_the_thread_that_trains():
    # A second thread with an OpenMP team of its own made training in the first half as fast.
    code = """if True:
        import os, sys
        from pathlib import Path
        from convlstm.systems import open_file
        before = len(os.listdir("/proc/self/task"))
        for path in sys.argv[1:]:
            open_file(Path(path))
        print(len(os.listdir("/proc/self/task")) - before)
    """
    files = [str(path) for path in SHIPPED.values()]
    job = subprocess.run(
        [sys.executable, "-c", code, *files], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert job.stdout.strip() == "0"
