"""How fast a training step is, beside the other ways to do it, in one run.

Each contestant lives in a process of its own (Keras takes one back end a process, and memory is
counted by process); they are timed in turns, so that a busy moment of the machine meets them all.
"""

import importlib.util
import multiprocessing
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection

import torch

from convlstm.benchmarks.contestants import CEILING, CONTESTANTS, PLAIN, SIZES, Size
from convlstm.devices import pick_device

_SETTLED_SECONDS = 1.0  # a step that takes longer is not repeated to warm the caches


@dataclass(frozen=True)
class Row:
    """What one contestant needed.

    Attributes:
        name: the contestant.
        train_ms: a training step, median, ms.
        train_spread: the middle half of the training steps, over the median.
        forward_ms: a forward pass without gradients, median, ms.
        sequences_per_second: in training.
        ratio: the plain loop's training step over this one, median over the turns.
        gflops: arithmetic of the convolutions in training, GFLOP/s.
        ceiling_share: the convolutions' time alone, in this precision, over this training step.
        peak_mib: memory that building and training took, MiB.
        warm_up_seconds: the first training step, s.
        error: why there are no numbers, or "".
    """

    name: str
    train_ms: float | None = None
    train_spread: float | None = None
    forward_ms: float | None = None
    sequences_per_second: float | None = None
    ratio: float | None = None
    gflops: float | None = None
    ceiling_share: float | None = None
    peak_mib: float | None = None
    warm_up_seconds: float | None = None
    error: str = ""


def installed() -> list[str]:
    """Name the contestants that can run here."""
    missing = {
        name
        for name in CONTESTANTS
        if name.startswith("Keras")
        and not all(
            importlib.util.find_spec(module)
            for module in ("keras", "jax" if "jax" in name else "torch")
        )
    }
    return [name for name in CONTESTANTS if name not in missing]


def benchmark(
    size_name: str,
    *,
    names: list[str] | None = None,
    device: str = "auto",
    repeats: int | None = None,
) -> list[Row]:
    """Time the contestants in turns.

    Args:
        size_name: one of SIZES.
        names: contestants; None means all that are installed.
        device: where to compute.
        repeats: timed steps of each; None means the size's own number.

    Returns:
        A row for each.
    """
    size = SIZES[size_name]
    with ExitStack() as stack:
        workers = [
            stack.enter_context(_worker(name, size_name, device)) for name in names or installed()
        ]
        for worker in workers:  # one after the other: compiling takes both cores
            worker.start()
        for _ in range(repeats or size.repeats):
            for worker in workers:
                worker.time("train")
                worker.time("forward")
        for worker in workers:
            worker.measure_memory()
    by_name = {worker.name: worker for worker in workers}
    return [_row(worker, by_name, size) for worker in workers]


class _Worker:
    """A contestant in its own process; after an error it only keeps the message."""

    def __init__(self, name: str, line: Connection) -> None:
        self.name = name
        self.error = ""
        self.warm_up_seconds = self.peak_mib = None
        self.seconds: dict[str, list[float]] = {"train": [], "forward": []}
        self._line = line

    def start(self) -> None:
        self.warm_up_seconds = self._ask("train")
        self._ask("forward")

    def time(self, what: str) -> None:
        seconds = self._ask(what)
        if seconds is not None and seconds < _SETTLED_SECONDS:  # its caches were another's
            seconds = self._ask(what)
        if seconds is not None:
            self.seconds[what].append(seconds)

    def measure_memory(self) -> None:
        self.peak_mib = self._ask("memory")

    def median(self, what: str) -> float | None:
        return statistics.median(self.seconds[what]) if self.seconds[what] else None

    def _ask(self, what: str) -> float | None:
        if self.error:
            return None
        try:
            self._line.send(what)
            answer = self._line.recv()
        except (EOFError, OSError):
            answer = "its process ended"
        if isinstance(answer, str):
            self.error = answer
            return None
        return answer


@contextmanager
def _worker(name: str, size_name: str, device: str) -> Iterator[_Worker]:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, name, size_name, device), daemon=True)
    process.start()
    theirs.close()
    try:
        yield _Worker(name, ours)
    finally:
        ours.close()  # the process sees it, and ends
        process.join(5)
        if process.is_alive():
            process.kill()
            process.join()


def _serve(line: Connection, name: str, size_name: str, device_name: str) -> None:
    """Do what is asked over the line, and answer with seconds, or MiB, or an error's text."""
    contestant = None
    try:
        device = pick_device(device_name)
        before = _peak_mib(device)
        while True:
            what = line.recv()
            started = time.perf_counter()
            if what == "memory":
                line.send(_peak_mib(device) - before)
                continue
            contestant = contestant or CONTESTANTS[name](SIZES[size_name], device)
            getattr(contestant, what)()
            line.send(time.perf_counter() - started)
    except (EOFError, KeyboardInterrupt, BrokenPipeError):
        pass
    except Exception as error:
        line.send(f"{type(error).__name__}: {error}".splitlines()[0][:200])


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
    train, forward = worker.median("train"), worker.median("forward")
    if train is None or forward is None:
        return Row(worker.name, error=worker.error)
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
    lines = [
        f"{size_name}: {_describe(SIZES[size_name])}",
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


def _describe(size: Size) -> str:
    return (
        f"batch {size.batch}, {size.frames} frames of {size.side}x{size.side}x{size.in_channels}, "
        f"{size.num_layers} x {size.hidden_channels} hidden, kernel {size.kernel_size}, "
        f"{size.flop(training=True) / 1e9:.0f} GFLOP a step"
    )
