"""The validation set: sequences that no training sees, and what trivial predictors score on them.

Axes: B batch, T time (frames), C channels, H height (px), W width (px). Values in [0, 1].
"""

from collections.abc import Callable, Generator

import torch
from torch import Tensor

from convlstm.pieces import Clock
from convlstm.scenes.scene import Clip, Scene, lossless_bytes
from convlstm.training.metrics import Evaluation, frame_scores, mean_of, unseen_scores

NEARLY = 1e-6  # how near to 0 and 1 a frame may come where its logit is asked for

# A loss of a head's values, the frames made of them, and the truth.
Criterion = Callable[[Tensor, Tensor, Tensor], Tensor]


def scene_scores(scene: Scene, predicted: Tensor, truth: Tensor, valid: Tensor | None) -> Tensor:
    """Return `frame_scores`, (B, T, 5), of the channels that a scene's scores are of."""
    scored = scene.scored
    known = None if valid is None else valid[:, :, scored]
    return frame_scores(predicted[:, :, scored], truth[:, :, scored], known)


def baseline_tables(
    scene: Scene, context: Tensor, truth: Tensor, valid: Tensor | None
) -> dict[str, Tensor]:
    """Return the `scene_scores` of a scene's baselines, by name."""
    return {
        name: scene_scores(scene, scene.baseline(name, context, truth), truth, valid)
        for name in scene.baselines
    }


class Validation:
    """A scene's validation set.

    Args:
        scene: what the sequences show.
        context_frames: frames seen.
        horizon: frames predicted.
        device: where predictions are made.
    """

    def __init__(
        self, scene: Scene, context_frames: int, horizon: int, device: torch.device
    ) -> None:
        self._scene, self._context_frames, self._device = scene, context_frames, device
        clip = scene.validation(context_frames, horizon)
        same = clip.observed is clip.clean
        clean = lossless_bytes(clip.clean)
        observed = clean if same else lossless_bytes(clip.observed)
        self._clip = clip._replace(observed=observed, clean=clean)
        self._trivial: dict[int, dict[str, Tensor]] = {}  # their scores, by first sequence

    def score(
        self, predict: Callable[[Tensor], Tensor], criterion: Criterion, at_once: int, clock: Clock
    ) -> Generator[None, None, tuple[float, Evaluation]]:
        """Score a predictor, and beside it the scene's baselines.

        Args:
            predict: turns context, (B, T, C, H, W), into the frames that follow.
            criterion: the loss to report, too.
            at_once: sequences in a piece of the work.
            clock: counts the computing time.

        Yields:
            None between two pieces of the work.

        Returns:
            The mean loss, and the scores.
        """
        scene, loss, brightest, scores = self._scene, 0.0, [], []
        count = len(self._clip.clean)
        for start in range(0, count, at_once):
            clip = Clip(*map(_as_numbers, self._clip.part(slice(start, start + at_once))))
            clip = clip.to(self._device)
            context, truth, valid = clip.split(self._context_frames)
            predicted = predict(context)
            judged = predicted if valid is None else torch.where(valid, predicted, truth)
            share = len(truth) / count
            loss += criterion(judged.logit(NEARLY), judged, truth).item() * share
            brightest.append(predicted.max())
            scores.append(scene_scores(scene, predicted, truth, valid))
            if start not in self._trivial:
                self._trivial[start] = baseline_tables(scene, context, truth, valid)
            yield from clock.interruption()
        tables = {"model": torch.cat(scores)}
        for name in scene.baselines:
            tables[name] = torch.cat([part[name] for part in self._trivial.values()])
        unseen = unseen_scores(tables, self._clip.unseen(self._context_frames))
        means = {name: mean_of(table) for name, table in tables.items()}
        brightest = torch.stack(brightest).max().item()  # NaN if one is
        return loss, Evaluation(means.pop("model"), means, brightest, unseen)


def _as_numbers(values: Tensor | None) -> Tensor | None:
    """Turn `lossless_bytes` back; others stay what they are."""
    return values.float() / 255 if values is not None and values.dtype == torch.uint8 else values
