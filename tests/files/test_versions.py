"""Files of earlier programs open for ever; `frozen/README.md` says what is in each."""

import json
import math
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from convlstm.files.checkpoint import (
    CheckpointError,
    checkpoint_bytes,
    load_checkpoint,
    load_network,
    network_bytes,
    resume,
    start_from,
)
from convlstm.files.reading import read_checkpoint
from convlstm.files.versions import FORMAT, VERSION, VERSIONS
from convlstm.scenes.digits import Digits
from convlstm.scenes.squares import Squares
from convlstm.settings import settings_of
from convlstm.training.records import Change, PastTraining
from tests.files.forging import (
    put,
    put_together,
    taken_apart,
    with_array,
    with_header,
    with_metadata,
    with_tensor,
)

FROZEN = Path(__file__).parent / "frozen"
NAMES = sorted(path.stem for path in FROZEN.glob("*.safetensors"))
RUNS = [name for name in NAMES if name != "moving-mnist-compact"]
NEXT_LOSSES = json.loads((FROZEN / "next-losses.json").read_text(encoding="utf-8"))
V1, V3 = "squares-run-1", "digits-run-3"


def file_of(name: str) -> Path:
    return FROZEN / f"{name}.safetensors"


def content_of(name: str) -> bytes:
    return file_of(name).read_bytes()


def is_where_recorded(name: str) -> bool:
    """Whether this machine rounds as the one that recorded; `digits-moving` had AVX2 by request."""
    return torch.backends.cpu.get_cpu_capability() == "AVX2" and name != "digits-moving"


@pytest.fixture(autouse=True)
def few_sequences_are_scored(monkeypatch):
    """Scoring draws nothing of a run's own and changes no weight."""
    monkeypatch.setattr(Digits, "validation_sequences", 2)
    monkeypatch.setattr(Squares, "validation_sequences", 2)


def test_the_frozen_files_are_few_and_small():
    assert len(NAMES) == 10
    assert sum(path.stat().st_size for path in FROZEN.iterdir()) < 4.5e6


@pytest.mark.parametrize("name", NAMES)
def test_every_frozen_file_opens(name):
    checkpoint = read_checkpoint(file_of(name))
    network = load_checkpoint(file_of(name))
    is_squares = "1" in name or name == "quick-start"
    assert checkpoint.config.scene.name == ("squares" if is_squares else "digits")
    assert network.config == checkpoint.config.network
    assert (checkpoint.run is None) == (name not in RUNS)
    side = checkpoint.config.scene.canvas
    predicted = network.predict(torch.zeros(1, 2, 1, side, side), 2)
    assert predicted.shape == (1, 2, 1, side, side)
    assert predicted.isfinite().all()


@pytest.mark.parametrize("name", sorted(path.stem for path in FROZEN.glob("*.npy")))
def test_a_frozen_network_predicts_what_it_did(name):
    checkpoint = read_checkpoint(file_of(name))
    network = load_network(checkpoint)
    if name == V3:  # the old program showed the weights that train, and not their average
        network.load_state_dict(
            {key: checkpoint.run[f"network.{key}"] for key in network.state_dict()}
        )
    side = checkpoint.config.scene.canvas
    context = torch.rand(1, 10, 1, side, side, generator=torch.Generator().manual_seed(5))
    expected = torch.from_numpy(np.load(FROZEN / f"{name}.npy"))
    assert expected.shape == (1, 3, 1, side, side)
    # What other kernels round differently grows with each step ahead.
    atol = 1e-6 if is_where_recorded(name) else 2e-5
    torch.testing.assert_close(network.predict(context, 3), expected, rtol=0, atol=atol)


@pytest.mark.parametrize("name", NEXT_LOSSES)
def test_a_frozen_run_goes_on_with_the_losses_that_it_had(name):
    expected = [float.fromhex(loss) for loss in NEXT_LOSSES[name]]
    trainer = resume(read_checkpoint(file_of(name)))
    records = (record for record in trainer.pieces() if record)
    losses = [record.loss for record in islice(records, len(expected))]
    if is_where_recorded(name):
        assert losses == expected
    else:
        assert losses == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", [name for name in RUNS if name not in NEXT_LOSSES])
def test_a_frozen_run_that_is_over_stays_over(name):
    trainer = resume(read_checkpoint(file_of(name)))
    assert trainer.ended == ("diverged" if "diverged" in name else "finished")
    assert list(trainer.pieces()) == []


def test_a_frozen_run_of_squares_comes_back_whole():
    trainer = resume(read_checkpoint(file_of(V1)))
    config, metadata = trainer.config, taken_apart(content_of(V1))[0]["__metadata__"]
    assert config.scene == Squares(
        canvas=24,
        square_size=4,
        num_squares=2,
        speed=3,
        directions="all",
        walls="bounce",
        noise=0.05,
    )
    network = config.network
    assert (network.hidden_channels, network.kernel_size, network.num_layers) == (4, 3, 2)
    assert (network.residual, network.peephole, network.forget_bias) == (True, True, 1)
    # Every setting of the file, and what acts as that program did.
    settings = settings_of(config)
    assert {name: settings[name] for name in json.loads(metadata["settings"])} == json.loads(
        metadata["settings"]
    )
    assert (config.context_frames, config.horizon, config.targets) == (9, 1, "all")
    assert (config.optimizer, config.weight_decay, config.warm_up) == ("adamw", 0, 0.15)
    assert (config.ema, config.patience, config.max_minutes, config.augmented) == (0, 0, 0, False)
    assert (network.architecture, network.patch_size, network.rollout) == ("stack", 1, "closed")

    assert trainer.changes == [Change(8, "speed", 2, 3), Change(8, "learning_rate", 0.02, 0.01)]
    assert (trainer.step, trainer.ended, trainer.progress) == (12, None, 12 / 40)
    assert [record.step for record in trainer.records] == list(range(1, 13))
    assert [record.progress for record in trainer.records] == [step / 40 for step in range(12)]
    assert {record.horizon for record in trainer.records} == {1}
    assert trainer.trainings == (PastTraining(12, 24, trainer.seconds, "cpu"),)
    assert trainer.seconds > 0
    # That program evaluated after the first step, too.
    evaluated = [record for record in trainer.records if record.evaluation]
    assert [record.step for record in evaluated] == [1, 5, 10]
    scores = json.loads(metadata["metrics"])
    evaluation = evaluated[-1].evaluation
    assert evaluation.brightest == scores["brightest"]
    for name, expected in (
        ("model", evaluation.model),
        ("copy_last", evaluation.baselines["copy_last"]),
        ("black", evaluation.baselines["black"]),
    ):
        for metric, value in scores[name].items():
            assert getattr(expected, metric) == value
        assert math.isnan(expected.ssim_openstl)  # nobody measured it
    assert all(math.isnan(record.validation_loss) for record in evaluated)
    # It kept the best MSE, which does not compare with a loss.
    assert (trainer.best_loss, trainer.evaluations_since_best) == (math.inf, 0)
    steps = {float(v) for k, v in trainer.optimizer.state().items() if k.endswith(".step")}
    assert steps == {12}


def test_a_frozen_run_of_digits_comes_back_whole():
    checkpoint = read_checkpoint(file_of(V3))
    trainer = resume(checkpoint)
    config = trainer.config
    assert config.scene == Digits(canvas=32, num_digits=1)
    network = config.network
    assert (network.architecture, network.attention, network.patch_size) == ("multiscale", True, 4)
    assert (network.hidden_channels, network.kernel_size, network.num_layers) == (4, 3, 2)
    assert (network.output, network.forget_bias, network.peephole) == ("sigmoid", 1, False)
    settings = settings_of(config)
    old = json.loads(taken_apart(content_of(V3))[0]["__metadata__"]["settings"])
    # That program said 16 steps of a network; its multiscale had no other targets than these.
    assert (old.pop("steps"), old.pop("network")) == (settings["epochs"], "multiscale")
    assert (old.pop("targets"), settings["targets"]) == ("all", "future")
    assert {name: settings[name] for name in old} == old
    assert (config.context_frames, config.horizon, config.batches_per_epoch) == (10, 10, 1)
    assert (config.stop_below, config.total_steps) == (0, 16)

    assert (trainer.step, trainer.ended, trainer.progress) == (7, None, 7 / 16)
    assert trainer.changes == []
    assert trainer.earlier == ()
    assert trainer.trainings == (PastTraining(7, 14, 2.2355523939997965, "cpu"),)
    assert [record.progress for record in trainer.records] == [step / 16 for step in range(7)]
    assert [record.horizon for record in trainer.records] == [1, 3, 5, 7, 9, 10, 10]
    assert {record.learning_rate for record in trainer.records} == {0.006}
    evaluated = [record for record in trainer.records if record.evaluation]
    assert [record.step for record in evaluated] == [4]
    assert evaluated[0].validation_loss == trainer.best_loss == 0.44491232745349407
    assert trainer.evaluations_since_best == 0
    # What was summed over a frame is per pixel now.
    _, body = taken_apart(content_of(V3))
    table = numbers(V3, "history.evaluations")[0]
    evaluation = evaluated[0].evaluation
    for scores, old_scores in zip(
        (evaluation.model, evaluation.baselines["black"], evaluation.baselines["copy_last"]),
        table[2:].reshape(3, 5),
        strict=True,
    ):
        expected = [*(old_scores[:2] / 32**2), *old_scores[2:]]
        got = [scores.mse, scores.mae, scores.psnr, scores.ssim, scores.ssim_openstl]
        assert got == pytest.approx(expected, rel=1e-15)
    assert math.isnan(evaluation.brightest)  # nobody looked
    mse = [record.mse for record in trainer.records]
    assert mse == pytest.approx((numbers(V3, "history.steps")[:, 3] / 32**2).tolist(), rel=1e-15)
    assert [r.loss for r in trainer.records] == numbers(V3, "history.steps")[:, 2].tolist()

    assert int(trainer.averaged.n_averaged) == 8
    for key, value in trainer.judged.state_dict().items():
        assert torch.equal(value, checkpoint.run[f"averaged.{key}"])
        assert torch.equal(value, checkpoint.weights[key])
        assert torch.equal(trainer.network.state_dict()[key], checkpoint.run[f"network.{key}"])
    state = trainer.optimizer.state()
    assert {float(v) for k, v in state.items() if k.endswith(".step")} == {7}
    assert any(key.endswith("gates.weight.momentum_buffer") for key in state)


def numbers(name: str, tensor: str) -> np.ndarray:
    """The float64 numbers of a file's table."""
    header, body = taken_apart(content_of(name))
    start, end = header[tensor]["data_offsets"]
    return np.frombuffer(body[start:end], np.float64).reshape(header[tensor]["shape"])


def test_the_frozen_network_tells_of_its_trainings():
    checkpoint = read_checkpoint(file_of("moving-mnist-compact"))
    assert [training.steps for training in checkpoint.trainings] == [11557, 20000]
    assert [training.sequences for training in checkpoint.trainings] == [46228, 80000]
    assert checkpoint.config.optimizer == "muon"
    assert (checkpoint.run, checkpoint.records) == (None, ())
    new = start_from(checkpoint, checkpoint.config)
    assert [training.steps for training in new.trainings] == [11557, 20000, 0]


def test_what_could_not_act_is_put_away():
    content = content_of("digits-new-3")
    old = json.loads(taken_apart(content)[0]["__metadata__"]["settings"])
    config = read_checkpoint(content).config
    assert (old["residual"], old["num_layers"], config.network.residual) == (True, 1, False)
    assert (old["rollout"], config.network.rollout) == ("states", "states")
    config = read_checkpoint(with_metadata("settings", scheduled_sampling=0.5)(content)).config
    assert config.scheduled_sampling == 0
    for value in (-1, 2, "half", None, True, []):
        with pytest.raises(CheckpointError, match="scheduled_sampling is"):
            read_checkpoint(with_metadata("settings", scheduled_sampling=value)(content))
    for value in (1, "yes", None, []):
        with pytest.raises(CheckpointError, match="residual is"):
            read_checkpoint(with_metadata("settings", residual=value)(content))
    with pytest.raises(CheckpointError, match="damaged: scheduled_sampling is missing"):
        read_checkpoint(with_metadata("settings", scheduled_sampling=...)(content))


def test_the_last_target_is_the_future():
    config = read_checkpoint(file_of("squares-new-1")).config
    assert (config.targets, config.network.output, config.schedule) == (
        "future",
        "linear",
        "constant",
    )


def test_a_run_before_its_first_step_has_no_moments():
    for name in ("squares-new-1", "digits-new-3"):
        trainer = resume(read_checkpoint(file_of(name)))
        assert (trainer.step, trainer.progress, trainer.records) == (0, 0, [])
        assert trainer.optimizer.state() == {}


# Saved again.


@pytest.mark.parametrize("name", RUNS)
def test_a_frozen_run_saved_again_is_of_this_version_and_opens_equal(name):
    before = read_checkpoint(file_of(name))
    data = checkpoint_bytes(resume(before))
    metadata = taken_apart(data)[0]["__metadata__"]
    assert (metadata["format"], metadata["version"]) == (FORMAT, VERSION)
    assert metadata["scene"] == before.config.scene.name
    after = read_checkpoint(data)
    assert after.config == before.config
    assert after.trainings == before.trainings
    assert repr(after.records) == repr(before.records)  # as text, where NaN equals NaN
    assert after.progress == {key: before.progress[key] for key in after.progress}
    for held, kept in ((before.weights, after.weights), (before.run, after.run)):
        assert held.keys() == kept.keys()
        for key, value in held.items():
            assert torch.equal(value, kept[key])
    assert repr(tuple(resume(after).records)) == repr(before.records)


@pytest.mark.parametrize("name", NAMES)
def test_a_frozen_network_saved_again_is_of_this_version_and_opens_equal(name):
    before = read_checkpoint(file_of(name))
    trainer = start_from(before, before.config)
    data = network_bytes(trainer)
    metadata = taken_apart(data)[0]["__metadata__"]
    assert (metadata["format"], metadata["version"]) == (FORMAT, VERSION)
    after = read_checkpoint(data)
    assert after.config == before.config
    assert after.trainings[:-1] == before.trainings
    assert after.weights.keys() == before.weights.keys()
    for key, value in before.weights.items():
        assert torch.equal(value, after.weights[key])


# Refused.

TODAY = {"steps": "epochs", "network": "architecture"}


@pytest.mark.parametrize("name", [V1, V3])
def test_a_setting_that_a_file_lacks_and_its_version_had_is_refused_by_name(name):
    content = content_of(name)
    settings = json.loads(taken_apart(content)[0]["__metadata__"]["settings"])
    assert len(settings) > 25
    for setting in settings:
        with pytest.raises(CheckpointError) as caught:
            read_checkpoint(with_metadata("settings", **{setting: ...})(content))
        named = TODAY.get(setting, setting)
        assert str(caught.value) == f"The checkpoint is damaged: {named} is missing."


@pytest.mark.parametrize("name", [V1, V3])
def test_a_setting_that_nobody_knows_is_refused_by_name(name):
    with pytest.raises(CheckpointError, match="settings are refused: colour is 'red': is not a se"):
        read_checkpoint(with_metadata("settings", colour="red")(content_of(name)))


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        (V1, {"targets": "first"}, "targets is 'first': must be one of all, future"),
        (V1, {"targets": ["last"]}, r"targets is \['last'\]: must be one of"),
        (V1, {"targets": None}, "targets is None: must be one of"),
        (V1, {"speed": 99}, "speed is 99: must be a whole number from 0 to 8"),
        (V1, {"num_digits": 2}, "num_digits is 2: is not a setting"),
        (V1, {"hidden_channels": 3}, "does not fit its settings: tensor"),
        (V1, {"num_layers": 1}, "residual is True: needs num_layers of 2 or more"),
        (V1, {"num_layers": 3}, "does not fit its settings: tensor"),
        (V1, {"epochs": 11}, r"tensor history.steps is 'F64' \[12, 4\]"),
        (V3, {"targets": "last"}, "targets is 'last': must be one of all, future"),
        (V3, {"targets": ["all"]}, r"targets is \['all'\]: must be one of"),
        (V3, {"network": "tower"}, "architecture is 'tower': must be one of"),
        (V3, {"network": ["stack"]}, r"architecture is \['stack'\]: must be one of"),
        (V3, {"steps": "many"}, "epochs is 'many': must be a whole number"),
        (V3, {"num_layers": True}, "num_layers is True: must be a whole number"),
        (V3, {"rollout": {}}, "rollout is {}: must be one of"),
        (V3, {"noise": 0.1}, "noise is 0.1: is not a setting"),
        (V3, {"hidden_channels": 999}, "settings are refused: hidden_channels is 999"),
        (V3, {"hidden_channels": 3}, "does not fit its settings: tensor"),
        (V3, {"ema": 0.0}, "does not fit its settings: tensor 'averaged."),
        (V3, {"steps": 6}, r"tensor history.steps is 'F64' \[7, 6\]"),
    ],
)
def test_a_setting_of_an_earlier_file_that_cannot_be_is_refused(name, settings, message):
    with pytest.raises(CheckpointError, match=message) as caught:
        read_checkpoint(with_metadata("settings", **settings)(content_of(name)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", [V1, V3])
@pytest.mark.parametrize("version", ["0", "2.0", "4", "99", "", None, 1, ["1"], {"1": 1}])
def test_an_unknown_version_is_refused_by_name(name, version):
    forged = with_header(lambda header: header["__metadata__"].update(version=version))
    with pytest.raises(CheckpointError) as caught:
        read_checkpoint(forged(content_of(name)))
    assert f"version {version!r}, not '{FORMAT}', version '{VERSION}'" in str(caught.value)


def test_the_versions_are_these():
    assert set(VERSIONS) == {
        ("convlstm-playground", "1"),
        ("convlstm-playground", "2"),
        ("convlstm-forecaster", "3"),
    }


@pytest.mark.parametrize(
    ("name", "today"),
    [
        (V1, "network.head.bias"),
        (V1, "network.convlstm.cells.0.gates.weight"),
        (V1, "optimizer.convlstm.cells.0.gates.weight.exp_avg"),
        (V3, "network.head.bias"),
        (V3, "optimizer.head.weight.exp_avg_sq"),
    ],
)
@pytest.mark.parametrize("first", [False, True])
def test_a_tensor_under_its_old_name_and_today_s_is_refused(name, today, first):
    # One of them would be checked, and the other one used: a kernel would read past its end.
    forged = with_array(today, np.zeros(1, np.float32))(content_of(name))
    if first:
        header, body = taken_apart(forged)
        forged = put_together({today: header.pop(today), **header}, body)
    with pytest.raises(CheckpointError, match="holds a tensor under two names"):
        read_checkpoint(forged)


@pytest.mark.parametrize(
    ("name", "damage", "message"),
    [
        (V1, with_metadata("progress", optimizer_steps=-1), "optimizer_steps is -1: must be"),
        (V1, with_metadata("progress", optimizer_steps=13), "damaged: more updates than steps"),
        (V1, with_metadata("progress", optimizer_steps="12"), "optimizer_steps is '12': must be"),
        (V1, with_metadata("progress", optimizer_steps=0), "its optimiser belongs to another run"),
        (V1, with_metadata("progress", optimizer_steps=...), "progress has another structure"),
        (V1, with_metadata("progress", ended=...), "progress has another structure"),
        (V1, with_metadata("progress", ended="finished"), "its end, 'finished', and history diff"),
        (
            V1,
            with_tensor("adam.exp_avg_sq.head.bias", put(0, -1e-9)),
            "optimizer.head.bias.exp_avg_sq holds numbers below 0",
        ),
        (
            V1,
            with_tensor("adam.exp_avg.head.bias", put(0, math.nan)),
            "optimizer.head.bias.exp_avg holds NaN or infinity",
        ),
        (V1, with_tensor("history.steps", put((3, 0), math.nan)), "history loss is nan"),
        (V1, with_tensor("history.evaluations", put((0, 5), math.inf)), "a score is inf"),
        (V1, with_tensor("history.evaluations", put((0, 0), 1.5)), "evaluations belong to no step"),
        (V1, with_array("adam.exp_avg.head.bias", np.zeros(3, np.float32)), r"is 'F32' \[3\]"),
        (V1, with_header(lambda h: h["__metadata__"].pop("progress")), "not fit its settings: te"),
        (V3, with_header(lambda h: h["__metadata__"].pop("about")), "header is not proper JSON"),
        (V3, with_metadata("about", trainings=[]), "does not say how it was trained"),
        (V3, with_metadata("progress", progress=0.5), "its progress and history differ"),
        (V3, with_metadata("progress", scaler=None), "its progress has another structure"),
        (
            V3,
            with_tensor("history.steps", put((0, 1), 11)),
            "horizon is 11: must be whole and from",
        ),
        (V3, with_tensor("optimizer.0.0.step", put((), 8)), "more updates than steps"),
        (V3, with_array("optimizer.0.0.exp_avg", np.zeros(1, np.float32)), r"is 'F32' \[1\]"),
        (V3, with_array("optimizer.0.0.step", np.zeros(1, np.float16)), "is 'F16'"),
        (V3, with_array("optimizer.9.0.step", np.zeros((), np.float32)), "optimizer.9.0.step"),
        (V3, with_array("optimizer.x", np.zeros((), np.float32)), "tensor 'optimizer.x'"),
    ],
)
def test_a_damaged_file_of_an_earlier_version_is_refused(name, damage, message):
    with pytest.raises(CheckpointError, match=message) as caught:
        read_checkpoint(damage(content_of(name)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("device", ["<b>", ["cpu"], None, 7, "xpu"])
def test_a_device_that_nobody_knows_was_a_cpu(device):
    forged = with_header(lambda header: header["__metadata__"].update(device=device))
    data = forged(content_of(V1))
    if device not in ("<b>", "xpu"):  # no text: safetensors itself refuses it
        with pytest.raises(CheckpointError, match="is damaged"):
            read_checkpoint(data)
    else:
        assert read_checkpoint(data).trainings[0].device == "cpu"
