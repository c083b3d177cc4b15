"""Work in another process, and what becomes of it."""

import os
import time
from pathlib import Path

import pytest

from convlstm.benchmarks.apart import Apart, WorkFailed, one_line
from tests.benchmarks import works

LONG = 100.0  # s


@pytest.fixture
def apart():
    place = Apart()
    yield place
    place.end()


def pulled(pieces):
    """What work told, and how it ended."""
    told = []
    while True:
        try:
            piece = next(pieces)
        except StopIteration as end:
            return told, end.value
        if piece is not None:
            told.append(piece)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_works_follow_each_other_in_one_process_until_one_breaks_it(apart, tmp_path):
    (*_, last), is_whole = pulled(apart.pieces(works.count, 3, seconds=LONG))
    assert is_whole
    number, process = last
    assert (number, process != os.getpid()) == (2, True)  # the last piece is always told

    file = tmp_path / "last"
    pieces = apart.pieces(works.count_for_ever, str(file), seconds=LONG)
    first = next(piece for piece in pieces if piece)
    assert first[1] == process
    apart.close_work()
    told, is_whole = pulled(pieces)
    last = [first, *told][-1]
    assert not is_whole
    assert last[0] == int(file.read_text())

    (*_, last), is_whole = pulled(apart.pieces(works.count_for_ever, str(file), seconds=0.0))
    assert (last[1], is_whole) == (process, False)  # closed when its time is up, not killed
    assert last[0] == int(file.read_text())

    told = []
    with pytest.raises(WorkFailed, match="^KeyError: 'nobody'$"):
        told.extend(apart.pieces(works.break_down, seconds=LONG))
    assert [piece for piece in told if piece][-1] == 2
    assert not is_running(process)

    (*_, last), _ = pulled(apart.pieces(works.count, 1, seconds=LONG))
    assert last[1] != process


def test_a_process_that_dies_fails_its_work(apart):
    with pytest.raises(WorkFailed, match="^its process was ended by SIGKILL$"):
        list(apart.pieces(works.die, seconds=LONG))


def test_what_has_no_process_is_closed_like_any_other(apart):
    apart.close_work()
    with pytest.raises(WorkFailed):
        list(apart.pieces(works.die, seconds=LONG))
    apart.close_work()


def test_work_that_hangs_is_ended_with_whatever_it_has_started():
    apart, told = Apart(grace=0.0), []
    with pytest.raises(WorkFailed, match="it did not end when its time was up"):
        for piece in apart.pieces(works.hang, seconds=LONG):
            if piece is not None:
                told.append(piece)
                apart.close_work()
    deadline = time.monotonic() + LONG
    while is_running(told[0]):  # its parent's end was waited for, not its own
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (WorkFailed("two of seven failed"), "two of seven failed"),
        (ValueError("x is 3:\n  must be 4."), "x is 3: must be 4."),
        (RuntimeError("CUDA error"), "RuntimeError: CUDA error"),
        (ZeroDivisionError(), "ZeroDivisionError"),
    ],
)
def test_an_error_is_said_in_a_line(error, line):
    assert one_line(error) == line
