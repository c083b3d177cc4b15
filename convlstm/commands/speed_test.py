"""The command `speed-test`: which speeds a trained network can follow."""

import argparse
import contextlib
from collections.abc import Callable
from dataclasses import asdict

from convlstm.commands.shared import about, device_of
from convlstm.commands.terminal import ProgressBar, print_json, scores_data
from convlstm.files.checkpoint import load_network
from convlstm.files.pictures import label_of, unit_of
from convlstm.files.reading import read_checkpoint
from convlstm.pieces import finish
from convlstm.scenes.scene import Measure
from convlstm.training.metrics import Scores
from convlstm.training.speed_test import SPEED_SEED, SPEEDS, SpeedTest, SpeedTestOptions, speed_test

# The scores of a speed: of the network, and of the baselines by name.
_Row = tuple[Scores, dict[str, Scores]]


def test_speeds(flags: argparse.Namespace) -> int:
    """Score a checkpoint's network at exact speeds, beside the scene's baselines."""
    options = SpeedTestOptions(flags.sequences)
    device = device_of(flags)
    checkpoint = read_checkpoint(flags.checkpoint)
    config, network = checkpoint.config, load_network(checkpoint, device)
    changes = checkpoint.progress["changes"] if checkpoint.progress else ()
    with contextlib.closing(ProgressBar(100)) as bar:
        test = finish(
            speed_test(network, config, options, changes),
            lambda share: bar.draw(int(100 * share), "%"),
        )
    if flags.json:
        print_json(
            {
                **about(config, network, device, "float32"),
                "sequences": test.sequences,
                "seed": SPEED_SEED,
                "reach": test.reach,
                "trained_speeds": test.trained,
                "trained": [asdict(training) for training in checkpoint.trainings],
                "speeds": [_speed_data(test, speed) for speed in SPEEDS],
            }
        )
        return 0
    slowest, fastest = (f"{speed:g}" for speed in test.trained)
    trained = slowest if slowest == fastest else f"{slowest} to {fastest}"
    print(
        f"{test.sequences} unseen sequences at each speed, on {device} in float32. Trained at "
        f"speed {trained}; information travels {test.reach} px a frame.\n"
    )
    print(_table("the next frame", test, lambda speed: _next(test, speed), config.scene.measure))
    print()
    title = f"the mean of {test.horizon} frames"
    print(_table(title, test, lambda speed: test.scores[speed].mean, config.scene.measure))
    return 0


def _speed_data(test: SpeedTest, speed: int) -> dict[str, object]:
    scores = test.scores[speed]
    leads = [
        {
            "lead_time": lead,
            **scores_data(model, {name: rows[lead - 1] for name, rows in scores.baselines.items()}),
        }
        for lead, model in enumerate(scores.model, start=1)
    ]
    return {"speed": speed, "lead_times": leads, "mean": scores_data(*scores.mean)}


def _next(test: SpeedTest, speed: int) -> _Row:
    scores = test.scores[speed]
    return scores.model[0], {name: rows[0] for name, rows in scores.baselines.items()}


def _table(title: str, test: SpeedTest, row_of: Callable[[int], _Row], measure: Measure) -> str:
    """Lay out errors and SSIM, a line for each speed."""
    digits = 6 if measure.digits is None else measure.digits + 1
    names = [label_of(name) for name in test.scores[SPEEDS[0]].baselines]
    heads = "".join(f"  {name:>11}" for name in ("model", *names))
    lines = [
        f"{title}: {unit_of(measure)}, then SSIM",
        f"{'px/frame':<8}{heads}  |{heads}  beats both",
    ]
    for speed in test.scores:
        model, baselines = row_of(speed)
        each = (model, *baselines.values())
        errors = "".join(f"  {measure.of(scores.mse):11.{digits}f}" for scores in each)
        ssim = "".join(f"  {scores.ssim:11.4f}" for scores in each)
        beats = model.mse < min(scores.mse for scores in baselines.values())
        lines.append(f"{speed:<8}{errors}  |{ssim}  {'yes' if beats else 'no'}")
    return "\n".join(lines)
