"""What the page asks, of a scheduler that is closed after the test."""

from collections.abc import Iterator

import pytest

from convlstm.scenes.digits import Digits
from convlstm.server import scheduler as scheduling
from convlstm.server.scheduler import Scheduler
from convlstm.ui.service import Service


@pytest.fixture(autouse=True)
def few_sequences(monkeypatch):
    """A validation set of 8 sequences of digits, whose scoring takes longest."""
    monkeypatch.setattr(Digits, "validation_sequences", 8)


@pytest.fixture
def service(monkeypatch) -> Iterator[Service]:
    monkeypatch.setattr(scheduling, "_measure_slowdown", lambda device: 1.0)
    scheduler = Scheduler()
    yield Service(scheduler)
    scheduler.close()
