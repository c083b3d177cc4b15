"""The command line: convlstm train | evaluate | predict | settings | benchmark | study."""

import argparse
import os
import sys
import textwrap
from pathlib import Path
from typing import NoReturn, get_args

from convlstm.benchmarks.contestants import CONTESTANTS, SIZES
from convlstm.benchmarks.study import STUDIES, Scale
from convlstm.checks import SettingError
from convlstm.commands.evaluate import MAX_SEQUENCES, evaluate, predict
from convlstm.commands.settings import settings_table
from convlstm.commands.shared import INTERRUPTED, UsageError, default_text, flag_of
from convlstm.commands.speed import MAX_REPEATS, compare_speed, study
from convlstm.commands.train import train
from convlstm.devices import keep_freed_memory
from convlstm.files.safe_files import CheckpointError
from convlstm.scenes.catalogue import CATALOGUE
from convlstm.scenes.scene import MAX_TEST_SEED
from convlstm.settings import Flag, Integer, Number, Setting, declared
from convlstm.training.config import TrainConfig
from convlstm.training.evaluation import TestSetError
from convlstm.training.presets import default_config

_METAVARS = {Integer: "N", Number: "X"}


def main(arguments: list[str] | None = None) -> int:
    """Do what the flags say.

    Args:
        arguments: the flags; None means those of this process.

    Returns:
        The exit code: 0, 2 for an error (one line on stderr), or 130 after Ctrl-C.
    """
    try:
        flags = _parser().parse_args(arguments)
        keep_freed_memory()
        return flags.command(flags)
    except (UsageError, SettingError, CheckpointError, TestSetError) as error:
        message = str(error)
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
    """Reports a bad flag as every other error is reported."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message} (see {self.prog} --help)")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="convlstm",
        description="Train a ConvLSTM on moving things, score it, and draw what it predicts.",
        allow_abbrev=False,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_train(
        commands.add_parser(
            "train",
            help="train a model, and say how good it is on sequences that it never learns from",
            description="Train a model from a preset, with any of its settings changed.\n"
            "In brackets: the defaults, which are the preset quick's; other presets differ.",
            epilog=_presets_text(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
    )
    _add_evaluate(
        commands.add_parser(
            "evaluate",
            help="score a trained model beside predictors that learnt nothing",
            description="Score a checkpoint's model on unseen sequences, in float32, beside its "
            "scene's predictors that learnt nothing, as the last frame seen. Skill is the share of "
            "the copied frame's squared error that is gone: 1 is perfect.",
            allow_abbrev=False,
        )
    )
    _add_predict(
        commands.add_parser(
            "predict",
            help="draw a trained model's prediction of a fresh sequence",
            description="Draw the frames that a checkpoint's model sees, the true next one and the "
            "predicted one, as pictures and as a GIF.",
            allow_abbrev=False,
        )
    )
    commands.add_parser(
        "settings",
        help="print every setting with its range, as a table",
        description="Print every setting of every scene with its range and meaning, in Markdown.",
        allow_abbrev=False,
    ).set_defaults(command=settings_table)
    _add_benchmark(
        commands.add_parser(
            "benchmark",
            help="time a training step beside the other ways to do it",
            description="Time this project's training step in turns with a plain loop, the same "
            "compiled, Keras where it is installed, and the convolutions alone. Takes minutes.",
            allow_abbrev=False,
        )
    )
    _add_study(
        commands.add_parser(
            "study",
            help="make the article's tables again: what each loss and each technique brings",
            description="Train a few variants of one recipe from three seeds each, score them on "
            "sequences of unseen digits, and write a table and a picture. The small scale takes "
            "under an hour on two CPU cores. The same command goes on with an interrupted study.",
            allow_abbrev=False,
        )
    )
    return parser


def _add_study(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=study)
    parser.add_argument("name", choices=STUDIES, help="which table")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="keep the results there"
    )
    parser.add_argument(
        "--scale",
        choices=get_args(Scale),
        default="small",
        help="of networks and trainings: small for a CPU, full (the article's) for a GPU [small]",
    )
    _add_device(parser)


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=train)
    parser.add_argument(
        "--preset",
        choices=[name for entry in CATALOGUE.values() for name in entry.presets],
        help="settings to start from, quick if not given",
    )
    parser.add_argument(
        "--resume",
        type=Path,
        metavar="FILE",
        help="go on with this checkpoint's run, under its own settings",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="write the checkpoint, the best network, the losses as CSV, pictures and a GIF there",
    )
    parser.add_argument(
        "--start-from",
        type=Path,
        metavar="FILE",
        help="begin with the weights of this file, of the same network; give another --seed for "
        "other sequences",
    )
    _add_device(parser)
    parser.add_argument(
        "--json", action="store_true", help="print one JSON record a step instead of a summary"
    )
    parser.add_argument(
        "--log-dir", type=Path, metavar="DIR", help="write the curves there, for TensorBoard"
    )
    parser.add_argument(
        "--save-every",
        type=_number_or_text,
        default=5,
        metavar="N",
        help="minutes between two checkpoints on the way, 0.001 to 1000 [%(default)s]",
    )
    config, taken = default_config("squares"), set()
    parts = {
        f"settings of the scene {name}": type(entry.scene) for name, entry in CATALOGUE.items()
    }
    parts |= {"settings of the network": type(config.network), "settings of the run": TrainConfig}
    for title, owner in parts.items():
        group = parser.add_argument_group(title)
        for each in declared(owner):
            if each.name not in taken:  # two scenes may have a setting of the same name
                taken.add(each.name)
                _add_setting(group, each)


def _add_setting(group: argparse._ArgumentGroup, setting: Setting) -> None:
    """Add a setting's flag; its value is left to the configuration's own check."""
    text = f"{setting.note}; {setting.kind} [{default_text(setting)}]".replace("%", "%%")
    if isinstance(setting.kind, Flag):
        group.add_argument(
            flag_of(setting.name),
            action=argparse.BooleanOptionalAction,
            default=argparse.SUPPRESS,
            help=text,
        )
        return
    metavar = _METAVARS.get(type(setting.kind))
    group.add_argument(
        flag_of(setting.name),
        type=_number_or_text if metavar else str,
        metavar=metavar or "NAME",
        default=argparse.SUPPRESS,
        help=text,
    )


def _add_evaluate(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=evaluate)
    _add_checkpoint(parser)
    parser.add_argument(
        "--sequences",
        type=_number_or_text,
        default=1000,
        metavar="N",
        help=f"sequences to score, 1 to {MAX_SEQUENCES} [%(default)s]",
    )
    _add_seed(parser)
    parser.add_argument(
        "--horizon",
        type=_number_or_text,
        metavar="N",
        help="frames to predict, on the model's own output after the first [as many as the page "
        "shows]",
    )
    parser.add_argument(
        "--test-set",
        type=Path,
        metavar="FILE",
        help="the public test file of Moving MNIST, mnist_test_seq.npy, instead of new sequences",
    )
    parser.add_argument(
        "--augmented",
        action="store_true",
        help="average the predictions of mirrored sequences",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="draw the best, median and worst sequence, and SSIM by lead time",
    )
    _add_device(parser)
    parser.add_argument(
        "--json", action="store_true", help="print one JSON record instead of a table"
    )


def _add_predict(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=predict)
    _add_checkpoint(parser)
    parser.add_argument(
        "--out", type=Path, required=True, metavar="DIR", help="write the pictures there"
    )
    _add_seed(parser)
    _add_device(parser)


def _add_benchmark(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(command=compare_speed)
    parser.add_argument(
        "--size",
        action="append",
        choices=SIZES,
        help="how large the network is, again for several [all but tiny]",
    )
    parser.add_argument(
        "--row",
        action="append",
        choices=CONTESTANTS,
        metavar="NAME",
        help="time only this row, again for several: " + "; ".join(CONTESTANTS),
    )
    parser.add_argument(
        "--repeats",
        type=_number_or_text,
        metavar="N",
        help=f"timed steps of each row, 1 to {MAX_REPEATS} [by size]",
    )
    parser.add_argument(
        "--scaling",
        type=Path,
        metavar="FILE",
        help="instead, time this project over T, H x W, hidden channels and batch, fit the "
        "exponents, and draw the picture there",
    )
    _add_device(parser)
    parser.add_argument(
        "--json", action="store_true", help="print one JSON record a row instead of tables"
    )


def _add_checkpoint(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "checkpoint", type=Path, metavar="CHECKPOINT", help="a file that train or the page saved"
    )


def _add_seed(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seed",
        type=_number_or_text,
        default=0,
        metavar="N",
        help=f"of sequences that no training draws, 0 to {MAX_TEST_SEED:,} [%(default)s]",
    )


def _add_device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device",
        default="auto",
        metavar="NAME",
        help="where to compute: cpu, cuda, mps, or auto for a GPU if there is one [%(default)s]",
    )


def _number_or_text(text: str) -> int | float | str:
    """Read a number; the text of anything else is for a check to refuse."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


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
