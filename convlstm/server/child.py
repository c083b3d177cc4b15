"""A worker in a process of its own, on this machine."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from convlstm.server.line import PipeLine

CLOSE_SECONDS = 4.0  # that a worker may take to put everything away
_ROOT = Path(__file__).parents[2]  # whence the package is imported


class Child:
    """A worker that has been started as a process.

    Args:
        environment: variables that it has beside this process's, or instead of them.

    Attributes:
        process: it.
        line: to it.
    """

    def __init__(self, environment: Mapping[str, str] = MappingProxyType({})) -> None:
        path = os.pathsep.join([str(_ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "convlstm.server.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": path, **environment},
        )
        self.line = PipeLine(self.process.stdout, self.process.stdin)

    def let_go(self) -> None:
        """Close what a fork has inherited of it, without a lock that nobody would give free."""
        with Path(os.devnull).open("rb") as nothing:
            for end in (self.process.stdin, self.process.stdout):
                with contextlib.suppress(ValueError):  # closed before the fork
                    os.dup2(nothing.fileno(), end.fileno())  # whose number nobody else may get

    def end(self) -> None:
        """Make sure that it is gone; it has a few seconds to put everything away."""
        self.line.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(CLOSE_SECONDS)
        self.process.kill()
        self.process.wait()
        with contextlib.suppress(OSError):
            self.process.stdout.close()
