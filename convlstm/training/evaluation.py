"""Scoring a network on test sequences: by lead time, beside the scene's baselines.

Axes: B batch, T time (frames), C channels, H height (px), W width (px). Values in [0, 1].
"""

import hashlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from convlstm.networks import Network
from convlstm.scenes.scene import Clip, Scene
from convlstm.training.metrics import (
    METRICS,
    Scores,
    UnseenScores,
    by_lead_time,
    mean_scores,
    unseen_scores,
)
from convlstm.training.validation import baseline_tables, scene_scores

TEST_SET_SHAPE = (20, 10_000, 64, 64)
TEST_SET_MD5 = "be083ec986bfe91a449d63653c411eb2"
_SEQUENCES_AT_ONCE = 50


class TestSetError(ValueError):
    """A test set that cannot be read; the message is one sentence for a person."""

    __test__ = False  # pytest would take it for a test


@dataclass(frozen=True)
class LeadTimeScores:
    """What an evaluation found, each list by lead time from 1.

    Attributes:
        sequences: how many were scored.
        model: scores of the network.
        baselines: of the predictors that learnt nothing, by name.
        ssim: the network's mean SSIM of each sequence, (n,).
        brightest: largest value in any prediction.
        unseen: scores of the sequences alone whose newest frame shows nothing of what moves; None
            where there are none.
        unseen_sequences: how many these are.
    """

    sequences: int
    model: list[Scores]
    baselines: dict[str, list[Scores]]
    ssim: Tensor
    brightest: float
    unseen: UnseenScores | None
    unseen_sequences: int

    @property
    def mean(self) -> tuple[Scores, dict[str, Scores]]:
        """The means over the lead times, of the network and of the baselines."""
        return mean_scores(self.model), {
            name: mean_scores(rows) for name, rows in self.baselines.items()
        }


def read_test_set(path: Path, count: int) -> Iterator[Clip]:
    """Yield the first sequences of the public test file `mnist_test_seq.npy`, (B, 20, 1, 64, 64).

    Raises:
        TestSetError: the file cannot be read, or is not that file.
    """
    try:
        checksum = hashlib.md5(np.memmap(path, mode="r"), usedforsecurity=False).hexdigest()
        data = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, EOFError) as error:
        reason = getattr(error, "strerror", None) or "it is no array of NumPy"
        raise TestSetError(f"Could not read {path}: {reason}.") from error
    if data.shape != TEST_SET_SHAPE or data.dtype != np.uint8:
        raise TestSetError(
            f"{path} is no Moving MNIST test set: it holds {data.shape} {data.dtype}, "
            f"not {TEST_SET_SHAPE} uint8."
        )
    if checksum != TEST_SET_MD5:
        raise TestSetError(
            f"{path} is not the public test set: its md5 is {checksum}, not {TEST_SET_MD5}."
        )
    for start in range(0, count, _SEQUENCES_AT_ONCE):
        stop = min(start + _SEQUENCES_AT_ONCE, count)
        part = torch.from_numpy(np.array(data[:, start:stop]))
        frames = part.transpose(0, 1)[:, :, None].float() / 255
        yield Clip(frames, frames)


def score_network(
    network: Network,
    scene: Scene,
    clips: Iterator[Clip],
    context_frames: int,
    horizon: int,
    *,
    at_once: int = _SEQUENCES_AT_ONCE,
    augmented: bool = False,
) -> Generator[int, None, LeadTimeScores]:
    """Score a network on sequences.

    Args:
        network: it predicts where it is.
        scene: whose sequences they are.
        clips: the sequences, of context_frames + horizon frames or more.
        context_frames: frames seen.
        horizon: frames predicted.
        at_once: sequences that are predicted together.
        augmented: whether to average the predictions of mirrored sequences.

    Yields:
        How many sequences are scored by now.

    Returns:
        The scores, when the sequences are at their end.
    """
    device = next(network.parameters()).device
    tables: dict[str, list[Tensor]] = {name: [] for name in ("model", *scene.baselines)}
    count, brightest, unseen = 0, [], []
    for clip in clips:
        context, truth, valid = clip.frames(context_frames + horizon).split(context_frames)
        parts = context.to(device).split(at_once)
        predicted = torch.cat([network.predict(p, horizon, augmented=augmented) for p in parts])
        predicted = predicted.cpu()
        brightest.append(predicted.max())
        tables["model"].append(scene_scores(scene, predicted, truth, valid))
        for name, table in baseline_tables(scene, context, truth, valid).items():
            tables[name].append(table)
        if clip.hidden is not None:
            unseen.append(clip.unseen(context_frames))
        count += len(truth)
        yield count
    scores = {name: torch.cat(table) for name, table in tables.items()}  # (n, horizon, 5)
    leads = {name: by_lead_time(table) for name, table in scores.items()}
    ssim = scores["model"][:, :, METRICS.index("ssim")].mean(1)
    brightest = torch.stack(brightest).max().item()  # NaN if one is
    hidden = torch.cat(unseen) if unseen else None
    return LeadTimeScores(
        count,
        leads.pop("model"),
        leads,
        ssim,
        brightest,
        unseen_scores(scores, hidden),
        0 if hidden is None else int(hidden.sum()),
    )
