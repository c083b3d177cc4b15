import numpy as np
import pytest
import torch

from convlstm.checks import SettingError
from convlstm.forecast_config import forecast_config
from convlstm.forecast_view import DRAWING_SIDE, ForecastView, digit_of_drawing, make_drawing
from convlstm.forecasting import ForecastTrainer
from convlstm.video_metrics import frame_scores


@pytest.fixture(scope="module")
def trainer():
    return ForecastTrainer(forecast_config({"hidden_channels": 4, "num_layers": 1, "flips": True}))


def bar(left=20, top=5, width=6, height=40):
    picture = np.zeros((DRAWING_SIDE, DRAWING_SIDE), dtype=int)
    picture[top : top + height, left : left + width] = 255
    return picture.flatten().tolist()


def test_a_sample_is_ten_frames_ten_truths_and_ten_predictions_with_their_scores(trainer):
    picture = ForecastView(trainer).draw(trainer, 3, 1)
    assert picture.sample == 3
    for frames in (picture.context, picture.truth, picture.predicted):
        assert frames.shape == (10, 64, 64)
    predicted, truth = (
        torch.from_numpy(frames)[None, :, None] for frames in (picture.predicted, picture.truth)
    )
    expected = frame_scores(predicted, truth)[0, 9]
    assert picture.scores[9].mse == pytest.approx(expected[0].item())
    assert picture.black[0].mae == pytest.approx(picture.truth[0].sum(), rel=1e-5)
    last = ((picture.context[-1] - picture.truth[4]) ** 2).sum()
    assert picture.copy_last[4].mse == pytest.approx(last, rel=1e-5)


def test_samples_differ_and_stay_what_they_are(trainer):
    view = ForecastView(trainer)
    one, other, again = (view.draw(trainer, n, 1) for n in (0, 1, 0))
    assert np.array_equal(one.context, again.context)
    assert not np.array_equal(one.context, other.context)


def test_a_drawing_becomes_a_digit_of_mnist_s_size_centred_by_its_mass():
    digit = digit_of_drawing(bar(left=2, top=3)).numpy()
    assert digit.shape == (28, 28)
    rows, columns = digit.any(1).nonzero()[0], digit.any(0).nonzero()[0]
    assert (rows[0], rows[-1]) == (4, 23)  # 20 px high, in the middle
    assert columns.mean() == pytest.approx(13.5, abs=0.5)
    assert np.array_equal(digit, digit_of_drawing(bar(left=40, top=12)).numpy())


def test_a_drawn_digit_moves_in_its_direction_and_turns_at_the_wall(trainer):
    view = ForecastView(trainer)
    picture = view.draw_own(trainer, make_drawing(bar(), 0))
    assert picture.sample is None
    frames = np.concatenate([picture.context, picture.truth])
    places = [np.average(np.arange(64), weights=frame.sum(0)) for frame in frames]
    heights = [np.average(np.arange(64), weights=frame.sum(1)) for frame in frames]
    steps = np.diff(places)
    assert all(3 <= step <= 4 for step in steps[:3])  # 3.6 px a frame, to the right
    assert steps.min() < -3  # and back
    assert np.ptp(heights) < 0.01
    down = view.draw_own(trainer, make_drawing(bar(), 90))
    assert np.argmax(down.context[1].sum(1) > 0) > np.argmax(down.context[0].sum(1) > 0)


@pytest.mark.parametrize(
    "drawing",
    [
        None, "x" * DRAWING_SIDE**2, [], [0] * DRAWING_SIDE**2, [1] * DRAWING_SIDE**2,
        [256] * DRAWING_SIDE**2, [1.5] * DRAWING_SIDE**2, [True] * DRAWING_SIDE**2,
        [255] * (DRAWING_SIDE**2 - 1), {"a": 1},
    ],
)  # fmt: skip
def test_what_is_no_drawing_is_refused(drawing):
    with pytest.raises(SettingError, match="drawing is .*: must be 3136 whole numbers from 0 to 2"):
        make_drawing(drawing, 0)


def test_a_dot_is_a_drawing_too():
    dot = [0] * DRAWING_SIDE**2
    dot[100] = 255
    assert digit_of_drawing(dot).sum() > 0


@pytest.mark.parametrize("angle", [-1, 361, float("nan"), None, "right"])
def test_an_angle_must_be_a_number_of_degrees(angle):
    with pytest.raises(SettingError, match="angle is"):
        make_drawing(bar(), angle)


def test_a_view_follows_the_model_and_not_only_the_sequence(trainer):
    view = ForecastView(trainer)
    before = view.draw(trainer, 0, 1)
    next(trainer.records())
    after = view.draw(trainer, 0, 1)
    assert np.array_equal(before.truth, after.truth)
    assert before.black == after.black
    assert not np.array_equal(before.predicted, after.predicted)
