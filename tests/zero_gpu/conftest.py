"""A server in front of a stand-in for Hugging Face's service, and a browser as the other tests."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import BrowserContext, Page

from tests.browser.conftest import Server, Watched, browser, running, watched  # noqa: F401

STANDIN = Path(__file__).parent / "standin"


class Service:
    """What decides over the GPUs: a folder that the stand-in reads and writes.

    Args:
        folder: it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._seen = 0

    def environment(self) -> dict[str, str]:
        """What a server on ZeroGPU finds in its environment."""
        path = os.pathsep.join([str(STANDIN), os.environ.get("PYTHONPATH", "")])
        return {
            "PYTHONPATH": path.rstrip(os.pathsep),
            "SPACES_ZERO_GPU": "true",
            "SPACES_ZERO_DEVICE_API_URL": str(self.folder),
        }

    def set_quota(self, seconds: float | None) -> None:
        """Leave visitors so many seconds; None means enough."""
        path = self.folder / "quota"
        path.unlink(missing_ok=True) if seconds is None else path.write_text(str(seconds))

    def calls(self, event: str | None = None) -> list[dict]:
        """Return what was asked of it since the test began."""
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        found = [json.loads(line) for line in lines]
        return [call for call in found[self._seen :] if event in (None, call["event"])]

    def forget(self) -> None:
        """Begin a test."""
        self.set_quota(None)
        self._seen = 0
        self._seen = len(self.calls())


@pytest.fixture(scope="package")
def _service(tmp_path_factory) -> Service:
    return Service(tmp_path_factory.mktemp("service"))


@pytest.fixture
def service(_service) -> Service:
    _service.forget()
    return _service


@pytest.fixture(scope="package")
def server(_service) -> Iterator[Server]:
    with running(env=_service.environment()) as server:
        yield server
        code, _, output = server.stop()
        assert code == 0, output
        assert "Traceback" not in output
        assert "Low-level CUDA" not in output


@pytest.fixture
def open_page(server, watched) -> Iterator[Callable[..., Page]]:  # noqa: F811
    """Open the page in a browser of its own; at the end, its console must hold no error."""
    contexts: list[BrowserContext] = []

    def make(query: str, **options: object) -> Page:
        contexts.append(watched.context(**options))
        return watched.page(contexts[-1], server.url + query)

    yield make
    for context in contexts:
        context.close()
    watched.check()
