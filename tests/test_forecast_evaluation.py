import hashlib

import numpy as np
import pytest
import torch

from convlstm import forecast_evaluation as module
from convlstm.digits import DigitsConfig
from convlstm.forecast_evaluation import (
    count_gmac,
    read_test_set,
    score_forecaster,
)
from convlstm.forecast_evaluation import (
    test_sequences as draw_sequences,
)
from convlstm.forecaster import ForecasterConfig, build_forecaster
from convlstm.safe_files import CheckpointError
from convlstm.video_metrics import mean_scores_of


def finish(pieces):
    seen = []
    while True:
        try:
            seen.append(next(pieces))
        except StopIteration as end:
            return seen, end.value


def test_the_trivial_baselines_score_what_the_field_has_measured():
    """On 150 sequences of the protocol: black 170.8 and 0.781, copy-last 283.4 and 0.660."""
    config = ForecasterConfig(hidden_channels=1, num_layers=1)
    model = build_forecaster(config, torch.Generator().manual_seed(0))
    seen, scores = finish(score_forecaster(model, draw_sequences(DigitsConfig(), 150, 0)))
    assert seen == [50, 100, 150]
    black, copied = mean_scores_of(scores.black), mean_scores_of(scores.copy_last)
    assert black.mse == pytest.approx(171, abs=5)
    assert black.ssim_openstl == pytest.approx(0.781, abs=0.01)
    assert copied.mse == pytest.approx(283, abs=12)
    assert copied.ssim_openstl == pytest.approx(0.660, abs=0.015)
    assert scores.ssim.shape == (150,)
    assert len(scores.model) == len(scores.black) == 10
    assert mean_scores_of(scores.model).ssim == pytest.approx(scores.ssim.mean().item())


def test_the_first_sequences_are_the_same_whatever_their_number():
    few = torch.cat(list(draw_sequences(DigitsConfig(), 3, 7)))
    many = torch.cat(list(draw_sequences(DigitsConfig(), 52, 7)))
    assert few.shape == (3, 20, 1, 64, 64)
    assert many.shape == (52, 20, 1, 64, 64)
    assert torch.equal(few, many[:3])


@pytest.fixture
def test_set(tmp_path, monkeypatch):
    """A small file of the public one's kind, which the reader takes for it."""
    data = np.random.default_rng(0).integers(0, 256, (20, 60, 64, 64), dtype=np.uint8)
    path = tmp_path / "mnist_test_seq.npy"
    np.save(path, data)
    monkeypatch.setattr(module, "TEST_SET_SHAPE", data.shape)
    monkeypatch.setattr(module, "TEST_SET_MD5", hashlib.md5(path.read_bytes()).hexdigest())
    return path, data


def test_the_public_test_set_is_read_sequence_by_sequence(test_set):
    path, data = test_set
    parts = list(read_test_set(path, 55))
    assert [len(part) for part in parts] == [50, 5]
    sequences = torch.cat(parts)
    assert sequences.shape == (55, 20, 1, 64, 64)
    assert torch.equal(sequences[54, 3, 0], torch.from_numpy(data[3, 54]).float() / 255)


def test_another_file_is_no_test_set(test_set, tmp_path, monkeypatch):
    path, data = test_set
    np.save(tmp_path / "other.npy", data + 1)
    with pytest.raises(CheckpointError, match="is not the public test set: its md5 is"):
        next(read_test_set(tmp_path / "other.npy", 1))
    np.save(tmp_path / "shape.npy", data[:10])
    with pytest.raises(CheckpointError, match=r"holds \(10, 60, 64, 64\) uint8, not \(20, 60"):
        next(read_test_set(tmp_path / "shape.npy", 1))
    (tmp_path / "rubbish.npy").write_bytes(b"rubbish")
    with pytest.raises(CheckpointError, match="it is no array of NumPy"):
        next(read_test_set(tmp_path / "rubbish.npy", 1))
    with pytest.raises(CheckpointError, match="No such file"):
        next(read_test_set(tmp_path / "missing.npy", 1))
    with pytest.raises(CheckpointError, match="Could not read"):
        next(read_test_set(tmp_path, 1))


def test_the_multiplications_are_those_one_counts_by_hand():
    config = ForecasterConfig(hidden_channels=8, num_layers=2, patch_size=4, kernel_size=3)
    positions, gates = 16 * 16, 32
    first, second = gates * 9 * positions * 16, gates * 9 * positions * 8
    head = 16 * 8 * positions
    # 19 frames are read; the first finds no state, in either layer.
    state = 18 * 2 * gates * 9 * positions * 8
    assert count_gmac(config, 64) == pytest.approx((19 * (first + second + head) + state) / 1e9)
