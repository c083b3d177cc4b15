"""What the tests of files share."""

import pytest

from convlstm.scenes.digits import Digits
from convlstm.scenes.squares import Squares


@pytest.fixture
def few_sequences_are_scored(monkeypatch):
    """Scoring draws nothing of a run's own and changes no weight."""
    monkeypatch.setattr(Squares, "validation_sequences", 4)
    monkeypatch.setattr(Digits, "validation_sequences", 4)
