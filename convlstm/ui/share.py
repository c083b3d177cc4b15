"""The files of a run that a viewer may take home."""

import asyncio
import io
import zipfile

from convlstm.checks import SettingError
from convlstm.files.pictures import losses_csv, picture_files
from convlstm.files.script import check_sayable, training_script
from convlstm.server.run import Run
from convlstm.server.scheduler import Scheduler
from convlstm.training.config import TrainConfig
from convlstm.training.picture import Picture

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
        return "losses.csv", await asyncio.to_thread(_losses, run)
    if kind == "script":
        return "train_convlstm.py", training_script(run.config).encode()
    picture = run.picture  # once: the compute thread changes it
    if picture is None:
        return None
    return "pictures.zip", await asyncio.to_thread(_pictures, run, picture)


def has_script(config: TrainConfig) -> bool:
    """Whether a run can be had as a script."""
    try:
        check_sayable(config)
    except SettingError:
        return False
    return True


def _losses(run: Run) -> bytes:
    return losses_csv(run.trainer.records[: run.steps_done]).encode()


def _pictures(run: Run, picture: Picture) -> bytes:
    scene, records = run.config.scene, run.trainer.records[: run.steps_done]
    files = picture_files(picture, records, scene.look, scene.measure)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()
