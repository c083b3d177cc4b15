"""Training: what decides a run, what does not, and every way it ends."""

import itertools
import math
import random
from dataclasses import replace
from itertools import islice, zip_longest

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR

from convlstm import pieces
from convlstm.checks import SettingError
from convlstm.networks import build_network
from convlstm.pieces import Cancelled, cancellable
from convlstm.scenes import digits as digits_module
from convlstm.scenes.digits import Digits
from convlstm.scenes.scene import Clip
from convlstm.scenes.squares import Squares
from convlstm.scenes.storm import Storm
from convlstm.settings import MAX_SEED, configure, differences
from convlstm.training import TrainConfig, Trainer, train
from convlstm.training import trainer as module
from convlstm.training.config import MAX_STEPS
from convlstm.training.losses import LOSSES
from convlstm.training.metrics import frame_scores, mean_of
from convlstm.training.records import Change, StepRecord
from tests.training.runs import (
    BASES,
    DIGITS,
    SQUARES,
    run_of,
    same,
    seeded,
    small,
    trained,
    weights,
)

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


# What decides a run.


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


# That it learns.


@pytest.mark.parametrize("loss", LOSSES)
def test_one_fixed_batch_is_learnt_under_every_loss(loss, monkeypatch):
    fixed = DIGITS.scene.sample(1, 8, seeded(), "train")
    monkeypatch.setattr(Digits, "sample", lambda self, B, T, *given: fixed.frames(T))
    trainer = trained(
        "digits",
        loss=loss,
        context_frames=4,
        horizon=2,
        curriculum=0,
        batch_size=1,
        epochs=40,
        evaluate_every=40,
        learning_rate=0.02,
        hidden_channels=8,
    )
    losses = [record.loss for record in trainer.records]
    assert losses[-1] < 0.85 * losses[0]


def test_one_fixed_batch_is_learnt_better_than_by_copying():
    network = build_network(SQUARES.network, SQUARES.scene.frames, seeded())
    context, truth, _ = (clip := SQUARES.scene.sample(2, 6, seeded())).split(5)
    optimizer = torch.optim.Adam(network.parameters(), 0.03)
    for _ in range(120):
        values = network(context, 1)
        loss = LOSSES["bce"](values, values.sigmoid(), clip.clean[:, 1:], 0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    predicted = network.predict(context, 1)
    found, copied = (mean_of(frame_scores(p, truth)).mse for p in (predicted, context[:, -1:]))
    assert found < 0.2 * copied


def test_a_small_scene_is_learnt_better_than_any_trivial_prediction():
    *_, last = train(
        small(
            walls="bounce",
            speed=1,
            hidden_channels=8,
            kernel_size=5,
            epochs=150,
            learning_rate=0.03,
            evaluate_every=50,
        )
    )
    found = last.evaluation
    black, copied = found.baselines["black"], found.baselines["copy_last"]
    assert found.skill > 0.75
    assert found.model.mse < 0.5 * min(black.mse, copied.mse)
    assert found.model.ssim > max(black.ssim, copied.ssim)
    assert not found.is_black


@pytest.mark.parametrize("schedule", ["onecycle", "constant"])
@pytest.mark.parametrize("targets", ["all", "future"])
@pytest.mark.parametrize("loss", LOSSES)
def test_every_loss_target_and_schedule_trains(loss, targets, schedule):
    trainer = trained(
        "squares",
        loss=loss,
        targets=targets,
        schedule=schedule,
        context_frames=3,
        epochs=25,
        speed=1,
        seed=2,
        evaluate_every=25,
    )
    losses = [record.loss for record in trainer.records]
    assert np.mean(losses[-6:]) < np.mean(losses[:6])
    assert trainer.ended == "finished"


@pytest.mark.parametrize(
    "settings",
    [
        {"output": "linear", "loss": "mse"},
        {"output": "change", "loss": "mse"},
        {"peephole": True},
        {"num_layers": 2, "residual": True},
        {"num_layers": 3, "kernel_size": 1},
        {"forget_bias": 0.0},
        {"gradient_clip": 0.0},
        {"precision": "bfloat16"},
        {"noise": 0.3},
        {"directions": "all", "walls": "bounce", "num_squares": 3},
        {"patch_size": 2},
        {"horizon": 3},
        {"horizon": 3, "rollout": "states"},
        {"context_frames": 1},
        {"optimizer": "muon", "weight_decay": 0.1},
        {"architecture": "multiscale", "targets": "future", "num_layers": 2, "attention": True},
    ],
)
def test_every_option_trains(settings):
    config = small(
        **{
            "context_frames": 3,
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
    after = weights(trainer)
    assert all(not torch.equal(before[name], after[name]) for name in before)


MULTISCALE = {"architecture": "multiscale", "targets": "future", "patch_size": 1}
NETWORKS = {
    "stack": {"architecture": "stack", "residual": True},
    "stack, states": {"architecture": "stack", "rollout": "states"},
    "multiscale": {**MULTISCALE, "residual": True, "attention": True},
    "multiscale, states": {**MULTISCALE, "rollout": "states"},
}


@pytest.mark.parametrize("output", ["sigmoid", "linear", "change"])
@pytest.mark.parametrize(
    ("base", "network"),
    [(base, network) for base in BASES for network in NETWORKS],
)
def test_every_network_trains_on_every_scene(base, network, output):
    # What begins with zeros hands no gradient on in the first step; the attention of a network of
    # changes is behind two of them.
    steps = 3 if (network, output) == ("multiscale", "change") else 2
    config = run_of(
        base,
        **{
            "num_layers": 2,
            "context_frames": 3,
            "horizon": 2,
            "curriculum": 0,
            "epochs": steps,
            "loss": "mse",
            "output": output,
            **NETWORKS[network],
        },
    )
    trainer = Trainer(config)
    clip = config.scene.sample(2, config.context_frames, seeded())
    if output == "change":
        predicted = trainer.predict(clip.observed, 2)
        torch.testing.assert_close(predicted, clip.observed[:, -1:].expand_as(predicted))
    update, gradients = trainer._update, []

    def kept(*given):
        gradients.append({n: p.grad.clone() for n, p in trainer.network.named_parameters()})
        return update(*given)

    trainer._update = kept
    records = list(train(config, trainer=trainer))
    assert [record.ended for record in records] == [None] * (steps - 1) + ["finished"]
    assert all(math.isfinite(record.loss) for record in records)
    assert [name for name, gradient in gradients[-1].items() if not gradient.any()] == []
    if output == "change":
        assert not torch.equal(trainer.predict(clip.observed, 2), predicted)


# One change of every technique; each must act, alone and with the others.
TECHNIQUES = {
    "adamw": {"optimizer": "adamw"},
    "constant": {"schedule": "constant"},
    "warm-up": {"warm_up": 0.6},
    "weight decay": {"weight_decay": 0.5},
    "clip": {"gradient_clip": 1e-3},
    "future": {"targets": "future"},
    "no curriculum": {"curriculum": 0.0},
    "scheduled sampling": {"scheduled_sampling": 1.0},
    "ema": {"ema": 0.9},
    "augmented": {"augmented": True},
    "bfloat16": {"precision": "bfloat16"},
    "float16": {"precision": "float16"},
    "flips": {"flips": True},
    "one digit": {"num_digits": 1},
    "no residual": {"residual": False},
    "states": {"rollout": "states"},
    "multiscale": {**MULTISCALE},
    "linear": {"output": "linear", "loss": "mse"},
    "change": {"output": "change", "loss": "mse"},
    "peephole": {"peephole": True},
    "context": {"context_frames": 5},
    "horizon": {"horizon": 5},
    "batches": {"batches_per_epoch": 2},
}


@pytest.fixture(scope="module")
def plain_run():
    """The run that every technique changes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Digits, "validation_sequences", 4)
        return trained("digits", loss="bce")


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_every_technique_acts(technique, plain_run):
    other = trained("digits", **{"loss": "bce", **TECHNIQUES[technique]})
    assert other.ended == "finished"
    if technique == "augmented":
        assert plain_run.last.evaluation.model != other.last.evaluation.model
    else:
        assert not same(plain_run.judged.state_dict(), other.judged.state_dict())


def test_all_techniques_work_together():
    apart = {
        "multiscale", "states", "constant", "float16", "adamw", "no residual", "one digit",
        "linear", "change", "context", "horizon",
    }  # fmt: skip
    together = {k: v for name, t in TECHNIQUES.items() if name not in apart for k, v in t.items()}
    settings = {**together, **MULTISCALE, "loss": "mse+ssim", "horizon": 2, "epochs": 2}
    trainer = trained("digits", **settings)
    assert trainer.ended == "finished"
    assert trainer.averaged is not None


@every_scene
def test_recomputing_changes_no_number(base):
    one, two = trained(base), trained(base, recompute=True)
    assert [record.loss for record in one.records] == [record.loss for record in two.records]
    assert same(weights(one), weights(two))


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_gradients_are_clipped_to_their_largest_norm(optimizer):
    norms = []
    for limit in (0.01, 0.0):
        config = small(gradient_clip=limit, epochs=1, optimizer=optimizer)
        trainer = Trainer(config)
        step = trainer.optimizer.step

        def seen(rate, trainer=trainer, step=step):
            grads = [p.grad.norm().item() for p in trainer.network.parameters()]
            norms.append(math.hypot(*grads))
            for flat, kernel in zip(
                trainer.optimizer._flat, trainer.optimizer._matrices, strict=True
            ):
                assert torch.equal(flat.grad, kernel.grad.flatten(1))  # what Muon is given
            step(rate)

        trainer.optimizer.step = seen
        list(trainer.pieces())
    assert norms[0] == pytest.approx(0.01, rel=1e-3)
    assert norms[1] > 0.02


@pytest.mark.parametrize("warm_up", [0.15, 0.3])
@pytest.mark.parametrize("total_steps", [1, 2, 3, 6, 7, 8, 21])
def test_the_rates_of_a_run_are_those_of_torch_s_one_cycle(total_steps, warm_up):
    config = TrainConfig(
        Squares(canvas=16, square_size=3, speed=1),
        replace(SQUARES.network, hidden_channels=1, kernel_size=1),
        context_frames=1,
        batch_size=1,
        epochs=total_steps,
        learning_rate=0.02,
        warm_up=warm_up,
        evaluate_every=MAX_STEPS,
    )
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)])
    scheduler = OneCycleLR(optimizer, 0.02, total_steps, pct_start=warm_up, cycle_momentum=False)
    for record in train(config):
        assert record.learning_rate == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-9)
        optimizer.step()
        if record.step < total_steps:
            scheduler.step()


def test_the_constant_rate_stays():
    records = train(small(schedule="constant", learning_rate=0.02, warm_up=0.5))
    assert {record.learning_rate for record in records} == {0.02}


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_the_optimizer_is_given_the_rate_that_the_record_names(optimizer):
    used = []
    trainer = Trainer(small(optimizer=optimizer))
    for part in trainer.optimizer.parts:
        part.register_step_pre_hook(
            lambda part, *_: used.append({group["lr"] for group in part.param_groups})
        )
    records = list(train(SQUARES, trainer=trainer))
    parts = len(trainer.optimizer.parts)
    assert used == [{record.learning_rate} for record in records for _ in range(parts)]


# The validation set and what is said of it.


@pytest.mark.parametrize("seed", [0, 1, MAX_SEED - 1, MAX_SEED])
@pytest.mark.parametrize("batch_size", [4, 8, 32])
def test_no_run_trains_on_the_validation_set_whatever_its_seed(seed, batch_size):
    # A generator on the CPU reads the lower 32 bits of its seed only; seeds that differed in the
    # others made the first batch of 32 under seed 0 the validation set itself.
    scene = Squares()
    trainer = Trainer(TrainConfig(scene, seed=seed, batch_size=batch_size))
    judged = scene.validation(9, 1).clean.flatten(1)
    for _ in range(32 // batch_size):
        batch = scene.sample(batch_size, 10, trainer.generator)
        drawn = (batch.clean.flatten(1)[:, None] == judged).all(-1)
        assert drawn.sum() <= 1  # one in 13,456 sequences is the same by chance


def test_training_and_validation_never_see_the_test_digits(monkeypatch):
    asked, read = [], digits_module._digits_on
    monkeypatch.setattr(
        digits_module,
        "_digits_on",
        lambda split, device: asked.append(split) or read(split, device),
    )
    trained("digits", epochs=1)
    assert set(asked) == {"train", "validation"}


@pytest.mark.parametrize("base", ["squares", "digits"])
def test_the_validation_set_does_not_depend_on_the_run(base):
    one = Trainer(run_of(base, seed=0)).evaluate()
    two = Trainer(run_of(base, seed=5, batch_size=1, learning_rate=0.1)).evaluate()
    assert one.baselines == two.baselines
    assert one.model != two.model


@pytest.mark.parametrize("seed", [0, 7, MAX_SEED])
def test_weights_and_sequences_come_from_different_streams(seed):
    trainer = Trainer(small(seed=seed))
    of_weights = torch.rand(64, generator=seeded(seed))
    assert not torch.equal(torch.rand(64, generator=trainer.generator), of_weights)


@pytest.mark.parametrize(
    ("base", "settings"),
    [
        ("squares", {"noise": 0.2}),
        ("digits", {"ema": 0.5, "augmented": True}),
        ("storm", {}),
        ("storm", {"variable": "wind", "crop": 0}),
    ],
)
def test_an_evaluation_scores_the_network_beside_the_baselines(
    base, settings, fine_pieces, monkeypatch
):
    if base == "digits":
        monkeypatch.setattr(Digits, "validation_sequences", 11)  # five pieces and a half
    trainer = trained(base, epochs=2, **settings)
    config, scene = trainer.config, trainer.config.scene
    clip = scene.validation(config.context_frames, config.horizon)
    assert len(clip.clean) == (15 if base == "storm" else scene.validation_sequences)
    context, truth, valid = clip.split(config.context_frames)
    if base == "squares":
        assert truth.unique().tolist() == [0, 1]  # the noise is on what the network sees
        assert len(context.unique()) > 2
    found = trainer.evaluate()
    channels = scene.scored

    def scores(predicted):
        known = None if valid is None else valid[:, :, channels]
        return mean_of(frame_scores(predicted[:, :, channels], truth[:, :, channels], known))

    predicted = trainer.judged.predict(context, config.horizon, augmented=config.augmented)
    assert found.model.mse == pytest.approx(scores(predicted).mse, rel=1e-5)
    assert found.model.ssim == pytest.approx(scores(predicted).ssim, rel=1e-5)
    assert found.brightest == pytest.approx(predicted.max().item(), rel=1e-5)
    assert tuple(found.baselines) == scene.baselines
    for name, baseline in found.baselines.items():
        assert baseline == scores(scene.baseline(name, context, truth))
    assert found == trainer.last.evaluation
    values = predicted if valid is None else torch.where(valid, predicted, truth)
    expected = LOSSES[config.loss](values.logit(1e-6), values, truth, config.ssim_weight).item()
    assert trainer.last.validation_loss == pytest.approx(expected, rel=1e-4)
    assert trainer.best_loss == trainer.last.validation_loss


@pytest.mark.parametrize(("every", "at"), [(3, [3, 6, 8]), (1, list(range(1, 9))), (9, [8])])
def test_evaluations_come_every_so_many_steps_and_at_the_last(every, at):
    records = list(train(small(evaluate_every=every)))
    assert [record.step for record in records if record.evaluation] == at
    assert [record.step for record in records if record.validation_loss is not None] == at


@pytest.mark.parametrize(
    ("base", "settings"),
    [
        ("squares", {"loss": "bce", "targets": "all", "noise": 0.3}),
        ("digits", {"curriculum": 0}),
        ("storm", {}),
        ("storm", {"variable": "wind"}),
    ],
)
def test_the_mse_of_a_record_is_that_of_its_future_frames(base, settings):
    config = run_of(base, **settings)
    network = build_network(config.network, config.scene.frames, seeded(config.seed))
    T, horizon = config.context_frames, config.horizon
    clip = config.scene.sample(config.batch_size, T + horizon, Trainer(config).generator)
    predicted = network.intensities(network(clip.observed[:, :T], horizon)[:, -horizon:])
    errors = (predicted - clip.clean[:, T:])[:, :, config.scene.scored].square()
    if clip.valid is not None:
        errors = errors[clip.valid[:, T:, config.scene.scored]]
    record = next(train(config))
    assert record.horizon == horizon
    assert record.mse == pytest.approx(errors.mean().item(), rel=1e-4)


def test_records_count_steps_and_their_time_grows():
    records = list(train(small(epochs=3, batches_per_epoch=2)))
    assert [record.step for record in records] == [1, 2, 3, 4, 5, 6]
    assert [record.progress for record in records] == pytest.approx([n / 6 for n in range(6)])
    seconds = [record.seconds for record in records]
    assert seconds == sorted(seconds)
    assert seconds[0] > 0


def test_a_run_with_a_curriculum_looks_further_ahead_step_by_step():
    trainer = trained("digits", horizon=10)
    records = trainer.records
    assert [record.step for record in records] == [1, 2, 3, 4]
    assert [record.progress for record in records] == [0, 0.25, 0.5, 0.75]
    assert [record.horizon for record in records] == [1, 7, 10, 10]
    assert [record.evaluation is not None for record in records] == [False, True, False, True]
    assert [record.ended for record in records] == [None, None, None, "finished"]
    assert all(math.isfinite(record.loss) for record in records)
    evaluation = records[-1].evaluation
    assert evaluation.baselines["black"].mse > 0
    assert evaluation.baselines["copy_last"].ssim > 0.2


def test_time_that_passes_between_two_pieces_does_not_count(fine_pieces, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(pieces.time, "perf_counter", lambda: now[0])
    trainer = Trainer(small(epochs=2, evaluate_every=1))
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
    assert trainer.seconds == pytest.approx(88)


def test_what_a_run_has_been_through_is_told():
    trainer = trained("squares")
    (told,) = trainer.trainings
    assert (told.steps, told.sequences, told.device) == (8, 32, "cpu")
    assert told.seconds == trainer.seconds


def test_a_run_may_start_from_weights():
    first = trained("squares")
    trainer = Trainer(small(seed=1), weights=weights(first))
    assert same(weights(trainer), weights(first))
    assert same(trainer.best_weights, weights(first))
    list(trainer.pieces())
    assert not same(weights(trainer), weights(first))


# How a run ends.


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


@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_a_gradient_that_is_not_finite_never_reaches_the_weights(monkeypatch, clip):
    backward = Trainer._backward

    def broken(self, *given):
        sums = backward(self, *given)
        if self.step == 3:
            next(self.network.parameters()).grad[0, 0, 0, 0] = math.inf
        return sums

    monkeypatch.setattr(Trainer, "_backward", broken)
    trainer = trained("squares", gradient_clip=clip)
    assert trainer.ended == "diverged"
    assert trainer.step == 4
    assert all(value.isfinite().all() for value in weights(trainer).values())


def test_under_float16_a_gradient_that_overflows_is_left_out_and_the_run_goes_on(monkeypatch):
    backward = Trainer._backward

    def broken(self, *given):
        sums = backward(self, *given)
        if self.step == 1:
            next(self.network.parameters()).grad[0, 0, 0, 0] = math.inf
        return sums

    monkeypatch.setattr(Trainer, "_backward", broken)
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
