"""ConvLSTM Playground: a convolutional LSTM to see, to teach and to use."""

from convlstm.checkpoint import load_checkpoint, save_checkpoint
from convlstm.data import SquaresConfig, sample_squares
from convlstm.layer.convlstm import ConvLSTM, ConvLSTMCell
from convlstm.predictor import ModelConfig, NextFramePredictor
from convlstm.presets import PRESETS
from convlstm.train_config import TrainConfig
from convlstm.training import Trainer, train

__all__ = [
    "PRESETS",
    "ConvLSTM",
    "ConvLSTMCell",
    "ModelConfig",
    "NextFramePredictor",
    "SquaresConfig",
    "TrainConfig",
    "Trainer",
    "load_checkpoint",
    "sample_squares",
    "save_checkpoint",
    "train",
]
