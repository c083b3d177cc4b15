"""Runs pinned and compared, as people do it."""

import csv

from playwright.sync_api import expect

from tests.browser.conftest import shoot
from tests.browser.steps import answered, press, small, wait_for_state

NAMES = ".pin-table tbody th"


def test_runs_are_pinned_compared_taken_home_and_found_after_a_reload(open_page):
    page = open_page(small("squares", 20))
    page.click("[data-tab=compare]")
    press(page, "pin")
    expect(page.locator(NAMES)).to_have_text(["This run", "Run A"])
    press(page, "train")
    wait_for_state(page, "finished")
    press(page, "pin")
    expect(page.locator(NAMES)).to_have_text(["This run", "Run A", "Run B"])
    ahead = page.locator(".pin-rows .row-frames").first.locator("canvas").count()
    expect(page.locator(".pin-rows canvas")).to_have_count(4 * ahead)  # the truth's among them
    shoot(page, "compare-runs", full_page=True)
    with page.expect_download() as download:
        page.click("[data-download=comparison]")
    with open(download.value.path(), encoding="utf-8", newline="") as file:
        assert {row["run"] for row in csv.DictReader(file)} == {"pinned 1", "pinned 2", "this"}

    open_page.reload(page)  # the server keeps them with the run
    page.click("[data-tab=compare]")
    expect(page.locator(NAMES)).to_have_text(["This run", "Run A", "Run B"])
    with answered(page, "describe"):
        page.locator("tbody.pin-1 [data-do=use-pinned]").click()
    expect(page.locator("[data-name=hidden_channels] output")).to_have_text("16")
    page.locator("tbody.pin-1 [data-do=unpin]").click()
    expect(page.locator(NAMES)).to_have_text(["This run", "Run B"])
    press(page, "reset")
    wait_for_state(page, "idle")
    expect(page.locator(NAMES)).to_have_text(["This run", "Run B"])
