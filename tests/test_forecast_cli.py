import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from convlstm import forecast_cli, forecast_validation, study
from convlstm.__main__ import main
from convlstm.forecast_checkpoint import read_forecaster

ROOT = Path(__file__).parents[1]
FLAGS = [
    "train", "--preset", "moving-mnist-compact", "--canvas", "32", "--hidden-channels", "2",
    "--num-layers", "1", "--batch-size", "1", "--steps", "3", "--evaluate-every", "2",
]  # fmt: skip


@pytest.fixture(autouse=True)
def few_sequences(monkeypatch):
    monkeypatch.setattr(forecast_validation, "VALIDATION_SEQUENCES", 2)
    monkeypatch.setattr(study, "_TEST_SEQUENCES", {"small": 2, "full": 2})


def test_a_run_prints_a_record_a_step_and_leaves_a_model_and_a_run(capsys, tmp_path):
    assert main([*FLAGS, "--json", "--out", str(tmp_path)]) == 0
    about, *records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert about["settings"]["hidden_channels"] == 2
    assert about["parameters"] == 8 * (18 * 9 + 1) + 3 * 16
    assert [record["step"] for record in records] == [1, 2, 3]
    assert records[1]["evaluation"]["copy_last"]["mse"] > 0
    assert records[-1]["ended"] == "finished"
    assert {path.name for path in tmp_path.iterdir()} == {"model.safetensors", "run.safetensors"}


def test_a_summary_says_how_it_went(capsys):
    assert main(FLAGS) == 0
    text = capsys.readouterr().out
    assert "3 steps of 1 sequences" in text
    assert "The run finished." in text
    assert "Validation: MSE" in text


def test_an_interrupted_run_goes_on_with_its_file(tmp_path, capsys, monkeypatch):
    command = [sys.executable, "-m", "convlstm", *FLAGS, "--out", str(tmp_path), "--json"]
    command[command.index("--steps") + 1] = "100000"
    job = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    for _ in range(3):
        job.stdout.readline()
    job.send_signal(signal.SIGINT)
    _, errors = job.communicate(timeout=60)
    assert job.returncode == 130
    assert "Interrupted after step" in errors
    step = read_forecaster(tmp_path / "run.safetensors").trainings[-1].steps
    assert step >= 2
    flags = ["train", "--resume", str(tmp_path / "run.safetensors")]
    printed = []

    def interrupt(data):
        printed.append(data)
        if len(printed) == 2:  # about the run, and its first record
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(forecast_cli, "print_json", interrupt)
    assert main([*flags, "--json"]) == 130
    assert printed[1]["step"] == step + 1
    for setting in ("--steps", "--seed"):
        assert main([*flags, setting, "0"]) == 2
        expected = f"--resume goes on with the checkpoint's own settings: leave out {setting}."
        assert expected in capsys.readouterr().err


def test_an_ended_run_does_not_go_on(tmp_path, capsys):
    assert main([*FLAGS, "--out", str(tmp_path)]) == 0
    capsys.readouterr()
    assert main(["train", "--resume", str(tmp_path / "run.safetensors")]) == 2
    assert "has ended (finished)" in capsys.readouterr().err
    assert main(["train", "--resume", str(tmp_path / "model.safetensors")]) == 2
    assert "holds a model alone" in capsys.readouterr().err


@pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorboard")
def test_curves_are_written_for_tensorboard(tmp_path):
    assert main([*FLAGS, "--log-dir", str(tmp_path)]) == 0
    (file,) = tmp_path.glob("events.out.tfevents.*")
    content = file.read_bytes()
    for tag in (b"loss", b"learning_rate", b"horizon", b"validation_loss", b"validation/ssim"):
        assert tag in content


def test_without_tensorboard_the_flag_is_refused_before_the_work(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main([*FLAGS, "--log-dir", str(tmp_path)]) == 2
    assert "--log-dir needs TensorBoard: pip install tensorboard." in capsys.readouterr().err


def test_a_forecaster_is_scored_by_lead_time_with_its_baselines(tmp_path, capsys):
    assert main([*FLAGS, "--out", str(tmp_path)]) == 0
    capsys.readouterr()
    model = str(tmp_path / "model.safetensors")
    assert main(["evaluate", model, "--sequences", "3", "--out", str(tmp_path / "p")]) == 0
    text = capsys.readouterr().out
    assert "3 sequences of unseen digits" in text
    assert "GMAC a sequence" in text
    assert text.count("model") == 11
    assert "black frame" in text
    assert "copy-last" in text
    names = {"best.png", "median.png", "worst.png", "ssim_by_lead_time.png"}
    assert {path.name for path in (tmp_path / "p").iterdir()} == names
    assert main(["evaluate", model, "--sequences", "2", "--augmented", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["augmented"]
    assert record["sequences"] == 2
    assert [lead["lead_time"] for lead in record["lead_times"]] == list(range(1, 11))
    assert set(record["lead_times"][0]["model"]) == {"mse", "mae", "psnr", "ssim", "ssim_openstl"}


def test_a_test_set_that_is_none_is_refused(tmp_path, capsys):
    assert main([*FLAGS, "--out", str(tmp_path)]) == 0
    flags = ["evaluate", str(tmp_path / "model.safetensors"), "--test-set"]
    assert main([*flags, str(tmp_path / "missing.npy")]) == 2
    assert "Could not read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--preset", "moving-mnist-compact", "--epochs", "3"], "--epochs is no setting of the pr"),
        (["--preset", "quick", "--curriculum", "0.5"], "--curriculum is no setting of the preset"),
        (["--preset", "moving-mnist-compact", "--ema", "2"], "ema is 2: must be a number from 0"),
        (["--preset", "moving-mnist-compact", "--save-every", "0"], "save_every is 0: must be"),
        (["--preset", "moving-mnist-giant"], "invalid choice: 'moving-mnist-giant'"),
    ],
)
def test_flags_that_do_not_fit_are_refused_in_one_line(flags, message, capsys):
    assert main(["train", *flags]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_study_writes_its_table_and_its_picture(tmp_path, capsys, monkeypatch):
    small = {"canvas": 32, "hidden_channels": 2, "num_layers": 2, "steps": 1, "batch_size": 1}
    monkeypatch.setitem(study._SCALES, "small", {**study._SCALES["small"], **small})
    assert main(["study", "losses", "--out", str(tmp_path)]) == 0
    table = capsys.readouterr().out
    assert "| 0.7 MSE + 0.3 (1 - SSIM) |" in table
    assert (tmp_path / "table.md").read_text() == table
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
