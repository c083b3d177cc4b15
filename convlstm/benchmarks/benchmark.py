"""How fast a training step is, beside the other ways to do it, in one run.

Each contestant lives in a process of its own (Keras takes one back end a process, and memory is
counted by process); they are timed in turns, so that a busy moment of the machine meets them all.
"""

import functools
import multiprocessing
import signal
import statistics
import sys
import time
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass

import torch

from convlstm.benchmarks.contestants import CEILING, CONTESTANTS, PLAIN, Contestant
from convlstm.benchmarks.modules import SIZES, Size
from convlstm.devices import pick_device, wait_for
from convlstm.pieces import finish
from convlstm.training.captured import WARM_UPS

_SETTLED_SECONDS = 1.0  # a step that takes longer is not repeated to warm the caches
_BURST_SECONDS, _LONGEST_BURST = 0.05, 100  # of steps in a row, on a GPU


@dataclass(frozen=True)
class Row:
    """What one contestant needed."""

    name: str
    train_ms: float | None = None  # a training step, median
    train_spread: float | None = None  # the middle half of the training steps, over the median
    forward_ms: float | None = None  # a forward pass without gradients, median
    sequences_per_second: float | None = None  # in training
    ratio: float | None = None  # the plain loop's training step over this one, turn by turn
    gflops: float | None = None  # arithmetic of the convolutions in training, GFLOP/s
    ceiling_share: float | None = None  # the convolutions alone, in this precision, over this step
    peak_mib: float | None = None  # memory that building and training took
    warm_up_seconds: float | None = None  # the first training step; on a GPU until captured
    error: str = ""  # why there are no numbers, or no more of them


def installed(device: torch.device | str = "auto") -> list[str]:
    """Name the contestants that can run here, on a device."""
    device = pick_device(str(device))
    return [name for name, entry in CONTESTANTS.items() if entry.is_able(device)]


def benchmark(
    size_name: str,
    *,
    names: list[str] | None = None,
    device: str = "auto",
    repeats: int | None = None,
) -> list[Row]:
    """Time the contestants in turns, as `measure` does; return a row for each."""
    return finish(measure(size_name, names=names, device=device, repeats=repeats))


def measure(
    size_name: str,
    *,
    names: list[str] | None = None,
    device: str = "auto",
    repeats: int | None = None,
) -> Generator[list[Row], None, list[Row]]:
    """Time the contestants in turns.

    Args:
        size_name: one of SIZES.
        names: contestants; None means all that can run there.
        device: where to compute.
        repeats: timed steps of each; None means the size's own number.

    Yields:
        The rows as they are, after each contestant's first steps and after each turn.

    Returns:
        A row for each.
    """
    size = SIZES[size_name]
    workers = [_Worker(name, size_name, device) for name in names or installed(device)]
    by_name = {worker.name: worker for worker in workers}

    def rows() -> list[Row]:
        return [_row(worker, by_name, size) for worker in workers]

    with ExitStack() as stack:
        begun = [stack.enter_context(worker.pool).submit(_begin, device) for worker in workers]
        wait(begun)
        for worker in workers:  # one after the other: compiling takes both cores
            worker.warm_up()
            yield rows()
        for _ in range(repeats or size.repeats):
            for worker in workers:
                worker.time("train")
                worker.time("forward")
            yield rows()
        for worker in workers:
            worker.peak_mib = worker.ask("memory")
    return rows()


class _Worker:
    """A contestant in its own process; after an error it only keeps the message."""

    def __init__(self, name: str, size_name: str, device: str) -> None:
        self.name, self.error, self._contestant = name, "", (name, size_name, device)
        self._is_gpu = pick_device(device).type == "cuda"
        self.warm_up_seconds = self.peak_mib = None
        self.seconds: dict[str, list[float]] = {"train": [], "forward": []}
        # Ctrl-C ends the process at once, and silently.
        interrupt = (signal.SIGINT, signal.SIG_DFL)
        context = multiprocessing.get_context("spawn")
        self.pool = ProcessPoolExecutor(1, context, initializer=signal.signal, initargs=interrupt)

    def warm_up(self) -> None:
        """Have it do what it does once, and what is captured often enough for that."""
        times = WARM_UPS + 1 if self._is_gpu else 1
        seconds = self.ask("train", times)
        self.warm_up_seconds = None if seconds is None else times * seconds
        self.ask("forward", times)

    def time(self, what: str) -> None:
        seconds = self.ask(what)
        if seconds is not None and seconds < _SETTLED_SECONDS:  # its caches were another's
            seconds = self.ask(what, self._burst(seconds))
        if seconds is not None:
            self.seconds[what].append(seconds)

    def _burst(self, seconds: float) -> int:
        """Return how many steps are timed together.

        A GPU is asked ahead, as by a training of which nobody looks at each step: waited for one by
        one, a short step would be mostly waiting, at the clock rate of an idle GPU.
        """
        if not self._is_gpu:
            return 1
        return max(1, min(_LONGEST_BURST, round(_BURST_SECONDS / seconds)))

    def ask(self, what: str, times: int = 1) -> float | None:
        if self.error:
            return None
        try:
            answer = self.pool.submit(_answer, what, times, *self._contestant).result()
        except BrokenProcessPool:
            answer = "its process ended"
        if isinstance(answer, str):
            self.error = answer
            self.pool.shutdown()
            return None
        return answer


def _begin(device_name: str) -> None:
    """Import what a contestant needs, and wake its device: all of them do so at once."""
    torch.empty(1, device=pick_device(device_name))


def _answer(what: str, times: int, *contestant: str) -> float | str:
    """Do what is asked so many times, in the contestant's process.

    Returns:
        The seconds of each; for memory, MiB; or an error's text.
    """
    started = time.perf_counter()
    try:
        doing, device, before = _made(*contestant)
        if what == "memory":
            return _peak_mib(device) - before
        for _ in range(times):
            getattr(doing, what)()
        wait_for(device)
        return (time.perf_counter() - started) / times
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0][:200]


@functools.cache
def _made(name: str, size_name: str, device_name: str) -> tuple[Contestant, torch.device, float]:
    """Make a process's contestant; return it with its device, and the memory taken before, MiB."""
    device = pick_device(device_name)
    before = _peak_mib(device)
    return CONTESTANTS[name](SIZES[size_name], device), device, before


def _peak_mib(device: torch.device) -> float:
    """Return the most memory that this process has had, MiB."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    try:
        import resource
    except ImportError:  # Windows does not count it
        return 0.0
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def _row(worker: _Worker, by_name: dict[str, _Worker], size: Size) -> Row:
    if not all(worker.seconds.values()):
        return Row(worker.name, error=worker.error)
    train, forward = map(statistics.median, worker.seconds.values())
    precision = worker.name.rpartition(", ")[2]
    times = worker.seconds["train"]

    def over(name: str) -> float | None:
        """Compare with another contestant, turn by turn: the machine's speed cancels out."""
        others = by_name[name].seconds["train"] if name in by_name else []
        ratios = [other / mine for other, mine in zip(others, times, strict=False)]
        return statistics.median(ratios) if ratios else None

    quarters = statistics.quantiles(times, n=4) if len(times) > 1 else times * 3
    return Row(
        worker.name,
        train_ms=1e3 * train,
        train_spread=(quarters[2] - quarters[0]) / train,
        forward_ms=1e3 * forward,
        sequences_per_second=size.batch / train,
        ratio=over(PLAIN),
        gflops=size.flop(training=True) / train / 1e9,
        ceiling_share=over(f"{CEILING}, {precision}"),
        peak_mib=worker.peak_mib,
        warm_up_seconds=worker.warm_up_seconds,
        error=worker.error,
    )


def table(size_name: str, rows: list[Row]) -> str:
    """Lay the rows out for a terminal."""
    size, width = SIZES[size_name], max([33, *(len(row.name) for row in rows)]) + 1
    lines = [
        f"{size_name}: batch {size.batch}, {size.frames} frames of "
        f"{size.side}x{size.side}x{size.in_channels}, {size.num_layers} x {size.hidden_channels} "
        f"hidden, kernel {size.kernel_size}, {size.flop(training=True) / 1e9:.0f} GFLOP a step",
        f"{'':<{width}}{'train ms':>9}{'spread':>8}{'forward':>9}{'seq/s':>8}{'ratio':>7}"
        f"{'GFLOP/s':>9}{'ceiling':>9}{'MiB':>7}{'first s':>9}",
    ]
    for row in rows:
        if row.train_ms is None:
            lines.append(f"{row.name:<{width}}{row.error}")
            continue
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        share = "" if row.ceiling_share is None else f"{row.ceiling_share:.0%}"
        lines.append(
            f"{row.name:<{width}}{row.train_ms:9.2f}{row.train_spread:8.0%}{row.forward_ms:9.2f}"
            f"{row.sequences_per_second:8.1f}{ratio:>7}{row.gflops:9.0f}{share:>9}"
            f"{row.peak_mib or 0:7.0f}{row.warm_up_seconds:9.2f}"
            f"{f', then {row.error}' if row.error else ''}"
        )
    return "\n".join(lines)
