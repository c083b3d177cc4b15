"""Work for another process, in tests."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path


def count(number: int) -> Iterator[tuple[int, int]]:
    """Count up; tell the process."""
    for each in range(number):
        yield each, os.getpid()


def count_for_ever(file: str) -> Iterator[tuple[int, int]]:
    """Count up until nobody wants more; put the last number away."""
    number = 0
    try:
        while True:
            number += 1
            yield number, os.getpid()
    finally:
        Path(file).write_text(str(number))


def break_down() -> Iterator[int]:
    """Find something, and break."""
    yield 1
    yield 2
    raise KeyError("nobody")


def die() -> Iterator[int]:
    """Take the process along."""
    yield 1
    os.kill(os.getpid(), signal.SIGKILL)


def hang() -> Iterator[int]:
    """Start a process, tell which, and hang."""
    yield subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE).pid
    threading.Event().wait()
