"""Schedulers that are closed after the test."""

from collections.abc import Callable, Iterator

import pytest

from convlstm.scenes.digits import Digits
from convlstm.scenes.squares import Squares
from convlstm.server import run as running
from convlstm.server import turns
from convlstm.server.limits import Limits
from convlstm.server.scheduler import Scheduler
from convlstm.server.service import Service
from convlstm.training import trainer as training
from tests.server.helpers import WATCHED_SECONDS


@pytest.fixture(autouse=True)
def few_sequences(monkeypatch):
    """Validation sets of 8 sequences: what is tested here is when they are scored, not on what."""
    for scene in (Squares, Digits):
        monkeypatch.setattr(scene, "validation_sequences", 8)


@pytest.fixture
def serve(monkeypatch) -> Iterator[Callable[..., Scheduler]]:
    """Make schedulers that are closed after the test; keyword arguments are their limits."""
    # A slow machine needs more than the usual 3 s from opening a run to its first picture.
    for module in (running,):
        monkeypatch.setattr(module, "WATCHED_SECONDS", WATCHED_SECONDS)
    made: list[Scheduler] = []

    def make(**limits: float) -> Scheduler:
        made.append(Scheduler(limits=Limits(**limits)))
        return made[-1]

    yield make
    for scheduler in made:
        scheduler.close()


@pytest.fixture
def fine_turns(monkeypatch):
    """Pieces of one sequence, and a turn that ends after each."""
    monkeypatch.setattr(training, "training_chunk", lambda config, device: 1)
    monkeypatch.setattr(training, "evaluation_chunk", lambda config, device: 4)
    monkeypatch.setattr(turns, "_SLICE_SECONDS", 1e-4)


@pytest.fixture
def service() -> Iterator[Service]:
    """What the page asks, of a scheduler that is closed after the test."""
    scheduler = Scheduler()
    yield Service(scheduler)
    scheduler.close()
