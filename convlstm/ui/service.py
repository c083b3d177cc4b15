"""What the page and the API ask for, as plain functions over plain values; nothing raises.

Whatever arrives here may be anything that JSON can say. Settings go to the engine's validator; a
refusal comes back as a notice, `{"key": ..., ...}`, which the page words in the viewer's language.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from convlstm.checks import SettingError, check_choice, shown
from convlstm.runs import Run
from convlstm.safe_files import CheckpointError
from convlstm.scheduler import ResetNeeded, Scheduler, ServerFull
from convlstm.settings import configure, settings_of
from convlstm.systems import SYSTEMS, Config, OpenedFile, System, open_file
from convlstm.train_config import TrainConfig
from convlstm.ui.links import config_of_query, link_query, scene_of_query
from convlstm.ui.notices import Reply, refusal
from convlstm.ui.share import make_download
from convlstm.ui.snapshot import Viewer

_log = logging.getLogger(__name__)

_CHECKPOINTS = Path(__file__).parents[2] / "checkpoints"
SHIPPED: dict[str, Path] = {
    "squares": _CHECKPOINTS / "quick-start.safetensors",
    "digits": _CHECKPOINTS / "moving-mnist-compact.safetensors",
}

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
        self, run_id: object = None, query: object = None, scene: object = "squares"
    ) -> Reply:
        """Find a viewer's run again, or open a new one that shows the shipped checkpoint.

        Args:
            run_id: the id the viewer remembers, or None.
            query: a link's settings, names and texts, or None.
            scene: "squares" or "digits", where the link does not say.

        Returns:
            run (its id), scene, settings for the controls, and a notice where there is one.
        """
        notice, config = None, None
        try:
            texts = _texts(query or {})
            scene = scene_of_query(texts, scene)
            system = SYSTEMS[scene]
            if texts:
                config = config_of_query(texts, scene)
        except SettingError as error:
            notice = refusal(error)
            system = SYSTEMS.get(scene if isinstance(scene, str) else "", SYSTEMS["squares"])
        run = self._scheduler.get(run_id)
        if run is not None and run.system is not system:
            run, run_id = None, None
        if run is None:
            if run_id is not None and notice is None:
                notice = {"key": "restarted"}
            try:
                run = await self._open(system)
            except ServerFull as error:
                return {"notice": {"key": "full", "text": str(error)}}
        if config is None:
            config = run.config if run.chosen else system.default
        self._scheduler.watch(run)
        settings = settings_of(config)
        return {"run": run.id, "scene": system.name, "settings": settings, "notice": notice}

    def describe(self, settings: object, scene: object = "squares") -> Reply:
        """Check settings and say what they mean: reach, cost, and the link that holds them."""
        try:
            system = SYSTEMS[check_choice("scene", scene, SYSTEMS)]
            config = configure(settings, system.default)
            cost = self._scheduler.check(config)
        except SettingError as error:
            return {"notice": refusal(error)}
        return {
            **_reach(config),
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

    def look(self, run_id: object, sample: object, look_ahead: object) -> Reply:
        """Choose the sequence that a run shows, and how far ahead."""
        run = self._scheduler.get(run_id)
        if run is None:
            return {"notice": {"key": "lost"}}
        try:
            self._scheduler.look(run, sample, look_ahead)
        except SettingError as error:
            return {"notice": refusal(error)}
        return {}

    def draw(self, run_id: object, drawing: object, angle: object) -> Reply:
        """Set a drawn digit moving, and show how a run's forecaster continues it.

        Args:
            run_id: a run of the scene "digits".
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
            opened = await asyncio.to_thread(open_file, path)
            if opened.system is not run.system:
                return {"notice": {"key": f"file of {opened.system.name}"}}
            self._scheduler.check(opened.work)
            await _done(self._replace(run, opened))
        except SettingError as error:
            return {"notice": refusal(error)}
        except CheckpointError as error:
            return {"notice": {"key": "checkpoint", "text": str(error)}}
        settings = settings_of(run.config)
        return {"settings": settings, "notice": {"key": "opened"}}

    async def download(self, run_id: object, kind: object) -> Reply:
        """Make one of a run's files: `checkpoint`, `pictures`, `losses` or `script`.

        Returns:
            name, and content in base64.
        """
        run = self._scheduler.get(run_id)
        if run is None:
            return {"notice": {"key": "lost"}}
        return await make_download(self._scheduler, run, kind)

    async def _open(self, system: System) -> Run:
        device = self._scheduler.device
        try:
            opened = await asyncio.to_thread(open_file, SHIPPED[system.name])
            return await _done(
                self._scheduler.open(lambda: opened.make_trainer(device), shipped=True)
            )
        except CheckpointError as error:
            # A missing or foreign file costs the first picture, not the page.
            _log.warning("no shipped checkpoint: %s", error)
            return await _done(
                self._scheduler.open(lambda: system.make_trainer(system.default, device))
            )

    def _replace(self, run: Run, opened: OpenedFile) -> object:
        device = self._scheduler.device
        return self._scheduler.replace(
            run, lambda: opened.make_trainer(device), shipped=opened.is_model
        )

    async def _change(self, run: Run, settings: object) -> None:
        config = configure(settings, run.system.default)
        self._scheduler.check(config)
        if run.state in ("training", "waiting", "paused"):
            self._scheduler.adjust(run, config)


def _reach(config: Config) -> dict[str, float]:
    """Say how far a predictor sees; forecasters see further than anything here moves."""
    if not isinstance(config, TrainConfig):
        return {}
    return {"reach": config.model.reach, "speed": config.scene.speed}


def _texts(query: object) -> Mapping[str, str]:
    if not isinstance(query, Mapping) or not all(isinstance(v, str) for v in query.values()):
        raise SettingError("settings", query, "mapping")
    return query


async def _done(future: object) -> Run:
    return await asyncio.wrap_future(future)
