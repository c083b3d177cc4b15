"""What only the storm has: dates, physical units, a map with holes, variables to choose."""

import re

import pytest
from playwright.sync_api import Page, expect

from convlstm.scenes.storm import Storm
from tests.browser.conftest import shoot
from tests.browser.steps import (
    answered,
    panel,
    press,
    reset,
    wait_for,
    wait_for_epoch,
    wait_for_state,
)

STORM = "?scene=storm"
DATE = re.compile(r"01-\d\d (00|06|12|18)h")


def choose(page: Page, variable: str) -> None:
    page.click(f"[data-name=variable] label:has(input[value={variable}])")
    expect(page.locator(f"[data-name=variable] input[value={variable}]")).to_be_checked()


def test_it_opens_with_dates_and_hectopascals(show):
    page = show("storm")
    wait_for_state(page, "shipped")
    dates = page.locator(".row-frames figcaption").all_inner_texts()
    dates = [date for date in dates if date]
    assert len(dates) == 6 + 8
    assert all(DATE.fullmatch(date) for date in dates)
    assert dates == sorted(dates) and len(set(dates)) == 14
    expect(page.locator(".when")).to_have_text(dates[6])
    expect(page.locator(".moment")).to_contain_text(dates[6])
    for selector in ("[data-tile=error] .unit", ".bar-high", ".frame-error", ".lead-title"):
        expect(page.locator(selector)).to_contain_text("hPa")
    look = Storm().look
    expect(page.locator(".bar-low")).to_have_text(f"{look.low:g}")
    expect(page.locator(".bar-high")).to_have_text(f"{look.high:g} hPa")
    expect(page.locator(".curve-subtitle")).to_have_text("RMSE in hPa, linear scale")
    expect(page.locator("[data-tile=error] dt").nth(1)).to_have_text("climatology")
    assert "black" not in page.inner_text(".work").lower()


def test_points_without_a_measurement_are_holes_in_the_sprites_and_on_the_map(show, client):
    run = client.predict({}, "storm", api_name="/open_run")["run"]
    picture = wait_for(client, run, lambda value: value["picture"])["picture"]
    page = show("storm")
    alpha, colours = page.evaluate(
        """async ({ sprites, width, height }) => {
          const image = new Image();
          image.src = `data:image/png;base64,${sprites}`;
          await image.decode();
          const canvas = document.createElement('canvas');
          [canvas.width, canvas.height] = [width, image.height];
          const context = canvas.getContext('2d');
          context.drawImage(image, 0, 0);
          const rgba = context.getImageData(0, 0, width, image.height).data;
          const alpha = rgba.filter((_, i) => i % 4 === 3);
          const shown = document.querySelector('.view.truth canvas');
          const at = (x, y) => [...shown.getContext('2d').getImageData(x, y, 1, 1).data];
          return [[...alpha], [at(0, shown.height - 1), at(shown.width / 2, shown.height / 2)]];
        }""",
        picture,
    )
    size = picture["width"] * picture["height"]
    assert (picture["width"], picture["height"]) == (36, 33)
    assert len(alpha) == size * (picture["context"] + 2 * picture["horizon"])
    assert set(alpha) == {0, 255}
    frame = alpha[:size]
    assert 0 < frame.count(0) < size / 2
    assert frame[-36] == 0 and frame[18] == 255  # the south west, and the middle of the north
    hole, measured = colours
    assert max(hole[:3]) - min(hole[:3]) < 16  # grey ground and hatching
    assert max(measured[:3]) - min(measured[:3]) > 16  # of the map's colours


def test_the_preset_trains_for_a_few_steps(open_page):
    page = open_page(STORM)
    expect(page.locator("[data-do=preset]")).to_have_value("blizzard")
    press(page, "train")
    wait_for_epoch(page, 10)
    expect(page.locator(".scores-subtitle")).to_contain_text("validation set")
    expect(page.locator("[data-score=error]")).to_have_text(re.compile(r"^\d+\.\d\d$"))
    expect(page.locator("svg.curve .baseline")).to_have_count(2)
    shoot(page, "storm-blizzard")
    wait_for_state(page, "finished")


@pytest.mark.parametrize(("variable", "unit"), [("wind", "m/s"), ("pressure", "hPa")])
def test_another_variable_can_be_chosen_and_has_its_unit(open_page, variable, unit):
    look = Storm(variable=variable).look
    page = open_page(f"{STORM}&epochs=60")
    before = panel(page, "truth")
    choose(page, variable)
    reset(page)
    expect(page.locator(".bar-low")).to_have_text(f"{look.low:g}")
    expect(page.locator(".bar-high")).to_have_text(f"{look.high:g} {unit}")
    expect(page.locator(".lead-title")).to_contain_text(unit)
    expect(page.locator("[data-tile=error] .unit")).to_have_text(unit)
    if variable == "wind":
        assert panel(page, "truth") != before
    with answered(page, "act"):
        press(page, "step")
    wait_for_epoch(page, 1)
    wait_for_state(page, "paused")
    shoot(page, f"storm-{variable}")


def test_a_run_of_one_variable_asks_before_it_becomes_another(open_page):
    page = open_page(STORM)
    press(page, "step")
    wait_for_state(page, "paused")
    choose(page, "temperature")
    expect(page.locator(".notice")).to_contain_text("Changed: Variable")
    expect(page.locator(".bar-high")).to_contain_text("hPa")  # as the run is
    reset(page)
    expect(page.locator(".bar-high")).to_contain_text(" K")
