"""The command `gpu-report`: what a device can do, measured without anybody beside it."""

import argparse
import contextlib
import signal
import sys

from convlstm.benchmarks.apart import Apart
from convlstm.benchmarks.gpu_found import PartReport
from convlstm.benchmarks.gpu_parts import SIZES, Order, Progress
from convlstm.benchmarks.gpu_report import JSON_NAME, MARKDOWN_NAME, Told, make_report
from convlstm.checks import check_number
from convlstm.commands.shared import INTERRUPTED, check_writable, device_of, first_interrupt
from convlstm.commands.terminal import ProgressBar, print_json
from convlstm.pieces import finish

MAX_MINUTES = 1440
LOG_NAME = "gpu-report.log"
_FAILED = 1  # the exit code where a part failed, or its time was up


def report_gpu(flags: argparse.Namespace) -> int:
    """Check a device, time it, train on it, and write what was found.

    Returns:
        The exit code: 0 where every part passed, 1 where one did not, or INTERRUPTED.
    """
    minutes = check_number("minutes", flags.minutes, 1, MAX_MINUTES)
    device = device_of(flags)
    check_writable("--out", flags.out)
    order = Order(str(device), SIZES[flags.size], flags.out)
    with (
        (flags.out / LOG_NAME).open("wb") as log,
        first_interrupt(signal.SIGTERM) as interrupted,  # with which rented machines end
        contextlib.closing(make_report(order, minutes, Apart(log))) as pieces,
        contextlib.closing(ProgressBar(1000)) as bar,
    ):

        def show(told: Told) -> None:
            if interrupted.is_set():
                raise KeyboardInterrupt
            name, piece = told
            if isinstance(piece, Progress):
                bar.draw(int(1000 * piece.done), f"{name}: {piece.doing}")
            elif isinstance(piece, PartReport) and not flags.json:
                bar.close()
                print(_line(name, piece), flush=True)

        try:
            report = finish(pieces, show)
        except KeyboardInterrupt:
            pieces.close()  # which ends the piece under way, and writes
            found = flags.out / MARKDOWN_NAME
            print(f"Interrupted; what was found is in {found}.", file=sys.stderr)
            return INTERRUPTED
    if flags.json:
        print_json(report.data())
    else:
        for goal in report.goals:
            print(f"{goal.verdict:<13}{goal.name}: {goal.wanted}{goal.found and '; '}{goal.found}")
        print(f"Written to {flags.out / JSON_NAME} and {flags.out / MARKDOWN_NAME}.")
    return 0 if report.passed else _FAILED


def _line(name: str, part: PartReport) -> str:
    why = f": {part.reason}" if part.reason else ""
    return f"{name:<18}{part.state:<12}{part.seconds:6.0f} s{why}"
