"""What only Moving MNIST has: a viewer's own digit, drawn while a forecaster learns too."""

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import shoot
from tests.browser.steps import looks, points, press, row, wait_for_another, wait_for_state

SHIPPED = "?scene=digits"
SHORT = f"{SHIPPED}&digits=1&hidden=8&layers=1&residual=false&epochs=60&evaluate_every=20"


def draw_a_stroke(page: Page) -> None:
    box = page.locator(".pad").bounding_box()
    page.mouse.move(box["x"] + 0.4 * box["width"], box["y"] + 0.2 * box["height"])
    page.mouse.down()
    page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + 0.8 * box["height"], steps=5)
    page.mouse.up()


def test_the_shipped_forecaster_shows_ten_frames_against_ten(show):
    page = show("digits")
    expect(page.locator(".sample-name")).to_have_text("sample 1 of 20")
    rows = {name: row(page, name) for name in ("input", "truth", "prediction", "error")}
    assert [len(frames) for frames in rows.values()] == [10] * 4
    assert all(max(frame) > 200 for frame in [*rows["input"], *rows["truth"]])
    assert max(rows["prediction"][0]) > 100
    assert rows["prediction"] != rows["truth"]
    expect(page.locator("[data-tile=ssim]")).to_contain_text("black frame0.")
    assert page.locator("svg.lead circle").count() == 10


def test_a_drawn_digit_is_set_moving_and_continued(show):
    page = show("digits")
    press(page, "clear-pad")
    page.fill("[data-do=scrub]", "9")
    draw_a_stroke(page)
    press(page, "send-drawing")
    expect(page.locator(".sample-name")).to_have_text("your drawing")
    expect(page.locator(".moment")).to_have_text("t + 1")
    seen, truth, predicted = (row(page, name) for name in ("input", "truth", "prediction"))
    assert all(any(frame) for frame in [*seen, *truth])
    assert seen[0] != seen[1]
    assert max(predicted[0]) > 60
    shoot(page, "digits-drawn")
    press(page, "next")
    expect(page.locator(".sample-name")).to_have_text("sample 2 of 20")


@pytest.mark.parametrize("angle", [0, 90])
def test_a_drawn_digit_goes_where_it_is_sent(show, angle):
    page = show("digits")
    press(page, "clear-pad")
    draw_a_stroke(page)
    page.fill("[data-do=angle]", str(angle))
    expect(page.locator(".draw output")).to_have_text({0: "→ 0°", 90: "↓ 90°"}[angle])
    press(page, "send-drawing")
    expect(page.locator(".sample-name")).to_have_text("your drawing")
    seen = row(page, "input")
    across, down = (
        [mean_place(frame, axis) for frame in (seen[0], seen[2])] for axis in ("across", "down")
    )
    along, aside = (across, down) if angle == 0 else (down, across)
    assert along[1] > along[0] + 3
    assert abs(aside[1] - aside[0]) < 1


def mean_place(frame: list[int], axis: str) -> float:
    side = int(len(frame) ** 0.5)
    at = [i % side if axis == "across" else i // side for i in range(len(frame))]
    return sum(place * value for place, value in zip(at, frame, strict=True)) / sum(frame)


def test_an_empty_pad_asks_for_a_digit(show):
    page = show("digits")
    press(page, "clear-pad")
    press(page, "send-drawing")
    expect(page.locator(".notice-text")).to_contain_text("draw a digit first")
    draw_a_stroke(page)
    press(page, "clear-pad")
    press(page, "dismiss")
    press(page, "send-drawing")
    expect(page.locator(".notice-text")).to_contain_text("draw a digit first")
    expect(page.locator(".sample-name")).to_have_text("sample 1 of 20")


def test_a_finger_draws_too(open_page):
    page = open_page(SHIPPED, viewport={"width": 390, "height": 844}, has_touch=True)
    page.locator(".pad").scroll_into_view_if_needed()
    page.locator(".pad").tap()
    page.locator("[data-do=send-drawing]").tap()
    expect(page.locator(".sample-name")).to_have_text("your drawing")
    assert any(row(page, "input")[0])


def test_a_forecaster_learns_live_and_its_pictures_and_scores_follow(open_page):
    page = open_page(SHORT)
    wait_for_state(page, "shipped")
    shipped = looks(page, "prediction")
    press(page, "train")
    wait_for_another(page, "prediction", shipped)
    draw_a_stroke(page)  # while it learns
    press(page, "send-drawing")
    expect(page.locator(".sample-name")).to_have_text("your drawing")
    wait_for_state(page, "finished")
    expect(page.locator(".status-text")).to_contain_text("epoch 60 of 60")
    assert points(page, "validation") == 3  # evaluated three times
    expect(page.locator(".scores-subtitle")).to_contain_text("validation set")
    expect(page.locator("[data-score=ssim]")).not_to_have_text("–")
    expect(page.locator(".about")).to_contain_text("240 sequences")
    shoot(page, "digits-trained")
