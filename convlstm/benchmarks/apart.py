"""Work in a process of its own: what breaks, hangs or is out of time there is gone with it.

A GPU that a faulty kernel was run on refuses whatever else its process asks. `python -m
convlstm.benchmarks.apart` is the other process; its errors, and what else it prints, are a log's.
"""

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Generator
from pathlib import Path
from typing import BinaryIO

from convlstm.server.line import Line, PipeLine

# Yields where it is, as often as it likes; closed early, it puts away what must be kept.
Work = Callable[..., Generator[object, None, None]]

_GRACE_SECONDS = 30.0  # for the piece under way, once time is up, before its process is killed
_LOOK_SECONDS = 0.2  # between two looks at the clock while nothing comes
_TELL_SECONDS = 0.1  # between two pieces that are told
_ROOT = Path(__file__).parents[2]  # whence the package is imported


class WorkFailed(RuntimeError):  # noqa: N818
    """Work that broke, or did not find what it should; the message is one line."""


class Apart:
    """A process that does one work after the other; after a failure the next has a new one.

    Args:
        log: takes what the process prints; None for this process's own stderr.
        grace: for how long work that is told to end may go on with its piece, s.
    """

    def __init__(self, log: BinaryIO | None = None, grace: float = _GRACE_SECONDS) -> None:
        self._log, self._grace = log, grace
        self._process: subprocess.Popen | None = None
        self._line: PipeLine | None = None
        self._heard: queue.Queue[tuple] = queue.Queue()
        self._ends_at: float | None = None

    def pieces(
        self, work: Work, *arguments: object, seconds: float
    ) -> Generator[object, None, bool]:
        """Do a work.

        Args:
            work: a function of a module, which the process imports.
            arguments: of it.
            seconds: that it has; then it is closed, and some time after that killed.

        Yields:
            The newest of what it yields; None now and then while there is nothing new.

        Returns:
            Whether it came to its own end.

        Raises:
            WorkFailed: it broke, or did not end in time.
        """
        self._begin(work, arguments)
        closes_at, self._ends_at, is_over = time.monotonic() + seconds, None, False
        try:
            while True:
                try:
                    kind, value = self._heard.get(timeout=_LOOK_SECONDS)
                except queue.Empty:
                    kind, value = "piece", None
                if kind == "ended":
                    is_over = True
                    return value
                if kind == "failed":
                    raise WorkFailed(value)
                if kind == "gone":
                    raise WorkFailed(_how_it_went(self._process.wait()))
                yield value
                now = time.monotonic()
                if self._ends_at is None and now > closes_at:
                    self.close_work()
                elif self._ends_at is not None and now > self._ends_at:
                    raise WorkFailed("it did not end when its time was up")
        finally:
            if not is_over:
                self.end()

    def close_work(self) -> None:
        """Let the work end after the piece under way; `pieces` then come to their end soon."""
        if self._line is not None and self._ends_at is None:
            self._ends_at = time.monotonic() + self._grace
            with contextlib.suppress(OSError):
                self._line.send("close")

    def end(self) -> None:
        """End the process, and whatever it has started."""
        if self._process is None:
            return
        if hasattr(os, "killpg"):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.kill()
        self._process.wait()
        self._line.close()
        self._process = self._line = None

    def _begin(self, work: Work, arguments: tuple) -> None:
        if self._process is None:
            paths = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
            self._process = subprocess.Popen(
                [sys.executable, "-m", "convlstm.benchmarks.apart"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
                env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
                start_new_session=True,  # Ctrl-C is for this process, which ends that one
            )
            self._line = PipeLine(self._process.stdout, self._process.stdin)
            self._heard = queue.Queue()
            listens = threading.Thread(
                target=_listen, args=(self._line, self._heard, self._process.stdout), daemon=True
            )
            listens.start()
        with contextlib.suppress(OSError):  # if it is gone, that is heard
            self._line.send("work", work, arguments)


def _listen(line: Line, heard: queue.Queue, reading: BinaryIO) -> None:
    with contextlib.suppress(EOFError), reading:
        while True:
            heard.put(line.receive())
    heard.put(("gone", None))


def _how_it_went(code: int) -> str:
    if code >= 0:
        return f"its process ended with code {code}"
    with contextlib.suppress(ValueError):
        return f"its process was ended by {signal.Signals(-code).name}"
    return f"its process was ended by signal {-code}"


def main() -> None:
    """Do what the process asks that has started this one, until it is gone."""
    from convlstm.devices import Threads, keep_freed_memory

    line = PipeLine(sys.stdin.buffer, os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)  # whatever else prints
    keep_freed_memory()
    works: queue.Queue[tuple | None] = queue.Queue()
    closed = threading.Event()

    def listen() -> None:
        try:
            with contextlib.suppress(EOFError):
                while True:
                    kind, *values = line.receive()
                    if kind == "work":
                        closed.clear()
                        works.put(values)
                    else:
                        closed.set()
        finally:
            closed.set()
            works.put(None)

    threading.Thread(target=listen, daemon=True).start()
    threads = Threads()
    with contextlib.suppress(OSError):  # the other end is gone
        while (asked := works.get()) is not None:
            threads.adapt()
            _do(line, closed, threads.adapt, *asked)


def _do(
    line: Line,
    closed: threading.Event,
    between: Callable[[], object],
    work: Work,
    arguments: tuple,
) -> None:
    """Do a work; tell its pieces, the last of them always, and how it ended."""
    told_at, untold = 0.0, None
    answer: tuple[str, object] = "ended", True
    pieces = work(*arguments)
    try:
        for piece in pieces:
            untold = piece
            if time.monotonic() - told_at >= _TELL_SECONDS:
                line.send("piece", piece)
                told_at, untold = time.monotonic(), None
            between()
            if closed.is_set():
                pieces.close()
                answer = "ended", False
    except Exception as error:
        traceback.print_exc()
        answer = "failed", one_line(error)
    if untold is not None:
        line.send("piece", untold)
    line.send(*answer)


def one_line(error: BaseException) -> str:
    """Say an error in one line, with its kind where that says something."""
    text = " ".join(str(error).split())[:300]
    if isinstance(error, AssertionError | ValueError | WorkFailed) and text:
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


if __name__ == "__main__":
    main()
