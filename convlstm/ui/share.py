"""The files that a person takes home from a run."""

import asyncio
import base64
import io
import zipfile

from convlstm.checks import shown
from convlstm.forecast_render import forecast_losses_csv, forecast_outputs
from convlstm.forecast_view import ForecastPicture
from convlstm.render import article_outputs, losses_csv
from convlstm.runs import Run
from convlstm.scheduler import Scheduler
from convlstm.script import training_script
from convlstm.squares_view import Picture
from convlstm.systems import SQUARES
from convlstm.training import Trainer


async def make_download(scheduler: Scheduler, run: Run, kind: object) -> dict[str, object]:
    """Make a file of a run.

    Args:
        scheduler: owns the run.
        run: the run.
        kind: "checkpoint", "pictures", "losses", or "script" (of squares).

    Returns:
        name and content (base64), or a notice.
    """
    if kind == "checkpoint":
        name = "convlstm.safetensors" if run.system is SQUARES else "forecaster.safetensors"
        content = await asyncio.wrap_future(scheduler.save(run))
    elif kind == "losses":
        name, content = "losses.csv", await asyncio.to_thread(_losses, run)
    elif kind == "script" and run.system is SQUARES:
        name, content = "train_convlstm.py", training_script(run.config).encode()
    elif kind == "pictures":
        picture = run.picture  # once: the compute thread changes it
        if picture is None:
            return {"notice": {"key": "no picture"}}
        name, content = "convlstm.zip", await asyncio.to_thread(_pictures, run, picture)
    else:
        return {"notice": {"key": "action", "text": f"kind is {shown(kind)}."}}
    return {"name": name, "content": base64.b64encode(content).decode()}


def _losses(run: Run) -> bytes:
    trainer = run.trainer
    if isinstance(trainer, Trainer):
        return losses_csv(trainer.records[: run.steps_done]).encode()
    return forecast_losses_csv(trainer.history[: run.steps_done]).encode()


def _pictures(run: Run, picture: Picture | ForecastPicture) -> bytes:
    if isinstance(picture, ForecastPicture):
        files = forecast_outputs(picture)
    else:
        records = run.trainer.records[: run.steps_done]
        files = article_outputs(picture.context, picture.truth[0], picture.predicted[0], records)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()
