"""For the trainings: few sequences to be judged by, and small pieces where they are asked for."""

import pytest

from convlstm.scenes.digits import Digits
from convlstm.scenes.squares import Squares
from convlstm.training import trainer


@pytest.fixture(autouse=True)
def few_validation_sequences(monkeypatch):
    """Eight sequences of squares instead of 32, four of digits instead of 128."""
    monkeypatch.setattr(Squares, "validation_sequences", 8)
    monkeypatch.setattr(Digits, "validation_sequences", 4)


@pytest.fixture
def fine_pieces(monkeypatch):
    """One sequence in a piece of a step, a quarter of them in a piece of an evaluation."""
    monkeypatch.setattr(trainer, "training_chunk", lambda config, device: 1)
    monkeypatch.setattr(
        trainer,
        "evaluation_chunk",
        lambda config, device: config.scene.validation_sequences // 4,
    )
