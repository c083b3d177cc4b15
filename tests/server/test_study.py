"""Long questions about a run's network: answered beside all else, and never mixed with it."""

import asyncio
import itertools
import json
import threading

import pytest

from convlstm.checks import SettingError
from convlstm.networks import copy_network
from convlstm.pieces import finish, leave_if_unwanted
from convlstm.server import credit as crediting
from convlstm.server import study as studies
from convlstm.server import turns
from convlstm.server.run import Run
from convlstm.server.scheduler import Scheduler
from convlstm.server.shelf import Shelf
from convlstm.settings import settings_of
from convlstm.training.speed_test import SPEEDS, SpeedTestOptions, speed_test
from convlstm.training.trainer import Trainer
from tests.server.helpers import (
    DEADLINE,
    ENDLESS,
    SMALL,
    alone,
    facts,
    held,
    is_over,
    let_it_turn,
    opened,
    seen_until,
    small,
    small_of,
    stepped,
    trained,
    unwatched,
    wait_until,
)

FEW = {"sequences": 1}


@pytest.fixture
def kind(monkeypatch):
    """Make a function a kind of study."""

    def add(name: str, study) -> str:
        monkeypatch.setitem(studies.STUDIES, name, study)
        return name

    return add


def counting(trainer: Trainer, options: object):
    """A study that goes on until it is ended."""
    for _ in itertools.count():
        yield 0.5


def asked(scheduler, run: Run, name: str = "speed", options: object = None) -> None:
    scheduler.study(run, name, options).result(DEADLINE)


def told(run: Run) -> dict:
    return run.study.told()


def wait_for(run: Run, state: str) -> dict:
    wait_until(lambda: run.study and not run.is_studied)
    assert told(run)["state"] == state
    return told(run)


@pytest.mark.parametrize("scene", ["squares", "digits"])
def test_the_speed_test_answers_what_the_engine_does(serve, scene):
    scheduler = serve()
    run = opened(scheduler, small_of(scene))
    stepped(scheduler, run, small_of(scene))
    wait_until(lambda: run.steps_done == 1)
    asked(scheduler, run, options=FEW)
    answer = wait_for(run, "done")
    assert (answer["kind"], answer["done"], answer["step"]) == ("speed", 1, 1)
    network = copy_network(run.trainer.judged)
    expected = finish(speed_test(network, run.config, SpeedTestOptions(1)))
    result, measure = answer["result"], run.config.scene.measure
    assert result["speeds"] == list(SPEEDS)
    assert (result["sequences"], result["horizon"]) == (1, 10)
    assert (result["reach"], tuple(result["trained"])) == (expected.reach, expected.trained)
    assert list(result["scores"]) == ["model", *run.config.scene.baselines]
    for speed, scores in expected.scores.items():
        found = {name: rows[speed] for name, rows in result["scores"].items()}
        for name, leads in {"model": scores.model, **scores.baselines}.items():
            errors = [measure.of(each.mse) for each in leads]
            assert found[name]["error"] == pytest.approx(errors, rel=1e-3)
            assert found[name]["ssim"] == pytest.approx([each.ssim for each in leads], abs=1e-3)
    assert len(json.dumps(answer, allow_nan=False)) < 20_000


def test_it_asks_the_network_as_it_was_while_training_goes_on(serve, fine_turns):
    scheduler = serve()
    run = opened(scheduler, ENDLESS)
    stepped(scheduler, run, ENDLESS)
    wait_until(lambda: run.steps_done == 1 and not run.wants_work)
    before = copy_network(run.trainer.judged)
    with held(scheduler):
        scheduler.study(run, "speed", FEW)
        scheduler.train(run, settings_of(ENDLESS))
    answer = wait_for(run, "done")
    assert run.steps_done > answer["step"] == 1
    expected = finish(speed_test(before, run.config, SpeedTestOptions(1)))
    errors = [row["error"][0] for row in answer["result"]["scores"]["model"]]
    measured = [scores.model[0].mse for scores in expected.scores.values()]
    assert errors == pytest.approx(measured, rel=1e-3)


def test_runs_are_what_they_are_alone_while_they_and_others_are_studied(
    serve, fine_turns, monkeypatch
):
    monkeypatch.setattr(turns, "_SLICE_SECONDS", 0.01)
    configs = [small(seed=4, noise=0.1), small(loss="mse+ssim", num_layers=2)]
    scheduler = serve()
    every = [opened(scheduler, config) for config in configs]
    with held(scheduler):
        for run, config in zip(every, configs, strict=True):
            scheduler.study(run, "speed", FEW)
            scheduler.train(run, settings_of(config))
    for run, config in zip(every, configs, strict=True):
        wait_until(lambda run=run: is_over(run) and run.study and not run.is_studied)
        assert (run.state, told(run)["state"]) == ("finished", "done")
        assert facts(run.trainer.records) == alone(config)


def test_a_run_gives_its_study_half_of_its_time_and_all_of_it_when_it_rests(kind, monkeypatch):
    now, spent = [0.0], {"training": 0.0, "study": 0.0}
    monkeypatch.setattr(crediting.time, "perf_counter", lambda: now[0])

    def work(what: str, seconds: float) -> None:
        now[0] += seconds
        spent[what] += seconds

    def slow(trainer: Trainer, options: object):
        while True:
            work("study", 0.3)  # pieces longer than their share
            yield 0.5

    run = Run(Trainer(SMALL))
    monkeypatch.setattr(run, "advance", lambda seconds: work("training", 0.02))
    run.ask(kind("slow", slow), None)
    run.state = "training"
    for _ in range(1000):
        run.take_turn(0.1)
    assert spent["study"] == pytest.approx(50, rel=0.02)
    assert spent["training"] == pytest.approx(20)  # each piece is shorter than its share: 0.02 s
    run.state = "paused"
    before = spent["study"]
    for _ in range(1000):
        run.take_turn(0.1)
    assert spent["study"] - before == pytest.approx(100, rel=0.02)


def test_a_fault_of_a_study_is_no_fault_of_its_run(serve, kind):
    def broken(trainer: Trainer, options: object):
        yield 0.25
        raise RuntimeError("out of luck")

    scheduler = serve()
    run = opened(scheduler, ENDLESS)
    trained(scheduler, run, ENDLESS)
    asked(scheduler, run, kind("broken", broken))
    answer = wait_for(run, "failed")
    assert (answer["done"], answer["result"]) == (0.25, None)
    steps = run.steps_done
    wait_until(lambda: run.steps_done > steps)
    assert (run.state, run.reason) == ("training", "")
    asked(scheduler, run, options=FEW)  # and another may be asked
    wait_for(run, "done")


def test_a_study_is_stopped_in_mid_piece_and_its_run_trains_on(serve, kind):
    entered, leave, left = threading.Event(), threading.Event(), threading.Event()

    def long(trainer: Trainer, options: object):
        try:
            entered.set()
            assert leave.wait(DEADLINE)
            leave_if_unwanted()
            yield 1.0
        finally:
            left.set()

    scheduler = serve()
    run = opened(scheduler, ENDLESS)
    trained(scheduler, run, ENDLESS)
    asked(scheduler, run, kind("long", long))
    assert entered.wait(DEADLINE)
    done = scheduler.stop_study(run)
    assert told(run)["state"] == "stopped"  # at once
    leave.set()
    assert left.wait(DEADLINE)
    done.result(DEADLINE)
    assert (told(run)["state"], told(run)["done"], told(run)["result"]) == ("stopped", 0, None)
    steps = run.steps_done
    wait_until(lambda: run.steps_done > steps)
    scheduler.stop_study(run).result(DEADLINE)  # again: nothing happens
    assert run.state == "training"


@pytest.mark.parametrize("state", ["idle", "training", "paused"])
def test_stop_ends_a_study_too(serve, kind, state):
    scheduler = serve()
    run = opened(scheduler, ENDLESS)
    if state == "training":
        trained(scheduler, run, ENDLESS)
    elif state == "paused":
        stepped(scheduler, run, ENDLESS)
    asked(scheduler, run, kind("counting", counting))
    scheduler.stop(run).result(DEADLINE)
    assert told(run)["state"] == "stopped"
    assert run.state == ("idle" if state == "idle" else "stopped")
    assert not run.wants_work


@pytest.mark.parametrize("action", ["reset", "train"])
def test_a_study_of_a_network_that_is_gone_is_gone(serve, kind, action):
    scheduler = serve()
    run = opened(scheduler, shipped=True)
    asked(scheduler, run, kind("counting", counting))
    ended = run.study
    getattr(scheduler, action)(run, settings_of(ENDLESS)).result(DEADLINE)
    assert run.study is None
    assert ended.state == "stopped"


def test_only_the_newest_question_is_answered(serve, kind):
    scheduler = serve()
    run = opened(scheduler)
    asked(scheduler, run, kind("counting", counting))
    first = run.study
    asked(scheduler, run, options=FEW)
    assert first.state == "stopped"
    wait_for(run, "done")
    with pytest.raises(SettingError):
        asked(scheduler, run, options={"sequences": 0})
    assert told(run)["state"] == "done"  # what is refused takes no answer away


def test_an_answer_stays_while_its_run_trains_and_pauses(serve):
    scheduler = serve()
    run = opened(scheduler, ENDLESS)
    asked(scheduler, run, options=FEW)
    answer = wait_for(run, "done")
    trained(scheduler, run, ENDLESS)
    wait_until(lambda: run.steps_done >= 1)
    scheduler.pause(run).result(DEADLINE)
    assert told(run) == answer


def test_a_study_that_nobody_watches_ends_and_its_run_may_be_put_away(serve, kind):
    scheduler = serve(unwatched_seconds=1000)
    run = opened(scheduler)
    asked(scheduler, run, kind("counting", counting))
    assert run.wants_work and scheduler.working_runs() == 1
    unwatched(run, 2000)
    wait_until(lambda: not run.wants_work)
    assert (told(run)["state"], run.state) == ("stopped", "idle")


def test_a_study_without_a_training_lets_the_server_end(serve, kind):
    scheduler = serve()
    run = opened(scheduler)
    asked(scheduler, run, kind("counting", counting))
    scheduler.close()
    assert not scheduler._thread.is_alive()


def test_the_machine_is_not_measured_by_a_study(serve, kind):
    scheduler = serve()
    run = opened(scheduler, SMALL)
    stepped(scheduler, run, SMALL)
    wait_until(lambda: run.steps_done == 1 and not run.wants_work)
    let_it_turn(scheduler)
    seen = scheduler._speeds_seen
    asked(scheduler, run, kind("counting", counting))
    let_it_turn(scheduler)
    assert scheduler._speeds_seen == seen


def test_the_page_asks_sees_and_stops_it(service, kind):
    async def ask() -> None:
        run = (await service.attach(scene="squares"))["run"]
        assert await service.study(run, "speed", FEW) == {}
        seen = await seen_until(
            service, run, lambda s: s["study"] and s["study"]["state"] == "done"
        )
        assert seen["stage"]["hasSpeeds"] and seen["shipped"]
        assert await service.study(run, kind("counting", counting)) == {}
        await seen_until(service, run, lambda s: s["study"]["done"] == 0.5)
        assert await service.stop_study(run) == {}
        seen = await seen_until(service, run, lambda s: s["study"]["state"] == "stopped")
        assert seen["study"]["result"] is None

    asyncio.run(ask())


@pytest.mark.parametrize("value", [None, [], {}, 700, "x" * 10_000, float("nan"), [[{}]]])
def test_rubbish_is_refused_and_begins_nothing(service, value):
    async def ask() -> None:
        run = (await service.attach(scene="squares"))["run"]
        assert (await service.study(run, value))["notice"]["name"] == "kind"
        if value is not None and value != {}:
            assert "notice" in await service.study(run, "speed", value)
        assert "notice" in await service.study(run, "speed", {"sequences": value})
        assert "notice" in await service.study(run, "speed", {"speeds": value})
        assert (await service.study(value, "speed"))["notice"] == {"key": "lost"}
        assert (await service.stop_study(value))["notice"] == {"key": "lost"}
        assert service.scheduler.get(run).study is None

    asyncio.run(ask())


def test_a_scene_without_speeds_refuses_the_speed_test(service):
    async def ask() -> None:
        run = (await service.attach(scene="storm"))["run"]
        notice = (await service.study(run, "speed"))["notice"]
        assert (notice["name"], notice["rule"]) == ("speed", "needs speed")
        seen = await seen_until(service, run, lambda s: s["picture"])
        assert not seen["stage"]["hasSpeeds"] and seen["study"] is None

    asyncio.run(ask())


def test_an_answer_is_found_again_after_a_restart(tmp_path):
    first = Scheduler(shelf=Shelf(tmp_path, 2**30))
    run = opened(first)
    asked(first, run, options=FEW)
    answer = wait_for(run, "done")
    first.close()
    second = Scheduler(shelf=Shelf(tmp_path, 2**30))
    try:
        again = second.bring_back(run.id).result(DEADLINE)
        assert told(again) == answer and not again.wants_work
        second.reset(again, settings_of(SMALL)).result(DEADLINE)
        assert again.study is None
    finally:
        second.close()


def test_a_study_that_was_under_way_is_not_found_again(tmp_path, kind):
    first = Scheduler(shelf=Shelf(tmp_path, 2**30))
    run = opened(first)
    asked(first, run, kind("counting", counting))
    first.close()
    second = Scheduler(shelf=Shelf(tmp_path, 2**30))
    try:
        assert second.bring_back(run.id).result(DEADLINE).study is None
    finally:
        second.close()
