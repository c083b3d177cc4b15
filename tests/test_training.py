"""Training: what decides a run, what does not, and every way it ends."""

import math
import random
from dataclasses import replace
from itertools import islice, zip_longest

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR

from convlstm import pieces, training
from convlstm.checks import SettingError
from convlstm.data import CONTEXT_FRAMES, SquaresConfig, sample_squares
from convlstm.losses import LOSSES
from convlstm.metrics import black_frames, copy_last_frame, score
from convlstm.predictor import ModelConfig, build_predictor
from convlstm.presets import PRESETS
from convlstm.settings import MAX_SEED, Change, settings_of
from convlstm.train_config import TRAIN_NAMES, TrainConfig, train_config
from convlstm.training import (
    HELD_OUT_SEQUENCES,
    StepRecord,
    Trainer,
    learning_rate_at,
    resolve_precision,
    train,
)

SMALL = train_config(
    {
        "canvas": 16,
        "square_size": 3,
        "hidden_channels": 4,
        "kernel_size": 3,
        "epochs": 8,
        "batch_size": 4,
        "evaluate_every": 3,
        "precision": "float32",
        "learning_rate": 0.015,
        "loss": "bce",
    }
)


def small(**settings: object) -> TrainConfig:
    return train_config(settings, SMALL)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def facts(records: list[StepRecord]) -> list[StepRecord]:
    """Records without their times, which no two runs share."""
    return [replace(record, seconds=0.0) for record in records]


def weights(trainer: Trainer) -> list[torch.Tensor]:
    return [value.clone() for value in trainer.model.state_dict().values()]


def are_equal(one: list[torch.Tensor], two: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def global_random_state() -> tuple[object, ...]:
    return bytes(torch.get_rng_state()), str(np.random.get_state()), random.getstate()


def disturb_the_global_random_state(number: int) -> None:
    torch.manual_seed(number)
    np.random.seed(number)
    random.seed(number)


@pytest.fixture
def fine_pieces(monkeypatch):
    """One sequence in a piece of a step, eight in a piece of an evaluation."""
    monkeypatch.setattr(training, "training_chunk", lambda config: 1)
    monkeypatch.setattr(training, "evaluation_chunk", lambda config: 8)


# What decides a run.


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_the_same_settings_give_the_same_losses_bit_for_bit(precision):
    config = small(precision=precision, noise=0.1)
    one, two = Trainer(config), Trainer(config)
    assert facts(train(config, trainer=one)) == facts(train(config, trainer=two))
    assert are_equal(weights(one), weights(two))


@pytest.mark.parametrize("changed", [{"seed": 1}, {"learning_rate": 0.01}, {"batch_size": 5}])
def test_other_settings_give_other_losses(changed):
    other = [record.loss for record in train(small(**changed))]
    assert [record.loss for record in train(SMALL)][1:] != other[1:]


def test_two_runs_in_turns_do_what_each_does_alone(fine_pieces):
    configs = small(noise=0.1), small(seed=3, num_layers=2, loss="l1")
    alone = [facts(train(config)) for config in configs]
    together = [Trainer(config) for config in configs]
    for number, _ in enumerate(zip_longest(*(trainer.pieces() for trainer in together))):
        disturb_the_global_random_state(number)
    assert [facts(trainer.records) for trainer in together] == alone


def test_a_run_leaves_every_global_random_state_alone():
    disturb_the_global_random_state(11)
    before = global_random_state()
    trainer = Trainer(small(noise=0.1, peephole=True))
    list(trainer.pieces())
    trainer.evaluate()
    trainer.predict(torch.zeros(1, 2, 1, 16, 16), 2)
    trainer.change(speed=4)
    assert global_random_state() == before


def test_calling_eval_between_two_records_changes_nothing():
    trainer, expected = Trainer(SMALL), facts(train(SMALL))
    for _ in train(SMALL, trainer=trainer):
        trainer.model.eval()
        trainer.predict(torch.zeros(1, 2, 1, 16, 16), 3)
        trainer.evaluate()
    assert facts(trainer.records) == expected


@pytest.mark.parametrize("pulls", range(1, 14))
def test_closing_anywhere_and_going_on_changes_nothing(fine_pieces, pulls):
    config = small(epochs=4, noise=0.1)
    uninterrupted = Trainer(config)
    list(uninterrupted.pieces())
    trainer = Trainer(config)
    while trainer.ended is None:
        pieces = trainer.pieces()
        list(islice(pieces, pulls if trainer.step < 2 else None))
        pieces.close()
        if pulls < 9 and trainer.step < 2:  # a step takes 4 pieces, an evaluation 4 more
            pulls += 1
    assert facts(trainer.records) == facts(uninterrupted.records)
    assert are_equal(weights(trainer), weights(uninterrupted))


def test_closing_in_mid_step_leaves_everything_as_it_was(fine_pieces):
    trainer = Trainer(small(noise=0.1))
    list(islice(train(SMALL, trainer=trainer), 2))
    before = weights(trainer), bytes(trainer.generator.get_state()), list(trainer.records)
    pieces = trainer.pieces()
    assert next(pieces) is None
    assert bytes(trainer.generator.get_state()) != before[1]
    pieces.close()
    assert bytes(trainer.generator.get_state()) == before[1]
    assert trainer.records == before[2]
    assert are_equal(weights(trainer), before[0])
    assert all(p.grad is None or not p.grad.any() for p in trainer.model.parameters())


def test_a_step_that_breaks_off_is_drawn_again(fine_pieces, monkeypatch):
    trainer, expected = Trainer(SMALL), facts(train(SMALL))
    list(islice(train(SMALL, trainer=trainer), 1))
    backward, calls = trainer._backward, []

    def interrupted(batch):
        calls.append(batch)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return backward(batch)

    monkeypatch.setattr(trainer, "_backward", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(trainer.pieces())
    list(trainer.pieces())
    assert facts(trainer.records) == expected


@pytest.mark.parametrize("targets", ["all", "last"])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_step_cut_into_chunks_has_the_gradient_of_the_whole(monkeypatch, loss, targets):
    config = small(batch_size=5, loss=loss, targets=targets, gradient_clip=0, noise=0.2)
    found = []
    for size in (5, 1, 2):
        monkeypatch.setattr(training, "training_chunk", lambda config, size=size: size)
        trainer, gradients = Trainer(config), []
        trainer.optimizer.register_step_pre_hook(
            lambda optimizer, *_, kept=gradients: kept.extend(
                p.grad.clone() for p in optimizer.param_groups[0]["params"]
            )
        )
        record = next(train(config, trainer=trainer))
        found.append((gradients, record.loss, record.mse))
    for gradients, value, mse in found[1:]:
        torch.testing.assert_close(gradients, found[0][0], rtol=1e-3, atol=1e-6)
        assert value == pytest.approx(found[0][1], rel=1e-5)
        assert mse == pytest.approx(found[0][2], rel=1e-5)


def plain_steps(config: TrainConfig, steps: int) -> list[float]:
    """The training loop as a textbook has it."""
    model = build_predictor(config.model, seeded(config.seed))
    optimizer = torch.optim.Adam(model.parameters(), config.learning_rate)
    scheduler = None
    if config.schedule == "onecycle":
        scheduler = OneCycleLR(
            optimizer,
            config.learning_rate,
            config.total_steps,
            pct_start=0.15,
            cycle_momentum=False,
        )
    generator, losses = Trainer(config).generator, []
    for _ in range(steps):
        observed, clean = sample_squares(config.scene, config.batch_size, 10, generator)
        values, _ = model(observed[:, :9])
        truth = clean[:, 1:]
        if config.targets == "last":
            values, truth = values[:, -1:], truth[:, -1:]
        frames = values.sigmoid() if config.model.output == "sigmoid" else values
        loss = LOSSES[config.loss](values, frames, truth)
        optimizer.zero_grad()
        loss.backward()
        if config.gradient_clip:
            torch.nn.utils.clip_grad_norm_(model.parameters(), config.gradient_clip)
        optimizer.step()
        if scheduler:
            scheduler.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize(
    "settings",
    [
        {"noise": 0.1},
        {"schedule": "constant", "gradient_clip": 0},
        {"targets": "last", "loss": "mse", "output": "linear", "forget_bias": 0},
        {"loss": "mse+ssim", "gradient_clip": 0.01, "learning_rate": 0.05},
        {"loss": "l1", "num_layers": 2, "residual": True, "peephole": True},
    ],
)
def test_a_run_is_the_plain_loop_of_a_textbook(settings):
    config = small(**settings)
    found = [record.loss for record in train(config)]
    assert found == pytest.approx(plain_steps(config, 8), rel=1e-4)


# That it learns.


def test_one_fixed_batch_is_learnt():
    model = build_predictor(SMALL.model, seeded())
    frames = sample_squares(SMALL.scene, 2, 10, seeded()).clean
    optimizer = torch.optim.Adam(model.parameters(), 0.03)
    for _ in range(120):
        values, _ = model(frames[:, :9])
        loss = LOSSES["bce"](values, values.sigmoid(), frames[:, 1:])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    predicted = model.predict(frames[:, :9], 1)
    assert score(predicted, frames[:, 9:]).mse < 0.2 * score(frames[:, 8:9], frames[:, 9:]).mse


def test_a_small_scene_is_learnt_better_than_any_trivial_prediction():
    config = small(
        walls="bounce",
        speed=1,
        hidden_channels=8,
        kernel_size=5,
        epochs=150,
        learning_rate=0.03,
        evaluate_every=50,
    )
    *_, last = train(config)
    found = last.evaluation
    assert found.skill > 0.75
    assert found.model.mse < 0.5 * min(found.black.mse, found.copy_last.mse)
    assert found.model.ssim > max(found.black.ssim, found.copy_last.ssim)
    assert not found.is_black


@pytest.mark.parametrize("schedule", ["onecycle", "constant"])
@pytest.mark.parametrize("targets", ["all", "last"])
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_target_and_schedule_trains(loss, targets, schedule):
    config = small(
        loss=loss, targets=targets, schedule=schedule, epochs=25, speed=1, seed=2, evaluate_every=25
    )
    records = list(train(config))
    losses = [record.loss for record in records]
    assert np.mean(losses[-6:]) < np.mean(losses[:6])
    assert records[-1].ended == "finished"


@pytest.mark.parametrize(
    "settings",
    [
        {"output": "linear", "loss": "mse"},
        {"peephole": True},
        {"num_layers": 2, "residual": True},
        {"num_layers": 3, "kernel_size": 1},
        {"forget_bias": 0.0},
        {"gradient_clip": 0.0},
        {"precision": "bfloat16"},
        {"noise": 0.3},
        {"directions": "all", "walls": "bounce", "num_squares": 3},
    ],
)
def test_every_option_trains(settings):
    config = small(
        **{
            "epochs": 25,
            "evaluate_every": 25,
            "schedule": "constant",
            "learning_rate": 0.01,
            **settings,
        }
    )
    trainer = Trainer(config)
    before = weights(trainer)
    losses = [record.loss for record in train(config, trainer=trainer)]
    assert np.mean(losses[-6:]) < np.mean(losses[:6])
    assert all(not torch.equal(a, b) for a, b in zip(before, weights(trainer), strict=True))


def test_gradients_are_clipped_to_their_largest_norm():
    norms = []
    for limit in (0.01, 0.0):
        config = small(gradient_clip=limit, epochs=1)
        trainer = Trainer(config)
        trainer.optimizer.register_step_pre_hook(
            lambda optimizer, *_: norms.append(
                math.hypot(*(p.grad.norm().item() for p in optimizer.param_groups[0]["params"]))
            )
        )
        list(trainer.pieces())
    assert norms[0] == pytest.approx(0.01, rel=1e-3)
    assert norms[1] > 0.02


@pytest.mark.parametrize("total_steps", [1, 2, 3, 6, 7, 8, 20, 21, 120, 997])
def test_the_one_cycle_rate_is_torch_s(total_steps):
    config = TrainConfig(epochs=total_steps, learning_rate=0.02)
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    scheduler = OneCycleLR(optimizer, 0.02, total_steps, pct_start=0.15, cycle_momentum=False)
    for step in range(total_steps):
        expected = optimizer.param_groups[0]["lr"]
        assert learning_rate_at(config, step) == pytest.approx(expected, rel=1e-9)
        optimizer.step()
        if step < total_steps - 1:
            scheduler.step()


def test_the_constant_rate_stays():
    config = TrainConfig(schedule="constant", learning_rate=0.02)
    assert {learning_rate_at(config, step) for step in range(120)} == {0.02}


def test_the_optimizer_is_given_the_rate_that_the_record_names():
    used = []
    trainer = Trainer(SMALL)
    trainer.optimizer.register_step_pre_hook(
        lambda optimizer, *_: used.append(optimizer.param_groups[0]["lr"])
    )
    records = list(train(SMALL, trainer=trainer))
    assert used == [record.learning_rate for record in records]
    assert used == [learning_rate_at(SMALL, step) for step in range(8)]


# The held-out set and what is said of it.


@pytest.mark.parametrize("seed", [0, 1, MAX_SEED - 1, MAX_SEED])
@pytest.mark.parametrize("batch_size", [4, 8, 32])
def test_no_run_trains_on_the_held_out_set_whatever_its_seed(seed, batch_size):
    # A generator on the CPU reads the lower 32 bits of its seed only; seeds that differed in the
    # others made the first batch of 32 under seed 0 the held-out set itself.
    trainer = Trainer(TrainConfig(seed=seed, batch_size=batch_size))
    context, truth = trainer._held_out
    held_out = torch.cat([context, truth], 1).flatten(1)
    for _ in range(32 // batch_size):
        batch = sample_squares(trainer.config.scene, batch_size, 10, trainer.generator)
        same = (batch.clean.flatten(1)[:, None] == held_out).all(-1)
        assert same.sum() <= 1  # one in 13,456 sequences is the same by chance


def test_the_held_out_set_does_not_depend_on_the_seed():
    one, two = Trainer(small(seed=0)), Trainer(small(seed=5, batch_size=2, learning_rate=0.1))
    assert torch.equal(one._held_out[0], two._held_out[0])
    assert torch.equal(one._held_out[1], two._held_out[1])
    assert len(one._held_out[0]) == HELD_OUT_SEQUENCES


@pytest.mark.parametrize("seed", [0, 7, MAX_SEED])
def test_weights_and_sequences_come_from_different_streams(seed):
    trainer = Trainer(small(seed=seed))
    of_weights = torch.rand(64, generator=seeded(seed))
    assert not torch.equal(torch.rand(64, generator=trainer.generator), of_weights)


def test_an_evaluation_scores_the_model_beside_the_baselines():
    trainer = Trainer(small(noise=0.2))
    list(trainer.pieces())
    context, truth = trainer._held_out
    assert context.shape == (HELD_OUT_SEQUENCES, CONTEXT_FRAMES, 1, 16, 16)
    assert truth.unique().tolist() == [0, 1]  # the noise is on what the model sees
    assert len(context.unique()) > 2
    found = trainer.evaluate()
    predicted = trainer.model.predict(context, 1)
    assert found.model == score(predicted, truth)
    assert found.black == score(black_frames(truth), truth)
    assert found.copy_last == score(copy_last_frame(context, 1), truth)
    assert found.brightest == predicted.max().item()
    assert found == trainer.records[-1].evaluation


@pytest.mark.parametrize(("every", "at"), [(3, [1, 3, 6, 8]), (1, list(range(1, 9))), (9, [1, 8])])
def test_evaluations_come_at_the_first_the_last_and_every_so_many_steps(every, at):
    records = list(train(small(evaluate_every=every)))
    assert [record.step for record in records if record.evaluation] == at


def test_the_mse_of_a_record_is_that_of_its_last_frames():
    config = small(loss="bce", targets="all", noise=0.3)
    trainer = Trainer(config)
    model = build_predictor(config.model, seeded(config.seed))
    batch = sample_squares(config.scene, 4, 10, Trainer(config).generator)
    predicted = model(batch.observed[:, :9])[0][:, -1].sigmoid()
    expected = (predicted - batch.clean[:, 9]).square().mean().item()
    assert next(train(config, trainer=trainer)).mse == pytest.approx(expected, rel=1e-5)


def test_records_count_steps_and_epochs_and_their_time_grows():
    config = small(epochs=3, batches_per_epoch=2)
    records = list(train(config))
    assert [(r.step, r.epoch) for r in records] == [(1, 1), (2, 1), (3, 2), (4, 2), (5, 3), (6, 3)]
    seconds = [record.seconds for record in records]
    assert seconds == sorted(seconds)
    assert seconds[0] > 0


def test_time_that_passes_between_two_pieces_does_not_count(fine_pieces, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(pieces.time, "perf_counter", lambda: now[0])
    trainer = Trainer(small(epochs=2))
    backward, predict = trainer._backward, trainer.predict

    def taking(seconds, work):
        def wrapper(*given):
            now[0] += seconds
            return work(*given)

        return wrapper

    monkeypatch.setattr(trainer, "_backward", taking(1.0, backward))
    monkeypatch.setattr(trainer, "predict", taking(10.0, predict))
    for _ in trainer.pieces():
        now[0] += 1000  # somebody else's turn
    # Each step has 4 pieces of 1 s, each evaluation 4 pieces of 10 s, and both steps have one.
    assert [record.seconds for record in trainer.records] == pytest.approx([44, 88])


# How a run ends.


def test_a_run_is_finished_after_its_last_step():
    trainer = Trainer(SMALL)
    records = list(train(SMALL, trainer=trainer))
    assert [record.ended for record in records] == [None] * 7 + ["finished"]
    assert trainer.ended == "finished"
    assert list(trainer.pieces()) == []


def test_a_run_reaches_its_goal_on_the_held_out_set():
    full = [r.evaluation.model.mse for r in train(small(evaluate_every=1))]
    goal = sorted(full)[len(full) // 2]
    expected = next(step for step, mse in enumerate(full, start=1) if mse < goal)
    trainer = Trainer(small(evaluate_every=1, stop_below=goal))
    records = list(trainer.pieces())
    assert trainer.ended == trainer.records[-1].ended == "goal"
    assert trainer.step == expected
    assert records[-1].evaluation.model.mse < goal


def test_a_run_that_only_trains_well_does_not_reach_its_goal(monkeypatch):
    backward = Trainer._backward
    monkeypatch.setattr(Trainer, "_backward", lambda self, batch: 0 * backward(self, batch))
    records = list(train(small(stop_below=1e-6)))
    assert {record.mse for record in records} == {0.0}
    assert records[-1].ended == "finished"


def test_a_goal_of_zero_never_ends_a_run():
    assert [r.ended for r in train(small(stop_below=0.0))][-1] == "finished"


def diverge_at(monkeypatch, step: int, value: float) -> None:
    """Let the loss be a value in one step."""
    backward = Trainer._backward

    def broken(self, batch):
        sums = backward(self, batch)
        return torch.full_like(sums, value) if self.step + 1 == step else sums

    monkeypatch.setattr(Trainer, "_backward", broken)


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e6])
def test_a_run_whose_loss_is_lost_ends_with_its_best_weights(monkeypatch, value):
    diverge_at(monkeypatch, 6, value)
    config = small(epochs=20, evaluate_every=2)
    trainer = Trainer(config)
    at = {0: weights(trainer)}
    for record in trainer.pieces():
        if record:
            at[record.step] = weights(trainer)
    assert trainer.ended == trainer.records[-1].ended == "diverged"
    assert trainer.step == 6
    scored = {r.step: r.evaluation.model.mse for r in trainer.records if r.evaluation}
    assert trainer.best_mse == min(scored.values())
    assert are_equal(weights(trainer), at[min(scored, key=scored.get)])
    assert math.isfinite(trainer.evaluate().model.mse)


def test_a_run_that_is_lost_in_its_first_step_keeps_its_first_weights(monkeypatch):
    diverge_at(monkeypatch, 1, math.nan)
    trainer = Trainer(SMALL)
    before = weights(trainer)
    assert [record.ended for record in trainer.pieces() if record] == ["diverged"]
    assert are_equal(weights(trainer), before)


def test_a_gradient_that_is_not_finite_never_reaches_the_weights(monkeypatch):
    backward = Trainer._backward

    def broken(self, batch):
        sums = backward(self, batch)
        if self.step == 3:
            next(self.model.parameters()).grad[0, 0, 0, 0] = math.inf
        return sums

    monkeypatch.setattr(Trainer, "_backward", broken)
    for clip in (0.0, 1.0):
        trainer = Trainer(small(gradient_clip=clip))
        list(trainer.pieces())
        assert trainer.ended == "diverged"
        assert trainer.step == 4
        assert all(value.isfinite().all() for value in weights(trainer))


def test_a_learning_rate_far_too_high_leaves_finite_weights_that_are_the_best_ones():
    config = small(
        output="linear",
        loss="mse",
        learning_rate=1.0,
        schedule="constant",
        gradient_clip=0,
        hidden_channels=64,
        kernel_size=1,
    )
    trainer = Trainer(config)
    list(trainer.pieces())
    assert trainer.ended == "diverged"
    assert all(value.isfinite().all() for value in weights(trainer))
    assert are_equal(weights(trainer), list(trainer.best_weights.values()))
    assert trainer.evaluate().model.mse == pytest.approx(trainer.best_mse)


def test_the_best_weights_can_be_put_back():
    trainer = Trainer(small(evaluate_every=1, learning_rate=0.3, schedule="constant"))
    list(trainer.pieces())
    scored = [record.evaluation.model.mse for record in trainer.records]
    assert trainer.best_mse == min(scored) < scored[-1]
    trainer.restore_best()
    assert trainer.evaluate().model.mse == min(scored)


# Changes on the way.


def test_a_change_of_speed_or_rate_is_kept_and_acts_from_the_next_step():
    trainer = Trainer(small(schedule="constant", directions="all", walls="bounce"))
    list(islice(train(SMALL, trainer=trainer), 3))
    held_out = trainer._held_out[0]
    trainer.change(learning_rate=0.1)
    assert trainer._held_out[0] is held_out
    trainer.change(speed=5, learning_rate=0.1)
    assert trainer.changes == [
        Change(3, "learning_rate", 0.015, 0.1),
        Change(3, "speed", 2, 5),
    ]
    assert not torch.equal(trainer._held_out[0], held_out)
    records = list(train(SMALL, trainer=trainer))
    assert {record.learning_rate for record in records} == {0.1}
    assert trainer.config == replace(
        trainer.config, learning_rate=0.1, scene=replace(trainer.config.scene, speed=5)
    )
    fresh = Trainer(small(speed=5, directions="all", walls="bounce"))
    assert torch.equal(trainer._held_out[0], fresh._held_out[0])
    assert records[-1].evaluation.black == fresh.evaluate().black


def test_a_value_that_stays_the_same_is_no_change():
    trainer = Trainer(SMALL)
    trainer.change(speed=SMALL.scene.speed, learning_rate=SMALL.learning_rate)
    assert trainer.changes == []


def test_another_speed_forgets_what_was_best_before():
    trainer = Trainer(small(evaluate_every=1))
    list(islice(train(SMALL, trainer=trainer), 3))
    assert math.isfinite(trainer.best_mse)
    trainer.change(speed=4)
    assert trainer.best_mse == math.inf
    assert are_equal(list(trainer.best_weights.values()), weights(trainer))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"speed": 9}, "speed is 9: must be a whole number from 1 to 8."),
        ({"learning_rate": 0}, "learning_rate is 0: must be a number from 1e-05 to 1."),
        ({"canvas": 32}, "canvas is 32: is not a setting; the settings are speed, learning_rate."),
        ({"speed": 3, "learning_rate": 2}, "learning_rate is 2: must be a number from 1e-05 to 1."),
    ],
)
def test_a_refused_change_changes_nothing(settings, message):
    trainer = Trainer(SMALL)
    with pytest.raises(SettingError) as caught:
        trainer.change(**settings)
    assert str(caught.value) == message
    assert trainer.config == SMALL
    assert trainer.changes == []


# Settings from outside.


@pytest.mark.parametrize("preset", PRESETS)
def test_settings_go_out_and_come_back_the_same(preset):
    config = PRESETS[preset].config
    settings = settings_of(config)
    assert tuple(settings) == TRAIN_NAMES
    assert train_config(settings) == config
    assert train_config({}, config) == config
    assert train_config({}) == TrainConfig()


def test_each_setting_alone_goes_out_and_comes_back():
    other = TrainConfig(
        SquaresConfig(32, 7, 2, 3, "all", "bounce", 0.25),
        ModelConfig(12, 3, 2, "linear", True, True, 0.5),
        30,
        4,
        6,
        0.002,
        "constant",
        "l1",
        "last",
        2.5,
        "float32",
        99,
        0.01,
        7,
    )
    settings = settings_of(other)
    assert all(settings[name] != value for name, value in settings_of(TrainConfig()).items())
    assert train_config(settings) == other


def test_what_is_missing_comes_from_the_base():
    config = train_config({"speed": 5, "hidden_channels": 3, "seed": 8}, SMALL)
    assert config.scene == replace(SMALL.scene, speed=5)
    assert config.model == replace(SMALL.model, hidden_channels=3)
    assert config == replace(SMALL, scene=config.scene, model=config.model, seed=8)


def test_whole_numbers_may_come_as_floats_and_stay_whole():
    config = train_config({"epochs": 5.0, "seed": 3.0, "learning_rate": 1})
    assert (config.epochs, config.seed, config.learning_rate) == (5, 3, 1.0)
    assert [type(v) for v in (config.epochs, config.seed, config.learning_rate)] == [
        int,
        int,
        float,
    ]


NOT_A_VALUE = [None, [1], {"a": 1}, "abc", "1", b"1", math.nan, math.inf, -math.inf, 1j, object()]
BEYOND = [1e308, -1e308, 10**400, -(10**400), 10**5000, -1]


@pytest.mark.parametrize("name", TRAIN_NAMES)
def test_any_other_value_of_any_setting_is_refused_in_one_line_that_names_it(name):
    for value in NOT_A_VALUE + BEYOND:
        with pytest.raises(SettingError) as caught:
            train_config({name: value})
        message = str(caught.value)
        assert message.startswith(f"{name} is ")
        assert "\n" not in message
        assert len(message) < 200
        assert caught.value.name == name
        assert caught.value.value is value


@pytest.mark.parametrize("name", TRAIN_NAMES)
def test_true_is_no_number_and_one_is_no_flag(name):
    is_flag = isinstance(settings_of(TrainConfig())[name], bool)
    with pytest.raises(SettingError, match=f"{name} is {1 if is_flag else True}: must be"):
        train_config({name: 1 if is_flag else True})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kernel_size": 4}, "kernel_size is 4: must be odd: 1, 3, 5 or 7."),
        ({"residual": True}, "residual is True: needs num_layers of 2 or more."),
        ({"output": "linear", "loss": "bce"}, "loss is 'bce': must go with output \"sigmoid\"."),
        ({"epochs": 5001}, "epochs is 5001: must be a whole number from 1 to 5000."),
        ({"batches_per_epoch": 0}, "batches_per_epoch is 0: must be a whole number from 1 to 100."),
        ({"batch_size": 33}, "batch_size is 33: must be a whole number from 1 to 32."),
        ({"learning_rate": 1.01}, "learning_rate is 1.01: must be a number from 1e-05 to 1."),
        ({"schedule": "step"}, "schedule is 'step': must be one of onecycle, constant."),
        ({"loss": "ssim"}, "loss is 'ssim': must be one of mse, l1, bce, mse+ssim."),
        ({"targets": "first"}, "targets is 'first': must be one of all, last."),
        ({"gradient_clip": -0.5}, "gradient_clip is -0.5: must be a number from 0 to 100."),
        ({"precision": "half"}, "precision is 'half': must be one of auto, float32, bfloat16."),
        ({"seed": 2**31}, "seed is 2147483648: must be a whole number from 0 to 2147483647."),
        ({"stop_below": 2}, "stop_below is 2: must be a number from 0 to 1."),
        ({"evaluate_every": 0}, "evaluate_every is 0: must be a whole number from 1 to 1000."),
        ({"hidden_channels": 65}, "hidden_channels is 65: must be a whole number from 1 to 64."),
        ({"num_layers": 4}, "num_layers is 4: must be a whole number from 1 to 3."),
        ({"forget_bias": 5.5}, "forget_bias is 5.5: must be a number from 0 to 5."),
        ({"output": "relu"}, "output is 'relu': must be one of sigmoid, linear."),
        ([("speed", 1)], "settings is [('speed', 1)]: must be an object of settings."),
        (None, "settings is None: must be an object of settings."),
        ("speed=3", "settings is 'speed=3': must be an object of settings."),
    ],
)
def test_a_refusal_says_name_value_and_rule(settings, message):
    with pytest.raises(SettingError) as caught:
        train_config(settings)
    assert str(caught.value) == message


@pytest.mark.parametrize("name", ["hight", "scene", "", "__class__", "speed ", 3, None, "x" * 999])
def test_an_unknown_name_is_refused_with_the_known_ones(name):
    with pytest.raises(SettingError) as caught:
        train_config({name: 1})
    assert "is not a setting; the settings are canvas, square_size" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_value_of_many_lines_is_refused_in_one():
    with pytest.raises(SettingError) as caught:
        train_config({"speed": np.zeros((40, 40))})
    assert "\n" not in str(caught.value)


def test_a_value_nested_beyond_all_bounds_is_refused_all_the_same():
    nested: list = []
    for _ in range(10**5):
        nested = [nested]
    with pytest.raises(SettingError, match="speed is of type list: must be a whole number"):
        train_config({"speed": nested})
    while nested:  # or its deletion recurses
        nested = nested.pop()


def test_a_precision_is_resolved_for_the_device():
    cpu = torch.device("cpu")
    assert resolve_precision("float32", cpu) == "float32"
    assert resolve_precision("bfloat16", cpu) == "bfloat16"
    assert resolve_precision("auto", cpu) in ("float32", "bfloat16")
    assert resolve_precision("auto", torch.device("meta")) == "float32"


@pytest.mark.parametrize(("precision", "dtype"), [("float32", "float32"), ("bfloat16", "bfloat16")])
def test_the_precision_is_that_of_the_convolutions(precision, dtype):
    trainer, seen = Trainer(small(precision=precision)), set()
    trainer.model.convlstm.register_forward_hook(
        lambda layer, x, result: seen.add(str(result[0].dtype))
    )
    next(train(SMALL, trainer=trainer))
    assert seen == {f"torch.{dtype}"}
    assert trainer.predict(torch.zeros(1, 2, 1, 16, 16), 2).dtype == torch.float32
    assert {value.dtype for value in weights(trainer)} == {torch.float32}
