"""The files that a person takes home from a run."""

import asyncio
import base64
import io
import zipfile

from convlstm.checks import shown
from convlstm.render import article_outputs, losses_csv
from convlstm.runs import Run
from convlstm.scheduler import Scheduler
from convlstm.script import training_script


async def make_download(scheduler: Scheduler, run: Run, kind: object) -> dict[str, object]:
    """Make a file of a run.

    Args:
        scheduler: owns the run.
        run: the run.
        kind: "checkpoint", "pictures", "losses" or "script".

    Returns:
        name and content (base64), or a notice.
    """
    if kind == "checkpoint":
        name = "convlstm.safetensors"
        content = await asyncio.wrap_future(scheduler.save(run))
    elif kind == "losses":
        name, content = "losses.csv", losses_csv(run.trainer.records[: run.steps_done]).encode()
    elif kind == "script":
        name, content = "train_convlstm.py", training_script(run.config).encode()
    elif kind == "pictures":
        if run.picture is None:
            return {"notice": {"key": "no picture"}}
        name, content = "convlstm.zip", await asyncio.to_thread(_pictures, run)
    else:
        return {"notice": {"key": "action", "text": f"kind is {shown(kind)}."}}
    return {"name": name, "content": base64.b64encode(content).decode()}


def _pictures(run: Run) -> bytes:
    picture = run.picture
    files = article_outputs(
        picture.context,
        picture.truth[0],
        picture.predicted[0],
        run.trainer.records[: run.steps_done],
    )
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()
