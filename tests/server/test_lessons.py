"""Lessons on the server: what is asked, what is noted, and what counts as found."""

import asyncio
import json

import pytest

from convlstm.checks import SettingError
from convlstm.server.facts import Facts
from convlstm.server.lessons import LESSONS, followed_speeds, is_forgetting, lesson_of
from convlstm.server.links import locks_of
from convlstm.settings import settings_of

GUESSES = {
    "kernel": {"learns": "yes", "reach": "4"},
    "black": {"ssim": 0.1},
    "blur": {"sharper": "mse", "lower": "ssim"},
    "memory": {"out": "same"},
    "speeds": {"speeds": [1, 2]},
    "walls": {"place": [3, 28]},
}


def trained(key: str, **values: object) -> dict[str, object]:
    """A fact of a training in a lesson's settings; those of its unlocked ones may differ."""
    lesson = LESSONS[key]
    own = {name: settings_of(lesson.config)[name] for name in lesson.unlocked}
    settings = own | {name: values.pop(name) for name in own if name in values}
    return {"kind": "trained", "settings": settings, "speed": 4, **values}


def facts_of(key: str, *happened: dict[str, object], answers: object = None) -> Facts:
    facts = Facts(LESSONS[key])
    facts.answer(GUESSES[key])
    facts.facts = happened
    facts.answer({} if answers is None else answers)
    return facts


RIGHT = {
    "kernel": [trained("kernel", reach=1, skill=0.52), trained("kernel", reach=4, skill=0.86)],
    "black": [{"kind": "black", "ssim": 0.69}],
    "blur": [
        trained("blur", loss="mse", error=60.0, sharpness=0.6),
        trained("blur", loss="ssim", error=69.0, sharpness=0.7),
    ],
    "memory": [
        trained("memory", skill=0.9),
        {"kind": "inside", "forgets": True, "before": 0.001, "after": 0.02},
    ],
    "speeds": [{"kind": "speeds", "followed": [1, 2], "beaten": [1, 2, 3]}],
    "walls": [trained("walls", wall=0.03), trained("walls", walls="bounce", wall=0.006)],
}
SAID = {"blur": {"sharper": "ssim", "lower": "mse"}, "speeds": {"speeds": [2, 1]}}
WRONG = {
    "kernel": [trained("kernel", reach=1, skill=0.52), trained("kernel", reach=3, skill=0.78)],
    "black": [{"kind": "black", "ssim": 0.71}],
    "blur": RIGHT["blur"][:1],
    "memory": [
        trained("memory", skill=0.9),
        {"kind": "inside", "forgets": False, "before": 0.001, "after": 0.02},
    ],
    "speeds": [{"kind": "speeds", "followed": [1, 2, 3], "beaten": [1, 2, 3]}],
    "walls": [trained("walls", wall=0.03), trained("walls", walls="bounce", wall=0.011)],
}


@pytest.mark.parametrize("key", LESSONS)
def test_what_was_measured_is_found_and_little_less_is_not(key):
    assert facts_of(key, *RIGHT[key], answers=SAID.get(key)).is_found
    assert not facts_of(key, *WRONG[key], answers=SAID.get(key)).is_found


@pytest.mark.parametrize("key", LESSONS)
def test_what_is_kept_comes_back_the_same(key):
    facts = facts_of(key, *RIGHT[key], answers=SAID.get(key))
    kept = json.loads(json.dumps(facts.kept()))
    assert Facts.of(kept).told() == json.loads(json.dumps(facts.told()))


def test_nothing_is_found_without_a_guess():
    facts = Facts(LESSONS["black"])
    facts.facts = tuple(RIGHT["black"])
    facts._judge()
    assert facts.done == ("bright",)
    assert not facts.is_found


def test_the_wrong_answers_leave_a_lesson_open_and_the_right_ones_close_it():
    facts = facts_of("blur", *RIGHT["blur"], answers={"sharper": "mse", "lower": "mse"})
    assert not facts.is_found
    facts.answer(SAID["blur"])
    assert facts.is_found


@pytest.mark.parametrize(
    ("key", "given"),
    [
        ("black", {"ssim": "much"}),
        ("black", {"ssim": 1.5}),
        ("black", {}),
        ("black", {"ssim": 0.5, "more": 1}),
        ("black", "0.5"),
        ("kernel", {"learns": "perhaps", "reach": "4"}),
        ("speeds", {"speeds": [9]}),
        ("speeds", {"speeds": 1}),
        ("walls", {"place": [1]}),
        ("walls", {"place": [1, 32]}),
        ("walls", {"place": None}),
    ],
)
def test_what_answers_no_question_is_refused_and_changes_nothing(key, given):
    facts = Facts(LESSONS[key])
    with pytest.raises(SettingError):
        facts.answer(given)
    assert facts.guess is None


def test_a_lesson_is_known_by_its_number_and_its_key():
    assert [lesson_of(str(n)).key for n in range(1, 7)] == list(LESSONS)
    assert lesson_of("walls") is LESSONS["walls"]
    for nothing in ("0", "7", "", None, 4):
        with pytest.raises(SettingError):
            lesson_of(nothing)


def test_locks_are_settings_by_either_name_and_what_is_none_is_named():
    assert locks_of("hidden, speed,hidden_channels,foo", "squares") == (
        ["hidden_channels", "speed"],
        ["foo"],
    )
    assert locks_of("", "squares") == ([], [])


def test_a_speed_is_followed_where_the_error_is_under_a_share_of_the_better_baselines():
    rows = {"model": (0.0, 1.0, 2.9, 3.1), "a": (0.0, 6.0, 6.0, 6.0), "b": (1.0, 9.0, 9.0, 9.0)}
    scores = {name: [{"error": [error]} for error in row] for name, row in rows.items()}
    assert followed_speeds({"speeds": [0, 1, 2, 3], "scores": scores}, 0.5) == [1, 2]
    assert followed_speeds({"speeds": [0, 1, 2, 3], "scores": scores}) == [1, 2, 3]


def test_to_forget_is_to_switch_off_every_forget_gate_throughout():
    off = {"part": "f", "cell": 0, "channel": None, "how": "off"}
    assert is_forgetting([off])
    for other in ({"part": "i"}, {"channel": 2}, {"how": "hold"}, {"start": 0}):
        assert not is_forgetting([off | other])
    assert not is_forgetting([off, {"transplant": 1, "moment": 0}])


def test_a_lesson_has_a_run_of_its_own_which_is_found_again(service):
    async def play() -> None:
        own = await service.attach()
        first = await service.attach(None, {"lock": "epochs,foo"}, None, "2")
        assert first["run"] != own["run"]
        assert first["locked"] == ["epochs"]
        assert first["notice"]["key"] == "unknown"
        assert (await service.attach(first["run"], None, None, "2"))["run"] == first["run"]
        assert (await service.attach(first["run"], None, None, "6"))["run"] != first["run"]
        assert (await service.attach(first["run"]))["run"] != first["run"]
        assert (await service.answer(own["run"], {}))["notice"]["key"] == "no lesson"
        assert (await service.attach(None, None, None, "9"))["notice"]["key"] == "refused"

    asyncio.run(play())


def test_the_black_frame_is_measured_as_a_run_is_reset(service):
    async def play() -> None:
        opened = await service.attach(None, None, None, "black")
        run = service.scheduler.get(opened["run"])
        await service.answer(run.id, {"ssim": 0.5})
        await service.act("reset", run.id, opened["settings"] | {"canvas": 16, "square_size": 3})
        while not run.facts.is_found:
            await asyncio.sleep(0.01)

    asyncio.run(asyncio.wait_for(play(), 60))
