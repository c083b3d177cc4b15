"""The command line: convlstm train | evaluate | speed-test | predict | settings | ..."""

import argparse
import contextlib
import functools
import os
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn, get_args

import torch

from convlstm.benchmarks.contestants import CONTESTANTS
from convlstm.benchmarks.gpu_parts import SIZES as REPORT_SIZES
from convlstm.benchmarks.modules import SIZES
from convlstm.benchmarks.study import STUDIES, Scale
from convlstm.checks import SettingError
from convlstm.commands.evaluate import MAX_SEQUENCES, evaluate, predict
from convlstm.commands.export import BOTH, export_network
from convlstm.commands.gpu_report import MAX_MINUTES, report_gpu
from convlstm.commands.settings import settings_table
from convlstm.commands.shared import INTERRUPTED, UsageError, default_text, flag_of
from convlstm.commands.speed import MAX_REPEATS, compare_speed, study
from convlstm.commands.speed_test import test_speeds
from convlstm.commands.train import train
from convlstm.devices import keep_freed_memory
from convlstm.files.export import FORMATS, MAX_HORIZON, ExportError
from convlstm.files.safe_files import CheckpointError
from convlstm.networks import NetworkConfig
from convlstm.networks.parts import PARTS
from convlstm.scenes.catalogue import CATALOGUE
from convlstm.scenes.scene import MAX_TEST_SEED
from convlstm.settings import Choice, Flag, Integer, Number, declared
from convlstm.training.config import TrainConfig
from convlstm.training.evaluation import TestSetError
from convlstm.training.presets import preset_names
from convlstm.training.speed_test import SpeedTestOptions


def main(arguments: list[str] | None = None) -> int:
    """Do what the flags say.

    Args:
        arguments: the flags; None means those of this process.

    Returns:
        The exit code: 0, 1 where a report says that something failed, 2 for an error (one line on
        stderr), or 130 after Ctrl-C.
    """
    try:
        flags = _parser().parse_args(arguments)
        keep_freed_memory()
        return flags.command(flags)
    except (UsageError, SettingError, CheckpointError, ExportError, TestSetError) as error:
        message = str(error)
    except torch.OutOfMemoryError as error:
        message = f"The device has too little memory for this: {error}"
    except BrokenPipeError:  # whoever read the output has seen enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        message = f"{error.filename}: {error.strerror}" if error.filename else str(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    print(f"convlstm: {' '.join(message.split())}", file=sys.stderr)
    return 2


class _Parser(argparse.ArgumentParser):
    """Reports a bad flag as every other error is reported; knows the kinds of flags that repeat."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")

    def path(self, flag: str, metavar: str, text: str, *, required: bool = False) -> None:
        self.add_argument(flag, type=Path, required=required, metavar=metavar, help=text)

    def number(self, flag: str, text: str, default: float | None = None) -> None:
        self.add_argument(flag, type=_number_or_text, default=default, metavar="N", help=text)

    def seed(self) -> None:
        text = f"of sequences that no training draws, 0 to {MAX_TEST_SEED:,} [%(default)s]"
        self.number("--seed", text, default=0)

    def checkpoint(self) -> None:
        text = "a file that train or the page saved"
        self.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help=text)

    def device(self) -> None:
        text = "where to compute: cpu, cuda, mps, or auto for a GPU if there is one [%(default)s]"
        self.add_argument("--device", default="auto", metavar="NAME", help=text)

    def json(self, record: str, instead: str) -> None:
        text = f"print one JSON record{record} instead of {instead}"
        self.add_argument("--json", action="store_true", help=text)


def _parser() -> _Parser:
    parser = _Parser(
        prog="convlstm",
        description="Train a ConvLSTM on moving things, score it, and draw what it predicts.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add = functools.partial(commands.add_parser, allow_abbrev=False)
    every = _train, _evaluate, _speed_test, _predict, _export, _settings, _benchmark, _study
    for command in (*every, _gpu_report):
        command(add)
    return parser


def _train(add: Callable[..., _Parser]) -> None:
    parser = add(
        "train",
        help="train a model, and say how good it is on sequences that it never learns from",
        description="Train a model from a preset, with any of its settings changed.\n"
        "In brackets: the defaults, which are the preset quick's; other presets differ.",
        epilog=_presets_text(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(command=train)
    text = "settings to start from, quick if not given"
    parser.add_argument("--preset", choices=preset_names(), help=text)
    parser.path("--resume", "FILE", "go on with this checkpoint's run, under its own settings")
    text = "write the checkpoint, the best network, the losses as CSV, pictures and a GIF there"
    parser.path("--out", "DIR", text)
    parser.path(
        "--start-from",
        "FILE",
        "begin with the weights of this file, of the same network; give another --seed for other "
        "sequences",
    )
    parser.path(
        "--clip",
        "FILE",
        "train on this clip, with the preset own-clip if none is given: an animated GIF, WebP or "
        "PNG, or an array (.npy, .npz) of (T, H, W) or (T, H, W, C), of 20 to 600 frames",
    )
    parser.device()
    parser.json(" a step", "a summary")
    parser.path("--log-dir", "DIR", "write the curves there, for TensorBoard")
    text = "minutes between two checkpoints on the way, 0.001 to 1000 [%(default)s]"
    parser.number("--save-every", text, default=5)
    parts = {f"the scene {name}": type(entry.scene) for name, entry in CATALOGUE.items()}
    parts |= {"the network": NetworkConfig, "the run": TrainConfig}
    taken = set()
    for title, owner in parts.items():
        group = parser.add_argument_group(f"settings of {title}")
        for each in declared(owner):
            if each.name not in taken:  # two scenes may have a setting of the same name
                taken.add(each.name)
                text = f"{each.note}; {each.kind} [{default_text(each)}]".replace("%", "%%")
                group.add_argument(
                    flag_of(each.name),
                    default=argparse.SUPPRESS,
                    help=text,
                    **_HOW_TO_READ[type(each.kind)],
                )


def _evaluate(add: Callable[..., _Parser]) -> None:
    parser = add(
        "evaluate",
        help="score a trained model beside predictors that learnt nothing",
        description="Score a checkpoint's model on unseen sequences, in float32, beside its "
        "scene's predictors that learnt nothing, as the last frame seen. Skill is the share of "
        "the copied frame's squared error that is gone: 1 is perfect.",
    )
    parser.set_defaults(command=evaluate)
    parser.checkpoint()
    text = f"sequences to score, 1 to {MAX_SEQUENCES} [%(default)s]"
    parser.number("--sequences", text, default=1000)
    parser.seed()
    text = "frames to predict, on the model's own output after the first"
    parser.number("--horizon", f"{text} [as many as the page shows]")
    text = "the public test file of Moving MNIST, mnist_test_seq.npy, instead of new sequences"
    parser.path("--test-set", "FILE", text)
    text = "average the predictions of mirrored sequences"
    parser.add_argument("--augmented", action="store_true", help=text)
    text = "draw the best, median and worst sequence, and SSIM by lead time"
    parser.path("--out", "DIR", text)
    parser.device()
    parser.json("", "a table")


def _speed_test(add: Callable[..., _Parser]) -> None:
    parser = add(
        "speed-test",
        help="score a trained model at exact speeds, those of its training among them",
        description="Score a checkpoint's model on unseen sequences in which everything moves at "
        "exactly 0, 1, ... 8 px a frame, in float32, beside its scene's predictors that learnt "
        "nothing.",
    )
    parser.set_defaults(command=test_speeds)
    parser.checkpoint()
    (sequences,) = declared(SpeedTestOptions)
    text = f"{sequences.note}, {sequences.kind} [%(default)s]"
    parser.number("--sequences", text, default=sequences.default)
    parser.device()
    parser.json("", "tables")


def _predict(add: Callable[..., _Parser]) -> None:
    parser = add(
        "predict",
        help="draw a trained model's prediction of a fresh sequence",
        description="Draw the frames that a checkpoint's model sees, the true next one and the "
        "predicted one, as pictures and as a GIF.",
    )
    parser.set_defaults(command=predict)
    parser.checkpoint()
    parser.path("--out", "DIR", "write the pictures there", required=True)
    parser.seed()
    parser.device()


def _export(add: Callable[..., _Parser]) -> None:
    parser = add(
        "export",
        help="write a trained model as a file that runs without this project",
        description="Write a checkpoint's model for other programs, as ONNX or as PyTorch's "
        "exported program: the whole forecast, from the frames seen to those that follow, and one "
        "step, from a frame and the states to the next ones. Batch and canvas stay free.",
    )
    parser.set_defaults(command=export_network)
    parser.checkpoint()
    text = "onnx (needs the extra [export]) or pt2, which torch.export.load reads"
    parser.add_argument("--format", choices=FORMATS, required=True, help=text)
    text = "what to write, each in a file of its own [%(default)s]"
    parser.add_argument("--part", choices=(*PARTS, BOTH), default=BOTH, help=text)
    text = f"frames of the forecast, 1 to {MAX_HORIZON} [as many as the page shows]"
    parser.number("--horizon", text)
    parser.path("--out", "DIR", "write the files there [the current folder]")
    parser.set_defaults(out=Path())
    parser.json(" a file", "a description")


def _settings(add: Callable[..., _Parser]) -> None:
    parser = add(
        "settings",
        help="print every setting with its range, as a table",
        description="Print every setting of every scene with its range and meaning, in Markdown.",
    )
    parser.set_defaults(command=settings_table)


def _benchmark(add: Callable[..., _Parser]) -> None:
    parser = add(
        "benchmark",
        help="time a training step beside the other ways to do it",
        description="Time this project's training step in turns with a plain loop, the same "
        "compiled, Keras where it is installed, and the convolutions alone. Takes minutes.",
    )
    parser.set_defaults(command=compare_speed)
    text = "how large the network is, again for several [all but tiny]"
    parser.add_argument("--size", action="append", choices=SIZES, help=text)
    text = "time only this row, again for several: " + "; ".join(CONTESTANTS)
    parser.add_argument("--row", action="append", choices=CONTESTANTS, metavar="NAME", help=text)
    parser.number("--repeats", f"timed steps of each row, 1 to {MAX_REPEATS} [by size]")
    parser.path(
        "--scaling",
        "FILE",
        "instead, time this project over T, H x W, hidden channels and batch, fit the exponents, "
        "and draw the picture there",
    )
    text = "instead, time the layer with each of its options in turns with a plain loop"
    parser.add_argument("--options", action="store_true", help=text)
    parser.device()
    parser.json(" a row", "tables")


def _study(add: Callable[..., _Parser]) -> None:
    parser = add(
        "study",
        help="make the digits tutorial's tables again: what each loss and each technique brings",
        description="Train a few variants of one recipe from three seeds each, score them on "
        "sequences of unseen digits, and write a table and a picture. The small scale takes "
        "under an hour on two CPU cores. The same command goes on with an interrupted study.",
    )
    parser.set_defaults(command=study)
    parser.add_argument("name", choices=STUDIES, help="which table")
    parser.path("--out", "DIR", "keep the results there", required=True)
    text = "of networks and trainings: small for a CPU, full (the tutorial's) for a GPU [small]"
    parser.add_argument("--scale", choices=get_args(Scale), default="small", help=text)
    parser.device()


def _gpu_report(add: Callable[..., _Parser]) -> None:
    parser = add(
        "gpu-report",
        help="check a GPU, time it and train on it, and write what was found",
        description="Check that a device computes what it should, time training steps and "
        "forecasts, train Quick start to its goal and a Moving MNIST network for the minutes that "
        "are left, and write what was found as JSON and as Markdown after each part. It needs "
        "nobody: a part that fails is a line of the report. The exit code is 0 where every part "
        "passed, and 1 where one did not.",
    )
    parser.set_defaults(command=report_gpu)
    parser.number("--minutes", f"for all of it, 1 to {MAX_MINUTES} [%(default)s]", default=30)
    parser.path("--out", "DIR", "write the report and the trained network there [%(default)s]")
    parser.set_defaults(out=Path("gpu-report"))
    text = "of all that is computed: full, or tiny, to see that everything works [%(default)s]"
    parser.add_argument("--size", choices=REPORT_SIZES, default="full", help=text)
    parser.device()
    parser.json("", "lines and goals")


def _number_or_text(text: str) -> int | float | str:
    """Read a number; the text of anything else is for a check to refuse."""
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return kind(text)
    return text


# How the flag of each kind of setting is read; its value is left to the configuration's own check.
_HOW_TO_READ = {
    Integer: {"type": _number_or_text, "metavar": "N"},
    Number: {"type": _number_or_text, "metavar": "X"},
    Choice: {"metavar": "NAME"},
    Flag: {"action": argparse.BooleanOptionalAction},
}


def _presets_text() -> str:
    lines = (
        textwrap.fill(
            f"{name:<10}{', '.join(entry.presets)}",
            79,
            initial_indent="  ",
            subsequent_indent=" " * 12,
            break_on_hyphens=False,
        )
        for name, entry in CATALOGUE.items()
    )
    return "\n".join(["presets, by scene:", *lines])
