"""The whole page in front of a server that only answers: what each part does together."""

import re

import numpy as np
import pytest
from playwright.sync_api import Page, expect

from tests.web.conftest import (
    SETTINGS,
    asked,
    make_picture,
    make_snapshot,
    push,
    scores,
    sprites,
    start_page,
)

VALIDATION = {
    "model": scores(0.005, 0.6),
    "baselines": {"copy_last": scores(0.01, 0.5), "black": scores(0.004, 0.7)},
    "skill": 0.5,
    "isBlack": False,
}


def wait_asked(page: Page, name: str, times: int = 1) -> dict:
    page.wait_for_function(
        "([name, times]) => asked.filter(([n]) => n === name).length >= times", arg=[name, times]
    )
    return asked(page, name)[-1]


def test_a_page_that_waits_for_what_computes_says_so_and_takes_no_press(blank):
    start_page(blank, {"scenes": {"notice": {"key": "offline"}}})
    expect(blank.locator(".status-text")).to_have_text("getting ready: this takes a few seconds")
    expect(blank.locator("[data-do=pause]")).to_be_hidden()
    assert blank.evaluate("document.querySelector('.cp').inert")
    wait_asked(blank, "scenes", 2)  # it asks again


def test_the_scenes_of_the_server_become_buttons_and_runs_of_their_own(begin):
    page = begin(make_snapshot())
    assert page.locator("[data-scene]").count() == 2
    page.click("[data-scene=clouds]")
    assert wait_asked(page, "attach", 2)["scene"] == "clouds"
    expect(page.locator("[data-scene=clouds]")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("[data-name=speed]")).to_have_count(0)
    expect(page.locator(".status-text")).to_have_text("getting ready: this takes a few seconds")
    page.click("[data-scene=dots]")
    expect(page.locator(".status-text")).to_contain_text("epoch 20 of 100")


def test_a_link_goes_to_its_scene_with_its_query(begin):
    page = begin(query="?scene=clouds&epochs=7")
    assert asked(page, "attach")[0] == {
        "run": None,
        "query": {"scene": "clouds", "epochs": "7"},
        "scene": "clouds",
    }


def test_the_status_says_what_the_run_does(begin):
    page = begin(make_snapshot(horizon=1))
    expect(page.locator(".status-text")).to_have_text(
        "training · epoch 20 of 100 · learning 1 of 2 frames ahead (curriculum) · 60 ms a step "
        "· 5 s left · CPU"
    )
    expect(page.locator(".about")).to_have_text("8,449 parameters · 80 sequences")
    push(page, make_snapshot(state="failed", reason="out of memory"))
    expect(page.locator(".advice")).to_contain_text("out of memory")
    assert page.get_attribute("#gradio", "data-state") == "failed"


def test_states_are_read_aloud_at_once_and_how_far_it_is_every_15_s_at_most(blank, begin):
    blank.clock.install()
    page, heard = begin(make_snapshot()), blank.locator(".status-heard")
    expect(heard).to_have_text("training, epoch 20 of 100")
    blank.clock.fast_forward(10_000)
    push(page, make_snapshot(epoch=30))
    expect(page.locator(".status-text")).to_contain_text("epoch 30 of 100")
    expect(heard).to_have_text("training, epoch 20 of 100")
    blank.clock.fast_forward(6000)
    push(page, make_snapshot(epoch=40, scores=VALIDATION))
    expect(heard).to_have_text("training, epoch 40 of 100, Error (MSE) 0.005, Skill score 50 %")
    push(page, make_snapshot(state="paused", epoch=41))
    expect(heard).to_have_text("paused: press Continue or Step, epoch 41 of 100")
    live = page.locator("[aria-live=polite], [role=status], output:not([aria-live=off])")
    assert {node.get_attribute("class") for node in live.all()} == {
        "status-heard visually-hidden",
        "pen-heard visually-hidden",
        "lesson-part found",
        "speed-heard",
    }


def test_the_tiles_show_both_baselines_and_are_green_only_over_the_better_one(begin):
    page = begin(make_snapshot())
    expect(page.locator(".scores-subtitle")).to_contain_text("this sequence")
    tile = page.locator("[data-tile=ssim]")
    expect(tile).to_contain_text("0.900")
    expect(tile).to_contain_text("repeat last frame")
    expect(tile).to_contain_text("0.700")
    expect(tile).to_have_class("tile good")
    push(page, make_snapshot(scores=VALIDATION))
    expect(page.locator(".scores-subtitle")).to_contain_text("validation set")
    for name in ("error", "ssim", "skill"):
        expect(page.locator(f"[data-tile={name}]")).to_have_class("tile")
    expect(page.locator("[data-score=skill]")).to_have_text("50 %")


def test_where_a_scene_hides_things_a_tile_says_what_is_remembered(begin):
    page = begin(make_snapshot())
    expect(page.locator("[data-tile=psnr]")).to_be_visible()
    expect(page.locator("[data-tile=unseen]")).to_be_hidden()
    hiding = make_snapshot()
    hiding["stage"]["hides"] = True
    push(page, hiding)
    expect(page.locator("[data-tile=psnr]")).to_be_hidden()
    tile = page.locator("[data-tile=unseen]")
    expect(tile).to_be_visible()
    expect(tile.locator("strong")).to_have_text("–")
    of_validation = {
        "model": scores(0.005, 0.6),
        "baselines": {"copy_last": scores(0.01, 0.5), "black": scores(0.004, 0.7)},
        "skill": 0.5,
        "isBlack": False,
        "unseen": {"model": 0.93, "baselines": {"copy_last": 0, "black": -0.4}},
    }
    push(page, {**hiding, "scores": of_validation})
    expect(tile.locator("strong")).to_have_text("93 %")
    expect(tile.locator("dd")).to_have_text(["0 %", "-40 %"])
    expect(tile).to_have_class("tile good")
    of_validation["unseen"]["model"] = -0.1
    push(page, {**hiding, "scores": of_validation})
    expect(tile).to_have_class("tile")


def test_the_stage_shows_seen_where_nothing_was_predicted(begin):
    page = begin(make_snapshot())
    assert [page.locator(f".row-frames.{row} canvas").count() for row in ("input", "error")] == [
        3,
        2,
    ]
    expect(page.locator(".view.prediction .blank")).to_be_hidden()
    page.locator("[data-do=scrub]").fill("-1")
    expect(page.locator(".when")).to_have_text("t − 1, seen")
    expect(page.locator(".view.prediction .blank")).to_have_text("seen")
    expect(page.locator(".view.prediction .blank")).to_be_visible()
    blank = "document.querySelector('.view.prediction canvas').getContext('2d')"
    assert not page.evaluate(f"{blank}.getImageData(0, 0, 6, 4).data.some(Boolean)")
    page.click(".row-frames.prediction figure >> nth=1")
    expect(page.locator(".moment")).to_have_text("t + 2")
    expect(page.locator(".row-frames.truth figure.now")).to_have_attribute("data-lead", "2")
    assert page.get_attribute("[data-do=scrub]", "aria-valuetext") == "frames ahead: 2"
    assert "SSIM 0.900" in page.get_attribute(".view.prediction canvas", "aria-label")


def test_playing_goes_through_all_moments_until_it_is_stopped(begin):
    page = begin(make_snapshot())
    page.click("[data-do=animate]")
    expect(page.locator("[data-do=animate]")).to_have_attribute("aria-pressed", "true")
    for moment in ("t − 2, seen", "t + 2"):
        page.wait_for_function(
            "words => document.querySelector('.moment').textContent === words", arg=moment
        )
    page.click("[data-do=animate]")
    expect(page.locator("[data-do=animate]")).to_have_attribute("aria-pressed", "false")


def test_the_close_up_and_the_pad_are_offered_where_they_make_sense(begin):
    page = begin(make_snapshot(picture=make_picture(width=64, height=64)))
    expect(page.locator("[data-do=closeup]")).to_have_attribute("aria-pressed", "true")
    assert page.evaluate("document.querySelector('.view.truth canvas').width") == 24
    stage = {**make_snapshot()["stage"], "closeUp": False, "drawable": False}
    push(page, make_snapshot(stage=stage))
    expect(page.locator("[data-do=closeup]")).to_be_hidden()
    expect(page.locator(".draw")).to_be_hidden()


def test_beside_a_close_up_stands_the_whole_frame_with_a_box_round_what_is_close(begin):
    page = begin(make_snapshot(picture=make_picture(width=64, height=32)))
    whole = page.locator(".view.whole")
    assert whole.locator("canvas").evaluate("node => node.width") == 64
    box, frame = (whole.locator(part).bounding_box() for part in (".window", "canvas"))
    assert box["width"] == pytest.approx(24 / 64 * frame["width"], abs=1)
    assert box["height"] == pytest.approx(24 / 32 * frame["height"], abs=1)
    assert frame["x"] - 1 <= box["x"]
    page.click("[data-do=closeup]")
    expect(whole).to_be_hidden()
    assert page.evaluate("document.querySelector('.view.truth canvas').width") == 64


FIRST_PIXEL = """(canvas) => {
  const copy = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, 0, 0);
  return copy.getImageData(0, 0, 1, 1).data[0];
}"""


def test_a_haze_is_seen_once_it_is_brightened_and_every_picture_says_so(begin):
    frames = np.full((3 + 2 * 2, 4, 6), 3)  # of 255
    picture = make_picture() | {"sprites": sprites(frames)}
    page = begin(make_snapshot(picture=picture))
    canvases = [".row-frames.input canvas", ".view.truth canvas", ".view.prediction canvas"]
    seen = lambda: [page.locator(each).first.evaluate(FIRST_PIXEL) for each in canvases]  # noqa: E731
    marks = page.locator(".rows h3").filter(visible=True)
    mark = "node => getComputedStyle(node, '::after').content"
    assert seen() == [3, 3, 3]
    assert {each.evaluate(mark) for each in marks.all()} == {"none"}
    page.click("[data-do=brighten]")
    assert seen() == [30, 30, 30]
    assert {each.evaluate(mark) for each in marks.all()} == {'"×10"'}
    expect(page.locator(".brightened")).to_contain_text("ten times as bright as it is")
    page.click("[data-do=brighten]")
    assert seen() == [3, 3, 3]
    expect(page.locator(".brightened")).to_be_empty()


def test_the_model_on_show_is_named_and_its_settings_can_be_used(begin):
    model = SETTINGS | {"epochs": 1200, "speed": 4, "walls": "bounce", "peephole": True}
    page = begin(make_snapshot(shipped=True, state="finished", model=model))
    expect(page.locator(".model-shown")).to_have_text("Network on show: Epochs 1200.")
    expect(page.locator(".model-others")).to_have_text("Train would use Epochs 260 · 3 more.")
    page.click("[data-do=use-model]")
    expect(page.locator("[data-name=epochs] output")).to_have_text("1200")
    expect(page.locator(".model-others")).to_be_empty()
    expect(page.locator("[data-do=use-model]")).to_be_hidden()
    assert asked(page, "act") == []  # nothing trains
    page.locator("[data-name=speed] input").fill("5")
    expect(page.locator(".model-others")).to_have_text("Train would use Speed 5.")


def test_a_page_that_trains_asks_nobody_to_press_train(begin):
    curve = {"steps": 100, "train": "", "validation": "", "marks": []}
    page = begin(make_snapshot(curve=curve, state="waiting"))
    expect(page.locator("svg.curve .empty")).to_have_text("The error will fall here")
    push(page, make_snapshot(curve=curve, state="idle"))
    expect(page.locator("svg.curve .empty")).to_contain_text("Press Train")


def test_marks_of_several_changes_do_not_print_over_each_other(begin):
    marks = [[step, name, 1, 3] for step in (40, 41) for name in ("speed", "learning_rate")]
    page = begin(make_snapshot(curve=make_snapshot()["curve"] | {"marks": marks}, resumed=[50, 51]))
    labels = page.locator("svg.curve .mark-text")
    expect(labels).to_have_count(6)
    box = "(n) => { const { x, y, width, height } = n.getBBox(); return { x, y, width, height }; }"
    boxes = [label.evaluate(box) for label in labels.all()]
    for n, one in enumerate(boxes):
        for other in boxes[:n]:
            apart = abs(one["y"] - other["y"]) >= 0.9 * one["height"]
            beside = (
                one["x"] + one["width"] <= other["x"] or other["x"] + other["width"] <= one["x"]
            )
            assert apart or beside, (one, other)


def test_a_map_has_a_colour_bar_and_times_and_a_chart_of_its_error(begin):
    picture = make_picture() | {"times": [f"{n} Jan 06:00" for n in range(1, 6)]}
    error = {"kind": "rmse", "unit": "hPa", "digits": 2, "axis": "linear"}
    look = {"colours": "map", "low": 960, "high": 1040, "unit": "hPa"}
    stage = {**make_snapshot()["stage"], **look, "error": error}
    page = begin(make_snapshot(stage=stage, picture=picture))
    expect(page.locator(".colour-bar")).to_contain_text("1040 hPa")
    expect(page.locator(".error-key")).to_contain_text("full colour from 20 hPa")
    expect(page.locator(".row-frames.input figcaption").first).to_have_text("1 Jan 06:00")
    expect(page.locator(".when")).to_have_text("4 Jan 06:00")
    expect(page.locator(".lead-title")).to_have_text("Error (RMSE) by lead time in hPa")
    expect(page.locator(".curve-subtitle")).to_have_text("RMSE in hPa, linear scale")


def test_the_curve_has_training_validation_baselines_and_marks(begin):
    curve = make_snapshot()["curve"] | {"marks": [[1, "speed", 1, 3]]}
    page = begin(make_snapshot(curve=curve))
    assert page.get_attribute("svg.curve path.train", "d").count("L") == 1
    expect(page.locator("svg.curve .mark-text")).to_have_text("Speed 1 → 3")
    expect(page.locator("svg.curve .baseline")).to_have_count(0)  # none of the validation set yet
    expect(page.locator(".legend li")).to_have_text(
        ["training", "validation", "repeat last frame", "black frame"]
    )
    expect(page.locator("svg.lead circle")).to_have_count(2)


def test_a_setting_is_shown_with_its_unit_described_and_announced_once_it_rests(begin):
    page = begin(make_snapshot())
    page.locator("[data-name=speed] input").fill("5")
    expect(page.locator("[data-name=speed] output")).to_have_text("5 px/frame")
    slider = page.locator("[data-name=speed] input")
    expect(slider).to_have_attribute("aria-valuetext", "5 px/frame")
    expect(slider).to_have_accessible_name("Speed")
    assert wait_asked(page, "act")["action"] == "change"
    assert asked(page, "act")[0]["settings"]["speed"] == 5
    expect(page.locator("[data-do=preset]")).to_have_value("")
    page.select_option("[data-do=preset]", "too-fast")
    expect(page.locator("[data-name=speed] output")).to_have_text("4 px/frame")
    expect(page.locator(".reach")).to_contain_text("2 px a frame")


def test_a_tap_on_a_sliders_name_does_not_move_it(begin):
    page = begin(make_snapshot())
    page.click("[data-name=speed] .name")
    assert page.input_value("[data-name=speed] input") == "2"
    assert page.locator("label:has(input[type=range])").count() == 0


def test_a_refused_setting_is_marked_and_found_where_it_hides(begin):
    refused = {"key": "refused", "name": "seed", "value": "-1", "rule": "flag", "details": {}}
    page = begin(make_snapshot(), describe={"notice": refused})
    expect(page.locator(".cost")).to_have_text("Seed is -1: must be true or false.")
    expect(page.locator("[data-name=seed]")).to_be_visible()  # its group was closed


def test_a_checked_box_looks_checked(begin):
    page = begin(make_snapshot())
    page.click("summary:has-text('Peephole')")
    box = page.locator("[data-name=peephole] input")
    looks = "b => [getComputedStyle(b).backgroundColor, getComputedStyle(b, '::after').content]"
    before = box.evaluate(looks)
    box.check()
    assert box.evaluate(looks) != before


def test_a_reset_is_asked_about_only_after_ten_seconds(begin):
    page = begin(make_snapshot(seconds=9))
    page.click("[data-do=reset]")
    assert wait_asked(page, "act")["action"] == "reset"
    push(page, make_snapshot(seconds=42))
    page.keyboard.press("Escape")
    page.locator("h1").click()
    page.keyboard.press("r")
    dialog = page.locator("dialog.reset")
    expect(dialog).to_contain_text("has learnt for 42 s")
    expect(page.locator("[data-do=keep]")).to_be_focused()
    page.keyboard.press("s")  # no key acts behind the question
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    page.click("[data-do=reset]")
    page.click("[data-do=keep]")
    expect(dialog).to_be_hidden()
    assert len(asked(page, "act")) == 1
    page.click("[data-do=reset]")
    page.click("[data-do=throw-away]")
    expect(dialog).to_be_hidden()
    assert wait_asked(page, "act", 2)["action"] == "reset"
    assert len(asked(page, "act")) == 2


def test_the_space_bar_throws_no_long_training_away_unasked(begin):
    page = begin(make_snapshot(seconds=42, state="paused"))
    page.locator("h1").click()
    page.keyboard.press("Space")
    assert wait_asked(page, "act")["action"] == "train"  # it goes on
    push(page, make_snapshot(seconds=42, state="finished"))
    expect(page.locator("[data-do=train] .word")).to_have_text("Train")
    page.keyboard.press("Space")
    expect(page.locator("dialog.reset")).to_contain_text("Training anew starts from fresh weights")
    page.click("[data-do=keep]")
    page.locator("h1").click()
    page.keyboard.press("Space")
    page.click("[data-do=throw-away]")
    assert wait_asked(page, "act", 2)["action"] == "train"
    page.click("[data-do=train]")  # said by name
    assert wait_asked(page, "act", 3)["action"] == "train"


def test_letters_can_be_switched_off_and_stay_so(begin):
    page = begin(make_snapshot())
    page.locator("h1").click()
    page.keyboard.press("s")
    assert wait_asked(page, "act")["action"] == "step"
    page.click("[data-tab=how]")
    page.locator("[data-do=letters]").uncheck()
    page.locator("h1").click()
    page.keyboard.press("s")
    page.keyboard.press("Space")
    assert wait_asked(page, "act", 2)["action"] == "pause"
    assert len(asked(page, "act")) == 2
    assert page.evaluate("localStorage.getItem('convlstm-playground-letters')") == "off"


def test_arrows_turn_the_sample_and_ask_no_more_than_that(begin):
    page = begin(make_snapshot())
    page.locator("h1").click()
    page.keyboard.press("ArrowLeft")
    assert wait_asked(page, "look") == {"run": "run-dots", "sample": 7, "speed": None}


def test_arrows_go_from_tab_to_tab(begin):
    page = begin(make_snapshot())
    page.focus("[data-tab=share]")
    page.keyboard.press("ArrowRight")
    assert page.is_visible("#cp-speed") and page.is_hidden("#cp-share")
    page.keyboard.press("ArrowRight")
    assert page.is_visible("#cp-compare") and page.is_hidden("#cp-speed")
    page.keyboard.press("ArrowRight")
    assert page.is_visible("#cp-how") and page.is_hidden("#cp-compare")
    page.keyboard.press("ArrowRight")  # round, as screen readers expect
    assert page.is_visible("#cp-share")
    page.keyboard.press("ArrowLeft")
    assert page.is_visible("#cp-how")
    assert asked(page, "look") == []


def test_a_drawing_is_sent_as_grey_values_and_an_empty_pad_asks_for_one(begin):
    page = begin(make_snapshot())
    page.click("[data-do=send-drawing]")
    expect(page.locator(".notice-text")).to_contain_text("draw a digit first")
    box = page.locator(".pad").bounding_box()
    page.mouse.move(box["x"] + 40, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + 120, box["y"] + 120, steps=4)
    page.mouse.up()
    page.click("[data-do=send-drawing]")
    sent = wait_asked(page, "draw")
    assert len(sent["drawing"]) == 56 * 56 and max(sent["drawing"]) == 255
    assert sent["angle"] == 30
    expect(page.locator(".notice")).to_be_hidden()
    page.click("[data-do=clear-pad]")
    page.click("[data-do=send-drawing]")
    expect(page.locator(".notice")).to_be_visible()


def test_keys_draw_on_the_pad_and_do_nothing_else_there(begin):
    page = begin(make_snapshot())
    page.focus(".pad")
    page.keyboard.press("ArrowLeft")
    expect(page.locator(".pen-heard")).to_have_text("pen raised at 13, 14")
    expect(page.locator(".pen")).to_be_visible()
    page.keyboard.press("Space")
    for _ in range(20):
        page.keyboard.press("ArrowUp")  # up to the edge
    expect(page.locator(".pen-heard")).to_have_text("pen lowered at 13, 1")
    page.keyboard.press("Space")
    page.keyboard.press("ArrowRight")
    expect(page.locator(".pen-heard")).to_have_text("pen raised at 14, 1")
    assert {name for name, _ in page.evaluate("asked")} <= {
        "scenes",
        "lessons",
        "attach",
        "describe",
        "follow",
    }
    page.click("[data-do=send-drawing]")
    drawing = np.reshape(wait_asked(page, "draw")["drawing"], (56, 56))
    rows, columns = np.nonzero(drawing > 127)
    assert rows.min() == 0 and 26 <= rows.max() <= 30  # from the middle to the edge
    assert 22 <= columns.min() and columns.max() <= 28  # a stroke 4 to 5 px wide


def test_a_skip_button_leads_to_train_and_to_pause_while_it_trains(begin):
    page = begin(make_snapshot(state="paused"))
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    expect(page.locator(".skip")).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.locator("[data-do=train]")).to_be_focused()
    push(page, make_snapshot())
    page.focus(".skip")
    page.keyboard.press("Enter")
    expect(page.locator("[data-do=pause]")).to_be_focused()


def test_pictures_are_described_by_what_they_show(begin):
    picture = make_picture(width=24, height=16)
    frames = np.zeros((7, 16, 24))
    frames[:5, 4:9, 10:15] = 255  # seen and true: a square in its place
    frames[3, 4:9, 10:15] = 0
    frames[3, 1:4, 2:11] = 255  # and once something that is none
    frames[5, 5:8, 11:14], frames[5, 6, 12] = 60, 110  # predicted: faint, and all but dark
    frames[6, 0, 0] = 9
    picture["sprites"] = sprites(frames)
    page = begin(make_snapshot(picture=picture))

    def said(row: str, n: int) -> str:
        return page.get_attribute(f".row-frames.{row} canvas >> nth={n}", "aria-label")

    assert said("input", 0) == "Input, t − 2, seen, square at 12, 6"
    assert said("truth", 0) == "Truth, t + 1, bright patch at 6, 2"
    assert said("truth", 1) == "Truth, t + 2, square at 12, 6"
    predicted = "bright patch at 12, 6, blurred, brightest pixel 43 %, SSIM 0.900"
    assert said("prediction", 0) == f"Prediction, t + 1, {predicted}"
    assert said("prediction", 1) == ("Prediction, t + 2, all dark, brightest pixel 4 %, SSIM 0.900")
    assert said("error", 1) == ("Error, t + 2, largest error 100 %, too dark, at 10, 4, MSE 0.001")
    view = page.locator(".view.prediction canvas")
    expect(view).to_have_attribute("aria-label", f"Prediction, t + 1, {predicted}")
    expect(page.locator("svg.curve")).to_have_attribute(
        "aria-label", re.compile("over the run, training 0.050, validation 0.040$")
    )
    expect(page.locator("svg.lead")).to_have_attribute(
        "aria-label", re.compile("^SSIM by lead time, t \\+ 1 – t \\+ 2, Prediction 0.900")
    )
    frames[5] = 40  # a haze, which is at no place
    push(page, make_snapshot(picture={**picture, "sprites": sprites(frames)}))
    expect(view).to_have_attribute(
        "aria-label", "Prediction, t + 1, grey all over, brightest pixel 16 %, SSIM 0.900"
    )


def test_a_map_is_described_by_its_ends_and_leaves_out_what_is_missing(begin):
    picture = make_picture(width=6, height=4)
    frames = np.full((7, 4, 6), 51)
    frames[:, 0, 0], frames[:, 2, 3], frames[:, 3, 5] = 255, 102, 0
    frames[5:, 1, 1] = 204
    missing = np.zeros((4, 6), bool)
    missing[0, 0] = True
    picture["sprites"] = sprites(frames, missing)
    error = {"kind": "rmse", "unit": "hPa", "digits": 2, "axis": "linear"}
    look = {"colours": "map", "low": 970, "high": 1045, "unit": "hPa", "error": error}
    page = begin(make_snapshot(picture=picture, stage={**make_snapshot()["stage"], **look}))
    said = page.locator(".view.truth canvas")
    expect(said).to_have_attribute(
        "aria-label", "Truth, t + 1, lowest ≤ 970 hPa at 5, 3, highest 1000 hPa at 3, 2"
    )
    expect(page.locator(".view.error canvas")).to_have_attribute(
        "aria-label",
        "Error, t + 1, largest error 45 hPa, too high, at 1, 1, RMSE 0.00 hPa",
    )


def test_a_refused_value_is_said_in_the_page_s_own_words(begin):
    refused = {"key": "refused", "name": "walls", "value": "'bounce'", "rule": "choice"}
    notice = {**refused, "details": {"choices": "wrap, onecycle"}}
    page = begin(make_snapshot(), describe={"notice": notice})
    expect(page.locator(".cost")).to_have_text("Walls is bounce: must be one of wrap, one cycle.")
    expect(page.locator(".cost")).to_have_attribute("aria-live", "polite")
    expect(page.locator("[data-name=walls] input").first).to_have_attribute("aria-invalid", "true")


def test_a_file_that_takes_its_time_says_that_it_is_being_made(begin):
    page = begin(make_snapshot(), download={"url": "made/run.txt", "name": "a.txt"})
    button = page.locator("[data-download=onnx]")
    page.evaluate("() => { window.setTimeout = (say) => say(); }")
    said = button.evaluate(
        "button => { button.click(); return [button.textContent, button.disabled]; }"
    )
    assert said == ["Being made…", True]
    expect(button).to_have_text("ONNX (zip)")
    expect(button).to_be_enabled()


def test_a_file_is_fetched_from_its_address(begin):
    page = begin(make_snapshot(hasScript=True), download={"url": "made/run.txt", "name": "a.txt"})
    page.route("**/made/**", lambda route: route.fulfill(body="done", content_type="text/plain"))
    with page.expect_download() as download:
        page.click("[data-download=script]")
    assert download.value.suggested_filename == "a.txt"
    assert download.value.url == "http://modules.test/made/run.txt"
    assert asked(page, "download") == [{"run": "run-dots", "kind": "script"}]
    push(page, make_snapshot(hasScript=False))
    expect(page.locator("[data-download=script]")).to_be_hidden()


def test_an_opened_checkpoint_brings_its_settings(begin, tmp_path):
    file = tmp_path / "run.safetensors"
    file.write_bytes(b"x")
    settings = {"settings": {"speed": 7}, "notice": {"key": "opened"}}
    page = begin(make_snapshot(), open_checkpoint=settings)
    page.set_input_files("[data-do=upload]", file)
    expect(page.locator("[data-name=speed] output")).to_have_text("7 px/frame")
    expect(page.locator(".notice[data-kind=fact]")).to_contain_text("Checkpoint opened")
    assert asked(page, "open_checkpoint") == [{"run": "run-dots", "path": "/uploaded"}]


def test_notices_come_and_go(begin):
    reset = {"notice": {"key": "reset", "names": ["walls"]}}
    page = begin(make_snapshot(state="paused"), act=reset)
    page.click("[data-name=walls] label:has-text('bounce')")
    expect(page.locator(".notice-text")).to_contain_text("Changed: Walls")
    page.click("[data-do=dismiss]")
    expect(page.locator(".notice")).to_be_hidden()


def test_settings_that_a_run_cannot_take_on_are_undone_or_trained_with(begin):
    reset = {"notice": {"key": "reset", "names": ["walls"]}}
    page = begin(make_snapshot(), act=reset)
    page.click("[data-name=walls] label:has-text('bounce')")
    page.click("[data-do=undo-settings]")
    expect(page.locator(".notice")).to_be_hidden()
    expect(page.locator("[data-name=walls] input[value=wrap]")).to_be_checked()
    page.click("[data-name=walls] label:has-text('bounce')")
    page.click("[data-do=restart]")
    assert wait_asked(page, "act", 3)["action"] == "reset"  # which this server refuses
    expect(page.locator("[data-do=restart]")).to_be_visible()
    assert [each["action"] for each in asked(page, "act")] == ["change", "change", "reset"]


def test_a_restart_resets_and_trains_and_offers_the_way_back(begin):
    page = begin(make_snapshot(), act={"state": "idle", "kept": True, "settings": {"speed": 7}})
    page.evaluate("document.querySelector('.notice-offers').innerHTML = "
                  "'<button data-do=restart>x</button>'")  # fmt: skip
    page.evaluate("document.querySelector('[data-do=restart]').click()")
    wait_asked(page, "act", 2)
    expect(page.locator(".notice[data-kind=fact]")).to_contain_text("can be brought back")
    page.click("[data-do=undo-reset]")
    expect(page.locator("[data-name=speed] output")).to_have_text("7 px/frame")
    actions = [each["action"] for each in asked(page, "act")]
    assert actions == ["reset", "train", "undo"]


def test_the_space_bar_trains_in_the_projector_view_and_escape_leaves_it(begin):
    page = begin(make_snapshot(state="paused"))
    page.click("[data-do=projector]")
    expect(page.locator(".settings")).to_be_hidden()
    for action in ("train", "step", "stop"):
        expect(page.locator(f".transport [data-do={action}]")).to_be_in_viewport()
    page.keyboard.press("Space")
    assert wait_asked(page, "act")["action"] == "train"
    expect(page.locator(".settings")).to_be_hidden()
    push(page, make_snapshot(state="training"))
    expect(page.locator("[data-do=pause]")).to_be_visible()
    page.keyboard.press("Space")
    assert wait_asked(page, "act", 2)["action"] == "pause"
    page.keyboard.press("Escape")
    expect(page.locator(".settings")).to_be_visible()


def test_on_a_phone_the_settings_are_a_drawer_and_the_frames_share_a_screen_with_train(begin):
    page = begin()
    page.set_viewport_size({"width": 390, "height": 844})
    push(page, make_snapshot(state="paused", picture=make_picture(width=64, height=64)))
    for part in (".curve", ".view.truth", ".view.prediction", ".view.error", "[data-do=train]"):
        expect(page.locator(part)).to_be_in_viewport(ratio=1)
    bar = page.locator(".transport").bounding_box()["y"]
    box = page.locator(".player").bounding_box()
    assert box["y"] + box["height"] <= bar
    expect(page.locator(".settings")).to_be_hidden()
    page.click("[data-do=drawer]")
    expect(page.locator("[data-do=drawer]")).to_have_attribute("aria-expanded", "true")
    expect(page.locator("[data-name=speed] input")).to_be_in_viewport()
    expect(page.locator("[data-do=train]")).to_be_in_viewport(ratio=1)
    page.keyboard.press("Escape")
    expect(page.locator(".settings")).to_be_hidden()
    page.click("[data-do=drawer]")
    page.click("[data-do=train]")  # and its answer is seen
    expect(page.locator(".settings")).to_be_hidden()
    assert wait_asked(page, "act")["action"] == "train"
    page.click("[data-do=drawer]")
    page.set_viewport_size({"width": 1366, "height": 768})
    expect(page.locator("[data-do=drawer]")).to_be_hidden()
    assert not page.evaluate("document.querySelector('.work').inert")


def test_what_a_finger_presses_is_large_enough(begin):
    page = begin(make_snapshot())
    page.set_viewport_size({"width": 390, "height": 844})
    controls = "button, summary, select, [type=checkbox], [type=range], .options label, .button"
    size = f"""() => [...document.querySelectorAll('{controls}')].filter((n) => n.checkVisibility())
      .filter((n) => n.getBoundingClientRect().width < 24 || n.getBoundingClientRect().height < 24)
      .map((n) => n.outerHTML)"""
    assert page.evaluate(size) == []
    page.click("[data-do=drawer]")
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate(size) == []


def test_animate_answers_in_sight_on_a_phone(begin):
    page = begin(make_snapshot())
    page.set_viewport_size({"width": 390, "height": 500})
    page.locator(".extras").scroll_into_view_if_needed()
    page.evaluate("document.querySelector('[data-do=animate]').click()")
    expect(page.locator(".view.prediction")).to_be_in_viewport(ratio=1)


def test_a_lost_run_is_opened_anew_and_a_strangers_snapshot_is_ignored(begin):
    page = begin(make_snapshot())
    push(page, make_snapshot(run="run-of-another", epoch=99))
    expect(page.locator(".status-text")).to_contain_text("epoch 20")
    page.evaluate("push({ run: 'run-dots', notice: { key: 'lost' } })")
    assert wait_asked(page, "attach", 2)["run"] == "run-dots"


def test_a_gpu_is_asked_for_where_any_is_lent_and_once_more_after_each_chunk(use):
    code = """(() => {
      const asked = [], scene = { sought: 0, pressed: true };
      const see = (now, gpu, state = "training") => {
        const before = scene.snapshot;
        scene.snapshot = { run: "r", gpu, state };
        m.seekGpu(scene, before, now);
        return asked.splice(0).map(({ run, anew }) => [run, anew]);
      };
      return import("./server.js").then(({ useServer }) => {
        useServer({ trigger: (name, data) => asked.push(data) });
        return v.map((given) => see(...given));
      });
    })()"""
    seen = [
        ([5000, None], []),  # a server that lends none
        ([5000, "free", "paused"], []),
        ([5000, "free"], [["r", True]]),
        ([6000, "free"], []),  # it may not have heard of it yet
        ([8100, "free"], [["r", False]]),
        ([8200, "asked"], []),
        ([33000, "free"], [["r", False]]),
    ]
    given = [[now, gpu or "", *state] for (now, gpu, *state), _ in seen]
    assert use("gpu", f"await {code}", given) == [expected for _, expected in seen]


def test_a_refused_gpu_is_said_once_and_asked_for_when_train_is_pressed(begin):
    page = begin(make_snapshot(gpu="free"))
    assert wait_asked(page, "borrow") == {"run": "run-dots", "anew": False}
    push(page, make_snapshot(gpu="refused", step=21))
    expect(page.locator(".notice[data-kind=fact]")).to_contain_text("No GPU is to be had just now")
    page.click("[data-do=dismiss]")
    push(page, make_snapshot(gpu="refused", step=22))
    push(page, make_snapshot(gpu="refused", state="paused"))
    expect(page.locator(".notice")).to_be_hidden()
    page.wait_for_timeout(3100)  # which the page waits between two questions
    page.click("[data-do=train]")
    push(page, make_snapshot(gpu="refused", step=23))
    assert wait_asked(page, "borrow", 2) == {"run": "run-dots", "anew": True}


def test_the_language_turns_everything_at_once(begin):
    page = begin(make_snapshot())
    page.click("[data-do=language]")
    expect(page.locator("[data-do=pause]")).to_contain_text("暂停")
    expect(page.locator(".rows h3").first).to_have_text("输入")
    expect(page.locator("[data-tile=error] dt").first).to_have_text("重复最后一帧")
    assert page.get_attribute("#gradio", "lang") == "zh-CN"


def test_the_article_is_named_and_opens_beside_the_page(begin):
    page = begin(make_snapshot())
    page.click("[data-tab=how]")
    link = page.locator(".how a")
    expect(link).to_contain_text("Shi et al. 2015, Convolutional LSTM Network")
    expect(link).to_have_attribute("href", "https://arxiv.org/abs/1506.04214")
    expect(link).to_have_attribute("target", "_blank")
    expect(link).to_have_attribute("rel", "noopener")


def test_gradios_own_errors_stay_visible(begin):
    page = begin(make_snapshot())
    page.evaluate("document.body.append(Object.assign(document.createElement('p'), "
                  "{ className: 'toast-wrap', textContent: 'error' }))")  # fmt: skip
    expect(page.locator(".toast-wrap")).to_be_visible()


@pytest.mark.parametrize("size", [(1366, 768), (390, 844)])
def test_nothing_is_cut_off_at_the_side(begin, size):
    frames = make_picture(context=10, horizon=10, width=64, height=64)
    # No scene has both a close-up and a pad.
    stage = make_snapshot()["stage"] | {"closeUp": False}
    page = begin(make_snapshot(picture=frames, stage=stage))
    page.set_viewport_size({"width": size[0], "height": size[1]})
    rows = "document.querySelector('.rows')"
    page.wait_for_function(f"{rows}.scrollWidth <= {rows}.clientWidth")  # drawn anew by then
    page.wait_for_function("document.documentElement.scrollWidth <= innerWidth")
    if size[1] == 768:
        for part in (".transport", ".top", ".player", ".beside", ".draw"):
            box = page.locator(part).bounding_box()
            assert box["y"] + box["height"] <= 768, part
