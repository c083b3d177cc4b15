"""The board's rows, made of what the page is told anyway."""

import json

import pytest

from convlstm.server.board import Board, summarize
from convlstm.server.classroom import Classroom

PRESETS = {
    "dots": {
        "quick": {"speed": 2, "kernel": 5, "epochs": 260},
        "fast": {"speed": 4, "kernel": 5, "epochs": 260},
    }
}


def snapshot(**changes: object) -> dict:
    return {
        "run": "unguessable",
        "scene": "dots",
        "settings": {"speed": 2, "kernel": 5, "epochs": 260, "seed": 3},
        "state": "training",
        "reason": "",
        "place": 0,
        "shipped": False,
        "step": 60,
        "steps": 260,
        "epoch": 60,
        "epochs": 260,
        "stage": {"error": {"kind": "mse", "unit": "", "digits": None, "axis": "log"}},
        "curve": {"validation": "20 0.03;40 0.002;60 0.004;", "train": "1 1;" * 500},
        "scores": {
            "model": {"error": 0.004},
            "baselines": {"copy_last": {"error": 0.01}, "black": {"error": 0.006}},
        },
        "picture": {"sprites": "x" * 50_000},
        **changes,
    }


def test_a_row_says_what_how_far_and_how_well_and_carries_no_id_and_no_picture():
    row = summarize(snapshot(), PRESETS["dots"])
    assert (row["preset"], row["settings"]) == ("quick", {})
    assert (row["state"], row["step"], row["steps"]) == ("training", 60, 260)
    assert (row["best"], row["baseline"]) == (0.002, ["black", 0.006])
    assert row["curve"] == "20 0.03;40 0.002;60 0.004;"
    text = json.dumps(row)
    assert "unguessable" not in text and len(text) < 600


def test_settings_of_one_s_own_are_said_by_what_is_other_than_in_the_first_preset():
    own = {"speed": 3, "kernel": 5, "epochs": 50, "seed": 3}
    row = summarize(snapshot(settings=own), PRESETS["dots"])
    assert (row["preset"], row["settings"]) == ("", {"speed": 3, "epochs": 50})
    many = {f"s{n}": n for n in range(20)}
    row = summarize(snapshot(settings=many), {"first": dict.fromkeys(many, -1)})
    assert len(row["settings"]) == 4
    assert summarize(snapshot(), {})["settings"] == {}


def test_a_run_that_was_never_trained_here_has_no_score_of_its_own():
    row = summarize(snapshot(shipped=True, state="finished"), PRESETS["dots"])
    assert (row["state"], row["best"], row["baseline"], row["curve"]) == ("shipped", None, None, "")


def test_before_the_first_evaluation_there_is_no_score():
    row = summarize(snapshot(curve={"validation": ""}, scores=None), PRESETS["dots"])
    assert (row["best"], row["baseline"], row["curve"]) == (None, None, "")


def test_a_long_curve_becomes_a_short_one_that_keeps_its_newest_point_and_its_best():
    points = "".join(f"{n} {1 / n:.4g};" for n in range(1, 5001)) + "5001 inf;5002 nan;"
    row = summarize(snapshot(curve={"validation": points}), PRESETS["dots"])
    assert row["best"] == pytest.approx(1 / 5000)
    assert row["curve"].count(";") <= 32 and "5000 " in row["curve"]
    json.dumps(row, allow_nan=False)


class Class:
    """A class of one, its board, and a clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.told: dict[str, dict] = {}
        self.asked = 0
        self.room = Classroom("secret", clock=lambda: self.now)
        self.board = Board(self.room, self.seen, clock=lambda: self.now)

    def seen(self, run: str) -> dict | None:
        self.asked += 1
        return self.told.get(run)

    def rows(self) -> list[dict]:
        return self.board.rows(PRESETS)


@pytest.fixture
def school() -> Class:
    school = Class()
    school.room.join(None, "Ada", "a")
    school.room.shown_to("a")
    return school


def test_many_who_look_cost_no_more_than_one(school):
    school.told["a"] = snapshot()
    for _ in range(100):
        assert len(school.rows()) == 1
    assert school.asked == 1
    school.now += 1.5
    school.rows()
    assert school.asked == 2


def test_a_row_comes_before_its_run_is_known_and_moves_with_it(school):
    assert school.rows() == [{"number": 1, "name": "Ada", "here": True}]
    school.told["a"] = snapshot()
    school.now += 1.5
    assert school.rows()[0]["step"] == 60
    school.told["a"] = snapshot(step=70)
    school.now += 1.5
    assert school.rows()[0]["step"] == 70


def test_whoever_has_left_stays_with_what_was_seen_last_though_the_run_is_gone(school):
    school.told["a"] = snapshot()
    school.rows()
    school.told.clear()
    school.now += 60
    (row,) = school.rows()
    assert (row["here"], row["state"], row["best"]) == (False, "training", 0.002)


def test_a_row_never_shows_another_run_of_the_student(school):
    school.told["a"] = snapshot()
    school.rows()
    student = school.room.students()[0]
    school.room.join(student.id, None, "b")
    school.now += 1.5
    assert "state" not in school.rows()[0]  # nothing is known of the other one yet


def test_what_was_known_of_those_who_are_forgotten_is_forgotten_too(school):
    school.told["a"] = snapshot()
    school.rows()
    school.now += 3600
    assert school.rows() == []
    assert school.board._known == {}
