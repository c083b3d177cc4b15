"""What one server takes on, and the refusal of what is over it."""

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from convlstm.checks import SettingError
from convlstm.costs import Cost
from convlstm.settings import configure, settings_of
from convlstm.systems import Config, system_of


@dataclass(frozen=True)
class Limits:
    """What one server takes on.

    Attributes:
        active_runs: runs that train at the same time; further ones wait in line.
        kept_runs: runs kept in memory, training or not; about 8 MiB each at 64 px, of
            digits 20 MiB and five times the weights.
        piece_seconds: the longest uninterruptible piece of work, s; Stop waits for it.
        run_seconds: estimated computing time of a run, s.
        memory_mib: estimated memory of a run's training, MiB.
        budget_seconds: computing time after which a run is paused for good, s.
        unwatched_seconds: time without a viewer after which a run ends, s.
        kept_seconds: time without a viewer after which a run is forgotten, s.
    """

    active_runs: int = 32
    kept_runs: int = 128
    piece_seconds: float = 0.5
    run_seconds: float = 1800
    memory_mib: float = 2048
    budget_seconds: float = 3600
    unwatched_seconds: float = 300
    kept_seconds: float = 3600


def check_budget(config: Config, limits: Limits, estimate: Callable[[Config], Cost]) -> Cost:
    """Return what a run will take, or refuse it with a value that would do.

    Raises:
        SettingError: over a limit.
    """
    system, cost = system_of(config), estimate(config)
    for attribute, names in system.advised.items():
        limit, unit = getattr(limits, attribute), "MiB" if attribute == "memory_mib" else "s"
        if getattr(cost, attribute) <= limit:
            continue
        # The first setting that helps by itself, or else the first that can be lowered at all, and
        # the next one after it. Below 1 nothing can be asked for.
        advice = None
        for name in names:
            lower = config
            for lower in _lower_values(config, name):
                if getattr(estimate(lower), attribute) <= limit:
                    break
            helps = getattr(estimate(lower), attribute) <= limit
            if helps or (advice is None and lower is not config):
                advice = name, settings_of(lower)[name]
            if helps:
                break
        if advice:
            name, high = advice
            raise SettingError(
                name,
                settings_of(config)[name],
                "budget",
                high=high,
                cost=f"{getattr(cost, attribute):.2g} {unit}",
                limit=f"{limit:g} {unit}",
            )
    return cost


def _lower_values(config: Config, name: str) -> Iterator[Config]:
    """Yield the configuration with ever smaller values of one setting, as far as they are legal.

    Above 100 they have two figures, as a person would choose them.
    """
    value = math.ceil(settings_of(config)[name])
    while value > 1:
        step = 10 ** max(0, len(str(value - 1)) - 2)
        value = (value - 1) // step * step
        with contextlib.suppress(SettingError):
            yield configure({name: value}, config)
