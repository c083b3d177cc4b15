"""The article's two tables, made again: what each loss and each technique brings.

A study is a few variants of one recipe, each trained from several seeds with the same number of
sequences. Every variant that is finished from a seed is a line in a file, so that a study goes on
where it was left.
"""

import json
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import torch

from convlstm.files.checkpoint import resume, save_checkpoint
from convlstm.files.reading import read_checkpoint
from convlstm.files.safe_files import CheckpointError, write_atomically
from convlstm.pieces import finish
from convlstm.settings import configure
from convlstm.training.config import TrainConfig
from convlstm.training.evaluation import score_network
from convlstm.training.metrics import Scores
from convlstm.training.presets import preset
from convlstm.training.records import End
from convlstm.training.trainer import Trainer, train

Scale = Literal["small", "full"]
Variants = dict[str, dict[str, object]]  # the settings of each, by name

SEEDS = (0, 1, 2)
_TEST_SEED = 1
_PIXELS = 64**2  # of a frame, over which the tables sum
_TEST_SEQUENCES = {"small": 200, "full": 10_000}
_SAVE_EVERY = 200  # steps between two files of a training under way

# The article's recipe without its techniques, in which the variants differ.
_PLAIN = {"residual": False, "attention": False, "curriculum": 0.0, "patience": 0}
_SCALES: dict[Scale, dict[str, object]] = {
    "small": {  # the article's shape on patches, for two CPU cores
        **_PLAIN,
        "patch_size": 4,
        "hidden_channels": 16,
        "kernel_size": 3,
        "epochs": 1500,
        "batch_size": 4,
        "optimizer": "muon",
        "learning_rate": 6e-3,
        "evaluate_every": 1500,
    },
    "full": {**_PLAIN, "epochs": 31_250, "evaluate_every": 1000},
}
# What a study has of its own at a scale. In so few steps the article's loss stays at the black
# frame, whatever the technique; and there are more trainings here than losses.
_OWN: dict[tuple[str, Scale], dict[str, object]] = {
    ("techniques", "small"): {"loss": "bce+ssim", "epochs": 1200, "evaluate_every": 1200},
}
_TECHNIQUES: dict[str, dict[str, object]] = {
    "residual": {"residual": True},
    "attention": {"attention": True},
    "curriculum": {"curriculum": 0.5},
    "test-time augmentation": {"augmented": True},
}
STUDIES: dict[str, Variants] = {
    "losses": {
        "MSE": {"loss": "mse"},
        "SSIM": {"loss": "ssim"},
        "0.7 MSE + 0.3 (1 - SSIM)": {"loss": "mse+ssim"},
    },
    "techniques": {
        "base": {},
        **{f"+ {name}": settings for name, settings in _TECHNIQUES.items()},
        "all of them": {
            name: value for part in _TECHNIQUES.values() for name, value in part.items()
        },
    },
}


@dataclass(frozen=True)
class Result:
    """One variant, trained from one seed and scored."""

    variant: str  # its row in the table
    seed: int  # of its weights and sequences
    parameters: int  # of the network
    seconds: float  # computing time of the training; shared by those that differ in evaluation
    ended: End  # why it ended; a diverged one is scored as it was left
    scores: Scores  # on sequences of unseen digits


class Progress(NamedTuple):
    """How far a study is."""

    variant: str  # the row that trains, the first of those that share a training
    seed: int
    done: float  # share of the whole study, in [0, 1]


def run_study(
    name: str,
    folder: Path,
    *,
    scale: Scale = "small",
    device: torch.device | str = "cpu",
    changes: dict[str, object] | None = None,
) -> Iterator[Progress]:
    """Train what of a study is not trained yet.

    Args:
        name: one of STUDIES.
        folder: for the results, and the file of the training under way.
        scale: "small", for two CPU cores, or "full", for a GPU.
        device: where to compute.
        changes: settings in which all variants differ from the scale's.

    Yields:
        How far it is, after every training step.
    """
    # Seed by seed: left early, the study has all variants of the first seeds.
    tasks = [(shared, seed) for seed in SEEDS for shared in _trainings(STUDIES[name])]
    finished = {(result.variant, result.seed) for result in read_results(name, folder, scale)}
    for number, (variants, seed) in enumerate(tasks):
        missing = {key: value for key, value in variants.items() if (key, seed) not in finished}
        if not missing:
            continue
        first = next(iter(missing))
        settings = {**_SCALES[scale], **_OWN.get((name, scale), {}), **(changes or {})}
        settings |= {**missing[first], "seed": seed, "augmented": False}
        trainer = _trainer(
            configure(settings, preset("moving-mnist-article")), folder / "run.safetensors", device
        )
        for record in train(trainer.config, trainer=trainer):
            if record.step % _SAVE_EVERY == 0:
                save_checkpoint(trainer, folder / "run.safetensors")
            yield Progress(first, seed, (number + trainer.progress) / len(tasks))
        results = read_results(name, folder, scale)
        for variant, own in missing.items():
            augmented = "augmented" in own
            results.append(_score(trainer, variant, _TEST_SEQUENCES[scale], augmented=augmented))
        lines = [json.dumps(asdict(result)) + "\n" for result in results]
        write_atomically(_file(name, folder, scale), "".join(lines).encode())
        (folder / "run.safetensors").unlink(missing_ok=True)


def read_results(name: str, folder: Path, scale: Scale = "small") -> list[Result]:
    """Return what of a study is finished.

    Raises:
        CheckpointError: the file of results is damaged.
    """
    file = _file(name, folder, scale)
    if not file.exists():
        return []
    try:
        lines = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
        return [Result(**{**line, "scores": Scores(**line["scores"])}) for line in lines]
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{file} is damaged: remove it to begin the study anew.") from error


def markdown_table(name: str, results: list[Result]) -> str:
    """Lay out a study: mean and spread (standard deviation) over the seeds."""
    lines = [
        "| variant | parameters | time | SSIM | SSIM, range 2 | MSE | seeds |",
        "|---|---|---|---|---|---|---|",
    ]
    base = [result.seconds for result in results if result.variant == next(iter(STUDIES[name]))]
    for variant in STUDIES[name]:
        rows = [result for result in results if result.variant == variant]
        if not rows:
            continue
        time = statistics.mean(row.seconds for row in rows) / statistics.mean(base) if base else 1
        lines.append(
            f"| {variant} | {rows[0].parameters:,} | {time:.2f} | {_spread(rows, 'ssim', 3)} "
            f"| {_spread(rows, 'ssim_openstl', 3)} | {_spread(rows, 'mse', 1, _PIXELS)} "
            f"| {_count(rows)} |"
        )
    return "\n".join(lines)


def _trainings(variants: Variants) -> list[Variants]:
    """Put the variants together that differ in how they are evaluated alone: one training each."""
    shared: dict[str, Variants] = {}
    for variant, settings in variants.items():
        trained = {name: value for name, value in settings.items() if name != "augmented"}
        shared.setdefault(json.dumps(trained), {})[variant] = settings
    return list(shared.values())


def _trainer(config: TrainConfig, file: Path, device: torch.device | str) -> Trainer:
    """Go on with the file's run if it is this one."""
    if file.exists():
        checkpoint = read_checkpoint(file)
        if checkpoint.config == config:
            return resume(checkpoint, device)
    return Trainer(config, device)


def _score(trainer: Trainer, variant: str, count: int, *, augmented: bool) -> Result:
    config, scene, network = trainer.config, trainer.config.scene, trainer.judged.eval()
    clips = scene.test(config.context_frames, config.horizon, count, _TEST_SEED)
    scores = finish(
        score_network(
            network, scene, clips, config.context_frames, config.horizon, augmented=augmented
        )
    )
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return Result(variant, config.seed, parameters, trainer.seconds, trainer.ended, scores.mean[0])


def _file(name: str, folder: Path, scale: Scale) -> Path:
    return folder / f"{name}-{scale}.jsonl"


def _count(rows: list[Result]) -> str:
    diverged = sum(row.ended == "diverged" for row in rows)
    return f"{len(rows)}, {diverged} diverged" if diverged else str(len(rows))


def _spread(rows: list[Result], metric: str, digits: int, factor: float = 1.0) -> str:
    values = [factor * getattr(row.scores, metric) for row in rows]
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.{digits}f} ± {deviation:.{digits}f}"
