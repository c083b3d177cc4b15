"""The page of a class in front of a server that only answers: students, a teacher, a board."""

import pytest
from playwright.sync_api import Page, expect

from tests.web.conftest import SETTINGS, asked, make_picture, make_snapshot, push
from tests.web.test_page import wait_asked

JOINED = {"student": "s-1", "number": 7, "name": ""}
REFUSED = {
    "key": "refused",
    "name": "student",
    "value": "'<b>'",
    "rule": "name",
    "details": {"high": 24},
}


def of_teacher(**changes: object) -> dict:
    """What a student is sent instead of their own."""
    taught = {"scene": "clouds", "settings": {**SETTINGS, "epochs": 70}, "epoch": 33}
    return make_snapshot(teacher=True, **(taught | changes))


def make_row(number: int, **changes: object) -> dict:
    return {
        "number": number,
        "name": "",
        "here": True,
        "scene": "dots",
        "preset": "quick",
        "settings": {},
        "state": "training",
        "reason": "",
        "place": 0,
        "step": 30,
        "steps": 100,
        "epoch": 30,
        "epochs": 100,
        "error": {"kind": "mse", "unit": "", "digits": None, "axis": "log"},
        "best": 0.002,
        "baseline": ["black", 0.006],
        "curve": "10 0.01;30 0.002;",
        **changes,
    }


def board_of(*rows: dict, following: bool = False) -> dict:
    return {"rows": list(rows), "following": following, "address": "http://here:1"}


def taught(begin, *rows: dict, **more: object) -> Page:
    page = begin(
        make_snapshot(),
        query="?class=secret",
        in_class=True,
        teach={"following": False},
        board=board_of(*rows, **more),
    )
    page.click("[data-do=class]")
    return page


def test_without_a_class_there_is_nothing_of_one(begin):
    page = begin(make_snapshot(), query="?class=secret")
    assert page.locator(".own-name, .teacher, .board, .following").count() == 0
    assert asked(page, "join") == asked(page, "teach") == []
    assert asked(page, "attach")[0]["query"] is None  # and it is no setting


# A student.


def test_a_student_has_a_number_until_they_give_a_name_which_the_browser_keeps(begin):
    page = begin(make_snapshot(), in_class=True, join=JOINED)
    field = page.locator("[data-do=own-name]")
    expect(field).to_have_attribute("placeholder", "Student 7")
    expect(field).to_have_accessible_name("Your name")
    assert asked(page, "join")[0] == {"run": "run-dots", "student": None, "name": None}
    assert page.locator(".teacher").filter(visible=True).count() == 0
    field.fill("Ada")
    field.press("Tab")
    assert wait_asked(page, "join", 2) == {"run": "run-dots", "student": "s-1", "name": "Ada"}
    page.click("[data-scene=clouds]")
    assert wait_asked(page, "join", 3)["run"] == "run-clouds"


def test_a_refused_name_is_said_and_not_kept(begin):
    page = begin(make_snapshot(), in_class=True, join={"notice": REFUSED})
    expect(page.locator(".notice-text")).to_have_text(
        "Your name is '<b>': must be at most 24 letters that can be seen, without <, > or &."
    )
    assert page.evaluate("localStorage.getItem('convlstm-playground-name')") is None


def test_whoever_follows_sees_the_teacher_s_training_and_gives_no_orders(begin):
    page = begin(make_snapshot(), in_class=True, join=JOINED)
    page.click("summary:has-text('Peephole')")
    page.click("[data-tab=how]")
    before = len(asked(page, "describe"))
    push(page, of_teacher(picture=make_picture(context=2)))
    expect(page.locator(".following")).to_have_text(
        "You are looking at your teacher's training. Yours goes on behind it."
    )
    expect(page.locator(".status-text")).to_contain_text("epoch 33 of 100")
    expect(page.locator("[data-scene=clouds]")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("[data-name=epochs] output")).to_have_text("70")
    expect(page.locator("[data-name=speed]")).to_have_count(0)
    expect(page.locator(".row-frames.input canvas")).to_have_count(2)
    for part in ("scenes", "settings", "transport", "sampler", "extras"):
        assert page.evaluate(f"document.querySelector('.{part}').inert"), part
    page.locator(".status-text").click()
    for key in ("Space", "s", "r", "ArrowRight"):
        page.keyboard.press(key)
    push(page, of_teacher(state="paused", settings={**SETTINGS, "epochs": 80}))
    expect(page.locator("[data-name=epochs] output")).to_have_text("80")
    expect(page.locator(".status-text")).to_contain_text("paused · epoch")  # not what to press
    page.click("[data-do=language]")
    expect(page.locator(".following")).to_contain_text("老师")
    page.click("[data-do=language]")

    push(page, make_snapshot())
    expect(page.locator(".following")).to_be_hidden()
    expect(page.locator("[data-scene=dots]")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("[data-name=epochs] output")).to_have_text("260")
    expect(page.locator(".row-frames.input canvas")).to_have_count(3)
    assert asked(page, "act") == asked(page, "look") == []
    assert all(each["scene"] == "dots" for each in asked(page, "describe")[before:])
    assert {each["scene"] for each in asked(page, "attach")} == {"dots"}
    page.click("[data-do=step]")
    assert wait_asked(page, "act")["action"] == "step"


def test_the_own_panel_stays_open_where_the_teacher_is_in_the_same_scene(begin):
    page = begin(make_snapshot(), in_class=True, join=JOINED)
    page.click("summary:has-text('Peephole')")
    push(page, of_teacher(scene="dots"))
    expect(page.locator("[data-name=epochs] output")).to_have_text("70")
    push(page, make_snapshot())
    expect(page.locator("[data-name=epochs] output")).to_have_text("260")
    expect(page.locator("[data-name=peephole]")).to_be_visible()


def test_a_question_about_one_s_own_training_is_none_while_one_follows(begin):
    page = begin(make_snapshot(seconds=42), in_class=True, join=JOINED)
    page.click("[data-do=reset]")
    expect(page.locator("dialog.reset")).to_be_visible()
    push(page, of_teacher())
    expect(page.locator("dialog.reset")).to_be_hidden()


def test_a_dead_line_is_said_to_whoever_follows(begin):
    page = begin(make_snapshot(), in_class=True, join=JOINED)
    push(page, of_teacher())
    page.evaluate("import('./notices.js').then(async (m) => m.showNotice({ key: 'offline' }, "
                  "(await import('./scenes.js')).own))")  # fmt: skip
    expect(page.locator(".notice")).to_contain_text("does not answer")
    push(page, of_teacher(epoch=34))
    expect(page.locator(".notice")).to_be_hidden()


def test_a_wrong_address_of_a_teacher_opens_a_student_s_page_and_says_so(begin):
    not_the_teacher = {"notice": {"key": "not the teacher"}}
    page = begin(make_snapshot(), "?class=x", in_class=True, teach=not_the_teacher, join=JOINED)
    expect(page.locator(".notice-text")).to_contain_text("not the address of this class's teacher")
    expect(page.locator("[data-do=own-name]")).to_be_visible()
    assert page.locator(".teacher").filter(visible=True).count() == 0


# The teacher.


def test_the_teacher_s_page_says_which_run_it_shows_and_turns_follow_me(begin):
    page = begin(
        make_snapshot(),
        query="?class=secret",
        in_class=True,
        teach={"following": True},
        join=JOINED,
    )
    assert wait_asked(page, "teach", 2)["token"] == "secret"
    page.wait_for_function(
        "asked.some(([name, { run }]) => name === 'teach' && run === 'run-dots')"
    )
    button = page.locator("[data-do=follow-me]")
    expect(button).to_have_attribute("aria-pressed", "true")
    button.click()
    page.wait_for_function("asked.some(([name, { on }]) => name === 'teach' && on === false)")
    page.click("[data-scene=clouds]")
    page.wait_for_function("asked.some(([, { run }]) => run === 'run-clouds')")
    assert asked(page, "join") == []
    expect(page.locator("[data-do=own-name]")).to_be_hidden()


def test_the_board_has_a_row_for_each_student_in_words(begin):
    page = taught(
        begin,
        make_row(1, name="Bob"),
        make_row(2, state="shipped", best=None, baseline=None, curve=""),
        make_row(
            3, name="Ada", preset="", settings={"speed": 3, "peephole": True, "walls": "bounce"}
        ),
        make_row(4, here=False, best=0.0059),
        make_row(5, state="stopped", reason="unwatched"),
        {"number": 6, "name": "", "here": True},
        following=True,
    )
    rows = page.locator(".board tbody tr")
    expect(rows).to_have_count(6)
    text = [" | ".join(row.locator("th, td").all_inner_texts()) for row in rows.all()]
    name = page.evaluate("import('./words.js').then((m) => m.text('name speed'))")
    assert text == [
        f"Ada | scene dots · {name} 3 px/frame, Peephole ✓, Walls bounce | ▶ training | "
        "epoch 30 of 100 | MSE 0.002 ✓ · black frame 0.006 | ",
        "Bob | scene dots · Quick start | ▶ training | epoch 30 of 100 | "
        "MSE 0.002 ✓ · black frame 0.006 | ",
        "Student 2 | scene dots | has not trained yet |  | – | ",
        "Student 4 | scene dots · Quick start | left · training | epoch 30 of 100 | "
        "MSE 0.0059 · black frame 0.006 | ",
        "Student 5 | scene dots · Quick start | ■ stopped, nobody watched | epoch 30 of 100 | "
        "MSE 0.002 ✓ · black frame 0.006 | ",
        "Student 6 |  | getting ready |  | – | ",
    ]
    expect(page.locator(".board-counts")).to_have_text("5 here · 2 training · 0 done")
    expect(page.locator(".board-follow")).to_contain_text("“Follow me” is on")
    expect(page.locator(".columns")).to_be_hidden()
    assert page.locator(".board [role=row], .board tr").count() == 7


def test_the_board_says_what_to_do_where_nobody_is(begin):
    page = taught(begin)
    expect(page.locator(".board-empty")).to_have_text(
        "Nobody is here yet. A row appears as soon as a student opens the page."
    )
    expect(page.locator(".board-address")).to_have_text("Students open http://modules.test")


def test_rows_are_sorted_by_a_heading_that_says_so(begin):
    page = taught(
        begin,
        make_row(1, step=90),
        make_row(2, step=10, best=0.0001),
        make_row(3, step=50, best=None, baseline=None),
    )
    names = page.locator(".board tbody th")
    headings = {
        name: page.locator(f".board [data-sort={name}]") for name in ("student", "progress", "best")
    }
    expect(names).to_have_text(["Student 1", "Student 2", "Student 3"])
    expect(headings["student"]).to_have_attribute("aria-sort", "ascending")
    headings["progress"].get_by_role("button").press("Enter")
    expect(names).to_have_text(["Student 1", "Student 3", "Student 2"])
    expect(headings["progress"]).to_have_attribute("aria-sort", "descending")
    assert headings["student"].get_attribute("aria-sort") is None
    headings["best"].get_by_role("button").click()
    expect(names).to_have_text(["Student 2", "Student 1", "Student 3"])
    expect(headings["best"]).to_have_attribute("aria-sort", "ascending")


def test_no_key_acts_on_what_the_board_hides_and_a_scene_brings_it_back(begin):
    page = taught(begin, make_row(1))
    expect(page.locator(".board tbody tr")).to_have_count(1)
    page.locator(".board h2").click()
    for key in ("Space", "s", "r", "ArrowLeft"):
        page.keyboard.press(key)
    assert asked(page, "act") == asked(page, "look") == []
    page.click("[data-scene=clouds]")
    expect(page.locator(".board")).to_be_hidden()
    expect(page.locator(".columns")).to_be_visible()
    expect(page.locator("[data-do=class]")).to_have_attribute("aria-pressed", "false")


@pytest.mark.parametrize(("width", "height"), [(1366, 768), (1920, 1080)])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_thirty_rows_fit_the_screen(begin, width, height, language):
    rows = (make_row(n, name="W" * 24 if n % 2 else "") for n in range(1, 31))
    page = taught(begin, *rows, following=True)
    page.set_viewport_size({"width": width, "height": height})
    if language == "zh":
        page.click("[data-do=language]")
    last = page.locator(".board tbody tr").last.bounding_box()
    assert last["y"] + last["height"] <= height
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_on_a_phone_the_board_scrolls_and_the_page_does_not(begin):
    page = taught(begin, *(make_row(n) for n in range(1, 31)))
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    rows = page.locator(".board-rows")
    assert rows.evaluate("node => node.scrollWidth > node.clientWidth")
