"""The workers, as the page's process has them.

Nothing here computes or imports what does. Every run belongs to one worker; a new one goes to the
worker with the least to do.
"""

import asyncio
import contextlib
import logging
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import TimeoutError as FutureTimeout
from pathlib import Path

from convlstm.server.child import Child
from convlstm.server.limits import Limits, Order
from convlstm.server.supervisor import BROKEN, Reply, Supervisor, Worker

_log = logging.getLogger(__name__)

_QUESTION_SECONDS = 0.01  # of a server's time for each question, whoever asks
_PATIENCE_SECONDS = 5.0  # that a question may wait for it


class Pool:
    """The workers of a server, one for each device.

    Args:
        devices: where they compute.
        limits: what each takes on.
        folder: where runs are kept over the server's end; None for no longer than that.
        start: starts a worker.

    Attributes:
        passing: a folder that is gone when the pool is closed.

    Raises:
        OSError: nothing can be written there, or nowhere for a while.
    """

    def __init__(
        self,
        devices: Sequence[str] = ("auto",),
        limits: Limits | None = None,
        folder: Path | None = None,
        start: Callable[[], Worker] = Child,
    ) -> None:
        if folder:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                pass
        self.passing = Path(tempfile.mkdtemp(prefix="convlstm-"))
        kept = folder or self.passing
        # Where every worker sees them, on whatever machine; a killed server may have left some.
        self._uploads = kept / "uploads"
        shutil.rmtree(self._uploads, ignore_errors=True)
        self._uploads.mkdir(exist_ok=True)
        limits = limits or Limits()
        self._free_at = 0.0
        self._workers = [
            Supervisor(Order(device, limits, str(kept / f"worker-{n}")), start)
            for n, device in enumerate(devices)
        ]

    def wait_ready(self, seconds: float | None = None) -> list[str]:
        """Wait until every worker is ready; return their devices.

        Raises:
            ValueError: there is no such device.
            TimeoutError: it takes longer than that.
        """
        try:
            return [worker.ready.result(seconds) for worker in self._workers]
        except FutureTimeout:  # which Python 3.10 has under another name
            raise TimeoutError(f"no worker was ready within {seconds:g} s.") from None

    def workers(self) -> list[Worker | None]:
        """Return the workers of this moment; None for one that was never started."""
        return [each.worker for each in self._workers]

    async def ask(self, name: str, *values: object, run: object = None) -> Reply:
        """Ask for one of `Service`'s methods.

        Args:
            name: of the method.
            values: its arguments.
            run: the run that it is about, if any.
        """
        now = time.monotonic()
        self._free_at = max(now, self._free_at) + _QUESTION_SECONDS
        if self._free_at - now > _PATIENCE_SECONDS:
            self._free_at -= _QUESTION_SECONDS
            return {"notice": {"key": "busy"}}
        await asyncio.sleep(self._free_at - now - _QUESTION_SECONDS)
        if isinstance(run, str) and self._of(run) is None:  # a worker yet to start may have kept it
            for worker in self._workers:
                with contextlib.suppress(ValueError):
                    await asyncio.wrap_future(worker.ready)
        worker = self._of(run) or min(self._workers, key=_busyness)
        reply = await asyncio.wrap_future(worker.ask(name, values))
        if isinstance(reply, dict) and isinstance(opened := reply.get("run"), str):
            worker.runs.add(opened)
        if name in ("act", "open_checkpoint", "open_clip") and isinstance(run, str):
            worker.forget_seen(run)
        return reply

    async def open_file(self, name: str, run: object, upload: Path, *values: object) -> Reply:
        """Ask for one of `Service`'s methods that opens an uploaded file; the file is taken away.

        Args:
            name: of the method.
            run: the id of the run that it is for.
            upload: the file, on this machine.
            values: the method's further arguments.
        """
        passed = self._uploads / secrets.token_hex(16)
        try:
            await asyncio.to_thread(shutil.move, upload, passed)
            return await self.ask(name, run, passed, *values, run=run)
        except OSError as error:
            _log.warning("an uploaded file could not be passed on: %s", error)
            upload.unlink(missing_ok=True)
            return dict(BROKEN)
        finally:
            passed.unlink(missing_ok=True)

    def has(self, run: object) -> bool:
        """Whether it is known that there is such a run."""
        return self._of(run) is not None

    def watch(self, run: str, *, looks: bool = True) -> None:
        """Say that somebody wants to know of a run: its snapshots are sent and it is kept.

        Args:
            run: its id.
            looks: whether at its pictures, too; only then they are drawn.
        """
        (self._of(run) or self._workers[0]).watch(run, looks=looks)

    def tell(self, run: str, name: str, *values: object) -> Reply:
        """Ask for one of `Service`'s methods about a run, and wait for the answer; in any thread.

        Args:
            run: its id.
            name: of the method.
            values: its further arguments.
        """
        worker = self._of(run)
        return worker.ask(name, (run, *values)).result() if worker else {"notice": {"key": "lost"}}

    def seen(self, run: str) -> Reply | None:
        """Return what was told of a run, a new object whenever it has changed; None before."""
        return (self._of(run) or self._workers[0]).seen.get(run)

    def is_gone(self, run: str) -> bool:
        """Whether there is no such run any more, or never was."""
        return run in (self._of(run) or self._workers[0]).gone

    def let_go(self) -> None:
        """Leave the workers to the process that this one was forked from; they hear its end."""
        for worker in self.workers():
            if worker:
                worker.let_go()

    def close(self) -> None:
        """End the workers, after they have put their runs away."""
        for worker in self._workers:
            worker.close()
        for worker in self._workers:
            worker.join()
        shutil.rmtree(self.passing, ignore_errors=True)

    def _of(self, run: object) -> Supervisor | None:
        known = (worker for worker in self._workers if isinstance(run, str) and run in worker.runs)
        return next(known, None)


def _busyness(worker: Supervisor) -> tuple[int, int]:
    """Compare workers by what they do now, and then by what they may soon have to do."""
    return worker.load(), len(worker.runs)
