"""Keeps one worker alive: starts it, asks it, hears it, and starts it again when it has died."""

import contextlib
import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Protocol

from convlstm.server.child import CLOSE_SECONDS
from convlstm.server.limits import Order
from convlstm.server.line import Line

_log = logging.getLogger(__name__)

Reply = dict[str, object]

_WATCH_SECONDS = 1.0  # between two messages which runs are looked at
_MOST_PAUSE = 30.0  # s before a worker is started once more that dies before it is ready
_MOST_TRIES = 2  # of a question whose worker died
_MOST_GONE = 10_000  # ids of runs that are no more
BROKEN: Reply = {"notice": {"key": "broken"}}


class Worker(Protocol):
    """A worker that has been started, wherever it runs.

    Attributes:
        line: to it.
    """

    line: Line

    def end(self) -> None:
        """Make sure that it is gone; it has a few seconds to put everything away."""


class Supervisor:
    """One worker after the other; all questions outlive them.

    Args:
        order: what they are started with.
        start: starts one.

    Attributes:
        worker: the one of this moment; None before the first.
        ready: done when it first was, with its device.
        runs: ids of its runs.
        seen: what was told of them.
        gone: ids that it does not know.
    """

    def __init__(self, order: Order, start: Callable[[], Worker]) -> None:
        self._order, self._start = order, start
        self.ready = _uncancellable()
        self.worker: Worker | None = None
        self.runs: set[str] = set()
        self.seen: dict[str, Reply] = {}
        self.gone: dict[str, None] = {}
        # When each was last watched: by somebody who looks, and by somebody who only waits for it.
        self._watched: dict[bool, dict[str, float]] = {True: {}, False: {}}
        self._numbers = itertools.count()
        self._asked: dict[int, tuple[tuple, Future, int]] = {}
        self._changing = threading.RLock()
        self._outgoing: queue.SimpleQueue = queue.SimpleQueue()
        self._line: Line | None = None
        self._computing = ""  # the run whose turn it is
        self._kept: dict[str, int] = {}  # the step from which each would go on
        self._suspect: tuple[str, int | None] = ("", None)  # whose turn it was at the last death
        self._closing = threading.Event()
        self._threads = [
            threading.Thread(target=work, name=name, daemon=True)
            for name, work in (("worker", self._live), ("questions", self._send))
        ]
        for thread in self._threads:
            thread.start()

    def ask(self, name: str, values: tuple) -> Future:
        """Ask the worker, or the one after it."""
        future = _uncancellable()
        with self._changing:
            if self._closing.is_set() or (self.ready.done() and self.ready.exception()):
                future.set_result(BROKEN)
                return future
            number = next(self._numbers)
            self._asked[number] = (number, name, values), future, 1
            self._put("ask", number, name, values)
        return future

    def watch(self, run: str, *, looks: bool = True) -> None:
        """Note that somebody wants to know of a run, and whether its pictures are looked at."""
        is_new = run not in self._watched[looks]
        self._watched[looks][run] = time.monotonic()
        if is_new:
            self._put("watch", [run], looks)

    def forget_seen(self, run: str) -> None:
        """Ask for a run's whole snapshot anew: what was seen before may no longer hold."""
        self.seen.pop(run, None)
        self._put("tell", run)

    def load(self) -> int:
        """Count the runs that train, and the questions that wait."""
        active = sum(s.get("state") in ("training", "waiting") for s in list(self.seen.values()))
        return active + len(self._asked)

    def close(self) -> None:
        """End the worker when it has put its runs away."""
        self._closing.set()
        self._put()

    def join(self) -> None:
        """Wait for the end; whatever does not end by itself is killed."""
        if self.worker:
            self.worker.end()
        for thread in self._threads:
            thread.join(CLOSE_SECONDS)

    # The thread that starts workers and listens to them.

    def _live(self) -> None:
        pause, is_sound = 0.0, False
        while not self._closing.wait(pause):
            try:
                is_sound = self._live_once()
            except Exception:  # no memory for a process, or a fault of ours: the next one may do
                _log.exception("A worker could not be served.")
                is_sound = False
            if self._closing.is_set() or (self.ready.done() and self.ready.exception()):
                break
            self._mourn()
            pause = 0.0 if is_sound else min(_MOST_PAUSE, 2 * pause + 0.25)
        with self._changing:
            for _, future, _ in self._asked.values():
                future.set_result(BROKEN)
            self._asked.clear()

    def _live_once(self) -> bool:
        """Start a worker, and listen to it to its end; return whether it was ever ready."""
        self.worker = self._start()
        line = self.worker.line
        try:
            with contextlib.suppress(OSError, EOFError):
                line.send(self._order)
                while True:
                    kind, *values = line.receive()
                    getattr(self, f"_on_{kind}")(line, *values)
        finally:
            with self._changing:
                is_sound, self._line = self._line is not None, None
            self.worker.end()
        return is_sound

    def _mourn(self) -> None:
        """Find out whether a run has killed its worker, and give questions another chance."""
        run = self._computing
        kept = self._kept.get(run)
        _log.error("A worker has died, in the turn of run %r; another starts.", run)
        if run and (run, kept) == self._suspect:  # twice, without getting any further
            self._order = replace(self._order, blamed=self._order.blamed | {run})
        self._suspect, self._computing = (run, kept), ""
        with self._changing:
            for number, (message, future, tries) in list(self._asked.items()):
                if tries < _MOST_TRIES:
                    self._asked[number] = message, future, tries + 1
                else:
                    del self._asked[number]
                    future.set_result(BROKEN)

    def _on_ready(self, line: Line, device: str, steps: dict[str, int]) -> None:
        for run in self.runs - steps.keys():
            self._on_gone(line, run)
        self.runs |= steps.keys()
        self._kept = dict(steps)
        suspect = self._suspect[0]
        self._suspect = suspect, steps.get(suspect)
        # Whoever is blamed has failed by now; after a reset it may die anew.
        self._order = replace(self._order, blamed=frozenset())
        with self._changing:
            self._line = line
            for message, _, _ in self._asked.values():
                self._put("ask", *message)
        for looks, watched in self._watched.items():
            self._put("watch", list(watched), looks)
        if not self.ready.done():
            self.ready.set_result(device)

    def _on_refused(self, line: Line, text: str) -> None:
        if self.ready.done():  # one before it was taken on, and so may one after it
            _log.error("A worker could not start: %s", text)
        else:
            self.ready.set_exception(ValueError(text))

    def _on_computes(self, line: Line, run: str) -> None:
        self._computing = run

    def _on_kept(self, line: Line, run: str, step: int) -> None:
        self._kept[run] = step

    def _on_reply(self, line: Line, number: int, reply: object) -> None:
        with self._changing:
            _, future, _ = self._asked.pop(number, (None, None, None))
        if future:
            future.set_result(reply)

    def _on_seen(self, line: Line, run: str, is_whole: bool, changes: Reply) -> None:
        self.runs.add(run)
        before = self.seen.get(run)  # once: whoever asks for a whole one takes it away
        if is_whole:
            self.seen[run] = changes
        elif before is not None:
            self.seen[run] = {**before, **changes}

    def _on_gone(self, line: Line, run: str) -> None:
        self.runs.discard(run)
        self.seen.pop(run, None)
        for watched in self._watched.values():
            watched.pop(run, None)
        self.gone[run] = None
        while len(self.gone) > _MOST_GONE:
            del self.gone[next(iter(self.gone))]

    # The thread that sends.

    def _send(self) -> None:
        told_at = time.monotonic()
        while not self._closing.is_set():
            line, message = None, ()
            with contextlib.suppress(queue.Empty):
                line, message = self._outgoing.get(timeout=_WATCH_SECONDS)
            now = time.monotonic()
            if now - told_at >= _WATCH_SECONDS:
                told_at = now
                for looks, watched in self._watched.items():
                    for run, at in list(watched.items()):
                        if now - at > 2 * _WATCH_SECONDS:
                            watched.pop(run, None)
                    self._send_one(self._line, ("watch", list(watched), looks))
            self._send_one(line, message)
        if self.worker:
            self.worker.line.close()

    def _put(self, *message: object) -> None:
        """Have something sent to the worker of this moment, if there is one, and to no other."""
        self._outgoing.put((self._line, message))

    def _send_one(self, line: Line | None, message: tuple) -> None:
        if message and line and line is self._line:
            with contextlib.suppress(OSError, ValueError):  # it has died: `_live` sees that
                line.send(*message)


def _uncancellable() -> Future:
    """Make a future that outlives whoever waits for it: a visitor who leaves takes none away."""
    future: Future = Future()
    future.set_running_or_notify_cancel()
    return future
