"""Looking inside the cell, with the mouse and with keys."""

import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import SCENES, shoot
from tests.browser.steps import answered, long, press, wait_for_state

MAP = '[data-map="{}"] canvas'
OPEN = ".stage [data-do=look-inside]"


def look_inside(page: Page) -> None:
    page.click(OPEN)
    expect(page.locator('[data-map="h 0"] canvas')).to_be_visible()


def map_of(page: Page, name: str) -> str:
    return page.eval_on_selector(MAP.format(name), "canvas => canvas.toDataURL()")


def wait_for_another_map(page: Page, name: str, before: str) -> None:
    page.wait_for_function(
        "([selector, before]) => document.querySelector(selector)?.toDataURL() !== before",
        arg=[MAP.format(name), before],
    )


def numbers(text: str) -> list[float]:
    return [float(n.replace("−", "-")) for n in re.findall(r"[−-]?\d+\.\d+", text)]


@pytest.mark.parametrize("scene", SCENES)
def test_maps_open_and_follow_the_moment(open_page, scene):
    page = open_page(f"?scene={scene}")
    page.click(OPEN)
    expect(page.locator(".inside-map")).to_have_count(24)
    before = map_of(page, "c 0")
    page.fill("[data-do=inside-scrub]", "-2")
    expect(page.locator(".moment")).to_contain_text("t − 2")  # one moment for the whole page
    expect(page.locator(".inside-when")).to_contain_text("t − 2")
    wait_for_another_map(page, "c 0", before)
    before = map_of(page, "c 0")
    press(page, "next")
    wait_for_another_map(page, "c 0", before)  # of another sequence
    shoot(page, f"inside-{scene}", full_page=True)
    page.click(OPEN)
    expect(page.locator("#cp-inside")).to_be_hidden()


def test_another_scene_is_another_network(open_page):
    page = open_page()
    look_inside(page)
    page.click(MAP.format("c 0"), position={"x": 60, "y": 60})
    expect(page.locator(".inside-pixel table")).to_be_visible()
    page.eval_on_selector("[data-scene=digits]", "scene => scene.click()")
    left = page.evaluate(
        "document.querySelectorAll('.inside-map, .inside-pixel table, .compared-frames *').length"
    )
    assert left == 0  # at once, not only when the other network's first frames come
    expect(page.locator(".inside-cells button")).to_have_count(3)
    expect(page.locator(".inside-pixel table")).to_have_count(0)
    page.click(MAP.format("c 0"), position={"x": 5, "y": 5})
    expect(page.locator(".inside-pixel table")).to_be_visible()
    page.click("[data-scene=squares]")
    expect(page.locator(".inside-range")).to_contain_text("of 16")


def test_a_pixel_s_arithmetic_is_right_and_its_field_of_view_is_drawn(open_page):
    page = open_page()
    page.fill("[data-do=scrub]", "0")
    look_inside(page)
    expect(page.locator(".row-frames.input .field")).to_have_count(0)
    page.click(MAP.format("c 1"), position={"x": 20, "y": 30})
    expect(page.locator(".inside-pixel .equation")).to_have_count(2)
    memory, output = page.locator(".inside-pixel .equation").all()
    expect(memory).to_contain_text("c = f")
    f, before, i, g, c = numbers(memory.inner_text().replace("c₋₁", ""))
    assert c == pytest.approx(f * before + i * g, abs=0.03)
    o, seen, h = numbers(output.inner_text())
    assert h == pytest.approx(o * seen, abs=0.02)
    fields = page.locator(".row-frames.input .field")
    expect(fields).to_have_count(9)
    sides = [field.bounding_box()["width"] for field in fields.all()]
    assert sides == sorted(sides, reverse=True)  # the older the frame, the wider
    where = page.locator(".inside-pixel p").first
    text = where.inner_text()
    page.focus('[data-map="c 1"]')
    page.keyboard.press("ArrowRight")
    expect(where).not_to_have_text(text)
    assert "sample 1 of" in page.inner_text(".sample-name")  # the page's own arrows kept still


def test_without_its_forget_gate_the_prediction_is_worse(open_page):
    page = open_page()
    look_inside(page)
    page.click("[data-part=f]")
    expect(page.locator(".inside-compared")).to_be_visible()
    expect(page.locator(".changes li")).to_have_text(re.compile("f, every channel: off"))
    expect(page.locator("[data-part=f]")).to_have_attribute("aria-pressed", "true")
    shoot(page, "inside-without", full_page=True)
    page.click("[data-do=try-remove]")
    expect(page.locator(".inside-compared")).to_be_hidden()


def test_a_channel_is_switched_off_held_and_swapped(open_page):
    page = open_page()
    look_inside(page)
    page.click("[data-channel='0']")
    expect(page.locator(".changes li")).to_have_count(2)
    expect(page.locator('.inside-map.off[data-map="c 0"]')).to_be_visible()
    page.click("[data-channel='0']")
    expect(page.locator(".changes li")).to_have_count(0)
    page.select_option("[data-do=try-part]", "c")
    page.select_option("[data-do=try-how]", "hold")
    press(page, "try-add")
    page.select_option("[data-do=try-how]", "swap")
    expect(page.locator("[data-do=try-channel] option[value='']")).to_have_count(0)  # not all
    page.select_option("[data-do=try-channel]", "0")
    expect(page.locator("[data-do=try-other] option[value='0']")).to_have_count(0)
    page.select_option("[data-do=try-other]", "3")
    with answered(page, "look_inside"):
        press(page, "try-add")
    expect(page.locator(".changes li")).to_have_count(2)
    expect(page.locator(".inside-compared")).to_be_visible()


def test_another_memory_does_not_teleport_the_square(open_page):
    page = open_page()
    look_inside(page)
    expect(page.locator("button[data-do=transplant]")).to_be_disabled()  # a guess comes first
    page.select_option("[data-do=transplant-guess]", "other")
    press(page, "transplant")
    expect(page.locator(".transplant-found")).to_contain_text("Found: it goes by its own newest")
    own, other, nothing = numbers(page.inner_text(".transplant-found"))[-3:]
    assert own < other / 2 and nothing < other


def test_a_wall_that_teleports_is_told_in_one_sentence(open_page):
    page = open_page("?speed=8&kernel=3&epochs=2&batches_per_epoch=1")
    press(page, "train")
    wait_for_state(page, "finished")
    look_inside(page)
    page.fill("[data-do=scrub]", "0")
    expect(page.locator(".inside-reach")).to_contain_text("only 1 px a frame")


def test_maps_live_while_it_trains(open_page):
    page = open_page(long("squares"))
    press(page, "train")
    wait_for_state(page, "training")
    page.click(OPEN)
    page.wait_for_selector('[data-map="h 0"] canvas')
    wait_for_another_map(page, "h 0", map_of(page, "h 0"))
    wait_for_another_map(page, "h 0", map_of(page, "h 0"))
    press(page, "stop")
    wait_for_state(page, "stopped")


def test_every_channel_is_silenced_at_one_button(open_page):
    page = open_page()
    look_inside(page)
    press(page, "rank")
    expect(page.locator(".ranked li")).to_have_count(17)  # 16 channels, and all together
    expect(page.locator(".ranked .whole")).to_contain_text("all channels")
    errors = [numbers(line)[-1] for line in page.locator(".ranked li").all_inner_texts()]
    assert errors[1] > errors[0] and errors[1:] == sorted(errors[1:], reverse=True)
    shoot(page, "inside-ranked", full_page=True)
