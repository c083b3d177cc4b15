"""The real package: without its service, where it does nothing, and before one that refuses."""

import http.server
import importlib.util
import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import ROOT, running
from tests.browser.steps import press, small, status, wait_for_state

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("spaces") is None, reason="the package `spaces` is not installed"
)


def test_it_is_imported_first_and_brings_in_nothing_that_computes():
    code = """
import sys, playground
print(playground.lends(), [m for m in ("spaces", "torch", "gradio") if m in sys.modules])
import convlstm.ui.page, gradio.blocks
print(gradio.blocks.spaces is sys.modules["spaces"])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=240
    )
    assert done.stdout == "False ['spaces']\nTrue\n", done.stderr


def test_the_page_trains_on_the_cpu(watched):
    with running("--device", "cpu") as server:
        context = watched.context()
        page = watched.page(context, server.url + small("squares"))
        press(page, "train")
        wait_for_state(page, "finished")
        assert "CPU" in status(page)
        assert page.locator(".notice").is_hidden()
        context.close()
        watched.check()
        code, _, output = server.stop()
        assert (code, "Traceback" in output) == (0, False), output


@pytest.fixture
def refusing() -> Iterator[tuple[str, list[dict]]]:
    """A service that knows of no quota; its address, and what it was asked."""
    asked: list[dict] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            url = urlsplit(self.path)
            asked.append({"path": url.path, **parse_qs(url.query)})
            content = json.dumps({"left": 3, "wait": 3600}).encode()
            self.send_response(429 if url.path == "/schedule" else 200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *arguments: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        threading.Thread(target=serving.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{serving.server_address[1]}", asked
        serving.shutdown()


def test_where_a_visitor_has_no_quota_the_page_trains_on_the_cpu_and_says_so(watched, refusing):
    address, asked = refusing
    environment = {"SPACES_ZERO_GPU": "true", "SPACES_ZERO_DEVICE_API_URL": address}
    with running(env=environment) as server:
        context = watched.context()
        page = watched.page(context, server.url + small("squares", epochs=400))
        press(page, "train")
        expect(page.locator(".notice-text")).to_contain_text("No GPU is to be had just now")
        wait_for_state(page, "finished")
        assert "CPU" in status(page)
        context.close()
        watched.check()
        code, _, output = server.stop()
        assert (code, "Traceback" in output) == (0, False), output
    assert [each["path"] for each in asked] == ["/startup-report", "/schedule"]
    assert 30 <= float(asked[1]["durationSeconds"][0]) <= 45  # half as much again on some cards
