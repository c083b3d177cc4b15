"""The real package where its service is not: the page is as it is without it."""

import importlib.util
import subprocess
import sys

import pytest

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
