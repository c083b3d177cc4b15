"""The page where GPUs are lent to its visitors for some seconds at a time."""

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import PATIENCE, running
from tests.browser.steps import epoch, long, press, small, status, wait_for_epoch, wait_for_state

REFUSED = "No GPU is to be had just now"


def until(is_so: Callable[[], object], page: Page) -> None:
    deadline = time.monotonic() + PATIENCE / 1000
    while not is_so():
        assert time.monotonic() < deadline, "waited in vain"
        page.wait_for_timeout(50)  # for another process there is no event to wait for


def begin(page: Page, service) -> dict:
    """Train until a GPU computes; return the call."""
    press(page, "train")
    until(lambda: service.calls("begun"), page)
    return service.calls("begun")[-1]


def trains(page: Page) -> None:
    now = epoch(page)
    wait_for_epoch(page, now + 3)


def test_a_run_is_trained_by_a_process_of_its_own_on_the_visitors_quota(open_page, service):
    page = open_page(small("squares", epochs=1200))
    begun = begin(page, service)
    wait_for_state(page, "finished")
    until(lambda: service.calls("ended"), page)
    assert begun["pid"] != begun["process"]
    assert [call["queued"] for call in service.calls("asked")] == [True]
    assert "epoch 1200 of 1200" in status(page)


def test_the_worker_beside_it_knows_no_gpu(server, service):
    tasks = Path(f"/proc/{server.process.pid}/task").glob("*/children")
    children = [Path("/proc", pid) for each in tasks for pid in each.read_text().split()]
    workers = [
        (each / "environ").read_bytes().split(b"\0")
        for each in children
        if b"convlstm.server.worker" in (each / "cmdline").read_bytes()
    ]
    assert len(workers) == 1
    assert {b"SPACES_ZERO_GPU=", b"CUDA_VISIBLE_DEVICES="} <= set(workers[0])


def test_pause_and_continue(open_page, service):
    page = open_page(long("squares"))
    begin(page, service)
    trains(page)
    press(page, "pause")
    wait_for_state(page, "paused")
    until(lambda: service.calls("ended"), page)
    page.wait_for_timeout(500)  # nothing more comes
    at = epoch(page)
    assert len(service.calls("begun")) == 1
    press(page, "train")
    until(lambda: len(service.calls("begun")) == 2, page)
    wait_for_epoch(page, at + 3)
    press(page, "stop")
    wait_for_state(page, "stopped")
    until(lambda: len(service.calls("ended")) == 2, page)


def test_stop_keeps_what_was_learnt(open_page, service):
    page = open_page(long("digits"))
    begin(page, service)
    trains(page)
    at = epoch(page)
    press(page, "stop")
    wait_for_state(page, "stopped")
    until(lambda: service.calls("ended"), page)
    page.wait_for_timeout(500)
    assert epoch(page) >= at


def test_a_change_holds_in_the_next_chunk(open_page, service):
    page = open_page(long("squares"))
    begin(page, service)
    trains(page)
    page.locator("[data-name=speed] input").focus()
    page.keyboard.press("ArrowRight")
    until(lambda: len(service.calls("begun")) == 2, page)
    page.wait_for_selector("svg.curve .mark", state="attached")
    trains(page)
    press(page, "stop")
    until(lambda: len(service.calls("ended")) == 2, page)


def test_without_quota_the_cpu_goes_on_and_the_page_says_so_once(open_page, service):
    service.set_quota(10)
    page = open_page(long("squares"))
    press(page, "train")
    expect(page.locator(".notice-text")).to_contain_text(REFUSED)
    trains(page)
    assert "CPU" in status(page)
    press(page, "dismiss")
    trains(page)
    page.wait_for_timeout(4000)  # longer than the page waits before it asks again
    expect(page.locator(".notice")).to_be_hidden()
    assert len(service.calls("asked")) == 1
    service.set_quota(None)
    press(page, "pause")
    wait_for_state(page, "paused")
    begin(page, service)
    trains(page)
    press(page, "stop")
    wait_for_state(page, "stopped")
    until(lambda: service.calls("ended"), page)


def test_killed_in_mid_chunk_the_run_goes_on_from_some_seconds_before(open_page, service):
    page = open_page(long("squares"))
    call = begin(page, service)
    trains(page)
    page.wait_for_timeout(5000)  # a content comes after four
    os.kill(call["pid"], signal.SIGKILL)
    expect(page.locator(".notice-text")).to_contain_text(re.compile(f"{REFUSED}|had to be started"))
    trains(page)
    press(page, "stop")
    wait_for_state(page, "stopped")


def test_a_server_ends_in_mid_chunk(watched, service):
    with running(env=service.environment()) as server:
        context = watched.context()
        page = watched.page(context, server.url + long("squares"))
        begin(page, service)
        code, _, output = server.stop()
        context.close()
    watched.errors.clear()  # of a page whose server is gone
    assert (code, "Traceback" in output) == (0, False), output


def test_the_notice_is_there_in_chinese(open_page, service):
    service.set_quota(0)
    page = open_page(long("squares"), locale="zh-CN")
    press(page, "train")
    expect(page.locator(".notice-text")).to_contain_text("借不到 GPU")
    press(page, "stop")
    wait_for_state(page, "stopped")


@pytest.mark.parametrize("run", ["no such run", None, 3, [], {}])
def test_a_strangers_question_costs_nobody_anything(open_page, service, run):
    page = open_page(small("squares"))
    page.evaluate(
        """async (run) => (await import([...performance.getEntriesByType('resource')]
        .map(each => each.name).find(name => name.endsWith('web/server.js')))).borrow(run, true)""",
        run,
    )
    page.wait_for_timeout(1000)
    page.evaluate(
        """async (run) => (await import([...performance.getEntriesByType('resource')]
        .map(each => each.name).find(name => name.endsWith('web/server.js')))).follow(run)""",
        run,
    )
    page.wait_for_timeout(1000)
    assert service.calls() == []
