"""The stand-in does what the real package and its service do; each in a process of its own."""

import subprocess
import sys
from pathlib import Path

import pytest

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


@pytest.mark.parametrize(
    ("code", "said"),
    [
        # What goes in and out is pickled, and computed elsewhere.
        ("f = spaces.GPU(lambda: (yield os.getpid()))\nprint(next(f()) != os.getpid())", "True"),
        ("f = spaces.GPU(lambda: (yield lambda: 0))\nnext(f())", "PicklingError"),
        # CUDA only looks as if it were there.
        ("print(torch.cuda.is_available())\ntorch.zeros(1).cuda()", "Low-level CUDA init reached"),
        ("f = spaces.GPU(lambda: (yield torch.cuda.is_available()))\nprint(list(f()))", "[False]"),
        # Killed at its time limit; refused without quota, or outside of a visitor's event.
        ("f = spaces.GPU(lambda: (yield time.sleep(60)), duration=1)\nnext(f())", "task aborted"),
        ("f = spaces.GPU(lambda: (yield 1), duration=99)\nnext(f())", "exceeded your free ZeroGPU"),
        (
            "LocalContext.request.set(None)\nf = spaces.GPU(lambda: (yield 1))\nnext(f())",
            "has reached its GPU limit",
        ),
    ],
)
def test_a_call_is_one_of_a_forked_process(tmp_path, code, said):
    service = Service(tmp_path)
    service.set_quota(70)
    done = run(code, tmp_path)
    assert said in done.stdout + done.stderr


def test_asynchronous_generators_are_refused(tmp_path):
    done = run("async def f():\n    yield 1\nspaces.GPU(f)", tmp_path)
    assert "NotImplementedError" in done.stderr


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
