"""How fast a training step is, beside the other ways to do it, in one run.

Each contestant lives in a process of its own (Keras takes one back end a process, and memory is
counted by process); they are timed in turns, so that a busy moment of the machine meets them all.
"""

import functools
import importlib.util
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

from convlstm.benchmarks.contestants import CEILING, CONTESTANTS, PLAIN, SIZES, Contestant, Size
from convlstm.devices import pick_device
from convlstm.pieces import finish

_SETTLED_SECONDS = 1.0  # a step that takes longer is not repeated to warm the caches


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
    warm_up_seconds: float | None = None  # the first training step
    error: str = ""  # why there are no numbers


def installed() -> list[str]:
    """Name the contestants that can run here."""

    def is_installed(name: str) -> bool:
        needed = ("keras", "jax" if "jax" in name else "torch") if "Keras" in name else ()
        return all(importlib.util.find_spec(module) for module in needed)

    return [name for name in CONTESTANTS if is_installed(name)]


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
        names: contestants; None means all that are installed.
        device: where to compute.
        repeats: timed steps of each; None means the size's own number.

    Yields:
        The rows as they are, after each contestant's first steps and after each turn.

    Returns:
        A row for each.
    """
    size = SIZES[size_name]
    workers = [_Worker(name, size_name, device) for name in names or installed()]
    by_name = {worker.name: worker for worker in workers}

    def rows() -> list[Row]:
        return [_row(worker, by_name, size) for worker in workers]

    with ExitStack() as stack:
        begun = [stack.enter_context(worker.pool).submit(_begin, device) for worker in workers]
        wait(begun)
        for worker in workers:  # one after the other: compiling takes both cores
            worker.warm_up_seconds = worker.ask("train")
            worker.ask("forward")
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
        self.warm_up_seconds = self.peak_mib = None
        self.seconds: dict[str, list[float]] = {"train": [], "forward": []}
        # Ctrl-C ends the process at once, and silently.
        interrupt = (signal.SIGINT, signal.SIG_DFL)
        context = multiprocessing.get_context("spawn")
        self.pool = ProcessPoolExecutor(1, context, initializer=signal.signal, initargs=interrupt)

    def time(self, what: str) -> None:
        seconds = self.ask(what)
        if seconds is not None and seconds < _SETTLED_SECONDS:  # its caches were another's
            seconds = self.ask(what)
        if seconds is not None:
            self.seconds[what].append(seconds)

    def ask(self, what: str) -> float | None:
        if self.error:
            return None
        try:
            answer = self.pool.submit(_answer, what, *self._contestant).result()
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


def _answer(what: str, *contestant: str) -> float | str:
    """Do what is asked, in the contestant's process; return seconds, or MiB, or an error's text."""
    started = time.perf_counter()
    try:
        doing, device, before = _made(*contestant)
        if what == "memory":
            return _peak_mib(device) - before
        getattr(doing, what)()
        return time.perf_counter() - started
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
        return torch.cuda.max_memory_allocated() / 2**20
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
    size = SIZES[size_name]
    lines = [
        f"{size_name}: batch {size.batch}, {size.frames} frames of "
        f"{size.side}x{size.side}x{size.in_channels}, {size.num_layers} x {size.hidden_channels} "
        f"hidden, kernel {size.kernel_size}, {size.flop(training=True) / 1e9:.0f} GFLOP a step",
        f"{'':<34}{'train ms':>9}{'spread':>8}{'forward':>9}{'seq/s':>8}{'ratio':>7}"
        f"{'GFLOP/s':>9}{'ceiling':>9}{'MiB':>7}{'first s':>9}",
    ]
    for row in rows:
        if row.train_ms is None:
            lines.append(f"{row.name:<34}{row.error}")
            continue
        ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
        share = "" if row.ceiling_share is None else f"{row.ceiling_share:.0%}"
        lines.append(
            f"{row.name:<34}{row.train_ms:9.1f}{row.train_spread:8.0%}{row.forward_ms:9.1f}"
            f"{row.sequences_per_second:8.1f}{ratio:>7}{row.gflops:9.0f}{share:>9}"
            f"{row.peak_mib or 0:7.0f}{row.warm_up_seconds:9.2f}"
        )
    return "\n".join(lines)
