"""The settings of networks; what could not act is refused in tests/training/test_config.py."""

import pytest

from convlstm.checks import SettingError
from convlstm.networks import FrameFormat, NetworkConfig


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"patch_size": 3}, "patch_size is 3: must be 1, 2, 4 or 8."),
        ({"patch_size": 9}, "patch_size is 9: must be a whole number from 1 to 8."),
        ({"kernel_size": 2}, "kernel_size is 2: must be odd: 1, 3, 5 or 7."),
        ({"kernel_size": 9}, "kernel_size is 9: must be a whole number from 1 to 7."),
        ({"architecture": "unet"}, "architecture is 'unet': must be one of stack, multiscale."),
        (
            {"output": "relu"},
            "output is 'relu': must be one of sigmoid, linear, change, transport.",
        ),
        ({"rollout": "open"}, "rollout is 'open': must be one of closed, states."),
        ({"hidden_channels": 0}, "hidden_channels is 0: must be a whole number from 1 to 256."),
        ({"hidden_channels": 257}, "hidden_channels is 257: must be a whole number from 1 to 256."),
        ({"num_layers": 5}, "num_layers is 5: must be a whole number from 1 to 4."),
        ({"forget_bias": 5.5}, "forget_bias is 5.5: must be a number from 0 to 5."),
        ({"recompute": 1}, "recompute is 1: must be true or false."),
    ],
)
def test_a_setting_outside_its_range_is_refused(settings, message):
    with pytest.raises(SettingError) as caught:
        NetworkConfig(**settings)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("settings", "divisor", "reach"),
    [
        ({}, 1, 2),
        ({"kernel_size": 3, "num_layers": 3}, 1, 3),
        ({"kernel_size": 3, "num_layers": 2, "patch_size": 4}, 4, 8),
        ({"architecture": "multiscale", "kernel_size": 5, "num_layers": 3}, 4, 2 + 2 + 4),
        ({"architecture": "multiscale", "patch_size": 2, "num_layers": 4}, 16, 4 + 4 + 8 + 16),
    ],
)
def test_what_follows_from_the_settings(settings, divisor, reach):
    config = NetworkConfig(**settings)
    assert (config.divisor, config.reach) == (divisor, reach)
    assert config.predicts_next_frames is (config.architecture == "stack")


def test_frames_that_are_read_as_they_are_are_plain():
    assert FrameFormat().is_plain
    assert FrameFormat(start_logit=-5.0).is_plain
    assert not FrameFormat(2, (0.0, 0.1), (1.0, 1.0)).is_plain
    assert not FrameFormat(1, (0.0,), (0.5,)).is_plain
