"""Runs in memory and on the shelf: nobody's is lost, and all together stay within their memory."""

import time
from collections.abc import Callable, Iterator

import pytest
import torch

from convlstm.server.limits import Limits
from convlstm.server.run import Run
from convlstm.server.runs import Runs, ServerFull
from convlstm.server.shelf import Shelf
from convlstm.training.costs import estimate
from convlstm.training.presets import preset, preset_names
from convlstm.training.trainer import Trainer
from tests.server.helpers import DEADLINE, WATCHED_SECONDS, alone, facts, small, small_of

CONFIG = small(epochs=12)


@pytest.fixture
def make(tmp_path) -> Iterator[Callable[..., Runs]]:
    made: list[Runs] = []

    def runs_with(**limits: float) -> Runs:
        shelf = Shelf(tmp_path, 2**30)
        made.append(Runs(Limits(**limits), torch.device("cpu"), shelf, lambda run_id, step: None))
        return made[-1]

    yield runs_with
    for runs in made:
        runs.close()


def memory_of(runs: float) -> float:
    return runs * estimate(CONFIG, "float32").kept_mib


def trained_for(steps: int) -> Run:
    run = Run(Trainer(CONFIG))
    run.steps_wanted = steps
    while run.wants_work:
        run.advance(0.0001)
    run.state = "paused"
    return run


def left(runs: Runs, run: Run, ago: float = 2 * WATCHED_SECONDS) -> None:
    """Have its viewers gone for a while, and what it learnt written."""
    run.watched_at = time.monotonic() - ago
    runs.keep(run, at_once=True)
    assert runs._shelf.settle(DEADLINE)


def test_all_runs_together_hold_no_more_than_they_may(make):
    runs = make(kept_memory_mib=memory_of(3.5))
    every = []
    for _ in range(6):
        every.append(runs.register(trained_for(3)))
        left(runs, every[-1], 2 * WATCHED_SECONDS - len(every))
        assert sum(run.kept_mib for run in runs.all()) <= memory_of(3.5)
    assert runs.all() == every[3:]  # those that somebody looked at last
    assert runs.steps().keys() == {run.id for run in every}


def test_what_is_kept_is_not_written_again_for_a_look(make):
    runs = make(kept_memory_mib=memory_of(1.5))
    first = runs.register(trained_for(3))
    left(runs, first, 2 * WATCHED_SECONDS + 30)
    put: list[object] = []
    runs._shelf.put = lambda note, content=None: put.append(note)
    for _ in range(30):  # whatever the clock's minute
        first.watched_at -= 1.9
        runs.keep(first, at_once=True)
    assert put == []
    first.watched_at -= 60
    runs.keep(first)
    assert len(put) == 1


def test_a_run_that_was_put_away_comes_back_and_goes_on_bit_for_bit(make):
    runs = make(kept_memory_mib=memory_of(1.5))
    first = runs.register(trained_for(5))
    first.sample = 3
    left(runs, first)
    runs.register(trained_for(1))
    assert runs.get(first.id) is None and runs.is_away(first.id)
    left(runs, runs.all()[0])
    back = runs.bring_back(first.id)
    assert (back.id, back.state, back.sample, back.steps_done) == (first.id, "paused", 3, 5)
    assert back.resumed == ()  # nothing died
    back.state = "training"
    while back.wants_work:
        back.advance(1.0)
    assert facts(back.trainer.records) == alone(CONFIG)


def test_a_run_in_use_is_never_put_away(make):
    runs = make(kept_memory_mib=memory_of(2.5))
    watched, working = runs.register(trained_for(1)), runs.register(trained_for(1))
    left(runs, working)
    working.state = "waiting"
    watched.watched_at = time.monotonic() + DEADLINE
    with pytest.raises(ServerFull, match="memory are in use"):
        runs.register(trained_for(1))
    assert runs.all() == [watched, working]


def test_who_comes_back_to_a_full_server_finds_the_run_later(make):
    runs = make(kept_memory_mib=memory_of(1.5))
    first = runs.register(trained_for(1))
    left(runs, first)
    second = runs.register(trained_for(1))
    second.watched_at = time.monotonic() + DEADLINE
    with pytest.raises(ServerFull):
        runs.bring_back(first.id)
    left(runs, second)
    assert runs.bring_back(first.id).steps_done == 1


def test_a_run_that_the_disk_does_not_take_stays_in_memory(make, monkeypatch):
    def full(*given: object, **named: object) -> None:
        raise OSError("no space")

    runs = make(kept_memory_mib=memory_of(1.5))
    monkeypatch.setattr("convlstm.server.shelf.write_atomically", full)
    first = runs.register(trained_for(1))
    left(runs, first)
    with pytest.raises(ServerFull):
        runs.register(trained_for(1))
    assert runs.all() == [first]


def test_one_run_of_any_size_is_taken(make):
    runs = make(kept_memory_mib=memory_of(0.5))
    run = runs.register(trained_for(1))
    assert runs.all() == [run]


def test_only_runs_that_trained_are_taken_up_after_a_death(make):
    runs = make()
    idle, busy = runs.register(trained_for(2)), runs.register(trained_for(3))
    busy.state = "training"
    for run in (idle, busy):
        left(runs, run)
    again = make()
    assert [run.id for run in again.find(frozenset())] == [busy.id]
    assert again.is_away(idle.id)
    assert again.bring_back(idle.id).steps_done == 2


def test_runs_outlive_a_night_without_a_server(make, monkeypatch):
    runs = make()
    run = runs.register(trained_for(2))
    left(runs, run)
    tomorrow = time.time() + 86_400
    monkeypatch.setattr(time, "time", lambda: tomorrow)
    again = make()
    again.find(frozenset())
    assert again.bring_back(run.id).steps_done == 2


def test_a_run_put_away_is_forgotten_in_the_end(make):
    runs = make(kept_memory_mib=memory_of(1.5), kept_seconds=10 * WATCHED_SECONDS)
    first = runs.register(trained_for(1))
    left(runs, first)
    runs.register(trained_for(1))
    assert runs.forget_old() == [] and runs.is_away(first.id)
    runs._away[first.id] -= 20 * WATCHED_SECONDS
    runs.forget_old()
    assert not runs.is_away(first.id) and runs.bring_back(first.id) is None


@pytest.mark.parametrize("name", preset_names())
@pytest.mark.parametrize("settings", [{}, {"ema": 0.99}])
def test_what_a_run_keeps_is_estimated_above_what_it_holds(name, settings):
    if "article" in name or "openstl" in name:
        settings = {**settings, "hidden_channels": 8}
    config = small_of(preset(name).scene.name, **settings)
    trainer = Trainer(config)
    for _ in zip(range(2), (r for r in trainer.pieces() if r), strict=False):
        pass
    trainer.evaluate()
    held: dict[int, int] = {}

    def count(value: object) -> None:
        if isinstance(value, torch.Tensor):
            held[value.untyped_storage().data_ptr()] = value.untyped_storage().nbytes()
        elif isinstance(value, dict):
            for each in value.values():
                count(each)

    count(dict(trainer.network.named_parameters()))
    count({name: p.grad for name, p in trainer.network.named_parameters()})
    count(trainer.best_weights)
    count(trainer.optimizer.state())
    if trainer.averaged:
        count(trainer.averaged.state_dict())
    clip = trainer._validation._clip
    count({name: getattr(clip, name) for name in ("observed", "clean", "valid")})
    assert 0 < sum(held.values()) <= estimate(config, trainer.precision).kept_mib * 2**20
