"""Whatever is asked for wrongly is refused in one line; what is not installed, before the work."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

import playground
from convlstm.commands.main import main
from convlstm.training import Trainer
from tests.commands.conftest import NETWORK, ROOT, RUN

# Filled in below.
ENDED, RUNNING, ALONE = "<ended>", "<running>", "<network>"
ENDED_DIGITS, FOLDER, FILE = "<digits>", "<folder>", "<file>"
COMPACT = ["--preset", "moving-mnist-compact"]
ERRORS = [
    ([], "the following arguments are required: COMMAND"),
    (["fly"], "invalid choice: 'fly'"),
    (["train", "--wings", "2"], "unrecognized arguments: --wings 2"),
    (["train", "--epochs"], "--epochs: expected one argument"),
    (["train", "--preset", "slow"], "--preset: invalid choice: 'slow'"),
    (["train", "--preset", "moving-mnist-giant"], "invalid choice: 'moving-mnist-giant'"),
    (["train", "--epoch", "5"], "unrecognized arguments: --epoch 5"),
    (["train", "--hidden-channels", "0"], "hidden_channels is 0: must be a whole number from 1"),
    (["train", "--hidden-channels", "many"], "hidden_channels is 'many': must be a whole number"),
    (["train", "--learning-rate", "nan"], "learning_rate is nan: must be a number from 1e-06 to"),
    (["train", "--kernel-size", "4"], "kernel_size is 4: must be odd"),
    (["train", "--loss", "huber"], "loss is 'huber': must be one of bce, mse, l1, l1+mse, ssim"),
    (["train", "--residual"], "residual is True: needs num_layers of 2 or more"),
    (["train", "--preset", "article", "--loss", "bce"], "loss is 'bce': must go with output"),
    (["train", "--canvas", "16", "--square-size", "6"], "square_size is 6: must be at most 5"),
    (["train", "--seed", "-1"], "seed is -1: must be a whole number from 0"),
    (["train", "--curriculum", "0.5"], "curriculum is 0.5: needs a horizon of 2 or more"),
    (["train", "--num-digits", "1"], "--num-digits is no setting of the preset quick."),
    (["train", *COMPACT, "--walls", "wrap"], "--walls is no setting of the preset moving-mnist-co"),
    (["train", *COMPACT, "--ema", "2"], "ema is 2: must be a number from 0"),
    (["train", *COMPACT, "--save-every", "0"], "save_every is 0: must be a number from 0.001"),
    (["train", "--save-every", "often"], "save_every is 'often': must be a number from 0.001"),
    (["train", "--device", "abacus"], "device is 'abacus': must be auto, cpu, cuda or mps."),
    (["train", "--device", "cuda"], "device is 'cuda': this machine has none"),
    (["train", "--out", FILE], f"--out {FILE} cannot be written to: File exists."),
    (["train", "--out", f"{FILE}/x"], f"--out {FILE}/x cannot be written to: Not a directory."),
    (["train", "--log-dir", FILE], f"--log-dir {FILE} cannot be written to: File exists."),
    (["train", "--resume", "none.file"], "Could not read none.file: No such file or directory."),
    (["train", "--resume", FILE], "The file is no checkpoint"),
    (["train", "--resume", FOLDER], "Is a directory"),
    (["train", "--resume", ENDED], f"The run of {ENDED} has ended (finished)."),
    (["train", "--resume", ENDED_DIGITS], f"The run of {ENDED_DIGITS} has ended (finished)."),
    (["train", "--resume", ALONE], "The file holds a network alone, no run that could go on."),
    (["train", "--resume", RUNNING, "--epochs", "9"], "own settings: leave out --epochs."),
    (["train", "--resume", RUNNING, "--seed", "0"], "own settings: leave out --seed."),
    (
        ["train", "--resume", RUNNING, "--start-from", ENDED, "--speed", "3"],
        "own settings: leave out --start-from, --speed.",
    ),
    (
        ["train", "--resume", RUNNING, "--preset", "quick", "--no-peephole"],
        "own settings: leave out --preset, --peephole.",
    ),
    (["train", "--start-from", "none.file"], "Could not read none.file: No such file"),
    (["train", "--start-from", ENDED], "The file holds another network: hidden_channels is 2 the"),
    (["evaluate"], "the following arguments are required: CHECKPOINT"),
    (["evaluate", "none.file"], "Could not read none.file: No such file or directory."),
    (["evaluate", FILE], "The file is no checkpoint"),
    (["evaluate", ENDED, "--sequences", "0"], "sequences is 0: must be a whole number from 1"),
    (["evaluate", ENDED, "--sequences", "10001"], "from 1 to 10000"),
    (["evaluate", ENDED, "--horizon", "11"], "horizon is 11: must be a whole number from 1 to 10"),
    (["evaluate", ENDED, "--seed", "1073741824"], "seed is 1073741824: must be a whole number"),
    (["evaluate", ENDED, "--device", "cuda"], "device is 'cuda': this machine has none"),
    (["evaluate", ENDED, "--out", FILE], f"--out {FILE} cannot be written to: File exists."),
    (["evaluate", ENDED, "--test-set", FILE], "--test-set is for networks of Moving MNIST on a"),
    (["evaluate", ENDED_DIGITS, "--test-set", FILE], "on a canvas of 64 px."),
    (["predict", ENDED], "the following arguments are required: --out"),
    (["predict", ENDED, "--out", FILE], f"--out {FILE} cannot be written to: File exists."),
    (["predict", ENDED, "--out", FOLDER, "--seed", "x"], "seed is 'x': must be a whole number"),
    (["predict", "none.file", "--out", FOLDER], "Could not read none.file"),
    (["export", ENDED], "the following arguments are required: --format"),
    (["export", ENDED, "--format", "tflite"], "invalid choice: 'tflite'"),
    (["export", "none.file", "--format", "onnx"], "Could not read none.file: No such file"),
    (["export", ENDED, "--format", "onnx", "--horizon", "101"], "horizon is 101: must be a whole"),
    (
        ["export", ENDED, "--format", "pt2", "--horizon", "x"],
        "horizon is 'x': must be a whole numb",
    ),
    (["export", ENDED, "--format", "pt2", "--out", FILE], f"--out {FILE} cannot be written to: Fi"),
    (["study", "losses"], "the following arguments are required: --out"),
    (["study", "speed", "--out", FOLDER], "invalid choice: 'speed'"),
    (["benchmark", "--scaling", f"{FILE}/x"], f"--scaling {FILE} cannot be written to: File exi"),
    (["gpu-report", "--out", FOLDER, "--minutes", "0"], "minutes is 0: must be a number from 1 to"),
    (
        ["gpu-report", "--out", FOLDER, "--minutes", "1441"],
        "minutes is 1441: must be a number from",
    ),
    (
        ["gpu-report", "--out", FOLDER, "--minutes", "nan"],
        "minutes is nan: must be a number from 1",
    ),
    (["gpu-report", "--out", FOLDER, "--minutes", "x"], "minutes is 'x': must be a number from 1"),
    (["gpu-report", "--out", FOLDER, "--size", "large"], "invalid choice: 'large'"),
    (
        ["gpu-report", "--out", FOLDER, "--device", "cuda"],
        "device is 'cuda': this machine has none",
    ),
    (["gpu-report", "--out", FILE], f"--out {FILE} cannot be written to: File exists."),
]


@pytest.mark.parametrize(
    ("flags", "message"),
    ERRORS,
    ids=lambda value: " ".join(value)[:60] if isinstance(value, list) else "",
)
def test_an_error_is_one_line(
    flags: list[str],
    message: str,
    trained: dict[str, Path],
    unfinished: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (tmp_path / "file").write_text("something else")
    places = {
        ENDED: trained["squares"] / RUN,
        ENDED_DIGITS: trained["digits"] / RUN,
        ALONE: trained["squares"] / NETWORK,
        RUNNING: unfinished,
        FOLDER: tmp_path,
        FILE: tmp_path / "file",
    }
    for name, place in places.items():
        flags = [flag.replace(name, str(place)) for flag in flags]
        message = message.replace(name, str(place))
    assert main(flags) == 2
    output, error = capsys.readouterr()
    assert output == ""
    assert error.startswith("convlstm: ")
    assert error.count("\n") == 1
    assert message in error


@pytest.mark.parametrize(
    ("flags", "asked"),
    [
        (["evaluate", ENDED, "--out", FOLDER], "--out"),
        (["predict", ENDED, "--out", FOLDER], "predict"),
        (["benchmark", "--scaling", f"{FOLDER}/file.png"], "--scaling"),
        (["study", "losses", "--out", FOLDER], "study"),
    ],
    ids=["evaluate", "predict", "benchmark", "study"],
)
@pytest.mark.parametrize(
    ("modules", "missing"),
    [(("matplotlib", "PIL"), "matplotlib and Pillow"), (("PIL",), "Pillow")],
    ids=["both", "Pillow"],
)
def test_pictures_that_nothing_can_draw_are_refused_before_the_work(
    flags: list[str],
    asked: str,
    modules: tuple[str, ...],
    missing: str,
    trained: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name in modules:
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    monkeypatch.setattr(Trainer, "pieces", lambda trainer: pytest.fail("it trains"))
    places = {ENDED: trained["squares"] / RUN, FOLDER: tmp_path / "out"}
    for name, place in places.items():
        flags = [flag.replace(name, str(place)) for flag in flags]
    assert main(flags) == 2
    output, error = capsys.readouterr()
    assert output == ""
    assert error == (
        f"convlstm: {asked} draws pictures and needs {missing}: "
        'pip install "convlstm-playground[playground]".\n'
    )
    assert not (tmp_path / "out").exists()


def test_a_device_without_the_memory_is_said_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def needs_too_much(path: Path) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has 0")

    monkeypatch.setattr("convlstm.commands.evaluate.read_checkpoint", needs_too_much)
    assert main(["evaluate", "some.file", "--device", "cpu"]) == 2
    said = "CUDA out of memory. Tried to allocate 2.00 GiB. GPU 0 has 0"
    expected = f"convlstm: The device has too little memory for this: {said}\n"
    assert capsys.readouterr() == ("", expected)


def test_the_command_line_needs_nothing_that_draws() -> None:
    """In a process of its own, where none of it can be imported."""
    code = """
import sys

sys.modules |= dict.fromkeys(["gradio", "matplotlib", "PIL", "skimage", "tensorboard"])
from convlstm.commands.main import main

tiny = "--canvas 16 --hidden-channels 1 --batch-size 1 --epochs 2"
assert main(["train", *tiny.split()]) == 0
for name in ("quick-start", "moving-mnist-compact", "blizzard"):
    flags = ["--sequences", "1", "--horizon", "1", "--device", "cpu"]
    assert main(["evaluate", f"checkpoints/{name}.safetensors", *flags]) == 0
assert main(["settings"]) == 0
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "The run finished all of its steps." in done.stdout
    assert "# Settings" in done.stdout


def test_a_page_without_gradio_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert playground.main([]) == 2
    assert capsys.readouterr().err == (
        'playground.py: the page needs Gradio: pip install "convlstm-playground[playground]".\n'
    )
