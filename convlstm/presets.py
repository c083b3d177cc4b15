"""Settings worth a button: each shows one thing, and says what."""

from dataclasses import dataclass

from convlstm.data import SquaresConfig
from convlstm.forecaster import ForecasterConfig
from convlstm.forecasting import ForecastConfig
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
    config: TrainConfig | ForecastConfig


PRESETS: dict[str, Preset] = {
    "quick": Preset(
        "Quick start",
        "Learns in seconds. A 3x3 kernel never would, half the rate seldom; 16 channels take twice "
        "as long, batches of 8 1.7 times, float32 1.6 times.",
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

FORECAST_PRESETS: dict[str, Preset] = {
    "moving-mnist-compact": Preset(
        "Moving MNIST, compact",
        "Ten frames from ten, on patches of 4 px: small enough to learn on a CPU.",
        ForecastConfig(),
    ),
    "moving-mnist-article": Preset(
        "Moving MNIST, the article's network",
        "Three scales down and up again, with every technique of the article. For a GPU.",
        ForecastConfig(
            model=ForecasterConfig(
                network="multiscale",
                patch_size=1,
                hidden_channels=64,
                num_layers=3,
                kernel_size=5,
                residual=True,
                attention=True,
            ),
            steps=100_000,
            batch_size=64,
            optimizer="adamw",
            learning_rate=3e-3,
            warm_up=0.3,
            weight_decay=1e-5,
            loss="mse+ssim",
            targets="future",
            curriculum=0.5,
            patience=20,
            augmented=True,
        ),
    ),
    "moving-mnist-openstl": Preset(
        "Moving MNIST, at OpenSTL's size",
        "Four layers of 128, 5x5, on patches of 4: the tables' ConvLSTM, but correct. For a GPU.",
        ForecastConfig(
            model=ForecasterConfig(hidden_channels=128, num_layers=4, kernel_size=5),
            steps=125_000,
            batch_size=16,
        ),
    ),
}
