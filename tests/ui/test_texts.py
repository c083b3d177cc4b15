"""The page's words, in both languages."""

import itertools
import re
import string
from pathlib import Path
from typing import get_args

import pytest

import convlstm
from convlstm.checks import RULES
from convlstm.scenes.catalogue import CATALOGUE
from convlstm.server.controls import controls_of
from convlstm.server.limits import MAX_UPLOAD_BYTES
from convlstm.server.run import RunState
from convlstm.server.share import KINDS
from convlstm.settings import Settings
from convlstm.training.config import CHANGEABLE
from convlstm.training.presets import offered, preset
from convlstm.ui.texts import TEXTS

WEB = Path(convlstm.__file__).parent / "ui" / "web"
ENGLISH, CHINESE = TEXTS["en"], TEXTS["zh"]
# Shown under the names that they have in code.
SHOWN_AS_THEY_ARE = {"float32", "bfloat16", "float16"}


def places(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_both_languages_have_the_same_texts_with_the_same_places():
    assert set(CHINESE) == set(ENGLISH)
    for key, text in ENGLISH.items():
        assert places(CHINESE[key]) == places(text), key


def test_no_text_is_empty_but_the_one_that_says_nothing():
    for texts in TEXTS.values():
        assert [key for key, text in texts.items() if not text.strip()] == ["scores none"]


# Names of the code, and words for things that have another one on the page.
INTERNAL = re.compile(
    r"[a-z]_[a-z]|onecycle|multiscale|(mse|bce|l1)\+|held-?out|copy-last|细胞|保留集"
)


@pytest.mark.parametrize("language", TEXTS)
def test_one_thing_has_one_word_and_none_is_a_name_of_the_code(language):
    wrong = {key: text for key, text in TEXTS[language].items() if INTERNAL.search(text)}
    assert wrong == {}


@pytest.mark.parametrize("language", TEXTS)
@pytest.mark.parametrize("scene", CATALOGUE)
def test_everything_that_a_scene_shows_has_its_texts(scene, language):
    entry, texts = CATALOGUE[scene], TEXTS[language]
    wanted = {f"scene {scene}", f"notice file of {scene}"}
    for control in controls_of(scene):
        wanted |= {f"name {control.name}", f"help {control.name}"}
        if control.unit:
            wanted.add(f"unit {control.unit}")
        words = [choice for choice in control.choices if isinstance(choice, str)]
        wanted |= {f"choice {word}" for word in words if word not in SHOWN_AS_THEY_ARE}
    for name in entry.presets:
        wanted |= {f"preset {name}", f"sentence {name}"}
    wanted |= {f"baseline {name}" for name in entry.scene.baselines}
    assert sorted(wanted - set(texts)) == []


@pytest.mark.parametrize("language", TEXTS)
def test_every_measure_and_look_of_every_preset_has_its_texts(language):
    wanted = set()
    for name in itertools.chain.from_iterable(map(offered, CATALOGUE)):
        scene = preset(name).scene
        for unit in (scene.measure.unit, scene.look.unit):
            if unit:
                wanted.add(f"unit {unit}")
        kind = scene.measure.kind
        wanted |= {f"measure {kind}", f"error {kind}", f"scale {scene.measure.axis}"}
        wanted |= {f"under {scene.look.colours}", f"over {scene.look.colours}"}
    assert sorted(wanted - set(TEXTS[language])) == []


@pytest.mark.parametrize("language", TEXTS)
def test_every_variable_of_the_storm_has_its_unit(language):
    storm = type(CATALOGUE["storm"].scene)
    assert issubclass(storm, Settings)
    for variable in ("all", "pressure", "temperature", "wind"):
        assert f"unit {storm(variable=variable).measure.unit}" in TEXTS[language]


@pytest.mark.parametrize("language", TEXTS)
def test_every_rule_state_notice_and_file_has_its_texts(language):
    wanted = {f"rule {rule}" for rule in RULES}
    wanted |= {f"state {state}" for state in (*get_args(RunState), "shipped")}
    wanted |= {f"advice {state}" for state in ("diverged", "failed", "black")}
    wanted |= {"reason unwatched", "reason budget", "refused"}
    notices = ("reset", "restarted", "lost", "full", "checkpoint", "opened", "action")
    wanted |= {f"notice {key}" for key in (*notices, "too large", "no picture", "offline")}
    wanted |= {f"get {kind}" for kind in KINDS} | {f"help {kind}" for kind in KINDS}
    wanted |= {f"name {name}" for name in (*CHANGEABLE, "drawing", "angle", "sample")}
    assert sorted(wanted - set(TEXTS[language])) == []


@pytest.mark.parametrize("language", TEXTS)
def test_the_places_of_a_rule_are_those_of_its_message(language):
    for rule, message in RULES.items():
        assert places(TEXTS[language][f"rule {rule}"]) <= places(message)
        assert ":" not in "".join(re.findall(r"\{[^}]*\}", TEXTS[language][f"rule {rule}"]))


def test_every_notice_that_the_service_gives_has_a_text():
    package = WEB.parents[1]
    sources = [
        path.read_text("utf-8")
        for room in ("server", "ui")
        for path in (package / room).glob("*.py")
    ]
    keys = set(re.findall(r'"key": "([^"{]+)"', "".join(sources)))
    assert {"lost", "full", "opened", "checkpoint", "too large", "no picture", "broken"} <= keys
    assert [key for key in keys - {"refused"} if f"notice {key}" not in ENGLISH] == []


def test_every_text_that_the_page_asks_for_exists():
    # Scenes may word a key in their own way, and then need no common words for it.
    known = set(ENGLISH) | {key.partition(" ")[2] for key in ENGLISH}
    markup = "".join(page.read_text("utf-8") for page in WEB.glob("*.html"))
    asked = re.findall(r'data-(?:text|label|title)="([^"$]+)"', markup)
    for script in WEB.glob("*.js"):
        asked += re.findall(r'\btext\("([^"$]+)"', script.read_text("utf-8"))
    assert len(asked) > 50
    assert [key for key in asked if key not in known] == []


@pytest.mark.parametrize("language", TEXTS)
def test_the_largest_upload_is_said_as_it_is(language):
    assert f" {MAX_UPLOAD_BYTES // 2**20} MiB" in TEXTS[language]["notice too large"]
