"""What a device can do, in one report that nobody need attend to.

Its parts come one after the other, each with its share of the minutes. Whatever happens to one, the
others go on, and the report is written after each.
"""

import contextlib
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

from convlstm.benchmarks.apart import one_line
from convlstm.benchmarks.gpu_digits import NETWORK_NAME, RUN_NAME, run_moving_mnist
from convlstm.benchmarks.gpu_found import PartReport, Report
from convlstm.benchmarks.gpu_goals import goals_of
from convlstm.benchmarks.gpu_markdown import markdown
from convlstm.benchmarks.gpu_parts import (
    Order,
    Part,
    Place,
    Progress,
    machine,
    run_checks,
    run_forecasts,
    run_speed,
)
from convlstm.benchmarks.gpu_quick import run_quick_start
from convlstm.files.safe_files import CheckpointError, strict_json, write_atomically

JSON_NAME, MARKDOWN_NAME = "gpu-report.json", "gpu-report.md"

# What each part may take of the minutes; what one leaves over falls to the last.
PARTS: dict[str, tuple[float, Callable[[Place, Order, float], Part]]] = {
    "checks": (0.15, run_checks),
    "speed": (0.30, run_speed),
    "frames per second": (0.04, run_forecasts),
    "Quick start": (0.06, run_quick_start),
    "Moving MNIST": (1.00, run_moving_mnist),
}
# A part's name; how far it is, or how it went at its end, or None where nothing is new.
Told = tuple[str, Progress | PartReport | None]

_MACHINE_SECONDS = 120.0  # for a process to begin, and to say what the machine is
_WRITE_SECONDS = 60.0  # between two reports while a part is under way, should all be killed
_VERSION = 1  # of the report's layout


def make_report(
    order: Order,
    minutes: float,
    place: Place,
    parts: dict[str, tuple[float, Callable[[Place, Order, float], Part]]] | None = None,
) -> Generator[Told, None, Report]:
    """Do every part, and write the report after each; also where this is closed early.

    Args:
        order: what is asked for; its folder is there.
        minutes: for all parts together.
        place: where they are done.
        parts: what they are, by name, each with its share; None for `PARTS`.

    Yields:
        The part under way and how far it is, also None; at its end how it went.

    Returns:
        The report.

    Raises:
        CheckpointError: the report could not be written at its end.
    """
    parts = PARTS if parts is None else parts
    begun_at = time.monotonic()
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    report = Report(_VERSION, order.size.name, minutes, order.device, now)
    report = replace(report, parts={name: PartReport() for name in parts})

    def written(*, at_last: bool = False, **changes: object) -> Report:
        changed = replace(report, **changes)
        return _written(changed, order.folder, time.monotonic() - begun_at, at_last=at_last)

    facts = _Part(_MACHINE_SECONDS, place)
    pieces = facts.follow(partial(place.pieces, machine, order.device, seconds=facts.share))
    try:
        with contextlib.closing(pieces):
            for piece in pieces:
                yield "the machine", piece
    finally:
        report = written(machine=facts.report.found or {"device": order.device})
    for name, (share, run) in parts.items():
        left = begun_at + 60 * minutes - time.monotonic()
        part = _Part(min(left, 60 * minutes * share), place)
        told, written_at = part.follow(partial(run, place, order, part.share)), time.monotonic()
        try:
            with contextlib.closing(told):
                for piece in told:
                    yield name, piece
                    if time.monotonic() - written_at > _WRITE_SECONDS:
                        report = written(parts={**report.parts, name: part.report})
                        written_at = time.monotonic()
        finally:
            report = written(parts={**report.parts, name: part.report})
        yield name, part.report
    return written(at_last=True)


class _Part:
    """A part under way.

    Args:
        share: that it may take, s.
        place: where it is done, with nothing left there afterwards.

    Attributes:
        share: likewise.
        report: how it went, or goes.
    """

    def __init__(self, share: float, place: Place) -> None:
        self.share, self._place = max(0.0, share), place
        self.report = PartReport(share_seconds=self.share)

    def follow(self, begin: Callable[[], Part]) -> Iterator[Progress | None]:
        """Do it; closed early, it ends after the piece under way."""
        if not self.share:
            self.report = replace(self.report, reason="no time was left")
            return
        started, pieces = time.monotonic(), begin()
        self.report = replace(self.report, state="interrupted")
        try:
            yield from self._pulled(pieces)
        except GeneratorExit:
            self._place.close_work()
            with contextlib.suppress(Exception):  # it was left before it could fail
                for _ in self._pulled(pieces):
                    self._place.close_work()  # also one that was begun after it
            self.report = replace(self.report, state="interrupted")
            raise
        except Exception as error:
            self.report = replace(self.report, state="failed", reason=one_line(error))
        finally:
            self.report = replace(self.report, seconds=time.monotonic() - started)
            self._place.end()

    def _pulled(self, pieces: Part) -> Iterator[Progress | None]:
        """Yield its pieces, and keep what they find."""
        while True:
            try:
                piece = next(pieces)
            except StopIteration as end:
                self.report = replace(self.report, state="passed" if end.value else "cut short")
                return
            if piece is not None and piece.found is not None:
                self.report = replace(self.report, found=piece.found)
            yield piece


def _written(report: Report, folder: Path, seconds: float, *, at_last: bool) -> Report:
    """Judge a report by what it has found, and write it; return it so."""
    kept = tuple(name for name in (RUN_NAME, NETWORK_NAME) if (folder / name).exists())
    report = replace(report, seconds=seconds, goals=goals_of(report), files=kept)
    # On the way a disk may be full that is not so at the end.
    with contextlib.nullcontext() if at_last else contextlib.suppress(CheckpointError):
        data = strict_json(report.data(), indent=1)
        write_atomically(folder / JSON_NAME, data.encode())
        write_atomically(folder / MARKDOWN_NAME, markdown(report).encode())
    return report
