"""Runs and their scheduler: each run as if it were alone, and every button at every moment."""

import itertools
import math
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

from convlstm import pieces, training
from convlstm import scheduler as scheduling
from convlstm.budget import Limits, check_budget
from convlstm.checkpoint import read_checkpoint, resume
from convlstm.checks import SettingError
from convlstm.costs import Cost, estimate
from convlstm.data import CONTEXT_FRAMES, sample_squares
from convlstm.forecast_config import forecast_config
from convlstm.forecasting import ForecastTrainer
from convlstm.metrics import score_frames
from convlstm.presets import LIVE_PRESETS, PRESETS
from convlstm.runs import Run
from convlstm.scheduler import ResetNeeded, Scheduler, ServerFull
from convlstm.settings import settings_of
from convlstm.squares_view import SquaresView
from convlstm.train_config import TrainConfig, train_config
from convlstm.training import HORIZON, StepRecord, Trainer

SAMPLES = SquaresView.samples
DEADLINE = 60  # s; only a test that fails waits for it

SMALL = train_config(
    {
        "canvas": 16,
        "square_size": 3,
        "hidden_channels": 3,
        "kernel_size": 3,
        "epochs": 8,
        "batch_size": 4,
        "evaluate_every": 3,
        "precision": "float32",
        "schedule": "constant",
        "learning_rate": 0.01,
        "loss": "bce",
    }
)
ENDLESS = replace(SMALL, epochs=2000, batches_per_epoch=100, evaluate_every=1000)


def small(**settings: object) -> TrainConfig:
    return train_config(settings, SMALL)


@pytest.fixture
def serve(monkeypatch) -> Iterator[Callable[..., Scheduler]]:
    """Make schedulers that are closed after the test; keyword arguments are their limits."""
    monkeypatch.setattr(scheduling, "_measure_slowdown", lambda device: 1.0)
    made: list[Scheduler] = []

    def make(**limits: float) -> Scheduler:
        made.append(Scheduler(limits=Limits(**limits)))
        return made[-1]

    yield make
    for scheduler in made:
        scheduler.close()


@pytest.fixture
def fine_turns(monkeypatch):
    """Pieces of one sequence, and a turn that ends after each."""
    monkeypatch.setattr(training, "training_chunk", lambda config: 1)
    monkeypatch.setattr(training, "evaluation_chunk", lambda config: 8)
    monkeypatch.setattr(scheduling, "_SLICE_SECONDS", 1e-4)


def opened(scheduler: Scheduler, config: TrainConfig = SMALL, **options: bool) -> Run:
    return scheduler.open(lambda: Trainer(config), **options).result(DEADLINE)


def trained(scheduler: Scheduler, run: Run, config: TrainConfig) -> Run:
    return scheduler.train(run, settings_of(config)).result(DEADLINE)


def stepped(scheduler: Scheduler, run: Run, config: TrainConfig = SMALL) -> Run:
    return scheduler.step(run, settings_of(config)).result(DEADLINE)


def wait_until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not is_so():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)


def let_it_turn(scheduler: Scheduler, times: int = 5) -> None:
    """Wait until the compute thread has come round some times."""
    for _ in range(times):
        scheduler.call(lambda: None).result(DEADLINE)
        done = threading.Event()
        scheduler.call(done.set)
        assert done.wait(DEADLINE)


@contextmanager
def held(scheduler: Scheduler) -> Iterator[None]:
    """Keep the compute thread from doing anything."""
    holding, release = threading.Event(), threading.Event()
    scheduler.call(lambda: (holding.set(), release.wait(DEADLINE)))
    assert holding.wait(DEADLINE)
    try:
        yield
    finally:
        release.set()


def unwatched(run: Run, seconds: float = 1e6) -> None:
    run.watched_at = time.monotonic() - seconds


def facts(records: list[StepRecord]) -> list[StepRecord]:
    """Records without their times, which no two runs share."""
    return [replace(record, seconds=0.0) for record in records]


def alone(config: TrainConfig) -> list[StepRecord]:
    trainer = Trainer(config)
    list(trainer.pieces())
    return facts(trainer.records)


def is_over(run: Run) -> bool:
    return run.state in ("goal", "finished", "diverged", "failed", "stopped")


# Each as if it were alone.


def test_runs_at_the_same_time_do_what_each_does_alone(serve, fine_turns):
    configs = [SMALL, small(seed=4, noise=0.1), small(loss="mse+ssim", num_layers=2)]
    scheduler = serve()
    every = [opened(scheduler, config) for config in configs]
    with held(scheduler):
        for run, config in zip(every, configs, strict=True):
            scheduler.train(run, settings_of(config))
    wait_until(lambda: all(is_over(run) for run in every))
    for run, config in zip(every, configs, strict=True):
        assert run.state == "finished"
        assert facts(run.trainer.records) == alone(config)


def test_looking_pausing_stepping_and_saving_change_no_number(serve, fine_turns):
    scheduler = serve()
    other = opened(scheduler, ENDLESS)
    trained(scheduler, other, ENDLESS)
    run = opened(scheduler)
    for number in itertools.count():
        if is_over(run):
            break
        trained(scheduler, run, SMALL)
        scheduler.look(run, number % SAMPLES, 1 + number % HORIZON)
        scheduler.save(run).result(DEADLINE)
        scheduler.pause(run)
        if run.state == "paused":
            stepped(scheduler, run)
        let_it_turn(scheduler, 3)
    assert facts(run.trainer.records) == alone(SMALL)


def test_a_run_leaves_the_global_random_state_alone(serve):
    scheduler = serve()
    run = opened(scheduler)
    torch.manual_seed(3)
    np.random.seed(3)
    before = bytes(torch.get_rng_state()), str(np.random.get_state())
    trained(scheduler, run, SMALL)
    wait_until(lambda: is_over(run) and run.picture)
    assert (bytes(torch.get_rng_state()), str(np.random.get_state())) == before


# Train, pause, step, stop, reset.


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
        monkeypatch.setattr(Trainer, "_backward", lambda self, batch: torch.full((2,), math.nan))
    scheduler = serve()
    config = small(**settings)
    run = opened(scheduler, config)
    trained(scheduler, run, config)
    wait_until(lambda: is_over(run))
    assert run.state == run.trainer.ended == end
    assert not run.wants_work


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
        assert run.trainer.records[-1].evaluation or number == 2


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
    assert all(p.grad is None or not p.grad.any() for p in trainer.model.parameters())
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


def test_a_run_whose_end_was_crossed_by_a_pause_is_still_over():
    run = Run(Trainer(small(epochs=2)))
    run.state = "training"
    run.advance(DEADLINE)
    assert run.state == "finished"
    for asked in ({"state": "training"}, {"state": "paused", "steps_wanted": 1}):
        for name, value in asked.items():
            setattr(run, name, value)
        run.advance(DEADLINE)
        assert (run.state, run.steps_wanted) == ("finished", 0)


def test_reset_stands_ready_with_other_settings(serve):
    scheduler = serve()
    run = opened(scheduler, ENDLESS)
    trained(scheduler, run, ENDLESS)
    wait_until(lambda: run.steps_done >= 1)
    assert scheduler.reset(run, settings_of(small(seed=5, canvas=24))).result(DEADLINE) is run
    assert (run.state, run.steps_done, run.trainer.step) == ("idle", 0, 0)
    assert run.config == small(seed=5, canvas=24)
    wait_until(lambda: run.picture)
    assert run.picture.truth.shape == (1, 24, 24)


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


# Changes on the way.


def test_speed_and_rate_change_while_training(serve):
    scheduler = serve()
    run = opened(scheduler, ENDLESS)
    trained(scheduler, run, ENDLESS)
    wait_until(lambda: run.steps_done >= 1)
    changed = train_config({"speed": 5, "learning_rate": 0.002}, ENDLESS)
    scheduler.adjust(run, changed)
    let_it_turn(scheduler)
    assert run.config == changed
    assert run.state == "training"
    assert [change.name for change in run.trainer.changes] == ["speed", "learning_rate"]
    steps = run.steps_done
    wait_until(lambda: run.steps_done > steps + 1)
    assert run.trainer.records[-1].learning_rate == 0.002


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


# The waiting line.


def test_further_runs_wait_in_line_and_move_up(serve):
    scheduler = serve(active_runs=1)
    first, second, third = (opened(scheduler, ENDLESS) for _ in range(3))
    for run in (first, second, third):
        trained(scheduler, run, ENDLESS)
    assert [run.state for run in (first, second, third)] == ["training", "waiting", "waiting"]
    assert [run.place for run in (first, second, third)] == [0, 1, 2]
    wait_until(lambda: first.steps_done >= 2)
    assert second.steps_done == third.steps_done == 0

    scheduler.pause(second)
    wait_until(lambda: third.place == 1)
    assert (second.state, second.place) == ("paused", 0)

    trained(scheduler, second, ENDLESS)
    assert (second.state, second.place) == ("waiting", 2)

    scheduler.stop(first)
    wait_until(lambda: third.steps_done >= 1)
    assert (third.state, third.place) == ("training", 0)
    wait_until(lambda: second.place == 1)
    scheduler.stop(second)
    scheduler.pause(third)
    let_it_turn(scheduler)
    assert [run.state for run in (first, second, third)] == ["stopped", "stopped", "paused"]


def test_a_run_that_ends_makes_room_for_the_next(serve):
    scheduler = serve(active_runs=1)
    every = [opened(scheduler, small(seed=seed)) for seed in range(3)]
    for seed, run in enumerate(every):
        trained(scheduler, run, small(seed=seed))
    wait_until(lambda: all(is_over(run) for run in every))
    for seed, run in enumerate(every):
        assert facts(run.trainer.records) == alone(small(seed=seed))


def test_a_waiting_run_can_make_a_single_step(serve):
    scheduler = serve(active_runs=1)
    first, second = opened(scheduler, ENDLESS), opened(scheduler, ENDLESS)
    trained(scheduler, first, ENDLESS)
    trained(scheduler, second, ENDLESS)
    stepped(scheduler, second, ENDLESS)
    wait_until(lambda: second.steps_done == 1)
    assert (second.state, second.place) == ("paused", 0)
    assert scheduler.working_runs() >= 1


# Limits.


@pytest.mark.parametrize("active_runs", [1, 2])
def test_a_run_that_nobody_watches_ends(serve, active_runs):
    scheduler = serve(active_runs=active_runs, unwatched_seconds=1000)
    watched, lonely = opened(scheduler, ENDLESS), opened(scheduler, ENDLESS)
    trained(scheduler, watched, ENDLESS)
    trained(scheduler, lonely, ENDLESS)
    unwatched(lonely, 2000)
    wait_until(lambda: is_over(lonely))
    assert (lonely.state, lonely.reason, lonely.place) == ("stopped", "unwatched", 0)
    steps = watched.steps_done
    wait_until(lambda: watched.steps_done > steps)
    assert scheduler.get(lonely.id) is lonely  # its last state stays to be seen


def test_a_run_that_nobody_came_back_to_is_forgotten(serve):
    scheduler = serve(kept_seconds=1000)
    run, other = opened(scheduler), opened(scheduler)
    unwatched(run, 2000)
    let_it_turn(scheduler)
    wait_until(lambda: scheduler.get(run.id) is None)
    assert scheduler.get(other.id) is other


def test_watching_keeps_a_run(serve):
    scheduler = serve(unwatched_seconds=1000, kept_seconds=1000)
    run = opened(scheduler, ENDLESS)
    with held(scheduler):
        unwatched(run, 2000)
        assert scheduler.watched_runs() == 0
        scheduler.watch(run)
        assert scheduler.watched_runs() == 1
    let_it_turn(scheduler)
    assert scheduler.get(run.id) is run


def test_a_run_that_used_up_its_time_ends(serve):
    scheduler = serve(budget_seconds=1e-6)
    run = opened(scheduler, ENDLESS)
    trained(scheduler, run, ENDLESS)
    wait_until(lambda: is_over(run))
    assert (run.state, run.reason) == ("stopped", "budget")
    assert run.steps_done >= 1


def test_a_full_server_says_so_and_makes_room_when_somebody_left(serve):
    scheduler = serve(kept_runs=3)
    first, second, third = (opened(scheduler) for _ in range(3))
    for _ in range(2):
        with pytest.raises(ServerFull, match="all of its 3 runs are in use"):
            opened(scheduler)
    unwatched(second, 20)
    unwatched(first, 10)
    fourth = opened(scheduler)
    assert scheduler.get(second.id) is None
    assert [scheduler.get(run.id) for run in (first, third, fourth)] == [first, third, fourth]


def test_a_training_or_waiting_run_is_never_thrown_out_for_a_new_one(serve):
    scheduler = serve(kept_runs=2, active_runs=1)
    every = [opened(scheduler, ENDLESS) for _ in range(2)]
    for run in every:
        trained(scheduler, run, ENDLESS)
        unwatched(run, 10)
    with pytest.raises(ServerFull):
        opened(scheduler)
    assert [scheduler.get(run.id) for run in every] == every
    scheduler.stop(every[0])
    wait_until(lambda: every[1].steps_done >= 1)


def test_a_run_forgotten_in_the_line_takes_nobody_s_place(serve):
    scheduler = serve(active_runs=1, kept_seconds=100, unwatched_seconds=1000)
    first, second, third = (opened(scheduler, ENDLESS) for _ in range(3))
    for run in (first, second, third):
        trained(scheduler, run, ENDLESS)
    unwatched(second, 200)
    wait_until(lambda: scheduler.get(second.id) is None and third.place == 1)
    scheduler.stop(first)
    wait_until(lambda: third.steps_done >= 1)


def test_ids_cannot_be_guessed_and_what_is_none_finds_nothing(serve):
    scheduler = serve()
    every = [opened(scheduler) for _ in range(5)]
    ids = [run.id for run in every]
    assert len(set(ids)) == 5
    assert all(len(text) == 22 for text in ids)  # 128 bits
    for wrong in ("", ids[0][:-1], ids[0] + "=", None, 3, [ids[0]], {"id": ids[0]}, b"x"):
        assert scheduler.get(wrong) is None


# Something breaks.


def break_after(trainer: Trainer, steps: int, error: Exception) -> None:
    train_step = trainer._train_step

    def broken():
        if trainer.step == steps:
            raise error
        return train_step()

    trainer._train_step = broken


def test_a_run_that_breaks_fails_alone(serve, fine_turns, caplog):
    scheduler = serve()
    good, bad = opened(scheduler, small(epochs=20)), opened(scheduler)
    break_after(bad.trainer, 2, RuntimeError("out of memory\nsecond line"))
    with held(scheduler):
        scheduler.train(good, settings_of(small(epochs=20)))
        scheduler.train(bad, settings_of(SMALL))
    wait_until(lambda: is_over(good) and is_over(bad))
    assert (bad.state, bad.reason) == ("failed", "RuntimeError: out of memory")
    assert bad.steps_done == 2
    assert good.state == "finished"
    assert facts(good.trainer.records) == alone(small(epochs=20))
    assert "run failed" in caplog.text

    trained(scheduler, bad, SMALL)  # and may begin anew
    wait_until(lambda: is_over(bad))
    assert facts(bad.trainer.records) == alone(SMALL)


def test_a_picture_that_breaks_fails_its_run_alone(serve, monkeypatch, caplog):
    scheduler = serve(active_runs=1)
    first, second = opened(scheduler, ENDLESS), opened(scheduler, ENDLESS)
    trained(scheduler, first, ENDLESS)
    trained(scheduler, second, ENDLESS)

    def broken() -> None:
        raise ZeroDivisionError("no pixels")

    monkeypatch.setattr(second, "draw_picture", broken)
    scheduler.look(second, 1, 2)
    wait_until(lambda: second.state == "failed")
    assert second.reason == "ZeroDivisionError: no pixels"
    monkeypatch.undo()
    scheduler.stop(first).result(DEADLINE)
    let_it_turn(scheduler)
    assert second.state == "failed"  # it does not wait in line any more


def test_a_job_that_breaks_tells_its_caller_alone(serve):
    scheduler = serve()

    def broken() -> None:
        raise KeyError("lost")

    with pytest.raises(KeyError, match="lost"):
        scheduler.call(broken).result(DEADLINE)
    assert scheduler.call(lambda: 5).result(DEADLINE) == 5


def test_a_cancelled_job_is_not_done(serve):
    scheduler, done = serve(), []
    with held(scheduler):
        future = scheduler.call(lambda: done.append(1))
        assert future.cancel()
    let_it_turn(scheduler)
    assert done == []


def test_closing_ends_the_thread_and_refuses_what_comes_later(serve):
    scheduler = serve()
    run = opened(scheduler, ENDLESS)
    trained(scheduler, run, ENDLESS)
    thread = scheduler._thread
    scheduler.close()
    assert not thread.is_alive()
    assert run.state == "stopped"
    assert not run.wants_work
    for press in (lambda: scheduler.train(run, {}), lambda: scheduler.save(run)):
        with pytest.raises(RuntimeError, match=r"The server is closing\."):
            press().result(DEADLINE)
    scheduler.close()


def test_jobs_that_wait_when_the_server_closes_are_still_done(serve):
    scheduler = serve()
    with held(scheduler):
        future = scheduler.call(lambda: 7)
        closing = threading.Thread(target=scheduler.close)
        closing.start()
    closing.join(DEADLINE)
    assert future.result(DEADLINE) == 7


# What viewers see.


@pytest.mark.parametrize("look_ahead", [1, HORIZON])
def test_a_picture_shows_a_sequence_its_continuation_and_the_prediction(serve, look_ahead):
    scheduler = serve()
    config = small(noise=0.2, canvas=20)
    run = opened(scheduler, config)
    scheduler.look(run, 3, look_ahead)
    wait_until(lambda: run.picture and run.picture.sample == 3)
    picture = run.picture
    assert picture.context.shape == (CONTEXT_FRAMES, 20, 20)
    assert picture.truth.shape == picture.predicted.shape == (look_ahead, 20, 20)
    for frames in (picture.context, picture.truth, picture.predicted):
        assert frames.dtype == np.float32
        assert 0 <= frames.min() <= frames.max() <= 1
    assert set(np.unique(picture.truth)) == {0, 1}
    assert len(np.unique(picture.context)) > 2  # with the scene's noise

    context = torch.from_numpy(picture.context)[None, :, None]
    predicted = Trainer(config).predict(context, look_ahead)[0, :, 0].numpy()
    assert np.array_equal(picture.predicted, predicted)
    truth = picture.truth[None]
    copied = np.repeat(picture.context[None, -1:], look_ahead, 1)
    assert picture.scores == score_frames(predicted[None], truth)[0]
    assert picture.copy_last == score_frames(copied, truth)[0]
    assert picture.black == score_frames(np.zeros_like(truth), truth)[0]


def test_every_sample_can_be_looked_at_and_is_another_one(serve):
    scheduler = serve()
    run = opened(scheduler)
    seen = []
    for sample in range(SAMPLES):
        scheduler.look(run, sample, 2)
        wait_until(lambda sample=sample: run.picture and run.picture.sample == sample)
        seen.append(run.picture.context.tobytes())
    assert len(set(seen)) == SAMPLES


@pytest.mark.parametrize(
    ("sample", "look_ahead"), [(-1, 1), (SAMPLES, 1), (0, 0), (0, HORIZON + 1)]
)
def test_a_look_beyond_what_there_is_is_refused(serve, sample, look_ahead):
    scheduler = serve()
    run = opened(scheduler)
    for values in ((sample, look_ahead), (sample, "1"), (None, look_ahead)):
        with pytest.raises(SettingError):
            scheduler.look(run, *values)
    assert (run.sample, run.look_ahead) == (0, 1)


def test_a_picture_follows_the_training(serve):
    scheduler = serve()
    run = opened(scheduler)
    wait_until(lambda: run.picture)
    first, version = run.picture, run.version
    stepped(scheduler, run)
    wait_until(lambda: run.picture is not first)
    assert run.version > version
    assert np.array_equal(run.picture.context, first.context)
    assert not np.array_equal(run.picture.predicted, first.predicted)


def test_a_picture_that_would_be_the_same_is_not_drawn_again(serve):
    scheduler = serve()
    run = opened(scheduler)
    wait_until(lambda: run.picture)
    picture, version = run.picture, run.version
    scheduler.watch(run)
    let_it_turn(scheduler)
    assert run.picture is picture
    assert run.version == version


def test_a_paused_run_s_picture_follows_every_change_of_speed(serve):
    scheduler = serve()
    run = opened(scheduler)
    wait_until(lambda: run.picture)
    for speeds in ((3, 4), (5, 6, 7), (1, 8)):
        with held(scheduler):  # a slider drawn fast: the first speeds are never pictured
            for speed in speeds:
                scheduler.adjust(run, small(speed=speed))
        wait_until(lambda speed=speeds[-1]: run.config.scene.speed == speed)
        let_it_turn(scheduler)
        expected = Run(Trainer(run.config))
        expected.draw_picture()
        assert np.array_equal(run.picture.context, expected.picture.context)


def test_nothing_is_drawn_that_nobody_looks_at(serve):
    scheduler = serve()
    with held(scheduler):
        future = scheduler.open(lambda: Trainer(SMALL))
        future.add_done_callback(lambda done: unwatched(done.result(), 10))
    run = future.result(DEADLINE)
    trained(scheduler, run, SMALL)
    wait_until(lambda: is_over(run))
    let_it_turn(scheduler)
    assert run.picture is None
    scheduler.watch(run)
    wait_until(lambda: run.picture)


def test_what_is_shown_is_not_what_is_trained_on():
    # At seed 0 the first batch of 8 once held the eight shown sequences themselves.
    run = Run(Trainer(TrainConfig(batch_size=SAMPLES)))
    batch = sample_squares(run.config.scene, SAMPLES, CONTEXT_FRAMES, run.trainer.generator)
    held_out = run.trainer._held_out[0]
    for other in (batch.clean, held_out):
        same = (run.view._context.flatten(1)[:, None] == other.flatten(1)).all(-1)
        assert not same.any()


def test_a_saved_run_is_that_of_its_last_whole_step(serve, fine_turns):
    scheduler = serve()
    run = opened(scheduler, small(epochs=25))
    trained(scheduler, run, small(epochs=25))
    wait_until(lambda: run.steps_done >= 2)
    saved = resume(read_checkpoint(scheduler.save(run).result(DEADLINE)))
    list(saved.pieces())
    assert facts(saved.records) == alone(small(epochs=25))
    wait_until(lambda: is_over(run))
    assert facts(run.trainer.records) == alone(small(epochs=25))


def test_the_time_of_a_step_counts_all_of_it(monkeypatch, fine_turns):
    now = [0.0]
    monkeypatch.setattr(pieces.time, "perf_counter", lambda: now[0])
    run = Run(Trainer(small(epochs=2, evaluate_every=1)))
    backward, predict = run.trainer._backward, run.trainer.predict

    def taking(seconds: float, work: Callable) -> Callable:
        def wrapper(*given: object) -> object:
            now[0] += seconds
            return work(*given)

        return wrapper

    monkeypatch.setattr(run.trainer, "_backward", taking(1.0, backward))
    monkeypatch.setattr(run.trainer, "predict", taking(10.0, predict))
    run.state = "training"
    run.advance(1e9)
    # 4 pieces of 1 s and 4 of 10 s, in both steps.
    assert run.step_seconds == pytest.approx(44)


# What a server takes on.


def costing(**values: float) -> Callable[[TrainConfig], Cost]:
    """Estimates that are products of settings, so that what fits can be told by head."""

    def estimated(config: TrainConfig) -> Cost:
        settings, cost = settings_of(config), Cost(0, 0, 0, 0)
        for name, names in values.items():
            cost = replace(cost, **{name: math.prod(settings[n] for n in names)})
        return cost

    return estimated


@pytest.mark.parametrize(
    ("limits", "costs", "settings", "message"),
    [
        (
            Limits(run_seconds=1000),
            {"run_seconds": ("epochs", "batches_per_epoch")},
            {"epochs": 300, "batches_per_epoch": 10},
            "epochs is 300: must be at most 100: 3e+03 s is over the limit of 1000 s on this mach",
        ),
        (
            Limits(run_seconds=50),
            {"run_seconds": ("batches_per_epoch",)},
            {"batches_per_epoch": 60},
            "batches_per_epoch is 60: must be at most 50: 60 s is over the limit of 50 s",
        ),
        (
            Limits(piece_seconds=100),
            {"piece_seconds": ("canvas", "kernel_size")},
            {"canvas": 64, "kernel_size": 5},
            "canvas is 64: must be at most 20: 3.2e+02 s is over the limit of 100 s",
        ),
        (
            Limits(piece_seconds=4),
            {"piece_seconds": ("kernel_size",)},
            {"kernel_size": 7},
            "kernel_size is 7: must be at most 3: 7 s is over the limit of 4 s",
        ),
        (
            Limits(memory_mib=40),
            {"memory_mib": ("hidden_channels",)},
            {"hidden_channels": 64},
            "hidden_channels is 64: must be at most 40: 64 MiB is over the limit of 40 MiB",
        ),
        (  # No single one is enough: the first is asked for, and then the next.
            Limits(run_seconds=0.5),
            {"run_seconds": ("epochs", "batches_per_epoch")},
            {"epochs": 9, "batches_per_epoch": 9},
            "epochs is 9: must be at most 1: 81 s is over the limit of 0.5 s",
        ),
        (
            Limits(piece_seconds=1),
            {"piece_seconds": ("canvas", "hidden_channels", "kernel_size")},
            {"canvas": 16, "square_size": 5},
            "hidden_channels is 8: must be at most 1: 6.4e+02 s is over the limit of 1 s",
        ),
    ],
)
def test_a_run_over_a_limit_is_refused_with_a_value_that_would_do(limits, costs, settings, message):
    with pytest.raises(SettingError) as caught:
        check_budget(train_config(settings), limits, costing(**costs))
    assert str(caught.value).startswith(message)
    assert caught.value.rule == "budget"


def test_advice_above_a_hundred_has_two_figures():
    with pytest.raises(SettingError, match="epochs is 4321: must be at most 3600"):
        check_budget(
            train_config({"epochs": 4321}),
            Limits(run_seconds=3650),
            costing(run_seconds=("epochs",)),
        )


def test_following_the_advice_ends_in_a_run_that_is_taken():
    largest = train_config(
        {
            "canvas": 128,
            "square_size": 16,
            "hidden_channels": 64,
            "kernel_size": 7,
            "num_layers": 3,
            "batch_size": 32,
            "epochs": 5000,
            "batches_per_epoch": 100,
        }
    )
    limits = Limits()
    for slowdown in (1, 4):
        config, seen = largest, []
        while True:
            try:
                cost = check_budget(config, limits, lambda c, s=slowdown: estimate(c, "float32", s))
                break
            except SettingError as error:
                seen.append(error.name)
                config = train_config({error.name: error.details["high"]}, config)
        assert cost.piece_seconds <= limits.piece_seconds
        assert cost.memory_mib <= limits.memory_mib
        assert cost.run_seconds <= limits.run_seconds
        assert len(seen) == len(set(seen)) <= 5


@pytest.mark.parametrize("preset", PRESETS | LIVE_PRESETS)
def test_the_presets_are_taken_on_a_machine_like_ours(serve, preset):
    assert serve().check((PRESETS | LIVE_PRESETS)[preset].config).run_seconds > 0


def test_runs_of_both_systems_take_turns_and_do_what_each_does_alone(serve):
    digits = forecast_config(
        {"canvas": 32, "hidden_channels": 4, "num_layers": 1, "batch_size": 2, "steps": 8,
         "evaluate_every": 4, "precision": "float32"}
    )  # fmt: skip
    alone_digits = [record.loss for record in ForecastTrainer(digits).records()]
    scheduler = serve()
    squares = opened(scheduler)
    other = scheduler.open(lambda: ForecastTrainer(digits)).result(DEADLINE)
    trained(scheduler, squares, SMALL)
    scheduler.train(other, settings_of(digits)).result(DEADLINE)
    wait_until(lambda: other.steps_done >= 2)
    with held(scheduler):
        scheduler.look(other, 3, 1)
        scheduler.pause(other)
    scheduler.step(other, settings_of(digits)).result(DEADLINE)
    with pytest.raises(ResetNeeded, match="hidden_channels changed"):
        scheduler.train(other, {**settings_of(digits), "hidden_channels": 5})
    scheduler.train(other, settings_of(digits)).result(DEADLINE)
    wait_until(lambda: is_over(squares) and is_over(other))
    assert facts(squares.trainer.records) == alone(SMALL)
    assert [record.loss for record in other.trainer.history] == alone_digits


def test_a_run_of_digits_takes_on_another_speed_and_rate(serve):
    digits = forecast_config(
        {"canvas": 32, "hidden_channels": 4, "num_layers": 1, "batch_size": 2, "steps": 500}
    )
    scheduler = serve()
    run = scheduler.open(lambda: ForecastTrainer(digits)).result(DEADLINE)
    scheduler.train(run, settings_of(digits)).result(DEADLINE)
    changed = {**settings_of(digits), "speed": 1.5, "learning_rate": 0.001}
    scheduler.adjust(run, forecast_config(changed))
    wait_until(lambda: run.config.scene.speed == 1.5)
    assert {change.name for change in run.trainer.changes} == {"speed", "learning_rate"}
    wait_until(lambda: run.steps_done > run.trainer.changes[0].step)
    scheduler.stop(run).result(DEADLINE)
    assert run.state == "stopped"


def test_the_machine_is_measured_before_anything_else():
    scheduler = Scheduler()
    try:
        let_it_turn(scheduler, 1)
        assert 0 < scheduler.slowdown < math.inf
        cost = scheduler.check(SMALL)
        assert cost == estimate(SMALL, "float32", scheduler.slowdown)
    finally:
        scheduler.close()
