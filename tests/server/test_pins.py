"""Runs that are pinned: kept as they were, whatever becomes of the run beside them."""

import asyncio
import csv
import io
import time

import numpy as np
import pytest

from convlstm.checks import SettingError
from convlstm.files.safe_files import CheckpointError
from convlstm.networks import copy_network
from convlstm.server import pins as pinning
from convlstm.server.limits import Limits
from convlstm.server.pins import MOST_PINS, packed, unpacked
from convlstm.server.run import Run
from convlstm.server.runs import ServerFull
from convlstm.server.scheduler import Scheduler
from convlstm.server.shelf import Shelf
from convlstm.settings import configure, settings_of
from tests.server.helpers import (
    DEADLINE,
    SMALL,
    WATCHED_SECONDS,
    is_over,
    opened,
    small,
    small_of,
    stepped,
    trained,
    unwatched,
    wait_until,
)
from tests.server.test_snapshot import sheet_of


def pinned(scheduler: Scheduler, run: Run) -> None:
    scheduler.pin(run).result(DEADLINE)


def row_of(run: Run, number: int = 1) -> dict:
    pin = next(pin for pin in run.pins.all if pin.number == number)
    return run.pins.row(pin, run.trainer, run.view, run.shown)


def test_a_pin_keeps_the_network_curve_and_scores_while_the_run_goes_on(serve):
    scheduler = serve()
    run = opened(scheduler)
    trained(scheduler, run, SMALL)
    wait_until(lambda: is_over(run))
    network = copy_network(run.trainer.judged)
    pinned(scheduler, run)
    (pin,) = run.pins.all
    told = pin.told
    assert (pin.number, told["step"], told["settings"]) == (1, 8, settings_of(SMALL))
    assert told["curve"]["validation"].count(";") == 3 and told["scores"]["skill"] is not None
    trained(scheduler, run, small(seed=3, hidden_channels=5))
    wait_until(lambda: is_over(run))
    assert run.pins.all == (pin,)
    row = row_of(run)
    context, truth, _ = run.view.clip(0).split(SMALL.context_frames)
    predicted = network.predict(context, truth.shape[1])
    frames = np.asarray(sheet_of(row).convert("L")).reshape(-1, 16, 16)
    expected = (255 * predicted[0, :, 0]).round().numpy()
    assert np.abs(frames - expected).max() <= 1
    mse = [((predicted - truth)[0, t] ** 2).mean().item() for t in range(truth.shape[1])]
    assert [each["error"] for each in row["scores"]] == pytest.approx(mse, rel=1e-4)


def test_a_row_is_computed_once_for_each_sequence(serve, monkeypatch):
    scheduler = serve()
    run = opened(scheduler)
    pinned(scheduler, run)
    made = []
    monkeypatch.setattr(pinning, "_row", lambda *given: made.append(given) or {"number": 1})
    for sample in (0, 0, 2, 2, 0):
        scheduler.look(run, sample)
        row_of(run)
    assert len(made) == 3
    scheduler.look(run, 0, 5)
    row_of(run)
    assert len(made) == 4


def test_as_many_are_pinned_as_may_be_and_numbers_are_taken_again(serve):
    scheduler = serve()
    run = opened(scheduler)
    for _ in range(MOST_PINS):
        pinned(scheduler, run)
    with pytest.raises(SettingError, match="^pins is 4: must be at most 3"):
        pinned(scheduler, run)
    version, pins_version = run.version, run.pins.version
    scheduler.unpin(run, 2).result(DEADLINE)
    assert run.version > version and run.pins.version > pins_version
    assert [pin.number for pin in run.pins.all] == [1, 3]
    pinned(scheduler, run)
    assert [pin.number for pin in run.pins.all] == [1, 2, 3]
    for wrong in (0, 4, "1", None, 1.5, True):
        with pytest.raises(SettingError, match="^number is"):
            scheduler.unpin(run, wrong).result(DEADLINE)


def test_pins_count_as_memory(serve, monkeypatch):
    scheduler = serve()
    run, other = opened(scheduler), opened(scheduler)
    before = run.kept_mib
    pinned(scheduler, run)
    size = len(run.pins.all[0].content) / 2**20
    assert run.kept_mib == pytest.approx(before + size)
    scheduler._runs.limits = Limits(kept_memory_mib=run.kept_mib + other.kept_mib + size / 2)
    with pytest.raises(ServerFull):
        pinned(scheduler, run)
    assert len(run.pins.all) == 1
    monkeypatch.setattr(pinning, "_MOST_BYTES", 1.5 * size * 2**20)
    with pytest.raises(SettingError, match="for all pinned networks"):
        pinned(scheduler, run)


@pytest.mark.parametrize("scene", ["digits", "storm"])
def test_any_scene_s_runs_are_pinned(serve, scene):
    scheduler = serve()
    run = opened(scheduler, small_of(scene))
    pinned(scheduler, run)
    row = row_of(run)
    ahead = run.view.horizon
    height, width = run.config.scene.size
    assert sheet_of(row).size == (width, ahead * height)
    assert len(row["scores"]) == ahead


def test_a_network_of_other_variables_has_no_row(serve):
    scheduler = serve()
    run = opened(scheduler, small_of("storm", variable="pressure"))
    pinned(scheduler, run)
    other = configure({"variable": "wind"}, run.config)
    scheduler.reset(run, settings_of(other)).result(DEADLINE)
    assert row_of(run) == {"number": 1, "sprites": None, "scores": None}


def test_pins_are_found_again_after_a_restart_and_after_they_were_put_away(tmp_path):
    limits = Limits()
    first = Scheduler(limits=limits, shelf=Shelf(tmp_path, 2**30))
    run = opened(first)
    stepped(first, run)
    wait_until(lambda: run.steps_done == 1 and not run.wants_work)
    pinned(first, run)
    stepped(first, run)
    wait_until(lambda: run.steps_done == 2 and not run.wants_work)
    pinned(first, run)
    first.unpin(run, 1).result(DEADLINE)
    kept = run.pins.all
    first.close()

    second = Scheduler(limits=limits, shelf=Shelf(tmp_path, 2**30))
    try:
        again = second.bring_back(run.id).result(DEADLINE)
        assert again.pins.all == kept and [pin.number for pin in kept] == [2]
        unwatched(again, WATCHED_SECONDS + 10)

        def put_away() -> bool:
            second._runs.keep(again, at_once=True)
            assert second._runs._shelf.settle(DEADLINE)
            return second._runs._put_away(again)

        assert second.call(put_away).result(DEADLINE)
        assert second.get(run.id) is None
        assert second.bring_back(run.id).result(DEADLINE).pins.all == kept
        second.call(lambda: second._runs._forget(run.id)).result(DEADLINE)
    finally:
        second.close()
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_of_pins_costs_the_pins_alone(tmp_path):
    first = Scheduler(shelf=Shelf(tmp_path, 2**30))
    run = opened(first)
    pinned(first, run)
    first.close()
    path = tmp_path / f"{run.id}.pins"
    path.write_bytes(path.read_bytes()[:-100])
    second = Scheduler(shelf=Shelf(tmp_path, 2**30))
    try:
        again = second.bring_back(run.id).result(DEADLINE)
        assert again.pins.all == ()
    finally:
        second.close()


def test_the_shelf_drops_the_oldest_run_with_its_pins(tmp_path):
    scheduler = Scheduler(shelf=Shelf(tmp_path, 2**30))
    run, other = opened(scheduler), opened(scheduler)
    pinned(scheduler, run)
    wait_until(lambda: (tmp_path / f"{run.id}.pins").exists())
    scheduler._runs._shelf._max_bytes = 100
    time.sleep(0.02)  # a file system's clock has its own steps
    pinned(scheduler, other)
    wait_until(lambda: not (tmp_path / f"{run.id}.pins").exists())
    wait_until(lambda: (tmp_path / f"{other.id}.pins").exists())
    scheduler.close()


def test_a_file_of_pins_that_is_none_is_refused():
    assert packed(()) == b""
    for data in (
        b"",
        b"x",
        b"[]x",
        b'[{"number": 1}]\n',
        b'[{"number":1,"told":{},"bytes":3}]\nabc',
    ):
        with pytest.raises(CheckpointError):
            unpacked(data)


def test_the_page_pins_compares_and_takes_a_file_home(service):
    async def ask() -> None:
        run = (await service.attach(scene="squares"))["run"]
        assert await service.compare(run) == {"rows": []}
        assert await service.pin(run) == {}
        (told,) = (await service.pins(run))["pins"]
        assert told["number"] == 1 and told["shipped"] and told["scores"]
        (row,) = (await service.compare(run))["rows"]
        assert sheet_of(row).size == (64, 640) and len(row["scores"]) == 10
        name, content = await service.download(run, "comparison")
        assert name == "runs.csv"
        rows = list(csv.DictReader(io.StringIO(content.decode())))
        assert {each["run"] for each in rows} == {"pinned 1", "this"}
        what = {each["what"] for each in rows if each["run"] == "pinned 1"}
        assert {"training", "validation", "setting speed", "ssim black", "skill model"} <= what
        values = [
            (each["what"], each["step"], each["value"]) for each in rows if each["run"] == "this"
        ]
        for each in rows:
            if each["run"] == "pinned 1" and not each["what"].startswith("setting"):
                assert (each["what"], each["step"], each["value"]) in values
        assert (await service.unpin(run, 7))["notice"]["name"] == "number"
        assert await service.unpin(run, 1) == {}
        settings = settings_of(service.scheduler.get(run).config)
        assert await service.pins(run) == {"pins": [], "settings": settings}
        for lost in (None, 3, "gone", []):
            for answer in (service.pin, service.pins, service.compare):
                assert await answer(lost) == {"notice": {"key": "lost"}}
            assert await service.unpin(lost, 1) == {"notice": {"key": "lost"}}

    asyncio.run(ask())
