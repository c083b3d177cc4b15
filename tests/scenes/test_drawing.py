import numpy as np
import pytest

from convlstm.checks import SettingError
from convlstm.scenes.digits import Digits
from convlstm.scenes.drawing import DRAWING_SIDE, make_drawing


def bar(left=20, top=5, width=6, height=40):
    picture = np.zeros((DRAWING_SIDE, DRAWING_SIDE), dtype=int)
    picture[top : top + height, left : left + width] = 255
    return picture.flatten().tolist()


def test_a_drawing_becomes_a_digit_of_mnist_s_size_centred_by_its_mass():
    digit = make_drawing(bar(left=2, top=3), 0).digit.numpy()
    assert digit.shape == (28, 28)
    rows, columns = digit.any(1).nonzero()[0], digit.any(0).nonzero()[0]
    assert (rows[0], rows[-1]) == (4, 23)  # 20 px high, in the middle
    assert columns.mean() == pytest.approx(13.5, abs=0.5)
    assert np.array_equal(digit, make_drawing(bar(left=40, top=12), 0).digit.numpy())


def test_a_drawn_digit_moves_in_its_direction_and_turns_at_the_wall():
    frames = Digits(flips=True).drawn(make_drawing(bar(), 0), 20).clean[0, :, 0].numpy()
    assert frames.shape == (20, 64, 64)
    places = [np.average(np.arange(64), weights=frame.sum(0)) for frame in frames]
    heights = [np.average(np.arange(64), weights=frame.sum(1)) for frame in frames]
    steps = np.diff(places)
    assert all(3 <= step <= 4 for step in steps[:3])  # 3.6 px a frame, to the right
    assert steps.min() < -3  # and back
    assert np.ptp(heights) < 0.01
    down = Digits().drawn(make_drawing(bar(), 90), 20).clean[0, :, 0].numpy()
    assert np.argmax(down[1].sum(1) > 0) > np.argmax(down[0].sum(1) > 0)


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
    assert make_drawing(dot, 0).digit.sum() > 0


@pytest.mark.parametrize("angle", [-1, 361, float("nan"), None, "right"])
def test_an_angle_must_be_a_number_of_degrees(angle):
    with pytest.raises(SettingError, match="angle is"):
        make_drawing(bar(), angle)
