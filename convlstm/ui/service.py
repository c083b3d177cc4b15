"""What the page and the API ask for, as plain functions over plain values; nothing raises.

Whatever arrives here may be anything that JSON can say. Settings go to the engine's validator; a
refusal comes back as a notice, `{"key": ..., ...}`, which the page words in the viewer's language.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from convlstm.checks import SettingError, check_choice, shown
from convlstm.files import CheckpointError, read_checkpoint
from convlstm.files.checkpoint import Checkpoint, resume, start_from
from convlstm.files.shipped import shipped_file
from convlstm.scenes.catalogue import CATALOGUE
from convlstm.server.run import Run
from convlstm.server.scheduler import ResetNeeded, Scheduler, ServerFull
from convlstm.settings import configure, settings_of
from convlstm.training.config import TrainConfig
from convlstm.training.presets import default_config
from convlstm.training.trainer import Trainer
from convlstm.ui.links import FIRST_SCENE, config_of_query, link_query, scene_of_query
from convlstm.ui.notices import Reply, refusal
from convlstm.ui.share import KINDS, make_file
from convlstm.ui.snapshot import Viewer

_log = logging.getLogger(__name__)

MAX_UPLOAD_BYTES = 2**28  # a file that a browser brings; the command line opens larger ones
_UPDATE_SECONDS = 0.125  # 8 updates a second, for few viewers
_UPDATE_SECONDS_PER_VIEWER = 0.02  # and fewer each where many watch, so that training goes on
_HEARTBEAT_SECONDS = 2.0  # a silent page asks again after some missed beats
_LONGEST_WATCH_SECONDS = 1800  # then the page asks again; a client that left is not served for ever


class Service:
    """The page's and the API's requests to one scheduler.

    Args:
        scheduler: owns the runs.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler

    async def attach(
        self, run_id: object = None, query: object = None, scene: object = FIRST_SCENE
    ) -> Reply:
        """Find a viewer's run again, or open a new one that shows the shipped checkpoint.

        Args:
            run_id: the id the viewer remembers, or None.
            query: a link's settings, names and texts, or None.
            scene: one of the catalogue's, where the link does not say.

        Returns:
            run (its id), scene, settings for the controls, and a notice where there is one.
        """
        notice, config = None, None
        try:
            texts = _texts(query or {})
            scene = scene_of_query(texts, scene)
            if texts:
                config = config_of_query(texts, scene)
        except SettingError as error:
            notice = refusal(error)
            scene = scene if isinstance(scene, str) and scene in CATALOGUE else FIRST_SCENE
        run = self._scheduler.get(run_id)
        if run is not None and run.config.scene.name != scene:
            run, run_id = None, None
        if run is None:
            if run_id is not None and notice is None:
                notice = {"key": "restarted"}
            try:
                run = await self._open(scene)
            except ServerFull as error:
                return {"notice": {"key": "full", "text": str(error)}}
        if config is None:
            config = run.config if run.chosen else default_config(scene)
        self._scheduler.watch(run)
        return {"run": run.id, "scene": scene, "settings": settings_of(config), "notice": notice}

    def describe(self, settings: object, scene: object = FIRST_SCENE) -> Reply:
        """Check settings and say what they mean: reach, cost, and the link that holds them."""
        try:
            scene = check_choice("scene", scene, CATALOGUE)
            config = configure(settings, default_config(scene))
            cost = self._scheduler.check(config)
        except SettingError as error:
            return {"notice": refusal(error)}
        pace = config.scene.pace
        return {
            "reach": None if pace is None else config.network.reach,
            "speed": pace,
            "seconds": cost.run_seconds,
            "mib": cost.memory_mib,
            "link": link_query(config),
        }

    async def act(self, action: object, run_id: object, settings: object = None) -> Reply:
        """Train, pause, step, stop or reset a run, or change its speed and learning rate.

        Returns:
            The run's state, and a notice if something was refused; then nothing changed.
        """
        run = self._scheduler.get(run_id)
        if run is None:
            return {"notice": {"key": "lost"}}
        try:
            if action == "train":
                await _done(self._scheduler.train(run, settings))
            elif action == "step":
                await _done(self._scheduler.step(run, settings))
            elif action == "reset":
                await _done(self._scheduler.reset(run, settings))
            elif action == "change":
                await self._change(run, settings)
            elif action == "pause":
                await _done(self._scheduler.pause(run))
            elif action == "stop":
                await _done(self._scheduler.stop(run))
            else:
                return {"notice": {"key": "action", "text": f"action is {shown(action)}."}}
        except SettingError as error:
            return {"state": run.state, "notice": refusal(error)}
        except ResetNeeded as error:
            notice = {"key": "reset", "names": error.names, "text": str(error)}
            return {"state": run.state, "notice": notice}
        return {"state": run.state}

    def look(self, run_id: object, sample: object) -> Reply:
        """Choose the sequence that a run shows."""
        run = self._scheduler.get(run_id)
        if run is None:
            return {"notice": {"key": "lost"}}
        try:
            self._scheduler.look(run, sample)
        except SettingError as error:
            return {"notice": refusal(error)}
        return {}

    def draw(self, run_id: object, drawing: object, angle: object) -> Reply:
        """Set a drawn digit moving, and show how a run's network continues it.

        Args:
            run_id: a run of a scene in which one may draw.
            drawing: 56 x 56 grey values, row by row, 0 to 255.
            angle: its direction in degrees, 0 to the right and 90 downwards.
        """
        run = self._scheduler.get(run_id)
        if run is None:
            return {"notice": {"key": "lost"}}
        try:
            self._scheduler.draw(run, drawing, angle)
        except SettingError as error:
            return {"notice": refusal(error)}
        return {}

    async def watch(self, run_id: object) -> AsyncIterator[Reply]:
        """Yield snapshots of a run: when something changed, and as a sign of life."""
        run = self._scheduler.get(run_id)
        if run is None:
            lost = {"run": run_id} if isinstance(run_id, str) else {}
            yield {**lost, "notice": {"key": "lost"}}
            return
        viewer, version, beat = Viewer(run), -1, 0
        clock = asyncio.get_running_loop().time
        started = sent = clock()
        while self._scheduler.get(run.id) is run and clock() - started < _LONGEST_WATCH_SECONDS:
            self._scheduler.watch(run)
            if run.version != version or clock() - sent > _HEARTBEAT_SECONDS:
                version, sent, beat = run.version, clock(), beat + 1
                yield {**viewer.snapshot(self._scheduler.working_runs()), "beat": beat}
            viewers = self._scheduler.watched_runs()
            await asyncio.sleep(max(_UPDATE_SECONDS, viewers * _UPDATE_SECONDS_PER_VIEWER))

    async def open_checkpoint(self, run_id: object, path: Path) -> Reply:
        """Replace a run by an uploaded checkpoint's; a bad file changes nothing."""
        run = self._scheduler.get(run_id)
        if run is None:
            return {"notice": {"key": "lost"}}
        try:
            checkpoint = await asyncio.to_thread(read_checkpoint, path, max_bytes=MAX_UPLOAD_BYTES)
            config = checkpoint.config
            if config.scene.name != run.config.scene.name:
                return {"notice": {"key": f"file of {config.scene.name}"}}
            self._scheduler.check(_work_of(checkpoint))
            await _done(
                self._scheduler.replace(
                    run,
                    lambda: _trainer_of(checkpoint, self._scheduler.device),
                    shipped=checkpoint.run is None,
                )
            )
        except SettingError as error:
            return {"notice": refusal(error)}
        except CheckpointError as error:
            return {"notice": {"key": "checkpoint", "text": str(error)}}
        return {"settings": settings_of(config), "notice": {"key": "opened"}}

    async def download(self, run_id: object, kind: object) -> tuple[str, bytes] | Reply:
        """Make one of a run's files: `checkpoint`, `pictures`, `losses` or `script`.

        Returns:
            Its name and content, or a notice.
        """
        run = self._scheduler.get(run_id)
        if run is None:
            return {"notice": {"key": "lost"}}
        try:
            file = await make_file(self._scheduler, run, check_choice("kind", kind, KINDS))
        except SettingError as error:
            return {"notice": refusal(error)}
        return {"notice": {"key": "no picture"}} if file is None else file

    async def _open(self, scene: str) -> Run:
        device = self._scheduler.device
        try:
            path = shipped_file(CATALOGUE[scene].shipped)
            checkpoint = await asyncio.to_thread(read_checkpoint, path)
            return await _done(
                self._scheduler.open(lambda: _trainer_of(checkpoint, device), shipped=True)
            )
        except CheckpointError as error:
            # A missing or foreign file costs the first picture, not the page.
            _log.warning("no shipped checkpoint: %s", error)
            return await _done(self._scheduler.open(lambda: Trainer(default_config(scene), device)))

    async def _change(self, run: Run, settings: object) -> None:
        config = configure(settings, default_config(run.config.scene.name))
        self._scheduler.check(config)
        if run.state in ("training", "waiting", "paused"):
            self._scheduler.adjust(run, config)


def _trainer_of(checkpoint: Checkpoint, device: object) -> Trainer:
    """Make the trainer of a file's run, or one that shows a file's network."""
    if checkpoint.run is None:
        return start_from(checkpoint, checkpoint.config, device)
    return resume(checkpoint, device)


def _work_of(checkpoint: Checkpoint) -> TrainConfig:
    """Return what a file makes a server compute: a run to go on with, or pictures alone."""
    if checkpoint.run is not None and checkpoint.progress["ended"] is None:
        return checkpoint.config
    pictures = {"epochs": 1, "batches_per_epoch": 1, "batch_size": 1, "max_minutes": 0}
    return configure(pictures, checkpoint.config)


def _texts(query: object) -> Mapping[str, str]:
    if not isinstance(query, Mapping) or not all(isinstance(v, str) for v in query.values()):
        raise SettingError("settings", query, "mapping")
    return query


async def _done(future: object) -> Run:
    return await asyncio.wrap_future(future)
