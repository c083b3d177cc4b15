"""The command line, as a person or a program uses it."""

import csv
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image

from convlstm import cli, forecast_validation, forecast_view, squares_view, training
from convlstm.__main__ import main
from convlstm.checkpoint import load_checkpoint, read_checkpoint
from convlstm.data import CONTEXT_FRAMES, SquaresConfig, sample_squares
from convlstm.metrics import black_frames, copy_last_frame, score_by_lead_time
from convlstm.presets import PRESETS
from convlstm.settings import MAX_SEED, settings_of
from convlstm.terminal import ProgressBar, print_json
from convlstm.train_config import TRAIN_NAMES, train_config
from convlstm.training import HORIZON

TINY = "--canvas 16 --square-size 4 --hidden-channels 2 --batch-size 2".split()
TINY += "--precision float32 --device cpu".split()
PICTURES = {f"input_{number}.png" for number in range(1, 10)} | {
    "truth.png",
    "prediction.png",
    "sequence.gif",
}
ARTICLE_FILES = PICTURES | {"mse_curve.png", "checkpoint.safetensors", "losses.csv"}
# None of these is the preset's own value.
OTHER_SETTINGS = {
    "canvas": 17,
    "square_size": 4,
    "num_squares": 2,
    "speed": 3,
    "directions": "all",
    "walls": "bounce",
    "noise": 0.1,
    "hidden_channels": 2,
    "kernel_size": 3,
    "num_layers": 2,
    "output": "linear",
    "peephole": True,
    "residual": True,
    "forget_bias": 0.5,
    "epochs": 1,
    "batches_per_epoch": 2,
    "batch_size": 3,
    "learning_rate": 1e-4,
    "schedule": "constant",
    "loss": "l1",
    "targets": "last",
    "gradient_clip": 2.0,
    "precision": "float32",
    "seed": 7,
    "stop_below": 1e-6,
    "evaluate_every": 5,
}


def start(*arguments: str) -> subprocess.Popen[str]:
    """Start the program; its warnings are errors."""
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "convlstm", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parent.parent,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def refuse_constant(name: str) -> None:
    raise AssertionError(f"{name} is not JSON")


def parse(output: str) -> list[dict]:
    return [json.loads(line, parse_constant=refuse_constant) for line in output.splitlines()]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict]]:
    """The folder and the JSON records of a small run of the article's recipe."""
    folder = tmp_path_factory.mktemp("made") / "by the run"
    flags = [*TINY, "--epochs", "3", "--evaluate-every", "2", "--out", str(folder)]
    process = start("train", "--preset", "article", *flags, "--json")
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    return folder, parse(output)


@pytest.fixture(scope="module")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict]]:
    """The checkpoint and the JSON records of a run that Ctrl-C ended."""
    folder = tmp_path_factory.mktemp("interrupted")
    process = start("train", *TINY, "--epochs", "2000", "--out", str(folder), "--json")
    seen = [process.stdout.readline() for _ in range(6)]
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    records = parse("".join([*seen, output]))
    saved = folder / "checkpoint.safetensors"
    steps = len(read_checkpoint(saved).tensors["history.steps"])
    assert errors == f"Interrupted after step {steps}; saved to {saved}.\n"
    return saved, records


def test_a_run_leaves_the_articles_files(finished: tuple[Path, list[dict]]) -> None:
    folder, _ = finished
    assert {path.name for path in folder.iterdir()} == ARTICLE_FILES
    for path in folder.glob("*.png"):
        with Image.open(path) as picture:
            picture.load()
    with Image.open(folder / "sequence.gif") as picture:
        assert (picture.n_frames, picture.info["duration"], picture.info["loop"]) == (10, 500, 0)


def test_json_begins_with_the_run_and_goes_on_with_its_steps(
    finished: tuple[Path, list[dict]],
) -> None:
    _, (about, *records) = finished
    assert about == {
        "parameters": 4 * 2 * (3 * 9 + 1) + 3,
        "settings": settings_of(read_checkpoint(finished[0] / "checkpoint.safetensors").config),
        "device": "cpu",
        "precision": "float32",
    }
    assert [record["step"] for record in records] == [1, 2, 3]
    assert [record["ended"] for record in records] == [None, None, "finished"]
    evaluation = records[-1]["evaluation"]
    skill = 1 - evaluation["model"]["mse"] / evaluation["copy_last"]["mse"]
    assert evaluation["skill"] == pytest.approx(skill)


def test_the_losses_are_in_the_csv_file(finished: tuple[Path, list[dict]]) -> None:
    folder, (_, *records) = finished
    with (folder / "losses.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in rows] == [record["loss"] for record in records]
    last = records[-1]["evaluation"]
    assert float(rows[-1]["held_out_mse"]) == last["model"]["mse"]
    assert float(rows[-1]["copy_last_ssim"]) == last["copy_last"]["ssim"]


def test_the_articles_preset_has_the_articles_parameters(
    capsys: pytest.CaptureFixture[str],
) -> None:
    flags = "--canvas 16 --epochs 1 --json".split()
    assert main(["train", "--preset", "article", *flags]) == 0
    assert parse(capsys.readouterr().out)[0]["parameters"] == 9873


def test_every_setting_is_a_flag(capsys: pytest.CaptureFixture[str]) -> None:
    assert set(OTHER_SETTINGS) == set(TRAIN_NAMES)
    flags = []
    for name, value in OTHER_SETTINGS.items():
        flag = "--" + name.replace("_", "-")
        flags += [flag] if value is True else [flag, str(value)]
    assert main(["train", *flags, "--json"]) == 0
    settings = parse(capsys.readouterr().out)[0]["settings"]
    assert settings == OTHER_SETTINGS
    preset = settings_of(PRESETS["quick"].config)
    assert not {name for name in TRAIN_NAMES if settings[name] == preset[name]}


def test_a_flag_switches_a_presets_option_off(capsys: pytest.CaptureFixture[str]) -> None:
    flags = [*TINY, "--no-residual", "--epochs", "1", "--json"]
    assert main(["train", "--preset", "deep", *flags]) == 0
    given = {"residual": False, "canvas": 16, "square_size": 4, "hidden_channels": 2}
    given |= {"batch_size": 2, "precision": "float32", "epochs": 1}
    expected = train_config(given, PRESETS["deep"].config)
    assert parse(capsys.readouterr().out)[0]["settings"] == settings_of(expected)


@pytest.mark.parametrize("command", [[], ["train"], ["evaluate"], ["predict"]])
def test_help_explains_every_flag(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*command, "--help"])
    assert ended.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    if command == ["train"]:
        assert "--hidden-channels N channels of every ConvLSTM layer, 1 to 64 [8]" in text
        assert "first 15 % of the steps" in text
        for name in TRAIN_NAMES:
            assert f"--{name.replace('_', '-')}" in text
        for preset in PRESETS.values():
            assert preset.sentence in text


@pytest.mark.parametrize(
    ("flags", "end"),
    [
        (["--epochs", "2"], "The run finished all of its steps."),
        (["--stop-below", "1"], "The run reached its goal, a held-out MSE under 1."),
        (
            "--preset article --hidden-channels 64 --learning-rate 1".split(),
            "The run diverged: the last good weights were kept; try a lower learning rate.",
        ),
    ],
)
def test_a_summary_says_why_the_run_ended(
    flags: list[str], end: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train", *TINY, *flags]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == end
    assert "nan" not in "".join(lines)


def test_a_summary_has_the_baselines_beside_the_model(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", *TINY, "--epochs", "1", "--json"]) == 0
    evaluation = parse(capsys.readouterr().out)[-1]["evaluation"]
    assert main(["train", *TINY, "--epochs", "1"]) == 0
    first, _, _, heading, model, black, copy_last, warning = capsys.readouterr().out.splitlines()
    assert first.startswith("611 parameters, 1 of 1 steps in ")
    assert heading.split() == ["frames", "predictor", "MSE", "MAE", "PSNR", "dB", "SSIM", "skill"]
    for line, name in ((model, "model"), (black, "black"), (copy_last, "copy_last")):
        mse, mae, psnr, ssim, skill = (float(word) for word in line.split()[-5:])
        scores = evaluation[name]
        assert [mse, mae] == pytest.approx([scores["mse"], scores["mae"]], abs=1e-6)
        assert [psnr, ssim] == pytest.approx([scores["psnr"], scores["ssim"]], abs=6e-3)
        expected = 1 - scores["mse"] / evaluation["copy_last"]["mse"]
        assert skill == pytest.approx(expected, abs=1e-3)
    assert evaluation["is_black"]
    assert warning.startswith("Warning: the model predicts nothing but black")


def test_ctrl_c_keeps_the_last_whole_step(interrupted: tuple[Path, list[dict]]) -> None:
    saved, (_, *records) = interrupted
    checkpoint = read_checkpoint(saved)
    steps = checkpoint.tensors["history.steps"]
    assert checkpoint.ended is None
    assert len(steps) in (len(records), len(records) + 1)  # stopped while the last was evaluated
    assert steps[: len(records), 0].tolist() == [record["loss"] for record in records]
    assert (saved.parent / "losses.csv").read_text().count("\n") == len(steps) + 1


def test_a_resumed_run_goes_on_where_it_was(
    interrupted: tuple[Path, list[dict]], capsys: pytest.CaptureFixture[str]
) -> None:
    saved, (about, *before) = interrupted
    flags = ["train", "--resume", str(saved), "--json"]
    with pytest.MonkeyPatch.context() as patch:
        pull = training.Trainer.pieces

        def a_few(trainer: training.Trainer):
            for piece in pull(trainer):
                yield piece
                if piece and piece.step > len(before) + 3:
                    signal.raise_signal(signal.SIGINT)

        patch.setattr(training.Trainer, "pieces", a_few)
        assert main(flags) == 130
    first, *after = parse(capsys.readouterr().out)
    assert first == about
    whole = training.train(train_config(about["settings"]))
    expected = [next(whole).loss for _ in range(after[-1]["step"])]
    # One was printed by a process with other threads; the sums differ in their last digits.
    assert [r["loss"] for r in before + after][-3:] == pytest.approx(expected[-3:], rel=1e-4)
    assert after[0]["step"] in (len(before) + 1, len(before) + 2)


def test_a_reader_that_has_seen_enough_ends_the_program_quietly(
    finished: tuple[Path, list[dict]],
) -> None:
    path = str(finished[0] / "checkpoint.safetensors")
    process = start("evaluate", path, "--sequences", "1", "--json")
    process.stdout.close()
    process.wait(timeout=60)
    assert (process.returncode, process.stderr.read()) == (1, "")
    process.stderr.close()


def test_evaluation_scores_fresh_sequences_for_each_lead_time(
    finished: tuple[Path, list[dict]], capsys: pytest.CaptureFixture[str]
) -> None:
    path = finished[0] / "checkpoint.safetensors"
    flags = ["--sequences", "53", "--seed", "5", "--horizon", "2"]
    assert main(["evaluate", str(path), *flags, "--json", "--device", "cpu"]) == 0
    (data,) = parse(capsys.readouterr().out)

    generator = torch.Generator().manual_seed(5)
    scene = SquaresConfig(canvas=16, square_size=4)
    frames = CONTEXT_FRAMES + HORIZON
    drawn = [sample_squares(scene, 50, frames, generator).clean for _ in range(2)]
    sequences = torch.cat(drawn)[:53]
    context, truth = sequences[:, :CONTEXT_FRAMES], sequences[:, CONTEXT_FRAMES:][:, :2]
    expected = {
        "model": load_checkpoint(path).predict(context, 2),
        "black": black_frames(truth),
        "copy_last": copy_last_frame(context, 2),
    }
    assert [lead["lead_time"] for lead in data["lead_times"]] == [1, 2]
    for name, predicted in expected.items():
        both = score_by_lead_time(predicted, truth)
        for lead, scores in zip(data["lead_times"], both, strict=True):
            assert lead[name] == pytest.approx(vars(scores), rel=1e-5)
        mean = sum(scores.mse for scores in both) / 2
        assert data["mean"][name]["mse"] == pytest.approx(mean, rel=1e-5)
    assert data["parameters"] == finished[1][0]["parameters"]
    assert data["settings"] == finished[1][0]["settings"]
    assert (data["sequences"], data["seed"], data["precision"]) == (53, 5, "float32")


def test_evaluation_prints_an_aligned_table(
    finished: tuple[Path, list[dict]], capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(finished[0] / "checkpoint.safetensors")
    assert main(["evaluate", path, "--sequences", "2", "--horizon", "3"]) == 0
    first, _, *table = capsys.readouterr().out.splitlines()
    assert first.startswith("2 fresh sequences of seed 0, 227 parameters, on ")
    rows = table[: 1 + 3 * 4]
    assert len({len(line) for line in rows}) == 1
    assert [line.split()[0] for line in rows[1::3]] == ["1", "2", "3", "mean"]


def test_a_sequence_does_not_depend_on_how_many_are_drawn(
    finished: tuple[Path, list[dict]], capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(finished[0] / "checkpoint.safetensors")
    leads = []
    for horizon in ("1", "10"):
        assert main(["evaluate", path, "--sequences", "2", "--horizon", horizon, "--json"]) == 0
        leads.append(parse(capsys.readouterr().out)[0]["lead_times"])
    assert [len(lead) for lead in leads] == [1, 10]
    assert leads[0][0] == leads[1][0]


def test_test_seeds_are_none_of_training_or_of_the_page() -> None:
    # A CPU generator reads 32 bits of a seed.
    first_training_seed = training._DATA_STREAM
    last_training_seed = MAX_SEED + training._DATA_STREAM
    assert cli.MAX_TEST_SEED < first_training_seed <= last_training_seed < 2**32
    assert cli.MAX_TEST_SEED < min(
        training._HELD_OUT_SEED,
        squares_view._SAMPLE_SEED,
        forecast_validation._SEED,
        forecast_view._SAMPLE_SEED,
    )


def test_a_prediction_is_drawn(
    finished: tuple[Path, list[dict]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = str(finished[0] / "checkpoint.safetensors"), tmp_path / "a" / "b"
    assert main(["predict", path, "--seed", "0", "--out", str(out)]) == 0
    assert {file.name for file in out.iterdir()} == PICTURES
    assert capsys.readouterr().out == f"Saved to {out}.\n"
    for name in ("input_1.png", "truth.png"):  # training ends with the pictures of seed 0
        assert (out / name).read_bytes() == (finished[0] / name).read_bytes()


ENDED, RUNNING, FOLDER, FILE = "<ended>", "<running>", "<folder>", "<file>"  # filled in below
ERRORS = [
    ([], "the following arguments are required: COMMAND"),
    (["fly"], "invalid choice: 'fly'"),
    (["train", "--wings", "2"], "unrecognized arguments: --wings 2"),
    (["train", "--epochs"], "--epochs: expected one argument"),
    (["train", "--preset", "slow"], "--preset: invalid choice: 'slow'"),
    (["train", "--epoch", "5"], "unrecognized arguments: --epoch 5"),
    (["train", "--hidden-channels", "0"], "hidden_channels is 0: must be a whole number from 1"),
    (["train", "--hidden-channels", "many"], "hidden_channels is 'many': must be a whole number"),
    (["train", "--learning-rate", "nan"], "learning_rate is nan: must be a number from 1e-05 to"),
    (["train", "--kernel-size", "4"], "kernel_size is 4: must be odd"),
    (["train", "--loss", "huber"], "loss is 'huber': must be one of mse, l1, bce, mse+ssim"),
    (["train", "--residual"], "residual is True: needs num_layers of 2 or more"),
    (["train", "--preset", "article", "--loss", "bce"], "loss is 'bce': must go with output"),
    (["train", "--canvas", "16", "--square-size", "6"], "square_size is 6: must be at most 5"),
    (["train", "--seed", "-1"], "seed is -1: must be a whole number from 0"),
    (["train", "--device", "abacus"], "device is 'abacus': must be auto, cpu, cuda or mps."),
    (["train", "--device", "cuda"], "device is 'cuda': this machine has none"),
    (["train", "--out", FILE], f"--out {FILE} cannot be written to: File exists."),
    (["train", "--out", f"{FILE}/x"], f"--out {FILE}/x cannot be written to: Not a directory."),
    (["train", "--resume", "none.file"], "Could not read none.file: No such file or directory."),
    (["train", "--resume", FILE], "The file is no checkpoint"),
    (["train", "--resume", FOLDER], "Is a directory"),
    (["train", "--resume", ENDED], f"The run of {ENDED} has ended (finished)."),
    (["train", "--resume", RUNNING, "--epochs", "9"], "own settings: leave out --epochs."),
    (
        ["train", "--resume", RUNNING, "--preset", "quick", "--no-peephole"],
        "own settings: leave out --preset, --peephole.",
    ),
    (["evaluate"], "the following arguments are required: CHECKPOINT"),
    (["evaluate", "none.file"], "Could not read none.file: No such file or directory."),
    (["evaluate", FILE], "The file is no checkpoint"),
    (["evaluate", ENDED, "--sequences", "0"], "sequences is 0: must be a whole number from 1"),
    (["evaluate", ENDED, "--sequences", "10001"], "from 1 to 10000"),
    (["evaluate", ENDED, "--horizon", "11"], "horizon is 11: must be a whole number from 1 to 10"),
    (["evaluate", ENDED, "--seed", "1073741824"], "seed is 1073741824: must be a whole number"),
    (["evaluate", ENDED, "--device", "cuda"], "device is 'cuda': this machine has none"),
    (["predict", ENDED], "the following arguments are required: --out"),
    (["predict", ENDED, "--out", FILE], f"--out {FILE} cannot be written to: File exists."),
    (["predict", ENDED, "--out", FOLDER, "--seed", "x"], "seed is 'x': must be a whole number"),
    (["predict", "none.file", "--out", FOLDER], "Could not read none.file"),
]


@pytest.mark.parametrize(("flags", "message"), ERRORS, ids=lambda value: " ".join(value)[:60])
def test_an_error_is_one_line(
    flags: list[str],
    message: str,
    finished: tuple[Path, list[dict]],
    interrupted: tuple[Path, list[dict]],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (tmp_path / "file").write_text("something else")
    places = {
        ENDED: finished[0] / "checkpoint.safetensors",
        RUNNING: interrupted[0],
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


@pytest.mark.parametrize("name", ["checkpoint.safetensors", "losses.csv"])
def test_a_file_that_cannot_be_saved_is_an_error_after_the_summary(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / name / "in the way").mkdir(parents=True)
    assert main(["train", *TINY, "--epochs", "1", "--out", str(tmp_path)]) == 2
    output, error = capsys.readouterr()
    assert "The run finished all of its steps." in output
    assert "Saved" not in output
    assert error.startswith("convlstm: ")
    assert str(tmp_path / name) in error
    assert error.count("\n") == 1


def test_numbers_that_json_does_not_have_become_null(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"loss": float("nan"), "more": [1.5, float("inf"), {"x": -float("inf")}]})
    assert capsys.readouterr().out == '{"loss": null, "more": [1.5, null, {"x": null}]}\n'


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_the_bar_stays_on_one_line_of_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("COLUMNS", "60")
    bar = ProgressBar(200)
    bar.draw(50, "x" * 100)
    bar.draw(51, "too soon to be drawn")
    bar.close()
    _, line, blank, end = sys.stderr.getvalue().split("\r")
    assert line.startswith("[######------------------] 50/200 xxx")
    assert len(line) == 59
    assert (blank, end) == (" " * 59, "")
    assert "\n" not in sys.stderr.getvalue()


def test_training_draws_a_bar_only_where_it_stands_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["train", *TINY, "--epochs", "2"]
    monkeypatch.setattr(sys, "stderr", Terminal())
    assert main(flags) == 0
    assert "1/2 loss 0." in sys.stderr.getvalue()
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setattr(sys, "stdout", Terminal())
    assert main([*flags, "--json"]) == 0
    assert sys.stderr.getvalue() == ""
