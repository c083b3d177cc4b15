"""What commands have in common: refusals, devices, folders, the first Ctrl-C."""

import argparse
import contextlib
import importlib.util
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import torch

from convlstm.devices import pick_device
from convlstm.networks import Network
from convlstm.settings import Flag, Setting, settings_of
from convlstm.training.config import TrainConfig

INTERRUPTED = 130  # the exit code of a program that Ctrl-C ended


class UsageError(ValueError):
    """Flags that ask for something impossible; the message is one line for a person."""


def flag_of(name: str) -> str:
    """Return a setting's flag."""
    return "--" + name.replace("_", "-")


def default_text(setting: Setting) -> str:
    """Return a setting's default as a person reads it."""
    if isinstance(setting.kind, Flag):
        return "yes" if setting.default else "no"
    return f"{setting.default:g}" if isinstance(setting.default, float) else str(setting.default)


def device_of(flags: argparse.Namespace) -> torch.device:
    """Return the device that the flags ask for.

    Raises:
        UsageError: there is none.
    """
    try:
        return pick_device(flags.device)
    except ValueError as error:
        raise UsageError(str(error)) from error


def check_writable(flag: str, folder: Path) -> None:
    """Find out before the work, and not after it.

    Raises:
        UsageError: nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"{flag} {folder} cannot be written to: {error.strerror}.") from error


def check_drawable(asked: str) -> None:
    """Find out before the work, and not after it, whether pictures can be made.

    Args:
        asked: the flag or the command that asks for nothing but them.

    Raises:
        UsageError: what draws is not installed.
    """
    if missing := missing_for_pictures():
        raise UsageError(f"{asked} draws pictures and needs {missing}.")


def missing_for_pictures() -> str:
    """Say what must be installed before pictures can be drawn, and how; empty where they can."""
    packages = {"matplotlib": "matplotlib", "PIL": "Pillow"}
    missing = [name for each, name in packages.items() if importlib.util.find_spec(each) is None]
    how = ': pip install "convlstm-playground[playground]"'
    return " and ".join(missing) + how if missing else ""


@contextlib.contextmanager
def first_interrupt(*others: signal.Signals) -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into an event, to be seen between two pieces; a second breaks off.

    Args:
        others: signals that do as Ctrl-C does.
    """
    interrupted, numbers = threading.Event(), (signal.SIGINT, *others)

    def note(*_: object) -> None:
        interrupted.set()
        for number in numbers:
            signal.signal(number, signal.default_int_handler)

    before = {number: signal.signal(number, note) for number in numbers}
    try:
        yield interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def about(
    config: TrainConfig, network: Network, device: torch.device, precision: str
) -> dict[str, object]:
    """Say what a run or a file is, for JSON."""
    return {
        "parameters": count_parameters(network),
        "scene": config.scene.name,
        "settings": settings_of(config),
        "device": str(device),
        "precision": precision,
    }


def count_parameters(network: Network) -> int:
    """Count a network's weights."""
    return sum(parameter.numel() for parameter in network.parameters())
