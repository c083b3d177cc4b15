import numpy as np
import pytest
import torch

from convlstm.checks import SettingError
from convlstm.digits import DigitsConfig
from convlstm.forecast_view import (
    DRAWING_SIDE,
    SAMPLES,
    digit_of_drawing,
    drawing_picture,
    sample_picture,
)
from convlstm.forecaster import ForecasterConfig, build_forecaster
from convlstm.video_metrics import frame_scores

SCENE = DigitsConfig()


@pytest.fixture(scope="module")
def model():
    config = ForecasterConfig(hidden_channels=4, num_layers=1)
    return build_forecaster(config, torch.Generator().manual_seed(0)).eval()


def bar(left=20, top=5, width=6, height=40):
    picture = np.zeros((DRAWING_SIDE, DRAWING_SIDE), dtype=int)
    picture[top : top + height, left : left + width] = 255
    return picture.flatten().tolist()


def test_a_sample_is_ten_frames_ten_truths_and_ten_predictions_with_their_scores(model):
    picture = sample_picture(model, SCENE, 3, augmented=False)
    for frames in (picture.context, picture.truth, picture.predicted):
        assert frames.shape == (10, 64, 64)
    predicted, truth = (
        torch.from_numpy(frames)[None, :, None] for frames in (picture.predicted, picture.truth)
    )
    expected = frame_scores(predicted, truth)[0, 9]
    assert picture.model[9].mse == pytest.approx(expected[0].item())
    assert picture.black[0].mae == pytest.approx(picture.truth[0].sum(), rel=1e-5)
    last = ((picture.context[-1] - picture.truth[4]) ** 2).sum()
    assert picture.copy_last[4].mse == pytest.approx(last, rel=1e-5)


def test_samples_differ_and_stay_what_they_are(model):
    one, again, other = (sample_picture(model, SCENE, n, augmented=False) for n in (0, 0, 1))
    assert np.array_equal(one.context, again.context)
    assert not np.array_equal(one.context, other.context)


def test_a_drawing_becomes_a_digit_of_mnist_s_size_centred_by_its_mass():
    digit = digit_of_drawing(bar(left=2, top=3)).numpy()
    assert digit.shape == (28, 28)
    rows, columns = digit.any(1).nonzero()[0], digit.any(0).nonzero()[0]
    assert (rows[0], rows[-1]) == (4, 23)  # 20 px high, in the middle
    assert columns.mean() == pytest.approx(13.5, abs=0.5)
    assert np.array_equal(digit, digit_of_drawing(bar(left=40, top=12)).numpy())


def test_a_drawn_digit_moves_in_its_direction_and_turns_at_the_wall(model):
    picture = drawing_picture(model, SCENE, bar(), 0, augmented=False)
    frames = np.concatenate([picture.context, picture.truth])
    places = [np.average(np.arange(64), weights=frame.sum(0)) for frame in frames]
    heights = [np.average(np.arange(64), weights=frame.sum(1)) for frame in frames]
    steps = np.diff(places)
    assert all(3 <= step <= 4 for step in steps[:3])  # 3.6 px a frame, to the right
    assert steps.min() < -3  # and back
    assert np.ptp(heights) < 0.01
    down = drawing_picture(model, SCENE, bar(), 90, augmented=False)
    assert np.argmax(down.context[1].sum(1) > 0) > np.argmax(down.context[0].sum(1) > 0)


@pytest.mark.parametrize(
    "drawing",
    [
        None, "x" * DRAWING_SIDE**2, [], [0] * DRAWING_SIDE**2, [1] * DRAWING_SIDE**2,
        [256] * DRAWING_SIDE**2, [1.5] * DRAWING_SIDE**2, [True] * DRAWING_SIDE**2,
        [255] * (DRAWING_SIDE**2 - 1), {"a": 1},
    ],
)  # fmt: skip
def test_what_is_no_drawing_is_refused(model, drawing):
    with pytest.raises(SettingError, match="drawing is .*: must be 3136 whole numbers from 0 to 2"):
        drawing_picture(model, SCENE, drawing, 0, augmented=False)


def test_a_dot_is_a_drawing_too(model):
    dot = [0] * DRAWING_SIDE**2
    dot[100] = 255
    assert digit_of_drawing(dot).sum() > 0


@pytest.mark.parametrize("angle", [-1, 361, float("nan"), None, "right"])
def test_an_angle_must_be_a_number_of_degrees(model, angle):
    with pytest.raises(SettingError, match="angle is"):
        drawing_picture(model, SCENE, bar(), angle, augmented=False)


@pytest.mark.parametrize("sample", [-1, SAMPLES, 1.5, None, "1"])
def test_a_sample_that_is_not_there_is_refused(model, sample):
    with pytest.raises(SettingError, match="sample is"):
        sample_picture(model, SCENE, sample, augmented=False)
