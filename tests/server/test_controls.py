"""The page's controls, against the validator that what they give goes through."""

import pytest

from convlstm.checks import SettingError
from convlstm.server.controls import Control, controls_of
from convlstm.settings import Integer, Number, all_declared, configure, settings_of
from convlstm.training.presets import default_config
from tests.server.helpers import SCENES

EVERY = [(scene, control) for scene in SCENES for control in controls_of(scene)]
# What some values need beside them.
NEEDED: dict[str, dict[str, object]] = {
    "residual": {"num_layers": 2},
    "attention": {"architecture": "multiscale", "targets": "future", "num_layers": 2},
    "architecture": {"targets": "future"},
    "num_layers": {"residual": False},
    "output": {"loss": "mse"},
    "loss": {"output": "sigmoid"},
    "horizon": {"curriculum": 0},
    "curriculum": {"horizon": 2},
    "scheduled_sampling": {"horizon": 2},
}


def named(part: object) -> str | None:
    return part.name if isinstance(part, Control) else None


@pytest.mark.parametrize("scene", SCENES)
def test_every_setting_has_one_control(scene):
    names = [control.name for control in controls_of(scene)]
    assert sorted(settings_of(default_config(scene))) == sorted(names)


@pytest.mark.parametrize(("scene", "control"), EVERY, ids=named)
def test_the_engine_accepts_every_end_and_choice_of_a_control(scene, control):
    name = control.name
    base = configure(NEEDED.get(name, {}), default_config(scene))
    if control.kind == "flag":
        values = (True, False)
    else:
        values = control.choices or (control.low, control.high)
        assert len(set(values)) > 1
    for value in values:
        assert settings_of(configure({name: value}, base))[name] == value


@pytest.mark.parametrize("scene", SCENES)
def test_a_value_beyond_what_is_declared_is_refused_by_name(scene):
    base = default_config(scene)
    for setting in all_declared(base):
        kind = setting.kind
        if isinstance(kind, Integer | Number):
            for value in (2 * kind.high + 1, kind.low - 1, kind.low / 2 - 1e-9):
                with pytest.raises(SettingError, match=rf"^{setting.name} is"):
                    configure({setting.name: value}, base)


@pytest.mark.parametrize(("scene", "control"), EVERY, ids=named)
def test_a_control_can_show_what_every_scene_begins_with(scene, control):
    value = settings_of(default_config(scene))[control.name]
    if control.choices:
        assert value in control.choices
    elif control.kind == "flag":
        assert isinstance(value, bool)
    else:
        assert control.low <= value <= control.high
        assert control.step > 0


def test_a_slider_of_frames_ahead_ends_where_the_scene_does():
    highs = {s: c.high for s in SCENES for c in controls_of(s) if c.name == "horizon"}
    assert highs == {"squares": 20, "digits": 20, "storm": 8, "own": 20}
