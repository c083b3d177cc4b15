"""Scoring on test sequences, against what the field has measured."""

import hashlib

import numpy as np
import pytest
import torch

from convlstm.layer import ConvLSTMCell
from convlstm.networks import NetworkConfig, build_network
from convlstm.scenes.catalogue import CATALOGUE
from convlstm.scenes.digits import Digits
from convlstm.scenes.squares import Squares
from convlstm.settings import configure
from convlstm.training import Trainer
from convlstm.training import evaluation as module
from convlstm.training.evaluation import TestSetError, read_test_set, score_network
from convlstm.training.metrics import frame_scores, mean_of
from convlstm.training.presets import preset


def make(scene, **settings):
    config = NetworkConfig(**{"hidden_channels": 1, "kernel_size": 1, **settings})
    return build_network(config, scene.frames, torch.Generator().manual_seed(0))


def finish(pieces):
    seen = []
    while True:
        try:
            seen.append(next(pieces))
        except StopIteration as end:
            return seen, end.value


def test_the_trivial_baselines_score_what_the_field_has_measured():
    """On 150 sequences of the protocol: black 170.8 and 0.781, copy-last 283.4 and 0.660."""
    scene = Digits()
    network = make(scene, patch_size=4)
    seen, scores = finish(score_network(network, scene, scene.test(10, 10, 150, 0), 10, 10))
    assert seen == [50, 100, 150]
    model, baselines = scores.mean
    black, copied = baselines["black"], baselines["copy_last"]
    assert scene.measure.of(black.mse) == pytest.approx(171, abs=5)
    assert black.ssim_openstl == pytest.approx(0.781, abs=0.01)
    assert scene.measure.of(copied.mse) == pytest.approx(283, abs=12)
    assert copied.ssim_openstl == pytest.approx(0.660, abs=0.015)
    assert scores.ssim.shape == (150,)
    assert len(scores.model) == len(scores.baselines["black"]) == 10
    assert model.ssim == pytest.approx(scores.ssim.mean().item())
    assert scores.sequences == 150


@pytest.mark.parametrize("name", CATALOGUE)
def test_every_scene_s_network_is_scored_beside_its_baselines_by_lead_time(name):
    scene = CATALOGUE[name].scene
    network = make(scene, output="change")  # untrained: it repeats the last frame
    seen, scores = finish(score_network(network, scene, scene.test(3, 2, 5, 0), 3, 2))
    assert seen == [5]
    assert set(scores.baselines) == set(scene.baselines)
    for found, copied in zip(scores.model, scores.baselines["copy_last"], strict=True):
        assert found.mse == pytest.approx(copied.mse, rel=1e-4)
    assert scores.model[0].mse < scores.model[1].mse
    assert 0.5 < scores.brightest <= 1


@pytest.mark.parametrize("augmented", [False, True])
def test_scores_do_not_depend_on_how_many_are_predicted_together(augmented):
    scene = Squares(canvas=16, square_size=3, noise=0.1)
    network = make(scene, kernel_size=3, hidden_channels=4, output="linear")
    (clip,) = scene.test(4, 3, 7, 1)
    _, scores = finish(
        score_network(network, scene, iter([clip]), 4, 2, at_once=3, augmented=augmented)
    )
    predicted = network.predict(clip.observed[:, :4], 2, augmented=augmented)
    expected = mean_of(frame_scores(predicted, clip.clean[:, 4:6]))
    assert scores.mean[0].mse == pytest.approx(expected.mse)
    assert scores.brightest == pytest.approx(predicted.max().item())


def test_while_nothing_is_seen_only_the_sequences_that_show_nothing_count():
    scene = Squares(
        canvas=24, square_size=3, speed=1, directions="right", bar_width=8, dropped_frames=0.1
    )
    network = make(scene, kernel_size=3, output="linear")
    _, scores = finish(score_network(network, scene, scene.test(6, 2, 70, 0), 6, 2))
    clips = list(scene.test(6, 2, 70, 0))
    observed, clean = (torch.cat([clip[part] for clip in clips]) for part in (0, 1))
    # A network sees nothing of a square where the newest frame has nothing but the bar.
    nothing = (observed[:, 5] != 1).flatten(1).all(1)
    assert 10 < nothing.sum() < 60
    assert scores.unseen_sequences == nothing.sum()
    context, truth = observed[nothing, :6], clean[nothing, 6:8]
    mse = (network.predict(context, 2) - truth).square().mean().item()
    copied = context[:, -1:].clone()
    copied[..., 12:20] = 0
    copied_mse, black_mse = ((each - truth).square().mean().item() for each in (copied, 0))
    assert scores.unseen.model.mse == pytest.approx(mse, rel=1e-5)
    assert scores.unseen.baselines["copy_last"].mse == pytest.approx(copied_mse, rel=1e-5)
    assert scores.unseen.baselines["black"].mse == pytest.approx(black_mse, rel=1e-5)
    assert scores.unseen.skill == pytest.approx(1 - mse / min(copied_mse, black_mse), abs=1e-5)
    assert scores.sequences == 70


@pytest.mark.parametrize("settings", [{}, {"bar_width": 2}])
def test_where_every_newest_frame_shows_something_nothing_is_told_of_others(settings):
    scene = Squares(canvas=16, square_size=3, **settings)
    _, scores = finish(score_network(make(scene), scene, scene.test(3, 1, 8, 0), 3, 1))
    assert (scores.unseen, scores.unseen_sequences) == (None, 0)


def without_forget_gate(cell, inputs, _):
    """A hook on a cell: its step once more, with the forget gate at 0."""
    x, state = inputs[0], inputs[1] if len(inputs) > 1 else None
    h = x.new_zeros(len(x), cell.hidden_channels, *x.shape[2:]) if state is None else state[0]
    i, _, g, o = cell.gates(torch.cat([x, h], 1)).chunk(4, 1)
    c = i.sigmoid() * g.tanh()
    return o.sigmoid() * c.tanh(), c


def test_what_is_hidden_is_remembered_and_not_without_the_forget_gate():
    # The preset's task made smaller: a few seconds of training.
    smaller = {"canvas": 18, "square_size": 3, "bar_width": 6, "bar_left": 6, "context_frames": 9}
    config = configure({**smaller, "epochs": 250, "precision": "float32"}, preset("behind-the-bar"))
    trainer = Trainer(config)
    for _ in trainer.pieces():
        pass
    scene, network, context = config.scene, trainer.judged, config.context_frames

    def skill():
        clips = scene.test(context, 1, 200, 0)
        return finish(score_network(network, scene, clips, context, 1))[1].unseen.skill

    assert trainer.last.evaluation.unseen.skill > 0.8
    assert skill() > 0.8
    for cell in network.modules():
        if isinstance(cell, ConvLSTMCell):
            cell.register_forward_hook(without_forget_gate)
    assert skill() < 0.2


@pytest.fixture
def test_set(tmp_path, monkeypatch):
    """A small file of the public one's kind, which the reader takes for it."""
    data = np.random.default_rng(0).integers(0, 256, (20, 60, 64, 64), dtype=np.uint8)
    path = tmp_path / "mnist_test_seq.npy"
    np.save(path, data)
    monkeypatch.setattr(module, "TEST_SET_SHAPE", data.shape)
    monkeypatch.setattr(module, "TEST_SET_MD5", hashlib.md5(path.read_bytes()).hexdigest())
    return path, data


def test_the_public_test_set_is_read_sequence_by_sequence(test_set):
    path, data = test_set
    parts = list(read_test_set(path, 55))
    assert [len(part.clean) for part in parts] == [50, 5]
    assert all(part.observed is part.clean for part in parts)
    sequences = torch.cat([part.clean for part in parts])
    assert sequences.shape == (55, 20, 1, 64, 64)
    assert torch.equal(sequences[54, 3, 0], torch.from_numpy(data[3, 54]).float() / 255)


def test_another_file_is_no_test_set(test_set, tmp_path, monkeypatch):
    path, data = test_set
    np.save(tmp_path / "other.npy", data + 1)
    with pytest.raises(TestSetError, match="is not the public test set: its md5 is"):
        next(read_test_set(tmp_path / "other.npy", 1))
    np.save(tmp_path / "shape.npy", data[:10])
    with pytest.raises(TestSetError, match=r"holds \(10, 60, 64, 64\) uint8, not \(20, 60"):
        next(read_test_set(tmp_path / "shape.npy", 1))
    (tmp_path / "rubbish.npy").write_bytes(b"rubbish")
    with pytest.raises(TestSetError, match="it is no array of NumPy"):
        next(read_test_set(tmp_path / "rubbish.npy", 1))
    with pytest.raises(TestSetError, match="No such file"):
        next(read_test_set(tmp_path / "missing.npy", 1))
    with pytest.raises(TestSetError, match="Could not read"):
        next(read_test_set(tmp_path, 1))
