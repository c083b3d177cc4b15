"""The commands `evaluate` and `predict`: what a trained network is worth, and what it draws."""

import argparse
import contextlib
import time
from collections.abc import Iterator
from dataclasses import asdict, replace

from convlstm.checks import check_integer
from convlstm.commands.shared import UsageError, about, check_drawable, check_writable, device_of
from convlstm.commands.terminal import (
    ProgressBar,
    black_warning,
    print_json,
    score_table,
    scores_data,
    unseen_line,
)
from convlstm.files.checkpoint import load_network
from convlstm.files.pictures import lead_time_figure, picture_files, sequence_figure, write_files
from convlstm.files.reading import Checkpoint, read_checkpoint
from convlstm.networks import Network
from convlstm.pieces import finish
from convlstm.scenes.scene import MAX_TEST_SEED, Clip
from convlstm.training.costs import evaluation_chunk, work_of
from convlstm.training.evaluation import (
    TEST_SET_SHAPE,
    LeadTimeScores,
    read_test_set,
    score_network,
)
from convlstm.training.metrics import NEARLY_BLACK
from convlstm.training.picture import Picture, make_picture

MAX_SEQUENCES = 10_000


def evaluate(flags: argparse.Namespace) -> int:
    """Score a checkpoint's network beside the scene's baselines, for each lead time."""
    count = check_integer("sequences", flags.sequences, 1, MAX_SEQUENCES)
    seed = check_integer("seed", flags.seed, 0, MAX_TEST_SEED)
    device = device_of(flags)
    if flags.out:
        check_drawable("--out")
        check_writable("--out", flags.out)
    checkpoint = read_checkpoint(flags.checkpoint)
    if flags.augmented:
        checkpoint = replace(checkpoint, config=replace(checkpoint.config, augmented=True))
    config, scene = checkpoint.config, checkpoint.config.scene
    farthest = max(config.horizon, scene.look_ahead)
    horizon = farthest if flags.horizon is None else flags.horizon
    horizon = check_integer("horizon", horizon, 1, farthest)
    if flags.test_set and (scene.name != "digits" or scene.canvas != 64):
        raise UsageError("--test-set is for networks of Moving MNIST on a canvas of 64 px.")
    seen, frames = config.context_frames, TEST_SET_SHAPE[0]
    if flags.test_set and seen + horizon > frames:
        raise UsageError(
            f"--test-set has sequences of {frames} frames: the network sees {seen}, so --horizon "
            f"must be at most {frames - seen}."
        )
    network = load_network(checkpoint, device)

    def clips() -> Iterator[Clip]:
        if flags.test_set:
            return read_test_set(flags.test_set, count)
        return scene.test(seen, horizon, count, seed)

    started = time.perf_counter()
    with contextlib.closing(ProgressBar(count)) as bar:
        scores = finish(
            score_network(
                network,
                scene,
                clips(),
                seen,
                horizon,
                at_once=evaluation_chunk(config, device),
                augmented=config.augmented,
            ),
            lambda done: bar.draw(done, "sequences"),
        )
    seconds = time.perf_counter() - started
    facts = {
        **about(config, network, device, "float32"),
        "gmac_per_sequence": work_of(config, horizon).gflop / 2,
        "frames_per_second": horizon * scores.sequences / seconds,
        "sequences": scores.sequences,
        "seed": seed,
        "augmented": config.augmented,
        "trained": [asdict(training) for training in checkpoint.trainings],
    }
    if flags.out:
        write_files(_pictures(checkpoint, network, scores, clips(), horizon), flags.out)
    rows = _rows(scores)
    if flags.json:
        leads = [
            {"lead_time": number, **scores_data(model, baselines)}
            for number, (_, model, baselines) in enumerate(rows, start=1)
        ]
        data = {**facts, "lead_times": leads, "mean": scores_data(*scores.mean)}
        if unseen := scores.unseen:
            shares = {"skill": unseen.skill, "sequences": scores.unseen_sequences}
            data["unseen"] = asdict(unseen) | shares
        print_json(data)
        return 0
    print(
        f"{scores.sequences:,} unseen sequences, {facts['parameters']:,} parameters, "
        f"{facts['gmac_per_sequence']:.2f} GMAC a sequence, on {device} in float32, "
        f"{facts['frames_per_second']:.0f} frames/s with scoring"
        f"{', averaged over mirrored sequences' if config.augmented else ''}.\n"
    )
    rows += [("mean", *scores.mean)] if horizon > 1 else []
    print(score_table("lead time", rows, scene.measure))
    if scores.unseen:
        print(unseen_line(scores.unseen, scores.unseen_sequences, scene.measure))
    if scores.brightest < NEARLY_BLACK:
        print(black_warning(scores.brightest))
    if flags.out:
        print(f"\nPictures of the best, the median and the worst sequence are in {flags.out}.")
    return 0


def predict(flags: argparse.Namespace) -> int:
    """Draw a checkpoint's prediction of one unseen sequence."""
    seed = check_integer("seed", flags.seed, 0, MAX_TEST_SEED)
    device = device_of(flags)
    check_drawable("predict")
    checkpoint = read_checkpoint(flags.checkpoint)
    check_writable("--out", flags.out)
    config, scene = checkpoint.config, checkpoint.config.scene
    clip = next(scene.test(config.context_frames, config.horizon, 1, seed))
    picture = _picture(f"seed {seed}", checkpoint, load_network(checkpoint, device), clip)
    write_files(picture_files(picture, checkpoint.records, scene.look, scene.measure), flags.out)
    print(f"Saved to {flags.out}.")
    return 0


def _rows(scores: LeadTimeScores) -> list:
    return [
        (str(lead), model, {name: rows[lead - 1] for name, rows in scores.baselines.items()})
        for lead, model in enumerate(scores.model, start=1)
    ]


def _picture(name: str, checkpoint: Checkpoint, network: Network, clip: Clip) -> Picture:
    config, device = checkpoint.config, next(network.parameters()).device

    def predict(context: object, horizon: int) -> object:
        return network.predict(context.to(device), horizon, augmented=config.augmented)

    return make_picture(name, config.scene, clip, config.context_frames, predict)


def _pictures(
    checkpoint: Checkpoint,
    network: Network,
    scores: LeadTimeScores,
    clips: Iterator[Clip],
    horizon: int,
) -> dict[str, bytes]:
    """Draw the best, the median and the worst sequence by SSIM, and the scores by lead time."""
    order = scores.ssim.argsort(descending=True).tolist()
    wanted = {"best": order[0], "median": order[len(order) // 2], "worst": order[-1]}
    files = {"ssim_by_lead_time.png": lead_time_figure(scores.model, scores.baselines)}
    frames, start = checkpoint.config.context_frames + horizon, 0
    for clip in clips:
        for name, index in wanted.items():
            if start <= index < start + len(clip.clean):
                one = clip.part(slice(index - start, index - start + 1)).frames(frames)
                title = f"{name}: sequence {index}, SSIM {scores.ssim[index]:.3f}"
                picture = _picture(name, checkpoint, network, one)
                look = checkpoint.config.scene.look
                files[f"{name}.png"] = sequence_figure(picture, title, look)
        start += len(clip.clean)
    return files
