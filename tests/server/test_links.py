"""Links that hold settings."""

from urllib.parse import parse_qsl

import pytest

from convlstm.checks import SettingError
from convlstm.server.links import (
    FIRST_SCENE,
    config_of_query,
    link_query,
    scene_of_query,
    unknown_keys,
)
from convlstm.training.presets import preset, preset_names

MAIN = {
    "squares": {"speed", "hidden", "epochs"},
    "digits": {"scene", "digits", "hidden", "epochs"},
    "storm": {"scene", "variable", "hidden", "epochs"},
    "own": {"scene", "canvas", "hidden", "epochs"},
}


@pytest.mark.parametrize("name", preset_names())
def test_a_link_brings_back_the_settings_it_was_made_of(name):
    config = preset(name)
    query = dict(parse_qsl(link_query(config), strict_parsing=True))
    assert MAIN[config.scene.name] <= set(query)
    assert scene_of_query(query) == config.scene.name
    assert config_of_query(query) == config


def test_the_first_scene_s_links_name_none():
    assert FIRST_SCENE == "squares"
    assert "scene" not in link_query(preset("quick"))


def test_a_link_to_no_scene_is_refused():
    with pytest.raises(SettingError, match="scene is 'x': must be one of squares, digits, storm"):
        config_of_query({"scene": "x"})


@pytest.mark.parametrize("scene", MAIN)
@pytest.mark.parametrize(
    "query",
    [
        {"epochs": "many"},
        {"epochs": "1e9"},
        {"peephole": "yes"},
        {"hue": "red"},
        {"rate": "nan"},
        {"hidden": "2.5"},
    ],
    ids=lambda query: "=".join(*query.items()),
)
def test_a_link_with_a_bad_value_is_refused(scene, query):
    with pytest.raises(SettingError):
        config_of_query({**query, "scene": scene})


@pytest.mark.parametrize("query", [{"speed": "fast"}, {"speed": "1e9"}, {"noise": "nan"}])
def test_a_link_with_a_bad_value_of_the_squares_is_refused(query):
    with pytest.raises(SettingError, match=f"^{next(iter(query))} is"):
        config_of_query(query)


def test_a_link_of_the_storm_has_no_speed():
    with pytest.raises(SettingError, match="^speed is '3': is not a setting"):
        config_of_query({"scene": "storm", "speed": "3"})


def test_a_link_s_unknown_names_are_found_by_scene():
    query = {"speed": "3", "hue": "red", "hidden": "4", "kernel_size": "5"}
    assert unknown_keys(query) == ["hue"]
    assert unknown_keys({**query, "scene": "storm"}) == ["speed", "hue"]
