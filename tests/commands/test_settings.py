"""Every setting: as a flag, in the help, and in the documentation."""

import re

import pytest

from convlstm.commands.main import main
from convlstm.scenes.catalogue import CATALOGUE
from convlstm.settings import all_declared, configure, settings_of
from convlstm.training.presets import preset, preset_names
from tests.commands.conftest import ROOT, TINY, parse

# By preset, values of which none is the preset's own.
OTHER_SETTINGS = {
    "quick": {
        "canvas": 20,
        "square_size": 4,
        "num_squares": 2,
        "speed": 3,
        "directions": "all",
        "walls": "bounce",
        "exact_speed": True,
        "bar_width": 6,
        "bar_left": 7,
        "bar_hides": "both",
        "bar_grows": 0.5,
        "dropped_frames": 0.1,
        "noise": 0.1,
        "small_frames": 0.3,
        "hidden_channels": 2,
        "kernel_size": 3,
        "num_layers": 2,
        "architecture": "multiscale",
        "patch_size": 2,
        "output": "linear",
        "residual": True,
        "peephole": True,
        "attention": True,
        "forget_bias": 0.5,
        "recompute": True,
        "epochs": 2,
        "batches_per_epoch": 2,
        "batch_size": 3,
        "learning_rate": 1e-4,
        "context_frames": 5,
        "horizon": 2,
        "targets": "future",
        "optimizer": "muon",
        "schedule": "constant",
        "warm_up": 0.3,
        "weight_decay": 0.1,
        "loss": "l1",
        "ssim_weight": 0.5,
        "gradient_clip": 2.0,
        "curriculum": 0.5,
        "scheduled_sampling": 0.25,
        "ema": 0.5,
        "augmented": True,
        "precision": "float32",
        "stop_below": 1e-6,
        "patience": 3,
        "max_minutes": 1e-3,
        "evaluate_every": 5,
        "seed": 7,
    },
    "one-digit": {
        "num_digits": 3,
        "speed": 1.5,
        "canvas": 32,
        "flips": True,
        "hidden_channels": 2,
        "rollout": "states",
        "residual": False,
        "epochs": 1,
        "batch_size": 1,
    },
    "blizzard": {
        "variable": "wind",
        "crop": 12,
        "hidden_channels": 2,
        "epochs": 1,
        "batch_size": 1,
    },
    "own-clip": {
        "canvas": 32,
        "colours": "grey",
        "every": 3,
        "crop": 16,
        "hidden_channels": 2,
        "epochs": 1,
        "batch_size": 1,
    },
}


def flags_of(settings: dict[str, object]) -> list[str]:
    flags = []
    for name, value in settings.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            flags.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            flags += [f"--{flag}", str(value)]
    return flags


@pytest.mark.parametrize("name", OTHER_SETTINGS)
def test_settings_are_flags(
    name: str, few_sequences: None, capsys: pytest.CaptureFixture[str]
) -> None:
    others = OTHER_SETTINGS[name]
    assert main(["train", "--preset", name, *flags_of(others), "--json"]) == 0
    settings = parse(capsys.readouterr().out)[0]["settings"]
    own = settings_of(preset(name))
    assert settings == own | others
    assert not {each for each in others if settings[each] == own[each]}


@pytest.mark.parametrize("scene", CATALOGUE)
def test_no_setting_is_left_out_above(scene: str) -> None:
    tried = {name for others in OTHER_SETTINGS.values() for name in others}
    first = preset(next(iter(CATALOGUE[scene].presets)))
    assert {each.name for each in all_declared(first)} <= tried


def test_a_flag_switches_a_presets_option_off(capsys: pytest.CaptureFixture[str]) -> None:
    given = {"residual": False, "canvas": 16, "square_size": 4, "hidden_channels": 2}
    given |= {"batch_size": 2, "precision": "float32", "epochs": 1}
    assert main(["train", "--preset", "deep", *flags_of(given), "--json"]) == 0
    expected = configure(given, preset("deep"))
    assert parse(capsys.readouterr().out)[0]["settings"] == settings_of(expected)


def test_the_articles_preset_has_the_articles_parameters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    flags = "--canvas 16 --epochs 1 --json".split()
    assert main(["train", "--preset", "article", *flags]) == 0
    assert parse(capsys.readouterr().out)[0]["parameters"] == 9873


@pytest.mark.parametrize(
    "command", [[], ["train"], ["evaluate"], ["predict"], ["settings"], ["benchmark"], ["study"]]
)
def test_help_explains_every_flag(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    if command == ["train"]:
        assert "--num-layers N ConvLSTM layers, or scales in multiscale; 1 to 4 [1]" in text
        assert "whether the gates see the cell state; yes or no [no]" in text
        assert "share of the run over which onecycle rises; 0.01 to 0.9 [0.15]" in text
        for name in preset_names():
            assert re.search(rf"\b{name}\b", text.partition("presets, by scene:")[2])
            for each in all_declared(preset(name)):
                assert f"--{each.name.replace('_', '-')}" in text


def test_the_documentation_is_what_the_program_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings"]) == 0
    text = capsys.readouterr().out
    assert (ROOT / "docs" / "settings.md").read_text("utf-8") == text
    for name in preset_names():
        for each in all_declared(preset(name)):
            assert f"| `{each.name}` | {each.kind} | " in text
    assert "| `forget_bias` | 0 to 5 | 1 | " in text
    assert "| `num_layers` | 1 to 4 | 1 | " in text
    assert "| `peephole` | yes or no | no | " in text


def test_a_setting_of_another_scene_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *TINY["storm"], "--canvas", "32"]) == 2
    error = capsys.readouterr().err
    assert error == "convlstm: --canvas is no setting of the preset blizzard-pressure.\n"
