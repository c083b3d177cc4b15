"""The tab that compares runs, in front of a server that only answers."""

import numpy as np
from playwright.sync_api import Page, expect

from tests.web.conftest import SETTINGS, asked, make_snapshot, push, scores, sprites

OWN = {**SETTINGS, "hidden": 1}


def make_scores(error: float, ssim: float) -> dict:
    baselines = {"copy_last": scores(0.01, 0.5), "black": scores(0.004, 0.7)}
    return {"model": scores(error, ssim), "baselines": baselines, "skill": 0.5, "isBlack": False}


def make_pin(number: int, **changes: object) -> dict:
    return {
        "number": number,
        "shipped": False,
        "step": 40,
        "steps": 100,
        "seconds": 3,
        "curve": {"steps": 100, "train": "1 0.05;", "validation": "20 0.02;40 0.003;", "marks": []},
        "scores": make_scores(0.003, 0.8),
        "error": make_snapshot()["stage"]["error"],
        "settings": {**OWN, "walls": "bounce", "peephole": True},
        **changes,
    }


def rows(*numbers: int) -> dict:
    frames = np.full((2, 4, 6), 128)
    score = [{"error": 0.004, "ssim": 0.75}] * 2
    return {"rows": [{"number": n, "sprites": sprites(frames), "scores": score} for n in numbers]}


def compared(begin, *pins: dict, **changes: object) -> Page:
    replies = {
        "pins": {"pins": list(pins), "settings": OWN},
        "compare": rows(*(pin["number"] for pin in pins)),
    }
    count = {"version": len(pins), "count": len(pins)}
    page = begin(make_snapshot(pins=count, settings=OWN, **changes), **replies)
    page.click("[data-tab=compare]")
    return page


def test_nothing_is_compared_before_a_run_is_pinned(begin):
    page = compared(begin)
    expect(page.locator(".compare-found")).to_be_hidden()
    expect(page.locator("[data-download=comparison]")).to_be_hidden()
    expect(page.locator(".pin-hint")).to_contain_text("three runs can be kept")
    page.click("[data-do=pin]")
    page.wait_for_function("asked.some(([name]) => name === 'pin')")
    assert asked(page, "pin") == [{"run": "run-dots"}]
    assert asked(page, "pins") == asked(page, "compare") == []


def test_pinned_runs_stand_beside_this_one_with_what_differs_and_their_baselines(begin):
    page = compared(begin, make_pin(1), make_pin(3, scores=None, shipped=True))
    table = page.locator(".pin-table")
    expect(table.locator("tbody th")).to_have_text(["This run", "Run A", "Run C"])
    first = table.locator("tbody.pin-1")
    expect(first).to_contain_text("0.003")
    expect(first).to_contain_text("black frame 0.004")
    expect(first).to_contain_text("black frame 0.700")
    expect(first.locator(".chip")).to_have_text(["Walls bounce", "Peephole on"])
    expect(table.locator("tbody.pin-0 .chip")).to_have_text(["Walls wrap", "Peephole off"])
    expect(table.locator("tbody.pin-3")).to_contain_text("no score yet")
    expect(table.locator("tbody.pin-3")).to_contain_text("trained earlier")
    assert page.locator("svg.pin-curves path").count() == 3
    expect(page.locator(".pin-legend")).to_have_text("This runRun ARun C")
    expect(page.locator(".pin-rows h3")).to_have_text(["Truth", "This run", "Run A", "Run C"])
    expect(page.locator(".pin-rows canvas")).to_have_count(8)
    label = page.locator(".pin-rows canvas").nth(4).get_attribute("aria-label")
    assert label == "Run A, t + 1, SSIM 0.750"


def test_the_same_sequence_is_asked_for_once_however_often_snapshots_come(begin):
    page = compared(begin, make_pin(1))
    expect(page.locator(".pin-rows canvas")).to_have_count(6)
    pins = {"version": 1, "count": 1}
    for step in range(21, 27):
        push(page, make_snapshot(step=step, pins=pins, settings=OWN))
    assert len(asked(page, "compare")) == len(asked(page, "pins")) == 1
    page.click("[data-tab=how]")
    push(page, make_snapshot(step=30, pins={"version": 2, "count": 2}, settings=OWN))
    assert len(asked(page, "pins")) == 1  # nobody looks


def test_a_pinned_run_s_settings_are_used_and_it_is_unpinned(begin):
    page = compared(begin, make_pin(1))
    page.click("[data-do=use-pinned]")
    expect(page.locator("[data-name=walls] input[value=bounce]")).to_be_checked()
    page.wait_for_function("asked.some(([name]) => name === 'act')")  # a run under way takes them
    assert asked(page, "act")[-1]["settings"]["walls"] == "bounce"
    page.click("[data-do=unpin]")
    page.wait_for_function("asked.some(([name]) => name === 'unpin')")
    assert asked(page, "unpin") == [{"run": "run-dots", "number": 1}]
    push(page, make_snapshot())
    expect(page.locator(".compare-found")).to_be_hidden()


def test_three_are_as_many_as_can_be_pinned(begin):
    page = compared(begin, make_pin(1), make_pin(2), make_pin(3))
    expect(page.locator("[data-do=pin]")).to_be_disabled()
    expect(page.locator(".pin-hint")).to_contain_text("unpin one first")


def test_a_network_that_reads_something_else_has_a_sentence_instead_of_frames(begin):
    replies = {
        "pins": {"pins": [make_pin(1)], "settings": OWN},
        "compare": {"rows": [{"number": 1, "sprites": None, "scores": None}]},
    }
    page = begin(make_snapshot(pins={"version": 1, "count": 1}, settings=OWN), **replies)
    page.click("[data-tab=compare]")
    expect(page.locator(".pin-rows .hint")).to_contain_text("reads another variable")
