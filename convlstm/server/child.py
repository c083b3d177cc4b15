"""A worker in a process of its own, on this machine."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from convlstm.server.line import PipeLine

CLOSE_SECONDS = 4.0  # that a worker may take to put everything away
_ROOT = Path(__file__).parents[2]  # whence the package is imported


class Child:
    """A worker that has been started as a process.

    Attributes:
        process: it.
        line: to it.
    """

    def __init__(self) -> None:
        path = os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "convlstm.server.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"PYTHONPATH": path},
        )
        self.line = PipeLine(self.process.stdout, self.process.stdin)

    def end(self) -> None:
        """Make sure that it is gone; it has a few seconds to put everything away."""
        self.line.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(CLOSE_SECONDS)
        self.process.kill()
        self.process.wait()
        with contextlib.suppress(OSError):
            self.process.stdout.close()
