"""Training: the validation set, and what records say."""

import math

import pytest
import torch

from convlstm import pieces
from convlstm.networks import build_network
from convlstm.scenes import digits as digits_module
from convlstm.scenes.digits import Digits
from convlstm.scenes.squares import Squares
from convlstm.settings import MAX_SEED
from convlstm.training import TrainConfig, Trainer, train
from convlstm.training.losses import LOSSES
from convlstm.training.metrics import frame_scores, mean_of
from tests.training.runs import BASES, run_of, same, seeded, small, trained, weights

every_scene = pytest.mark.parametrize("base", BASES)


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
