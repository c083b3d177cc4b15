"""Runs small enough to be trained again and again, one of each kind."""

import torch

from convlstm.networks import NetworkConfig
from convlstm.scenes.digits import Digits
from convlstm.scenes.squares import Squares
from convlstm.scenes.storm import Storm
from convlstm.settings import configure
from convlstm.training import TrainConfig, Trainer

SQUARES = TrainConfig(
    Squares(canvas=16, square_size=3),
    NetworkConfig(4, 3),
    context_frames=5,
    epochs=8,
    batch_size=4,
    evaluate_every=3,
    precision="float32",
    learning_rate=0.015,
)
DIGITS = TrainConfig(
    Digits(canvas=32),
    NetworkConfig(4, 3, 2, patch_size=4, residual=True),
    context_frames=3,
    horizon=4,
    epochs=4,
    batch_size=2,
    evaluate_every=2,
    precision="float32",
    optimizer="muon",
    learning_rate=6e-3,
    weight_decay=0.1,
    loss="bce+ssim",
    curriculum=0.4,
)
STORM = TrainConfig(
    Storm(crop=12),
    NetworkConfig(3, 3, 2, residual=True, output="change"),
    context_frames=2,
    horizon=2,
    epochs=4,
    batch_size=2,
    evaluate_every=2,
    precision="float32",
    learning_rate=3e-3,
    loss="l1",
    gradient_clip=0.1,
)
BASES = {"squares": SQUARES, "digits": DIGITS, "storm": STORM}


def run_of(base: str, **settings: object) -> TrainConfig:
    """A run of that scene with other settings."""
    return configure(settings, BASES[base])


def small(**settings: object) -> TrainConfig:
    """A run of squares with other settings."""
    return run_of("squares", **settings)


def trained(base: str, **settings: object) -> Trainer:
    """A run that has come to its end."""
    trainer = Trainer(run_of(base, **settings))
    list(trainer.pieces())
    return trainer


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def weights(trainer: Trainer) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in trainer.network.state_dict().items()}


def same(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return set(one) == set(two) and all(torch.equal(one[name], two[name]) for name in one)
