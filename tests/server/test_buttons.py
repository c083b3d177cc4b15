"""Every button at every moment: train, pause, step, stop, reset, and changes on the way."""

import itertools
import math

import pytest
import torch

from convlstm.checks import SettingError
from convlstm.files.checkpoint import resume
from convlstm.files.reading import read_checkpoint
from convlstm.server.scheduler import ResetNeeded
from convlstm.settings import configure, settings_of
from convlstm.training.trainer import Trainer
from tests.server.helpers import (
    DEADLINE,
    ENDLESS,
    SMALL,
    alone,
    endless_of,
    facts,
    held,
    is_over,
    let_it_turn,
    opened,
    small,
    stepped,
    trained,
    wait_until,
)


def test_a_run_goes_from_idle_over_training_to_its_end(serve):
    scheduler = serve()
    run = opened(scheduler)
    assert (run.state, run.steps_done, run.reason, run.place) == ("idle", 0, "", 0)
    assert scheduler.get(run.id) is run
    trained(scheduler, run, SMALL)
    wait_until(lambda: is_over(run))
    assert (run.state, run.steps_done) == ("finished", 8)
    assert run.step_seconds > 0


@pytest.mark.parametrize(
    ("settings", "end"),
    [({"stop_below": 0.9}, "goal"), ({}, "finished"), ({"seed": 1}, "diverged")],
)
def test_a_run_says_how_it_ended(serve, monkeypatch, settings, end):
    if end == "diverged":
        monkeypatch.setattr(Trainer, "_backward", lambda *given: torch.full((2,), math.nan))
    scheduler = serve()
    config = small(**settings)
    run = opened(scheduler, config)
    trained(scheduler, run, config)
    wait_until(lambda: is_over(run))
    assert run.state == run.trainer.ended == end
    assert not run.wants_work


def test_a_run_that_is_changed_and_saved_all_the_time_gets_to_its_end(serve, fine_turns):
    scheduler = serve()
    config = small(evaluate_every=1)
    run = opened(scheduler, config)
    trained(scheduler, run, config)
    rates = itertools.cycle((0.02, 0.01))

    def press() -> bool:
        scheduler.adjust(run, configure({"learning_rate": next(rates)}, config))
        read_checkpoint(scheduler.save(run).result(DEADLINE))
        return is_over(run)

    wait_until(press)
    assert (run.state, run.steps_done) == ("finished", 8)


def test_a_file_that_is_made_in_mid_step_goes_on_as_the_run_does(serve, fine_turns):
    scheduler = serve()
    config = small(evaluate_every=2)
    run = opened(scheduler, config)
    trained(scheduler, run, config)
    files = []
    wait_until(lambda: files.append(scheduler.save(run).result(DEADLINE)) or is_over(run))
    expected = alone(config)
    assert facts(run.trainer.records) == expected
    for file in files[:: max(1, len(files) // 8)]:
        checkpoint = read_checkpoint(file)
        if checkpoint.run is not None:
            trainer = resume(checkpoint)
            list(trainer.pieces())
            assert facts(trainer.records) == expected


def test_a_paused_run_makes_no_step_and_goes_on_where_it_was(serve):
    scheduler = serve()
    run = opened(scheduler, small(epochs=40))
    trained(scheduler, run, small(epochs=40))
    wait_until(lambda: run.steps_done >= 2)
    scheduler.pause(run)
    assert run.state == "paused" or is_over(run)
    let_it_turn(scheduler)
    assert run.state == "paused"
    steps, trainer = run.steps_done, run.trainer
    let_it_turn(scheduler)
    assert run.steps_done == steps < 40
    trained(scheduler, run, small(epochs=40))
    wait_until(lambda: is_over(run))
    assert run.trainer is trainer
    assert facts(trainer.records) == alone(small(epochs=40))


def test_step_makes_one_step_and_pauses(serve, fine_turns):
    scheduler = serve()
    run = opened(scheduler)
    for number in (1, 2, 3):
        stepped(scheduler, run)
        wait_until(lambda number=number: run.steps_done == number)
        let_it_turn(scheduler)
        assert (run.state, run.steps_done) == ("paused", number)
        assert (run.trainer.records[-1].evaluation is not None) == (number == 3)


def test_steps_pressed_fast_are_all_made(serve):
    scheduler = serve()
    run = opened(scheduler)
    with held(scheduler):
        for _ in range(3):
            scheduler.step(run, settings_of(SMALL))
    wait_until(lambda: run.steps_done == 3)
    let_it_turn(scheduler)
    assert (run.state, run.steps_done) == ("paused", 3)


def test_step_on_a_run_that_is_over_begins_anew_and_only_once(serve):
    scheduler = serve()
    run = opened(scheduler)
    trained(scheduler, run, SMALL)
    wait_until(lambda: is_over(run))
    with held(scheduler):
        scheduler.step(run, settings_of(small(seed=9)))
        scheduler.step(run, settings_of(small(seed=9)))
    wait_until(lambda: run.steps_done == 2)
    let_it_turn(scheduler)
    assert (run.state, run.steps_done, run.config.seed) == ("paused", 2, 9)


def test_step_on_a_training_run_pauses_it_one_step_later(serve):
    scheduler = serve()
    run = opened(scheduler, ENDLESS)
    trained(scheduler, run, ENDLESS)
    with held(scheduler):
        steps = run.steps_done
        scheduler.step(run, settings_of(ENDLESS))
    wait_until(lambda: run.steps_done == steps + 1)
    let_it_turn(scheduler)
    assert (run.state, run.steps_done) == ("paused", steps + 1)


def test_a_step_beyond_the_last_one_ends_in_the_same_end(serve):
    scheduler = serve()
    run = opened(scheduler, small(epochs=2))
    with held(scheduler):
        for _ in range(5):
            scheduler.step(run, settings_of(small(epochs=2)))
    wait_until(lambda: is_over(run))
    let_it_turn(scheduler)
    assert (run.state, run.steps_done, run.steps_wanted) == ("finished", 2, 0)


def test_stop_leaves_the_last_whole_step_and_train_begins_anew(serve, fine_turns):
    scheduler = serve()
    run = opened(scheduler, ENDLESS)
    trained(scheduler, run, ENDLESS)
    wait_until(lambda: run.steps_done >= 2)
    scheduler.stop(run, "because").result(DEADLINE)
    let_it_turn(scheduler)
    assert (run.state, run.reason) == ("stopped", "because")
    steps, trainer = run.steps_done, run.trainer
    assert all(p.grad is None or not p.grad.any() for p in trainer.network.parameters())
    let_it_turn(scheduler)
    assert run.steps_done == steps
    trained(scheduler, run, SMALL)
    assert run.trainer is not trainer
    assert run.reason == ""
    wait_until(lambda: is_over(run))
    assert facts(run.trainer.records) == alone(SMALL)


@pytest.mark.parametrize(("press", "state"), [("pause", "paused"), ("stop", "stopped")])
@pytest.mark.parametrize("first", ["train", "step"])
def test_a_button_pressed_while_the_one_before_still_waits_has_the_last_word(
    serve, press, state, first
):
    scheduler = serve()
    run = opened(scheduler, ENDLESS)
    with held(scheduler):
        getattr(scheduler, first)(run, settings_of(ENDLESS))
        getattr(scheduler, press)(run)
    let_it_turn(scheduler)
    assert run.state == state
    assert run.steps_done <= (first == "step")


def test_train_pressed_last_has_the_last_word_too(serve):
    scheduler = serve()
    run = opened(scheduler, ENDLESS)
    with held(scheduler):
        for _ in range(2):
            scheduler.train(run, settings_of(ENDLESS))
            scheduler.pause(run)
        scheduler.train(run, settings_of(ENDLESS))
    wait_until(lambda: run.steps_done >= 2)
    assert run.state == "training"


@pytest.mark.parametrize("before", ["idle", "stopped"])
def test_train_pressed_twice_trains_once(serve, before):
    scheduler = serve(active_runs=1)
    run = opened(scheduler, ENDLESS)
    if before == "stopped":
        trained(scheduler, run, ENDLESS)
        scheduler.stop(run).result(DEADLINE)
    trainers = []
    with held(scheduler):
        futures = [scheduler.train(run, settings_of(ENDLESS)) for _ in range(3)]
        for future in futures:
            future.add_done_callback(lambda done: trainers.append(done.result().trainer))
    wait_until(lambda: len(trainers) == 3)
    assert trainers == [run.trainer] * 3
    assert run.state == "training"


def test_train_pressed_twice_in_the_line_takes_one_place(serve):
    scheduler = serve(active_runs=1)
    first, second = opened(scheduler, ENDLESS), opened(scheduler, ENDLESS)
    trained(scheduler, first, ENDLESS)
    with held(scheduler):
        for _ in range(2):
            future = scheduler.train(second, settings_of(ENDLESS))
    future.result(DEADLINE)
    assert (second.state, second.place) == ("waiting", 1)
    scheduler.pause(second).result(DEADLINE)
    scheduler.stop(first).result(DEADLINE)
    let_it_turn(scheduler)
    assert second.state == "paused"


def test_train_on_a_training_run_changes_nothing(serve):
    scheduler = serve()
    run = opened(scheduler, ENDLESS)
    trained(scheduler, run, ENDLESS)
    trainer = run.trainer
    assert trained(scheduler, run, ENDLESS) is run
    assert run.trainer is trainer


def test_reset_stands_ready_with_other_settings(serve):
    scheduler = serve()
    run = opened(scheduler, ENDLESS)
    trained(scheduler, run, ENDLESS)
    wait_until(lambda: run.steps_done >= 1)
    assert scheduler.reset(run, settings_of(small(seed=5, canvas=24))).result(DEADLINE) is run
    assert (run.state, run.steps_done, run.trainer.step) == ("idle", 0, 0)
    assert run.config == small(seed=5, canvas=24)
    wait_until(lambda: run.picture)
    assert run.picture.truth.shape == (10, 24, 24)


def test_an_undone_reset_brings_the_training_back_to_the_last_bit(serve):
    scheduler = serve()
    run = opened(scheduler)
    for _ in range(3):
        stepped(scheduler, run)
    wait_until(lambda: run.steps_done == 3)
    scheduler.reset(run, settings_of(small(seed=5, hidden_channels=5))).result(DEADLINE)
    assert run.kept_mib > run.thrown.mib > 0
    trained(scheduler, run, small(seed=6))  # which an idle run takes on without a reset
    wait_until(lambda: is_over(run))
    assert run.config.seed == 6
    assert scheduler.undo(run).result(DEADLINE)
    assert (run.state, run.steps_done, run.config) == ("paused", 3, SMALL)
    assert not scheduler.undo(run).result(DEADLINE)  # there is one way back, once
    trained(scheduler, run, SMALL)
    wait_until(lambda: is_over(run))
    assert facts(run.trainer.records) == alone(SMALL)


def test_an_undone_reset_of_a_stopped_run_stands_stopped(serve):
    scheduler = serve()
    run = opened(scheduler, ENDLESS)
    trained(scheduler, run, ENDLESS)
    wait_until(lambda: run.steps_done >= 1)
    scheduler.stop(run, "budget").result(DEADLINE)
    steps = run.trainer.step
    scheduler.reset(run, settings_of(SMALL)).result(DEADLINE)
    assert scheduler.undo(run).result(DEADLINE)
    assert (run.state, run.reason, run.trainer.step) == ("stopped", "budget", steps)


def test_what_has_learnt_nothing_is_not_kept_and_a_new_training_takes_its_place(serve):
    scheduler = serve()
    run = opened(scheduler)
    scheduler.reset(run, settings_of(SMALL)).result(DEADLINE)
    assert not scheduler.undo(run).result(DEADLINE)
    trained(scheduler, run, SMALL)
    wait_until(lambda: is_over(run))
    scheduler.reset(run, settings_of(SMALL)).result(DEADLINE)
    assert run.thrown
    scheduler.reset(run, settings_of(SMALL)).result(DEADLINE)
    assert not run.thrown


def test_reset_of_a_waiting_run_leaves_the_line(serve):
    scheduler = serve(active_runs=1)
    first, second = opened(scheduler, ENDLESS), opened(scheduler, ENDLESS)
    trained(scheduler, first, ENDLESS)
    trained(scheduler, second, ENDLESS)
    assert (second.state, second.place) == ("waiting", 1)
    scheduler.reset(second, settings_of(SMALL)).result(DEADLINE)
    scheduler.stop(first).result(DEADLINE)
    let_it_turn(scheduler)
    assert (second.state, second.place) == ("idle", 0)


def test_a_replacement_that_cannot_be_made_leaves_the_run_as_it_was(serve):
    scheduler = serve()
    run = opened(scheduler, ENDLESS)
    trained(scheduler, run, ENDLESS)
    trainer = run.trainer

    def broken() -> Trainer:
        raise ValueError("no such thing")

    with pytest.raises(ValueError, match="no such thing"):
        scheduler.replace(run, broken).result(DEADLINE)
    steps = run.steps_done
    wait_until(lambda: run.steps_done > steps)
    assert run.trainer is trainer
    with pytest.raises(ValueError, match="no such thing"):
        scheduler.open(broken).result(DEADLINE)


def test_a_resumed_trainer_stands_paused_and_goes_on(serve):
    scheduler = serve()
    run = opened(scheduler)
    for _ in range(3):
        stepped(scheduler, run)
    wait_until(lambda: run.steps_done == 3)
    content = scheduler.save(run).result(DEADLINE)
    other = opened(scheduler)
    scheduler.replace(other, lambda: resume(read_checkpoint(content))).result(DEADLINE)
    assert (other.state, other.steps_done) == ("paused", 3)
    trained(scheduler, other, SMALL)
    wait_until(lambda: is_over(other))
    assert facts(other.trainer.records) == alone(SMALL)


@pytest.mark.parametrize("press", ["train", "step"])
def test_training_on_the_shipped_run_begins_a_new_one(serve, press):
    scheduler = serve()
    done = Trainer(SMALL)
    list(done.pieces())
    run = scheduler.open(lambda: done, shipped=True).result(DEADLINE)
    assert (run.state, run.shipped, run.steps_done) == ("finished", True, 8)
    wait_until(lambda: run.picture)
    getattr(scheduler, press)(run, settings_of(small(seed=3))).result(DEADLINE)
    wait_until(lambda: run.steps_done == (8 if press == "train" else 1))
    assert not run.shipped
    assert run.trainer is not done
    assert run.config.seed == 3


@pytest.mark.parametrize(("scene", "speed"), [("squares", 5), ("digits", 1.5)])
def test_speed_and_rate_change_while_training(serve, scene, speed):
    scheduler, config = serve(), endless_of(scene)
    run = opened(scheduler, config)
    trained(scheduler, run, config)
    wait_until(lambda: run.steps_done >= 1)
    changed = configure({"speed": speed, "learning_rate": 0.002}, config)
    scheduler.adjust(run, changed)
    let_it_turn(scheduler)
    assert run.config == changed
    assert run.state == "training"
    assert {change.name for change in run.trainer.changes} == {"speed", "learning_rate"}
    steps = run.steps_done
    wait_until(lambda: run.steps_done > steps + 1)
    assert run.trainer.records[-1].learning_rate == 0.002


def test_a_storm_has_a_rate_to_change_and_no_speed(serve):
    scheduler, config = serve(), endless_of("storm")
    run = opened(scheduler, config)
    trained(scheduler, run, config)
    scheduler.adjust(run, configure({"learning_rate": 0.002}, config))
    let_it_turn(scheduler)
    assert [change.name for change in run.trainer.changes] == ["learning_rate"]
    for press in ("train", "step", "reset"):
        with pytest.raises(SettingError, match="^speed is 3: is not a setting"):
            getattr(scheduler, press)(run, {**settings_of(run.config), "speed": 3})
    assert run.state == "training"


def test_a_paused_run_trains_on_with_a_changed_rate_from_the_next_step(serve):
    scheduler = serve()
    run = opened(scheduler)
    stepped(scheduler, run)
    wait_until(lambda: run.steps_done == 1)
    trained(scheduler, run, small(learning_rate=0.1))
    wait_until(lambda: is_over(run))
    assert [record.learning_rate for record in run.trainer.records] == [0.01] + 7 * [0.1]


@pytest.mark.parametrize("press", ["train", "step", "adjust"])
def test_other_changes_need_a_reset_and_nothing_is_taken_over(serve, press):
    scheduler = serve()
    run = opened(scheduler)
    stepped(scheduler, run)
    wait_until(lambda: run.steps_done == 1)
    config = small(speed=4, canvas=24, hidden_channels=5)
    given = config if press == "adjust" else settings_of(config)
    with pytest.raises(ResetNeeded, match="canvas, hidden_channels changed: reset the run") as no:
        getattr(scheduler, press)(run, given)
    assert no.value.names == ["canvas", "hidden_channels"]
    let_it_turn(scheduler)
    assert run.config == SMALL
    assert (run.state, run.steps_done) == ("paused", 1)


@pytest.mark.parametrize("press", ["train", "step", "reset"])
def test_refused_settings_change_nothing(serve, press):
    scheduler = serve(run_seconds=5)
    run = opened(scheduler)
    version = run.version
    for settings in ({"speed": 99}, {"spee": 1}, None, {"batches_per_epoch": 100}):
        with pytest.raises(SettingError):
            getattr(scheduler, press)(run, settings)
    let_it_turn(scheduler)
    assert (run.state, run.steps_done) == ("idle", 0)
    assert run.version - version <= 1  # its first picture
