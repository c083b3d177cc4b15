"""A worker as an actor of a Ray cluster: the side of the machine on which it computes.

Ray makes an `Actor` in a process of its own and calls its methods from the page's process, each on
some thread; between them and `serve` stands a line made of two queues.
"""

import contextlib
import os
import platform
import queue
import threading
import time
from dataclasses import replace
from pathlib import Path

SILENCE_SECONDS = 10.0  # after which the page's side gives an actor up
# Two workers must never write to one folder. Ray ends the actors of an owner that is gone; but a
# machine that the network has cut off does not learn of that, and Ray takes a minute to miss the
# machine. So an actor ends itself when it has not been asked for so long, and its successor starts
# later than that.
LEASE_SECONDS = 8.0
_LOOK_SECONDS = 0.5  # between two looks whether it has been asked
_LONGEST_TELL = 1.0  # s that a question for news waits for some
_MOST_UNREAD = 256  # messages; then whoever has more to say waits
_LEFT = 71  # the exit code of an actor that nobody asks any more


class QueueLine:
    """The worker's end of a line over calls."""

    def __init__(self) -> None:
        self.heard: queue.SimpleQueue = queue.SimpleQueue()  # None is the end
        self.said: queue.Queue = queue.Queue(_MOST_UNREAD)

    def send(self, *value: object) -> None:
        """Send a value; from any thread."""
        self.said.put(value)

    def receive(self) -> tuple:
        """Wait for a value; from one thread.

        Raises:
            EOFError: the other end sends nothing more.
        """
        value = self.heard.get()
        if value is None:
            raise EOFError
        return value

    def close(self) -> None:
        """Send nothing more."""
        self.said.put(None)


class Actor:
    """One worker; its methods are what the page's side calls.

    Args:
        mark: a file of the page's side in the folder that all machines share.
        threads: the page's `OMP_NUM_THREADS`, or None.
        has_gpu: whether Ray has lent it a GPU.
    """

    def __init__(self, mark: Path, threads: str | None, has_gpu: bool) -> None:
        # Ray allows its actors one thread. A worker uses its machine's cores, as a child of the
        # page's process would; `Threads` leaves others theirs.
        os.environ.pop("OMP_NUM_THREADS", None)
        if threads is not None:
            os.environ["OMP_NUM_THREADS"] = threads
        if not has_gpu:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        # Only now torch, which reads these; and before anybody waits for an answer, since loading
        # it may hold all threads up for longer than the lease.
        from convlstm.server.worker import serve

        self._serve, self._mark, self._line = serve, mark, QueueLine()
        self._ended = threading.Event()
        self._answered_at = self._trusted_at = time.monotonic()
        for work in (self._work, self._leave):
            threading.Thread(target=work, daemon=True).start()

    def is_there(self) -> str:
        """Return the name of this machine."""
        return platform.node()

    def hear(self, *value: object) -> None:
        """Take a value for the worker."""
        self._line.heard.put(value)

    def finish(self) -> None:
        """Take no further value: the worker puts everything away and ends."""
        self._line.heard.put(None)

    def tell(self) -> list[tuple | None]:
        """Return what the worker has said since the last call, after a while; None is its end."""
        # This call proves that the last one's answer came through. Counted from that answer, and
        # not from this call, which may have been on its way for long, the lease ends in any case
        # before the page's side gives up waiting for what this call returns.
        self._trusted_at = self._answered_at
        said: list[tuple | None] = []
        with contextlib.suppress(queue.Empty):
            said.append(self._line.said.get(timeout=_LONGEST_TELL))
            while len(said) < _MOST_UNREAD:
                said.append(self._line.said.get_nowait())
        self._answered_at = time.monotonic()
        return said

    def wait_ended(self, seconds: float) -> bool:
        """Wait until the worker has put everything away; return whether it has."""
        return self._ended.wait(seconds)

    def _work(self) -> None:
        try:
            with contextlib.suppress(EOFError):
                (order,) = self._line.receive()
                if self._mark.is_file():
                    self._serve(self._line, replace(order, durable=True))
                else:
                    self._line.send("refused", self._unshared())
        finally:
            self._ended.set()
            self._line.close()

    def _unshared(self) -> str:
        folder = self._mark.parent
        return (
            f"--keep is {folder}: the machine {platform.node()} does not see there what the page "
            "has written; must be a folder that all machines share."
        )

    def _leave(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            if time.monotonic() - self._trusted_at > LEASE_SECONDS:
                os._exit(_LEFT)
