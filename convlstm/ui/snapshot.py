"""What a viewer is sent: the state of a run as a small JSON value.

Gradio sends only what changed since the last value, and a text that grew costs only its growth; so
the curve travels as text, "step value;" for each point.
"""

import base64
from dataclasses import asdict

import numpy as np

from convlstm.metrics import Evaluation
from convlstm.render import sprite_sheet
from convlstm.runs import SAMPLES, Picture, Run
from convlstm.training import HORIZON, Trainer, resolve_precision

_CURVE_POINTS = 500  # of the training curve at the end of a run; a screen shows no more


class Viewer:
    """One viewer of a run, who is told only of what is new."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._trainer: Trainer | None = None
        self._picture: Picture | None = None
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
            self._evaluation: Evaluation | None = None
        done = run.steps_done
        self._read_records(trainer, done)
        config = trainer.config
        left = (config.total_steps - done) * (run.step_seconds or 0) * max(1, runs_in_turn)
        return {
            "run": run.id,
            "state": run.state,
            "reason": run.reason,
            "place": run.place,
            "shipped": run.shipped,
            "epoch": -(-done // config.batches_per_epoch),
            "epochs": config.epochs,
            "step": done,
            "stepMs": run.step_seconds and round(run.step_seconds * 1000),
            "left": round(left),
            "device": trainer.device.type.upper(),
            "precision": resolve_precision(config.precision, trainer.device),
            "parameters": sum(p.numel() for p in trainer.model.parameters()),
            "curve": {
                "steps": config.total_steps,
                "epochs": config.epochs,
                "train": self._train,
                "heldOut": self._held_out,
                "marks": [[c.step, c.name, c.old, c.new] for c in trainer.changes],
            },
            "scores": self._evaluation and _scores(self._evaluation),
            "picture": self._picture_of(run.picture),
        }

    def _read_records(self, trainer: Trainer, done: int) -> None:
        stride = max(1, trainer.config.total_steps // _CURVE_POINTS)
        for record in trainer.records[self._read : done]:
            if record.step % stride == 0 or record.step == 1:
                self._train += f"{record.step} {record.mse:.4g};"
            if record.evaluation:
                self._held_out += f"{record.step} {record.evaluation.model.mse:.4g};"
                self._evaluation = record.evaluation
        self._read = done

    def _picture_of(self, picture: Picture | None) -> dict[str, object] | None:
        if picture is not self._picture:
            self._picture = picture
            self._picture_value = picture and _picture(picture)
        return self._picture_value


def _scores(evaluation: Evaluation) -> dict[str, object]:
    return {
        "model": asdict(evaluation.model),
        "black": asdict(evaluation.black),
        "copyLast": asdict(evaluation.copy_last),
        "skill": evaluation.skill,
        "isBlack": evaluation.is_black,
    }


def _picture(picture: Picture) -> dict[str, object]:
    frames = np.concatenate([picture.context, picture.truth, picture.predicted])
    return {
        "sample": picture.sample,
        "samples": SAMPLES,
        "lookAhead": len(picture.truth),
        "farthest": HORIZON,
        "canvas": frames.shape[-1],
        "context": len(picture.context),
        "sprites": base64.b64encode(sprite_sheet(frames)).decode(),
        "scores": [asdict(scores) for scores in picture.scores],
        "copyLast": [scores.ssim for scores in picture.copy_last],
        "black": [scores.ssim for scores in picture.black],
    }
