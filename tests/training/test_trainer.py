"""Training: what decides a run, and what does not."""

import itertools
import random
from dataclasses import replace
from itertools import islice, zip_longest

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR

from convlstm.networks import build_network
from convlstm.pieces import Cancelled, cancellable
from convlstm.scenes.storm import Storm
from convlstm.settings import configure
from convlstm.training import TrainConfig, Trainer, train
from convlstm.training import trainer as module
from convlstm.training.config import MAX_STEPS
from convlstm.training.losses import LOSSES
from convlstm.training.records import StepRecord
from tests.training.runs import BASES, run_of, same, seeded, small, trained, weights

every_scene = pytest.mark.parametrize("base", BASES)


def facts(records: list[StepRecord]) -> list[StepRecord]:
    """Records without their times, which no two runs share."""
    return [replace(record, seconds=0.0) for record in records]


def context_of(config: TrainConfig) -> torch.Tensor:
    return torch.zeros(1, 2, config.scene.frames.channels, *config.scene.size)


def global_random_state() -> tuple[object, ...]:
    return bytes(torch.get_rng_state()), str(np.random.get_state()), random.getstate()


def disturb_the_global_random_state(number: int) -> None:
    torch.manual_seed(number)
    np.random.seed(number)
    random.seed(number)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@every_scene
def test_the_same_settings_give_the_same_losses_bit_for_bit(base, precision):
    drawn = {"squares": {"noise": 0.1}, "digits": {"scheduled_sampling": 0.5}, "storm": {}}
    config = run_of(base, precision=precision, epochs=3, **drawn[base])
    one, two = Trainer(config), Trainer(config)
    assert facts(train(config, trainer=one)) == facts(train(config, trainer=two))
    assert same(weights(one), weights(two))


@every_scene
def test_a_piece_that_is_left_in_its_middle_leaves_no_trace(base):
    whole = Trainer(run_of(base, epochs=3))
    list(whole.pieces())
    trainer, cancelled = Trainer(whole.config), 0
    while trainer.ended is None:
        # Forwards, backwards and in evaluations: each time the work gets a little further.
        asked = itertools.count()
        with cancellable(lambda: next(asked) < cancelled):  # noqa: B023
            try:
                for record in trainer.pieces():
                    if record:
                        break
            except Cancelled:
                cancelled += 1
    assert cancelled > 10
    assert facts(trainer.records) == facts(whole.records)
    assert same(weights(trainer), weights(whole))


@pytest.mark.parametrize("changed", [{"seed": 1}, {"learning_rate": 0.01}, {"batch_size": 5}])
@every_scene
def test_other_settings_give_other_losses(base, changed):
    one, other = trained(base, epochs=3), trained(base, epochs=3, **changed)
    assert [r.loss for r in one.records][1:] != [r.loss for r in other.records][1:]
    assert not same(weights(one), weights(other))


def test_runs_in_turns_do_what_each_does_alone(fine_pieces):
    configs = [
        small(noise=0.1),
        small(seed=3, num_layers=2, loss="l1"),
        run_of("digits", scheduled_sampling=0.5),
        run_of("storm"),
    ]
    alone = [facts(train(config)) for config in configs]
    together = [Trainer(config) for config in configs]
    for number, _ in enumerate(zip_longest(*(trainer.pieces() for trainer in together))):
        disturb_the_global_random_state(number)
    assert [facts(trainer.records) for trainer in together] == alone


@pytest.mark.parametrize(
    ("base", "settings"),
    [
        ("squares", {"noise": 0.1, "peephole": True}),
        ("digits", {"scheduled_sampling": 0.5, "ema": 0.9, "flips": True, "augmented": True}),
        ("storm", {}),
    ],
)
def test_a_run_leaves_every_global_random_state_alone(base, settings):
    disturb_the_global_random_state(11)
    before = global_random_state()
    trainer = trained(base, epochs=3, **settings)
    trainer.evaluate()
    trainer.predict(context_of(trainer.config), 2)
    trainer.change(**({"learning_rate": 0.1} if base == "storm" else {"speed": 4}))
    assert global_random_state() == before


@every_scene
def test_calling_eval_between_two_records_changes_nothing(base):
    trainer, expected = Trainer(BASES[base]), facts(train(BASES[base]))
    for _ in train(BASES[base], trainer=trainer):
        trainer.network.eval()
        trainer.predict(context_of(trainer.config), 3)
        trainer.evaluate()
    assert facts(trainer.records) == expected


@pytest.mark.parametrize(
    ("base", "pulls"),
    [("squares", pulls) for pulls in range(1, 14)]
    + [("digits", pulls) for pulls in (1, 4, 6)]
    + [("storm", pulls) for pulls in (2, 5)],
)
def test_closing_anywhere_and_going_on_changes_nothing(fine_pieces, base, pulls):
    settings = {"epochs": 3, "evaluate_every": 1, "context_frames": 2}
    config = run_of(base, **settings, **({"noise": 0.1} if base == "squares" else {}))
    uninterrupted = Trainer(config)
    list(uninterrupted.pieces())
    trainer = Trainer(config)
    while trainer.ended is None:
        work = trainer.pieces()
        list(islice(work, pulls if trainer.step < 2 else None))
        work.close()
        if pulls < 9 and trainer.step < 2:  # a step takes 4 pieces, an evaluation 4 more
            pulls += 1
    assert facts(trainer.records) == facts(uninterrupted.records)
    assert same(weights(trainer), weights(uninterrupted))


@every_scene
def test_closing_in_mid_step_leaves_everything_as_it_was(fine_pieces, base):
    trainer = Trainer(BASES[base])
    list(islice(train(BASES[base], trainer=trainer), 2))
    before = weights(trainer), bytes(trainer.generator.get_state()), list(trainer.records)
    work = trainer.pieces()
    assert next(work) is None
    assert bytes(trainer.generator.get_state()) != before[1]
    work.close()
    assert bytes(trainer.generator.get_state()) == before[1]
    assert trainer.records == before[2]
    assert same(weights(trainer), before[0])
    assert all(p.grad is None or not p.grad.any() for p in trainer.network.parameters())


@every_scene
def test_a_step_that_breaks_off_is_drawn_again(fine_pieces, monkeypatch, base):
    trainer, expected = Trainer(BASES[base]), facts(train(BASES[base]))
    list(islice(train(BASES[base], trainer=trainer), 1))
    backward, calls = trainer._backward, []

    def interrupted(*given):
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return backward(*given)

    monkeypatch.setattr(trainer, "_backward", interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(trainer.pieces())
    list(trainer.pieces())
    assert facts(trainer.records) == expected


def gradients_of(config: TrainConfig) -> tuple[list[torch.Tensor], StepRecord]:
    """The gradients of a run's first step, and its record."""
    trainer, gradients = Trainer(config), []
    update = trainer._update

    def kept(*given):
        gradients.extend(p.grad.clone() for p in trainer.network.parameters())
        return update(*given)

    trainer._update = kept
    return gradients, next(train(config, trainer=trainer))


@pytest.mark.parametrize(
    ("base", "settings"),
    [
        ("squares", {"loss": loss, "targets": targets, "noise": 0.2})
        for loss in LOSSES
        for targets in ("all", "future")
    ]
    + [
        ("digits", {"curriculum": 0, "scheduled_sampling": 0.9}),
        ("storm", {}),
        ("storm", {"loss": "mse+ssim", "crop": 0, "targets": "future"}),
    ],
)
def test_a_step_cut_into_chunks_has_the_gradient_of_the_whole(monkeypatch, base, settings):
    config = run_of(base, batch_size=5, gradient_clip=0, evaluate_every=MAX_STEPS, **settings)
    found = []
    for size in (5, 1, 2):
        monkeypatch.setattr(module, "training_chunk", lambda config, device, size=size: size)
        found.append(gradients_of(config))
    for gradients, record in found[1:]:
        torch.testing.assert_close(gradients, found[0][0], rtol=1e-3, atol=1e-6)
        assert record.loss == pytest.approx(found[0][1].loss, rel=1e-5)
        assert record.mse == pytest.approx(found[0][1].mse, rel=1e-5)


def plain_steps(config: TrainConfig) -> list[float]:
    """The training loop as a textbook has it."""
    network = build_network(config.network, config.scene.frames, seeded(config.seed))
    kernels = [p for p in network.parameters() if p.ndim > 1]
    rest = [p for p in network.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [
            {"params": kernels, "weight_decay": config.weight_decay},
            {"params": rest, "weight_decay": 0},
        ],
        config.learning_rate,
    )
    scheduler = None
    if config.schedule == "onecycle":
        scheduler = OneCycleLR(
            optimizer,
            config.learning_rate,
            config.total_steps,
            pct_start=config.warm_up,
            cycle_momentum=False,
        )
    generator, losses = Trainer(config).generator, []
    T = config.context_frames
    for step in range(config.total_steps):
        progress, use_truth = step / config.total_steps, None
        horizon = config.horizon_at(progress)
        clip = config.scene.sample(config.batch_size, T + horizon, generator)
        if progress < config.scheduled_sampling:
            chance = 1 - progress / config.scheduled_sampling
            use_truth = torch.rand(config.batch_size, horizon, generator=generator) < chance
        future = clip.clean[:, T:]
        values = network(clip.observed[:, :T], horizon, future, use_truth)
        asked = horizon if config.targets == "future" else T - 1 + horizon
        values, truth = values[:, -asked:], clip.clean[:, -asked:]
        frames = values.sigmoid() if config.network.output == "sigmoid" else values
        if clip.valid is not None:
            known = clip.valid[:, -asked:]
            frames = torch.where(known, frames, truth)
            values = torch.where(known, values, truth.logit())
        loss = LOSSES[config.loss](values, frames, truth, config.ssim_weight)
        optimizer.zero_grad()
        loss.backward()
        if config.gradient_clip:
            torch.nn.utils.clip_grad_norm_(network.parameters(), config.gradient_clip)
        optimizer.step()
        if scheduler:
            scheduler.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize(
    ("base", "settings"),
    [
        ("squares", {"noise": 0.1}),
        ("squares", {"schedule": "constant", "gradient_clip": 0}),
        ("squares", {"targets": "future", "loss": "mse", "output": "linear", "forget_bias": 0}),
        ("squares", {"loss": "mse+ssim", "gradient_clip": 0.01, "learning_rate": 0.05}),
        ("squares", {"loss": "l1", "num_layers": 2, "residual": True, "peephole": True}),
        ("squares", {"batches_per_epoch": 2, "epochs": 4, "warm_up": 0.5}),
        ("digits", {}),
        ("digits", {"scheduled_sampling": 0.9, "weight_decay": 0.9, "schedule": "constant"}),
        ("digits", {"targets": "future", "architecture": "multiscale", "rollout": "states"}),
        ("storm", {}),
        ("storm", {"loss": "mse+ssim", "crop": 0, "horizon": 1, "variable": "wind"}),
        ("storm", {"loss": "bce", "output": "sigmoid"}),
    ],
)
def test_a_run_is_the_plain_loop_of_a_textbook(base, settings):
    config = run_of(base, optimizer="adamw", **settings)
    found = [record.loss for record in train(config)]
    assert found == pytest.approx(plain_steps(config), rel=1e-4)


@pytest.mark.parametrize("loss", ["bce", "mse", "bce+ssim"])
def test_points_that_nobody_knows_weigh_alike_in_training_and_validation(loss, monkeypatch):
    config = run_of(
        "storm",
        loss=loss,
        output="sigmoid",
        targets="future",
        curriculum=0,
        learning_rate=1e-6,
        evaluate_every=1,
        epochs=1,
    )
    clip = config.scene.validation(config.context_frames, config.horizon)
    assert not clip.valid.all()
    monkeypatch.setattr(Storm, "sample", lambda self, *given: clip)
    config = configure({"batch_size": len(clip.clean)}, config)
    (record,) = train(config)
    assert record.validation_loss == pytest.approx(record.loss, rel=1e-3)
