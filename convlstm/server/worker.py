"""A worker: the process in which torch computes the runs of one device.

`python -m convlstm.server.worker` reads from its standard input what the page's process asks, and
answers on its standard output. It ends when the other end is gone.
"""

import asyncio
import contextlib
import os
import signal
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path

from convlstm.devices import keep_freed_memory, pick_device
from convlstm.server.limits import Order
from convlstm.server.line import Line, PipeLine
from convlstm.server.scheduler import Scheduler
from convlstm.server.service import Service
from convlstm.server.shelf import Shelf

_LOOK_SECONDS = 0.1  # between two looks for what is new to tell
# Questions beside the compute thread, which take turns.
_HEAVY = ("describe", "draw", "open_checkpoint", "open_clip", "download")
_AT_ONCE = ("paused", "stopped")  # states that buttons make
_PAUSE = 3  # times what a heavy question took
_BROKEN = 70  # the exit code of a worker that found itself broken


def main() -> None:
    """Serve the process that has started this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the page's process, which ends us
    line = PipeLine(sys.stdin.buffer, os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)  # whatever else prints
    with contextlib.suppress(OSError, EOFError):  # the other end is gone
        serve(line, *line.receive())


def serve(line: Line, order: Order) -> None:
    """Compute what is asked for, until the line ends."""
    keep_freed_memory()
    try:
        device = pick_device(order.device)
    except ValueError as error:
        line.send("refused", str(error))
        return
    computed = [""]

    def computes(run_id: str) -> None:
        if run_id != computed[0]:
            computed[0] = run_id
            _say(line, "computes", run_id)

    scheduler = Scheduler(
        device,
        order.limits,
        Shelf(Path(order.folder), order.limits.kept_mib * 2**20, durable=order.durable),
        computes=computes,
        kept=lambda run_id, step: _say(line, "kept", run_id, step),
        broke=lambda: os._exit(_BROKEN),
        blamed=order.blamed,
    )
    line.send("ready", str(device), scheduler.steps())
    try:
        asyncio.run(_answer_all(line, scheduler))
    finally:
        scheduler.close()


async def _answer_all(line: Line, scheduler: Scheduler) -> None:
    """Answer until the line ends; tell what is new of the runs that are looked at."""
    loop, asked = asyncio.get_running_loop(), asyncio.Queue()
    threading.Thread(target=_listen, args=(line, loop, asked), daemon=True).start()
    service, told, answers, lane = Service(scheduler), {}, set(), _Lane(scheduler)
    telling = asyncio.create_task(_tell(line, scheduler, told))
    telling.add_done_callback(_end_if_broken)
    while (message := await asked.get()) is not None:
        kind, *values = message
        if kind == "watch":
            for run_id in values[0]:
                if run := scheduler.get(run_id):
                    scheduler.watch(run, looks=values[1])
                elif scheduler.is_away(run_id):
                    scheduler.bring_back(run_id)
                else:
                    _say(line, "gone", run_id)
        elif kind == "tell":
            told.pop(values[0], None)
        else:
            answer = asyncio.create_task(_answer(line, service, lane, *values))
            answers.add(answer)
            answer.add_done_callback(answers.discard)
    telling.cancel()


def _listen(line: Line, loop: asyncio.AbstractEventLoop, asked: asyncio.Queue) -> None:
    with contextlib.suppress(RuntimeError):  # the loop has ended
        try:
            with contextlib.suppress(EOFError):
                while True:
                    loop.call_soon_threadsafe(asked.put_nowait, line.receive())
        finally:
            loop.call_soon_threadsafe(asked.put_nowait, None)


def _end_if_broken(task: asyncio.Task) -> None:
    """End a worker that would tell nobody anything any more; another one is started."""
    if not task.cancelled() and task.exception():
        sys.excepthook(type(task.exception()), task.exception(), task.exception().__traceback__)
        os._exit(_BROKEN)


class _Lane:
    """Lets heavy questions through one at a time; while runs train, with a pause after each.

    So a flood of them costs training no more than their share.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler, self._free = scheduler, asyncio.Lock()

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for a turn, and have it."""
        await self._free.acquire()
        loop = asyncio.get_running_loop()
        started = loop.time()
        try:
            yield
        finally:
            pause = _PAUSE * (loop.time() - started) if self._scheduler.working_runs() else 0.0
            loop.call_later(pause, self._free.release)


async def _answer(
    line: Line, service: Service, lane: _Lane, number: int, name: str, values: tuple
) -> None:
    try:
        async with lane.turn() if name in _HEAVY else contextlib.nullcontext():
            reply: object = await getattr(service, name)(*values)
    except Exception as error:  # ours; the run that it is about may go on
        reply = {"notice": {"key": "broken"}}
        sys.excepthook(type(error), error, error.__traceback__)
    await asyncio.to_thread(_say, line, "reply", number, reply)


def _say(line: Line, *message: object) -> None:
    with contextlib.suppress(OSError):  # the other end is gone, which the listener sees
        line.send(*message)


async def _tell(line: Line, scheduler: Scheduler, told: dict[str, dict]) -> None:
    """Send what has changed of the runs that somebody looks at."""
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        for run in scheduler.watched():
            if run.snapshot is None:
                continue
            _, snapshot = run.snapshot
            if run.state in _AT_ONCE:  # however long the piece of work under way takes
                snapshot = {**snapshot, "state": run.state, "reason": run.reason, "place": 0}
            before = told.get(run.id, {})
            changes = {k: v for k, v in snapshot.items() if k not in before or before[k] != v}
            if changes:
                told[run.id] = snapshot
                await asyncio.to_thread(_say, line, "seen", run.id, not before, changes)
        for run_id in told.keys() - scheduler.steps().keys():
            del told[run_id]
            await asyncio.to_thread(_say, line, "gone", run_id)


if __name__ == "__main__":
    main()
