"""A real server, a real Chromium, and a page that must stay silent in the console."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from gradio_client import Client
from playwright.sync_api import Browser, BrowserContext, Error, Page, expect, sync_playwright

from convlstm.scenes.catalogue import CATALOGUE

ROOT = Path(__file__).parents[2]
SCREENSHOTS = Path(__file__).parent / "screenshots"
START_SECONDS = 120  # a cold import of torch and gradio on a busy machine
PATIENCE = 120_000  # ms that a page may take for anything on a busy machine
SCENES = tuple(CATALOGUE)
SHOWN = "[data-state] .stage:not(.empty) .row-frames.prediction canvas"
_LEFT = ("AbortError", "Unexpected error Connection errored out")
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


class Server:
    """`python playground.py` on a port of its own."""

    def __init__(self, port: int, *flags: str, env: dict[str, str] | None = None) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        # A file and not a pipe: a full pipe that nobody reads would stop the server.
        self._output = tempfile.TemporaryFile("w+", encoding="utf-8")  # noqa: SIM115
        self.process = subprocess.Popen(
            [sys.executable, "playground.py", "--port", str(port), *flags],
            cwd=ROOT,
            env=os.environ | (env or {}),
            stdout=self._output,
            stderr=subprocess.STDOUT,
        )

    def output(self) -> str:
        """What it has printed so far."""
        self._output.seek(0)
        return self._output.read()

    def wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.output()
            try:
                with urllib.request.urlopen(self.url, timeout=5):
                    return
            except (urllib.error.URLError, OSError):
                time.sleep(0.2)
        raise AssertionError("the server did not answer")

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, float, str]:
        """End it; returns the exit code, the seconds it took and what it printed."""
        started = time.monotonic()
        self.process.send_signal(number)
        self.process.wait(timeout=30)
        return self.process.returncode, time.monotonic() - started, self.output()

    def close(self) -> None:
        """Kill it if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._output.close()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextlib.contextmanager
def running(*flags: str, port: int | None = None, env: dict[str, str] | None = None):
    server = Server(port or free_port(), *flags, env=env)
    try:
        server.wait()
        yield server
    finally:
        server.close()


class Line:
    """A TCP line to a server, which can be cut: a browser's offline mode spares open streams."""

    def __init__(self, port: int) -> None:
        self._server = port
        self._ends: set[socket.socket] = set()
        self._whole = True
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Break every connection, and refuse new ones until `mend`."""
        self._whole = False
        for end in list(self._ends):
            _hang_up(end)

    def mend(self) -> None:
        self._whole = True

    def close(self) -> None:
        self.cut()
        _hang_up(self._listener)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            if not self._whole:
                near.close()
                continue
            far = socket.create_connection(("127.0.0.1", self._server))
            for source, sink in ((near, far), (far, near)):
                self._ends.add(source)
                threading.Thread(target=self._carry, args=(source, sink), daemon=True).start()

    def _carry(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        _hang_up(sink)
        self._ends.discard(source)
        source.close()


def _hang_up(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def line_to(server: Server) -> Iterator[Line]:
    line = Line(server.port)
    try:
        yield line
    finally:
        line.close()


@pytest.fixture(scope="package")
def server() -> Iterator[Server]:
    with running() as server:
        yield server
        code, _, output = server.stop()
        assert code == 0, output


@pytest.fixture(scope="package")
def client(server) -> Iterator[Client]:
    client = Client(server.url, verbose=False, analytics_enabled=False)
    yield client
    client.close()


def find_chromium() -> str | None:
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    found = (shutil.which(name) for name in names)
    return os.environ.get("CHROMIUM_PATH") or next(filter(None, found), None)


# For this package and no longer: while Playwright runs, its event loop does, in this very thread.
@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(
                executable_path=find_chromium(), args=CHROMIUM_FLAGS
            )
        except Error as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(f"no Chromium: install it or set CHROMIUM_PATH ({error})")
        expect.set_options(timeout=PATIENCE)
        yield browser
        expect.set_options(timeout=None)
        browser.close()


@pytest.fixture
def new_context(browser: Browser) -> Iterator[Callable[..., BrowserContext]]:
    """Open browser contexts, each a person of their own, cut off from the outside."""
    contexts, outside = [], []

    def make(**options) -> BrowserContext:
        options = {
            "viewport": {"width": 1366, "height": 768},
            "locale": "en-US",
            "reduced_motion": "reduce",  # or the first sequence plays by itself
        } | options
        context = browser.new_context(**options)

        def route(handler) -> None:
            if "//127.0.0.1" in handler.request.url or handler.request.url.startswith("data:"):
                handler.continue_()
            else:
                outside.append(handler.request.url)
                handler.abort()

        context.route("**/*", route)
        contexts.append(context)
        return context

    yield make
    for context in contexts:
        context.close()
    assert outside == []


@pytest.fixture
def open_page(new_context, server) -> Iterator[Callable[..., Page]]:
    """Open the page; at the end, its console must hold no error."""
    errors = []

    def make(
        query: str = "", context: BrowserContext | None = None, url: str | None = None, **options
    ) -> Page:
        page = (context or new_context(**options)).new_page()
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.on(
            "console",
            lambda message: errors.append(message.text) if message.type == "error" else None,
        )
        page.set_default_timeout(PATIENCE)
        page.goto((url or server.url) + query)
        page.wait_for_selector(SHOWN)
        return page

    def reload(page: Page) -> None:
        page.reload()
        page.wait_for_selector(SHOWN)
        # Gradio reports the streams that the old page had to leave.
        errors[:] = [e for e in errors if not e.startswith(_LEFT)]

    make.errors, make.reload = errors, reload
    yield make
    assert errors == []


def shoot(page: Page, name: str, **options) -> None:
    """Keep a screenshot, for a person to look at."""
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", **options)
