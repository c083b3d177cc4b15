"""The second scene: the shipped forecaster's predictions, and a drawn digit."""

import pytest
from gradio_client import Client
from playwright.sync_api import Page, expect

from tests.browser.conftest import shoot

ROWS = ".row-frames"


def open_digits(page: Page) -> None:
    page.click("[data-scene=digits]")
    page.wait_for_selector(f"{ROWS} canvas")


def row(page: Page, number: int) -> list[list[int]]:
    """The pixels of a row's frames, red of each."""
    return page.evaluate(
        """number => [...document.querySelectorAll('.row-frames')[number].children]
        .map(figure => figure.querySelector('canvas'))
        .map(c => [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data])
        .map(data => data.filter((_, i) => i % 4 === 0))""",
        number,
    )


def draw_a_stroke(page: Page) -> None:
    box = page.locator(".pad").bounding_box()
    page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.2 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.8 * box["height"], steps=5)
    page.mouse.up()


def test_the_shipped_forecaster_shows_ten_frames_against_ten(open_page):
    page = open_page()
    open_digits(page)
    assert [page.locator(ROWS).nth(n).locator("canvas").count() for n in range(4)] == [10] * 4
    seen, truth, predicted = (row(page, number) for number in range(3))
    assert all(max(frame) > 200 for frame in [*seen, *truth])
    assert max(predicted[0]) > 100
    assert predicted != truth
    expect(page.locator("[data-forecast=ssim]")).not_to_have_text("–")
    expect(page.locator("[data-forecast-note=ssim]")).to_contain_text("black frame")
    assert page.locator("svg.forecast-lead circle").count() == 10
    shoot(page, "digits")


def test_another_sample_shows_other_frames(open_page):
    page = open_page()
    open_digits(page)
    before = row(page, 0)
    page.keyboard.press("ArrowRight")
    expect(page.locator(".forecast-name")).to_have_text("sample 2 of 20")
    assert row(page, 0) != before
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".forecast-name")).to_have_text("sample 1 of 20")
    assert row(page, 0) == before


def test_a_drawn_digit_is_set_moving_and_continued(open_page):
    page = open_page()
    open_digits(page)
    draw_a_stroke(page)
    page.click("[data-do=send-drawing]")
    expect(page.locator(".forecast-name")).to_have_text("your digit")
    seen, truth, predicted = (row(page, number) for number in range(3))
    assert all(any(frame) for frame in [*seen, *truth])
    assert seen[0] != seen[1]
    assert max(predicted[0]) > 60
    shoot(page, "drawn")


def test_an_empty_pad_asks_for_a_digit(open_page):
    page = open_page()
    open_digits(page)
    page.click("[data-do=send-drawing]")
    expect(page.locator(".notice-text")).to_contain_text("draw a digit first")
    draw_a_stroke(page)
    page.click("[data-do=clear-pad]")
    page.click("[data-do=dismiss]")
    page.click("[data-do=send-drawing]")
    expect(page.locator(".notice-text")).to_contain_text("draw a digit first")
    expect(page.locator(".forecast-name")).to_have_text("sample 1 of 20")


def test_the_frames_play_and_stop(open_page):
    page = open_page()
    open_digits(page)
    play = page.locator("[data-do=play]")
    expect(play).to_have_attribute("aria-pressed", "true")
    for label in ("t − 2, seen", "t + 3"):
        page.wait_for_function(
            "text => document.querySelector('.played-when').textContent === text", arg=label
        )
    play.click()
    expect(play).to_have_attribute("aria-pressed", "false")


def test_the_squares_come_back_with_their_run(open_page):
    page = open_page()
    open_digits(page)
    expect(page.locator(".columns")).to_be_hidden()
    page.click("[data-scene=squares]")
    expect(page.locator(".digits")).to_be_hidden()
    expect(page.locator("button[data-do=train]")).to_be_visible()
    assert page.locator(".strip canvas").count() == 9


@pytest.mark.parametrize("size", [(1366, 768), (390, 844)])
def test_nothing_is_cut_off_at_the_side(open_page, size):
    page = open_page()
    page.set_viewport_size({"width": size[0], "height": size[1]})
    open_digits(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    shoot(page, f"digits-{size[0]}")


def test_the_api_forecasts_and_refuses_in_one_sentence(server):
    client = Client(server.url, verbose=False)
    reply = client.predict(3, api_name="/forecast_sample")
    assert len(reply["scores"]) == 10
    assert (reply["canvas"], reply["context"]) == (64, 10)
    reply = client.predict([0, 1], 30, api_name="/forecast_drawing")
    assert reply["notice"]["text"].startswith("drawing is ")
    reply = client.predict(20, api_name="/forecast_sample")
    assert reply["notice"]["text"] == "sample is 20: must be a whole number from 0 to 19."
    client.close()
