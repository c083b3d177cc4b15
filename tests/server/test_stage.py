"""What a view makes of a sequence or a drawing, of every scene."""

import numpy as np
import pytest
import torch

from convlstm.scenes.catalogue import CATALOGUE
from convlstm.scenes.digits import Digits
from convlstm.scenes.drawing import DRAWING_SIDE, make_drawing
from convlstm.server.view import View
from convlstm.settings import configure
from convlstm.training import TrainConfig, Trainer
from convlstm.training.metrics import frame_scores
from convlstm.training.presets import default_config

SMALL = {"hidden_channels": 4, "num_layers": 1, "residual": False, "batch_size": 1}
every_scene = pytest.mark.parametrize("scene", CATALOGUE)


def trainer_of(scene: str, **settings: object) -> Trainer:
    return Trainer(configure({**SMALL, **settings}, default_config(scene)))


def numbers(rows: list[object]) -> str:
    return repr(rows)  # as text, where NaN equals NaN


def test_a_sample_is_ten_frames_ten_truths_and_ten_predictions_with_their_scores():
    trainer = trainer_of("digits", flips=True)
    picture = View(trainer).draw(trainer, 3)
    assert picture.name == "sample 4"
    for frames in (picture.context, picture.truth, picture.predicted):
        assert frames.shape == (10, 64, 64)
    predicted, truth = (
        torch.from_numpy(frames)[None, :, None] for frames in (picture.predicted, picture.truth)
    )
    expected = frame_scores(predicted, truth)[0, 9]
    assert picture.scores[9].mse == pytest.approx(expected[0].item())
    black, copy_last = picture.baselines["black"], picture.baselines["copy_last"]
    assert black[0].mae == pytest.approx(picture.truth[0].mean(), rel=1e-5)
    last = ((picture.context[-1] - picture.truth[4]) ** 2).mean()
    assert copy_last[4].mse == pytest.approx(last, rel=1e-5)


@every_scene
def test_samples_differ_and_stay_what_they_are(scene):
    trainer = trainer_of(scene)
    view = View(trainer)
    one, other, again = (view.draw(trainer, n) for n in (0, 1, 0))
    assert np.array_equal(one.context, again.context)
    assert not np.array_equal(one.context, other.context)


def test_sequences_on_show_are_not_mirrored():
    pictures = [View(t).draw(t, 0) for t in (trainer_of("digits", flips=f) for f in (True, False))]
    assert np.array_equal(pictures[0].context, pictures[1].context)


@every_scene
def test_a_view_follows_the_network_and_not_only_the_sequence(scene):
    trainer = trainer_of(scene, learning_rate=0.01, schedule="constant")
    view = View(trainer)
    before = view.draw(trainer, 0)
    next(record for record in trainer.pieces() if record)
    after = view.draw(trainer, 0)
    assert np.array_equal(before.truth, after.truth)
    assert numbers([before.baselines]) == numbers([after.baselines])
    assert not np.array_equal(before.predicted, after.predicted)


def test_a_drawing_moves_and_its_continuation_is_predicted():
    trainer = trainer_of("digits")
    view = View(trainer)
    pixels = np.zeros((DRAWING_SIDE, DRAWING_SIDE), dtype=int)
    pixels[5:45, 20:26] = 255
    drawing = make_drawing(pixels.flatten().tolist(), 0)
    picture = view.draw(trainer, drawing)
    assert (picture.name, picture.times) == ("drawing", None)
    frames = trainer.config.scene.drawn(drawing, 20).clean[0, :, 0].numpy()
    assert np.array_equal(np.concatenate([picture.context, picture.truth]), frames)
    context = torch.from_numpy(frames[None, :10, None])
    assert np.array_equal(picture.predicted, trainer.predict(context, 10)[0, :, 0].numpy())
    assert len(picture.scores) == len(picture.baselines["black"]) == 10
    # Another drawing is another sequence, and a sample comes back after it.
    turned = view.draw(trainer, make_drawing(pixels.flatten().tolist(), 90))
    assert not np.array_equal(turned.context, picture.context)
    assert view.draw(trainer, 0).name == "sample 1"


def test_a_long_horizon_is_shown_whole():
    trainer = Trainer(TrainConfig(Digits(canvas=32), horizon=12, targets="future"))
    picture = View(trainer).draw(trainer, 0)
    assert (len(picture.context), len(picture.truth), len(picture.scores)) == (9, 12, 12)
