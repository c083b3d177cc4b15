"""A class: a teacher and two students, each in a browser of their own."""

import re
import time
from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import START_SECONDS, Server, free_port, running, shoot
from tests.browser.steps import (
    answered,
    epoch,
    long,
    looks,
    press,
    run_of,
    small,
    state,
    status,
    wait_for_another,
    wait_for_epoch,
    wait_for_state,
)

LOOKING = "You are looking at your teacher's training. Yours goes on behind it."


def address_of_teacher(server: Server) -> str:
    """Return the query of the address that the server has printed."""
    deadline = time.monotonic() + START_SECONDS
    while not (found := re.search(r"nobody else, opens \S+/(\?class=\S+)\n", server.output())):
        assert time.monotonic() < deadline, server.output()
        time.sleep(0.05)  # it answers before it prints, and a process's print is no event
    return found[1]


@pytest.fixture(scope="module")
def class_server() -> Iterator[Server]:
    with running("--class") as server:
        yield server


@pytest.fixture
def open_class(open_page, new_context, class_server) -> Callable[..., Page]:
    """Open a page of the class in a browser of its own."""
    return lambda query="", **more: open_page(query, new_context(**more), url=class_server.url)


@pytest.fixture
def teacher(open_class, class_server) -> Iterator[Page]:
    page = open_class(f"{address_of_teacher(class_server)}&{small('squares')[1:]}")
    yield page
    follow(page, False)


def follow(page: Page, on: bool) -> None:
    button = page.locator("[data-do=follow-me]")
    if button.get_attribute("aria-pressed") != str(on).lower():
        button.click()
    expect(button).to_have_attribute("aria-pressed", str(on).lower())


def name(page: Page, given: str) -> None:
    page.fill("[data-do=own-name]", given)
    with answered(page, "join"):
        page.keyboard.press("Tab")


def row(page: Page, student: str):
    return page.locator(".board tbody tr").filter(has=page.get_by_role("rowheader", name=student))


def test_the_board_shows_who_trains_what_and_how_far(open_class, teacher):
    ada, ben = open_class(long("squares")), open_class("?scene=storm")
    name(ada, "Ada")
    name(ben, "Ben")
    teacher.click("[data-do=class]")
    expect(row(teacher, "Ada")).to_contain_text("has not trained yet")
    expect(row(teacher, "Ben")).to_contain_text("The blizzard of 1996")
    press(ada, "train")
    wait_for_epoch(ada, 25)
    expect(row(teacher, "Ada")).to_contain_text(re.compile(r"Moving squares · Square speed 1 px"))
    expect(row(teacher, "Ada")).to_contain_text(re.compile(r"training.*epoch \d+ of 20000"))
    expect(row(teacher, "Ada")).to_contain_text(re.compile(r"MSE 0\.\d+.*(black|repeat)"))
    before = row(teacher, "Ada").inner_text()
    expect(row(teacher, "Ada")).not_to_have_text(before, use_inner_text=True)
    expect(row(teacher, "Ada").locator("svg path")).to_have_count(1)
    press(ada, "stop")
    expect(row(teacher, "Ada")).to_contain_text("stopped")
    shoot(teacher, "class-board")
    ben.context.close()
    expect(row(teacher, "Ben")).to_contain_text("left")


def test_students_follow_the_teacher_and_come_back_to_their_own(open_page, open_class, teacher):
    ada, ben = open_class(long("squares")), open_class(f"?scene=storm&{small('storm')[1:]}")
    for page in (teacher, ada):
        press(page, "train")
    wait_for_state(teacher, "finished")
    wait_for_epoch(ada, 5)
    own, bens = looks(ada, "prediction"), looks(ben, "prediction")
    follow(teacher, True)
    for page in (ada, ben):
        expect(page.locator(".following")).to_have_text(LOOKING)
        wait_for_state(page, "finished")
        expect(page.locator("[data-scene=squares]")).to_have_attribute("aria-pressed", "true")
        expect(page.locator("[data-name=epochs] output")).to_have_text("60")
        wait_for_another(page, "prediction", {ada: own, ben: bens}[page])
    shoot(ben, "class-following")
    taught = looks(teacher, "prediction")
    assert looks(ada, "prediction") == looks(ben, "prediction") == taught
    # Live: what the teacher chooses, all see.
    press(teacher, "next")
    expect(teacher.locator(".sample-name")).to_have_text("sample 2 of 8")
    for page in (ada, ben):
        expect(page.locator(".sample-name")).to_have_text("sample 2 of 8")
    # Nobody's buttons do anything, and nobody learns whose run it is.
    for page in (ada, ben):
        assert page.evaluate("document.querySelector('.transport').inert")
        page.locator(".status-text").click()
        for key in ("Space", "s", "r", "ArrowRight"):
            page.keyboard.press(key)
        kept = page.evaluate("JSON.stringify(localStorage)")
        assert run_of(teacher, "squares") not in kept
    assert state(ada) == state(ben) == "finished"

    # A reload in the middle of it finds the teacher again.
    open_page.reload(ada)
    expect(ada.locator(".following")).to_have_text(LOOKING)
    wait_for_state(ada, "finished")

    follow(teacher, False)
    expect(ada.locator(".following")).to_be_hidden()
    wait_for_state(ada, "training")  # it has gone on
    expect(ada.locator("[data-name=epochs] output")).to_have_text("20000")
    now = epoch(ada)
    wait_for_epoch(ada, now + 5)
    wait_for_state(ben, "shipped")
    expect(ben.locator("[data-scene=storm]")).to_have_attribute("aria-pressed", "true")
    wait_for_another(ben, "prediction", taught)
    assert looks(ben, "prediction") == bens
    press(ada, "stop")
    wait_for_state(ada, "stopped")


def test_students_go_with_the_teacher_from_scene_to_scene(open_class, teacher):
    ada = open_class()
    follow(teacher, True)
    expect(ada.locator(".following")).to_have_text(LOOKING)
    teacher.click("[data-scene=digits]")
    expect(ada.locator("[data-scene=digits]")).to_have_attribute("aria-pressed", "true")
    expect(ada.locator("[data-name=num_digits]")).to_be_visible()
    expect(ada.locator(".row-frames.input canvas")).to_have_count(10)
    assert "press Train" not in status(ada)
    follow(teacher, False)
    expect(ada.locator("[data-scene=squares]")).to_have_attribute("aria-pressed", "true")
    assert run_of(ada, "digits") is None  # no run was opened for it


def test_a_wrong_address_opens_a_student_s_page(open_class):
    page = open_class("?class=wrong")
    expect(page.locator(".notice")).to_contain_text("not the address of this class's teacher")
    expect(page.locator("[data-do=own-name]")).to_be_visible()
    assert page.locator(".teacher").filter(visible=True).count() == 0


def test_the_teacher_s_address_outlives_the_server_where_a_folder_keeps_it(tmp_path):
    found = set()
    for port in (free_port(), free_port()):
        with running("--class", "--keep", str(tmp_path), port=port) as server:
            found.add(address_of_teacher(server))
            assert f"Students open http://127.0.0.1:{port}\n" in server.output()
            _, _, output = server.stop()
            assert "Only this machine is let in" in output
    assert len(found) == 1


def test_without_a_class_the_page_knows_none(open_page):
    page = open_page("?class=anything")
    assert page.locator(".own-name, .teacher, .board, .following").count() == 0
    expect(page.locator(".notice")).to_be_hidden()
