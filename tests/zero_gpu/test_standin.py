"""What the stand-in does, and the processes that are forked; each in a process of its own."""

import subprocess
import sys
from pathlib import Path

from tests.zero_gpu.conftest import Service

ROOT = Path(__file__).parents[2]
BEGIN = """
import os, time
import spaces
import torch, gradio
from gradio.context import LocalContext
LocalContext.request.set(object())
"""


def run(code: str, folder: Path, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", BEGIN + code],
        cwd=ROOT,
        env={"PATH": "", **Service(folder).environment(), **environment},
        capture_output=True,
        text=True,
        timeout=240,
    )


# By what one does, what comes of it.
CASES = {
    # What goes in and out is pickled, and computed elsewhere.
    "print(next(spaces.GPU(lambda: (yield os.getpid()))()) != os.getpid())": "True",
    "next(spaces.GPU(lambda: (yield lambda: 0))())": "PicklingError",
    "next(spaces.GPU(lambda given: (yield given))(lambda: 0))": "pickle",
    # CUDA only looks as if it were there.
    "print(torch.cuda.is_available())": "True",
    "torch.zeros(1).cuda()": "Low-level CUDA init reached",
    "print(list(spaces.GPU(lambda: (yield torch.cuda.is_available()))()))": "[False]",
    # A call is killed at its time limit, and refused without quota or outside of an event.
    "next(spaces.GPU(lambda: (yield time.sleep(60)), duration=1)())": "GPU task aborted",
    "next(spaces.GPU(lambda: (yield 1), duration=99)())": "exceeded your free ZeroGPU quota",
    "LocalContext.request.set(None); next(spaces.GPU(lambda: (yield 1))())": "its GPU limit",
    # Asynchronous generators are none that it can take.
    "spaces.GPU(asynchronous)": "NotImplementedError",
}
DO_ALL = """
async def asynchronous():
    yield 1

for case in CASES:
    try:
        exec(case)
    except Exception as error:
        print(f"{type(error).__name__}: {error}".replace("\\n", " "))
"""


def test_a_call_is_one_of_a_forked_process(tmp_path):
    Service(tmp_path).set_quota(70)
    done = run(f"CASES = {list(CASES)!r}{DO_ALL}", tmp_path)
    lines = done.stdout.splitlines()
    assert len(lines) == len(CASES), done.stderr
    for line, said in zip(lines, CASES.values(), strict=True):
        assert said in line


def test_a_closed_generator_ends_at_its_next_yield(tmp_path):
    code = """
def f():
    try:
        while True:
            yield time.sleep(0.1)
    finally:
        print("closed", flush=True)
generator = spaces.GPU(f)()
next(generator)
generator.close()
"""
    assert "closed" in run(code, tmp_path).stdout


def test_elsewhere_the_decorator_does_nothing(tmp_path):
    done = run("f = lambda: 1\nprint(spaces.GPU(f) is f)", tmp_path, SPACES_ZERO_GPU="")
    assert done.stdout == "True\n"


def test_a_worker_hears_the_end_of_the_page_s_process_and_not_that_of_its_forks(tmp_path):
    code = """
from convlstm.server.pool import Pool
from convlstm.ui.zero_gpu import ZeroGpu
pool = Pool(("cpu",))
lender = ZeroGpu(pool)
pool.wait_ready()
(worker,) = pool.workers()
if not (forked := os.fork()):
    time.sleep(600)
worker.line.close()
try:
    print("code", worker.process.wait(60))
finally:
    os.kill(forked, 9)
pool.close()
"""
    done = run(code, tmp_path)
    assert "code 0" in done.stdout, done.stderr
