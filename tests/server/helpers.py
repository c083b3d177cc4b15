"""Small runs of every scene, and what tests do with a scheduler."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from convlstm.server.run import Run
from convlstm.server.scheduler import Scheduler
from convlstm.server.service import Service
from convlstm.settings import configure, settings_of
from convlstm.training.config import TrainConfig
from convlstm.training.presets import default_config
from convlstm.training.records import StepRecord
from convlstm.training.trainer import Trainer

DEADLINE = 120  # s; only a test that fails waits for it
WATCHED_SECONDS = 2.0 * DEADLINE  # after the last look at a run it is no longer watched

# By scene, settings in which eight steps take a moment.
_SMALL: dict[str, dict[str, object]] = {
    "squares": {
        "canvas": 16,
        "square_size": 3,
        "hidden_channels": 3,
        "kernel_size": 3,
        "batch_size": 4,
        "evaluate_every": 3,
        "schedule": "constant",
        "learning_rate": 0.01,
        "loss": "bce",
    },
    "digits": {
        "canvas": 32,
        "hidden_channels": 4,
        "num_layers": 1,
        "residual": False,
        "batch_size": 2,
        "evaluate_every": 4,
    },
    "storm": {"hidden_channels": 4, "batch_size": 2, "evaluate_every": 4},
    "own": {
        "canvas": 32,
        "colours": "grey",
        "hidden_channels": 4,
        "num_layers": 1,
        "residual": False,
        "batch_size": 2,
        "evaluate_every": 4,
    },
}


def small_of(scene: str, **settings: object) -> TrainConfig:
    """A run of eight steps of a scene."""
    always = {"epochs": 8, "precision": "float32"}
    return configure({**always, **_SMALL[scene], **settings}, default_config(scene))


def endless_of(scene: str) -> TrainConfig:
    """A run that no test waits for the end of."""
    never = {"epochs": 300, "batches_per_epoch": 100, "evaluate_every": 1000}
    return small_of(scene, **never, schedule="constant", curriculum=0.0)


SCENES = tuple(_SMALL)
# As a page asks for them; six steps.
TINY = {
    scene: {**own, "batch_size": 2, "epochs": 6, "evaluate_every": 3}
    for scene, own in _SMALL.items()
}
SMALL = small_of("squares")
ENDLESS = endless_of("squares")


def small(**settings: object) -> TrainConfig:
    return configure(settings, SMALL)


def opened(scheduler: Scheduler, config: TrainConfig = SMALL, **options: bool) -> Run:
    return scheduler.open(lambda: Trainer(config), **options).result(DEADLINE)


def trained(scheduler: Scheduler, run: Run, config: TrainConfig) -> Run:
    return scheduler.train(run, settings_of(config)).result(DEADLINE)


def stepped(scheduler: Scheduler, run: Run, config: TrainConfig = SMALL) -> Run:
    return scheduler.step(run, settings_of(config)).result(DEADLINE)


def wait_until(is_so: Callable[[], object]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not is_so():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.002)


def let_it_turn(scheduler: Scheduler, times: int = 5) -> None:
    """Wait until the compute thread has come round some times."""
    for _ in range(times):
        scheduler.call(lambda: None).result(DEADLINE)
        done = threading.Event()
        scheduler.call(done.set)
        assert done.wait(DEADLINE)


@contextmanager
def held(scheduler: Scheduler) -> Iterator[None]:
    """Keep the compute thread from doing anything."""
    holding, release = threading.Event(), threading.Event()
    scheduler.call(lambda: (holding.set(), release.wait(DEADLINE)))
    assert holding.wait(DEADLINE)
    try:
        yield
    finally:
        release.set()


def unwatched(run: Run, seconds: float = 1e6) -> None:
    run.watched_at = run.looked_at = time.monotonic() - seconds


def facts(records: list[StepRecord]) -> list[StepRecord]:
    """Records without their times, which no two runs share."""
    return [replace(record, seconds=0.0) for record in records]


def alone(config: TrainConfig) -> list[StepRecord]:
    trainer = Trainer(config)
    list(trainer.pieces())
    return facts(trainer.records)


def is_over(run: Run) -> bool:
    return run.state in ("goal", "finished", "patience", "diverged", "failed", "stopped")


async def seen_until(
    service: Service, run: str, wanted: Callable[[dict], object]
) -> dict[str, object]:
    """Watch a run until a snapshot is as wanted; return that one."""

    scheduler = service.scheduler
    version = scheduler.get(run).version

    async def look() -> dict[str, object]:
        while True:
            scheduler.watch(scheduler.get(run))
            told = scheduler.get(run).snapshot
            if told and told[0] >= version and wanted(told[1]):
                return told[1]
            await asyncio.sleep(0.01)

    return await asyncio.wait_for(look(), DEADLINE)


def is_finished(snapshot: dict) -> bool:
    """Whether a run is over, and the picture of its end was drawn."""
    return snapshot["state"] == "finished" and snapshot["picture"] is not None
