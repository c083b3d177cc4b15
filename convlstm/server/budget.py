"""What one server takes on, and the refusal of what is over it."""

import bisect
import contextlib
import math
from collections.abc import Callable, Iterator

from convlstm.checks import SettingError
from convlstm.server.limits import Limits
from convlstm.settings import configure, settings_of
from convlstm.training.config import TrainConfig
from convlstm.training.costs import Cost, estimate

# Settings whose lower values are advised where a cost is over its limit.
_ADVISED = {
    "memory_mib": ("canvas", "hidden_channels", "batch_size"),
    "run_seconds": ("max_minutes", "epochs", "batches_per_epoch"),
}


def check_budget(config: TrainConfig, precision: str, limits: Limits) -> Cost:
    """Return what a run takes on the reference machine, or refuse it with a value that would do.

    A slow or busy machine refuses nothing that a fast one takes on: it only takes longer.

    Args:
        config: the run.
        precision: resolved for the device.
        limits: of the server.

    Raises:
        SettingError: over a limit.
    """
    cost = estimate(config, precision)
    for attribute, names in _ADVISED.items():
        limit, unit = getattr(limits, attribute), "MiB" if attribute == "memory_mib" else "s"
        if getattr(cost, attribute) <= limit:
            continue

        def fits(lower: TrainConfig, attribute: str = attribute, limit: float = limit) -> bool:
            return getattr(estimate(lower, precision), attribute) <= limit

        # The first setting that helps by itself, or else the first that can be lowered at all, and
        # the next one after it. Below 1 nothing can be asked for.
        advice = None
        for name in names:
            lower = _largest_that_fits(config, name, fits)
            helps = lower is not None and fits(lower)
            if helps or (advice is None and lower is not None):
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
                cost=f"{float(f'{getattr(cost, attribute):.2g}'):,g} {unit}",  # two figures
                limit=f"{limit:,g} {unit}",
            )
    return cost


def _largest_that_fits(
    config: TrainConfig, name: str, fits: Callable[[TrainConfig], bool]
) -> TrainConfig | None:
    """Return the configuration with the largest lower value of a setting that fits.

    Costs grow with it: halving the list finds it. Where none fits, the least; where there is no
    lower value, None.
    """
    lower = list(_lower_values(config, name))
    if not lower:
        return None
    first = bisect.bisect_left(lower, True, key=fits)
    return lower[min(first, len(lower) - 1)]


def _lower_values(config: TrainConfig, name: str) -> Iterator[TrainConfig]:
    """Yield the configuration with ever smaller values of one setting, as far as they are legal.

    Above 100 they have two figures, as a person would choose them.
    """
    value = math.ceil(settings_of(config).get(name, 0))
    while value > 1:
        step = 10 ** max(0, len(str(value - 1)) - 2)
        value = (value - 1) // step * step
        with contextlib.suppress(SettingError):
            yield configure({name: value}, config)
