import re

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import line_to, running, shoot

# Small runs, so that the tests are quick; 5000 epochs last until somebody stops them.
SMALL = "?speed=1&hidden=2&canvas=16&size=3&kernel=3&epochs=60&batch=2"
LONG = "?speed=1&hidden=2&canvas=16&size=3&kernel=3&epochs=5000&batch=2"


def wait_for_state(page: Page, *states: str, timeout: int = 30_000) -> None:
    page.wait_for_selector(",".join(f"[data-state={state}]" for state in states), timeout=timeout)


def press(page: Page, action: str) -> None:
    page.click(f"button[data-do={action}]")


def status(page: Page) -> str:
    return page.inner_text(".status-text")


def epoch(page: Page) -> int:
    return int(re.search(r"epoch (\d+)", status(page))[1])


def wait_for_epoch(page: Page, number: int) -> None:
    page.wait_for_function(
        "n => Number(/epoch (\\d+)/.exec(document.querySelector('.status-text')?.textContent)?.[1])"
        " >= n",
        arg=number,
    )


def points(page: Page, kind: str) -> int:
    return (page.get_attribute(f"svg.curve path.{kind}", "d") or "").count(" ")


def pixels(page: Page, view: str) -> list[int]:
    return page.evaluate(
        "view => { const c = document.querySelector(`.view.${view} canvas`);"
        " return [...c.getContext('2d').getImageData(0, 0, c.width, c.height).data] }",
        view,
    )


def test_opening_shows_a_finished_prediction_that_is_labelled_as_such(open_page):
    page = open_page()
    wait_for_state(page, "shipped")
    assert "trained earlier" in status(page)
    expect(page.locator("[data-score=mse]")).not_to_have_text("–")
    assert page.locator(".strip canvas").count() == 9
    assert max(pixels(page, "prediction")[::4]) > 200
    assert points(page, "held-out") > 2
    shoot(page, "opening")


def test_the_main_job_fits_one_screen_without_scrolling(open_page):
    page = open_page()
    for selector in (".transport", ".curve", ".tiles", ".views", ".tabs"):
        box = page.locator(selector).filter(visible=True).bounding_box()
        assert box["y"] + box["height"] <= 768, selector
        assert box["x"] + box["width"] <= 1366, selector
    assert page.evaluate("document.querySelector('.settings').scrollHeight") <= page.evaluate(
        "document.querySelector('.settings').clientHeight"
    )


def test_training_moves_the_curve_and_the_prediction_and_obeys_the_transport(open_page):
    page = open_page(LONG)
    press(page, "train")
    wait_for_state(page, "training")
    wait_for_epoch(page, 5)
    few, early = points(page, "train"), pixels(page, "prediction")
    wait_for_epoch(page, epoch(page) + 60)
    assert points(page, "train") > few
    assert points(page, "held-out") >= 3
    page.wait_for_function(
        "early => { const c = document.querySelector('.view.prediction canvas');"
        " const now = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;"
        " return early.some((v, i) => v !== now[i]) }",
        arg=early,
    )
    shoot(page, "training")

    press(page, "pause")
    wait_for_state(page, "paused")
    page.wait_for_timeout(600)  # whatever was under way has arrived
    paused = epoch(page)
    shoot(page, "paused")
    press(page, "step")
    wait_for_epoch(page, paused + 1)
    page.wait_for_timeout(600)
    assert epoch(page) == paused + 1

    page.fill("[data-name=speed] input", "3")
    page.wait_for_selector("svg.curve .mark", state="attached")
    assert "1 → 3" in page.text_content("svg.curve .mark-text")

    press(page, "train")
    wait_for_state(page, "training")
    wait_for_epoch(page, paused + 20)
    page.focus("[data-name=learning_rate] input")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("svg.curve .mark")).to_have_count(2)

    press(page, "stop")
    wait_for_state(page, "stopped")
    stopped = epoch(page)
    expect(page.locator("[data-score=mse]")).not_to_have_text("–")
    shoot(page, "stopped")

    open_page.reload(page)
    wait_for_state(page, "stopped")
    assert epoch(page) == stopped
    expect(page.locator("svg.curve .mark")).to_have_count(2)


def test_a_reload_and_a_second_tab_find_the_run_that_goes_on(open_page, new_context):
    context = new_context()
    page = open_page(LONG, context)
    press(page, "train")
    wait_for_epoch(page, 20)
    open_page.reload(page)
    wait_for_state(page, "training")
    wait_for_epoch(page, 40)
    second = open_page("", context)
    wait_for_state(second, "training")
    press(second, "stop")
    wait_for_state(page, "stopped")


def test_two_people_have_runs_of_their_own(open_page):
    first, second = open_page(LONG), open_page(LONG)
    press(first, "train")
    press(second, "train")
    for page in (first, second):
        wait_for_state(page, "training")
        wait_for_epoch(page, 20)
    press(first, "stop")
    wait_for_state(first, "stopped")
    now = epoch(second)
    wait_for_epoch(second, now + 10)
    press(second, "stop")
    wait_for_state(second, "stopped")


def test_a_finished_run_says_so_and_train_begins_anew(open_page):
    page = open_page(SMALL)
    press(page, "train")
    wait_for_state(page, "finished")
    assert epoch(page) == 60
    shoot(page, "finished")
    press(page, "train")
    wait_for_state(page, "training", "finished")
    wait_for_state(page, "finished")


def test_a_goal_that_is_reached_ends_the_run(open_page):
    page = open_page(SMALL + "&stop_below=0.5")
    press(page, "train")
    wait_for_state(page, "goal")
    shoot(page, "goal")


def test_a_diverged_run_keeps_its_weights_and_says_what_to_try(open_page):
    page = open_page("?hidden=16&canvas=32&rate=1&loss=mse&output=linear&schedule=constant&clip=0")
    press(page, "train")
    wait_for_state(page, "diverged", timeout=60_000)
    assert "lower learning rate" in page.inner_text(".advice")
    shoot(page, "diverged")


def test_a_changed_shape_asks_for_a_reset(open_page):
    page = open_page(LONG)
    press(page, "train")
    wait_for_epoch(page, 5)
    page.click("[data-name=num_layers] label:has-text('2')")
    expect(page.locator(".notice")).to_contain_text("Layers")
    shoot(page, "asks-for-reset")
    press(page, "reset")
    wait_for_state(page, "idle")
    expect(page.locator(".notice")).to_be_hidden()
    press(page, "step")
    wait_for_epoch(page, 1)
    wait_for_state(page, "paused")


def test_a_refused_value_is_named_and_nothing_starts(open_page):
    page = open_page(SMALL)
    page.click("text=batch, loss, schedule, seed")
    page.fill("[data-name=seed] input", "-1")
    page.keyboard.press("Tab")
    expect(page.locator(".cost")).to_contain_text("Seed is -1: must be a whole number from 0")
    press(page, "train")
    expect(page.locator(".notice")).to_contain_text("Seed is -1")
    assert page.get_attribute(".gradio-container [data-state]", "data-state") == "shipped"
    shoot(page, "refused")


def test_settings_over_the_budget_name_the_value_to_lower(open_page):
    page = open_page("?hidden=64&layers=3&kernel=7&canvas=128")
    expect(page.locator(".cost")).to_contain_text("must be at most")
    press(page, "train")
    expect(page.locator(".notice")).to_contain_text("over the limit of")


def test_a_link_opens_with_its_settings_and_a_bad_one_says_why(open_page):
    page = open_page("?speed=3&hidden=8&epochs=50&walls=bounce&peephole=true")
    assert page.input_value("[data-name=speed] input") == "3"
    assert page.is_checked("[data-name=walls] input[value=bounce]")
    assert page.is_checked("[data-name=peephole] input")
    expect(page.locator("[data-name=hidden_channels] output")).to_have_text("8")
    page.wait_for_function("document.querySelector('[data-link]').value.includes('speed=3')")
    link = page.input_value("[data-link]")
    again = open_page(link[link.index("?") :])
    assert again.is_checked("[data-name=peephole] input")

    bad = open_page("?speed=99")
    expect(bad.locator(".notice")).to_contain_text("Square speed is 99")


def test_a_preset_fills_the_controls_and_says_what_it_shows(open_page):
    page = open_page()
    page.select_option("[data-do=preset]", "too-fast")
    expect(page.locator(".preset-sentence")).to_contain_text("Fails")
    expect(page.locator(".reach")).to_contain_text("too short")
    page.click("[data-name=kernel_size] label:has-text('7')")
    page.click("[data-name=num_layers] label:has-text('2')")
    expect(page.locator(".reach")).to_contain_text("enough")


def test_sample_look_ahead_close_up_and_animation_change_the_stage(open_page):
    page = open_page()
    before = pixels(page, "truth")
    page.click("[data-do=next]")
    expect(page.locator(".sample-name")).to_have_text("sample 2 of 8")
    assert pixels(page, "truth") != before
    page.fill("[data-do=look]", "10")
    expect(page.locator("svg.lead circle")).to_have_count(10)
    expect(page.locator(".truth .when")).to_have_text("t + 10")
    page.click("[data-do=closeup]")
    assert page.evaluate("document.querySelector('.view.truth canvas').width") == 24
    shoot(page, "look-ahead")
    page.click("[data-do=animate]")
    page.wait_for_selector(".strip .now")
    page.click("[data-do=animate]")


def test_arrows_go_from_tab_to_tab(open_page):
    page = open_page()
    wait_for_state(page, "shipped")
    page.evaluate("window.addEventListener('keydown', () => (window.wentFurther = true))")
    page.focus("[data-tab=share]")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.tab") == "how"
    assert page.is_visible("#cp-how") and page.is_hidden("#cp-share")
    page.keyboard.press("ArrowLeft")
    assert page.is_visible("#cp-share") and page.is_hidden("#cp-how")
    assert not page.evaluate("window.wentFurther")  # or the stage would turn its samples


def test_the_keyboard_does_what_the_buttons_do(open_page):
    page = open_page(LONG)
    page.keyboard.press("Space")
    wait_for_state(page, "training")
    page.keyboard.press("Space")
    wait_for_state(page, "paused")
    page.wait_for_timeout(600)
    before = epoch(page)
    page.keyboard.press("s")
    wait_for_epoch(page, before + 1)
    page.keyboard.press("ArrowRight")
    expect(page.locator(".sample-name")).to_have_text("sample 2 of 8")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".sample-name")).to_have_text("sample 1 of 8")
    page.keyboard.press("r")
    wait_for_state(page, "idle")


def test_the_files_of_a_run_can_be_taken_home_and_a_checkpoint_brought_back(open_page, tmp_path):
    page = open_page(SMALL)
    press(page, "train")
    wait_for_state(page, "finished")
    for kind, name in (
        ("pictures", "convlstm.zip"),
        ("losses", "losses.csv"),
        ("script", "train_convlstm.py"),
        ("checkpoint", "convlstm.safetensors"),
    ):
        with page.expect_download() as download:
            page.click(f"[data-download={kind}]")
        assert download.value.suggested_filename == name
        download.value.save_as(tmp_path / name)
        assert (tmp_path / name).stat().st_size > 500
    open_page.reload(page)
    wait_for_state(page, "finished")
    other = open_page()
    other.set_input_files("[data-do=upload]", tmp_path / "convlstm.safetensors")
    expect(other.locator(".notice")).to_contain_text("Checkpoint opened")
    wait_for_state(other, "finished")
    assert epoch(other) == 60
    expect(other.locator("[data-name=hidden_channels] output")).to_have_text("2")
    shoot(other, "checkpoint-opened")


def test_a_bad_checkpoint_is_refused_in_one_sentence_and_changes_nothing(open_page, tmp_path):
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"not a checkpoint at all")
    page = open_page(SMALL)
    press(page, "train")
    wait_for_state(page, "finished")
    score = page.inner_text("[data-score=mse]")
    page.set_input_files("[data-do=upload]", bad)
    expect(page.locator(".notice")).to_contain_text("nothing was changed")
    shoot(page, "bad-checkpoint")
    assert page.inner_text("[data-score=mse]") == score
    assert page.get_attribute(".gradio-container [data-state]", "data-state") == "finished"


def test_chinese_dark_projector_and_how_it_works(open_page):
    page = open_page(locale="zh-CN")
    expect(page.locator("[data-do=train]")).to_contain_text("训练")
    shoot(page, "chinese")
    page.click("[data-do=language]")
    expect(page.locator("[data-do=train]")).to_contain_text("Train")
    open_page.reload(page)
    expect(page.locator("[data-do=train]")).to_contain_text("Train")
    page.click("[data-do=theme]")
    shoot(page, "dark")
    page.click("[data-do=projector]")
    expect(page.locator(".panel")).to_be_hidden()
    shoot(page, "projector")
    page.keyboard.press("Escape")
    expect(page.locator(".panel")).to_be_visible()
    page.click("[data-tab=how]")
    page.locator(".how").scroll_into_view_if_needed()
    page.set_viewport_size({"width": 1366, "height": 1500})
    shoot(page, "how-it-works")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_one_column_without_sideways_scrolling(open_page, scheme):
    page = open_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    expect(page.locator("[data-do=train]")).to_be_in_viewport()
    shoot(page, f"phone-{scheme}")
    page.screenshot(path=f"tests/browser/screenshots/phone-{scheme}-whole.png", full_page=True)


def test_a_lost_connection_is_said_and_the_run_found_again(open_page, server):
    with line_to(server) as line:
        page = open_page(LONG, url=line.url)
        press(page, "train")
        wait_for_epoch(page, 10)
        line.cut()
        expect(page.locator(".notice")).to_contain_text("does not answer", timeout=30_000)
        shoot(page, "lost connection")
        before = epoch(page)
        line.mend()
        wait_for_epoch(page, before + 50)
        expect(page.locator(".notice")).to_be_hidden()
        press(page, "stop")
        wait_for_state(page, "stopped")
    open_page.errors.clear()  # the browser reports each request that the dead line lost


def test_a_restarted_server_is_recognised_and_said(open_page):
    with running() as first:
        page = open_page(LONG, url=first.url)
        press(page, "train")
        wait_for_epoch(page, 5)
        first.stop()
        with running(port=first.port):
            expect(page.locator(".notice")).to_contain_text("restarted", timeout=60_000)
            wait_for_state(page, "shipped")
            press(page, "train")
            wait_for_state(page, "training", "finished")
            shoot(page, "restarted")
            open_page.errors.clear()  # refused connections while the server was gone


def test_a_person_beyond_the_limit_waits_in_line(open_page):
    with running("--max-runs", "1") as server:
        first = open_page(LONG, url=server.url)
        second = open_page(LONG, url=server.url)
        press(first, "train")
        wait_for_state(first, "training")
        press(second, "train")
        wait_for_state(second, "waiting")
        assert "place 1 in line" in status(second)
        shoot(second, "waiting")
        press(first, "stop")
        wait_for_state(second, "training")
