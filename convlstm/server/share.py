"""The files of a run that a viewer may take home."""

import asyncio
import csv
import io
import zipfile

from convlstm.files.pictures import losses_csv, picture_files
from convlstm.files.script import training_script
from convlstm.scenes.scene import Scene
from convlstm.server.run import Run
from convlstm.server.scheduler import Scheduler
from convlstm.server.snapshot import told_of
from convlstm.training.picture import Picture
from convlstm.training.records import StepRecord

KINDS = ("checkpoint", "losses", "pictures", "script", "comparison")


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
    if kind == "comparison":
        told = [(f"pinned {pin.number}", pin.told) for pin in run.pins.all]
        told.append(("this", await asyncio.wrap_future(scheduler.call(lambda: told_of(run)))))
        return "runs.csv", comparison_csv(told).encode()
    if kind == "script":
        return "train_convlstm.py", training_script(run.config).encode()
    picture = run.picture  # once: the compute thread changes it
    if picture is None:
        return None
    records = await _records(scheduler, run)
    return "pictures.zip", await asyncio.to_thread(_pictures, run.config.scene, records, picture)


def comparison_csv(told: list[tuple[str, dict[str, object]]]) -> str:
    """Return the curves and scores of runs as CSV, a line for each number.

    Columns: run; what, "training" and "validation" for the errors of a curve, "setting NAME", or
    the score and of whom; step, empty where it is of none; value. Errors are told as on the page.
    """
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["run", "what", "step", "value"])
    for name, run in told:
        for setting, value in run["settings"].items():
            writer.writerow([name, f"setting {setting}", "", value])
        for part, key in (("training", "train"), ("validation", "validation")):
            for point in run["curve"][key].split(";")[:-1]:
                writer.writerow([name, part, *point.split()])
        if scores := run["scores"]:
            for of, each in {"model": scores["model"], **scores["baselines"]}.items():
                for score, value in each.items():
                    writer.writerow([name, f"{score} {of}", run["step"], value])
            writer.writerow([name, "skill model", run["step"], scores["skill"]])
    return table.getvalue()


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
