import asyncio
import re
import string

import pytest

from convlstm.budget import Limits
from convlstm.checks import RULES, SettingError
from convlstm.presets import PRESETS
from convlstm.scheduler import Scheduler
from convlstm.training import SETTING_NAMES, TrainConfig, config_from, settings_of
from convlstm.ui.controls import CONTROLS
from convlstm.ui.links import config_of_query, link_query
from convlstm.ui.service import SHIPPED, Service
from convlstm.ui.texts import CHINESE, ENGLISH

TINY = {"canvas": 16, "square_size": 3, "hidden_channels": 2, "kernel_size": 3, "batch_size": 2}


@pytest.fixture
def service():
    scheduler = Scheduler(limits=Limits(kept_runs=8))
    yield Service(scheduler)
    scheduler.close()


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_both_languages_have_the_same_texts_with_the_same_places():
    assert set(CHINESE) == set(ENGLISH)
    for key, text in ENGLISH.items():
        assert places(CHINESE[key]) == places(text), key


def test_every_setting_rule_and_preset_has_its_texts():
    for control in CONTROLS:
        assert f"name {control.name}" in ENGLISH and f"help {control.name}" in ENGLISH
    assert {f"rule {rule}" for rule in RULES} <= set(ENGLISH)
    assert {f"sentence {preset}" for preset in PRESETS} <= set(ENGLISH)


def test_every_text_that_the_page_asks_for_exists():
    web = SHIPPED.parents[1] / "convlstm" / "ui" / "web"
    asked = re.findall(r'data-(?:text|label|title)="([^"]+)"', (web / "page.html").read_text())
    for script in web.glob("*.js"):
        asked += re.findall(r'\btext\("([^"$]+)"', script.read_text())
    assert asked
    assert [key for key in asked if key not in ENGLISH] == []


def test_every_setting_has_a_control():
    assert [control.name for control in CONTROLS if control.name not in SETTING_NAMES] == []
    assert set(SETTING_NAMES) == {control.name for control in CONTROLS}


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.name)
def test_the_engine_accepts_every_end_and_choice_of_a_control(control):
    base = TrainConfig()
    if control.name == "residual":
        base = config_from({"num_layers": 2})
    if control.name == "output":
        base = config_from({"loss": "mse"})
    if control.kind == "flag":
        values = (True, False)
    else:
        values = control.choices or (control.low, control.high)
    for value in values:
        assert settings_of(config_from({control.name: value}, base))[control.name] == value
    if control.kind in ("slider", "number") and control.low > 0:
        with pytest.raises(SettingError, match=control.name):
            config_from({control.name: control.low / 2}, base)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_link_brings_back_the_settings_it_was_made_of(preset):
    config = PRESETS[preset].config
    query = dict(pair.split("=") for pair in link_query(config).split("&"))
    assert {"speed", "hidden", "epochs"} <= set(query)
    assert config_of_query(query) == config


@pytest.mark.parametrize(
    "query",
    [{"speed": "fast"}, {"speed": "1e9"}, {"peephole": "yes"}, {"hue": "red"}, {"noise": "nan"}],
)
def test_a_link_with_a_bad_value_is_refused(query):
    with pytest.raises(SettingError):
        config_of_query(query)


RUBBISH = [None, [], {}, float("nan"), float("inf"), 1e308, "x" * 10_000, 10**400, True, [[{}]]]


@pytest.mark.parametrize("value", RUBBISH, ids=lambda value: repr(value)[:20])
def test_rubbish_in_any_request_is_answered_with_a_notice_and_starts_nothing(service, value):
    async def ask_everything():
        run_id = (await service.attach())["run"]
        run = service._scheduler.get(run_id)
        before = run.state, run.trainer.step
        assert "notice" in await service.act(value, run_id, {})
        assert "notice" in await service.act("train", value, {})
        assert "notice" in await service.download(run_id, value)
        assert "notice" in await service.download(value, "script")
        assert "notice" in service.look(value, 0, 1)
        assert "notice" in [reply async for reply in service.watch(value)][0]
        if value != {}:
            for action in ("train", "step", "reset", "change"):
                assert "notice" in await service.act(action, run_id, value)
            assert "notice" in service.describe(value)
        assert (await service.attach(value, value))["run"] != run_id
        for name in SETTING_NAMES:
            if value in (True,):
                continue
            assert "notice" in await service.act("train", run_id, {name: value}), name
            assert "notice" in service.describe({name: value}), name
        if value is not True:
            assert "notice" in service.look(run_id, value, 1)
            assert "notice" in service.look(run_id, 0, value)
        assert (run.state, run.trainer.step) == before

    asyncio.run(ask_everything())


def test_a_run_is_found_again_by_its_id_and_an_unknown_id_is_said(service):
    async def attach_twice():
        first = await service.attach()
        assert first["notice"] is None
        again = await service.attach(first["run"])
        assert again["run"] == first["run"] and again["notice"] is None
        other = await service.attach("gone")
        assert other["run"] != first["run"] and other["notice"] == {"key": "restarted"}

    asyncio.run(attach_twice())


def test_watching_streams_a_whole_run_to_its_end(service):
    async def watch() -> list[dict]:
        run = (await service.attach())["run"]
        await service.act("train", run, {**TINY, "epochs": 12, "evaluate_every": 4})
        seen = []
        async for snapshot in service.watch(run):
            seen.append(snapshot)
            if snapshot["state"] == "finished" and snapshot["picture"]:
                return seen

    last = asyncio.run(watch())[-1]
    assert last["step"] == 12
    assert last["curve"]["train"].count(";") == 12
    assert last["curve"]["heldOut"].split(";")[-2].startswith("12 ")
    assert set(last["scores"]) == {"model", "black", "copyLast", "skill", "isBlack"}
    assert last["picture"]["context"] == 9 and len(last["picture"]["scores"]) == 1


def test_a_full_server_says_so(service):
    async def fill() -> dict:
        for _ in range(8):
            assert "run" in await service.attach()
        return await service.attach()

    assert asyncio.run(fill())["notice"]["key"] == "full"


def test_the_shipped_checkpoint_is_there(service):
    run = asyncio.run(service.attach())["run"]
    assert service._scheduler.get(run).shipped
