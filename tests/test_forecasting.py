import math
from dataclasses import replace
from itertools import islice

import pytest
import torch

from convlstm import forecast_validation, forecasting
from convlstm.checks import SettingError
from convlstm.forecast_checkpoint import (
    load_forecaster,
    read_forecaster,
    resume_forecaster,
    save_forecaster,
    save_run,
    start_from,
)
from convlstm.forecast_config import FORECAST_NAMES, ForecastConfig, forecast_config, horizon_at
from convlstm.forecasting import ForecastTrainer
from convlstm.losses import FORECAST_LOSSES
from convlstm.safe_files import CheckpointError
from convlstm.settings import Change, settings_of
from convlstm.video_metrics import frame_scores, mean_of

TINY = {
    "canvas": 32,
    "hidden_channels": 4,
    "num_layers": 2,
    "batch_size": 2,
    "steps": 4,
    "evaluate_every": 2,
    "precision": "float32",
}
# One change of every technique; each must act, alone and with the others.
TECHNIQUES = {
    "adamw": {"optimizer": "adamw"},
    "constant": {"schedule": "constant"},
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
    "multiscale": {"network": "multiscale", "patch_size": 1},
}


@pytest.fixture(autouse=True)
def few_validation_sequences(monkeypatch):
    monkeypatch.setattr(forecast_validation, "VALIDATION_SEQUENCES", 4)


def run(**settings):
    trainer = ForecastTrainer(forecast_config({**TINY, **settings}))
    return trainer, list(trainer.records())


def weights(trainer):
    return trainer.model.state_dict()


def same(one, two):
    return all(torch.equal(one[name], two[name]) for name in one)


def test_a_run_yields_a_record_a_step_and_evaluates_on_time():
    trainer, records = run()
    assert [record.step for record in records] == [1, 2, 3, 4]
    assert [record.progress for record in records] == [0, 0.25, 0.5, 0.75]
    assert [record.horizon for record in records] == [1, 7, 10, 10]
    assert [record.evaluation is not None for record in records] == [False, True, False, True]
    assert [record.ended for record in records] == [None, None, None, "finished"]
    assert all(math.isfinite(record.loss) for record in records)
    evaluation = records[-1].evaluation
    assert evaluation.black.mse > 0
    assert evaluation.copy_last.ssim > 0.2
    assert list(trainer.records()) == []


@pytest.mark.parametrize("technique", TECHNIQUES)
def test_every_technique_acts(technique):
    plain, _ = run(loss="bce", curriculum=0.4)
    other, records = run(**{"loss": "bce", "curriculum": 0.4, **TECHNIQUES[technique]})
    assert records[-1].ended == "finished"
    one, two = plain.evaluation_model().state_dict(), other.evaluation_model().state_dict()
    if technique == "augmented":
        assert plain.last.evaluation.model != other.last.evaluation.model
    else:
        assert set(one) != set(two) or not same(one, two)


def test_all_techniques_work_together():
    apart = ("multiscale", "states", "constant", "float16", "adamw", "no residual", "one digit")
    together = {k: v for name, t in TECHNIQUES.items() if name not in apart for k, v in t.items()}
    trainer, records = run(**together, loss="mse+ssim", network="multiscale", patch_size=1)
    assert records[-1].ended == "finished"
    assert trainer.averaged is not None


@pytest.mark.parametrize("loss", FORECAST_LOSSES)
def test_a_fixed_batch_is_learnt_under_every_loss(loss, monkeypatch):
    fixed = forecasting.sample_digits(
        forecast_config(TINY).scene,
        forecasting.read_digits("train"),
        2,
        20,
        torch.Generator().manual_seed(0),
    )
    monkeypatch.setattr(forecasting, "sample_digits", lambda *given: fixed[: given[2]])
    monkeypatch.setattr(forecast_validation, "VALIDATION_SEQUENCES", 2)
    settings = {"loss": loss, "steps": 40, "evaluate_every": 40, "curriculum": 0.0}
    _, records = run(**settings, learning_rate=0.02, hidden_channels=8, batch_size=1)
    losses = [record.loss for record in records]
    assert losses[-1] < 0.85 * losses[0]


def test_the_same_seed_gives_the_same_run_and_leaves_the_global_random_state():
    before = torch.get_rng_state()
    (one, first), (two, second) = run(scheduled_sampling=0.5), run(scheduled_sampling=0.5)
    assert torch.equal(torch.get_rng_state(), before)
    assert [r.loss for r in first] == [r.loss for r in second]
    assert same(weights(one), weights(two))
    assert not same(weights(one), weights(run(seed=1)[0]))


def test_a_run_left_within_an_evaluation_goes_on_there(tmp_path, monkeypatch):
    monkeypatch.setattr(forecast_validation, "EVALUATED_AT_ONCE", 1)
    whole, _ = run()
    trainer = ForecastTrainer(forecast_config(TINY))
    pieces = trainer.pieces()
    seen = [next(pieces) for _ in range(4)]  # a step, and three pieces of the second's evaluation
    assert [piece is None for piece in seen] == [False, True, True, True]
    pieces.close()
    save_run(trainer, tmp_path / "run")
    for again in (trainer, resume_forecaster(read_forecaster(tmp_path / "run"))):
        records = list(again.records())
        assert [record.step for record in records] == [2, 3, 4]
        assert same(weights(whole), weights(again))
        assert records[-1].evaluation == whole.last.evaluation
        assert records[-1].validation_loss == whole.last.validation_loss


@pytest.mark.parametrize("steps", [1, 2, 3])
def test_a_resumed_run_ends_bit_for_bit_as_an_uninterrupted_one(steps, tmp_path):
    settings = {"ema": 0.9, "scheduled_sampling": 0.8, "patience": 3}
    whole, _ = run(**settings)
    trainer = ForecastTrainer(forecast_config({**TINY, **settings}))
    list(islice(trainer.records(), steps))
    save_run(trainer, tmp_path / "run")
    resumed = resume_forecaster(read_forecaster(tmp_path / "run"))
    records = list(resumed.records())
    assert [record.step for record in records] == list(range(steps + 1, 5))
    assert same(weights(whole), weights(resumed))
    assert same(whole.averaged, resumed.averaged)
    assert same(whole.best_weights, resumed.best_weights)
    assert whole.best_loss == resumed.best_loss
    assert records[-1].evaluation == whole.last.evaluation
    assert records[-1].ended == "finished"


def test_adamw_and_float16_resume_bit_for_bit_too(tmp_path):
    settings = {"optimizer": "adamw", "precision": "float16"}
    whole, _ = run(**settings)
    trainer = ForecastTrainer(forecast_config({**TINY, **settings}))
    list(islice(trainer.records(), 2))
    save_run(trainer, tmp_path / "run")
    resumed = resume_forecaster(read_forecaster(tmp_path / "run"))
    list(resumed.records())
    assert same(weights(whole), weights(resumed))
    assert resumed.scaler.state_dict() == whole.scaler.state_dict()


def test_a_saved_model_is_the_best_one_and_predicts_as_it_did(tmp_path):
    trainer, _ = run()
    save_forecaster(trainer, tmp_path / "model")
    checkpoint = read_forecaster(tmp_path / "model")
    assert same(checkpoint.weights, trainer.best_weights)
    assert checkpoint.config == trainer.config
    assert [training.sequences for training in checkpoint.trainings] == [8]
    context = torch.rand(1, 10, 1, 32, 32, generator=torch.Generator().manual_seed(0))
    trainer.model.load_state_dict(trainer.best_weights)
    expected = trainer.model.predict(context, 3)
    assert torch.equal(load_forecaster(checkpoint).predict(context, 3), expected)
    with pytest.raises(CheckpointError, match="holds a model alone"):
        resume_forecaster(checkpoint)


def test_a_run_that_starts_from_another_s_weights_remembers_it(tmp_path):
    first, _ = run()
    save_forecaster(first, tmp_path / "first")
    checkpoint = read_forecaster(tmp_path / "first")
    config = forecast_config({**TINY, "seed": 1, "recompute": True})
    trainer = start_from(checkpoint, config)
    assert same(weights(trainer), first.best_weights)
    list(islice(trainer.records(), 1))
    assert not same(weights(trainer), first.best_weights)
    save_run(trainer, tmp_path / "run")
    resumed = resume_forecaster(read_forecaster(tmp_path / "run"))
    list(resumed.records())
    save_forecaster(resumed, tmp_path / "second")
    trainings = read_forecaster(tmp_path / "second").trainings
    assert [training.steps for training in trainings] == [first.step, resumed.step]
    assert trainings[0] == checkpoint.trainings[0]


def test_a_run_starts_only_from_the_weights_of_its_own_network(tmp_path):
    first, _ = run()
    save_forecaster(first, tmp_path / "first")
    config = forecast_config({**TINY, "hidden_channels": 5})
    with pytest.raises(CheckpointError, match="hidden_channels is . there and 5 here"):
        start_from(read_forecaster(tmp_path / "first"), config)


def test_an_evaluation_stands_beside_black_frames_and_the_copied_last_frame(monkeypatch):
    monkeypatch.setattr(forecast_validation, "VALIDATION_SEQUENCES", 11)  # one and a half pieces
    trainer, records = run(steps=2)
    sequences = forecasting.sample_digits(
        trainer.config.scene, forecasting.read_digits("validation"), 11, 20,
        torch.Generator().manual_seed(forecast_validation._SEED),
    )  # fmt: skip
    context, truth = sequences.split((10, 10), 1)
    evaluation = records[-1].evaluation
    assert evaluation.black == mean_of(frame_scores(torch.zeros_like(truth), truth))
    copied = context[:, -1:].expand_as(truth)
    assert evaluation.copy_last == mean_of(frame_scores(copied, truth))
    predicted = trainer.predict(context, 10)
    assert evaluation.model.mse == pytest.approx(mean_of(frame_scores(predicted, truth)).mse)


def test_a_run_s_file_keeps_its_history(tmp_path):
    trainer, records = run()
    trainer.changes.append(Change(1, "speed", 1.0, 2.0))
    save_run(trainer, tmp_path / "run")
    resumed = resume_forecaster(read_forecaster(tmp_path / "run"))
    assert resumed.history == records
    assert resumed.changes == trainer.changes
    assert sum(record.evaluation is not None for record in records) > 1
    broken = replace(trainer.last.evaluation.model, mse=math.nan)
    trainer.history[-1] = replace(
        trainer.last, evaluation=replace(trainer.last.evaluation, model=broken)
    )
    for _ in range(2):  # and stays so in a file of the file's run
        save_run(trainer, tmp_path / "run")
        trainer = resume_forecaster(read_forecaster(tmp_path / "run"))
        assert trainer.last.evaluation is None
        assert trainer.last.validation_loss == records[-1].validation_loss


def test_the_horizon_grows_over_its_share_of_the_run():
    config = ForecastConfig(curriculum=0.5)
    assert [horizon_at(config, p) for p in (0, 0.049, 0.05, 0.25, 0.499, 0.5, 1)] == [
        1, 1, 2, 6, 10, 10, 10,
    ]  # fmt: skip
    assert horizon_at(ForecastConfig(curriculum=0.0), 0) == 10


def test_a_time_budget_decides_the_schedule_and_the_end(monkeypatch):
    clock = iter(range(0, 10_000, 10))  # every look at the clock is 10 s later
    monkeypatch.setattr("convlstm.pieces.time.perf_counter", lambda: next(clock))
    trainer = ForecastTrainer(forecast_config({**TINY, "max_minutes": 1, "steps": 1}))
    records = list(trainer.records())
    assert 2 < len(records) < 10
    assert records[-1].ended == "finished"
    assert records[-1].evaluation is not None
    assert records[0].progress == 0
    assert [r.progress for r in records] == sorted({r.progress for r in records})
    assert records[-1].learning_rate < max(record.learning_rate for record in records)


def test_patience_counts_evaluations_since_the_best(monkeypatch):
    losses = iter([3.0, 2.0, 2.5, 2.0, 1.9, 2.0, 2.0, 2.0, 0.0])
    trainer = ForecastTrainer(
        forecast_config({**TINY, "steps": 50, "evaluate_every": 1, "patience": 3})
    )

    def evaluate(clock):
        yield from clock.interruption()
        return next(losses), None

    monkeypatch.setattr(trainer, "_evaluation_pieces", evaluate)
    records = list(trainer.records())
    assert [record.validation_loss for record in records][-1] == 2.0
    assert (len(records), records[-1].ended) == (8, "patience")
    assert trainer.best_loss == 1.9


def test_the_average_follows_the_weights():
    trainer = ForecastTrainer(forecast_config({**TINY, "ema": 0.999}))
    expected = {name: value.clone() for name, value in trainer.averaged.items()}
    for record in islice(trainer.records(), 3):
        decay = record.step / (9 + record.step)  # early on it follows closely
        for name, value in trainer.model.state_dict().items():
            expected[name] = decay * expected[name] + (1 - decay) * value
    for name, value in trainer.averaged.items():
        torch.testing.assert_close(value, expected[name])


def test_a_loss_that_is_no_number_ends_the_run_and_keeps_the_best(monkeypatch):
    trainer = ForecastTrainer(forecast_config({**TINY, "steps": 10}))
    list(islice(trainer.records(), 2))
    best = {name: value.clone() for name, value in trainer.best_weights.items()}
    before = {name: value.clone() for name, value in weights(trainer).items()}
    broken = lambda values, frames, truth: values.sum() * math.nan  # noqa: E731
    monkeypatch.setitem(forecasting.FORECAST_LOSSES, trainer.config.loss, broken)
    records = list(trainer.records())
    assert [record.ended for record in records] == ["diverged"]
    assert same(trainer.best_weights, best)
    assert same(weights(trainer), before)


def test_recomputing_changes_no_number():
    (one, first), (two, second) = run(), run(recompute=True)
    assert [record.loss for record in first] == [record.loss for record in second]
    assert same(weights(one), weights(two))


def test_settings_go_to_one_flat_mapping_and_back():
    config = forecast_config({"canvas": 48, "hidden_channels": 7, "loss": "mse", "flips": True})
    settings = settings_of(config)
    assert set(settings) == set(FORECAST_NAMES)
    assert forecast_config(settings) == config
    with pytest.raises(SettingError, match="epochs is 3: is not a setting"):
        forecast_config({"epochs": 3})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"canvas": 34}, "canvas is 34: must be a multiple of 4."),
        ({"network": "multiscale", "canvas": 40}, "canvas is 40: must be a multiple of 16."),
        ({"steps": 0}, "steps is 0: must be a whole number from 1 to 1000000."),
        ({"optimizer": "sgd"}, "optimizer is 'sgd': must be one of adamw, muon."),
        ({"ema": 1}, "ema is 1: must be a number from 0 to 0.99999."),
        ({"curriculum": math.nan}, "curriculum is nan: must be a number from 0 to 1."),
    ],
)
def test_a_setting_outside_its_range_is_refused(settings, message):
    with pytest.raises(SettingError) as caught:
        forecast_config(settings)
    assert str(caught.value) == message


def test_training_and_validation_never_see_the_test_digits(monkeypatch):
    asked = []
    read = forecasting.read_digits
    for module in (forecasting, forecast_validation):
        monkeypatch.setattr(module, "read_digits", lambda split: asked.append(split) or read(split))
    run(steps=1)
    assert set(asked) == {"train", "validation"}


def test_every_field_of_a_configuration_is_documented():
    text = ForecastConfig.__doc__
    for name in replace(ForecastConfig()).__dataclass_fields__:
        assert f"\n        {name}: " in text
