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
_LEFT = (
    "AbortError",
    "Unexpected error Connection errored out",
    "Failed to load resource: net::ERR_INCOMPLETE_CHUNKED_ENCODING",
    "TypeError: network error",
)
CHROMIUM_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-device-for-media-stream",  # a camera for those who may use one
]
NOTHING_OUTSIDE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"


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
                executable_path=find_chromium(), args=[*CHROMIUM_FLAGS, NOTHING_OUTSIDE]
            )
        except Error as error:
            if os.environ.get("CI"):
                raise
            pytest.skip(f"no Chromium: install it or set CHROMIUM_PATH ({error})")
        expect.set_options(timeout=PATIENCE)
        yield browser
        expect.set_options(timeout=None)
        browser.close()


class Watched:
    """Browser contexts whose console must stay silent, and which ask for nothing outside."""

    def __init__(self, browser: Browser) -> None:
        self._browser = browser
        self.errors: list[str] = []
        self.outside: list[str] = []

    def context(self, **options) -> BrowserContext:
        options = {
            "viewport": {"width": 1366, "height": 768},
            "locale": "en-US",
            "reduced_motion": "reduce",  # or the first sequence plays by itself
        } | options
        context = self._browser.new_context(**options)
        # Not by a route: with one, Chromium keeps no file, and every page takes longer.
        context.on("request", lambda request: self._note(request.url))
        return context

    def page(self, context: BrowserContext, address: str) -> Page:
        page = context.new_page()
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on(
            "console",
            lambda message: self.errors.append(message.text) if message.type == "error" else None,
        )
        page.set_default_timeout(PATIENCE)
        page.goto(address)
        page.wait_for_selector(SHOWN)
        return page

    def _note(self, url: str) -> None:
        if "//127.0.0.1" not in url and not url.startswith(("data:", "blob:")):
            self.outside.append(url)

    def check(self) -> None:
        """Nothing was reported and nothing asked for since the last check."""
        seen = self.errors[:], self.outside[:]
        self.errors.clear()
        self.outside.clear()
        assert seen == ([], [])


@pytest.fixture(scope="package")
def watched(browser) -> Watched:
    return Watched(browser)


@pytest.fixture
def new_context(watched) -> Iterator[Callable[..., BrowserContext]]:
    """Open browser contexts, each a person of their own."""
    contexts = []

    def make(**options) -> BrowserContext:
        contexts.append(watched.context(**options))
        return contexts[-1]

    yield make
    for context in contexts:
        context.close()


@pytest.fixture(scope="package")
def first_context(watched) -> Iterator[BrowserContext]:
    """The person who opens the first page of most tests, and forgets all after each."""
    context = watched.context()
    yield context
    context.close()


@pytest.fixture
def open_page(new_context, first_context, watched, server) -> Iterator[Callable[..., Page]]:
    """Open the page; at the end, its console must hold no error."""

    def make(
        query: str = "", context: BrowserContext | None = None, url: str | None = None, **options
    ) -> Page:
        if not context:
            alone = not options and not first_context.pages
            context = first_context if alone else new_context(**options)
        return watched.page(context, (url or server.url) + query)

    def reload(page: Page) -> None:
        page.reload()
        page.wait_for_selector(SHOWN)
        # Gradio reports the streams that the old page had to leave.
        watched.errors[:] = [e for e in watched.errors if not e.startswith(_LEFT)]

    make.errors, make.reload = watched.errors, reload
    yield make
    try:
        watched.check()
    finally:
        for page in first_context.pages:
            page.evaluate("localStorage.clear()")
            page.close()
        watched.errors.clear()  # of a page whose server is gone by now


@pytest.fixture(scope="package")
def _shown(browser) -> Iterator[dict[str, Page]]:
    pages: dict[str, Page] = {}
    yield pages
    for page in pages.values():
        page.context.close()


@pytest.fixture
def show(watched, server, _shown) -> Iterator[Callable[[str], Page]]:
    """Show a scene's shipped picture in a page that tests share: look and choose, train nothing."""

    def page_of(scene: str) -> Page:
        if scene not in _shown:
            _shown[scene] = watched.page(watched.context(), f"{server.url}?scene={scene}")
        _tidy(_shown[scene])
        return _shown[scene]

    yield page_of
    watched.check()


def _tidy(page: Page) -> None:
    """Make the page as it was on opening."""
    page.set_viewport_size({"width": 1366, "height": 768})
    if page.locator(".notice").is_visible():
        page.click("[data-do=dismiss]")
    for name, pressed in (("animate", "true"), ("brighten", "true"), ("closeup", "false")):
        button = page.locator(f"[data-do={name}][aria-pressed={pressed}]")
        if button.is_visible():
            button.click()
    page.click("[data-tab=share]")
    while not (name := page.inner_text(".sample-name")).startswith("sample 1 "):
        page.click("[data-do=next]")
        expect(page.locator(".sample-name")).not_to_have_text(name)
    page.fill("[data-do=scrub]", "1")
    page.select_option("[data-do=preset]", index=0)
    page.evaluate("scrollTo(0, 0)")
    page.mouse.move(0, 0)


def shoot(page: Page, name: str, **options) -> None:
    """Keep a screenshot, for a person to look at."""
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", **options)
