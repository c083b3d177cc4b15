"""What files of earlier programs mean today, by a table for each version.

Settings that a file lacks take the value that acts as the program did then; tensors and tables of
numbers take today's names and units. Files open for ever.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from convlstm.checks import check_number
from convlstm.scenes.scene import Scene
from convlstm.training.config import TrainConfig
from convlstm.training.metrics import METRICS
from convlstm.training.optimizers import Optimizer

FORMAT, VERSION = "convlstm-playground", "2"
DATA_PREFIX = "scene."  # before the names of what a scene holds
STEP_COLUMNS = ("progress", "horizon", "loss", "mse", "learning_rate", "seconds")
_OLD_SQUARES_METRICS = ("mse", "mae", "psnr", "ssim")

Values = dict[str, object]
Tensors = dict[str, Tensor]


def evaluation_columns(scene: Scene) -> int:
    """Return how many numbers an evaluation has.

    They are its step, the validation loss, the brightest value, and the scores of the network and
    of each baseline; in a scene that hides things, once more of the sequences that show nothing.
    """
    return 3 + len(METRICS) * (1 + len(scene.baselines)) * (2 if scene.hides else 1)


@dataclass(frozen=True)
class Version:
    """How to read a version's files.

    Attributes:
        scene: the scene of all its files; None where each names its own.
        lacking: values of settings that its files, or older ones of them, do not have.
        settings: turns its settings into today's.
        names: turns the names of its tensors into today's, given the run and the network's
            parameters; a name that is not among them stays.
        steps: columns of its table of steps.
        evaluations: columns of its table of evaluations, for a scene.
        says_how_trained: whether a run's file tells of its trainings; if not, its history does.
        upgrade: changes tensors under today's names, and the progress beside them, in place.
    """

    scene: str | None = None
    lacking: Mapping[str, object] = field(default_factory=dict)
    settings: Callable[[Values], Values] = lambda settings: settings
    names: Callable[[TrainConfig, torch.nn.Module], dict[str, str]] = lambda config, network: {}
    steps: int = len(STEP_COLUMNS)
    evaluations: Callable[[Scene], int] = evaluation_columns
    says_how_trained: bool = True
    upgrade: Callable[[TrainConfig, Tensors, Values], None] = lambda config, tensors, progress: None


def _squares_settings(settings: Values) -> Values:
    # What is neither "last" nor "all" is left to the setting's own check.
    return {**settings, "targets": "future"} if settings.get("targets") == "last" else settings


def _squares_names(config: TrainConfig, network: torch.nn.Module) -> dict[str, str]:
    names = {f"model.{name}": f"network.{name}" for name in network.state_dict()}
    for name, _ in network.named_parameters():
        for key in ("exp_avg", "exp_avg_sq"):
            names[f"adam.{key}.{name}"] = f"optimizer.{name}.{key}"
    return names


def _upgrade_squares(config: TrainConfig, tensors: Tensors, progress: Values) -> None:
    steps, evaluations = tensors["history.steps"], tensors["history.evaluations"]
    loss, mse, rate, seconds = steps.unbind(1)
    before = torch.arange(len(steps), dtype=torch.float64) / config.total_steps
    tensors["history.steps"] = torch.stack(
        [before, torch.ones_like(loss), loss, mse, rate, seconds], 1
    )
    at, brightest = evaluations[:, :1], evaluations[:, -1:]
    unknown = torch.full_like(at, math.nan)
    parts = evaluations[:, 1:-1].split(len(_OLD_SQUARES_METRICS), 1)
    model, black, copy_last = (torch.cat([part, unknown], 1) for part in parts)
    tensors["history.evaluations"] = torch.cat([at, unknown, brightest, model, copy_last, black], 1)
    updates = progress.pop("optimizer_steps")
    moments = {name: value for name, value in tensors.items() if name.startswith("optimizer.")}
    for name in moments:
        if not updates:
            del tensors[name]
        elif name.endswith(".exp_avg"):
            tensors[f"{name.removesuffix('.exp_avg')}.step"] = torch.tensor(float(updates))
    progress.pop("best_mse", None)
    progress |= {
        "progress": len(steps) / config.total_steps,
        "best_loss": None,  # it kept the best MSE: the next evaluation begins anew
        "evaluations_since_best": 0,
        "scaler": {},
        "averages": 0,
    }


def _forecaster_settings(settings: Values) -> Values:
    today = {"steps": "epochs", "network": "architecture"}
    settings = {today.get(name, name): value for name, value in settings.items()}
    # What could not act was accepted then. What could not be is left to the settings' own checks.
    if settings.get("architecture") == "multiscale":
        if settings.get("targets") == "all":
            settings["targets"] = "future"
    elif settings.get("num_layers") == 1 and settings.get("residual") is True:
        settings["residual"] = False
    if settings.get("rollout") == "states" and "scheduled_sampling" in settings:
        check_number("scheduled_sampling", settings["scheduled_sampling"], 0, 1)
        settings["scheduled_sampling"] = 0.0
    return settings


def _forecaster_names(config: TrainConfig, network: torch.nn.Module) -> dict[str, str]:
    names = {f"model.{name}": f"network.{name}" for name in network.state_dict()}
    kernels = Optimizer.kernels(network) if config.optimizer == "muon" else {}
    rest = {name: p for name, p in network.named_parameters() if name not in kernels}
    # AdamW numbered what has weight decay first; Muon's kernels were another optimiser's.
    ordered = sorted(rest, key=lambda name: rest[name].ndim < 2)
    for number, part in enumerate((ordered, list(kernels))):
        keys = ("momentum_buffer",) if number else ("step", "exp_avg", "exp_avg_sq")
        for index, name in enumerate(part):
            for key in keys:
                names[f"optimizer.{number}.{index}.{key}"] = f"optimizer.{name}.{key}"
    return names


def _upgrade_forecaster(config: TrainConfig, tensors: Tensors, progress: Values) -> None:
    height, width = config.scene.size
    steps, evaluations = tensors["history.steps"].clone(), tensors["history.evaluations"]
    steps[:, STEP_COLUMNS.index("mse")] /= height * width  # it summed over a frame
    tensors["history.steps"] = steps
    at, loss, scores = evaluations[:, :1], evaluations[:, 1:2], evaluations[:, 2:]
    model, black, copy_last = scores.clone().unflatten(1, (3, -1)).unbind(1)
    for part in (model, black, copy_last):
        part[:, : METRICS.index("psnr")] /= height * width  # mse and mae
    unknown = torch.full_like(at, math.nan)
    tensors["history.evaluations"] = torch.cat([at, loss, unknown, model, copy_last, black], 1)
    progress["averages"] = 1 + len(steps) if config.ema else 0


# What the squares were before they could hide, and what "bce+ssim" was before its shares could be
# chosen.
_EARLIER: Values = {
    "small_frames": 0.0,
    "exact_speed": False,
    "bar_width": 0,
    "bar_left": 12,
    "bar_hides": "input",
    "bar_grows": 0.0,
    "dropped_frames": 0.0,
    "ssim_weight": 0.1,
}
VERSIONS: dict[tuple[str, str], Version] = {
    (FORMAT, VERSION): Version(lacking=_EARLIER),
    (FORMAT, "1"): Version(
        scene="squares",
        lacking={
            **_EARLIER,
            "architecture": "stack",
            "patch_size": 1,
            "attention": False,
            "recompute": False,
            "rollout": "closed",
            "context_frames": 9,
            "horizon": 1,
            "optimizer": "adamw",  # Adam, which is the same without weight decay
            "weight_decay": 0.0,
            "warm_up": 0.15,
            "curriculum": 0.0,
            "scheduled_sampling": 0.0,
            "ema": 0.0,
            "patience": 0,
            "augmented": False,
            "max_minutes": 0.0,
        },
        settings=_squares_settings,
        names=_squares_names,
        steps=4,
        evaluations=lambda scene: 2 + 3 * len(_OLD_SQUARES_METRICS),
        says_how_trained=False,
        upgrade=_upgrade_squares,
    ),
    ("convlstm-forecaster", "3"): Version(
        scene="digits",
        lacking={
            **_EARLIER,
            "output": "sigmoid",
            "peephole": False,
            "batches_per_epoch": 1,
            "forget_bias": 1.0,
            "context_frames": 10,
            "horizon": 10,
            "stop_below": 0.0,
        },
        settings=_forecaster_settings,
        names=_forecaster_names,
        evaluations=lambda scene: 2 + 3 * len(METRICS),
        upgrade=_upgrade_forecaster,
    ),
}
