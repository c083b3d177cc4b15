"""What a server takes on, and what it says of the rest."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from convlstm.checks import SettingError
from convlstm.scenes.catalogue import CATALOGUE
from convlstm.server import budget
from convlstm.server.budget import check_budget
from convlstm.server.limits import Limits
from convlstm.settings import configure, settings_of
from convlstm.training.config import TrainConfig
from convlstm.training.costs import Cost
from convlstm.training.presets import default_config, offered, preset

SQUARES = default_config("squares")


@pytest.fixture
def costing(monkeypatch) -> Callable[..., None]:
    """Make estimates products of settings, so that what fits can be told by head."""

    def use(**values: tuple[str, ...]) -> None:
        def estimated(config: TrainConfig, precision: str) -> Cost:
            settings, cost = settings_of(config), Cost(0, 0, 0, 0, 0)
            for name, names in values.items():
                cost = replace(cost, **{name: math.prod(settings[n] for n in names)})
            return cost

        monkeypatch.setattr(budget, "estimate", estimated)

    return use


@pytest.mark.parametrize(
    ("limits", "costs", "settings", "message"),
    [
        (
            Limits(run_seconds=1000),
            {"run_seconds": ("epochs", "batches_per_epoch")},
            {"epochs": 300, "batches_per_epoch": 10},
            "epochs is 300: must be at most 100: 3,000 s is over the limit of 1,000 s on this serv",
        ),
        (
            Limits(run_seconds=50),
            {"run_seconds": ("batches_per_epoch",)},
            {"batches_per_epoch": 60},
            "batches_per_epoch is 60: must be at most 50: 60 s is over the limit of 50 s",
        ),
        (
            Limits(memory_mib=100),
            {"memory_mib": ("canvas", "batch_size")},
            {"canvas": 64, "batch_size": 5},
            "canvas is 64: must be at most 20: 320 MiB is over the limit of 100 MiB",
        ),
        (
            Limits(memory_mib=40),
            {"memory_mib": ("hidden_channels",)},
            {"hidden_channels": 64},
            "hidden_channels is 64: must be at most 40: 64 MiB is over the limit of 40 MiB",
        ),
        (  # No single one is enough: the first is asked for, and then the next.
            Limits(run_seconds=0.5),
            {"run_seconds": ("epochs", "batches_per_epoch")},
            {"epochs": 9, "batches_per_epoch": 9},
            "epochs is 9: must be at most 1: 81 s is over the limit of 0.5 s",
        ),
        (
            Limits(memory_mib=1),
            {"memory_mib": ("canvas", "hidden_channels", "batch_size")},
            {"canvas": 16, "square_size": 5},
            "hidden_channels is 8: must be at most 1: 510 MiB is over the limit of 1 MiB",
        ),
    ],
)
def test_a_run_over_a_limit_is_refused_with_a_value_that_would_do(
    costing, limits, costs, settings, message
):
    costing(**costs)
    with pytest.raises(SettingError) as caught:
        check_budget(configure(settings, SQUARES), "float32", limits)
    assert str(caught.value).startswith(message)
    assert caught.value.rule == "budget"


def test_advice_above_a_hundred_has_two_figures(costing):
    costing(run_seconds=("epochs",))
    with pytest.raises(SettingError, match="epochs is 4321: must be at most 3600"):
        check_budget(configure({"epochs": 4321}, SQUARES), "float32", Limits(run_seconds=3650))


# The most that a page's controls ask for, and a typed value beyond them.
LARGEST: dict[str, dict[str, object]] = {
    "squares": {"canvas": 128, "square_size": 16, "num_layers": 3, "schedule": "constant"},
    "digits": {"canvas": 128, "num_layers": 4, "context_frames": 20, "horizon": 20},
    "storm": {"num_layers": 4, "context_frames": 20, "horizon": 8, "max_minutes": 100_000},
}


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("scene", LARGEST)
def test_following_the_advice_ends_in_a_run_that_is_taken(scene, precision):
    large = {"hidden_channels": 64, "kernel_size": 7, "batch_size": 32, "epochs": 5000}
    largest = {**large, "batches_per_epoch": 100, **LARGEST[scene]}
    config, limits, seen = configure(largest, default_config(scene)), Limits(), []
    while True:
        try:
            cost = check_budget(config, precision, limits)
            break
        except SettingError as error:
            seen.append(error.name)
            assert error.details["high"] < settings_of(config)[error.name]
            config = configure({error.name: error.details["high"]}, config)
    assert cost.memory_mib <= limits.memory_mib
    assert cost.run_seconds <= limits.run_seconds
    assert 1 <= len(seen) == len(set(seen)) <= 5


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", [name for scene in CATALOGUE for name in offered(scene)])
def test_every_preset_that_a_page_offers_is_taken(name, precision):
    assert check_budget(preset(name), precision, Limits()).run_seconds > 0


def test_a_slow_machine_refuses_no_preset_and_says_how_long_each_takes(serve):
    scheduler = serve()
    for scene in CATALOGUE:
        for name in offered(scene):
            scheduler.slowdown = 1.0
            quick = scheduler.check(preset(name))
            scheduler.slowdown = 10.0
            assert scheduler.check(preset(name)) == quick.slowed(10.0)
