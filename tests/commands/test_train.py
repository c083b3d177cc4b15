"""`train`, as a person or a program uses it."""

import csv
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image

from convlstm.commands import train as command
from convlstm.commands.main import main
from convlstm.files.checkpoint import load_network, resume
from convlstm.files.reading import read_checkpoint
from convlstm.files.safe_files import CheckpointError
from convlstm.scenes.catalogue import CATALOGUE
from convlstm.settings import configure, settings_of
from convlstm.training import TrainConfig, Trainer, train
from tests.commands.conftest import NETWORK, ROOT, RUN, TINY, parse

SCENES = ["squares", "digits"]
SAVED = {RUN, NETWORK, "losses.csv"}
ALWAYS_DRAWN = {"truth.png", "prediction.png", "mse_curve.png", "sequence.gif"}
DRAWN = {
    "squares": ALWAYS_DRAWN | {f"input_{number}.png" for number in range(1, 10)},
    "digits": ALWAYS_DRAWN
    | {f"input_{number}.png" for number in range(1, 11)}
    | {"forecast.png", "ssim_by_lead_time.png", "truth_and_prediction.gif"},
}
# A kernel of 3 with a bias for four gates of 2 channels, and a 1x1 head: to one pixel, or to 16.
# Gates, then what draws; of digits the flows, masks and paint of patches of 64 pixels.
PARAMETERS = {
    "squares": 8 * (3 * 9 + 1) + 3,
    "digits": 8 * (66 * 9 + 1) + 3 * (2 * 9 * 2 + 2 * 64 + 2 * 64),
}
SHORT = {
    "squares": [*TINY["squares"], "--preset", "article", "--epochs", "3", "--evaluate-every", "2"],
    "digits": [*TINY["digits"], "--epochs", "3", "--evaluate-every", "2"],
}
Finished = dict[str, tuple[Path, list[dict]]]
Process = subprocess.Popen[str]


def start(folder: Path, *flags: str) -> Process:
    """Start the program; its warnings are errors, and what it prints goes to a file."""
    with folder.with_suffix(".jsonl").open("w") as output:
        return subprocess.Popen(
            [sys.executable, "-W", "error", "-m", "convlstm", "train", *flags]
            + ["--json", "--out", str(folder)],
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )


def printed(folder: Path) -> str:
    return folder.with_suffix(".jsonl").read_text()


@pytest.fixture(scope="module")
def processes(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, tuple[Path, Process]]]:
    """A long run of each scene, ended by Ctrl-C, and a short one, all at once."""
    place = tmp_path_factory.mktemp("made")
    started = {"short": (place / "short", start(place / "short", *SHORT["squares"]))}
    for scene in SCENES:
        folder = place / f"a long one of {scene}"
        started[scene] = folder, start(folder, *TINY[scene], "--epochs", "3000")
    try:
        for scene in SCENES:
            folder, process = started[scene]
            while printed(folder).count("\n") < 6 and process.poll() is None:
                time.sleep(0.02)
            process.send_signal(signal.SIGINT)
        yield started
    finally:
        for _, process in started.values():
            process.kill()
            process.communicate()


@pytest.fixture(scope="module")
def interrupted(processes: dict[str, tuple[Path, Process]]) -> Finished:
    """The checkpoint and the JSON records of a run of each scene that Ctrl-C ended."""
    found = {}
    for scene in SCENES:
        folder, process = processes[scene]
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 130
        saved = folder / RUN
        steps = len(read_checkpoint(saved).records)
        assert errors == f"Interrupted after step {steps}; saved to {saved}.\n"
        found[scene] = saved, parse(printed(folder))
    return found


@pytest.fixture(scope="module")
def finished(
    processes: dict[str, tuple[Path, Process]], tmp_path_factory: pytest.TempPathFactory
) -> Finished:
    """The folder and the JSON records of a small run of each scene: one as a process of its own."""
    folder = tmp_path_factory.mktemp("made") / "in this process"
    with redirect_stdout(io.StringIO()) as output, redirect_stderr(io.StringIO()) as errors:
        assert main(["train", *SHORT["digits"], "--out", str(folder), "--json"]) == 0
    assert errors.getvalue() == ""
    found = {"digits": (folder, parse(output.getvalue()))}
    folder, process = processes["short"]
    _, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    return {**found, "squares": (folder, parse(printed(folder)))}


@pytest.mark.parametrize("scene", SCENES)
def test_a_run_leaves_its_network_its_history_and_pictures(scene: str, finished: Finished) -> None:
    folder, _ = finished[scene]
    assert {path.name for path in folder.iterdir()} == SAVED | DRAWN[scene]
    for path in folder.glob("*.png"):
        with Image.open(path) as picture:
            picture.load()
    horizon = 1 if scene == "squares" else 10
    for path in folder.glob("*.gif"):
        with Image.open(path) as picture:
            assert picture.info["loop"] == 0
            times = []
            for frame in range(picture.n_frames):  # equal neighbours are one
                picture.seek(frame)
                times.append(picture.info["duration"])
            shown = 9 + 1 if scene == "squares" else 10 + horizon
            assert sum(times) == shown * (500 if path.name == "sequence.gif" else 200)
            if scene == "squares":
                assert times == [500] * 10


@pytest.mark.parametrize("scene", SCENES)
def test_json_begins_with_the_run_and_goes_on_with_its_steps(
    scene: str, finished: Finished
) -> None:
    folder, (about, *records) = finished[scene]
    assert about == {
        "parameters": PARAMETERS[scene],
        "scene": scene,
        "settings": settings_of(read_checkpoint(folder / RUN).config),
        "device": "cpu",
        "precision": "float32",
        "processes": 1,
    }
    assert about["settings"]["hidden_channels"] == 2
    assert [record["step"] for record in records] == [1, 2, 3]
    assert [record["ended"] for record in records] == [None, None, "finished"]
    assert [bool(record["evaluation"]) for record in records] == [False, True, True]
    for record in records[1:]:
        evaluation = record["evaluation"]
        assert set(evaluation["baselines"]) == {"copy_last", "black"}
        copied = evaluation["baselines"]["copy_last"]
        assert copied["mse"] > 0
        assert evaluation["skill"] == pytest.approx(1 - evaluation["model"]["mse"] / copied["mse"])


@pytest.mark.parametrize("scene", SCENES)
def test_the_losses_are_in_the_csv_file(scene: str, finished: Finished) -> None:
    folder, (_, *records) = finished[scene]
    with (folder / "losses.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in rows] == [record["loss"] for record in records]
    last = records[-1]["evaluation"]
    assert float(rows[-1]["validation_mse"]) == last["model"]["mse"]
    assert float(rows[-1]["copy_last_ssim"]) == last["baselines"]["copy_last"]["ssim"]


@pytest.mark.parametrize("scene", SCENES)
def test_the_network_file_holds_the_best_weights(scene: str, finished: Finished) -> None:
    folder, _ = finished[scene]
    best = resume(read_checkpoint(folder / RUN), torch.device("cpu")).best_weights
    found = load_network(read_checkpoint(folder / NETWORK)).state_dict()
    assert found.keys() == best.keys()
    assert all(torch.equal(found[name], best[name]) for name in best)


@pytest.mark.parametrize(("scene", "file"), [("squares", RUN), ("digits", NETWORK)])
def test_a_prediction_is_drawn(
    scene: str,
    file: str,
    finished: Finished,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    made, out = finished[scene][0], tmp_path / "a" / "b"
    assert main(["predict", str(made / file), "--seed", "0", "--out", str(out)]) == 0
    curve = {"mse_curve.png"}  # of a run's history, which a network's file has none of
    assert {path.name for path in out.iterdir()} == DRAWN[scene] - (set() if file == RUN else curve)
    assert capsys.readouterr().out == f"Saved to {out}.\n"
    for name in ("input_1.png", "truth.png"):  # training ends with the pictures of seed 0
        assert (out / name).read_bytes() == (made / name).read_bytes()


ENDS = {
    "finished": "The run finished all of its steps.",
    "goal": "The run reached its goal, a validation MSE under 1.",
    "patience": "The run ended: the validation loss no longer fell.",
    "diverged": "The run diverged: the last good weights were kept; try a lower learning rate.",
}
IMPATIENT = "--patience 1 --evaluate-every 1 --schedule constant --learning-rate 0.5 --epochs 200"

EXPLOSIVE = "--output linear --loss mse --optimizer adamw --schedule constant --learning-rate 1 "
EXPLOSIVE += "--hidden-channels 32 --curriculum 0 --epochs 100"


@pytest.mark.parametrize(
    ("scene", "flags", "end"),
    [
        ("squares", "--epochs 2", "finished"),
        ("squares", "--stop-below 1", "goal"),
        ("squares", IMPATIENT, "patience"),
        ("squares", "--preset article --hidden-channels 64 --learning-rate 1", "diverged"),
        ("digits", "--epochs 3", "finished"),
        ("digits", "--stop-below 1 --evaluate-every 1", "goal"),
        ("digits", IMPATIENT, "patience"),
        ("digits", EXPLOSIVE, "diverged"),
    ],
)
def test_a_summary_says_why_the_run_ended(
    scene: str,
    flags: str,
    end: str,
    few_sequences: None,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["train", *TINY[scene], *flags.split()]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == ENDS[end]
    assert "nan" not in "".join(lines)


@pytest.mark.parametrize("scene", [*SCENES, "storm"])
def test_a_summary_has_the_baselines_beside_the_model(
    scene: str, few_sequences: None, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ["train", *TINY[scene], "--epochs", "1"]
    assert main([*flags, "--json"]) == 0
    about, *_, last = parse(capsys.readouterr().out)
    evaluation = last["evaluation"]
    assert main(flags) == 0
    lines = capsys.readouterr().out.splitlines()
    first, _, _, heading, model, *baselines, unit = lines[:8]
    batch = about["settings"]["batch_size"]
    assert first.startswith(
        f"{about['parameters']:,} parameters, 1 of 1 steps of {batch} sequences in "
    )
    measure = configure(about["settings"], TrainConfig(CATALOGUE[scene].scene)).scene.measure
    kind = measure.kind.upper()
    assert heading.split() == [
        *("frames", "predictor", kind, "MAE", "PSNR", "dB", "SSIM", "openstl", "skill")
    ]
    units = {"squares": "per pixel", "digits": "summed over a frame", "storm": "in hPa"}
    assert unit == f"({kind} and MAE {units[scene]})"
    copied = evaluation["baselines"]["copy_last"]
    by_name = {"model": evaluation["model"], **evaluation["baselines"]}
    labels = {"copy_last": "copy-last", "black": "black frame"}
    place = {"squares": 1e-6, "digits": 0.01, "storm": 0.001}[scene]  # of the last digit
    for line, (name, scores) in zip([model, *baselines], by_name.items(), strict=True):
        assert labels.get(name, name) in line
        error, mae, psnr, ssim, openstl, skill = (float(word) for word in line.split()[-6:])
        expected = [measure.of(scores["mse"]), measure.factor * scores["mae"]]
        assert [error, mae] == pytest.approx(expected, abs=place)
        assert psnr == pytest.approx(scores["psnr"], abs=6e-3)
        expected = [scores["ssim"], scores["ssim_openstl"]]
        assert [ssim, openstl] == pytest.approx(expected, abs=6e-5)
        assert skill == pytest.approx(1 - scores["mse"] / copied["mse"], abs=1e-3)
    assert evaluation["is_black"] == (scene == "squares")
    if evaluation["is_black"]:
        (warning,) = lines[8:]
        assert warning.startswith("Warning: the model predicts nothing but black")
    else:
        assert not lines[8:]


@pytest.mark.parametrize("scene", SCENES)
def test_ctrl_c_keeps_the_last_whole_step(scene: str, interrupted: Finished) -> None:
    saved, (_, *records) = interrupted[scene]
    checkpoint = read_checkpoint(saved)
    steps = checkpoint.records
    assert resume(checkpoint, torch.device("cpu")).ended is None
    assert len(steps) in (len(records), len(records) + 1)  # stopped while the last was evaluated
    assert [step.loss for step in steps[: len(records)]] == [r["loss"] for r in records]
    assert (saved.parent / "losses.csv").read_text().count("\n") == len(steps) + 1
    assert {path.name for path in saved.parent.iterdir()} == SAVED


@pytest.mark.parametrize("scene", SCENES)
def test_a_resumed_run_goes_on_where_it_was(
    scene: str,
    few_sequences: None,
    interrupted: Finished,
    capsys: pytest.CaptureFixture[str],
) -> None:
    saved, (about, *before) = interrupted[scene]
    done = len(read_checkpoint(saved).records)
    with pytest.MonkeyPatch.context() as patch:
        pull = Trainer.pieces

        def a_few(trainer: Trainer):
            for piece in pull(trainer):
                yield piece
                if piece and piece.step > done + 2:
                    signal.raise_signal(signal.SIGINT)

        patch.setattr(Trainer, "pieces", a_few)
        assert main(["train", "--resume", str(saved), "--json"]) == 130
    output, errors = capsys.readouterr()
    first, *after = parse(output)
    assert errors == f"Interrupted after step {after[-1]['step']}.\n"
    assert first == about
    whole = train(configure(about["settings"], TrainConfig(CATALOGUE[scene].scene)))
    expected = [next(whole).loss for _ in range(after[-1]["step"])]
    # One was printed by a process with other threads; the sums differ in their last digits.
    assert [r["loss"] for r in before + after][-3:] == pytest.approx(expected[-3:], rel=1e-4)
    assert after[0]["step"] in (len(before) + 1, len(before) + 2)


def test_a_run_that_starts_from_a_file_has_its_past(
    trained: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = trained["squares"] / NETWORK
    flags = [*TINY["squares"], "--epochs", "1", "--seed", "1", "--start-from", str(path)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "picture_files", lambda *_: {})
        assert main(["train", *flags, "--out", str(tmp_path)]) == 0
    assert capsys.readouterr().out.endswith(f"Saved to {tmp_path}.\n")
    trainings = read_checkpoint(tmp_path / NETWORK).trainings
    assert [training.steps for training in trainings] == [2, 1]


@pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorboard")
@pytest.mark.parametrize("scene", SCENES)
def test_curves_are_written_for_tensorboard(
    scene: str, few_sequences: None, tmp_path: Path
) -> None:
    assert main(["train", *TINY[scene], "--epochs", "2", "--log-dir", str(tmp_path)]) == 0
    (file,) = tmp_path.glob("events.out.tfevents.*")
    content = file.read_bytes()
    for tag in (b"loss", b"learning_rate", b"horizon", b"validation_loss", b"validation/ssim"):
        assert tag in content


def test_without_tensorboard_the_flag_is_refused_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr(Trainer, "pieces", lambda trainer: pytest.fail("it trains"))
    assert main(["train", *TINY["squares"], "--log-dir", str(tmp_path)]) == 2
    assert "--log-dir needs TensorBoard: pip install tensorboard." in capsys.readouterr().err


@pytest.mark.parametrize("name", [RUN, NETWORK, "losses.csv", "truth.png"])
def test_a_file_that_cannot_be_saved_is_an_error_after_the_summary(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(command, "picture_files", lambda *_: {"truth.png": b""})
    (tmp_path / name / "in the way").mkdir(parents=True)
    assert main(["train", *TINY["squares"], "--epochs", "1", "--out", str(tmp_path)]) == 2
    output, error = capsys.readouterr()
    assert "The run finished all of its steps." in output
    assert "Saved" not in output
    assert error.startswith("convlstm: ")
    assert str(tmp_path / name) in error
    assert error.count("\n") == 1


def test_a_save_on_the_way_that_fails_does_not_end_the_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    minutes = iter(range(1000))  # one passes whenever somebody looks: at the start, and every step
    clock = SimpleNamespace(monotonic=lambda: 60.0 * next(minutes))
    tries = []

    def save(trainer: Trainer, path: Path) -> None:
        tries.append(trainer.step)
        if len(tries) < 3:
            raise CheckpointError(f"Could not write {path}: No space left on device.")
        write(trainer, path)

    write = command.save_checkpoint
    monkeypatch.setattr(command, "save_checkpoint", save)
    monkeypatch.setattr(command, "time", clock)
    monkeypatch.setattr(command, "picture_files", lambda *_: {})
    flags = [*TINY["squares"], "--epochs", "14", "--save-every", "3.5", "--out", str(tmp_path)]
    assert main(["train", *flags, "--json"]) == 0
    output, error = capsys.readouterr()
    assert [record["step"] for record in parse(output)[1:]] == list(range(1, 15))
    # A look more sets the clock after each try; the last is at the end of the run.
    assert tries == [4, 8, 12, 14]
    line = (
        f"convlstm: Could not write {tmp_path / RUN}: No space left on device. "
        "Training goes on; the next try is in 3.5 min.\n"
    )
    assert error == 2 * line
    assert len(read_checkpoint(tmp_path / RUN).records) == 14


def test_without_what_draws_a_run_is_saved_and_its_pictures_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)  # as if it were not installed
    assert main(["train", *TINY["squares"], "--epochs", "1", "--out", str(tmp_path)]) == 0
    assert {path.name for path in tmp_path.iterdir()} == SAVED
    assert capsys.readouterr().err == (
        "convlstm: no pictures were drawn, which needs matplotlib: "
        'pip install "convlstm-playground[playground]".\n'
    )
