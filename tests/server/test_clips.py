"""A clip that somebody brings: in their run, and nowhere else."""

import asyncio
import json

import numpy as np
import pytest

from convlstm.server.keeping import content_of, note_of
from convlstm.server.opening import restored
from convlstm.server.service import Service
from tests.server.helpers import TINY, is_finished, seen_until


def clip(path, count: int = 40, start: int = 0):
    """A bar that moves to the right, in grey."""
    frames = np.zeros((count, 48, 48), np.uint8)
    for t in range(count):
        frames[t, :, (start + 2 * t) % 40 : (start + 2 * t) % 40 + 8] = 230
    np.save(path, frames)
    return path


async def open_run(service: Service) -> str:
    return (await service.attach(scene="own"))["run"]


def test_a_clip_is_opened_trained_and_goes_on_after_its_end(service, tmp_path):
    async def use() -> None:
        run = await open_run(service)
        reply = await service.open_clip(run, clip(tmp_path / "a.npy"), TINY["own"])
        assert reply["notice"] == {"key": "clip opened", "frames": 40, "judged": 8}
        assert reply["settings"]["hidden_channels"] == 4
        shown = await seen_until(service, run, lambda s: s["picture"] and s["state"] == "idle")
        assert not shown["shipped"]
        await service.act("train", run, reply["settings"])
        last = await seen_until(service, run, is_finished)
        assert last["scores"]["model"]["error"] > 0
        assert await service.look(run, "beyond") == {}
        beyond = await seen_until(service, run, lambda s: s["picture"]["beyond"])
        json.dumps(beyond, allow_nan=False)
        inside = await service.look_inside(run, {"moment": 50})
        assert inside["moment"] == 50 and inside["maps"]
        off = [{"part": "f", "how": "off"}]
        refused = await service.look_inside(run, {"experiment": off})
        assert refused["notice"]["rule"] == "needs truth"
        await service.look(run, 2)
        await seen_until(service, run, lambda s: s["picture"]["sample"] == 2)
        assert (await service.compare(run))["rows"] == []

    asyncio.run(use())


def test_settings_for_which_a_clip_is_too_short_give_way(service, tmp_path):
    async def use() -> dict:
        asked = {**TINY["own"], "horizon": 15}
        return await service.open_clip(await open_run(service), clip(tmp_path / "a.npy", 25), asked)

    reply = asyncio.run(use())
    assert reply["notice"] == {"key": "clip fitted", "frames": 25, "judged": 5}
    assert reply["settings"]["horizon"] <= 5


def test_training_again_and_a_reset_keep_the_clip(service, tmp_path):
    async def use() -> None:
        run_id = await open_run(service)
        settings = (await service.open_clip(run_id, clip(tmp_path / "a.npy"), TINY["own"]))[
            "settings"
        ]
        run = service.scheduler.get(run_id)
        brought = run.config.scene.recording
        await service.act("train", run_id, settings)
        await seen_until(service, run_id, is_finished)
        for action in ("reset", "train"):
            await service.act(action, run_id, {**settings, "canvas": 48})
            assert run.config.scene.recording == brought
        await seen_until(service, run_id, is_finished)
        await service.act("reset", run_id, settings)
        await service.act("undo", run_id)
        assert run.config.scene.canvas == 48 and run.config.scene.recording == brought

    asyncio.run(use())


def test_a_run_that_has_learnt_nothing_yet_is_kept_with_its_clip(service, tmp_path):
    async def use() -> None:
        run_id = await open_run(service)
        await service.open_clip(run_id, clip(tmp_path / "a.npy"), TINY["own"])
        run = service.scheduler.get(run_id)
        again = restored(note_of(run), content_of(run), service.scheduler.device)
        assert again.config == run.config and again.state == run.state == "idle"

    asyncio.run(use())


def test_a_clip_is_its_run_s_alone(service, tmp_path):
    async def use() -> None:
        mine, other = [await open_run(service) for _ in range(2)]
        await service.open_clip(mine, clip(tmp_path / "a.npy"), TINY["own"])
        told = await service.attach(other, scene="own")
        new = await service.attach(scene="own")
        runs = [service.scheduler.get(each["run"]) for each in (told, new)]
        brought = service.scheduler.get(mine).config.scene.recording
        assert all(run.config.scene.recording != brought for run in runs)
        assert (await service.download("another", "checkpoint"))["notice"]["key"] == "lost"

    asyncio.run(use())


@pytest.mark.parametrize("scene", ["squares", "digits", "storm"])
def test_other_scenes_take_no_clip(service, tmp_path, scene):
    async def use() -> dict:
        run = (await service.attach(scene=scene))["run"]
        refused = await service.look(run, "beyond")
        assert refused["notice"]["name"] == "sample"
        return await service.open_clip(run, clip(tmp_path / "a.npy"))

    assert asyncio.run(use())["notice"] == {"key": "no clip here"}


def test_what_is_no_clip_changes_nothing(service, tmp_path):
    (tmp_path / "text").write_text("no clip")

    async def use() -> None:
        run_id = await open_run(service)
        await service.open_clip(run_id, clip(tmp_path / "a.npy"), TINY["own"])
        run = service.scheduler.get(run_id)
        before = run.trainer
        refused = await service.open_clip(run_id, tmp_path / "text")
        assert refused["notice"]["rule"] == "clip kind" and run.trainer is before
        assert (await service.open_clip("another", tmp_path / "a.npy"))["notice"]["key"] == "lost"

    asyncio.run(use())
