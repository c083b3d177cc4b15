"""Streams of snapshots, of a pool that only notes what it is asked."""

import asyncio

from convlstm.ui.stream import Streams


class Watched:
    """A pool that has every run, and nothing new to tell of any."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def is_gone(self, run: str) -> bool:
        return False

    def watch(self, run: str, *, looks: bool = True) -> None:
        self.asked.append(run)

    def seen(self, run: str) -> dict[str, object]:
        return {"step": 3}


async def first(pool: Watched, run: object) -> dict[str, object]:
    stream = Streams(pool).watch(run)
    try:
        return await anext(stream)
    finally:
        await stream.aclose()


def test_a_stream_begins_with_what_is_there():
    pool = Watched()
    assert asyncio.run(first(pool, "abc")) == {"step": 3, "run": "abc", "beat": 1, "teacher": False}
    assert pool.asked == ["abc"]


def test_what_cannot_be_an_id_is_lost_and_not_remembered():
    pool = Watched()
    for run in (None, 3, ["abc"], "x" * 65, "x" * 1_000_000):
        assert asyncio.run(first(pool, run))["notice"] == {"key": "lost"}
    assert pool.asked == []
