"""Two processes under torchrun, on this machine's CPU."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from convlstm.files.checkpoint import resume
from convlstm.files.reading import read_checkpoint
from convlstm.training import train

ROOT = Path(__file__).parents[2]
FLAGS = [
    "--preset", "moving-mnist-compact", "--canvas", "32", "--hidden-channels", "4",
    "--num-layers", "2", "--precision", "float32", "--batch-size", "4", "--evaluate-every", "1000",
    "--json",
]  # fmt: skip
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def command(processes, *flags):
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    launched = launcher if processes > 1 else []
    return [sys.executable, *launched, "-m", "convlstm", "train", *FLAGS, *flags]


def start(processes, *flags):
    return subprocess.Popen(
        command(processes, *flags),
        cwd=ROOT,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def losses(output):
    records = [json.loads(line) for line in output.splitlines() if line.startswith("{")]
    return [record["loss"] for record in records if "loss" in record]


def test_two_processes_have_the_losses_of_one(tmp_path):
    flags = ["--epochs", "6", "--scheduled-sampling", "0.5", "--ema", "0.9"]
    one, two = start(1, *flags), start(2, *flags, "--out", str(tmp_path))
    ended = [(*job.communicate(timeout=240), job.returncode) for job in (one, two)]
    assert [code for *_, code in ended] == [0, 0], ended
    expected, found = (losses(output) for output, *_ in ended)
    assert len(expected) == 6
    assert found == pytest.approx(expected, abs=1e-5)
    assert read_checkpoint(tmp_path / "network.safetensors").trainings[-1].sequences == 24


def test_a_killed_process_ends_the_job_with_an_error_and_a_run_to_go_on_with(tmp_path):
    job = start(2, "--epochs", "100000", "--save-every", "0.001", "--out", str(tmp_path))
    file = tmp_path / "checkpoint.safetensors"
    try:
        while not file.exists():
            assert job.poll() is None, job.stderr.read()
            time.sleep(0.05)  # for a file of another process there is no event to wait for
        children = subprocess.run(
            ["pgrep", "-P", str(job.pid)], capture_output=True, text=True, check=True
        )
        os.kill(int(children.stdout.split()[-1]), signal.SIGKILL)
        _, errors = job.communicate(timeout=60)
    finally:
        if job.poll() is None:
            os.killpg(job.pid, signal.SIGKILL)
    assert job.returncode != 0
    assert "SIGKILL" in errors or "Signal 9" in errors
    trainer = resume(read_checkpoint(file))
    record = next(train(trainer.config, trainer=trainer))
    assert record.step == trainer.step > 1
