"""Bodies and uploads that are too large, too many or not what they say."""

import asyncio
import os
import time
from pathlib import Path

import pytest

from convlstm.ui.intake import Intake

MINUTE = 60


class Asked:
    """A request, and what an application behind an `Intake` made of it."""

    def __init__(self, intake_of, *parts: bytes, path: str = "/gradio_api/run/act", **options):
        self.read = b""
        self.statuses: list[int] = []
        self.body = b""
        method = options.pop("method", "POST")
        length = options.pop("length", str(sum(map(len, parts))))
        headers = [] if length is None else [(b"content-length", length.encode())]
        self._parts = list(parts)
        scope = {"type": "http", "method": method, "path": path, "headers": headers}
        asyncio.run(intake_of(self._app, **options)(scope, self._receive, self._send))

    async def _app(self, scope, receive, send) -> None:
        while (message := await receive())["more_body"]:
            self.read += message["body"]
        self.read += message["body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def _receive(self) -> dict:
        body = self._parts.pop(0) if self._parts else b""
        return {"type": "http.request", "body": body, "more_body": bool(self._parts)}

    async def _send(self, message: dict) -> None:
        if message["type"] == "http.response.start":
            self.statuses.append(message["status"])
        else:
            self.body += message["body"]


@pytest.fixture
def intake(tmp_path):
    def make(app, **options) -> Intake:
        limits = {"body_bytes": 10, "upload_bytes": 100, "uploads_bytes": 200_000}
        return Intake(app, tmp_path, **(limits | options))

    return make


def old(path: Path, size: int, seconds: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    os.utime(path, (time.time() - seconds,) * 2)
    return path


def test_a_body_of_the_largest_size_is_passed_on_whole(intake):
    asked = Asked(intake, b"12345", b"67890")
    assert (asked.read, asked.statuses) == (b"1234567890", [200])


@pytest.mark.parametrize("length", ["11", "99999999999999999999", "-1", "1e3", "", "x"])
def test_a_body_that_says_it_is_too_long_is_refused_unread(intake, length):
    asked = Asked(intake, b"x" * 11, length=length)
    assert (asked.read, asked.statuses) == (b"", [413])
    assert asked.body == b'{"detail": "The body must be at most 10 bytes."}'


@pytest.mark.parametrize("length", [None, "3"])
def test_a_body_that_becomes_too_long_is_refused_on_the_way(intake, length):
    asked = Asked(intake, *[b"xxx"] * 100, length=length)
    assert asked.statuses == [413]
    assert len(asked.read) < 10


def test_what_has_no_body_is_passed_on(intake):
    asked = Asked(intake, b"x" * 50, method="GET")
    assert asked.statuses == [200]


def test_a_file_may_be_larger_than_other_bodies(intake):
    asked = Asked(intake, b"x" * 90, path="/gradio_api/upload")
    assert asked.statuses == [200]
    asked = Asked(intake, b"x" * 90_000, path="/gradio_api/upload")
    assert asked.statuses == [413]


def test_files_beyond_the_quota_wait_and_those_that_nobody_opened_make_room(intake, tmp_path):
    fresh, left = old(tmp_path / "a/1", 150_000, 1), old(tmp_path / "b/2", 50_000, 2 * MINUTE)
    assert Asked(intake, b"x" * 90, path="/upload").statuses == [200]
    assert fresh.exists() and not left.exists()
    old(tmp_path / "c/3", 50_000, 1)
    asked = Asked(intake, b"x" * 90, path="/upload")
    assert asked.statuses == [503]
    assert b"Try again in a minute" in asked.body
    assert Asked(intake, b"x" * 9).statuses == [200]  # whoever sends no file is not held up
    old(fresh, 150_000, 2 * MINUTE)
    assert Asked(intake, b"x" * 90, path="/upload").statuses == [200]


def test_files_that_are_on_their_way_count(tmp_path):
    inner: list[Asked] = []

    async def app(scope, receive, send) -> None:
        await receive()
        sent: list[dict] = []

        async def keep(message: dict) -> None:
            sent.append(message)

        if not inner:  # the second file comes while the first is on its way
            inner.append(sent)
            await both(scope, receive, keep)
        await send({"type": "http.response.start", "status": 200, "headers": []})

    both = Intake(app, tmp_path, upload_bytes=100, uploads_bytes=150)
    assert Asked(lambda _: both, b"x" * 90, path="/upload").statuses == [200]
    assert inner[0][0]["status"] == 503
    assert Asked(lambda _: both, b"x" * 90, path="/upload").statuses == [200]
