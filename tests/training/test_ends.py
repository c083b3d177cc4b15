"""Training: every way it ends, and changes on the way."""

import math
from dataclasses import replace
from itertools import islice

import pytest
import torch

from convlstm.checks import SettingError
from convlstm.scenes.scene import Clip
from convlstm.scenes.squares import Squares
from convlstm.settings import differences
from convlstm.training import TrainConfig, Trainer, train
from convlstm.training.losses import LOSSES
from convlstm.training.records import Change
from tests.training.runs import BASES, DIGITS, SQUARES, run_of, same, small, trained, weights

every_scene = pytest.mark.parametrize("base", BASES)


@every_scene
def test_a_run_is_finished_after_its_last_step(base):
    trainer = Trainer(BASES[base])
    records = list(train(BASES[base], trainer=trainer))
    steps = BASES[base].total_steps
    assert [record.ended for record in records] == [None] * (steps - 1) + ["finished"]
    assert trainer.ended == "finished"
    assert trainer.progress == 1
    assert list(trainer.pieces()) == []


def test_a_run_reaches_its_goal_on_the_validation_set():
    full = [r.evaluation.model.mse for r in train(small(evaluate_every=1))]
    goal = sorted(full)[len(full) // 2]
    expected = next(step for step, mse in enumerate(full, start=1) if mse < goal)
    trainer = Trainer(small(evaluate_every=1, stop_below=goal))
    records = [piece for piece in trainer.pieces() if piece]
    assert trainer.ended == trainer.records[-1].ended == "goal"
    assert trainer.step == expected
    assert records[-1].evaluation.model.mse < goal


def test_a_run_that_only_trains_well_does_not_reach_its_goal(monkeypatch):
    backward = Trainer._backward
    monkeypatch.setattr(Trainer, "_backward", lambda self, *given: 0 * backward(self, *given))
    records = list(train(small(stop_below=1e-6)))
    assert {record.mse for record in records} == {0.0}
    assert records[-1].ended == "finished"


def test_a_goal_of_zero_never_ends_a_run():
    assert [r.ended for r in train(small(stop_below=0.0))][-1] == "finished"


def test_patience_counts_evaluations_since_the_best(monkeypatch):
    losses = iter([3.0, 2.0, 2.5, 2.0, 1.9, 2.0, 2.0, 2.0, 0.0])
    trainer = Trainer(small(epochs=50, evaluate_every=1, patience=3))
    found = trainer.evaluate()

    def evaluate(clock):
        yield from clock.interruption()
        return next(losses), found

    monkeypatch.setattr(trainer, "_evaluation_pieces", evaluate)
    records = list(train(trainer.config, trainer=trainer))
    assert records[-1].validation_loss == 2.0
    assert (len(records), records[-1].ended) == (8, "patience")
    assert trainer.best_loss == 1.9


def test_a_time_budget_decides_the_schedule_and_the_end(monkeypatch):
    clock = iter(range(0, 10_000, 10))  # every look at the clock is 10 s later
    monkeypatch.setattr("convlstm.pieces.time.perf_counter", lambda: next(clock))
    trainer = Trainer(run_of("digits", max_minutes=1, epochs=1))
    records = list(train(trainer.config, trainer=trainer))
    assert 2 < len(records) < 10
    assert records[-1].ended == "finished"
    assert records[-1].evaluation is not None
    assert records[0].progress == 0
    assert [r.progress for r in records] == sorted({r.progress for r in records})
    rates = [record.learning_rate for record in records]
    assert rates[0] == pytest.approx(trainer.config.learning_rate / 25)
    assert rates[-1] < max(rates) <= trainer.config.learning_rate
    assert trainer.total_steps == len(records)


def diverge_at(monkeypatch, step: int, value: float) -> None:
    """Let the loss be a value in one step."""
    backward = Trainer._backward

    def broken(self, *given):
        sums = backward(self, *given)
        return torch.full_like(sums, value) if self.step + 1 == step else sums

    monkeypatch.setattr(Trainer, "_backward", broken)


@pytest.mark.parametrize(
    ("value", "ema"), [(math.nan, 0), (math.inf, 0), (1e6, 0), (math.nan, 0.9)]
)
@every_scene
def test_a_run_whose_loss_is_lost_ends_with_its_best_weights(monkeypatch, base, ema, value):
    diverge_at(monkeypatch, 6, value)
    config = run_of(base, epochs=20, evaluate_every=2, ema=ema)
    trainer = Trainer(config)
    at = {0: {}}
    for record in trainer.pieces():
        if record:
            at[record.step] = {n: v.clone() for n, v in trainer.judged.state_dict().items()}
    assert trainer.ended == trainer.records[-1].ended == "diverged"
    assert trainer.step == 6
    scored = {r.step: r.validation_loss for r in trainer.records if r.evaluation}
    assert list(scored) == [2, 4]
    assert trainer.best_loss == min(scored.values())
    best = at[min(scored, key=scored.get)]
    assert same(trainer.best_weights, best)
    assert same(weights(trainer), best)
    assert same(trainer.judged.state_dict(), best)
    assert math.isfinite(trainer.evaluate().model.mse)


def test_a_run_that_is_lost_in_its_first_step_keeps_its_first_weights(monkeypatch):
    diverge_at(monkeypatch, 1, math.nan)
    trainer = Trainer(SQUARES)
    before = weights(trainer)
    assert [record.ended for record in trainer.pieces() if record] == ["diverged"]
    assert same(weights(trainer), before)


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_best(monkeypatch):
    trainer = Trainer(run_of("digits", epochs=10))
    list(islice(train(DIGITS, trainer=trainer), 2))
    best, before = dict(trainer.best_weights), weights(trainer)
    broken = lambda values, frames, truth, ssim_weight: values.sum() * math.nan  # noqa: E731
    monkeypatch.setitem(LOSSES, trainer.config.loss, broken)
    records = list(train(DIGITS, trainer=trainer))
    assert [record.ended for record in records] == ["diverged"]
    assert same(trainer.best_weights, best)
    assert same(weights(trainer), before)


def break_gradient_at(monkeypatch, step: int) -> None:
    backward = Trainer._backward

    def broken(self, *given):
        sums = backward(self, *given)
        if self.step == step:
            next(self.network.parameters()).grad[0, 0, 0, 0] = math.inf
        return sums

    monkeypatch.setattr(Trainer, "_backward", broken)


@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_a_gradient_that_is_not_finite_never_reaches_the_weights(monkeypatch, clip):
    break_gradient_at(monkeypatch, 3)
    trainer = trained("squares", gradient_clip=clip)
    assert trainer.ended == "diverged"
    assert trainer.step == 4
    assert all(value.isfinite().all() for value in weights(trainer).values())


def test_under_float16_a_gradient_that_overflows_is_left_out_and_the_run_goes_on(monkeypatch):
    break_gradient_at(monkeypatch, 1)
    config = small(precision="float16", epochs=3)
    trainer, after = Trainer(config), []
    scale = trainer.scaler.get_scale()
    for _ in train(config, trainer=trainer):
        after.append(weights(trainer))
    assert trainer.ended == "finished"
    assert same(after[0], after[1])
    assert not same(after[1], after[2])
    assert trainer.scaler.get_scale() < scale


def test_a_learning_rate_far_too_high_leaves_finite_weights_that_are_the_best_ones():
    trainer = trained(
        "squares",
        output="linear",
        loss="mse",
        learning_rate=1.0,
        schedule="constant",
        gradient_clip=0,
        hidden_channels=64,
        kernel_size=1,
        evaluate_every=1,
    )
    assert trainer.ended == "diverged"
    assert all(value.isfinite().all() for value in weights(trainer).values())
    assert same(weights(trainer), trainer.best_weights)
    scored = [r.validation_loss for r in trainer.records if r.evaluation]
    assert trainer.best_loss == min(scored)
    assert trainer.evaluate().model.mse == pytest.approx(trainer.best_loss)


@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_the_best_weights_can_be_put_back(ema):
    settings = {"epochs": 3, "evaluate_every": 1, "learning_rate": 0.3, "schedule": "constant"}
    trainer = trained("squares", ema=ema, **settings)
    scored = [record.validation_loss for record in trainer.records]
    assert trainer.best_loss == min(scored) < scored[-1]
    trainer.restore_best()
    best = trainer.records[scored.index(min(scored))]
    assert trainer.evaluate().model.mse == best.evaluation.model.mse


def test_the_average_follows_the_weights():
    trainer = Trainer(run_of("digits", ema=0.999))
    expected = {name: value.clone() for name, value in trainer.judged.state_dict().items()}
    for record in islice(train(DIGITS, trainer=trainer), 3):
        decay = record.step / (9 + record.step)  # early on it follows closely
        for name, value in trainer.network.state_dict().items():
            expected[name] = decay * expected[name] + (1 - decay) * value
    for name, value in trainer.judged.state_dict().items():
        torch.testing.assert_close(value, expected[name])


def test_an_average_that_remembers_nothing_follows_at_its_own_decay():
    trainer = Trainer(small(ema=0.2))
    expected = weights(trainer)
    for record in islice(train(SQUARES, trainer=trainer), 5):
        decay = min(0.2, record.step / (9 + record.step))
        for name, value in trainer.network.state_dict().items():
            expected[name] = decay * expected[name] + (1 - decay) * value
    for name, value in trainer.judged.state_dict().items():
        torch.testing.assert_close(value, expected[name])
    assert Trainer(SQUARES).averaged is None
    assert (plain := Trainer(SQUARES)).judged is plain.network


# Changes on the way.


@pytest.mark.parametrize(
    ("base", "moving"),
    [("squares", {"directions": "all", "walls": "bounce"}), ("digits", {})],
)
def test_a_change_of_speed_or_rate_is_kept_and_acts_from_the_next_step(base, moving):
    config = run_of(base, schedule="constant", **moving)
    trainer = Trainer(config)
    list(islice(train(config, trainer=trainer), 3))
    before = trainer.evaluate()
    trainer.change(learning_rate=0.1)
    assert trainer.evaluate() == before
    trainer.change(speed=5, learning_rate=0.1)
    assert trainer.changes == [
        Change(3, "learning_rate", config.learning_rate, 0.1),
        Change(3, "speed", config.scene.speed, 5),
    ]
    assert trainer.evaluate().baselines["copy_last"] != before.baselines["copy_last"]
    records = list(train(config, trainer=trainer))
    assert {record.learning_rate for record in records} == {0.1}
    assert trainer.config == replace(
        config, learning_rate=0.1, scene=replace(config.scene, speed=5)
    )
    fresh = Trainer(run_of(base, speed=5, **moving)).evaluate()
    assert records[-1].evaluation.baselines == fresh.baselines


def test_a_changed_scene_is_trained_on_from_the_next_step(monkeypatch):
    trainer, drawn = Trainer(SQUARES), []
    sample = Squares.sample

    def seen(self, batch_size, num_frames, generator, split="train") -> Clip:
        drawn.append((self.speed, split))
        return sample(self, batch_size, num_frames, generator, split)

    monkeypatch.setattr(Squares, "sample", seen)
    list(islice(train(SQUARES, trainer=trainer), 2))
    trainer.change(speed=5)
    list(islice(train(SQUARES, trainer=trainer), 1))
    assert [speed for speed, split in drawn if split == "train"] == [2, 2, 5]
    assert (5, "validation") in drawn


@pytest.mark.parametrize("base", ["squares", "digits"])
def test_a_value_that_stays_the_same_is_no_change(base):
    config = BASES[base]
    trainer = Trainer(config)
    trainer.change(speed=config.scene.speed, learning_rate=config.learning_rate)
    assert trainer.changes == []
    assert differences(trainer.config, config) == {}


@pytest.mark.parametrize("base", ["squares", "digits"])
def test_another_speed_forgets_what_was_best_before(base):
    trainer = Trainer(run_of(base, evaluate_every=1))
    list(islice(train(trainer.config, trainer=trainer), 3))
    assert math.isfinite(trainer.best_loss)
    trainer.change(speed=4)
    assert trainer.best_loss == math.inf
    assert same(trainer.best_weights, weights(trainer))


@pytest.mark.parametrize(
    ("base", "settings", "message"),
    [
        ("squares", {"speed": 9}, "speed is 9: must be a whole number from 0 to 8."),
        (
            "squares",
            {"learning_rate": 0},
            "learning_rate is 0: must be a number from 1e-06 to 1.",
        ),
        (
            "squares",
            {"canvas": 32},
            "canvas is 32: is not a setting; the settings are speed, learning_rate.",
        ),
        (
            "squares",
            {"speed": 3, "learning_rate": 2},
            "learning_rate is 2: must be a number from 1e-06 to 1.",
        ),
        ("digits", {"speed": 8.5}, "speed is 8.5: must be a number from 0 to 8."),
        ("storm", {"speed": 1}, "speed is 1: is not a setting; the settings are learning_rate."),
    ],
)
def test_a_refused_change_changes_nothing(base, settings, message):
    trainer = Trainer(BASES[base])
    with pytest.raises(SettingError) as caught:
        trainer.change(**settings)
    assert str(caught.value) == message
    assert trainer.config == BASES[base]
    assert trainer.changes == []


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_the_precision_is_that_of_the_convolutions(precision):
    trainer, seen = Trainer(small(precision=precision)), set()
    trainer.network.head.register_forward_hook(lambda head, x, result: seen.add(str(result.dtype)))
    next(train(SQUARES, trainer=trainer))
    assert seen == {f"torch.{precision}"}
    assert trainer.predict(torch.zeros(1, 2, 1, 16, 16), 2).dtype == torch.float32
    assert {value.dtype for value in weights(trainer).values()} == {torch.float32}


def test_errors_of_smaller_frames_are_told_per_pixel_of_whole_ones():
    config = TrainConfig(scene=Squares(canvas=64, small_frames=1.0), epochs=1, precision="float32")
    whole, small = (
        next(train(each)) for each in (config, replace(config, scene=Squares(canvas=48)))
    )
    assert whole.loss == small.loss
    assert whole.mse == pytest.approx(small.mse * (48 / 64) ** 2)
