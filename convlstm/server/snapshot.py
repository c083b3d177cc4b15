"""What a viewer is sent: the state of a run as a small JSON value.

Gradio sends only what changed since the last value, and a text that grew costs only its growth; so
the curve travels as text, "step value;" for each point.
"""

import base64
import math
from dataclasses import asdict

import numpy as np

from convlstm.files.pictures import sprite_sheet
from convlstm.files.script import has_script
from convlstm.scenes.scene import Measure
from convlstm.server.run import Run
from convlstm.server.view import StagePicture, finite
from convlstm.settings import settings_of
from convlstm.training.costs import steps_left
from convlstm.training.metrics import Evaluation, Scores
from convlstm.training.presets import default_config
from convlstm.training.records import StepRecord
from convlstm.training.speed_test import has_speeds
from convlstm.training.trainer import Trainer

_CURVE_POINTS = 500  # of the training curve at the end of a run; a screen shows no more


class Viewer:
    """One viewer of a run, who is told only of what is new."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self._trainer: Trainer | None = None
        self._picture: StagePicture | None = None
        self._picture_value: dict[str, object] | None = None

    def snapshot(self, runs_in_turn: int) -> dict[str, object]:
        """Return the run as it is now.

        Args:
            runs_in_turn: runs that share the computing, for the time that is left.
        """
        run, trainer = self.run, self.run.trainer
        config, measure = trainer.config, trainer.config.scene.measure
        if trainer is not self._trainer:
            self._trainer, self._read = trainer, 0
            self._train, self._validation = "", ""
            self._evaluation: Evaluation | None = None
        done, total = run.steps_done, trainer.total_steps
        self._read_records(trainer.records[self._read : done], total, measure)
        left = steps_left(config, trainer.precision, done / total) * (run.step_seconds or 0)
        return {
            "run": run.id,
            "scene": config.scene.name,
            "settings": settings_of(config if run.chosen else default_config(config.scene.name)),
            # Of the model on show, where that is not what the page trains with.
            "model": None if run.chosen else settings_of(config),
            "state": run.state,
            "reason": run.reason,
            "place": run.place,
            "shipped": run.shipped,
            "resumed": list(run.resumed),
            "step": done,
            "steps": total,
            "epoch": -(-done // config.batches_per_epoch),
            "epochs": -(-total // config.batches_per_epoch),
            "horizon": config.horizon_at(trainer.progress),
            "horizonEnd": config.horizon,
            "stepMs": run.step_seconds and round(run.step_seconds * 1000),
            "left": round(left * max(1, runs_in_turn)),
            "seconds": round(trainer.records[done - 1].seconds) if done else 0,
            "device": trainer.device.type.upper(),
            "precision": trainer.precision,
            "parameters": sum(p.numel() for p in trainer.network.parameters()),
            "sequences": sum(training.sequences for training in trainer.trainings),
            "hasScript": has_script(config),
            "stage": _stage(trainer),
            "curve": {
                "steps": total,
                "train": self._train,
                "validation": self._validation,
                "marks": [[c.step, c.name, c.old, c.new] for c in trainer.changes],
            },
            "scores": self._evaluation and _scores(self._evaluation, measure),
            "study": run.study and run.study.told(),
            "lesson": run.facts and run.facts.told(),
            "pins": {"version": run.pins.version, "count": len(run.pins.all)},
            "picture": self._picture_of(run, measure),
        }

    def _read_records(self, records: list[StepRecord], total: int, measure: Measure) -> None:
        stride = max(1, total // _CURVE_POINTS)
        for record in records:
            if math.isfinite(record.mse) and (record.step % stride == 0 or record.step == 1):
                self._train += f"{record.step} {measure.of(record.mse):.4g};"
            if record.evaluation:
                mse = measure.of(record.evaluation.model.mse)
                self._validation += f"{record.step} {mse:.4g};"
                self._evaluation = record.evaluation
        self._read += len(records)

    def _picture_of(self, run: Run, measure: Measure) -> dict[str, object] | None:
        picture = run.picture  # once: the compute thread changes it
        if picture is not self._picture:
            self._picture = picture
            self._picture_value = picture and _picture(picture, run, measure)
        return self._picture_value


def told_of(run: Run) -> dict[str, object]:
    """Return what stays to be told of a run when it is pinned: facts, curve and scores."""
    snapshot = Viewer(run).snapshot(1)
    names = ("shipped", "step", "steps", "seconds", "curve", "scores")
    error = snapshot["stage"]["error"]
    return {name: snapshot[name] for name in names} | {
        "settings": settings_of(run.config),
        "error": error,
    }


def _stage(trainer: Trainer) -> dict[str, object]:
    """Say how the scene is shown; it may change with its settings."""
    scene = trainer.config.scene
    measure, look = asdict(scene.measure), asdict(scene.look)
    measure.pop("factor")  # values come in the unit already
    return {
        "error": measure,
        "baselines": list(scene.baselines),
        "colours": look["colours"],
        "low": look["low"],
        "high": look["high"],
        "unit": look["unit"],
        "closeUp": look["close_up"],
        "drawable": look["drawable"],
        "brings": scene.brings,
        "hasSpeeds": has_speeds(scene),
        "hides": scene.hides,
    }


def _scores(evaluation: Evaluation, measure: Measure) -> dict[str, object]:
    unseen = evaluation.unseen
    return {
        "model": _brief(evaluation.model, measure),
        "baselines": {n: _brief(each, measure) for n, each in evaluation.baselines.items()},
        "skill": finite(evaluation.skill),
        "isBlack": evaluation.is_black,
        "unseen": unseen
        and {
            "model": finite(unseen.skill),
            "baselines": {n: finite(unseen.skill_of(each)) for n, each in unseen.baselines.items()},
        },
    }


def _picture(picture: StagePicture, run: Run, measure: Measure) -> dict[str, object]:
    look = run.config.scene.look
    frames = look.on_scale(np.concatenate([picture.context, picture.truth, picture.predicted]))
    known = picture.known
    if known is not None:
        truth = known[len(picture.context) :]
        # Where nothing is known of what follows, the prediction is all that there is to see.
        known = np.concatenate([known, truth if truth.any() else np.ones_like(truth)])
    return {
        "sample": picture.sample,
        "samples": picture.samples,
        "speed": picture.speed,
        "beyond": picture.is_beyond,
        "width": frames.shape[2],
        "height": frames.shape[1],
        "context": len(picture.context),
        "horizon": len(picture.truth),
        "sprites": base64.b64encode(sprite_sheet(frames, known)).decode(),
        "times": picture.times and list(picture.times),
        "scores": [_brief(scores, measure) for scores in picture.scores],
        "baselines": {
            name: [_brief(scores, measure) for scores in rows]
            for name, rows in picture.baselines.items()
        },
    }


def _brief(scores: Scores, measure: Measure) -> dict[str, float | None]:
    return {
        "error": finite(measure.of(scores.mse)),
        "mae": finite(measure.factor * scores.mae),
        "psnr": finite(scores.psnr),
        "ssim": finite(scores.ssim),
    }
