"""Training: what one `Trainer` does with a scene and a network."""

from convlstm.training.config import TrainConfig
from convlstm.training.trainer import Trainer, train

__all__ = ["TrainConfig", "Trainer", "train"]
