"""A trained network as a file for other programs: ONNX, or PyTorch's own exported program.

A file holds one of a network's `parts`. It runs without this project, takes any number of sequences
and any canvas whose sides are multiples of the network's divisor, and says of itself what must be
known to use it.
"""

import contextlib
import importlib.util
import io
import json
import logging
import re
import warnings
from collections.abc import Iterator
from typing import Literal, get_args

import torch
from torch.export import Dim, ExportedProgram

from convlstm.checks import SettingError, check_choice, check_integer
from convlstm.files.checkpoint import load_network
from convlstm.files.reading import Checkpoint
from convlstm.networks.parts import PARTS, Forecast, Part, PartName, Port, Step
from convlstm.settings import settings_of

Format = Literal["onnx", "pt2"]
FORMATS: tuple[Format, ...] = get_args(Format)
MAX_HORIZON = 100  # the whole network stands in the file once for every frame
_OPSET = 20  # which runtimes have known since 2023
_MAX_ONNX_MIB = 2000  # an ONNX file is one protobuf message, of 2 GiB at most
_METADATA = "convlstm.json"  # the extra file of a .pt2
_EXAMPLE = 2, 3, 4  # sequences, and multiples of the divisor: no two alike, none of them 1


class ExportError(ValueError):
    """A network that cannot be written so; the message is one line for a person."""


def missing_for_onnx() -> str:
    """Say what must be installed before ONNX can be written, and how; empty where it can."""
    is_there = importlib.util.find_spec("onnxscript") is not None
    return "" if is_there else 'onnxscript: pip install "convlstm-playground[export]"'


def default_horizon(checkpoint: Checkpoint) -> int:
    """Return how many frames a forecast has unless somebody says: as many as the page shows."""
    return max(checkpoint.config.horizon, checkpoint.config.scene.look_ahead)


def check_exportable(checkpoint: Checkpoint, form: Format) -> None:
    """Refuse a format that cannot be written, before the work.

    Raises:
        SettingError: ONNX cannot hold so many weights.
        ExportError: what writes ONNX is not installed.
    """
    if form != "onnx":
        return
    size = sum(weights.nbytes for weights in checkpoint.weights.values()) / 2**20
    if size > _MAX_ONNX_MIB:
        raise SettingError("weights", f"{size:.0f} MiB", "in onnx", high=_MAX_ONNX_MIB)
    if missing := missing_for_onnx():
        raise ExportError(f"format is 'onnx': needs {missing}.")


def export(checkpoint: Checkpoint, form: Format, part: PartName, horizon: int) -> bytes:
    """Make the content of a file that computes a part of a checkpoint's network.

    Not for a process in which something else computes: while torch looks at a program, others that
    ask it whether they are looked at hear that they are.

    Args:
        checkpoint: whose network.
        form: of the file.
        part: "forecast", from a context to all frames that follow; or "step", from a frame and the
            states to the next ones.
        horizon: of a forecast, frames.

    Raises:
        SettingError: format, part or horizon is none that there is, or ONNX cannot hold so many
            weights.
        ExportError: what writes ONNX is not installed, or cannot say what the network does.
    """
    check_choice("format", form, FORMATS)
    check_choice("part", part, PARTS)
    check_integer("horizon", horizon, 1, MAX_HORIZON)
    check_exportable(checkpoint, form)
    made, about = part_of(checkpoint, part, horizon), metadata(checkpoint, part, horizon)
    program = _program(made)
    if form == "onnx":
        return _onnx(program, made, about)
    file = io.BytesIO()
    torch.export.save(program, file, extra_files={_METADATA: json.dumps(about)})
    return file.getvalue()


def metadata(checkpoint: Checkpoint, part: PartName, horizon: int) -> dict[str, object]:
    """Return what a file says of itself: all that one must know to use it.

    Its "inputs" and "outputs" have a name, a shape and a meaning each; "channels" say which
    quantities 0 and 1 stand for; "canvas_multiple" is what height and width are multiples of, px.
    """
    config, made = checkpoint.config, part_of(checkpoint, part, horizon)
    return {
        "part": part,
        "scene": config.scene.name,
        "context_frames": config.context_frames,
        "horizon": horizon if part == "forecast" else 1,
        "value_range": [0.0, 1.0],
        "channels": [each._asdict() for each in config.scene.quantities],
        "canvas": list(config.scene.size),
        "canvas_multiple": config.network.divisor,
        "inputs": [_told(port) for port in made.inputs],
        "outputs": [_told(port) for port in made.outputs],
        "settings": settings_of(config),
    }


def part_of(checkpoint: Checkpoint, part: PartName, horizon: int) -> Part:
    """Make a part of a checkpoint's network, as `export` writes it."""
    network = load_network(checkpoint)
    if part == "step":
        return Step(network).eval()
    return Forecast(network, checkpoint.config.context_frames, horizon).eval()


def _told(port: Port) -> dict[str, object]:
    over = "" if port.side == 1 else f"/{port.side}"
    axes = ["batch", *port.between, f"height{over}", f"width{over}"] if port.side else []
    return {"name": port.name, "shape": axes, "meaning": port.meaning}


def _program(part: Part) -> ExportedProgram:
    """Look at what a part computes, for any number of sequences and any canvas."""
    divisor = part.network.config.divisor
    batch, rows, columns = Dim("batch"), *(Dim(name) for name in _sides(divisor))

    def axes(port: Port) -> dict[int, Dim] | None:
        if not port.side:
            return None
        times = divisor // port.side
        sides = (rows, columns) if times == 1 else (times * rows, times * columns)
        first = 1 + len(port.between)
        return {0: batch, first: sides[0], first + 1: sides[1]}

    first, *others = map(axes, part.inputs)
    B, *multiples = _EXAMPLE
    given = part.examples(B, *(divisor * multiple for multiple in multiples))
    shapes = (first, tuple(others)) if isinstance(part, Step) else (first,)
    with torch.no_grad():
        program = torch.export.export(part, given, dynamic_shapes=shapes, strict=False)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # the paths of the machine that wrote it
    return program


def _sides(divisor: int) -> tuple[str, str]:
    over = "" if divisor == 1 else f"_over_{divisor}"
    return f"height{over}", f"width{over}"


def _onnx(program: ExportedProgram, part: Part, about: dict[str, object]) -> bytes:
    with _quiet():
        try:
            made = torch.onnx.export(
                program,
                dynamo=True,
                opset_version=_OPSET,
                input_names=[port.name for port in part.inputs],
                output_names=[port.name for port in part.outputs],
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            reason = re.split(r"[.\n]", str(error), maxsplit=1)[0]
            raise ExportError(f"ONNX cannot say what this network does: {reason}.") from error
    made.model.producer_name = "ConvLSTM Playground"
    for name, value in about.items():
        text = value if isinstance(value, str) else json.dumps(value)
        made.model.metadata_props[name] = text
    return made.model_proto.SerializeToString()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep what torch says to its own programmers to itself: what matters is raised."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # Of torch 2.13's own code, about a class of its own.
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
            yield
    finally:
        logger.setLevel(level)
