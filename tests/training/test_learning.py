"""Training: that it learns, with every technique alone and all of them together."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import OneCycleLR

from convlstm.networks import build_network
from convlstm.scenes.digits import Digits
from convlstm.scenes.squares import Squares
from convlstm.training import TrainConfig, Trainer, train
from convlstm.training.config import MAX_STEPS
from convlstm.training.losses import LOSSES
from convlstm.training.metrics import frame_scores, mean_of
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
