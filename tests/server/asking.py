"""Small runs of every scene, as a page asks for them."""

import asyncio
from collections.abc import Callable

from convlstm.scenes.catalogue import CATALOGUE
from convlstm.server.service import Service

SCENES = tuple(CATALOGUE)
DEADLINE = 120  # s; only a test that fails waits for it
TINY: dict[str, dict[str, object]] = {
    "squares": {
        "canvas": 16,
        "square_size": 3,
        "hidden_channels": 2,
        "kernel_size": 3,
        "batch_size": 2,
        "epochs": 6,
        "evaluate_every": 3,
    },
    "digits": {
        "canvas": 32,
        "hidden_channels": 4,
        "num_layers": 1,
        "residual": False,
        "batch_size": 2,
        "epochs": 6,
        "evaluate_every": 3,
    },
    "storm": {"hidden_channels": 4, "batch_size": 2, "epochs": 6, "evaluate_every": 3},
}


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
