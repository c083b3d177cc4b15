"""What a viewer is sent: the state of a run as a small JSON value.

Gradio sends only what changed since the last value, and a text that grew costs only its growth; so
the curve travels as text, "step value;" for each point.
"""

import base64
import math
from dataclasses import asdict

import numpy as np

from convlstm.forecast_config import horizon_at
from convlstm.forecast_view import ForecastPicture
from convlstm.forecasting import ForecastTrainer
from convlstm.metrics import Evaluation
from convlstm.render import sprite_sheet
from convlstm.runs import Run
from convlstm.squares_view import Picture
from convlstm.systems import AnyTrainer
from convlstm.training import Trainer, resolve_precision
from convlstm.video_metrics import VideoEvaluation

_CURVE_POINTS = 500  # of the training curve at the end of a run; a screen shows no more


class Viewer:
    """One viewer of a run, who is told only of what is new."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._trainer: AnyTrainer | None = None
        self._picture: Picture | ForecastPicture | None = None
        self._picture_value: dict[str, object] | None = None

    def snapshot(self, runs_in_turn: int) -> dict[str, object]:
        """Return the run as it is now.

        Args:
            runs_in_turn: runs that share the computing, for the time that is left.
        """
        run, trainer = self.run, self.run.trainer
        if trainer is not self._trainer:
            self._trainer, self._read = trainer, 0
            self._train, self._held_out = "", ""
            self._evaluation: Evaluation | VideoEvaluation | None = None
        done = run.steps_done
        if isinstance(trainer, Trainer):
            total, own = self._squares(trainer, done)
        else:
            total, own = self._digits(trainer, done)
        left = max(0, total - done) * (run.step_seconds or 0) * max(1, runs_in_turn)
        return {
            "run": run.id,
            "scene": run.system.name,
            "state": run.state,
            "reason": run.reason,
            "place": run.place,
            "shipped": run.shipped,
            "step": done,
            "steps": total,
            "stepMs": run.step_seconds and round(run.step_seconds * 1000),
            "left": round(left),
            "device": trainer.device.type.upper(),
            "precision": resolve_precision(trainer.config.precision, trainer.device),
            "parameters": sum(p.numel() for p in trainer.model.parameters()),
            "curve": {
                "steps": total,
                "train": self._train,
                "heldOut": self._held_out,
                "marks": [[c.step, c.name, c.old, c.new] for c in trainer.changes],
            },
            "picture": self._picture_of(run),
            **own,
        }

    def _squares(self, trainer: Trainer, done: int) -> tuple[int, dict[str, object]]:
        """Return the steps of the whole run, and what only a run of squares has."""
        config = trainer.config
        self._read_records(trainer.records[self._read : done], config.total_steps)
        scores = self._evaluation and {
            **_scores(self._evaluation),
            "skill": self._evaluation.skill,
            "isBlack": self._evaluation.is_black,
        }
        epoch = -(-done // config.batches_per_epoch)
        return config.total_steps, {"epoch": epoch, "epochs": config.epochs, "scores": scores}

    def _digits(self, trainer: ForecastTrainer, done: int) -> tuple[int, dict[str, object]]:
        """Return the steps of the whole run, and what only a run of digits has.

        Where its time is given and not its steps, they are what they will be at this pace.
        """
        config = trainer.config
        total = config.steps
        if config.max_minutes and trainer.progress > 1e-6:
            total = max(trainer.step, round(trainer.step / min(1, trainer.progress)))
        self._read_records(trainer.history[self._read : done], total)
        return total, {
            "digits": config.scene.num_digits,
            "horizon": horizon_at(config, trainer.progress),
            "sequences": sum(training.sequences for training in trainer.trainings),
            "scores": self._evaluation and _scores(self._evaluation),
        }

    def _read_records(self, records: list, total: int) -> None:
        stride = max(1, total // _CURVE_POINTS)
        for record in records:
            if math.isfinite(record.mse) and (record.step % stride == 0 or record.step == 1):
                self._train += f"{record.step} {record.mse:.4g};"
            if record.evaluation:
                self._held_out += f"{record.step} {record.evaluation.model.mse:.4g};"
                self._evaluation = record.evaluation
        self._read += len(records)

    def _picture_of(self, run: Run) -> dict[str, object] | None:
        picture = run.picture  # once: the compute thread changes it
        if picture is not self._picture:
            self._picture = picture
            self._picture_value = picture and _picture(picture, run)
        return self._picture_value


def _scores(evaluation: Evaluation | VideoEvaluation) -> dict[str, object]:
    return {
        "model": asdict(evaluation.model),
        "black": asdict(evaluation.black),
        "copyLast": asdict(evaluation.copy_last),
    }


def _picture(picture: Picture | ForecastPicture, run: Run) -> dict[str, object]:
    frames = np.concatenate([picture.context, picture.truth, picture.predicted])
    return {
        "sample": picture.sample,
        "samples": run.view.samples,
        "lookAhead": len(picture.truth),
        "farthest": run.view.farthest,
        "canvas": frames.shape[-1],
        "context": len(picture.context),
        "sprites": base64.b64encode(sprite_sheet(frames)).decode(),
        "scores": [_brief(scores) for scores in picture.scores],
        "copyLast": [_brief(scores) for scores in picture.copy_last],
        "black": [_brief(scores) for scores in picture.black],
    }


def _brief(scores: object) -> dict[str, float]:
    return {"mse": scores.mse, "ssim": scores.ssim}
