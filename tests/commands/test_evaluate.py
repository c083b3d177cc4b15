"""`evaluate` and `predict`, of runs and of shipped networks."""

import hashlib
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from convlstm.commands import evaluate as command
from convlstm.commands.main import main
from convlstm.files.checkpoint import load_checkpoint, save_network
from convlstm.files.reading import read_checkpoint
from convlstm.scenes import digits, squares
from convlstm.scenes.digits import Digits
from convlstm.scenes.scene import DATA_STREAM, MAX_TEST_SEED, VALIDATION_SEED
from convlstm.scenes.squares import Squares
from convlstm.settings import MAX_SEED, configure, settings_of
from convlstm.training import TrainConfig, Trainer, evaluation
from convlstm.training.metrics import Scores, by_lead_time, frame_scores
from convlstm.training.presets import preset
from tests.commands.conftest import NETWORK, ROOT, RUN, parse

SCENES = {"squares": Squares(canvas=16, square_size=4), "digits": Digits(canvas=32)}
CONTEXT = {"squares": 9, "digits": 10}


def evaluate(path: Path, flags: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["evaluate", str(path), "--device", "cpu", *flags.split()]) == 0
    output, errors = capsys.readouterr()
    assert errors == ""
    return output


def test_a_reader_that_has_seen_enough_ends_the_program_quietly() -> None:
    path = "checkpoints/quick-start.safetensors"
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "convlstm", "evaluate", path, "--sequences", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    process.stdout.close()
    process.wait(timeout=60)
    assert (process.returncode, process.stderr.read()) == (1, "")
    process.stderr.close()


@pytest.mark.parametrize("name", SCENES)
def test_evaluation_scores_fresh_sequences_for_each_lead_time(
    name: str, trained: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path, scene, seen = trained[name] / RUN, SCENES[name], CONTEXT[name]
    (data,) = parse(evaluate(path, "--sequences 53 --seed 5 --horizon 2 --json", capsys))

    generator = torch.Generator().manual_seed(5)
    drawn = [scene.sample(50, seen + 10, generator, "test").clean for _ in range(2)]
    sequences = torch.cat(drawn)[:53]
    context, truth = sequences[:, :seen], sequences[:, seen : seen + 2]
    expected = {
        "model": load_checkpoint(path).predict(context, 2),
        "black": torch.zeros_like(truth),
        "copy_last": context[:, -1:].expand_as(truth),
    }
    assert [lead["lead_time"] for lead in data["lead_times"]] == [1, 2]
    found = [
        {"model": lead["model"], **lead["baselines"]}
        for lead in (*data["lead_times"], data["mean"])
    ]
    for predictor, predicted in expected.items():
        both = by_lead_time(frame_scores(predicted, truth))
        for lead, scores in zip(found[:2], both, strict=True):
            assert lead[predictor] == pytest.approx(asdict(scores), rel=1e-5)
        mean = sum(scores.mse for scores in both) / 2
        assert found[2][predictor]["mse"] == pytest.approx(mean, rel=1e-5)
    for lead, scores in zip((*data["lead_times"], data["mean"]), found, strict=True):
        skill = 1 - scores["model"]["mse"] / scores["copy_last"]["mse"]
        assert lead["skill"] == pytest.approx(skill)
        assert set(scores["model"]) == {"mse", "mae", "psnr", "ssim", "ssim_openstl"}
    assert data["parameters"] == sum(p.numel() for p in load_checkpoint(path).parameters())
    assert data["settings"] == settings_of(read_checkpoint(path).config)
    assert (data["sequences"], data["seed"], data["precision"]) == (53, 5, "float32")
    assert [training["steps"] for training in data["trained"]] == [2]


# How errors are told, and after how many places.
UNITS = {
    "squares": ("MSE", "per pixel", 6),
    "digits": ("MSE", "summed over a frame", 2),
    "storm": ("RMSE", "in hPa", 3),
}


@pytest.mark.parametrize("name", UNITS)
def test_evaluation_prints_an_aligned_table(
    name: str, trained: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = trained[name] / NETWORK
    (data,) = parse(evaluate(path, "--sequences 2 --horizon 3 --json", capsys))
    first, _, heading, *table = evaluate(path, "--sequences 2 --horizon 3", capsys).splitlines()
    assert first.startswith(f"2 unseen sequences, {data['parameters']:,} parameters, ")
    assert f" {data['gmac_per_sequence']:.2f} GMAC a sequence, on cpu in float32, " in first
    assert first.endswith(" frames/s with scoring.")
    kind, unit, places = UNITS[name]
    assert heading.split() == [
        *("lead", "time", "predictor", kind, "MAE", "PSNR", "dB", "SSIM", "openstl", "skill")
    ]
    rows, rest = table[: 3 * 4], table[3 * 4 :]
    assert len({len(line) for line in (heading, *rows)}) == 1
    assert [line.split()[0] for line in rows[::3]] == ["1", "2", "3", "mean"]
    other = "climatology" if name == "storm" else "black frame"
    assert [line[11:22].strip() for line in rows] == ["model", "copy-last", other] * 4
    assert rest[0] == f"({kind} and MAE {unit})"

    measure = read_checkpoint(path).config.scene.measure
    for each, model in zip([*data["lead_times"], data["mean"]], rows[::3], strict=True):
        scores = Scores(**each["model"])
        error, mae, psnr, ssim, openstl, skill = model.split()[-6:]
        assert error == f"{measure.of(scores.mse):.{places}f}"
        assert mae == f"{measure.factor * scores.mae:.{places}f}"
        assert (psnr, ssim) == (f"{scores.psnr:.2f}", f"{scores.ssim:.4f}")
        assert (openstl, skill) == (f"{scores.ssim_openstl:.4f}", f"{each['skill']:.3f}")


def test_a_line_says_what_is_remembered_where_the_scene_hides_things(
    tmp_path: Path, trained: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    scene = Squares(canvas=16, square_size=4, bar_width=8, bar_left=4, directions="right")
    path = tmp_path / "network.safetensors"
    save_network(Trainer(TrainConfig(scene)), path)
    (data,) = parse(evaluate(path, "--sequences 60 --horizon 1 --json", capsys))
    unseen = data["unseen"]
    mses = {name: scores["mse"] for name, scores in unseen["baselines"].items()}
    assert 0 < unseen["sequences"] < 60
    assert unseen["skill"] == pytest.approx(1 - unseen["model"]["mse"] / min(mses.values()))
    count, skill = unseen["sequences"], unseen["skill"]
    line = f"While nothing is seen ({count} sequences): skill {skill:.3f} over "
    assert line in evaluate(path, "--sequences 60 --horizon 1", capsys)
    plain = evaluate(trained["squares"] / NETWORK, "--sequences 3 --horizon 1", capsys)
    assert "While nothing is seen" not in plain


@pytest.mark.parametrize("name", SCENES)
def test_the_best_and_the_worst_sequence_are_drawn(
    name: str, trained: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = trained[name] / NETWORK, tmp_path / "pictures"
    text = evaluate(path, f"--sequences 3 --out {out}", capsys)
    assert text.count("model") == 11 + text.count("the model predicts nothing but black")
    assert text.endswith(f"Pictures of the best, the median and the worst sequence are in {out}.\n")
    names = {"best.png", "median.png", "worst.png", "ssim_by_lead_time.png"}
    assert {path.name for path in out.iterdir()} == names
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in out.iterdir())


@pytest.mark.parametrize("name", SCENES)
def test_predictions_of_mirrored_sequences_are_averaged(
    name: str, trained: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = trained[name] / NETWORK
    (plain,) = parse(evaluate(path, "--sequences 2 --json", capsys))
    (averaged,) = parse(evaluate(path, "--sequences 2 --augmented --json", capsys))
    assert (plain["augmented"], averaged["augmented"]) == (False, True)
    assert averaged["sequences"] == 2
    assert [lead["lead_time"] for lead in averaged["lead_times"]] == list(range(1, 11))
    assert averaged["mean"]["model"] != plain["mean"]["model"]
    assert averaged["mean"]["baselines"] == plain["mean"]["baselines"]
    text = evaluate(path, "--sequences 1 --horizon 1 --augmented", capsys)
    assert ", averaged over mirrored sequences.\n" in text


def test_what_is_drawn_is_what_was_scored(trained, tmp_path, monkeypatch, capsys):
    path, drawn = trained["digits"] / NETWORK, []
    monkeypatch.setattr(
        command, "sequence_figure", lambda picture, *_: drawn.append(picture) or b""
    )
    evaluate(path, f"--sequences 1 --augmented --out {tmp_path}", capsys)
    context = torch.from_numpy(drawn[0].context)[None, :, None]
    expected = load_checkpoint(path).predict(context, 10, augmented=True)[0, :, 0]
    torch.testing.assert_close(torch.from_numpy(drawn[0].predicted), expected)


@pytest.mark.parametrize("name", SCENES)
def test_a_sequence_does_not_depend_on_how_many_are_drawn(
    name: str, trained: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    path = trained[name] / RUN
    leads = []
    for horizon in (1, 10):
        flags = f"--sequences 2 --horizon {horizon} --json"
        leads.append(parse(evaluate(path, flags, capsys))[0]["lead_times"])
    assert [len(lead) for lead in leads] == [1, 10]
    for part in ("model", "baselines"):
        assert leads[0][0][part] == leads[1][0][part]


def test_test_seeds_are_none_of_training_or_of_the_page() -> None:
    # A CPU generator reads 32 bits of a seed.
    assert MAX_TEST_SEED < DATA_STREAM <= MAX_SEED + DATA_STREAM < 2**32
    assert MAX_TEST_SEED < min(VALIDATION_SEED, squares._SHOWN_SEED, digits._SHOWN_SEED)
    assert digits._SHOWN_SEED + Digits.samples < VALIDATION_SEED


@pytest.fixture
def test_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, np.ndarray]:
    """A small file of the public one's kind, which the reader takes for it."""
    data = np.random.default_rng(0).integers(0, 256, (20, 4, 64, 64), dtype=np.uint8)
    path = tmp_path / "mnist_test_seq.npy"
    np.save(path, data)
    monkeypatch.setattr(evaluation, "TEST_SET_SHAPE", data.shape)
    monkeypatch.setattr(evaluation, "TEST_SET_MD5", hashlib.md5(path.read_bytes()).hexdigest())
    return path, data


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """The file of a network of Moving MNIST, on its canvas."""
    small = {"hidden_channels": 1, "num_layers": 1, "residual": False, "batch_size": 1}
    path = tmp_path / "network.safetensors"
    save_network(Trainer(configure(small, preset("moving-mnist-compact"))), path)
    return path


def test_the_public_test_set_is_scored(
    network: Path,
    test_set: tuple[Path, np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, data = test_set
    drawn = []
    monkeypatch.setattr(
        command, "sequence_figure", lambda picture, *_: drawn.append(picture) or b""
    )
    flags = f"--sequences 3 --test-set {path} --json --out {tmp_path / 'pictures'}"
    (found,) = parse(evaluate(network, flags, capsys))
    assert found["sequences"] == 3
    frames = torch.from_numpy(data[:, :3]).transpose(0, 1)[:, :, None].float() / 255
    predicted = load_checkpoint(network).predict(frames[:, :10], 10)
    expected = by_lead_time(frame_scores(predicted, frames[:, 10:]))
    for lead, scores in zip(found["lead_times"], expected, strict=True):
        assert lead["model"] == pytest.approx(asdict(scores), rel=1e-5)
    assert (tmp_path / "pictures" / "median.png").exists()
    whole = [np.concatenate([picture.context, picture.truth]) for picture in drawn]
    assert sorted(each.sum() for each in whole) == pytest.approx(
        sorted(frames.sum((1, 2, 3, 4)).tolist()), rel=1e-5
    )


def test_a_network_that_sees_too_much_of_the_test_set_is_refused(tmp_path, capsys):
    small = {"hidden_channels": 1, "num_layers": 1, "residual": False, "context_frames": 12}
    path = tmp_path / "network.safetensors"
    save_network(Trainer(configure(small, preset("moving-mnist-compact"))), path)
    assert main(["evaluate", str(path), "--test-set", "none.npy"]) == 2
    assert "sees 12, so --horizon must be at most 8." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "message"),
    [("missing.npy", "Could not read"), ("rubbish.npy", "it is no array of NumPy")],
)
def test_a_test_set_that_is_none_is_refused(
    file: str, message: str, network: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rubbish.npy").write_bytes(b"rubbish")
    assert main(["evaluate", str(network), "--test-set", str(tmp_path / file)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert str(tmp_path / file) in error
    assert error.count("\n") == 1
