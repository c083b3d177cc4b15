import asyncio
import base64
import io
import itertools
import re
import string
import zipfile
from pathlib import Path
from typing import get_args

import pytest
import torch

from convlstm import forecast_validation, training
from convlstm.budget import Limits
from convlstm.checks import RULES, SettingError
from convlstm.forecast_checkpoint import save_run
from convlstm.forecast_config import forecast_config
from convlstm.forecasting import ForecastTrainer
from convlstm.runs import Run, RunState
from convlstm.scheduler import Scheduler
from convlstm.settings import configure, settings_of
from convlstm.systems import SYSTEMS, open_file
from convlstm.train_config import TRAIN_NAMES
from convlstm.ui.controls import CONTROLS
from convlstm.ui.links import config_of_query, link_query
from convlstm.ui.service import SHIPPED, Service
from convlstm.ui.snapshot import Viewer
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
    for control in itertools.chain(*CONTROLS.values()):
        assert f"name {control.name}" in ENGLISH and f"help {control.name}" in ENGLISH
    assert {f"rule {rule}" for rule in RULES} <= set(ENGLISH)
    for system in SYSTEMS.values():
        assert {f"sentence {preset}" for preset in system.presets} <= set(ENGLISH)
    assert {f"state {state}" for state in get_args(RunState)} <= set(ENGLISH)


def test_every_text_that_the_page_asks_for_exists():
    web = SHIPPED["squares"].parents[1] / "convlstm" / "ui" / "web"
    asked = re.findall(r'data-(?:text|label|title)="([^"]+)"', (web / "page.html").read_text())
    for script in web.glob("*.js"):
        asked += re.findall(r'\btext\("([^"$]+)"', script.read_text())
    assert asked
    assert [key for key in asked if key not in ENGLISH] == []


@pytest.mark.parametrize("system", SYSTEMS.values(), ids=SYSTEMS)
def test_every_setting_has_a_control(system):
    assert sorted(settings_of(system.default)) == sorted(c.name for c in CONTROLS[system.name])


@pytest.mark.parametrize(
    ("name", "control"),
    [(name, control) for name, controls in CONTROLS.items() for control in controls],
    ids=lambda part: part if isinstance(part, str) else part.name,
)
def test_the_engine_accepts_every_end_and_choice_of_a_control(name, control):
    system = SYSTEMS[name]
    # What some values need beside them.
    needed = {
        ("squares", "residual"): {"num_layers": 2},
        ("squares", "output"): {"loss": "mse"},
        ("digits", "attention"): {"network": "multiscale"},
    }
    base = configure(needed.get((name, control.name), {}), system.default)
    if control.kind == "flag":
        values = (True, False)
    else:
        values = control.choices or (control.low, control.high)
    for value in values:
        config = configure({control.name: value}, base)
        assert settings_of(config)[control.name] == value
    if (name, control.kind) == ("squares", "slider") and control.low > 0:
        with pytest.raises(SettingError, match=control.name):
            configure({control.name: control.low / 2}, base)


@pytest.mark.parametrize(
    ("system", "preset"), [(s, p) for s in SYSTEMS.values() for p in s.presets.values()]
)
def test_a_link_brings_back_the_settings_it_was_made_of(system, preset):
    query = dict(pair.split("=") for pair in link_query(preset.config).split("&"))
    main = {"squares": {"speed", "hidden", "epochs"}, "digits": {"scene", "digits", "steps"}}
    assert main[system.name] <= set(query)
    assert config_of_query(query) == preset.config


def test_a_link_to_no_scene_is_refused():
    with pytest.raises(SettingError, match="scene is 'x': must be one of squares, digits"):
        config_of_query({"scene": "x"})


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
        for name in TRAIN_NAMES:
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


TINY_DIGITS = {
    "canvas": 32, "hidden_channels": 4, "num_layers": 1, "batch_size": 2, "steps": 6,
    "evaluate_every": 3,
}  # fmt: skip


async def seen_until(service: Service, run: str, wanted) -> dict:
    async for snapshot in service.watch(run):
        if wanted(snapshot):
            return snapshot


def test_a_run_of_digits_is_watched_to_its_end_and_taken_home(service):
    async def use() -> None:
        reply = await service.attach(None, {"scene": "digits", "digits": "1"})
        assert (reply["scene"], reply["settings"]["num_digits"]) == ("digits", 1)
        run = reply["run"]
        first = await seen_until(service, run, lambda s: s["picture"])
        assert first["shipped"] and first["sequences"] > 40_000
        assert first["picture"]["context"] == first["picture"]["lookAhead"] == 10
        await service.act("train", run, {**reply["settings"], **TINY_DIGITS})
        last = await seen_until(service, run, lambda s: s["state"] == "finished")
        assert last["curve"]["train"].count(";") == 6
        assert [pair.split()[0] for pair in last["curve"]["heldOut"].split(";")[:-1]] == ["3", "6"]
        assert set(last["scores"]) == {"model", "black", "copyLast"}
        assert (last["step"], last["sequences"]) == (6, 12)
        losses = base64.b64decode((await service.download(run, "losses"))["content"]).decode()
        assert len(losses.splitlines()) == 7
        pictures = base64.b64decode((await service.download(run, "pictures"))["content"])
        names = zipfile.ZipFile(io.BytesIO(pictures)).namelist()
        assert names == ["forecast.png", "ssim_by_lead_time.png", "truth_and_prediction.gif"]
        assert "notice" in await service.download(run, "script")

    asyncio.run(use())


def test_a_file_of_digits_goes_on_ends_or_is_too_much(service, tmp_path):
    def write(steps: int, done: int) -> Path:
        config = forecast_config({**TINY_DIGITS, "steps": steps})
        trainer = ForecastTrainer(config)
        list(itertools.islice(trainer.records(), done))
        save_run(trainer, tmp_path / "run")
        return tmp_path / "run"

    async def use() -> None:
        run = (await service.attach(scene="digits"))["run"]
        await service.open_checkpoint(run, write(6, 6))
        shown = await seen_until(service, run, lambda s: s["picture"])
        assert (shown["state"], shown["step"]) == ("finished", 6)
        assert shown["scores"]["model"]["mse"] > 0  # of its last evaluation
        await service.open_checkpoint(run, write(6, 4))
        assert service._scheduler.get(run).state == "paused"
        refused = await service.open_checkpoint(run, write(1_000_000, 1))
        assert refused["notice"]["rule"] == "budget"
        assert service._scheduler.get(run).trainer.step == 4  # nothing was lost

    asyncio.run(use())


def test_a_run_by_the_clock_says_how_many_steps_it_will_have(service):
    async def use() -> None:
        reply = await service.attach(scene="digits")
        settings = {**reply["settings"], **TINY_DIGITS, "max_minutes": 0.05, "steps": 10}
        await service.act("train", reply["run"], settings)
        last = await seen_until(service, reply["run"], lambda s: s["state"] == "finished")
        assert last["step"] == last["steps"] == last["curve"]["steps"] > 10

    asyncio.run(use())


@pytest.mark.parametrize("value", RUBBISH, ids=lambda value: repr(value)[:20])
def test_rubbish_for_a_run_of_digits_is_a_notice_and_starts_nothing(service, value):
    async def use() -> None:
        run_id = (await service.attach(scene="digits"))["run"]
        run = service._scheduler.get(run_id)
        if value != {}:
            assert "notice" in await service.act("train", run_id, value)
            assert "notice" in service.describe(value, "digits")
        for name in settings_of(SYSTEMS["digits"].default):
            if value is not True:
                assert "notice" in service.describe({name: value}, "digits"), name
        if value is not True:
            assert "notice" in service.draw(run_id, value, value)
        assert (run.state, run.trainer.step) == ("idle", 0)

    asyncio.run(use())


def test_a_drawn_digit_is_shown_until_a_sample_is_chosen(service):
    drawing = [0] * 1500 + [255] * 100 + [0] * 1536

    async def use() -> None:
        run = (await service.attach(scene="digits"))["run"]
        assert service.draw(run, drawing, 45) == {}
        await seen_until(service, run, lambda s: s["picture"] and s["picture"]["sample"] is None)
        assert service.draw(run, drawing, "up")["notice"]["name"] == "angle"
        assert service.draw(run, None, 45)["notice"]["name"] == "drawing"
        assert service.draw("gone", drawing, 45)["notice"] == {"key": "lost"}
        assert service.look(run, 20, 1)["notice"]["name"] == "sample"
        assert service.look(run, 19, 1) == {}
        await seen_until(service, run, lambda s: s["picture"]["sample"] == 19)
        squares = (await service.attach())["run"]
        assert service.draw(squares, drawing, 45)["notice"]["rule"] == "needs digits"

    asyncio.run(use())


def test_each_scene_opens_its_own_files(service, tmp_path):
    async def use() -> None:
        runs = {name: (await service.attach(scene=name))["run"] for name in SYSTEMS}
        files = {}
        for name, run in runs.items():
            files[name] = tmp_path / name
            content = (await service.download(run, "checkpoint"))["content"]
            files[name].write_bytes(base64.b64decode(content))
        swapped = await service.open_checkpoint(runs["squares"], files["digits"])
        assert swapped["notice"] == {"key": "file of digits"}
        swapped = await service.open_checkpoint(runs["digits"], files["squares"])
        assert swapped["notice"] == {"key": "file of squares"}
        opened = await service.open_checkpoint(runs["digits"], SHIPPED["digits"])
        assert opened["notice"] == {"key": "opened"}
        assert service._scheduler.get(runs["digits"]).shipped  # a model alone: Train begins anew
        reloaded = await service.attach(runs["digits"], scene="digits")
        assert reloaded["settings"] == opened["settings"]
        again = await service.open_checkpoint(runs["digits"], files["digits"])
        assert again["notice"] == {"key": "opened"}  # what was taken home untouched

    asyncio.run(use())


@pytest.mark.parametrize("value", [None, 7, "circles", [], {}])
def test_a_scene_that_is_none_is_refused_and_the_squares_open(service, value):
    reply = asyncio.run(service.attach(None, None, value))
    assert reply["notice"]["name"] == "scene"
    assert reply["scene"] == "squares"
    assert service.describe({}, value)["notice"]["name"] == "scene"


def test_a_run_of_the_other_scene_is_not_attached_to(service):
    squares = asyncio.run(service.attach())["run"]
    reply = asyncio.run(service.attach(squares, None, "digits"))
    assert reply["run"] != squares
    assert reply["scene"] == "digits"


def test_a_run_brought_back_from_its_file_has_its_curve(service, tmp_path):
    async def use() -> None:
        run = (await service.attach(scene="digits"))["run"]
        await service.act("train", run, {**settings_of(SYSTEMS["digits"].default), **TINY_DIGITS})
        before = await seen_until(service, run, lambda s: s["state"] == "finished")
        file = tmp_path / "run"
        content = (await service.download(run, "checkpoint"))["content"]
        file.write_bytes(base64.b64decode(content))
        other = (await service.attach(scene="digits"))["run"]
        assert (await service.open_checkpoint(other, file))["notice"] == {"key": "opened"}
        after = await seen_until(service, other, lambda s: s["state"] == "finished")
        assert before["curve"]["train"] and before["curve"]["heldOut"]
        assert (after["curve"], after["scores"]) == (before["curve"], before["scores"])

    asyncio.run(use())


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_run_left_within_an_evaluation_gets_the_rest_of_its_curve(name, tmp_path, monkeypatch):
    monkeypatch.setattr(forecast_validation, "EVALUATED_AT_ONCE", 8)
    monkeypatch.setattr(training, "evaluation_chunk", lambda config: 8)
    small = {"squares": {"canvas": 16, "square_size": 4, "epochs": 6}, "digits": TINY_DIGITS}[name]
    system = SYSTEMS[name]
    config = configure({**small, "evaluate_every": 3}, system.default)
    trainer = system.make_trainer(config, torch.device("cpu"))
    pieces = trainer.pieces()
    while next(pieces) is not None or trainer.step < 3 or not trainer.evaluation_is_due:
        pass
    pieces.close()
    (tmp_path / "run").write_bytes(system.save(trainer))
    run = Run(open_file(tmp_path / "run").make_trainer(torch.device("cpu")))
    viewer = Viewer(run)
    assert run.steps_done == 2
    run.state = "training"
    while not run.is_over:
        run.advance(0.1)
    points = viewer.snapshot(1)["curve"]["heldOut"].split(";")[:-1]
    assert [point.split()[0] for point in points][-2:] == ["3", "6"]


def test_a_full_server_says_so(service):
    async def fill() -> dict:
        for _ in range(8):
            assert "run" in await service.attach()
        return await service.attach()

    assert asyncio.run(fill())["notice"]["key"] == "full"


def test_the_shipped_checkpoint_is_there(service):
    run = asyncio.run(service.attach())["run"]
    assert service._scheduler.get(run).shipped
