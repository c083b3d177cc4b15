"""The speed test as people use it."""

from playwright.sync_api import expect

from tests.browser.conftest import shoot
from tests.browser.steps import long, press, row, wait_for_epoch, wait_for_state

FOUND = ".speed-found"


def test_the_shipped_model_is_tested_and_a_speed_is_looked_at(open_page):
    page = open_page("?scene=squares")
    page.click("[data-tab=speed]")
    press(page, "test-speeds")
    expect(page.locator(FOUND)).to_be_visible()
    wait_for_state(page, "shipped")
    page.locator("[name=cp-speed-lead][value='1']").check()
    expect(page.locator(".speed-summary")).to_contain_text("at speeds: 1, 2")
    expect(page.locator(".speed-heard")).to_have_text(
        "Tested: the network that was trained earlier."
    )
    before = row(page, "truth")
    page.click(".speed-buttons [data-speed='4']")
    expect(page.locator(".sample-name")).to_have_text("speed 4: 1 of 8")
    assert row(page, "truth") != before
    shoot(page, "speed-test", full_page=True)
    open_page.reload(page)  # the server keeps what was found
    page.click("[data-tab=speed]")
    expect(page.locator(FOUND)).to_be_visible()
    press(page, "leave-speed")
    expect(page.locator(".sample-name")).to_have_text("sample 1 of 8")
    assert row(page, "truth") == before


def test_a_training_goes_on_while_it_is_tested(open_page):
    page = open_page(long("squares"))
    press(page, "train")
    wait_for_epoch(page, 5)
    page.click("[data-tab=speed]")
    press(page, "test-speeds")
    expect(page.locator(FOUND)).to_be_visible()
    expect(page.locator(".speed-heard")).to_contain_text("It has learnt since then")
    expect(page.locator("[data-do=pause]")).to_be_visible()
    press(page, "stop")
    wait_for_state(page, "stopped")


def test_a_long_test_is_stopped_and_its_run_stays(open_page):
    page = open_page("?scene=squares&hidden=48&kernel=7&layers=3")
    press(page, "step")
    wait_for_state(page, "paused")
    page.click("[data-tab=speed]")
    press(page, "test-speeds")
    press(page, "stop-study")
    expect(page.locator(".speed-heard")).to_contain_text("stopped before its end")
    expect(page.locator("[data-do=test-speeds]")).to_have_text("Test again")
    wait_for_state(page, "paused")
