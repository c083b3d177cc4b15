"""The speed test's tab, in front of a server that only answers."""

import pytest
from playwright.sync_api import Page, expect

from tests.web.conftest import asked, make_picture, make_snapshot, push


def leads(errors: list[float], ssim: list[float]) -> dict:
    return {"error": errors, "ssim": ssim}


def make_result(speeds: int = 9, **changes: object) -> dict:
    """A network that follows 1 and 2, and loses what is further ahead."""
    good = [speed in (1, 2) for speed in range(speeds)]
    return {
        "speeds": list(range(speeds)),
        "sequences": 8,
        "horizon": 2,
        "reach": 2,
        "trained": [1, 2],
        "scores": {
            "model": [
                leads([0.001, 0.02], [0.99, 0.95]) if g else leads([0.008, 0.009], [0.94, None])
                for g in good
            ],
            "copy_last": [
                leads([0.005 * min(speed, 2)] * 2, [1.0 if speed == 0 else 0.96] * 2)
                for speed in range(speeds)
            ],
            "black": [leads([0.006] * 2, [0.968] * 2)] * speeds,
        },
        **changes,
    }


def make_study(state: str = "done", **changes: object) -> dict:
    result = make_result() if state == "done" else None
    return {"kind": "speed", "state": state, "done": 1, "step": 20, "result": result, **changes}


def opened(begin, **changes: object) -> Page:
    page = begin(make_snapshot(**changes))
    page.click("[data-tab=speed]")
    return page


def wait_for_look(page: Page, sample: int, speed: int | None) -> None:
    """Wait until that sequence was the last to be asked for."""
    page.wait_for_function(
        "wanted => { const look = asked.filter(([name]) => name === 'look').at(-1)?.[1];"
        " return look && look.sample === wanted[0] && look.speed === wanted[1]; }",
        arg=[sample, speed],
    )


def test_a_test_is_asked_for_followed_and_stopped(begin):
    page = opened(begin)
    expect(page.locator("[data-do=stop-study]")).to_be_hidden()
    expect(page.locator(".speed-found")).to_be_hidden()
    page.click("[data-do=test-speeds]")
    page.wait_for_function("asked.some(([name]) => name === 'study')")
    assert asked(page, "study") == [{"run": "run-dots", "kind": "speed", "options": None}]
    push(page, make_snapshot(study=make_study("running", done=0.43)))
    expect(page.locator(".speed-share")).to_have_text("43 %")
    assert page.evaluate("document.querySelector('progress.speed-done').value") == 0.43
    expect(page.locator(".speed-heard")).to_have_text(
        "Testing the network as it is after 20 training steps."
    )
    expect(page.locator("[data-do=test-speeds]")).to_be_hidden()
    page.click("[data-do=stop-study]")
    page.wait_for_function("asked.some(([name]) => name === 'stop_study')")
    push(page, make_snapshot(study=make_study("stopped")))
    expect(page.locator(".speed-heard")).to_contain_text("stopped before its end")
    expect(page.locator("[data-do=test-speeds]")).to_have_text("Test again")
    push(page, make_snapshot(study=make_study("failed")))
    expect(page.locator(".speed-heard")).to_contain_text("broke off")


def test_what_was_found_is_said_drawn_and_tabled(begin):
    page = opened(begin, study=make_study(), step=30)
    expect(page.locator(".speed-heard")).to_contain_text("after 20 training steps. It has learnt")
    expect(page.locator("[name=cp-speed-lead][value=mean]")).to_be_checked()
    expect(page.locator(".speed-summary")).to_have_text(
        "At no speed better than both baselines. Trained at: 1–2."
    )
    page.locator("[name=cp-speed-lead][value='1']").check()
    expect(page.locator(".speed-summary")).to_contain_text("at speeds: 1, 2. Trained at: 1–2.")
    assert page.locator("svg.speeds circle").count() == 9
    assert page.locator("svg.speeds .baseline").count() == 2
    expect(page.locator("svg.speeds .reach-text")).to_have_text("reach 2 px a frame")
    line, shaded = (page.locator(f"svg.speeds .{name}") for name in ("reach-line", "trained"))
    left, width = (float(shaded.get_attribute(name)) for name in ("x", "width"))
    assert left < float(line.get_attribute("x1")) < left + width
    cells = page.locator(".heat td")
    assert cells.count() == 18
    assert cells.nth(2).inner_text() == "+0.022"  # 0.99 beside a black frame's 0.968
    assert cells.nth(0).inner_text() == "−0.060"  # what stands still is copied: 1
    assert cells.nth(1).inner_text() == "–"  # a number that is none
    assert page.locator(".heat tbody th").all_inner_texts() == [str(n) for n in range(9)]


def test_a_reach_beyond_all_speeds_is_said_at_the_edge(begin):
    study = make_study(result=make_result(reach=12, trained=[3.6, 3.6]))
    page = opened(begin, study=study)
    expect(page.locator("svg.speeds .reach-text")).to_have_text("reach 12 px a frame →")
    expect(page.locator("svg.speeds .reach-line")).to_have_count(0)
    expect(page.locator(".speed-summary")).to_contain_text("Trained at: 3.6.")


def test_a_point_a_button_or_a_field_shows_its_speed_on_the_stage(begin):
    page = opened(begin, study=make_study())
    page.click(".speed-buttons [data-speed='4']")
    page.click("svg.speeds .touch[data-speed='2']", force=True)
    page.click(".heat td[data-speed='7'][data-lead='2']")
    wait_for_look(page, 0, 7)
    expect(page.locator(".moment")).to_have_text("t + 2")
    picture = {**make_picture(), "speed": 7}
    push(page, make_snapshot(study=make_study(), picture=picture))
    expect(page.locator(".sample-name")).to_have_text("speed 7: 1 of 8")
    expect(page.locator(".speed-buttons [data-speed='7']")).to_have_attribute(
        "aria-pressed", "true"
    )
    page.click("[data-do=next]")
    wait_for_look(page, 1, 7)
    page.click("[data-do=leave-speed]")
    wait_for_look(page, 0, None)
    push(page, make_snapshot(study=make_study()))
    expect(page.locator("[data-do=leave-speed]")).to_be_hidden()


def test_a_keyboard_goes_over_the_fields_and_turns_nothing_else(begin):
    page = opened(begin, study=make_study())
    page.focus(".heat td[tabindex='0']")
    for key in ("ArrowDown", "ArrowDown", "ArrowRight", "ArrowRight", "ArrowUp"):
        page.keyboard.press(key)
    expect(page.locator(".heat-cell")).to_have_text(
        "Speed 1, t + 2: SSIM 0.950, black frame 0.968. Difference −0.018."
    )
    assert asked(page, "look") == []
    page.keyboard.press("Space")
    page.wait_for_function("asked.some(([name]) => name === 'look')")
    assert asked(page, "look")[-1]["speed"] == 1
    assert asked(page, "act") == []


def test_where_nothing_has_a_speed_the_tab_is_not_offered(begin):
    page = opened(begin, study=make_study())
    stage = {**make_snapshot()["stage"], "hasSpeeds": False}
    push(page, make_snapshot(stage=stage))
    expect(page.locator("[data-tab=speed]")).to_be_hidden()
    assert page.is_visible("#cp-share")


@pytest.mark.parametrize("kind", ["knock-out"])
def test_another_kind_of_study_is_none_of_this_tab_s(begin, kind):
    page = opened(begin, study=make_study("running", kind=kind))
    expect(page.locator("[data-do=test-speeds]")).to_have_text("Test this network")
    expect(page.locator(".speed-heard")).to_have_text("")


def test_chinese_has_words_for_all_of_it(begin):
    page = opened(begin, study=make_study())
    page.click("[data-do=language]")
    expect(page.locator("[data-tab=speed]")).to_have_text("速度测试")
    expect(page.locator(".speed-summary")).to_contain_text("训练时的速度：1–2。")
    assert "speed" not in page.inner_text("#cp-speed").lower()
