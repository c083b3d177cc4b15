"""What the page and the API ask for: every answer, whatever is asked."""

import asyncio
import io
import itertools
import zipfile
from pathlib import Path

import pytest

from convlstm.files.checkpoint import save_checkpoint
from convlstm.files.reading import read_checkpoint
from convlstm.files.shipped import shipped_file
from convlstm.scenes.catalogue import CATALOGUE
from convlstm.server.opening import work_of
from convlstm.server.service import Service
from convlstm.settings import configure, settings_of
from convlstm.training.presets import default_config
from convlstm.training.trainer import Trainer
from tests.server.helpers import SCENES, TINY, is_finished, seen_until

RUBBISH = [None, [], {}, float("nan"), float("inf"), 1e308, "x" * 10_000, 10**400, True, [[{}]]]
DRAWING = [0] * 1500 + [255] * 100 + [0] * 1536


async def attached(service: Service, scene: str) -> str:
    reply = await service.attach(scene=scene)
    assert reply["notice"] is None
    return reply["run"]


async def taken_home(service: Service, run: str, path: Path) -> Path:
    """Download a run's checkpoint into a file."""
    _, content = await service.download(run, "checkpoint")
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("scene", SCENES)
def test_rubbish_in_any_request_is_answered_with_a_notice_and_starts_nothing(service, scene):
    async def ask_everything() -> None:
        run_id = await attached(service, scene)
        run = service.scheduler.get(run_id)
        before = run.state, run.trainer, run.trainer.step, run.sample
        for value in RUBBISH:
            said = repr(value)[:20]
            assert "notice" in await service.act(value, run_id, {}), said
            assert "notice" in await service.act("train", value, {}), said
            assert "notice" in await service.download(run_id, value), said
            assert "notice" in await service.download(value, "losses"), said
            assert "notice" in await service.look(value, 0), said
            assert "notice" in await service.draw(value, DRAWING, 0), said
            assert "notice" in await service.open_checkpoint(value, Path("x")), said
            if value != {}:
                for action in ("train", "step", "reset", "change"):
                    assert "notice" in await service.act(action, run_id, value), said
                assert "notice" in await service.describe(value, scene), said
            if value is True:  # a value that a flag takes
                continue
            assert "notice" in await service.look(run_id, value), said
            assert "notice" in await service.draw(run_id, value, value), said
            assert "notice" in await service.draw(run_id, DRAWING, value), said
            for name in settings_of(default_config(scene)):
                assert "notice" in await service.act("train", run_id, {name: value}), name
                assert "notice" in await service.describe({name: value}, scene), name
        assert (run.state, run.trainer, run.trainer.step, run.sample) == before

    asyncio.run(ask_everything())


@pytest.mark.parametrize("value", RUBBISH, ids=lambda value: repr(value)[:20])
def test_rubbish_for_a_run_and_a_link_opens_a_new_run(service, value):
    async def ask() -> None:
        run = await attached(service, "squares")
        reply = await service.attach(value, value)
        assert reply["run"] != run
        assert reply["scene"] == "squares"
        assert service.scheduler.get(reply["run"]).trainer.config.scene.name == "squares"

    asyncio.run(ask())


@pytest.mark.parametrize("value", [7, "circles", [], {}])
def test_a_scene_that_is_none_is_refused_and_the_first_opens(service, value):
    reply = asyncio.run(service.attach(None, None, value))
    assert reply["notice"]["name"] == "scene"
    assert reply["scene"] == "squares"
    assert asyncio.run(service.describe({}, value))["notice"]["name"] == "scene"


@pytest.mark.parametrize("scene", SCENES)
def test_a_run_is_found_again_by_its_id_and_an_unknown_id_is_said(service, scene):
    async def attach_twice() -> None:
        first = await service.attach(scene=scene)
        assert (first["notice"], first["scene"]) == (None, scene)
        assert first["settings"] == settings_of(default_config(scene))
        again = await service.attach(first["run"], None, scene)
        assert again == first
        other = await service.attach("gone", None, scene)
        assert other["run"] != first["run"] and other["notice"] == {"key": "restarted"}

    asyncio.run(attach_twice())


def test_a_link_s_unknown_names_are_said_and_its_settings_taken(service):
    query = {"hidden": "4", "hue": "red", "x" * 500: ""} | {f"no{n}": "" for n in range(9)}
    reply = asyncio.run(service.attach(None, query))
    assert reply["settings"]["hidden_channels"] == 4
    assert reply["notice"]["key"] == "unknown"
    said = reply["notice"]["text"]
    assert said.startswith("hue, xxx") and said.endswith("no2, ...") and len(said) < 120


def test_an_undo_comes_with_the_settings_of_what_is_back(service):
    async def press() -> None:
        run = await attached(service, "squares")
        assert (await service.act("undo", run))["notice"] == {"key": "nothing to undo"}
        await service.act("train", run, TINY["squares"])
        await seen_until(service, run, is_finished)
        assert (await service.act("reset", run, {}))["kept"]
        back = await service.act("undo", run)
        assert back["state"] == "finished"
        assert back["settings"].items() >= TINY["squares"].items()

    asyncio.run(press())


def test_a_run_of_another_scene_is_not_attached_to(service):
    async def attach() -> None:
        runs = {scene: await attached(service, scene) for scene in SCENES}
        for mine, other in itertools.permutations(SCENES, 2):
            reply = await service.attach(runs[mine], None, other)
            assert reply["run"] not in runs.values()
            assert (reply["scene"], reply["notice"]) == (other, None)

    asyncio.run(attach())


@pytest.mark.parametrize("scene", SCENES)
def test_a_link_opens_its_scene_with_its_settings(service, scene):
    reply = asyncio.run(service.attach(None, {"scene": scene, "hidden": "3", "seed": "5"}))
    assert (reply["scene"], reply["notice"]) == (scene, None)
    assert (reply["settings"]["hidden_channels"], reply["settings"]["seed"]) == (3, 5)
    assert service.scheduler.get(reply["run"]).shipped


@pytest.mark.parametrize("scene", SCENES)
def test_settings_are_described_by_their_reach_cost_and_link(service, scene):
    reply = asyncio.run(service.describe({"seed": 3}, scene))
    assert set(reply) == {"reach", "speed", "seconds", "mib", "link"}
    config = configure({"seed": 3}, default_config(scene))
    moves = {"squares": 2.0, "digits": 3.6, "storm": None, "own": None}[scene]
    assert reply["speed"] == moves
    assert reply["reach"] == (None if moves is None else config.network.reach)
    assert reply["seconds"] > 0 and reply["mib"] > 0
    assert "seed=3" in reply["link"]


@pytest.mark.parametrize("scene", SCENES)
def test_a_run_is_watched_to_its_end_and_taken_home(service, scene):
    async def use() -> None:
        run = await attached(service, scene)
        await service.act("train", run, TINY[scene])
        last = await seen_until(service, run, is_finished)
        assert (last["step"], last["sequences"]) == (6, 12)
        name, losses = await service.download(run, "losses")
        assert (name, len(losses.decode().splitlines())) == ("losses.csv", 7)
        name, content = await service.download(run, "checkpoint")
        assert name == f"{scene}.safetensors"
        assert len(read_checkpoint(content).records) == 6
        script = await service.download(run, "script")
        if last["hasScript"]:
            name, content = script
            assert name.endswith(".py")
            compile(content, name, "exec")
        else:
            assert script["notice"]["rule"] == "not in a script"
        assert last["hasScript"] == (scene == "squares")

    asyncio.run(use())


def test_pictures_are_there_once_there_is_one(service):
    async def use() -> None:
        run = await attached(service, "storm")
        await seen_until(service, run, lambda s: s["picture"])
        name, content = await service.download(run, "pictures")
        assert name == "pictures.zip"
        names = zipfile.ZipFile(io.BytesIO(content)).namelist()
        assert {Path(each).suffix for each in names} == {".png", ".gif"}
        service.scheduler.get(run).picture = None
        assert await service.download(run, "pictures") == {"notice": {"key": "no picture"}}

    asyncio.run(use())


@pytest.mark.parametrize("scene", SCENES)
def test_a_file_goes_on_ends_or_is_too_much(service, tmp_path, scene):
    def write(done: int, **settings: object) -> Path:
        config = configure({**TINY[scene], **settings}, default_config(scene))
        trainer = Trainer(config)
        list(itertools.islice((record for record in trainer.pieces() if record), done))
        save_checkpoint(trainer, tmp_path / "run")
        return tmp_path / "run"

    async def use() -> None:
        run = await attached(service, scene)
        opened = await service.open_checkpoint(run, write(6))
        assert opened["notice"] == {"key": "opened"}
        shown = await seen_until(service, run, lambda s: s["picture"])
        assert (shown["state"], shown["step"]) == ("finished", 6)
        assert shown["scores"]["model"]["error"] > 0  # of its last evaluation
        opened = await service.open_checkpoint(run, write(4))
        assert opened["settings"]["epochs"] == 6
        assert service.scheduler.get(run).state == "paused"
        refused = await service.open_checkpoint(run, write(1, epochs=1_000_000))
        assert refused["notice"]["rule"] == "budget"
        assert service.scheduler.get(run).trainer.step == 4  # nothing was lost

    asyncio.run(use())


def test_what_only_shows_pictures_is_asked_for_no_more_work():
    for entry in CATALOGUE.values():
        checkpoint = read_checkpoint(shipped_file(entry.shipped))
        assert checkpoint.run is None or checkpoint.progress["ended"]
        work = work_of(checkpoint)
        assert (work.total_steps, work.batch_size) == (1, 1)


def test_a_slow_machine_opens_every_shipped_file_and_describes_every_preset(service):
    service.scheduler.slowdown = 10.0

    async def use() -> None:
        for scene, entry in CATALOGUE.items():
            run = await attached(service, scene)
            opened = await service.open_checkpoint(run, shipped_file(entry.shipped))
            assert opened["notice"] == {"key": "opened"}
            for name in list(entry.presets)[: entry.offered]:
                assert "notice" not in await service.describe(entry.presets[name], scene), name

    asyncio.run(use())


def test_a_run_by_the_clock_says_how_many_steps_it_will_have(service):
    async def use() -> None:
        run = await attached(service, "digits")
        settings = {**TINY["digits"], "max_minutes": 0.05, "epochs": 1}
        await service.act("train", run, settings)
        last = await seen_until(service, run, is_finished)
        assert last["step"] == last["steps"] == last["curve"]["steps"] > 1

    asyncio.run(use())


def test_a_drawn_digit_is_shown_until_a_sample_is_chosen(service):
    async def use() -> None:
        run = await attached(service, "digits")
        assert await service.draw(run, DRAWING, 45) == {}
        await seen_until(service, run, lambda s: s["picture"] and s["picture"]["sample"] is None)
        assert (await service.draw(run, DRAWING, "up"))["notice"]["name"] == "angle"
        assert (await service.draw(run, None, 45))["notice"]["name"] == "drawing"
        assert (await service.draw("gone", DRAWING, 45))["notice"] == {"key": "lost"}
        assert (await service.look(run, 20))["notice"]["name"] == "sample"
        assert await service.look(run, 19) == {}
        await seen_until(service, run, lambda s: s["picture"]["sample"] == 19)
        for scene in ("squares", "storm"):
            other = await attached(service, scene)
            assert (await service.draw(other, DRAWING, 45))["notice"]["rule"] == "needs digits"

    asyncio.run(use())


def test_each_scene_opens_its_own_files(service, tmp_path):
    async def use() -> None:
        runs = {name: await attached(service, name) for name in SCENES}
        files = {n: await taken_home(service, run, tmp_path / n) for n, run in runs.items()}
        for mine, other in itertools.permutations(SCENES, 2):
            trainer = service.scheduler.get(runs[mine]).trainer
            swapped = await service.open_checkpoint(runs[mine], files[other])
            assert swapped["notice"] == {"key": f"file of {other}"}
            assert service.scheduler.get(runs[mine]).trainer is trainer
        for scene, run in runs.items():
            opened = await service.open_checkpoint(run, shipped_file(CATALOGUE[scene].shipped))
            assert opened["notice"] == {"key": "opened"}
            reloaded = await service.attach(run, scene=scene)
            assert reloaded["settings"] == opened["settings"]
            again = await service.open_checkpoint(run, files[scene])
            assert again["notice"] == {"key": "opened"}  # what was taken home untouched
        assert service.scheduler.get(runs["digits"]).shipped  # a network: Train begins anew

    asyncio.run(use())


def test_what_is_no_checkpoint_is_refused_and_changes_nothing(service, tmp_path):
    async def use() -> None:
        run = await attached(service, "squares")
        trainer = service.scheduler.get(run).trainer
        (tmp_path / "rubbish").write_bytes(b"rubbish")
        for name in ("rubbish", "missing"):
            reply = await service.open_checkpoint(run, tmp_path / name)
            assert reply["notice"]["key"] == "checkpoint"
            assert reply["notice"]["text"]
        assert service.scheduler.get(run).trainer is trainer

    asyncio.run(use())


@pytest.mark.parametrize("scene", SCENES)
def test_a_run_brought_back_from_its_file_has_its_curve(service, tmp_path, scene):
    async def use() -> None:
        run = await attached(service, scene)
        await service.act("train", run, TINY[scene])
        before = await seen_until(service, run, is_finished)
        file = await taken_home(service, run, tmp_path / "run")
        other = await attached(service, scene)
        assert (await service.open_checkpoint(other, file))["notice"] == {"key": "opened"}
        after = await seen_until(service, other, is_finished)
        assert before["curve"]["train"] and before["curve"]["validation"]
        assert (after["curve"], after["scores"]) == (before["curve"], before["scores"])

    asyncio.run(use())


def test_the_storm_s_speed_cannot_be_changed_and_its_rate_can(service):
    async def use() -> None:
        run = await attached(service, "storm")
        settings = {**TINY["storm"], "epochs": 1000, "schedule": "constant"}
        await service.act("train", run, settings)
        for action in ("change", "train", "step", "reset"):
            reply = await service.act(action, run, {**settings, "speed": 3})
            assert (reply["notice"]["name"], reply["notice"]["rule"]) == ("speed", "unknown")
        reply = await service.act("change", run, {**settings, "learning_rate": 0.004})
        assert "notice" not in reply
        marked = await seen_until(service, run, lambda s: s["curve"]["marks"])
        (mark,) = marked["curve"]["marks"]
        assert mark[1:] == ["learning_rate", 0.003, 0.004]
        await service.act("stop", run)

    asyncio.run(use())


@pytest.mark.parametrize("limits", [{"kept_runs": 3}, {"kept_memory_mib": 10}])
def test_a_full_server_says_so(serve, limits):
    service = Service(serve(**limits))

    async def fill() -> dict:
        for _ in range(9):
            if (reply := await service.attach())["notice"]:
                break
        return reply

    assert asyncio.run(fill())["notice"]["key"] == "full"


@pytest.mark.parametrize("scene", SCENES)
def test_the_shipped_checkpoint_is_there(service, scene):
    run = asyncio.run(attached(service, scene))
    assert service.scheduler.get(run).shipped
