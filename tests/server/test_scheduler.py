"""Runs that share one thread: each as if it were alone."""

import itertools
import math
import threading

import numpy as np
import pytest
import torch

from convlstm.files.checkpoint import resume
from convlstm.files.reading import read_checkpoint
from convlstm.networks.stack import Stack
from convlstm.server.runs import ServerFull
from convlstm.server.scheduler import ResetNeeded, Scheduler
from convlstm.settings import settings_of
from convlstm.training.costs import estimate
from convlstm.training.trainer import Trainer
from tests.server.helpers import (
    DEADLINE,
    ENDLESS,
    SCENES,
    SMALL,
    WATCHED_SECONDS,
    alone,
    facts,
    held,
    is_over,
    let_it_turn,
    opened,
    small,
    small_of,
    stepped,
    trained,
    unwatched,
    wait_until,
)


def test_runs_at_the_same_time_do_what_each_does_alone(serve, fine_turns):
    configs = [small(seed=4, noise=0.1), small(loss="mse+ssim", num_layers=2)]
    configs += [small_of(scene, epochs=5) for scene in SCENES]
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
    scheduler, config = serve(), small(epochs=5)
    other = opened(scheduler, ENDLESS)
    trained(scheduler, other, ENDLESS)
    run = opened(scheduler, config)
    for number in itertools.count():
        if is_over(run):
            break
        trained(scheduler, run, config)
        scheduler.look(run, number % run.view.samples)
        scheduler.save(run).result(DEADLINE)
        scheduler.pause(run)
        if run.state == "paused":
            stepped(scheduler, run, config)
        let_it_turn(scheduler, 3)
    assert facts(run.trainer.records) == alone(config)


def test_a_run_leaves_the_global_random_state_alone(serve):
    scheduler = serve()
    run = opened(scheduler)
    torch.manual_seed(3)
    np.random.seed(3)
    before = bytes(torch.get_rng_state()), str(np.random.get_state())
    trained(scheduler, run, SMALL)
    wait_until(lambda: is_over(run) and run.picture)
    assert (bytes(torch.get_rng_state()), str(np.random.get_state())) == before


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
        assert scheduler.watched() == []
        scheduler.watch(run)
        assert scheduler.watched() == [run]
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
    unwatched(second, WATCHED_SECONDS + 20)
    unwatched(first, WATCHED_SECONDS + 10)
    fourth = opened(scheduler)
    assert scheduler.get(second.id) is None
    assert [scheduler.get(run.id) for run in (first, third, fourth)] == [first, third, fourth]


def test_a_training_or_waiting_run_is_never_thrown_out_for_a_new_one(serve):
    scheduler = serve(kept_runs=2, active_runs=1, unwatched_seconds=1000)
    every = [opened(scheduler, ENDLESS) for _ in range(2)]
    for run in every:
        trained(scheduler, run, ENDLESS)
        unwatched(run, WATCHED_SECONDS + 10)
    with pytest.raises(ServerFull):
        opened(scheduler)
    assert [scheduler.get(run.id) for run in every] == every
    scheduler.stop(every[0])
    wait_until(lambda: every[1].steps_done >= 1)


def test_a_run_forgotten_in_the_line_takes_nobody_s_place(serve):
    scheduler = serve(active_runs=1, kept_seconds=1000, unwatched_seconds=10_000)
    first, second, third = (opened(scheduler, ENDLESS) for _ in range(3))
    for run in (first, second, third):
        trained(scheduler, run, ENDLESS)
    unwatched(second, 2000)
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


def break_after(trainer: Trainer, steps: int, error: Exception) -> None:
    train_step = trainer._train_step

    def broken():
        if trainer.step == steps:
            raise error
        return train_step()

    trainer._train_step = broken


def test_a_run_that_breaks_fails_alone(serve, fine_turns, caplog):
    scheduler = serve()
    good, bad = opened(scheduler, small(epochs=12)), opened(scheduler)
    break_after(bad.trainer, 2, RuntimeError("out of memory\nsecond line"))
    with held(scheduler):
        scheduler.train(good, settings_of(small(epochs=12)))
        scheduler.train(bad, settings_of(SMALL))
    wait_until(lambda: is_over(good) and is_over(bad))
    assert (bad.state, bad.reason) == ("failed", "RuntimeError: out of memory")
    assert bad.steps_done == 2
    assert good.state == "finished"
    assert facts(good.trainer.records) == alone(small(epochs=12))
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
    scheduler.look(second, 1)
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


def test_a_saved_run_is_that_of_its_last_whole_step(serve, fine_turns):
    scheduler = serve()
    run = opened(scheduler, small(epochs=12))
    trained(scheduler, run, small(epochs=12))
    wait_until(lambda: run.steps_done >= 2)
    saved = resume(read_checkpoint(scheduler.save(run).result(DEADLINE)))
    list(saved.pieces())
    assert facts(saved.records) == alone(small(epochs=12))
    wait_until(lambda: is_over(run))
    assert facts(run.trainer.records) == alone(small(epochs=12))


@pytest.mark.parametrize("scene", SCENES)
def test_a_run_of_any_scene_that_takes_turns_does_what_it_does_alone(serve, scene):
    config = small_of(scene)
    scheduler = serve()
    other, run = opened(scheduler, ENDLESS), opened(scheduler, config)
    changed = {**settings_of(config), "hidden_channels": 5}
    trained(scheduler, other, ENDLESS)
    for _ in range(2):
        stepped(scheduler, run, config)
    wait_until(lambda: run.steps_done == 2)
    with held(scheduler):
        scheduler.look(run, 3)
        scheduler.train(run, settings_of(config))
        scheduler.pause(run)
    stepped(scheduler, run, config)
    with pytest.raises(ResetNeeded, match="hidden_channels changed"):
        scheduler.train(run, changed)
    trained(scheduler, run, config)
    wait_until(lambda: is_over(run) and run.picture and run.picture.sample == 3)
    assert run.state == "finished"
    assert facts(run.trainer.records) == alone(config)
    assert other.state == "training"


def test_estimating_one_run_s_cost_touches_no_other_run(monkeypatch):
    # Modules with hooks are read step by step, and so by sums of another order.
    hooked, forward = [], Stack.forward

    def seen(network: Stack, *given: object) -> torch.Tensor:
        hooked.append(bool(torch.nn.modules.module._has_any_global_hook()))
        return forward(network, *given)

    monkeypatch.setattr(Stack, "forward", seen)
    estimate(small(hidden_channels=7, canvas=18), "float32")
    assert hooked
    assert not any(hooked)


def test_costs_are_told_for_this_machine_and_limited_for_any(serve):
    scheduler = serve(run_seconds=2 * estimate(SMALL, "float32").run_seconds)
    let_it_turn(scheduler, 1)  # the machine is measured
    scheduler.slowdown = 10.0
    assert scheduler.check(SMALL) == estimate(SMALL, "float32").slowed(10.0)


def test_the_machine_is_measured_before_anything_else():
    scheduler = Scheduler()
    try:
        let_it_turn(scheduler, 1)
        assert 0 < scheduler.slowdown < math.inf
        cost = scheduler.check(SMALL)
        assert cost == estimate(SMALL, "float32").slowed(scheduler.slowdown)
    finally:
        scheduler.close()


def test_viewers_are_told_before_the_first_piece_and_a_stop_does_not_wait_for_it(
    serve, monkeypatch
):
    scheduler = serve()
    run = opened(scheduler, shipped=True)
    entered, leave = threading.Event(), threading.Event()
    backward = Trainer._backward

    def long_piece(*given: object) -> object:
        entered.set()
        assert leave.wait(DEADLINE)
        return backward(*given)

    monkeypatch.setattr(Trainer, "_backward", long_piece)
    scheduler.train(run, settings_of(ENDLESS))
    assert entered.wait(DEADLINE)
    assert run.snapshot[1]["state"] == "training" and not run.snapshot[1]["shipped"]
    done = scheduler.stop(run)
    leave.set()
    done.result(DEADLINE)
    assert (run.state, run.steps_done, run.trainer.step) == ("stopped", 0, 0)
    wait_until(lambda: run.picture is not None)


def test_a_picture_is_left_when_its_run_is_stopped(serve, monkeypatch):
    scheduler = serve()
    run = opened(scheduler, ENDLESS)
    wait_until(lambda: run.picture is not None)
    drawn, drawing, leave = run.view.draw, threading.Event(), threading.Event()

    def long_picture(*given: object) -> object:
        drawing.set()
        assert leave.wait(DEADLINE)
        return drawn(*given)

    trained(scheduler, run, ENDLESS)
    monkeypatch.setattr(run.view, "draw", long_picture)
    assert drawing.wait(DEADLINE)
    before = run.picture
    scheduler.pause(run)
    leave.set()
    wait_until(lambda: run.picture is not before)
    assert run.state == "paused"
