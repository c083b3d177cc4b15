"""What the page and the API ask a worker for, over plain values; nothing raises.

Whatever arrives here may be anything that JSON can say. Settings go to the engine's validator; a
refusal comes back as a notice, `{"key": ..., ...}`, which the page words in the viewer's language.
"""

import asyncio
import contextlib
import functools
import logging
from collections.abc import Awaitable, Callable
from dataclasses import asdict, replace
from pathlib import Path

from convlstm.checks import SettingError, check_choice, shown
from convlstm.files import CheckpointError, read_checkpoint
from convlstm.files.checkpoint import network_bytes
from convlstm.files.clips import read_clip
from convlstm.scenes.catalogue import CATALOGUE
from convlstm.server.controls import controls_of
from convlstm.server.exporting import Exporter
from convlstm.server.facts import Facts
from convlstm.server.lending import hear, lend, take_back
from convlstm.server.lessons import LESSONS, Lesson, lesson_of, told_of
from convlstm.server.limits import MAX_UPLOAD_BYTES
from convlstm.server.links import FIRST_SCENE, link_query, read_link
from convlstm.server.notices import Reply, refusal
from convlstm.server.opening import read_shipped, trainer_of, work_of
from convlstm.server.run import Run
from convlstm.server.runs import ServerFull
from convlstm.server.scheduler import ResetNeeded, Scheduler
from convlstm.server.share import KINDS, make_file
from convlstm.settings import configure, settings_of
from convlstm.training.presets import default_config, first_config, offered, preset
from convlstm.training.trainer import Trainer

_log = logging.getLogger(__name__)


class _Lost(Exception):  # noqa: N818
    """There is no such run."""


def _never_raising(method: Callable[..., Awaitable[Reply]]) -> Callable[..., Awaitable[Reply]]:
    """Turn what a method refuses into a notice."""

    @functools.wraps(method)
    async def answered(*given: object, **named: object) -> Reply:
        try:
            return await method(*given, **named)
        except SettingError as error:
            return {"notice": refusal(error)}
        except ResetNeeded as error:
            return {"notice": {"key": "reset", "names": error.names, "text": str(error)}}
        except CheckpointError as error:
            return {"notice": {"key": "checkpoint", "text": str(error)}}
        except ServerFull as error:
            return {"notice": {"key": "full", "text": str(error)}}
        except _Lost:
            return {"notice": {"key": "lost"}}

    return answered


class Service:
    """The page's and the API's requests to one scheduler.

    Attributes:
        scheduler: owns the runs.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler, self._exporter = scheduler, Exporter()

    async def scenes(self) -> Reply:
        """Return each scene's controls and presets, as the page's scripts read them."""
        return {
            name: {
                "controls": [asdict(control) for control in controls_of(name)],
                "presets": {key: settings_of(preset(key)) for key in offered(name)},
            }
            for name in CATALOGUE
        }

    @_never_raising
    async def attach(
        self,
        run_id: object = None,
        query: object = None,
        scene: object = None,
        lesson: object = None,
    ) -> Reply:
        """Find a viewer's run again, or open a new one that shows the shipped checkpoint.

        Args:
            run_id: the id the viewer remembers, or None.
            query: a link's settings, names and texts, or None.
            scene: one of the catalogue's, where the link does not say; None for the first.
            lesson: the number or the key of a lesson, which has a scene and a run of its own.

        Returns:
            run (its id), scene, settings for the controls, the names of those that the link locks,
            and a notice where there is one.
        """
        if lesson is not None:
            return await self._attend(run_id, lesson_of(lesson), query)
        scene, config, locked, notice = read_link(query, FIRST_SCENE if scene is None else scene)
        run = await self._find(run_id)
        if run is not None and (run.config.scene.name != scene or run.facts):
            run, run_id = None, None
        if run is None:
            if run_id is not None and notice is None:
                notice = {"key": "restarted"}
            run = await self._open(scene)
        if config is None:
            config = run.config if run.chosen else default_config(scene)
        self.scheduler.watch(run)
        return {
            "run": run.id,
            "scene": scene,
            "settings": settings_of(config),
            "locked": locked,
            "notice": notice,
        }

    async def lessons(self) -> Reply:
        """Return the lessons, as the page's scripts read them."""
        return {"lessons": [told_of(lesson) for lesson in LESSONS.values()]}

    @_never_raising
    async def answer(self, run_id: object, given: object) -> Reply:
        """Keep a guess in a lesson, or, once there is one, answers to what it asks at its end.

        Args:
            run_id: a run of a lesson.
            given: by the name of each question.
        """
        run = await self._run(run_id)
        if run.facts is None:
            return {"notice": {"key": "no lesson"}}
        await _done(self.scheduler.answer(run, given))
        return {}

    async def _attend(self, run_id: object, lesson: Lesson, query: object) -> Reply:
        """Find the run of a lesson again, or open one."""
        _, config, locked, notice = read_link(query, lesson.scene, lesson.config)
        run = await self._find(run_id)
        if run is None or run.facts is None or run.facts.lesson is not lesson:
            run = await self._open_lesson(lesson)
        elif run.chosen:
            config = run.config
        self.scheduler.watch(run)
        return {
            "run": run.id,
            "scene": lesson.scene,
            "settings": settings_of(config),
            "locked": locked,
            "notice": notice,
        }

    async def _open_lesson(self, lesson: Lesson) -> Run:
        device, facts = self.scheduler.device, Facts(lesson)
        if not lesson.shipped:
            config = lesson.config
            return await _done(self.scheduler.open(lambda: Trainer(config, device), facts=facts))
        checkpoint = await asyncio.to_thread(read_shipped, lesson.shipped)
        return await _done(
            self.scheduler.open(lambda: trainer_of(checkpoint, device), shipped=True, facts=facts)
        )

    @_never_raising
    async def describe(self, settings: object, scene: object = None) -> Reply:
        """Check settings and say what they mean: reach, cost, and the link that holds them."""
        scene = check_choice("scene", FIRST_SCENE if scene is None else scene, CATALOGUE)
        config = configure(settings, default_config(scene))
        cost = await asyncio.to_thread(self.scheduler.check, config)
        pace = config.scene.pace
        return {
            "reach": None if pace is None else config.network.reach,
            "speed": pace,
            "seconds": cost.run_seconds,
            "mib": cost.memory_mib,
            "link": link_query(config),
        }

    @_never_raising
    async def act(self, action: object, run_id: object, settings: object = None) -> Reply:
        """Train, pause, step, stop or reset a run, undo that, or change its speed and rate.

        Returns:
            The run's state; after a reset, whether what it threw away is kept; after an undo, the
            settings of what is back; or a notice, if something was refused, and nothing changed.
        """
        run = await self._run(run_id)
        if action == "train":
            await _done(self.scheduler.train(run, settings))
        elif action == "step":
            await _done(self.scheduler.step(run, settings))
        elif action == "reset":
            await _done(self.scheduler.reset(run, settings))
            return {"state": run.state, "kept": run.thrown is not None}
        elif action == "undo":
            if not await _done(self.scheduler.undo(run)):
                return {"notice": {"key": "nothing to undo"}}
            return {"state": run.state, "settings": settings_of(run.config)}
        elif action == "change":
            await self._change(run, settings)
        elif action == "pause":
            await _done(self.scheduler.pause(run))
        elif action == "stop":
            await _done(self.scheduler.stop(run))
        else:
            return {"notice": {"key": "action", "text": f"action is {shown(action)}."}}
        return {"state": run.state}

    @_never_raising
    async def look(self, run_id: object, sample: object, speed: object = None) -> Reply:
        """Choose the sequence that a run shows: a sample's number, or "beyond".

        With a speed it is one of the speed test's; "beyond" is what comes after the end of a clip.
        """
        run = await self._run(run_id)
        self.scheduler.look(run, sample, speed)
        return {}

    @_never_raising
    async def study(self, run_id: object, kind: object, options: object = None) -> Reply:
        """Begin a long question about a run's network; snapshots tell what comes of it.

        Args:
            run_id: which run.
            kind: of `study.STUDIES`.
            options: of that kind, or None.
        """
        run = await self._run(run_id)
        await _done(self.scheduler.study(run, kind, options))
        return {}

    @_never_raising
    async def stop_study(self, run_id: object) -> Reply:
        """End a run's study; the run itself goes on."""
        await _done(self.scheduler.stop_study(await self._run(run_id)))
        return {}

    @_never_raising
    async def look_inside(self, run_id: object, asked: object) -> Reply:
        """Show what a run's cells do with the sequence shown; as `Insides.look`."""
        run = await self._run(run_id)
        return await _done(self.scheduler.look_inside(run, asked))

    @_never_raising
    async def pin(self, run_id: object) -> Reply:
        """Keep what a run is now beside it, to compare with later."""
        await _done(self.scheduler.pin(await self._run(run_id)))
        return {}

    @_never_raising
    async def unpin(self, run_id: object, number: object) -> Reply:
        """Forget one of the runs that are pinned beside a run."""
        await _done(self.scheduler.unpin(await self._run(run_id), number))
        return {}

    @_never_raising
    async def pins(self, run_id: object) -> Reply:
        """Return what was told of the runs pinned beside a run, and the settings that it has."""
        run = await self._run(run_id)
        told = [{"number": pin.number, **pin.told} for pin in run.pins.all]
        return {"pins": told, "settings": settings_of(run.config)}

    @_never_raising
    async def compare(self, run_id: object) -> Reply:
        """Return what the pinned networks make of the sequence that a run's viewers look at."""
        run, rows = await self._run(run_id), []
        shown = run.shown
        for pin in run.pins.all:  # each a job of its own, so that others have their turns between
            job = functools.partial(run.pins.row, pin, run.trainer, run.view, shown)
            rows.append(await _done(self.scheduler.call(job)))
        return {"rows": rows}

    @_never_raising
    async def draw(self, run_id: object, drawing: object, angle: object) -> Reply:
        """Set a drawn digit moving, and show how a run's network continues it.

        Args:
            run_id: a run of a scene in which one may draw.
            drawing: 56 x 56 grey values, row by row, 0 to 255.
            angle: its direction in degrees, 0 to the right and 90 downwards.
        """
        run = await self._run(run_id)
        self.scheduler.draw(run, drawing, angle)
        return {}

    @_never_raising
    async def open_checkpoint(self, run_id: object, path: Path) -> Reply:
        """Replace a run by an uploaded checkpoint's; a bad file changes nothing."""
        run = await self._run(run_id)
        if run.facts:
            return {"notice": {"key": "file in lesson"}}
        checkpoint = await asyncio.to_thread(read_checkpoint, path, max_bytes=MAX_UPLOAD_BYTES)
        config = checkpoint.config
        if config.scene.name != run.config.scene.name:
            return {"notice": {"key": f"file of {config.scene.name}"}}
        self.scheduler.check(work_of(checkpoint))
        await _done(
            self.scheduler.replace(
                run,
                lambda: trainer_of(checkpoint, self.scheduler.device),
                shipped=checkpoint.run is None,
            )
        )
        return {"settings": settings_of(config), "notice": {"key": "opened"}}

    @_never_raising
    async def open_clip(self, run_id: object, path: Path, settings: object = None) -> Reply:
        """Replace a run by one that is to learn an uploaded clip; a bad file changes nothing.

        Args:
            run_id: a run of a scene for which one may bring a clip.
            path: the file.
            settings: of the new run; where the clip is too short for them, the scene's first ones.
        """
        run = await self._run(run_id)
        if run.facts:
            return {"notice": {"key": "file in lesson"}}
        if not run.config.scene.brings:
            return {"notice": {"key": "no clip here"}}
        recording = await asyncio.to_thread(read_clip, path)
        config = base = first_config(replace(run.config.scene, recording=recording))
        key = "clip fitted"
        with contextlib.suppress(SettingError):
            config, key = configure(settings, base), "clip opened"
        self.scheduler.check(config)
        await _done(self.scheduler.replace(run, lambda: Trainer(config, self.scheduler.device)))
        scene = config.scene
        if await asyncio.to_thread(scene.is_unlike):
            key = "clip unlike"
        counts = {"frames": scene.count, "judged": scene.count - scene.trained_frames}
        return {"settings": settings_of(config), "notice": {"key": key, **counts}}

    @_never_raising
    async def download(self, run_id: object, kind: object) -> tuple[str, bytes] | Reply:
        """Make one of a run's files: `checkpoint`, `pictures`, `losses` or `script`.

        Returns:
            Its name and content, or a notice.
        """
        run = await self._run(run_id)
        file = await make_file(self.scheduler, run, check_choice("kind", kind, KINDS))
        return {"notice": {"key": "no picture"}} if file is None else file

    @_never_raising
    async def export(self, run_id: object) -> tuple[str, bytes] | Reply:
        """Make a file with a run's network, as it is now, for other programs.

        Returns:
            Its name and content, or a notice.
        """
        run = await self._run(run_id)
        making = self.scheduler.call(lambda: network_bytes(run.trainer, best=False))
        return await self._exporter.onnx(await _done(making))

    async def trains(self, run_id: str) -> Reply:
        """Say whether a run trains here, so that it could be lent.

        This and the three that follow are asked by the page's process itself and by no visitor.
        """
        run = self.scheduler.get(run_id)
        return {"trains": run is not None and run.state == "training" and run.loan is None}

    async def lend(self, run_id: str, folder: str) -> Reply:
        """Lay a run that trains on a desk; `lent` says whether it lies there."""
        run = self.scheduler.get(run_id)
        try:
            return {"lent": run is not None and await _done(lend(self.scheduler, run, folder))}
        except CheckpointError as error:  # a full disk
            _log.warning("a run could not be lent: %s", error)
            return {"lent": False}

    async def hear(
        self, run_id: str, folder: str, snapshot: dict[str, object], content: bytes
    ) -> Reply:
        """Take in news of a lent run; `lent` says whether that loan still holds."""
        run = self.scheduler.get(run_id)
        if run is None:
            return {"lent": False}
        return {"lent": await _done(hear(self.scheduler, run, folder, snapshot, content))}

    async def take_back(self, run_id: str, folder: str, died: bool) -> Reply:
        """Compute a lent run here again."""
        if run := self.scheduler.get(run_id):
            await _done(take_back(self.scheduler, run, folder, died=died))
        return {}

    async def _find(self, run_id: object) -> Run | None:
        """Return a run, which may have been put away; None if there is none of that id."""
        run = self.scheduler.get(run_id)
        if run is None and self.scheduler.is_away(run_id):
            run = await _done(self.scheduler.bring_back(run_id))
        if run:
            self.scheduler.watch(run)  # whoever asks about it needs it in memory
        return run

    async def _run(self, run_id: object) -> Run:
        run = await self._find(run_id)
        if run is None:
            raise _Lost
        return run

    async def _open(self, scene: str) -> Run:
        device = self.scheduler.device
        try:
            checkpoint = await asyncio.to_thread(read_shipped, CATALOGUE[scene].shipped)
            return await _done(
                self.scheduler.open(lambda: trainer_of(checkpoint, device), shipped=True)
            )
        except CheckpointError as error:
            # A missing or foreign file costs the first picture, not the page.
            _log.warning("no shipped checkpoint: %s", error)
            return await _done(self.scheduler.open(lambda: Trainer(default_config(scene), device)))

    async def _change(self, run: Run, settings: object) -> None:
        config = configure(settings, first_config(run.config.scene))
        self.scheduler.check(config)
        if run.state in ("training", "waiting", "paused"):
            self.scheduler.adjust(run, config)


async def _done(future: object) -> object:
    return await asyncio.wrap_future(future)
