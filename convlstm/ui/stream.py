"""Streams of snapshots, one for each viewer of a run."""

import asyncio
from collections.abc import AsyncIterator, Callable

from convlstm.server.classroom import Classroom
from convlstm.server.pool import Pool, Reply

_UPDATE_SECONDS = 0.125  # 8 updates a second, for few viewers
_UPDATE_SECONDS_PER_LIVELY = 0.02  # and fewer each where many watch what changes
_UPDATE_SECONDS_PER_STREAM = 0.002  # or keep open what does not
_LIVELY_SECONDS = 3.0  # after a change
_HEARTBEAT_SECONDS = 2.0  # a silent page asks again after some missed beats
_MOST_OPEN = 600  # streams at the same time; one that nobody reads costs 100 KiB and more
_LONGEST_ID = 64  # letters; what is asked for in vain is remembered
_LONGEST_SECONDS = 1800  # then the page asks again; a client that left is not served for ever


class Streams:
    """All streams of a page.

    Args:
        pool: whose runs are watched.
        classroom: whose students may be shown their teacher's run instead of their own.
    """

    def __init__(self, pool: Pool, classroom: Classroom | None = None) -> None:
        self._pool, self._classroom = pool, classroom
        self._open = self._lively = 0

    async def watch(
        self, run: object, is_read: Callable[[], bool] = lambda: True
    ) -> AsyncIterator[Reply]:
        """Yield snapshots of a run: when something changed, and as a sign of life.

        Those of a teacher's run go under the student's own id, or the student could steer it; they
        say `teacher`.

        Args:
            run: its id.
            is_read: whether what was yielded so far has been taken; a stream that nobody reads
                ends.
        """
        if self._open >= _MOST_OPEN:
            yield {"run": run, "notice": {"key": "busy"}}
            return
        clock = asyncio.get_running_loop().time
        started, sent, beat, last = clock(), clock(), 0, None
        changed, lively = clock(), False
        self._open += 1
        try:
            while clock() - started < _LONGEST_SECONDS and is_read():
                known = isinstance(run, str) and len(run) <= _LONGEST_ID
                if not known or self._pool.is_gone(run):
                    yield {"run": run, "notice": {"key": "lost"}}
                    return
                shown = self._shown_to(run)
                self._pool.watch(run, looks=shown == run)
                seen = self._pool.seen(shown)
                is_silent = clock() - sent > _HEARTBEAT_SECONDS
                if seen is not last:
                    changed = clock()
                self._lively -= lively
                lively = clock() - changed < _LIVELY_SECONDS
                self._lively += lively
                if seen and (seen is not last or is_silent):
                    last, sent, beat = seen, clock(), beat + 1
                    yield {**seen, "run": run, "beat": beat, "teacher": shown != run}
                await asyncio.sleep(self._pause())
        finally:
            self._open -= 1
            self._lively -= lively

    def _pause(self) -> float:
        """Return for how long a stream waits before it looks for news again, s."""
        of_lively = self._lively * _UPDATE_SECONDS_PER_LIVELY
        return max(_UPDATE_SECONDS, of_lively, self._open * _UPDATE_SECONDS_PER_STREAM)

    def _shown_to(self, run: str) -> str:
        """Return the run whose snapshots go to whoever looks at a run, and watch another's."""
        shown = self._classroom.shown_to(run) if self._classroom else run
        if shown == run or self._pool.is_gone(shown):
            return run
        self._pool.watch(shown)
        return shown
