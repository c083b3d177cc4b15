"""Settings worth a button: each shows one thing, and says what."""

from dataclasses import dataclass

from convlstm.data import SquaresConfig
from convlstm.predictor import ModelConfig
from convlstm.training import TrainConfig


@dataclass(frozen=True)
class Preset:
    """A named configuration.

    Attributes:
        title: what a menu shows.
        sentence: what it shows and why.
        config: the settings.
    """

    title: str
    sentence: str
    config: TrainConfig


PRESETS: dict[str, Preset] = {
    "quick": Preset(
        "Quick start",
        "Learns in seconds. A 3x3 kernel never would; 16 channels take 2.3 times as long, "
        "batches of 8 1.7 times, float32 1.6 times, half the rate 2.5 times.",
        TrainConfig(),
    ),
    "article": Preset(
        "The article's recipe",
        "One 3x3 layer, MSE on the last frame only: after 100 epochs still worse than a black "
        "frame by SSIM.",
        TrainConfig(
            model=ModelConfig(16, kernel_size=3, output="linear", forget_bias=0.0),
            epochs=100,
            batch_size=8,
            learning_rate=1e-3,
            schedule="constant",
            loss="mse",
            targets="last",
            gradient_clip=0.0,
            precision="float32",
            stop_below=0.001,
            evaluate_every=10,
        ),
    ),
    "too-fast": Preset(
        "Too fast for its kernel",
        "Fails: the square moves up to 4 px a frame, a 3x3 kernel passes on 1 px. "
        "Raise the kernel to 7 with 2 layers and train again.",
        TrainConfig(scene=SquaresConfig(speed=4), model=ModelConfig(kernel_size=3)),
    ),
    "deep": Preset(
        "Deep and slow",
        "Three layers with residual connections: sharper in the end, and each step costs far more.",
        TrainConfig(
            scene=SquaresConfig(num_squares=2, directions="all", walls="bounce"),
            model=ModelConfig(hidden_channels=24, kernel_size=3, num_layers=3, residual=True),
            epochs=400,
            batch_size=8,
            learning_rate=0.01,
        ),
    ),
}
