"""The files of a run that a viewer may take home."""

import asyncio
import io
import zipfile

from convlstm.files.pictures import losses_csv, picture_files
from convlstm.files.script import training_script
from convlstm.scenes.scene import Scene
from convlstm.server.run import Run
from convlstm.server.scheduler import Scheduler
from convlstm.training.picture import Picture
from convlstm.training.records import StepRecord

KINDS = ("checkpoint", "losses", "pictures", "script")


async def make_file(scheduler: Scheduler, run: Run, kind: str) -> tuple[str, bytes] | None:
    """Make one of a run's files.

    Args:
        scheduler: owns the run.
        run: whose file.
        kind: of KINDS.

    Returns:
        Its name and content, or None where there is no picture yet.

    Raises:
        SettingError: the run is of a kind that a script cannot say.
    """
    if kind == "checkpoint":
        return f"{run.config.scene.name}.safetensors", await asyncio.wrap_future(
            scheduler.save(run)
        )
    if kind == "losses":
        records = await _records(scheduler, run)
        return "losses.csv", (await asyncio.to_thread(losses_csv, records)).encode()
    if kind == "script":
        return "train_convlstm.py", training_script(run.config).encode()
    picture = run.picture  # once: the compute thread changes it
    if picture is None:
        return None
    records = await _records(scheduler, run)
    return "pictures.zip", await asyncio.to_thread(_pictures, run.config.scene, records, picture)


async def _records(scheduler: Scheduler, run: Run) -> list[StepRecord]:
    """Copy a run's records on the thread that makes them."""
    return await asyncio.wrap_future(scheduler.call(lambda: run.trainer.records[: run.steps_done]))


def _pictures(scene: Scene, records: list[StepRecord], picture: Picture) -> bytes:
    files = picture_files(picture, records, scene.look, scene.measure)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()
