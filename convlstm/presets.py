"""Settings worth a button: each shows one thing, and says what."""

from dataclasses import dataclass

from convlstm.data import SquaresConfig
from convlstm.digits import DigitsConfig
from convlstm.forecast_config import ForecastConfig
from convlstm.forecaster import ForecasterConfig
from convlstm.predictor import ModelConfig
from convlstm.train_config import TrainConfig


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

# Of Moving MNIST, to watch on the page: minutes on two CPU cores.
LIVE_PRESETS: dict[str, Preset] = {
    "one-digit": Preset(
        "One digit",
        "One digit that bounces. In a minute or two a small network finds out where it goes, long "
        "before it can draw it.",
        ForecastConfig(
            scene=DigitsConfig(num_digits=1),
            model=ForecasterConfig(hidden_channels=32, num_layers=2),
            steps=1000,
            learning_rate=0.01,
            evaluate_every=100,
        ),
    ),
    "two-digits": Preset(
        "Two digits",
        "The protocol's two digits, which pass over each other, with the compact network: in "
        "minutes the motion, in an hour the shapes.",
        ForecastConfig(steps=1500, evaluate_every=150),
    ),
    "states-only": Preset(
        "On the states alone",
        "After ten frames it reads nothing any more, not even its own prediction: everything "
        "must be in the states.",
        ForecastConfig(
            scene=DigitsConfig(num_digits=1),
            model=ForecasterConfig(hidden_channels=32, num_layers=2, rollout="states"),
            steps=1000,
            learning_rate=0.01,
            evaluate_every=100,
        ),
    ),
}

FORECAST_PRESETS: dict[str, Preset] = {
    **LIVE_PRESETS,
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
