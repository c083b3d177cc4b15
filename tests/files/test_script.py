"""The script to take home trains as the engine does, and holds nothing that it does not use."""

import ast
import functools
import itertools
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from convlstm.checks import SettingError
from convlstm.files.script import check_sayable, training_script
from convlstm.scenes.digits import Digits
from convlstm.scenes.squares import PRESETS, Squares
from convlstm.scenes.storm import Storm
from convlstm.settings import configure
from convlstm.training import TrainConfig, train
from convlstm.training.presets import preset
from convlstm.training.records import StepRecord

ROOT = Path(__file__).parents[2]
STEPS = 5
LOOP = "for step in range(1, STEPS + 1):"
TINY = {
    "canvas": 16,
    "square_size": 4,
    "bar_left": 4,
    "hidden_channels": 3,
    "batch_size": 2,
    "precision": "float32",
    "evaluate_every": 1,
}
# Between them every option is on at least once and off at least once.
OPTIONS = {
    "every option": {
        "num_squares": 3,
        "speed": 4,
        "directions": "all",
        "walls": "bounce",
        "noise": 0.1,
        "num_layers": 3,
        "peephole": True,
        "residual": True,
        "forget_bias": 2.0,
        "gradient_clip": 0.01,
        "seed": 2**31 - 1,
    },
    "mse": {"loss": "mse"},
    "l1": {"loss": "l1", "schedule": "constant"},
    "mse+ssim": {"loss": "mse+ssim", "noise": 0.2},
    "linear output": {"output": "linear", "loss": "mse", "learning_rate": 1e-3},
    "linear output, l1": {"output": "linear", "loss": "l1", "learning_rate": 1e-3},
    "linear output, mse+ssim": {"output": "linear", "loss": "mse+ssim", "learning_rate": 1e-3},
    "the last target": {"targets": "future", "walls": "bounce", "gradient_clip": 0},
    "a short context": {"context_frames": 4},
    "a long context": {"context_frames": 12, "warm_up": 0.5, "targets": "future"},
    "two layers": {"num_layers": 2, "directions": "all", "forget_bias": 0},
    "a peephole": {"peephole": True, "batches_per_epoch": 2},
    "small frames": {"canvas": 32, "epochs": 4, "small_frames": 0.3},
    "a bar": {"bar_width": 5, "bar_left": 6, "directions": "right", "exact_speed": True},
    "a bar that grows": {
        "bar_width": 6,
        "bar_left": 5,
        "bar_grows": 0.5,
        "epochs": 6,
        "bar_hides": "both",
    },
    "a bar, noise and dropped frames": {"bar_width": 4, "noise": 0.1, "dropped_frames": 0.3},
    "dropped frames": {"dropped_frames": 0.4, "speed": 0},
    "few steps": {"epochs": 3, "evaluate_every": 2},
    "a goal in reach": {"stop_below": 1},
    "a goal out of reach": {"stop_below": 1e-6},
    "divergence": {
        "hidden_channels": 64,
        "output": "linear",
        "loss": "mse",
        "learning_rate": 1,
        "schedule": "constant",
        "gradient_clip": 0,
    },
}
SQUARES = TrainConfig(Squares())
CONFIGS = {name: configure(TINY | settings, SQUARES) for name, settings in OPTIONS.items()} | {
    f"preset {name}": configure(TINY, preset(name)) for name in PRESETS
}


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What the scripts print in their first steps, all run by one process without this project."""
    folder = tmp_path_factory.mktemp("scripts")
    configs = CONFIGS | {"bfloat16": configure(TINY | {"precision": "bfloat16"}, SQUARES)}
    for number, config in enumerate(configs.values()):
        text = training_script(config)
        assert text.count(LOOP) == 1
        if config.total_steps > STEPS:
            text = text.replace(LOOP, f"for step in range(1, {STEPS + 1}):")
        (folder / f"{number}.py").write_text(text, encoding="utf-8")
    (folder / "all.py").write_text(
        "import runpy, sys\n"
        f"for number in range({len(configs)}):\n"
        f"    runpy.run_path(f'{folder}/{{number}}.py', run_name='__main__')\n"
        "    print('END')\n"
        "assert 'convlstm' not in sys.modules\n",
        encoding="utf-8",
    )
    ended = run_isolated(folder / "all.py")
    assert (ended.returncode, ended.stderr) == (0, "")
    return dict(zip(configs, ended.stdout.split("END\n"), strict=False))


def run_isolated(script: Path) -> subprocess.CompletedProcess[str]:
    """Run a script that cannot import this project; its warnings are errors."""
    return subprocess.run(
        [sys.executable, "-I", "-W", "error", str(script)],
        capture_output=True,
        text=True,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"},
        cwd=script.parent,
        timeout=600,
    )


@functools.cache
def first_records(name: str) -> list[StepRecord]:
    """Return what the engine does in the first steps of one of the configurations."""
    return list(itertools.islice(train(CONFIGS[name]), STEPS))


def numbers(text: str, name: str) -> list[float]:
    """Return what stands behind a name in each line that has it."""
    return [float(number) for number in re.findall(rf"{name} +(\S+)", text)]


@pytest.mark.parametrize("name", CONFIGS)
def test_a_script_has_the_losses_of_the_engine(name: str, printed: dict[str, str]) -> None:
    records = [record for record in first_records(name) if record.evaluation]
    assert numbers(printed[name], "loss") == pytest.approx([r.loss for r in records], rel=1e-5)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_script_has_the_validation_errors_of_the_engine(
    name: str, printed: dict[str, str]
) -> None:
    evaluations = [r.evaluation for r in first_records(name) if r.evaluation]
    model = [evaluation.model.mse for evaluation in evaluations]
    copy_last = [evaluation.baselines["copy_last"].mse for evaluation in evaluations]
    # Four digits are printed.
    assert numbers(printed[name], "validation MSE") == pytest.approx(model, rel=6e-4)
    assert numbers(printed[name], "copy-last MSE") == pytest.approx(copy_last, rel=6e-4)


def test_a_script_stops_where_the_engine_stops(printed: dict[str, str]) -> None:
    assert first_records("a goal in reach")[-1].ended == "goal"
    assert numbers(printed["a goal in reach"], "step") == [1]
    assert first_records("few steps")[-1].ended == "finished"
    assert numbers(printed["few steps"], "step") == [2, 3]
    evaluated = [record.step for record in first_records("few steps") if record.evaluation]
    assert evaluated == [2, 3]
    assert numbers(printed["a goal out of reach"], "step") == [1, 2, 3, 4, 5]


def test_a_script_says_that_training_diverged(printed: dict[str, str]) -> None:
    records = first_records("divergence")
    assert records[-1].ended == "diverged"
    last = printed["divergence"].splitlines()[-1]
    assert last == f"step {records[-1].step}: diverged, try a lower learning rate"


def test_the_articles_script_makes_the_articles_model() -> None:
    scope = {"__name__": "script"}  # not __main__: it is not to train
    exec(training_script(preset("article")), scope)
    assert sum(p.numel() for p in scope["NextFramePredictor"]().parameters()) == 9873


def test_a_script_trains_in_bfloat16(printed: dict[str, str]) -> None:
    losses = numbers(printed["bfloat16"], "loss")
    assert losses == pytest.approx(numbers(printed["preset quick"], "loss"), rel=0.03)
    assert losses != numbers(printed["preset quick"], "loss")


def test_scripts_are_clean_and_formatted(tmp_path: Path) -> None:
    configs = CONFIGS | {name: preset(name) for name in PRESETS}
    configs["bfloat16"] = configure({"precision": "bfloat16"}, SQUARES)
    for number, config in enumerate(configs.values()):
        (tmp_path / f"script_{number}.py").write_text(training_script(config), encoding="utf-8")
    for command in (["check"], ["format", "--check"]):
        ended = subprocess.run(
            [sys.executable, "-m", "ruff", *command, "--no-cache", "--config"]
            + [str(ROOT / "pyproject.toml"), str(tmp_path)],
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr


@pytest.mark.parametrize("name", CONFIGS)
def test_a_script_imports_torch_alone(name: str) -> None:
    tree = ast.parse(training_script(CONFIGS[name]))
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module)
    assert modules == {"torch", "torch.nn.functional"}


@pytest.mark.parametrize("name", CONFIGS)
def test_every_constant_and_function_of_a_script_is_used(name: str) -> None:
    tree = ast.parse(training_script(CONFIGS[name]))
    defined = {
        target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets
    } | {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    read = {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }
    assert defined <= read


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"noise": 0.1}, ["NOISE", "randn"]),
        ({"directions": "all"}, ["torch.randint(2, "]),
        ({"walls": "bounce"}, ["to and fro"]),
        ({"small_frames": 0.5}, ["SMALL_CANVAS = 48", "SMALL_STEPS = 130", "canvas=CANVAS"]),
        (
            {"bar_width": 8},
            ["BAR_WIDTH = 8", "BAR_LEFT = 12", "seen = frames.masked_fill(", "= 0  #"],
        ),
        ({"bar_width": 8, "bar_hides": "both"}, ["frames = frames.masked_fill(behind, 0)"]),
        ({"bar_width": 8, "bar_grows": 0.6}, ["BAR_GROWS = 0.6", "1 + int(BAR_WIDTH"]),
        ({"dropped_frames": 0.2}, ["DROPPED_FRAMES", "dropped[:, 0] = False"]),
        ({"exact_speed": True}, ["torch.full(shape, SPEED", "of every square"]),
        ({"directions": "right"}, ["velocity[..., 0] = 0"]),
        ({"num_layers": 2}, ["NUM_LAYERS", "ModuleList"]),
        ({"num_layers": 2, "residual": True}, ["h + x"]),
        ({"peephole": True}, ["peephole"]),
        ({"loss": "mse"}, ["model(frames[:, :-1])[:, -1]\n"]),
        ({"loss": "l1"}, ["l1_loss"]),
        ({"loss": "mse+ssim"}, ["def ssim", "conv2d("]),
        ({"output": "linear", "loss": "mse"}, ["clamp(0, 1)"]),
        ({"targets": "future"}, ["[:, -1:]"]),
        ({"stop_below": 0.001}, ["STOP_BELOW"]),
        ({"precision": "bfloat16"}, ["autocast", ".float()\n\n\n@"]),
    ],
    ids=lambda value: ", ".join(value) if isinstance(value, dict) else "",
)
def test_an_option_brings_its_part_of_the_text(settings: dict, words: list[str]) -> None:
    without, text = training_script(SQUARES), training_script(configure(settings, SQUARES))
    for word in words:
        assert word in text
        assert word not in without


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"loss": "mse"}, "logits"),
        ({"output": "linear", "loss": "mse"}, "sigmoid_"),
        ({"output": "linear", "loss": "mse"}, "-5.0"),
        ({"schedule": "constant"}, "schedule"),
        ({"gradient_clip": 0}, "clip"),
        ({"forget_bias": 0}, "FORGET_BIAS"),
        ({"walls": "bounce"}, "out on one side"),
    ],
)
def test_an_option_switched_off_leaves_no_text(settings: dict, word: str) -> None:
    assert word not in training_script(configure(settings, SQUARES))


def test_scripts_are_short_and_hold_no_mark_of_the_template() -> None:
    for config in CONFIGS.values():
        text = training_script(config)
        assert len(text.splitlines()) <= 165
        assert not [mark for mark in ("{%", "{{", "{#", "%}", "}}", "#}") if mark in text]


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"horizon": 2}, "horizon"),
        ({"horizon": 10, "curriculum": 0.4}, "horizon"),
        ({"architecture": "multiscale", "targets": "future"}, "architecture"),
        ({"patch_size": 4}, "patch_size"),
        ({"rollout": "states"}, "rollout"),
        ({"recompute": True}, "recompute"),
        ({"optimizer": "muon"}, "optimizer"),
        ({"weight_decay": 0.1}, "weight_decay"),
        ({"ema": 0.9}, "ema"),
        ({"augmented": True}, "augmented"),
        ({"patience": 3}, "patience"),
        ({"max_minutes": 1}, "max_minutes"),
        ({"output": "change", "loss": "mse"}, "output"),
        ({"loss": "ssim"}, "loss"),
        ({"loss": "bce+ssim"}, "loss"),
        ({"precision": "float16"}, "precision"),
        ({"bar_width": 8, "small_frames": 0.5}, "small_frames"),
    ],
)
def test_what_a_script_has_no_words_for_is_refused_by_name(settings: dict, name: str) -> None:
    config = configure(settings, SQUARES)
    for refused in (check_sayable, training_script):
        with pytest.raises(SettingError, match=f"^{name} is .*: cannot be said in a script"):
            refused(config)


@pytest.mark.parametrize("scene", [Digits(), Storm()])
def test_a_script_knows_squares_alone(scene: Digits | Storm) -> None:
    with pytest.raises(SettingError, match=f"^scene is '{scene.name}': cannot be said"):
        training_script(TrainConfig(scene))


@pytest.mark.parametrize("name", CONFIGS)
def test_a_script_that_is_written_is_sayable(name: str) -> None:
    check_sayable(CONFIGS[name])
