"""What the page's server lets in: bodies no larger than the page sends, uploads within a quota."""

import asyncio
import contextlib
import json
import time
from pathlib import Path

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from convlstm.server.limits import MAX_BODY_BYTES, MAX_UPLOAD_BYTES, MAX_UPLOADS_BYTES

_FORM_BYTES = 2**16  # that a form adds to the file in it
_ABANDONED_SECONDS = 60.0  # the page opens a file as soon as it is there


class _TooLarge(Exception):  # noqa: N818
    """A body grew over its limit on the way."""


class Intake:
    """Refuses what is too large before it is in memory or on the disk.

    Args:
        app: what it stands before.
        folder: where uploads are; older ones that nobody has opened make room.
        body_bytes: limit of a body that is no upload.
        upload_bytes: limit of an upload.
        uploads_bytes: limit of all uploads together.
    """

    def __init__(
        self,
        app: ASGIApp,
        folder: Path,
        body_bytes: int = MAX_BODY_BYTES,
        upload_bytes: int = MAX_UPLOAD_BYTES,
        uploads_bytes: int = MAX_UPLOADS_BYTES,
    ) -> None:
        self._app, self._folder = app, folder
        self._body_bytes, self._upload_bytes = body_bytes, upload_bytes + _FORM_BYTES
        self._uploads_bytes = uploads_bytes
        self._on_the_way = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or have it answered."""
        if scope["type"] != "http" or scope["method"] in ("GET", "HEAD", "OPTIONS"):
            await self._app(scope, receive, send)
            return
        is_upload = scope["path"].rstrip("/").endswith("/upload")
        limit = self._upload_bytes if is_upload else self._body_bytes
        # Without a length it may become as long as it may be.
        length = _length(scope, limit)
        if length is None or length > limit:
            await _refuse(send, 413, f"The body must be at most {limit:,} bytes.")
            return
        if not is_upload:
            await self._pass_on(scope, receive, send, limit)
            return
        self._on_the_way += length
        try:
            if await asyncio.to_thread(self._is_full):
                await _refuse(send, 503, "Too many files are being sent. Try again in a minute.")
            else:
                await self._pass_on(scope, receive, send, limit)
        finally:
            self._on_the_way -= length

    async def _pass_on(self, scope: Scope, receive: Receive, send: Send, limit: int) -> None:
        received, has_begun = 0, False

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > limit:
                raise _TooLarge
            return message

        async def noted(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, counted, noted)
        except _TooLarge:
            if not has_begun:
                await _refuse(send, 413, f"The body must be at most {limit:,} bytes.")

    def _is_full(self) -> bool:
        """Whether there is no room for what is on the way, after old files have made some."""
        found = []
        for path in self._folder.rglob("*"):
            with contextlib.suppress(OSError):  # gone meanwhile
                if path.is_file():
                    found.append((path.stat().st_mtime, path.stat().st_size, path))
        total = self._on_the_way + sum(size for _, size, _ in found)
        for written_at, size, path in sorted(found):
            if total <= self._uploads_bytes or time.time() - written_at < _ABANDONED_SECONDS:
                break
            with contextlib.suppress(OSError):
                path.unlink()
                total -= size
        return total > self._uploads_bytes


def _length(scope: Scope, otherwise: int) -> int | None:
    """Return how long a body says it is; None where it says nothing that can be."""
    text = dict(scope["headers"]).get(b"content-length")
    if text is None:
        return otherwise
    return int(text) if text.isdigit() and len(text) < 20 else None


async def _refuse(send: Send, status: int, text: str) -> None:
    body = json.dumps({"detail": text}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    headers.append((b"connection", b"close"))  # the rest of the body is not read
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
