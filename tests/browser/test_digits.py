"""The second scene: the shipped forecaster, a drawn digit, and a forecaster that learns live."""

import pytest
from gradio_client import Client
from playwright.sync_api import Page, expect

from convlstm.forecast_checkpoint import load_forecaster
from tests.browser.conftest import shoot

ROWS = ".row-frames"


SHORT = "?scene=digits&digits=1&hidden=8&layers=1&steps=60&evaluate_every=20"


def open_digits(page: Page) -> None:
    page.click("[data-scene=digits]")
    page.wait_for_selector(f"{ROWS} canvas")


def wait_for_state(page: Page, state: str) -> None:
    page.wait_for_selector(f"[data-state={state}]")


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
    expect(page.locator("[data-forecast-note=ssim]")).to_contain_text("black 0.")
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


def test_a_forecaster_learns_live_and_its_pictures_and_scores_follow(open_page):
    page = open_page(SHORT, scene="digits")
    wait_for_state(page, "shipped")
    shipped = row(page, 2)
    page.click("[data-do=train]")
    wait_for_state(page, "training")
    page.wait_for_function(
        "before => { const c = document.querySelectorAll('.row-frames')[2].querySelector('canvas');"
        " const now = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        " return before.some((v, i) => v !== now[4 * i]) }",
        arg=shipped[0],
    )
    draw_a_stroke(page)  # while it learns
    page.click("[data-do=send-drawing]")
    expect(page.locator(".forecast-name")).to_have_text("your digit")
    wait_for_state(page, "finished")
    expect(page.locator(".status-text")).to_contain_text("step 60 of 60")
    path = page.locator("svg.curve path.held-out").get_attribute("d")
    assert len(path.split("L")) == 3  # evaluated three times
    expect(page.locator("[data-validation=ssim]")).not_to_have_text("–")
    expect(page.locator(".forecast-about")).to_contain_text("240 sequences")
    shoot(page, "digits-trained")


def test_pause_step_stop_and_reset_work_as_with_squares(open_page):
    page = open_page(SHORT.replace("steps=60", "steps=5000"), scene="digits")
    page.click("[data-do=train]")
    wait_for_state(page, "training")
    page.click("[data-do=pause]")
    wait_for_state(page, "paused")
    page.click("[data-do=stop]")
    wait_for_state(page, "stopped")
    page.click("[data-do=reset]")
    wait_for_state(page, "idle")
    page.click("[data-do=step]")
    expect(page.locator(".status-text")).to_contain_text("step 1 of 5000")
    page.locator("[data-name=num_layers] label", has_text="2").click()
    expect(page.locator(".notice-text")).to_contain_text("Changed: Layers")


def test_a_setting_that_is_too_much_for_the_server_is_said_beside_it(open_page):
    page = open_page("?scene=digits&steps=100000", scene="digits")
    expect(page.locator(".cost.bad")).to_contain_text("must be at most")
    expect(page.locator("[data-name=steps].refused")).to_be_visible()
    page.click("[data-do=train]")
    expect(page.locator(".notice-text")).to_contain_text("Steps is 100000")
    wait_for_state(page, "shipped")


def test_what_was_learnt_is_taken_home_and_opened_again(open_page, tmp_path):
    page = open_page(SHORT.replace("steps=60", "steps=30"), scene="digits")
    page.click("[data-do=train]")
    wait_for_state(page, "finished")
    for kind, name in (("losses", "losses.csv"), ("pictures", "convlstm.zip")):
        with page.expect_download() as download:
            page.click(f"[data-download={kind}]")
        assert download.value.suggested_filename == name
    with page.expect_download() as download:
        page.click("[data-download=checkpoint]")
    file = tmp_path / download.value.suggested_filename
    download.value.save_as(file)
    assert file.name == "forecaster.safetensors"
    assert load_forecaster(file).config.hidden_channels == 8
    page.click("[data-do=reset]")
    wait_for_state(page, "idle")
    page.set_input_files("[data-do=upload]", file)
    expect(page.locator(".notice-text")).to_contain_text("Checkpoint opened")
    wait_for_state(page, "finished")
    page.click("[data-scene=squares]")
    page.set_input_files("[data-do=upload]", file)
    expect(page.locator(".notice-text")).to_contain_text("a forecaster of Moving MNIST")


def test_each_scene_keeps_its_run_while_the_other_is_shown(open_page):
    page = open_page(SHORT.replace("steps=60", "steps=5000"), scene="digits")
    page.click("[data-do=train]")
    wait_for_state(page, "training")
    page.click("[data-scene=squares]")
    wait_for_state(page, "shipped")
    expect(page.locator(".forecast")).to_be_hidden()
    expect(page.locator(".strip canvas")).to_have_count(9)
    page.wait_for_function("document.querySelector('[data-score=mse]').textContent !== '–'")
    page.click("[data-scene=digits]")
    wait_for_state(page, "training")
    assert page.locator("[data-name=hidden_channels] output").inner_text() == "8"
    open_page.reload(page, scene="digits")  # the page comes back to the scene and the run
    wait_for_state(page, "training")
    page.click("[data-do=stop]")
    wait_for_state(page, "stopped")


@pytest.mark.parametrize("size", [(1366, 768), (390, 844)])
def test_nothing_is_cut_off_at_the_side(open_page, size):
    page = open_page()
    page.set_viewport_size({"width": size[0], "height": size[1]})
    open_digits(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    shoot(page, f"digits-{size[0]}")


def test_the_main_job_fits_one_screen(open_page):
    page = open_page()
    open_digits(page)
    for selector in (".transport", ".curve", ".tiles", ".forecast-rows", ".played canvas", ".draw"):
        box = page.locator(selector).filter(visible=True).first.bounding_box()
        assert box["y"] + box["height"] <= 768, selector
        assert box["x"] + box["width"] <= 1366, selector
    settings = page.locator(".settings")
    assert settings.evaluate("node => node.scrollHeight <= node.clientHeight")


def test_the_api_forecasts_and_refuses_in_one_sentence(server):
    client = Client(server.url, verbose=False)
    run = client.predict({}, "digits", api_name="/open_run")["run"]
    assert client.predict(run, 3, 1, api_name="/look") == {}
    for snapshot in client.submit(run, api_name="/watch"):
        if snapshot["picture"] and snapshot["picture"]["sample"] == 3:
            break
    assert len(snapshot["picture"]["scores"]) == 10
    reply = client.predict(run, [0, 1], 30, api_name="/draw")
    assert reply["notice"]["text"].startswith("drawing is ")
    reply = client.predict(run, 20, 1, api_name="/look")
    assert reply["notice"]["text"] == "sample is 20: must be a whole number from 0 to 19."
    client.close()
