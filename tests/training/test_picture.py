"""One sequence as a person looks at it."""

import numpy as np
import pytest
import torch

from convlstm.training.metrics import Scores, frame_scores
from convlstm.training.picture import baseline_scores, make_picture
from tests.training.runs import BASES, trained


@pytest.mark.parametrize("base", BASES)
def test_a_picture_holds_a_sequence_its_continuation_and_what_is_said_of_it(base):
    trainer = trained(base, epochs=1)
    scene = trainer.config.scene
    clip = scene.shown(0, 3, 2)
    times = scene.times(0, 3, 5)
    picture = make_picture("one", scene, clip, 3, trainer.predict, times=times)
    assert picture.name == "one"
    assert picture.context.shape == (3, *scene.size)
    assert picture.truth.shape == picture.predicted.shape == (2, *scene.size)
    # Arrays of the first channel, as they are drawn.
    assert picture.context.dtype == picture.predicted.dtype == np.float32
    assert np.array_equal(picture.context, clip.observed[0, :3, 0].numpy())
    assert np.array_equal(picture.truth, clip.clean[0, 3:, 0].numpy())
    predicted = trainer.predict(clip.observed[:, :3], 2)
    assert np.array_equal(picture.predicted, predicted[0, :, 0].numpy())
    assert (picture.known is None) == (clip.valid is None)
    if clip.valid is not None:
        assert np.array_equal(picture.known, clip.valid[0, :, 0].numpy())
    assert picture.times == (None if times is None else tuple(times))
    channels = scene.scored
    known = None if clip.valid is None else clip.valid[:, 3:, channels]
    expected = frame_scores(predicted[:, :, channels], clip.clean[:, 3:, channels], known)
    assert picture.scores == [Scores(*row) for row in expected[0].tolist()]
    assert picture.baselines == baseline_scores(scene, clip, 3)
    assert set(picture.baselines) == set(scene.baselines)
    assert all(len(scores) == 2 for scores in picture.baselines.values())


def test_scores_that_are_known_by_now_are_taken_over():
    trainer = trained("squares", epochs=1)
    scene = trainer.config.scene
    known = {"copy_last": [Scores(1, 2, 3, 4, 5)]}
    picture = make_picture("one", scene, scene.shown(0, 3, 1), 3, trainer.predict, baselines=known)
    assert picture.baselines is known


def test_images_are_float32_arrays_without_the_channel_in_every_precision():
    trainer = trained("squares", epochs=1)
    scene = trainer.config.scene

    def coarse(context, horizon):
        return trainer.predict(context, horizon).bfloat16()

    clip = scene.shown(0, 3, 1)
    picture = make_picture("one", scene, clip, 3, coarse)
    assert picture.predicted.dtype == np.float32
    expected = coarse(clip.observed[:, :3], 1)[0, :, 0].float()
    assert torch.equal(torch.from_numpy(picture.predicted), expected)
