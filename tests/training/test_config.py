"""Settings of a run: how they come in, which are refused, and what follows from them."""

import math
from dataclasses import replace

import numpy as np
import pytest

from convlstm.checks import SettingError
from convlstm.networks import NetworkConfig
from convlstm.scenes.digits import Digits
from convlstm.scenes.squares import Squares
from convlstm.scenes.storm import Storm
from convlstm.settings import all_declared, configure, declared, differences, settings_of
from convlstm.training import TrainConfig
from convlstm.training.config import CHANGEABLE, MAX_STEPS
from convlstm.training.presets import default_config, offered, preset, preset_names

DEFAULTS = {scene.name: TrainConfig(scene) for scene in (Squares(), Digits(), Storm())}
NAMES = [(scene, name) for scene, config in DEFAULTS.items() for name in settings_of(config)]
TEN = {"context_frames": 10, "horizon": 10}
MULTISCALE = {"architecture": "multiscale", "targets": "future"}


@pytest.mark.parametrize("name", preset_names())
def test_settings_go_out_and_come_back_the_same(name):
    config = preset(name)
    settings = settings_of(config)
    assert set(settings) == {each.name for each in all_declared(config)}
    assert configure(settings, TrainConfig(type(config.scene)())) == config
    assert configure({}, config) == config


@pytest.mark.parametrize(
    ("scene", "other"),
    [
        (
            Squares(),
            TrainConfig(
                Squares(
                    canvas=32,
                    square_size=7,
                    num_squares=2,
                    speed=3,
                    directions="all",
                    walls="bounce",
                    noise=0.25,
                    small_frames=0.5,
                    exact_speed=True,
                    bar_width=9,
                    bar_left=13,
                    bar_hides="both",
                    bar_grows=0.6,
                    dropped_frames=0.1,
                ),
                NetworkConfig(
                    12,
                    3,
                    2,
                    patch_size=2,
                    output="linear",
                    residual=True,
                    peephole=True,
                    forget_bias=0.5,
                    recompute=True,
                ),
                epochs=30,
                batches_per_epoch=6,
                batch_size=5,
                learning_rate=0.002,
                schedule="constant",
                loss="l1",
                targets="future",
                gradient_clip=2.5,
                precision="float32",
                seed=99,
                stop_below=0.01,
                evaluate_every=7,
            ),
        ),
        (
            Digits(),
            TrainConfig(
                Digits(canvas=48, num_digits=1, speed=1.5, flips=True),
                NetworkConfig(
                    7, 3, 3, "multiscale", rollout="states", attention=True, residual=True
                ),
                targets="future",
                context_frames=6,
                horizon=12,
                optimizer="muon",
                warm_up=0.4,
                weight_decay=0.1,
                curriculum=0.3,
                ema=0.9,
                ssim_weight=0.7,
                augmented=True,
                patience=3,
                max_minutes=2.5,
                precision="float16",
            ),
        ),
        (
            Digits(),
            TrainConfig(Digits(), scheduled_sampling=0.5, horizon=2, precision="bfloat16"),
        ),
        (Storm(), TrainConfig(Storm(variable="wind", crop=16), NetworkConfig(output="change"),
                              loss="mse")),
    ],
)  # fmt: skip
def test_other_settings_go_out_and_come_back(scene, other):
    settings = settings_of(other)
    assert configure(settings, TrainConfig(scene)) == other
    changed = differences(TrainConfig(scene), other)
    assert configure({name: new for name, (_, new) in changed.items()}, TrainConfig(scene)) == other


def test_between_them_those_runs_change_every_setting():
    (mark,) = test_other_settings_go_out_and_come_back.pytestmark
    for kind in (Squares, Digits, Storm):
        others = [other for _, other in mark.args[1] if isinstance(other.scene, kind)]
        changed = {name for other in others for name in differences(TrainConfig(kind()), other)}
        assert {each.name for each in declared(kind)} <= changed
    everywhere = {
        name for scene, other in mark.args[1] for name in differences(TrainConfig(scene), other)
    }
    of_all = {each.name for kind in (TrainConfig, NetworkConfig) for each in declared(kind)}
    assert of_all <= everywhere


@pytest.mark.parametrize("scene", DEFAULTS)
def test_what_is_missing_comes_from_the_base(scene):
    base = default_config(scene)
    config = configure({"hidden_channels": 3, "seed": 8}, base)
    assert config == replace(base, network=replace(base.network, hidden_channels=3), seed=8)


def test_whole_numbers_may_come_as_floats_and_stay_whole():
    config = configure({"epochs": 5.0, "seed": 3.0, "learning_rate": 1}, DEFAULTS["squares"])
    values = (config.epochs, config.seed, config.learning_rate)
    assert values == (5, 3, 1.0)
    assert [type(value) for value in values] == [int, int, float]


NOT_A_VALUE = [None, [1], {"a": 1}, "abc", "1", b"1", math.nan, math.inf, -math.inf, 1j, object()]
BEYOND = [1e308, -1e308, 10**400, -(10**400), 10**5000, -1]


@pytest.mark.parametrize(("scene", "name"), NAMES)
def test_any_other_value_of_any_setting_is_refused_in_one_line_that_names_it(scene, name):
    for value in NOT_A_VALUE + BEYOND:
        with pytest.raises(SettingError) as caught:
            configure({name: value}, DEFAULTS[scene])
        message = str(caught.value)
        assert message.startswith(f"{name} is ")
        assert "\n" not in message
        assert len(message) < 200
        assert caught.value.name == name
        assert caught.value.value is value


@pytest.mark.parametrize(("scene", "name"), NAMES)
def test_true_is_no_number_and_one_is_no_flag(scene, name):
    is_flag = isinstance(settings_of(DEFAULTS[scene])[name], bool)
    with pytest.raises(SettingError, match=f"{name} is {1 if is_flag else True}: must be"):
        configure({name: 1 if is_flag else True}, DEFAULTS[scene])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 1_000_001}, "epochs is 1000001: must be a whole number from 1 to 1000000."),
        ({"epochs": 0}, "epochs is 0: must be a whole number from 1 to 1000000."),
        ({"batches_per_epoch": 0}, "batches_per_epoch is 0: must be a whole number from 1 to 100"),
        ({"batch_size": 1025}, "batch_size is 1025: must be a whole number from 1 to 1024."),
        ({"learning_rate": 1.01}, "learning_rate is 1.01: must be a number from 1e-06 to 1."),
        ({"schedule": "step"}, "schedule is 'step': must be one of onecycle, constant."),
        ({"optimizer": "sgd"}, "optimizer is 'sgd': must be one of adamw, muon."),
        (
            {"loss": "huber"},
            "loss is 'huber': must be one of bce, mse, l1, l1+mse, ssim, mse+ssim, bce+ssim.",
        ),
        ({"targets": "first"}, "targets is 'first': must be one of all, future."),
        ({"gradient_clip": -0.5}, "gradient_clip is -0.5: must be a number from 0 to 1000."),
        ({"precision": "half"}, "precision is 'half': must be one of auto, float32, bfloat16, "),
        ({"seed": 2**31}, "seed is 2147483648: must be a whole number from 0 to 2147483647."),
        ({"stop_below": 2}, "stop_below is 2: must be a number from 0 to 1."),
        ({"evaluate_every": 0}, "evaluate_every is 0: must be a whole number from 1 to 1000000."),
        ({"context_frames": 21}, "context_frames is 21: must be a whole number from 1 to 20."),
        ({"horizon": 0}, "horizon is 0: must be a whole number from 1 to 20."),
        ({"ema": 1}, "ema is 1: must be a number from 0 to 0.99999."),
        ({"curriculum": math.nan}, "curriculum is nan: must be a number from 0 to 1."),
        ({"patience": 1001}, "patience is 1001: must be a whole number from 0 to 1000."),
        ({"warm_up": 0}, "warm_up is 0: must be a number from 0.01 to 0.9."),
        ([("speed", 1)], "settings is [('speed', 1)]: must be an object of settings."),
        (None, "settings is None: must be an object of settings."),
        ("speed=3", "settings is 'speed=3': must be an object of settings."),
    ],
)
def test_a_refusal_says_name_value_and_rule(settings, message):
    with pytest.raises(SettingError) as caught:
        configure(settings, DEFAULTS["squares"])
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("scene", "settings", "message"),
    [
        # What could not act.
        ("squares", {"residual": True}, "residual is True: needs num_layers of 2 or more."),
        (
            "squares",
            {"attention": True, "num_layers": 2},
            'attention is True: must go with architecture "multiscale".',
        ),
        (
            "digits",
            {**MULTISCALE, "attention": True, "num_layers": 1},
            "attention is True: needs num_layers of 2 or more.",
        ),
        (
            "digits",
            {"architecture": "multiscale", "targets": "all"},
            "targets is 'all': must go with architecture \"stack\", which predicts every next ",
        ),
        ("squares", {"curriculum": 0.5}, "curriculum is 0.5: needs a horizon of 2 or more."),
        (
            "digits",
            {"scheduled_sampling": 0.5},
            "scheduled_sampling is 0.5: needs a horizon of 2 or more.",
        ),
        (
            "digits",
            {**TEN, "scheduled_sampling": 0.5, "rollout": "states"},
            'scheduled_sampling is 0.5: must go with rollout "closed".',
        ),
        # What is not defined.
        (
            "squares",
            {"output": "linear", "loss": "bce"},
            'loss is \'bce\': must go with output "sigmoid" or "transport".',
        ),
        (
            "storm",
            {"output": "change", "loss": "bce+ssim"},
            'loss is \'bce+ssim\': must go with output "sigmoid" or "transport".',
        ),
        # What there are no frames for.
        ("storm", {"horizon": 9}, "horizon is 9: must be a whole number from 1 to 8."),
        # What nobody could keep.
        (
            "squares",
            {"epochs": 1000, "batches_per_epoch": 1001},
            "batches_per_epoch is 1001: must be at most 1000 with so many epochs: a run has at ",
        ),
    ],
)
def test_what_could_not_act_together_is_refused(scene, settings, message):
    with pytest.raises(SettingError) as caught:
        configure(settings, DEFAULTS[scene])
    assert str(caught.value).startswith(message)
    assert caught.value.name in settings


@pytest.mark.parametrize(
    ("scene", "settings"),
    [
        ("squares", {"residual": True, "num_layers": 2}),
        ("digits", {**MULTISCALE, "residual": True, "num_layers": 1}),
        ("digits", {**MULTISCALE, "attention": True, "num_layers": 2}),
        ("squares", {"curriculum": 0.5, "horizon": 2}),
        ("digits", {"scheduled_sampling": 0.5, "horizon": 2}),
        ("digits", {**TEN, "curriculum": 0.5, "rollout": "states"}),
        ("squares", {"output": "linear", "loss": "mse+ssim"}),
        ("squares", {"canvas": 36, "patch_size": 4}),
        ("squares", {"canvas": 34, "patch_size": 4}),
        ("storm", {"patch_size": 8}),
        ("storm", {**MULTISCALE, "num_layers": 4, "attention": True}),
        ("storm", {"horizon": 8}),
        ("squares", {"epochs": 1000, "batches_per_epoch": 1000}),
    ],
)
def test_what_can_act_together_is_taken(scene, settings):
    config = configure(settings, DEFAULTS[scene])
    assert settings_of(config) == {**settings_of(DEFAULTS[scene]), **settings}


@pytest.mark.parametrize("name", ["hight", "scene", "", "__class__", "speed ", 3, None, "x" * 999])
@pytest.mark.parametrize("scene", DEFAULTS)
def test_an_unknown_name_is_refused_with_the_known_ones(scene, name):
    with pytest.raises(SettingError) as caught:
        configure({name: 1}, DEFAULTS[scene])
    known = ", ".join(settings_of(DEFAULTS[scene]))
    assert f"is not a setting; the settings are {known}." in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_setting_of_another_scene_is_unknown():
    with pytest.raises(SettingError, match="num_digits is 1: is not a setting; the settings are "):
        configure({"num_digits": 1}, DEFAULTS["squares"])
    with pytest.raises(SettingError, match="walls is 'wrap': is not a setting; the settings are "):
        configure({"walls": "wrap"}, DEFAULTS["digits"])


def test_a_value_of_many_lines_is_refused_in_one():
    with pytest.raises(SettingError) as caught:
        configure({"speed": np.zeros((40, 40))}, DEFAULTS["squares"])
    assert "\n" not in str(caught.value)


def test_a_value_nested_beyond_all_bounds_is_refused_all_the_same():
    nested: list = []
    for _ in range(10**5):
        nested = [nested]
    with pytest.raises(SettingError, match="speed is of type list: must be a whole number"):
        configure({"speed": nested}, DEFAULTS["squares"])
    while nested:  # or its deletion recurses
        nested = nested.pop()


@pytest.mark.parametrize("scene", DEFAULTS)
def test_no_two_parts_of_a_configuration_have_a_setting_of_one_name(scene):
    names = [each.name for each in all_declared(DEFAULTS[scene])]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("scene", DEFAULTS)
def test_every_setting_is_documented_with_its_range(scene):
    for each in all_declared(DEFAULTS[scene]):
        assert each.note
        assert str(each.kind)
        assert each.kind.check(each.name, each.default) == each.default


def test_the_horizon_grows_over_its_share_of_the_run():
    config = configure({**TEN, "curriculum": 0.5}, DEFAULTS["digits"])
    assert [config.horizon_at(p) for p in (0, 0.049, 0.05, 0.25, 0.499, 0.5, 1)] == [
        1, 1, 2, 6, 10, 10, 10,
    ]  # fmt: skip
    assert replace(config, curriculum=0.0).horizon_at(0) == 10


def test_steps_are_epochs_of_batches():
    config = replace(DEFAULTS["squares"], epochs=7, batches_per_epoch=3)
    assert config.total_steps == 21
    assert MAX_STEPS == 1_000_000
    assert set(CHANGEABLE) <= set(settings_of(config))


def test_a_page_begins_with_the_first_preset_it_offers():
    for scene in DEFAULTS:
        names = list(offered(scene))
        assert default_config(scene) == preset(names[0])
        assert all(preset(name).scene.name == scene for name in names)
    with pytest.raises(KeyError):
        preset("nothing")
