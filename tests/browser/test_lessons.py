"""The lessons, each played through the wrong way and the right way."""

import re

import pytest
from gradio_client import Client
from playwright.sync_api import Page, expect

from tests.browser.conftest import PATIENCE, shoot
from tests.browser.steps import answered, press, run_of, snapshot, wait_for_state

STEPS = ".lesson-steps li"
FOUND = ".lesson-part.found h3"
KEEP_GUESS = ".lesson-part.guess [type=submit]"
KEEP_ANSWERS = ".lesson-part.answers [type=submit]"


@pytest.fixture
def open_lesson(new_context, watched, server):
    """Open a lesson; at the end, the console must hold no error."""

    def make(number: int, more: str = "") -> Page:
        page = new_context().new_page()
        page.on("pageerror", lambda error: watched.errors.append(str(error)))
        page.set_default_timeout(PATIENCE)
        page.goto(f"{server.url}?lesson={number}{more}")
        page.wait_for_selector(".stage:not(.empty) .row-frames.input canvas")
        page.wait_for_selector(".lesson-part.guess form")
        return page

    yield make
    watched.check()


def choose(page: Page, part: str, **answers: str) -> None:
    for name, value in answers.items():
        page.check(f"input[name=cp-{part}-{name}][value='{value}']", force=True)


def guess(page: Page, **answers: str) -> None:
    choose(page, "guess", **answers)
    page.click(KEEP_GUESS)
    page.wait_for_selector(".lesson-part.do h3")


def train(page: Page) -> None:
    """Train to the end, and wait until the server has noted it."""
    noted = page.locator(".lesson-facts > div").count()
    press(page, "train")
    expect(page.locator(".lesson-facts > div")).to_have_count(noted + 1, timeout=2 * PATIENCE)
    wait_for_state(page, "finished")


def set_choice(page: Page, name: str, value: str) -> None:
    row = page.locator(f".control[data-name={name}]")
    if not row.is_visible():
        page.click(f"details:has([data-name={name}]) summary")
    row.locator(f"input[value='{value}']").check(force=True)


def is_done(page: Page, number: int) -> None:
    expect(page.locator(STEPS).nth(number)).to_have_class("done")


def is_not_found(page: Page) -> None:
    assert page.locator(FOUND).count() == 0


def is_judged_not_found(client: Client, page: Page, lesson: str) -> None:
    """The page shows what the server says: here that is asked itself."""
    assert not snapshot(client, run_of(page, f"lesson-{lesson}"))["lesson"]["found"]
    is_not_found(page)


def is_found(page: Page) -> None:
    page.wait_for_selector(FOUND)


def test_a_kernel_that_is_too_small_fails_and_more_reach_finds_it(open_lesson):
    page = open_lesson(1)
    expect(page.locator(".control[data-name=speed] input")).to_be_disabled()
    expect(page.locator(".control[data-name=num_layers] input").first).to_be_enabled()
    expect(page.locator("#cp-help-speed")).to_contain_text("Locked: lesson 1")
    guess(page, learns="yes", reach="2")
    train(page)  # the wrong way: 1 px a frame
    is_done(page, 0)
    is_not_found(page)
    set_choice(page, "kernel_size", "5")
    set_choice(page, "num_layers", "2")
    train(page)
    is_found(page)
    shoot(page, "lesson-1-found")
    page.click(".lesson-part.found button")
    expect(page.locator("#cp-lesson-title")).to_contain_text("2.")


def test_a_black_frame_scores_high_until_the_square_fills_the_canvas(open_lesson):
    page = open_lesson(2)
    page.fill("#cp-guess-ssim", "0.2")
    page.click(KEEP_GUESS)
    page.wait_for_selector(".lesson-part.do h3")
    press(page, "reset")  # the wrong way: nothing was changed
    expect(page.locator(".lesson-facts dd")).to_have_text("0.969")
    is_not_found(page)
    set_choice(page, "canvas", "16")
    press(page, "reset")
    is_found(page)


def test_two_losses_are_compared_and_what_was_measured_is_told(open_lesson, client):
    page = open_lesson(3)
    guess(page, sharper="mse", lower="ssim")
    train(page)
    is_done(page, 0)
    set_choice(page, "loss", "ssim")
    train(page)
    choose(page, "answers", sharper="mse", lower="mse")
    with answered(page, "answer"):
        page.click(KEEP_ANSWERS)  # the wrong way
    is_judged_not_found(client, page, "blur")
    choose(page, "answers", sharper="ssim", lower="mse")
    page.click(KEEP_ANSWERS)
    is_found(page)


def test_what_is_behind_the_wall_is_kept_by_the_forget_gate(open_lesson, client):
    page = open_lesson(4)
    guess(page, out="same")
    train(page)
    is_done(page, 0)
    page.click(".stage [data-do=look-inside]")
    with answered(page, "look_inside"):
        try_off(page, "o")  # the wrong way: another gate
    is_judged_not_found(client, page, "memory")
    page.click("[data-do=try-remove]")
    try_off(page, "f")
    is_found(page)


def try_off(page: Page, part: str) -> None:
    page.select_option("[data-do=try-part]", part)
    page.select_option("[data-do=try-how]", "off")
    page.click("[data-do=try-add]")


def test_a_network_follows_the_speeds_that_it_has_seen(open_lesson, client):
    page = open_lesson(5)
    for speed in (0, 1, 2, 3):
        choose(page, "guess", speeds=str(speed))
    page.click(KEEP_GUESS)
    page.click("[data-do=lesson-study]")
    is_done(page, 0)
    choose(page, "answers", speeds="0")  # the wrong way
    with answered(page, "answer"):
        page.click(KEEP_ANSWERS)
    is_judged_not_found(client, page, "speeds")
    page.uncheck("input[name=cp-answers-speeds][value='0']", force=True)
    for speed in (1, 2):
        choose(page, "answers", speeds=str(speed))
    page.click(KEEP_ANSWERS)
    is_found(page)


def test_a_square_that_bounces_is_predicted_at_the_wall(open_lesson):
    page = open_lesson(6)
    page.click(KEEP_GUESS)  # nothing was marked
    expect(page.locator(".notice-text")).to_contain_text("Answer every question")
    page.locator(".view.truth canvas").click(position={"x": 20, "y": 30})
    expect(page.locator("[data-place=down]")).not_to_have_value("")
    page.click(KEEP_GUESS)
    page.wait_for_selector(".lesson-part.do h3")
    train(page)  # the wrong way: it teleports
    is_done(page, 0)
    is_not_found(page)
    set_choice(page, "walls", "bounce")
    train(page)
    is_found(page)


def test_a_lesson_is_left_for_ones_own_training_and_a_link_locks(open_lesson, open_page):
    page = open_lesson(2, "&lock=canvas,nonsense")
    expect(page.locator(".notice-text")).to_contain_text("nonsense")
    expect(page.locator(".control[data-name=canvas] input").first).to_be_disabled()
    press(page, "leave-lesson")
    expect(page.locator(".lesson")).to_be_hidden()
    wait_for_state(page, "shipped")
    expect(page.locator(".control[data-name=canvas] input").first).to_be_enabled()
    page.select_option("[data-do=lesson]", index=6)
    expect(page.locator("#cp-lesson-title")).to_have_text(re.compile("^6"))
    other = open_page("?lesson=9")
    expect(other.locator(".notice-text")).to_contain_text("1 to 6")
