"""The real package: without its service, where it does nothing, and before one that refuses."""

import contextlib
import http.server
import importlib.util
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import ROOT, Server, running
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


class Service(http.server.ThreadingHTTPServer):
    """A service that lends a GPU, or knows of no quota.

    Args:
        lends: whether it does.
    """

    def __init__(self, lends: bool) -> None:
        self.asked: list[dict] = []
        loan = {"idle": False, "nvidiaIndex": 0, "nvidiaUUID": "GPU-0", "allowToken": "token"}
        self.status, self.answer = (200, loan) if lends else (429, {"left": 3, "wait": 3600})
        super().__init__(("127.0.0.1", 0), Handler)

    def paths(self) -> list[str]:
        return [each["path"] for each in self.asked]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        url = urlsplit(self.path)
        self.server.asked.append({"path": url.path, **parse_qs(url.query)})
        is_schedule = url.path == "/schedule"
        content = json.dumps(self.server.answer if is_schedule else {}).encode()
        self.send_response(self.server.status if is_schedule else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        pass


# What the package asks of a torch that was built for CUDA, and this machine's may not be.
TORCH = """
import torch
torch.version.cuda, torch._C._cuda_init = "12.8", None
torch.cuda._is_in_bad_fork, torch.cuda.synchronize = bool, bool
torch.Tensor.cuda = lambda tensor: tensor
"""


@contextlib.contextmanager
def lent(lends: bool, folder: Path) -> Iterator[tuple[Service, Server]]:
    """Serve the page before such a service."""
    (folder / "sitecustomize.py").write_text(TORCH)
    with Service(lends) as service:
        threading.Thread(target=service.serve_forever, daemon=True).start()
        environment = {
            "SPACES_ZERO_GPU": "true",
            "SPACES_ZERO_DEVICE_API_URL": f"http://127.0.0.1:{service.server_address[1]}",
            "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]),
        }
        with running(env=environment) as server:
            yield service, server
            code, _, output = server.stop()
            assert (code, "Traceback" in output) == (0, False), output
        service.shutdown()


def test_a_process_that_the_package_forks_trains(watched, tmp_path):
    with lent(True, tmp_path) as (service, server):
        context = watched.context()
        page = watched.page(context, server.url + small("squares", epochs=1200))
        press(page, "train")
        wait_for_state(page, "finished")
        assert "epoch 1200 of 1200" in status(page)
        assert page.locator(".notice").is_hidden()
        wanted = ["/startup-report", "/schedule", "/allow", "/release"]
        page.wait_for_timeout(500)
        assert service.paths() == wanted
        context.close()
        watched.check()


def test_where_a_visitor_has_no_quota_the_page_trains_on_the_cpu_and_says_so(watched, tmp_path):
    with lent(False, tmp_path) as (service, server):
        context = watched.context()
        page = watched.page(context, server.url + small("squares", epochs=1200))
        press(page, "train")
        expect(page.locator(".notice-text")).to_contain_text("No GPU is to be had just now")
        wait_for_state(page, "finished")
        assert "CPU" in status(page)
        context.close()
        watched.check()
        assert service.paths() == ["/startup-report", "/schedule"]
        # Half as much again on some cards.
        assert 30 <= float(service.asked[1]["durationSeconds"][0]) <= 45
