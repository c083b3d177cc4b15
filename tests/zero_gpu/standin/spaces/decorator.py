"""The decorator, for generators."""

import contextlib
import functools
import inspect
import json
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .config import Config

_FORK = multiprocessing.get_context("fork")


def GPU(task: Callable | None = None, *, duration: float = 60, size: str | None = None) -> Callable:
    if task is None:
        return functools.partial(GPU, duration=duration, size=size)
    if not Config.zero_gpu:
        return task
    if inspect.iscoroutinefunction(task) or not inspect.isgeneratorfunction(task):
        raise NotImplementedError

    @functools.wraps(task)
    def handler(*args: object, **kwargs: object) -> Iterator[object]:
        _schedule(duration)
        outgoing, results, stop = _FORK.SimpleQueue(), _FORK.SimpleQueue(), _FORK.Event()
        process = _FORK.Process(target=_work, args=(task, outgoing, results, stop), daemon=True)
        process.start()
        outgoing.put((args, kwargs))  # pickles
        killer = threading.Timer(duration, process.kill)
        killer.start()
        threading.Thread(target=_watch, args=(process, results), daemon=True).start()
        _log(event="begun", pid=process.pid, duration=duration)
        try:
            while (result := results.get()) is not None and result[0] != "end":
                kind, value = result
                if kind == "error":
                    raise _error(value)
                try:
                    yield value
                except GeneratorExit:
                    stop.set()
                    while (result := results.get()) is not None and result[0] != "end":
                        pass
                    raise
            if result is None:
                raise _error("GPU task aborted")
        finally:
            killer.cancel()
            process.kill()  # the real one keeps it for the next call
            _log(event="ended", pid=process.pid)

    handler.zerogpu = None
    return handler


def _schedule(duration: float) -> None:
    """Ask the service, in an event of a visitor's."""
    from gradio.context import LocalContext

    request = LocalContext.request.get(None)
    event = LocalContext.event_id.get(None)
    _log(event="asked", duration=duration, queued=request is not None and event is not None)
    if request is None:
        raise _error("Space app has reached its GPU limit.")
    quota = _service() / "quota"
    if quota.exists() and float(quota.read_text()) < duration:
        raise _error(
            f"You have exceeded your free ZeroGPU quota ({duration}s requested vs. 0s left)."
        )


def _error(message: str) -> Exception:
    import gradio

    return gradio.Error(message, title="ZeroGPU", print_exception=False)


def _work(task: Callable, outgoing: object, results: object, stop: object) -> None:
    """In the forked process."""
    from . import cuda

    cuda.unpatch()
    args, kwargs = outgoing.get()

    def iterate() -> None:
        generator = task(*args, **kwargs)
        while True:
            try:
                value = next(generator)
            except StopIteration:
                break
            except Exception as error:
                results.put(("error", type(error).__name__))
                break
            if stop.is_set():
                generator.close()
                break
            try:
                results.put(("value", value))  # pickles
            except Exception:
                results.put(("error", "PicklingError"))
                break

    with ThreadPoolExecutor() as executor:
        executor.submit(iterate).result()
    results.put(("end", None))
    while os.getppid() != 1:  # as the real one waits for the next call, until it is killed
        time.sleep(0.1)


def _watch(process: object, results: object) -> None:
    process.join()
    with contextlib.suppress(ValueError):
        results._wlock.release()  # of a process that was killed while it was writing
    results.put(None)


def _service() -> Path:
    return Path(Config.zero_device_api_url)


def _log(**values: object) -> None:
    line = json.dumps({**values, "process": os.getpid()}) + "\n"
    with (_service() / "calls").open("a") as file:
        file.write(line)
