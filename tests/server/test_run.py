"""A run by itself, without a scheduler."""

from collections.abc import Callable

import pytest

from convlstm import pieces
from convlstm.files.reading import read_checkpoint
from convlstm.server.run import Run
from convlstm.settings import configure
from convlstm.training.presets import default_config
from convlstm.training.trainer import Trainer
from tests.server.helpers import DEADLINE, SCENES, small


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


@pytest.mark.parametrize("scene", SCENES)
def test_what_is_shown_is_not_what_is_trained_on(scene):
    # At seed 0 the first batch of 8 once held the eight shown sequences themselves.
    config = configure({"batch_size": 8, "seed": 0}, default_config(scene))
    trainer, own, seen = Trainer(config), config.scene, config.context_frames
    batch = own.sample(8, seen + 1, trainer.generator)
    future = batch.clean[:, seen:] if own.name == "storm" else batch.clean
    for sample in range(own.samples):
        shown = own.shown(sample, seen, 1).clean
        # What is judged of the storm is after all that was trained on; its context may reach back.
        shown = shown[:, seen:] if own.name == "storm" else shown
        same = (shown.flatten(1)[:, None] == future.flatten(1)).all(-1)
        assert not same.any()


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
    # 4 pieces of 1 s and 2 of 10 s, in both steps.
    assert run.step_seconds == pytest.approx(24)


def test_a_stop_does_not_wait_for_the_piece_under_way(monkeypatch):
    run = Run(Trainer(small(epochs=3, evaluate_every=100)))
    run.steps_wanted = 1
    run.advance(DEADLINE)
    run.state, calls = "training", []

    def backward(*given: object) -> object:
        calls.append(given)
        run.state = "stopped"  # on another thread, while the piece computes
        return compute(*given)

    compute = run.trainer._backward
    monkeypatch.setattr(run.trainer, "_backward", backward)
    run.advance(DEADLINE)
    assert (run.state, run.steps_done, run.trainer.step, len(calls)) == ("stopped", 1, 1, 1)
    assert run.trainer.network.head.weight.grad is None  # left before its end
    assert read_checkpoint(run.content()).run is not None
