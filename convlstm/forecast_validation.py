"""The validation set of forecasters: sequences of digits that no training sees.

Axes: B batch, T time (frames), H height (px), W width (px). Intensities in [0, 1].
"""

from collections.abc import Callable, Generator
from dataclasses import replace

import torch
from torch import Tensor

from convlstm.digits import DigitsConfig, read_digits, sample_digits
from convlstm.forecast_config import CONTEXT_FRAMES, HORIZON
from convlstm.metrics import black_frames, copy_last_frame
from convlstm.pieces import Clock
from convlstm.video_metrics import VideoEvaluation, VideoScores, frame_scores, mean_of

VALIDATION_SEQUENCES = 128
EVALUATED_AT_ONCE = 8  # sequences; a fraction of a second of work on a CPU
_SEED = 2**31 - 1  # of the lower half, from which training draws nothing but weights
_NEARLY = 1e-6  # how near to 0 and 1 a prediction may come where its logit is asked for


class Validation:
    """The set, and what trivial predictors score on it.

    It is kept in bytes, a quarter of what the frames take: each run of a server has its own.

    Args:
        scene: what the sequences show; they are never mirrored.
        device: where they are drawn and scored.
    """

    def __init__(self, scene: DigitsConfig, device: torch.device) -> None:
        frames = sample_digits(
            replace(scene, flips=False),
            read_digits("validation").to(device),
            VALIDATION_SEQUENCES,
            CONTEXT_FRAMES + HORIZON,
            torch.Generator(device).manual_seed(_SEED),
        )
        self._bytes = (255 * frames).round().byte()
        self._trivial: dict[int, tuple[Tensor, Tensor]] = {}  # their scores, by first sequence

    def score(
        self,
        predict: Callable[[Tensor], Tensor],
        criterion: Callable[[Tensor, Tensor, Tensor], Tensor],
        clock: Clock,
    ) -> Generator[None, None, tuple[float, VideoEvaluation]]:
        """Score a predictor, and beside it black frames and the copied last frame.

        Args:
            predict: turns context, (B, 10, 1, H, W), into the frames that follow, likewise.
            criterion: a loss of logits, intensities and truth.
            clock: counts the computing time.

        Yields:
            None between two pieces of the work.

        Returns:
            The mean loss, and the scores.
        """
        loss, scores = 0.0, []
        for start in range(0, VALIDATION_SEQUENCES, EVALUATED_AT_ONCE):
            frames = self._bytes[start : start + EVALUATED_AT_ONCE].float() / 255
            context, truth = frames.split((CONTEXT_FRAMES, HORIZON), 1)
            predicted = predict(context)
            share = len(truth) / VALIDATION_SEQUENCES
            loss += criterion(predicted.logit(_NEARLY), predicted, truth).item() * share
            scores.append(frame_scores(predicted, truth))
            if start not in self._trivial:
                trivial = black_frames(truth), copy_last_frame(context, HORIZON)
                self._trivial[start] = tuple(frame_scores(each, truth) for each in trivial)
            yield from clock.interruption()
        return loss, VideoEvaluation(mean_of(torch.cat(scores)), *self._baselines())

    def _baselines(self) -> tuple[VideoScores, VideoScores]:
        black, copied = zip(*self._trivial.values(), strict=True)
        return mean_of(torch.cat(black)), mean_of(torch.cat(copied))
