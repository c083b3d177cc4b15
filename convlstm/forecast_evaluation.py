"""Scoring a forecaster on test sequences: by lead time, beside the trivial baselines.

Axes: B batch, T time (frames), H height (px), W width (px). Intensities in [0, 1].
"""

import hashlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from convlstm.digits import DigitsConfig, read_digits, sample_digits
from convlstm.forecast_config import CONTEXT_FRAMES, HORIZON
from convlstm.forecaster import Forecaster, ForecasterConfig, build_forecaster, forecast
from convlstm.metrics import black_frames, copy_last_frame
from convlstm.safe_files import CheckpointError
from convlstm.video_metrics import VideoScores, frame_scores, mean_of

TEST_SET_SHAPE = (20, 10_000, 64, 64)
TEST_SET_MD5 = "be083ec986bfe91a449d63653c411eb2"
_DRAWN_AT_ONCE = 50  # sequences; not an option, or the same seed would give other ones
_READ_AT_ONCE = 2**20  # bytes of a file whose checksum is computed


@dataclass(frozen=True)
class TestScores:
    """What an evaluation found.

    Attributes:
        sequences: how many were scored.
        model: scores by lead time, from 1.
        black: of black frames, likewise.
        copy_last: of the copied last frame, likewise.
        ssim: the model's mean SSIM (range 1) of each sequence, (n,).
    """

    sequences: int
    model: list[VideoScores]
    black: list[VideoScores]
    copy_last: list[VideoScores]
    ssim: Tensor


def test_sequences(config: DigitsConfig, count: int, seed: int) -> Iterator[Tensor]:
    """Yield sequences of MNIST's test digits, (B, 20, 1, H, W).

    The first ones of a seed are the same whatever the count and the device.
    """
    generator = torch.Generator().manual_seed(seed)
    digits = read_digits("test")
    frames = CONTEXT_FRAMES + HORIZON
    for start in range(0, count, _DRAWN_AT_ONCE):
        drawn = sample_digits(config, digits, _DRAWN_AT_ONCE, frames, generator)
        yield drawn[: count - start]


def read_test_set(path: Path, count: int) -> Iterator[Tensor]:
    """Yield the first sequences of the public test file `mnist_test_seq.npy`, (B, 20, 1, 64, 64).

    Raises:
        CheckpointError: the file cannot be read, or is not that file.
    """
    try:
        with path.open("rb") as file:
            checksum = hashlib.md5(usedforsecurity=False)
            while part := file.read(_READ_AT_ONCE):
                checksum.update(part)
        data = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, EOFError) as error:
        reason = getattr(error, "strerror", None) or "it is no array of NumPy"
        raise CheckpointError(f"Could not read {path}: {reason}.") from error
    if data.shape != TEST_SET_SHAPE or data.dtype != np.uint8:
        raise CheckpointError(
            f"{path} is no Moving MNIST test set: it holds {data.shape} {data.dtype}, "
            f"not {TEST_SET_SHAPE} uint8."
        )
    if checksum.hexdigest() != TEST_SET_MD5:
        raise CheckpointError(
            f"{path} is not the public test set: its md5 is {checksum.hexdigest()}, "
            f"not {TEST_SET_MD5}."
        )
    for start in range(0, count, _DRAWN_AT_ONCE):
        part = torch.from_numpy(np.array(data[:, start : min(start + _DRAWN_AT_ONCE, count)]))
        yield part.transpose(0, 1)[:, :, None].float() / 255


def score_forecaster(
    model: Forecaster, sequences: Iterator[Tensor], *, augmented: bool = False
) -> Generator[int, None, TestScores]:
    """Score a model on sequences of 20 frames.

    Yields:
        How many sequences are scored by now.

    Returns:
        The scores, when the sequences are at their end.
    """
    device = next(model.parameters()).device
    tables: list[list[Tensor]] = [[], [], []]
    count = 0
    for frames in sequences:
        context, truth = frames[:, :CONTEXT_FRAMES], frames[:, CONTEXT_FRAMES:]
        predicted = forecast(model, context.to(device), HORIZON, augmented=augmented).cpu()
        candidates = predicted, black_frames(truth), copy_last_frame(context, HORIZON)
        for table, candidate in zip(tables, candidates, strict=True):
            table.append(frame_scores(candidate, truth))
        count += len(frames)
        yield count
    scores = [torch.cat(table) for table in tables]  # (n, 10, 5)
    by_lead = [[mean_of(lead) for lead in table.unbind(1)] for table in scores]
    return TestScores(count, *by_lead, ssim=scores[0][:, :, 3].mean(1))


def count_gmac(config: ForecasterConfig, canvas: int) -> float:
    """Count the multiplications of one sequence, ten frames from ten, in 1e9.

    Counted by torch's `FlopCounterMode`, which sees convolutions and matrix products alone.
    """
    # On no device the layer takes its reference, whose convolutions are counted.
    model = build_forecaster(config, torch.Generator(), "meta")
    context = torch.zeros(1, CONTEXT_FRAMES, 1, canvas, canvas, device="meta")
    with FlopCounterMode(display=False) as counter:
        forecast(model, context, HORIZON)
    return counter.get_total_flops() / 2e9
